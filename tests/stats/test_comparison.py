"""Comparisons: by hand, against scipy, by simulation, and word by word."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import CensoredData, logrank, permutation_test, t

from sweeper.stats.comparison import Comparison, compare, holm, verdict

Floats = npt.NDArray[np.float64]
LIMIT = 1000.0
TEN = Comparison(0.77, 0.67, 0.88, 0.004, 10, None)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Floats, Floats]:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 7)))
    a, b = (draw(arrays(np.float64, shape, elements=st.integers(1, 1000).map(float))) for _ in "ab")
    return a, b


def simulated(
    random: np.random.Generator, replicates: int, effect: float = 0.0, operations: int = 1
) -> tuple[Floats, Floats]:
    """Log-normal times, censored at the limit, of two configurations whose runs share what their seeds do."""
    seed = random.normal(size=(1, replicates))
    a, b = (0.3 * (seed + random.normal(size=(operations, replicates))) for _ in "ab")
    return np.minimum(600 * np.exp(a + effect), LIMIT), np.minimum(600 * np.exp(b), LIMIT)


def test_by_hand() -> None:
    found = compare([[2, 4]], [[4, 8]])
    assert found.ratio == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))  # each run takes half as long: nothing spreads
    assert found.p == 0.5  # of the four swaps, none and both
    assert found.replicates == 2
    assert found.needed == 4  # six, the fewest that can separate


def test_operations_count_alike_however_long_they_take() -> None:
    found = compare([[2, 2], [5000, 5000]], [[1, 1], [5000, 5000]])
    assert found.ratio == pytest.approx(math.sqrt(2))


def test_the_interval_by_hand() -> None:
    a, b = np.array([[1.0, 2, 3]]), np.array([[4.0, 4, 4]])
    influence = np.array([0.5, 1, 1.5]) - 1
    margin = t.ppf(0.975, 2) * influence.std(ddof=1) / math.sqrt(3)
    found = compare(a, b)
    assert (found.low, found.high) == pytest.approx((0.5 * math.exp(-margin), 0.5 * math.exp(margin)))
    assert found.p == 0.25


def test_identical_arrays() -> None:
    times = [[3.0, 5, 8, 13, 21, 34], [1, 1, 2, 3, 5, 8]]
    assert compare(times, times) == Comparison(1.0, 1.0, 1.0, 1.0, 6, None)


def test_when_none_reached_the_event_nothing_is_separated() -> None:
    nobody = np.full((2, 8), LIMIT)
    found = compare(nobody, nobody)
    assert found == Comparison(1.0, 1.0, 1.0, 1.0, 8, None)
    assert not found.separated


def test_one_replicate_says_only_the_ratio() -> None:
    assert compare([[100.0]], [[200.0]]) == Comparison(pytest.approx(0.5), 0.0, math.inf, 1.0, 1, None)


@pytest.mark.parametrize("replicates", range(1, 9))
def test_the_smallest_p_value_is_one_swap_in_either_direction(replicates: int) -> None:
    found = compare(np.full((1, replicates), 1.0), np.full((1, replicates), 9.0))
    assert found.p == 2 / 2**replicates
    assert found.separated == (replicates >= 6)


def test_extremely_unequal_times_are_still_a_number() -> None:
    found = compare(np.full((1, 6), 1e-9), np.full((1, 6), 1e9))
    assert found.ratio == pytest.approx(1e-18)
    assert found.p == 2 / 2**6


@pytest.mark.slow
@given(pairs())
@settings(deadline=None, max_examples=60)
def test_swapping_the_two_inverts_the_ratio_and_nothing_else(both: tuple[Floats, Floats]) -> None:
    a, b = both
    there, back = compare(a, b), compare(b, a)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.p == there.p
    assert back.needed == there.needed
    if there.low > 0:
        assert (back.low, back.high) == (pytest.approx(1 / there.high), pytest.approx(1 / there.low))


@pytest.mark.slow
@given(pairs(), st.sampled_from([1e-3, 0.3, 7.0, 1e6]))
@settings(deadline=None, max_examples=60)
def test_the_unit_of_time_does_not_matter(both: tuple[Floats, Floats], unit: float) -> None:
    a, b = both
    one, other = compare(a, b), compare(a * unit, b * unit)
    assert (other.ratio, other.low, other.high) == pytest.approx((one.ratio, one.low, one.high))
    assert other.p == one.p


@pytest.mark.slow
@given(pairs(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_p_is_a_count_of_swaps_and_the_order_of_seeds_does_not_matter(both: tuple[Floats, Floats], random) -> None:
    a, b = both
    found = compare(a, b)
    count = found.p * 2 ** a.shape[1]
    assert count == round(count) >= 2
    assert found.low <= found.ratio <= found.high
    order = random.sample(range(a.shape[1]), a.shape[1])
    assert compare(a[:, order], b[:, order]).p == found.p


@given(pairs())
@settings(deadline=None, max_examples=30)
def test_p_is_scipys(both: tuple[Floats, Floats]) -> None:
    a, b = both[0][0], both[1][0]
    if len(a) == 1:
        return  # scipy wants two observations

    def statistic(x: Floats, y: Floats, axis: int = -1) -> Floats:
        return np.log(x.mean(axis=axis) / y.mean(axis=axis))

    theirs = permutation_test((a, b), statistic, permutation_type="samples", vectorized=True, n_resamples=np.inf)
    assert compare([a], [b]).p == pytest.approx(theirs.pvalue)


def test_random_swaps_agree_with_every_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = simulated(np.random.default_rng(3), 12, 0.15, operations=2)
    exact = compare(a, b)
    monkeypatch.setattr("sweeper.stats.comparison.MOST_EXACT", 11)
    sampled = compare(a, b)
    assert 0.01 < exact.p < 0.9
    assert sampled.p == pytest.approx(exact.p, abs=4 * math.sqrt(exact.p / 100_000))
    assert compare(a, b) == sampled


def test_many_replicates_never_give_a_p_value_of_0() -> None:
    found = compare(np.full((2, 40), 1.0), np.full((2, 40), 2.0))
    assert found.p == 1 / 100_001


@pytest.mark.parametrize("effect", [-0.8, 0.8])
def test_the_log_rank_test_agrees_on_which_is_faster(effect: float) -> None:
    a, b = simulated(np.random.default_rng(5), 12, effect)
    samples = [CensoredData.right_censored(times[0], times[0] == LIMIT) for times in (a, b)]
    found, theirs = compare(a, b), logrank(*samples)
    assert found.separated and theirs.pvalue < 0.05
    # The statistic is positive when the first group reaches the event more often than expected, that is sooner.
    assert (found.ratio < 1) == (theirs.statistic > 0) == (effect < 0)


@pytest.mark.slow
@pytest.mark.parametrize("operations", [1, 2])
def test_the_interval_covers_the_true_ratio(operations: int) -> None:
    random = np.random.default_rng(11)
    effect = -0.3
    many_a, many_b = simulated(random, 1_000_000, effect)
    truth = many_a.mean() / many_b.mean()
    found = [compare(*simulated(random, 10, effect, operations)) for _ in range(400)]
    assert 0.90 < np.mean([each.low <= truth <= each.high for each in found]) < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [6, 9])
def test_equal_configurations_are_rarely_separated(replicates: int) -> None:
    random = np.random.default_rng(13)
    found = [compare(*simulated(random, replicates, operations=2)) for _ in range(400)]
    assert np.mean([each.separated for each in found]) < 0.07


@pytest.mark.slow
def test_the_replicates_needed_give_about_the_power_promised() -> None:
    # Each pilot stands for all the runs that there could be: what it estimated then holds.
    random = np.random.default_rng(17)
    pilots = [simulated(random, 6, -0.3) for _ in range(60)]
    found = []
    for a, b in pilots:
        more = 6 + (compare(a, b).needed or math.inf)
        if 9 <= more <= 14:
            drawn = [random.integers(0, 6, more) for _ in range(40)]
            found.append(np.mean([compare(a[:, seeds], b[:, seeds]).separated for seeds in drawn]))
    assert len(found) >= 8
    assert 0.65 < np.mean(found) < 0.95


def test_more_than_10_000_more_is_hopeless() -> None:
    a = np.array([[100.0, 200.0, 300.0]])
    b = np.array([[300.0, 200.0, 100.1]])
    assert compare(a, b).needed is None
    b[0, 2] = 140
    needed = compare(a, b).needed
    assert needed is not None and 10 < needed < 10_000


@pytest.mark.parametrize(
    ("a", "b"),
    [([[1, 2]], [[1]]), ([1, 2], [1, 2]), ([[]], [[]]), (np.ones((0, 3)), np.ones((0, 3))), ([[1], [2]], [[1, 2]])],
    ids=str,
)
def test_arrays_that_do_not_fit_are_an_error(a: npt.ArrayLike, b: npt.ArrayLike) -> None:
    with pytest.raises(ValueError, match="two arrays"):
        compare(a, b)


@pytest.mark.parametrize("time", [0, -1, math.nan, math.inf])
def test_a_time_that_is_none_is_an_error(time: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        compare([[1, 1]], [[1, time]])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_holm_lies_between_the_p_values_and_bonferroni_and_keeps_their_order(raw: list[float]) -> None:
    adjusted = holm(raw)
    for p, q in zip(raw, adjusted, strict=True):
        assert p <= q <= min(1, len(raw) * p)
        assert all(q <= other for before, other in zip(raw, adjusted, strict=True) if p < before)


@pytest.mark.parametrize(
    ("comparison", "p", "sentence"),
    [
        (TEN, None, "A is faster than B by 23 % (95 % interval 12 to 33 %), p = 0.004, 10 replicates"),
        (TEN, 0.012, "A is faster than B by 23 % (95 % interval 12 to 33 %), p = 0.012 (Holm), 10 replicates"),
        (
            Comparison(1.30, 1.10, 1.54, 0.0004, 10, None),
            None,
            "A is slower than B by 30 % (95 % interval 10 to 54 %), p < 0.001, 10 replicates",
        ),
        (
            Comparison(0.93, 0.80, 1.09, 0.31, 10, 24),
            None,
            "A and B are not separated (A takes 0.93 times as long, 95 % interval 0.80 to 1.09), p = 0.31,"
            " 10 replicates; about 24 more replicates would be needed to tell them apart, if the difference is real",
        ),
        (
            Comparison(0.93, 0.80, 1.09, 0.31, 10, None),
            None,
            "A and B are not separated (A takes 0.93 times as long, 95 % interval 0.80 to 1.09), p = 0.31,"
            " 10 replicates",
        ),
        (
            TEN,
            0.06,
            "A and B are not separated (A takes 0.77 times as long, 95 % interval 0.67 to 0.88), p = 0.060 (Holm),"
            " 10 replicates",
        ),
        (
            Comparison(0.5, 0.0, math.inf, 1.0, 1, None),
            None,
            "A and B are not separated (A takes 0.50 times as long, 95 % interval 0.00 to ∞), p = 1.00, 1 replicate;"
            " 1 pair cannot give p < 0.05; at least 6 are needed",
        ),
        (
            Comparison(0.5, 1e-7, 2.5e6, 0.5, 2, 4),
            None,
            "A and B are not separated (A takes 0.50 times as long, 95 % interval 0.00 to over 1,000), p = 0.50,"
            " 2 replicates; 2 pairs cannot give p < 0.05; at least 6 are needed",
        ),
        (
            Comparison(0.8, 0.28, 2.25, 0.5, 3, 26),
            None,
            "A and B are not separated (A takes 0.80 times as long, 95 % interval 0.28 to 2.25), p = 0.50,"
            " 3 replicates; 3 pairs cannot give p < 0.05; at least 6 are needed;"
            " about 26 more replicates would be needed to tell them apart, if the difference is real",
        ),
        (
            replace(TEN, high=1.02),
            None,
            "A is faster than B by 23 % (95 % interval -2 to 33 %), p = 0.004, 10 replicates",
        ),
        (
            replace(TEN, high=1.002),
            None,
            "A is faster than B by 23 % (95 % interval 0 to 33 %), p = 0.004, 10 replicates",
        ),
        (
            Comparison(1.004, 1.002, 1.006, 0.01, 30, None),
            None,
            "A is slower than B by 0.4 % (95 % interval 0.2 to 0.6 %), p = 0.010, 30 replicates",
        ),
        (
            Comparison(25.0, 11.0, 57.0, 0.03, 6, None),
            None,
            "A is slower than B by 2,400 % (95 % interval 1,000 to 5,600 %), p = 0.030, 6 replicates",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verdicts_word_by_word(comparison: Comparison, p: float | None, sentence: str) -> None:
    assert verdict("A", "B", comparison, p) == sentence
