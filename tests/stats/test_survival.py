"""Survival curves: against published values, against scipy, and the properties that they promise."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, binomtest, ecdf

from sweeper.stats.objective import Observation, rmst
from sweeper.stats.survival import Survival, kaplan_meier, restricted_mean, success_rate

# Weeks of remission with 6-MP (Freireich et al. 1963; Gehan 1965), the textbooks' example of Kaplan and Meier's curve.
WEEKS = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
RELAPSED = [True] * 9 + [False] * 12
LIMIT = 1000.0

run = st.tuples(st.integers(1, 12).map(float), st.booleans())
groups = st.lists(run, min_size=1, max_size=12)


def curve_of(group: Sequence[tuple[float, bool]]) -> Survival:
    return kaplan_meier([time for time, _ in group], [reached for _, reached in group])


def test_the_curve_of_6_mp_is_the_published_one() -> None:
    curve = kaplan_meier(WEEKS, RELAPSED)
    drops = curve.reached > 0
    assert curve.times[drops].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve.at_risk[drops].tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert curve.reached[drops].tolist() == [3, 1, 1, 1, 1, 1, 1]
    assert curve.survival[drops] == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=6e-4)
    assert curve.censored.tolist() == [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    assert curve.median == 23


def test_the_interval_of_6_mp_is_the_published_one() -> None:
    curve = kaplan_meier(WEEKS, RELAPSED)
    drops = curve.reached > 0
    assert curve.low[drops] == pytest.approx([0.620, 0.563, 0.503, 0.432, 0.368, 0.268, 0.188], abs=6e-4)
    assert curve.high[drops] == pytest.approx([0.952, 0.923, 0.889, 0.849, 0.805, 0.747, 0.680], abs=6e-4)


def test_the_restricted_mean_of_6_mp_is_the_published_one() -> None:
    # Klein and Moeschberger 2003, section 4.5: mean 23.287 with variance 7.993.
    mean, error = restricted_mean(kaplan_meier(WEEKS, RELAPSED), 35)
    assert mean == pytest.approx(23.287, abs=1e-3)
    assert error**2 == pytest.approx(7.993, abs=2e-3)


def test_a_curve_starts_at_1_and_time_0() -> None:
    curve = kaplan_meier([0, 0, 5], [True, False, True])
    assert curve.times.tolist() == [0, 0, 5]
    assert curve.survival == pytest.approx([1, 2 / 3, 0])
    assert curve.at_risk.tolist() == [3, 3, 1]
    assert curve.reached.tolist() == [0, 1, 1]


def test_a_run_censored_when_another_reached_was_still_at_risk() -> None:
    curve = kaplan_meier([4, 4, 8], [False, True, True])
    assert curve.survival == pytest.approx([1, 2 / 3, 0])
    assert curve.at_risk.tolist() == [3, 3, 1]


def test_where_greenwood_has_no_interval_it_is_the_exact_one() -> None:
    for n in (1, 2, 10):
        none = kaplan_meier([LIMIT] * n, [False] * n)
        exact = binomtest(n, n).proportion_ci(0.95, method="exact")
        assert none.low == pytest.approx([exact.low, exact.low])
        assert none.high.tolist() == [1, 1]
        every = kaplan_meier([5] * n, [True] * n)
        exact = binomtest(0, n).proportion_ci(0.95, method="exact")
        assert every.low[-1] == 0
        assert every.high[-1] == pytest.approx(exact.high)


def test_the_last_run_to_reach_does_not_raise_the_upper_bound() -> None:
    curve = kaplan_meier(np.arange(1, 11), np.full(10, True))
    assert curve.survival[-1] == 0
    assert curve.high[-1] == curve.high[-2] < 0.5


@given(groups)
@settings(deadline=None, max_examples=60)
def test_the_curve_and_its_interval_are_scipys(group: list[tuple[float, bool]]) -> None:
    curve = curve_of(group)
    sample = CensoredData(
        uncensored=[time for time, reached in group if reached], right=[time for time, reached in group if not reached]
    )
    theirs = ecdf(sample).sf
    assert curve.survival[1:] == pytest.approx(theirs.probabilities)
    assert curve.times[1:].tolist() == theirs.quantiles.tolist()
    inner = (curve.survival[1:] > 0) & (curve.survival[1:] < 1)
    if inner.all():
        assert curve.low[1:] == pytest.approx(theirs.confidence_interval(method="log-log").low.probabilities)
        assert curve.high[1:] == pytest.approx(theirs.confidence_interval(method="log-log").high.probabilities)


@given(groups)
@settings(deadline=None, max_examples=60)
def test_a_curve_falls_from_1_inside_its_interval_and_counts_every_run(group: list[tuple[float, bool]]) -> None:
    curve = curve_of(group)
    assert curve.survival[0] == 1 and (np.diff(curve.survival) <= 0).all()
    assert (np.diff(curve.times) > 0).all()
    assert (curve.low >= 0).all() and (curve.high <= 1).all()
    assert (curve.low <= curve.survival).all() and (curve.survival <= curve.high).all()
    assert curve.at_risk[0] == len(group) == curve.reached.sum() + len(curve.censored)
    assert (curve.reached <= curve.at_risk).all()


def test_the_median_is_there_when_exactly_half_reached_the_event() -> None:
    assert kaplan_meier(range(1, 11), [True] * 5 + [False] * 5).median == 5
    assert kaplan_meier(range(1, 11), [True] * 4 + [False] * 6).median is None
    # The product of 5/6, 4/5 and 3/4 is a little above one half in floating point.
    assert kaplan_meier([1, 2, 3, 9, 9, 9], [True] * 3 + [False] * 3).median == 3


def test_a_group_that_never_reached_has_no_median_and_the_limit_as_mean() -> None:
    curve = kaplan_meier([LIMIT] * 4, [False] * 4)
    assert curve.median is None
    assert restricted_mean(curve, LIMIT) == (LIMIT, 0)


def test_a_single_run() -> None:
    for reached in (True, False):
        mean, error = restricted_mean(kaplan_meier([300], [reached]), LIMIT)
        assert mean == (300 if reached else LIMIT)
        assert math.isnan(error)


@given(st.lists(st.tuples(st.integers(1, 1500).map(float), st.booleans()), min_size=2, max_size=10))
@settings(deadline=None, max_examples=60)
def test_the_area_is_the_objectives_mean_when_the_others_were_seen_to_the_limit(
    group: list[tuple[float, bool]],
) -> None:
    seen = [(time, True) if reached and time <= LIMIT else (LIMIT, False) for time, reached in group]
    mean, error = restricted_mean(curve_of(seen), LIMIT)
    theirs = rmst([Observation(time, reached) for time, reached in seen], LIMIT)
    assert mean == pytest.approx(theirs.mean)
    assert error == pytest.approx(theirs.error * math.sqrt(1 - 1 / len(seen)))


def test_past_the_last_censored_run_the_curve_goes_on_flat() -> None:
    curve = kaplan_meier([2, 4], [True, False])
    assert restricted_mean(curve, 4)[0] == pytest.approx(2 + 2 * 0.5)
    assert restricted_mean(curve, 10)[0] == pytest.approx(2 + 8 * 0.5)


def test_nothing_counts_after_the_limit() -> None:
    seen_on = restricted_mean(kaplan_meier([2, 4, 8], [True] * 3), 3)
    assert seen_on == pytest.approx(restricted_mean(kaplan_meier([2, 3, 3], [True, False, False]), 3))
    assert restricted_mean(kaplan_meier([2, 4], [True, True]), 1) == (1, 0)


def test_success_rates_by_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (reached, runs), (low, high) in published.items():
        found = success_rate(reached, runs)
        assert found.rate == reached / runs
        assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
    assert success_rate(5, 5).high == 1


@pytest.mark.parametrize(("times", "reached"), [([], []), ([1, 2], [True]), ([[1]], [[True]])])
def test_runs_without_times_or_flags_are_an_error(times: list[float], reached: list[bool]) -> None:
    with pytest.raises(ValueError, match="one time and one flag"):
        kaplan_meier(times, reached)


@pytest.mark.parametrize("time", [-1, math.nan, math.inf])
def test_a_time_that_is_none_is_an_error(time: float) -> None:
    with pytest.raises(ValueError, match="finite and at least 0"):
        kaplan_meier([time], [True])


def test_limits_and_counts_that_make_no_sense_are_errors() -> None:
    for limit in (0, -1, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            restricted_mean(kaplan_meier([1], [True]), limit)
    for reached, runs in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="at least one has to run"):
            success_rate(reached, runs)
