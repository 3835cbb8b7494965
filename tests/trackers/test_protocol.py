"""What trackers are told of a trial's curves."""

import math

import numpy as np

from sweeper.trial import join
from tests.fakes.curves import chunk_of, curve
from tests.fakes.tracked import POINTS, trial


def test_points_are_those_of_every_run_in_the_order_of_steps() -> None:
    found = {
        step: {tag: value for tag, value in values.items() if tag.startswith("val_accuracy")}
        for step, values in trial().points()
    }
    assert found == POINTS
    assert list(found) == [10, 20, 30]
    _, first = next(trial().points())
    assert sorted(first) == sorted(
        f"{metric}/x_plus_y/{replicate}"
        for metric in ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
        for replicate in (0, 1)
    )


def test_what_is_no_number_is_left_out() -> None:
    columns = join([chunk_of(curve([0.5, 0.5], 0, val_loss=[math.nan, math.inf]))])
    assert {tag for _, values in trial(columns=columns).points() for tag in values} == {
        "val_accuracy/x_plus_y/0",
        "train_accuracy/x_plus_y/0",
        "train_loss/x_plus_y/0",
    }


def test_a_trial_that_failed_at_once_has_none() -> None:
    assert list(trial(columns={}).points()) == []


def test_of_a_long_curve_at_most_200_evaluations_are_told_the_first_and_the_last_among_them() -> None:
    columns = join([chunk_of(curve([0.5] * 5000, 0))])
    steps = np.array([step for step, _ in trial(columns=columns).points()])
    assert len(steps) == 200
    assert (steps[0], steps[-1]) == (10, 50_000)
    assert set(np.diff(steps)) <= {250, 260}
