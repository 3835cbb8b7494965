"""What runs say on a clock, from real tables; evaluations are every 10 steps, 640 examples and 0.1 seconds."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.report.summaries import TrialRuns, runs_on
from sweeper.stats.events import CLOCKS, Clock
from sweeper.stats.objective import Observation, rmst
from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import chunk_of, curve
from tests.fakes.sweeps import HORIZON, QUESTION, Sweep
from tests.fakes.training import diverges, fails, learns

LIMITS: dict[Clock, float] = {"steps": HORIZON, "examples": 64 * HORIZON, "seconds": HORIZON / 100}
UNIT: dict[Clock, float] = {"steps": 1, "examples": 64, "seconds": 0.01}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path, {"budget": {"trials": 2}})


def runs_of(times: Sequence[Sequence[float]], reached: Sequence[Sequence[bool]], limit: float = HORIZON) -> TrialRuns:
    return TrialRuns(tuple(range(len(times[0]))), np.array(times, dtype=np.float64), np.array(reached), limit)


@pytest.mark.parametrize("clock", CLOCKS)
def test_reached_and_censored_runs_on_every_clock(sweep: Sweep, clock: Clock) -> None:
    sweep.launch(learns(lambda assignment, replicate: None if assignment.number and replicate else 30))
    found = runs_on(sweep.folder, clock, LIMITS[clock], [0, 1])
    assert set(found) == {0, 1}
    assert found[0].replicates == found[1].replicates == (0, 1)
    assert found[0].reached.tolist() == [[True, True]]
    assert found[1].reached.tolist() == [[True, False]]
    np.testing.assert_allclose(found[0].times, [[30 * UNIT[clock]] * 2])
    np.testing.assert_allclose(found[1].times, [[30 * UNIT[clock], LIMITS[clock]]])
    np.testing.assert_allclose(found[1].restricted, found[1].times)
    assert found[1].median == pytest.approx(30 * UNIT[clock])
    assert found[1].success.rate == 0.5
    assert found[1].mean == pytest.approx((65 * UNIT[clock], 35 * UNIT[clock]))


@pytest.mark.slow
def test_only_the_trials_asked_for(sweep: Sweep) -> None:
    sweep.launch(learns(lambda *_: 30))
    assert set(runs_on(sweep.folder, "steps", HORIZON, [1])) == {1}
    assert runs_on(sweep.folder, "steps", HORIZON, []) == {}
    assert runs_on(sweep.folder, "steps", HORIZON, [99]) == {}


def test_a_capped_run_counts_as_seen_until_it_was_stopped_and_then_leaves(sweep: Sweep) -> None:
    sweep.changes |= {"stop": "cap", "search": {"depth": {"choice": [1, 2]}}}
    sweep.launch(learns(lambda assignment, replicate: [30, (10, None)[replicate]][assignment.number], evaluations=1))
    assert sweep.states() == {0: "finished", 1: "capped"}
    (mine,) = runs_on(sweep.folder, "steps", HORIZON, [1]).values()
    assert (mine.times.tolist(), mine.reached.tolist()) == ([[10.0, 60.0]], [[True, False]])
    assert mine.restricted.tolist() == [[10.0, HORIZON]]
    assert mine.median == 10.0
    assert mine.mean[0] == pytest.approx((10 + HORIZON) / 2), "the curve goes on flat"


@pytest.mark.slow
def test_runs_that_diverged_or_failed_were_given_up_for_good(sweep: Sweep) -> None:
    """Even a run of which no evaluation was ever seen."""
    sweep.changes["budget"] = {"trials": 3}
    kinds = {0: diverges, 1: fails}
    sweep.launch(lambda assignment: kinds.get(assignment.number, learns(lambda *_: 30))(assignment))
    assert sweep.states() == {0: "finished", 1: "failed", 2: "finished"}
    for clock in CLOCKS:
        found = runs_on(sweep.folder, clock, LIMITS[clock], [0, 1, 2])
        for number in (0, 1):
            assert found[number].times.tolist() == [[LIMITS[clock]] * 2]
            assert not found[number].reached.any()
            assert found[number].median is None
            assert found[number].mean == (LIMITS[clock], 0.0)
            assert found[number].success.rate == 0


def test_when_nothing_was_ever_seen(sweep: Sweep) -> None:
    sweep.launch(fails)
    assert sweep.rows("curves") == []
    assert runs_on(sweep.folder, "seconds", 1.0, [0])[0].times.tolist() == [[1.0, 1.0]]


def test_stacks_of_operations_and_fresh_replicates(sweep: Sweep) -> None:
    def train(assignment: Assignment) -> Iterator[Chunk]:
        for evaluations, operation in enumerate(assignment.task.operation, start=2):
            yield chunk_of(
                *(
                    curve([0.1] * (evaluations + replicate % 2) + [1.0], replicate, operation)
                    for replicate in assignment.replicates
                )
            )

    sweep.changes |= {
        "task": {**QUESTION["task"], "operation": ["x_plus_y", "x_minus_y"]},
        "budget": {"trials": 1},
        "confirm": {"top": 1, "replicates": 3},
    }
    sweep.launch(train)
    found = runs_on(sweep.folder, "steps", HORIZON, [0, 1])
    assert found[0].times.tolist() == [[40.0, 50.0], [30.0, 40.0]], "operations by name, replicates in order"
    assert found[1].replicates == tuple(range(CONFIRMATION_REPLICATES, CONFIRMATION_REPLICATES + 3))
    assert found[1].times.shape == (2, 3)
    assert found[0].median is None, "there is one for each operation"
    assert found[0].success.rate == 1
    rows = {row["trial"]: row for row in sweep.rows()}
    for number, mine in found.items():
        assert mine.mean == pytest.approx((rows[number]["rmst"], rows[number]["rmst_error"]))


@pytest.mark.slow
@given(st.lists(st.none() | st.integers(1, 120), min_size=1, max_size=12), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_the_mean_is_the_trials_own_where_every_run_was_watched_to_its_end(
    arrivals: list[int | None], operations: int
) -> None:
    times = [[HORIZON if each is None else each for each in arrivals]] * operations
    reached = [[each is not None for each in arrivals]] * operations
    expected = rmst([Observation(HORIZON if each is None else each, each is not None) for each in arrivals], HORIZON)
    mean, error = runs_of(times, reached).mean
    assert mean == pytest.approx(expected.mean)
    assert error == pytest.approx(expected.error / math.sqrt(operations), nan_ok=True)


def test_a_run_that_was_cut_short_does_not_count_at_the_limit() -> None:
    mine = runs_of([[20, 40, 60]], [[True, False, True]])
    assert mine.restricted.tolist() == [[20, HORIZON, 60]]
    assert mine.mean[0] == pytest.approx(20 + 40 * 2 / 3)
    assert mine.median == 60


def test_times_past_the_limit_are_restricted() -> None:
    mine = runs_of([[20, 150]], [[True, True]])
    assert mine.restricted.tolist() == [[20, HORIZON]]
    assert mine.mean[0] == pytest.approx(60)
