"""What only Ray can show: packing on fractional GPUs, workers that die, machines that are too small."""

import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from sweeper.errors import UserError
from tests.fakes import training_functions
from tests.fakes.directors import Meeting, Patient, Recording


def endings(director: Recording) -> dict[int, tuple[str, str]]:
    """Trial -> how it ended, and why."""
    return {number: (told[0].kind, told[0].why) for number, told in director.endings.items()}


@pytest.mark.usefixtures("local_ray")
def test_a_quarter_of_a_gpu_runs_eight_trials_at_once_on_two_devices() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Meeting(trials=8)
    with RayTune(cpu=1, gpu=0.25) as runner:
        assert runner.slots == 8
        runner.run(training_functions.goes_on, director)
    first = [director.chunks[number][0] for number in range(8)]
    assert len({int(chunk.columns["process"][0]) for chunk in first}) == 8
    assert Counter(chunk.device for chunk in first) == {"0": 4, "1": 4}


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_asks_for_no_gpu_sees_none_and_a_worker_that_dies_is_an_outcome() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Recording(trials=3)
    with RayTune(cpu=4, gpu=0) as runner:
        assert runner.slots == 2
        runner.run(training_functions.dies, director)
    assert endings(director) == {
        0: ("finished", ""),
        1: ("failed", "worker killed"),
        2: ("finished", ""),
        3: ("finished", ""),
    }
    assert {told[0].device for told in director.chunks.values()} == {""}


@pytest.mark.usefixtures("local_ray")
def test_trials_on_a_ray_that_was_started_here_train_in_workers_that_were_started_with_it() -> None:
    """Ray gives a trial with variables of its own a new worker, which takes seconds to import what others have."""
    from sweeper.runners.ray_tune import RayTune

    director = Recording(trials=0)
    with RayTune(cpu=8, gpu=0) as runner:
        runner.run(training_functions.noted, director)
    assert [told[0].device for told in director.chunks.values()] == ["{} 1 0 1"]


@pytest.mark.usefixtures("local_ray")
def test_a_process_whose_device_failed_is_not_used_again() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Recording(trials=3)
    with RayTune(cpu=8, gpu=0) as runner:
        assert runner.slots == 1
        runner.run(training_functions.breaks, director)
    assert endings(director) == {
        0: ("finished", ""),
        1: ("failed", "device failed"),
        2: ("finished", ""),
        3: ("finished", ""),
    }
    assert "CUDA error: unspecified launch failure" in director.endings[1][0].detail
    first, broken, *others = (int(director.chunks[n][0].columns["process"][0]) for n in range(4))
    assert first == broken
    assert broken not in others


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("cpu", "gpu", "slots"),
    [(1, 0, 8), (3, 0, 2), (1, 0.3, 6), (1, 0.5, 4), (1, 1, 2), (4, 0.25, 2), (1, 2, 1)],
)
def test_slots_count_what_fits_on_whole_devices(cpu: float, gpu: float, slots: int) -> None:
    from sweeper.runners.ray_tune import RayTune

    with RayTune(cpu, gpu) as runner:
        assert runner.slots == slots


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_fits_nowhere_is_an_error_that_names_what_there_is() -> None:
    from sweeper.runners.ray_tune import RayTune

    with pytest.raises(UserError) as raised, RayTune(cpu=1, gpu=3):
        pass
    assert str(raised.value) == (
        "resources: a trial needs 1 CPU and 3 GPU; this machine has 8 CPU and 2 GPU; "
        "lower resources.cpu or resources.gpu, as in --set resources.gpu=0"
    )


@pytest.mark.usefixtures("local_ray")
def test_out_of_memory_in_company_raises_the_share_and_every_trial_still_finishes(tmp_path: Path) -> None:
    from sweeper.runners.ray_tune import RayTune

    with RayTune(cpu=1, gpu=0) as runner:
        runner.share_gpus(0.5)
        assert runner.slots == 4
        director = Patient(trials=6, slots=lambda: runner.slots)
        runner.run(partial(training_functions.crowded, tmp_path, 1), director)
        assert runner.slots == 2
    assert {number: [each.kind for each in told] for number, told in sorted(director.endings.items())} == {
        number: ["finished"] for number in range(6)
    }
    # Two shared a GPU. However many ran out of memory, the share was raised once, and from then on nobody shares.
    assert set(director.whys) == {"out of memory with 0.5 GPU; it and those after it get 1"}
    assert director.starts[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(running <= slots for running, slots in director.starts)
    assert [slots for _, slots in director.starts[-2:]] == [2, 2]
    assert sorted((tmp_path / "finished").read_text().split()) == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.usefixtures("local_ray")
def test_out_of_memory_alone_on_a_gpu_is_a_failure_and_so_it_is_where_the_share_was_asked_for(tmp_path: Path) -> None:
    from sweeper.runners.ray_tune import RayTune

    failed = ("failed", "out of memory")
    with RayTune(cpu=1, gpu=0) as runner:
        runner.share_gpus(0.5)
        director = Patient(trials=1, slots=lambda: runner.slots)
        runner.run(partial(training_functions.crowded, tmp_path, 0), director)
        assert runner.slots == 2
    assert director.whys == ["out of memory with 0.5 GPU; it and those after it get 1"]
    assert [(each.kind, each.why) for each in director.endings[0]] == [failed]
    with RayTune(cpu=1, gpu=0.5) as runner:
        director = Patient(trials=1, slots=lambda: runner.slots)
        runner.run(partial(training_functions.crowded, tmp_path, 0), director)
        assert runner.slots == 4
    assert [(each.kind, each.why) for each in director.endings[0]] == [failed]
    assert director.whys == []


@pytest.mark.usefixtures("local_ray")
def test_what_is_called_on_a_gpu_has_one_to_itself() -> None:
    from sweeper.runners.ray_tune import RayTune

    with RayTune(cpu=1, gpu=0) as runner:
        assert runner.most_on_a_gpu == 4
        assert runner.on_a_gpu(partial(os.getenv, "CUDA_VISIBLE_DEVICES")) in ("0", "1")


@pytest.mark.usefixtures("local_ray")
def test_processes_are_measured_in_a_worker_that_has_a_gpu(tmp_path: Path) -> None:
    from sweeper.runners.ray_tune import RayTune
    from sweeper.training.probe import measure
    from tests.training import test_probe

    steady, memory = partial(training_functions.steady, tmp_path, 0.1), test_probe.memory(tmp_path)
    with RayTune(cpu=1, gpu=0) as runner:
        found = runner.on_a_gpu(partial(measure, steady, test_probe.small(), 2, memory, 0.5))
    assert ([each.trials for each in found.companies], found.ended) == ([1, 2], "there are cores for 2 at once")
