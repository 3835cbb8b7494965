"""What a caller may rely on, for every runner. The clauses are those of sweeper/runners/protocol.py."""

from collections.abc import Callable

import pytest

from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import Runner
from tests.fakes import training_functions
from tests.fakes.directors import Recording

CAPPED_AFTER = 4


def in_process(request: pytest.FixtureRequest) -> Runner:
    return InProcess()


def ray_tune(request: pytest.FixtureRequest) -> Runner:
    request.getfixturevalue("local_ray")
    from sweeper.runners.ray_tune import RayTune

    return request.getfixturevalue("entered")(RayTune(cpu=4, gpu=0))


@pytest.fixture
def entered() -> object:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture(params=[in_process, pytest.param(ray_tune, marks=pytest.mark.slow)], ids=["in_process", "ray_tune"])
def runner(request: pytest.FixtureRequest) -> Runner:
    make: Callable[[pytest.FixtureRequest], Runner] = request.param
    return make(request)


def test_a_runner_keeps_every_clause_whatever_trials_do(runner: Runner) -> None:
    director = Recording(trials=6, cap={4: CAPPED_AFTER})
    runner.run(training_functions.mixed, director)

    # `run` returned: everything that was to start has started and ended, exactly once.
    assert director.started == [0, 1, 2, 3, 4, 5, 6]
    assert {number: len(told) for number, told in director.endings.items()} == dict.fromkeys(range(7), 1)
    assert {number: (told[0].kind, told[0].why) for number, told in sorted(director.endings.items())} == {
        0: ("finished", ""),
        1: ("failed", "error"),
        2: ("failed", "error"),
        3: ("failed", "out of memory"),
        4: ("capped", "enough"),
        5: ("finished", ""),
        6: ("finished", ""),
    }
    # Every chunk arrived, in order, and none after the end; the capped trial trained no further.
    steps = {n: [int(c.columns["step"][0]) for c in told] for n, told in sorted(director.chunks.items())}
    assert steps == {0: [0, 1, 2], 2: [0], 3: [0, 1], 4: [0, 1, 2, 3], 5: [0, 1, 2], 6: [0, 1, 2]}
    assert director.late == []
    # The traceback of a failure is kept; deadlines could be looked at; slots were filled but not exceeded.
    assert "ValueError: raised at once" in director.endings[1][0].detail
    assert "sys.exit()" in director.endings[2][0].detail
    assert director.ticks > 0
    assert director.most_at_once == runner.slots


@pytest.mark.slow
def test_what_the_director_raises_ends_the_run_and_is_raised_there(runner: Runner) -> None:
    with pytest.raises(OSError, match="the disk is full"):
        runner.run(training_functions.mixed, Recording(trials=1, fail_in="report"))
