"""What is known of a trial while it trains, from chunks as they come."""

import math
import random

import pytest

from sweeper.stats.objective import lower_bound
from tests.fakes.curves import assignment_of, chunk_of, curve, summary_of, watch_of


def test_the_score_is_the_mean_of_what_every_run_saw_last() -> None:
    assignment = assignment_of(replicates=(0, 1), operations=("x_plus_y", "x_minus_y"))
    runs = [
        curve([0.1, 1.0], 0),
        curve([0.1, 0.2, 0.3], 1),
        curve([0.5], 0, "x_minus_y"),
        curve([0.5, 0.6], 1, "x_minus_y"),
    ]
    assert watch_of(assignment, chunk_of(*runs)).score == pytest.approx((1.0 + 0.3 + 0.5 + 0.6) / 4)
    assert math.isnan(watch_of(assignment, chunk_of(*runs[:3])).score)
    assert math.isnan(watch_of(assignment).score)
    loss = assignment_of(until="val_loss < 0.5")
    assert watch_of(loss, chunk_of(curve([0.1], val_loss=[1.5]))).score == 1.5


def test_the_hindmost_is_the_run_that_is_furthest_behind_and_not_over() -> None:
    nan = math.nan
    assignment = assignment_of(replicates=(0, 1, 2))
    arrived, diverged = curve([1.0], 0), curve([0.1, 0.1], 1, train_loss=[1.0, nan])
    for seen, step in (([0.1] * 3, 30), ([0.1] * 5, 50)):
        assert watch_of(assignment, chunk_of(arrived, diverged, curve(seen, 2))).slowest_step == step
    assert watch_of(assignment, chunk_of(arrived, diverged)).slowest_step == 0
    assert watch_of(assignment).slowest_step == 0
    assert watch_of(assignment, chunk_of(arrived, diverged, curve([0.1] * 6, 2))).known
    assert not watch_of(assignment, chunk_of(arrived, diverged, curve([0.1] * 5, 2))).known
    assert not watch_of(assignment, chunk_of(arrived, diverged)).known
    assert not watch_of(assignment).known


def test_a_run_is_over_when_its_seconds_are() -> None:
    """Ten steps take a tenth of a second."""
    assignment = assignment_of(minimize="seconds", horizon_seconds=0.3)
    assert not watch_of(assignment, chunk_of(curve([0.1] * 2))).known
    assert watch_of(assignment, chunk_of(curve([0.1] * 2))).slowest_step == 20
    assert watch_of(assignment, chunk_of(curve([0.1] * 3))).known
    assert watch_of(assignment, chunk_of(curve([0.1] * 3))).slowest_step == 0


@pytest.mark.parametrize("sustained", [1, 2, 4])
def test_what_is_seen_of_a_trial_bounds_its_value_from_below_at_every_moment(sustained: int) -> None:
    """The promise that capping rests on, for runs that are past the threshold now and then, or for good."""
    chance = random.Random(sustained)
    assignment = assignment_of(replicates=(0, 1), sustained=sustained, horizon=100)
    for _ in range(30):
        curves = [curve([chance.choice([0.1, 1.0]) for _ in range(10)], replicate) for replicate in (0, 1)]
        final = summary_of(assignment, curves, limit=100.0).value
        for evaluations in range(1, 11):
            seen = chunk_of(*({name: values[:evaluations] for name, values in each.items()} for each in curves))
            bound = lower_bound(watch_of(assignment, seen).observations, 100.0)
            assert bound <= final + 1e-12, f"after {evaluations} evaluations"


def test_a_trial_in_its_tails_is_known_and_what_it_does_then_changes_nothing_but_its_score() -> None:
    assignment = assignment_of(replicates=(0, 1), tail=40)
    arrived = watch_of(assignment, chunk_of(curve([0.1, 1.0], 0), curve([1.0], 1)))
    later = watch_of(assignment, chunk_of(curve([0.1, 1.0, 0.2], 0), curve([1.0, 0.2, 0.2], 1)))
    for watch in (arrived, later):
        assert watch.known
        assert [each.time for each in watch.observations["x_plus_y"]] == [20.0, 10.0]
    assert later.score == pytest.approx(0.2)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_it_does_not_matter_how_a_curve_is_cut_into_chunks(rows: int) -> None:
    assignment = assignment_of(replicates=(0, 1), sustained=2, horizon=100)
    curves = [curve([0.1, 1.0, 0.1, 1.0, 1.0, 0.3, 0.2, 0.1, 0.1, 0.1], 0), curve([0.3, 0.2] * 5, 1)]
    chunks = [
        chunk_of(*({name: values[at : at + rows] for name, values in each.items()} for each in curves))
        for at in range(0, 10, rows)
    ]
    piecewise, whole = watch_of(assignment, *chunks), watch_of(assignment, chunk_of(*curves))
    assert piecewise.observations == whole.observations
    assert (piecewise.score, piecewise.slowest_step) == (whole.score, whole.slowest_step) == (pytest.approx(0.15), 0)
