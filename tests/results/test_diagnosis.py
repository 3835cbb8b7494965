"""Labels, spikes, falls and inversions on curves drawn by hand, and on made-up ones with noise."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.results import diagnosis
from sweeper.results.diagnosis import (
    Inversion,
    Learning,
    explanations,
    fell_back,
    inversion,
    label_of,
    learning,
    spikes,
)
from sweeper.stats.events import Event

ACCURATE = Event("val_accuracy", ">", 0.99)
LOW = Event("val_loss", "<", 1.0)
EXPLAINED = Event("val_r2_within", ">", 0.5)


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
    found = fell_back(np.array(accuracy), ACCURATE)
    assert found is back


@pytest.mark.parametrize(
    ("event", "values", "back"),
    [
        (LOW, [3.0, 0.9, 1.06], True),
        (LOW, [3.0, 0.9, 1.05], False),
        (LOW, [3.0, 0.9, 1.2, 0.99], False),
        (LOW, [3.0, 1.0, 2.0], False),
        (LOW, [math.nan, 0.9, 2.0], True),
        (LOW, [], False),
        (LOW.at(0.1, 1), [0.09, 0.106], True),
        (LOW.at(0.1, 1), [0.09, 0.104], False),
        # A share of the threshold's size, where losses may be negative.
        (LOW.at(-2.0, 1), [-2.5, -1.95], False),
        (LOW.at(-2.0, 1), [-2.5, -1.85], True),
        (EXPLAINED, [0.1, 0.6, 0.44], True),
        (EXPLAINED, [0.1, 0.6, 0.46], False),
        (EXPLAINED, [0.1, 0.4, 0.2], False),
        (EXPLAINED.at(0.5, 3), [0.1, 0.6, 0.1], True),
    ],
    ids=str,
)
def test_a_loss_falls_back_by_a_share_and_a_metric_that_should_be_high_by_an_amount(
    event: Event, values: list[float], back: bool
) -> None:
    assert fell_back(np.array(values), event) is back


def curve(**columns: Any) -> dict[str, np.ndarray]:
    """A curve with an evaluation every 10 steps."""
    made = {name: np.array(values) for name, values in columns.items()}
    return {"step": 10 * np.arange(1, 1 + len(next(iter(made.values())))), **made}


@pytest.mark.parametrize(
    ("event", "columns", "expected"),
    [
        (
            LOW,
            {"train_loss": [2, 0.9, 0.5, 0.1, 0], "val_loss": [3, 3, 3, 3, 0.8]},
            Learning(20, 50, False, "grokking"),
        ),
        (LOW, {"train_loss": [2, 0.9, 0.5], "val_loss": [3, 2, 0.9]}, Learning(20, 30, False, "comprehension")),
        (LOW, {"train_loss": [2, 0.9, 0.5], "val_loss": [3, 2, 1.0]}, Learning(20, None, False, "memorisation")),
        (LOW, {"train_loss": [2, 1.9, 1.5], "val_loss": [3, 2, 1.0]}, Learning(None, None, False, "confusion")),
        (LOW, {"train_loss": [2, 0.9, 0.5], "val_loss": [3, 0.9, 1.4]}, Learning(20, 20, True, "collapse")),
        (EXPLAINED, {"train_r2_within": [0.6, 1], "val_r2_within": [0, 0.6]}, Learning(10, 20, False, "comprehension")),
        # Once is enough, whatever the event demands.
        (LOW.at(1.0, 3), {"train_loss": [0.9, 2, 2], "val_loss": [3, 3, 0.9]}, Learning(10, 30, False, "grokking")),
        (ACCURATE, {"train_accuracy": [1.0, 1.0], "val_accuracy": [1.0, 0.9]}, Learning(10, 10, True, "collapse")),
        # Without a twin nothing can be said of the kind.
        (ACCURATE, {"val_accuracy": [0.2, 1.0]}, Learning(None, 20, False, None)),
        (Event("val_clamped", "<", 0.1), {"val_clamped": [0.2, 0.0]}, Learning(None, 20, False, None)),
    ],
    ids=str,
)
def test_the_kind_of_learning_by_any_metric(event: Event, columns: dict[str, list[float]], expected: Learning) -> None:
    assert learning(curve(**columns), event) == expected


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


# ---- inversions

EVALUATIONS = 400
some = settings(deadline=None, max_examples=60, derandomize=True)
seeds = st.integers(0, 2**31)


def noise(seed: int, share: float = 0.1, length: int = EVALUATIONS) -> tuple[np.ndarray, np.ndarray]:
    """Factors that vary a training and a validation loss by that share."""
    train, val = np.random.default_rng(seed).normal(scale=share, size=(2, length))
    return np.exp(train), np.exp(val)


def step_at(at: int, before: float, after: float, length: int = EVALUATIONS) -> np.ndarray:
    return np.where(np.arange(length) < at, before, after)


def published(at: int = 156, before: float = 0.5, after: float = 0.9) -> dict[str, np.ndarray]:
    """Validation loss 3.0 -> 1.3 at one point, while training loss rises."""
    return curve(train_loss=step_at(at, before, after), val_loss=step_at(at, 3.0, 1.3))


def test_the_published_inversion_is_found_where_it_is() -> None:
    assert inversion(published()) == Inversion(1560, 1570, 3.0, 1.3, 0.5, 0.9)


def test_of_two_inversions_the_larger_one_is_told() -> None:
    made = published()
    made["val_loss"] = made["val_loss"] * step_at(300, 1, 0.3)
    made["train_loss"] = made["train_loss"] * step_at(300, 1, 1.2)
    found = inversion(made)
    assert found is not None
    assert (found.start, found.end) == (3000, 3010)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (published(after=0.551), True),
        (published(after=0.549), False),
        (published(after=0.4), False),
        (curve(train_loss=step_at(200, 0.5, 0.9), val_loss=step_at(200, 1.0, 0.749)), True),
        (curve(train_loss=step_at(200, 0.5, 0.9), val_loss=step_at(200, 1.0, 0.751)), False),
        (curve(train_loss=step_at(200, 0.5, 0.9), val_loss=step_at(200, 1.3, 3.0)), False),
        # The two within 25 evaluations of each other, or not.
        (curve(train_loss=step_at(224, 0.5, 0.9), val_loss=step_at(200, 3.0, 1.3)), True),
        (curve(train_loss=step_at(176, 0.5, 0.9), val_loss=step_at(200, 3.0, 1.3)), True),
        (curve(train_loss=step_at(225, 0.5, 0.9), val_loss=step_at(200, 3.0, 1.3)), False),
        (curve(train_loss=step_at(175, 0.5, 0.9), val_loss=step_at(200, 3.0, 1.3)), False),
        # A rise among losses that are nearly nothing beside the validation's.
        (published(before=1e-6, after=1e-3), False),
        (published(before=0.02, after=0.04), True),
        # Too near the end, or too short a curve, to tell a drop from a dip.
        (published(at=EVALUATIONS - 6), True),
        (published(at=EVALUATIONS - 5), False),
        (curve(train_loss=step_at(30, 0.5, 0.9, 60), val_loss=step_at(30, 3.0, 1.3, 60)), True),
        (curve(train_loss=step_at(30, 0.5, 0.9, 59), val_loss=step_at(30, 3.0, 1.3, 59)), False),
        (curve(train_loss=[], val_loss=[]), False),
        (curve(train_loss=np.zeros(90), val_loss=np.zeros(90)), False),
    ],
)
def test_what_is_an_inversion_and_what_is_not(made: dict[str, np.ndarray], found: bool) -> None:
    assert (inversion(made) is not None) is found


@some
@given(seeds, st.integers(20, EVALUATIONS - 20))
def test_an_inversion_is_found_in_noise_of_10_percent(seed: int, at: int) -> None:
    made, (train, val) = published(at), noise(seed)
    found = inversion({**made, "train_loss": made["train_loss"] * train, "val_loss": made["val_loss"] * val})
    assert found is not None
    assert found.start <= made["step"][at] + 50 and found.end >= made["step"][at] - 50
    assert found.end - found.start <= 10 * diagnosis.LENGTH
    before, after = (found.train_before, found.val_before), (found.train_after, found.val_after)
    assert before == pytest.approx((0.5, 3.0), rel=0.35) and after == pytest.approx((0.9, 1.3), rel=0.35)


@some
@given(seeds, st.floats(0, 0.05), st.floats(0, 0.05), st.integers(0, EVALUATIONS), st.floats(0.1, 1))
def test_a_curve_that_only_falls_shows_no_inversion_in_noise_of_10_percent(
    seed: int, train_rate: float, val_rate: float, at: int, late: float
) -> None:
    """Also where validation falls all at once, long after training: grokking by the standard definition."""
    train, val = noise(seed)
    age = np.arange(EVALUATIONS)
    falling = curve(
        train_loss=(0.2 + np.exp(-train_rate * age)) * train,
        val_loss=(0.2 + 3 * np.exp(-val_rate * age)) * step_at(at, 1, late) * val,
    )
    assert inversion(falling) is None


@some
@given(seeds, st.floats(0.01, 0.5))
def test_noise_alone_of_any_size_is_no_inversion(seed: int, share: float) -> None:
    train, val = noise(seed, share)
    assert inversion(curve(train_loss=train, val_loss=3 * val)) is None


@some
@given(seeds, st.floats(1, 40))
def test_slow_noise_of_5_percent_is_no_inversion(seed: int, evaluations: float) -> None:
    """Noise that a median over 11 evaluations leaves in: each value remembers the one before."""
    memory = math.exp(-1 / evaluations)
    train, val = np.log(noise(seed, 0.05))
    for at in range(1, EVALUATIONS):
        for each in (train, val):
            each[at] = memory * each[at - 1] + math.sqrt(1 - memory**2) * each[at]
    assert inversion(curve(train_loss=np.exp(train), val_loss=3 * np.exp(val))) is None


@pytest.mark.slow
@some
@given(seeds, st.lists(st.tuples(st.integers(0, 22), st.integers(1, 5), st.floats(-5, 5), st.booleans()), max_size=10))
def test_spikes_and_dips_of_up_to_five_evaluations_are_no_inversion(
    seed: int, bumps: list[tuple[int, int, float, bool]]
) -> None:
    losses = dict(zip(("train_loss", "val_loss"), noise(seed, 0.05), strict=True))
    for place, length, height, in_training in bumps:
        # At most one bump in any 11 evaluations.
        at = 17 * place + 6
        losses["train_loss" if in_training else "val_loss"][at : at + length] = np.exp(height)
    assert inversion(curve(**losses)) is None


@pytest.mark.slow
@some
@given(seeds, st.floats(0.01, 100), st.integers(1, 1000))
def test_an_inversion_does_not_depend_on_the_units_of_loss_and_step(seed: int, unit: float, every: int) -> None:
    made, (train, val) = published(200), noise(seed)
    made |= {"train_loss": made["train_loss"] * train, "val_loss": made["val_loss"] * val}
    scaled = {"step": made["step"] * every, **{name: made[name] * unit for name in ("train_loss", "val_loss")}}
    found, again = inversion(made), inversion(scaled)
    assert found is not None and again is not None
    assert (again.start, again.end) == (found.start * every, found.end * every)
    assert again.val_after == pytest.approx(found.val_after * unit)


def test_evaluations_without_a_loss_are_left_out() -> None:
    made = published()
    made["val_loss"][[3, 150, 158, 300]] = [math.nan, math.inf, math.nan, math.nan]
    made["train_loss"][[4, 151]] = [math.inf, math.nan]
    assert inversion(made) == Inversion(1560, 1570, 3.0, 1.3, 0.5, 0.9)


# ---- what an inversion could have been

FLAT = np.ones(EVALUATIONS)


def bump(at: int, height: float) -> np.ndarray:
    return np.where(np.arange(EVALUATIONS) == at, height, 1.0)


@pytest.mark.parametrize(
    ("columns", "near_zero", "words"),
    [
        ({}, 0.1, ()),
        ({}, 0.51, ("memorised",)),
        ({}, 0.5, ()),
        ({"val_r2_within": step_at(156, -1.2, 0.04)}, 0.1, ("group means",)),
        ({"val_r2_within": step_at(156, -1.2, -0.09)}, 0.1, ("group means",)),
        ({"val_r2_within": step_at(156, -1.2, 0.11)}, 0.1, ()),
        # On the group means before, and better afterwards.
        ({"val_r2_within": step_at(156, 0.0, 0.3)}, 0.1, ()),
        ({"last_layer_norm": step_at(156, 1, 1.06)}, 0.1, ("slingshot",)),
        ({"last_layer_norm": step_at(156, 1.06, 1)}, 0.1, ("slingshot",)),
        ({"last_layer_norm": step_at(156, 1, 1.04)}, 0.1, ()),
        ({"last_layer_norm": FLAT * np.linspace(1, 3, EVALUATIONS)}, 0.1, ()),
        ({"last_layer_norm": step_at(170, 1, 2)}, 0.1, ()),
        ({"train_loss": step_at(156, 0.5, 0.9) * bump(157, 6)}, 0.1, ("slingshot",)),
        ({"train_loss": step_at(156, 0.5, 0.9) * bump(152, 6)}, 0.1, ("slingshot",)),
        ({"train_loss": step_at(156, 0.5, 0.9) * bump(120, 6)}, 0.1, ()),
        ({"val_clamped": step_at(156, 0.0, 0.11)}, 0.1, ("clamped",)),
        ({"val_clamped": step_at(156, 0.4, 0.2)}, 0.1, ("clamped",)),
        ({"val_clamped": step_at(156, 0.0, 0.09)}, 0.1, ()),
        ({"val_clamped": bump(157, 0.5)}, 0.1, ()),
        (
            {"val_clamped": step_at(156, 0.4, 0), "last_layer_norm": step_at(156, 1, 9), "val_r2_within": 0 * FLAT},
            1.0,
            ("memorised", "group means", "slingshot", "clamped"),
        ),
    ],
)
def test_what_an_inversion_could_have_been(
    columns: dict[str, np.ndarray], near_zero: float, words: tuple[str, ...]
) -> None:
    made = {**published(), **columns}
    found = inversion(made)
    assert found is not None
    assert explanations(made, found, near_zero) == words


def test_explanations_of_an_inversion_at_either_end_of_a_curve() -> None:
    for at in (6, EVALUATIONS - 6):
        made = {**published(at), "val_r2_within": step_at(at, -1.2, 0), "val_clamped": step_at(at, 0.3, 0)}
        found = inversion(made)
        assert found is not None
        assert explanations(made, found, 1.0) == ("memorised", "group means", "clamped")
