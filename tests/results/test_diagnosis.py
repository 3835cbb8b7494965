"""Labels, spikes and falls on curves drawn by hand."""

import math

import numpy as np
import pytest

from sweeper.results.diagnosis import fell_back, label_of, spikes


@pytest.mark.parametrize(
    ("train_99", "val_99", "back", "label"),
    [
        (500, 4000, False, "grokking"),
        (500, 1001, False, "grokking"),
        (500, 1000, False, "comprehension"),
        (500, 500, False, "comprehension"),
        (500, 400, False, "comprehension"),
        (None, 400, False, "comprehension"),
        (500, 4000, True, "collapse"),
        (500, 600, True, "collapse"),
        (None, 600, True, "collapse"),
        (500, None, False, "memorisation"),
        (None, None, False, "confusion"),
    ],
)
def test_the_kind_of_learning(train_99: int | None, val_99: int | None, back: bool, label: str) -> None:
    assert label_of(train_99, val_99, back) == label


@pytest.mark.parametrize(
    ("accuracy", "back"),
    [
        ([0.1, 0.995, 0.93], True),
        ([0.995, 0.1, 0.2], True),
        ([0.1, 0.995, 0.945], False),
        ([0.1, 0.995, 0.5, 0.995], False),
        ([0.1, 0.99, 0.2], False),
        ([0.1, 0.5, 0.2], False),
        ([0.995], False),
        ([], False),
        ([math.nan, 0.995, 0.2], True),
        ([math.nan, 0.5, 0.2], False),
    ],
    ids=str,
)
def test_whether_accuracy_fell_back(accuracy: list[float], back: bool) -> None:
    found = fell_back(np.array(accuracy))
    assert found is back


def calm_but(length: int = 60, **heights: float) -> np.ndarray:
    """A loss of 1, but for `at30=6` and the like."""
    loss = np.ones(length)
    for at, height in heights.items():
        loss[int(at.removeprefix("at"))] = height
    return loss


@pytest.mark.parametrize(
    ("loss", "count"),
    [
        (calm_but(), 0),
        (calm_but(at30=5.1), 1),
        (calm_but(at30=5.0), 0),
        (calm_but(at30=6, at31=9, at32=6), 1),
        (calm_but(at30=6, at32=6), 2),
        (calm_but(at25=6), 1),
        (calm_but(at24=6), 0),
        (calm_but(at59=6), 1),
        (calm_but(at30=math.inf), 1),
        (calm_but(at30=math.nan), 0),
        (calm_but(length=25, at24=100), 0),
        (np.array([]), 0),
    ],
)
def test_a_spike_is_a_rise_over_five_times_the_median_of_the_25_evaluations_before(
    loss: np.ndarray, count: int
) -> None:
    assert spikes(loss) == count


def test_a_spike_is_measured_against_the_recent_past_only() -> None:
    falling = np.concatenate([np.full(30, 1.0), np.full(30, 0.1), [0.6], np.full(5, 0.1)])
    assert spikes(falling) == 1
    assert spikes(np.concatenate([np.full(40, 1.0), [0.6]])) == 0


def test_a_loss_that_stays_high_is_one_spike() -> None:
    assert spikes(np.concatenate([np.full(30, 0.1), np.full(40, 1.0)])) == 1
