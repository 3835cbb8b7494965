"""What only Ray can show: packing on fractional GPUs, workers that die, machines that are too small."""

from collections import Counter

import pytest

from sweeper.errors import UserError
from tests.runners import training_functions
from tests.runners.directors import Meeting, Recording


@pytest.mark.usefixtures("local_ray")
def test_a_quarter_of_a_gpu_runs_eight_trials_at_once_on_two_devices() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Meeting(trials=8)
    with RayTune(cpu=1, gpu=0.25) as runner:
        assert runner.places == 8
        runner.run(training_functions.goes_on, director)
    first = [director.chunks[number][0] for number in range(8)]
    assert len({int(chunk.columns["process"][0]) for chunk in first}) == 8
    assert Counter(chunk.device for chunk in first) == {"0": 4, "1": 4}


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_asks_for_no_gpu_sees_none_and_a_worker_that_dies_is_an_outcome() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Recording(trials=3)
    with RayTune(cpu=4, gpu=0) as runner:
        assert runner.places == 2
        runner.run(training_functions.dies, director)
    assert {n: (told[0].kind, told[0].why) for n, told in director.endings.items()} == {
        0: ("finished", ""),
        1: ("failed", "node lost"),
        2: ("finished", ""),
        3: ("finished", ""),
    }
    assert {told[0].device for told in director.chunks.values()} == {""}


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("cpu", "gpu", "places"),
    [(1, 0, 8), (3, 0, 2), (1, 0.3, 6), (1, 0.5, 4), (1, 1, 2), (4, 0.25, 2), (1, 2, 1)],
)
def test_places_count_what_fits_on_whole_devices(cpu: float, gpu: float, places: int) -> None:
    from sweeper.runners.ray_tune import RayTune

    with RayTune(cpu, gpu) as runner:
        assert runner.places == places


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_fits_nowhere_is_an_error_that_names_what_there_is() -> None:
    from sweeper.runners.ray_tune import RayTune

    with pytest.raises(UserError) as raised, RayTune(cpu=1, gpu=3):
        pass
    assert str(raised.value) == (
        "resources: a trial asks for 1 CPU and 3 GPU; this machine has 8 CPU and 2 GPU; "
        "lower resources.cpu or resources.gpu, as in --set resources.gpu=0"
    )
