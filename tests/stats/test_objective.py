"""Restricted mean time and the sampler's value: by hand, against scipy, and the orders that they promise."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from sweeper.stats.events import Event
from sweeper.stats.objective import Observation, Rmst, limit_of, lower_bound, rmst, value

LIMIT = 1000.0
EVENT = Event("val_accuracy", ">", 0.99)
BELOW = Event("val_loss", "<", 0.5)
NAN = math.nan

times = st.floats(1, LIMIT)
metrics = st.floats(0, 0.99) | st.just(NAN)
reached = st.builds(Observation, times, st.just(True), st.floats(0.991, 1))
missed = st.builds(Observation, st.floats(0, LIMIT), st.just(False), metrics)
several = st.integers(1, 4)


def runs(*seen: float | None) -> list[Observation]:
    return [Observation(LIMIT if time is None else time, time is not None) for time in seen]


def test_rmst_by_hand() -> None:
    assert rmst(runs(200, 400, 600), LIMIT) == Rmst(400.0, pytest.approx(200 / math.sqrt(3)))
    assert rmst(runs(200, None), LIMIT) == Rmst(600.0, pytest.approx(400.0))
    assert rmst(runs(None, None), LIMIT) == Rmst(1000.0, 0.0)
    assert rmst(runs(200, 1600), LIMIT) == Rmst(600.0, pytest.approx(400.0))


def test_rmst_of_one_run_has_no_error() -> None:
    found = rmst(runs(200), LIMIT)
    assert found.mean == 200
    assert math.isnan(found.error)


def test_a_run_that_was_stopped_early_counts_at_the_limit() -> None:
    assert rmst([Observation(10, False, 0.9), Observation(0, False)], LIMIT) == Rmst(1000.0, 0.0)


def area_under_survival(seen: Sequence[Observation], limit: float) -> float:
    """Kaplan-Meier's curve by scipy, integrated from 0 to the limit."""
    inside = [o.time for o in seen if o.reached and o.time < limit]
    curve = ecdf(CensoredData(uncensored=inside, right=[limit] * (len(seen) - len(inside)))).sf
    at = [0.0, *(time for time in curve.quantiles if time < limit), limit]
    return float(np.dot(np.diff(at), curve.evaluate(at[:-1])))


@given(st.lists(st.builds(Observation, st.floats(1, 1.5 * LIMIT), st.booleans()), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_rmst_is_the_area_under_scipys_survival_curve(seen: list[Observation]) -> None:
    assert rmst(seen, LIMIT).mean == pytest.approx(area_under_survival(seen, LIMIT))


def test_the_limit_of_each_clock() -> None:
    assert limit_of("steps", 7500, 512, None) == 7500
    assert limit_of("examples", 7500, 512, 60.0) == 7500 * 512
    assert limit_of("seconds", 7500, 512, 60.0) == 60
    with pytest.raises(ValueError, match="the seconds clock needs horizon_seconds"):
        limit_of("seconds", 7500, 512, None)


def test_the_value_is_the_mean_over_operations_of_log_rmst() -> None:
    assert value({"plus": runs(100, 300)}, EVENT, LIMIT) == pytest.approx(math.log(200))
    both = {"plus": runs(100, 300), "minus": runs(50, 50, 50)}
    assert value(both, EVENT, LIMIT) == pytest.approx((math.log(200) + math.log(50)) / 2)


@pytest.mark.parametrize(
    ("event", "best", "overtime"),
    [
        (EVENT, 0.99, 1.001),
        (EVENT, 1.0, 1.001),
        (EVENT, 0.495, 1.001 + 0.008 / 3),
        (EVENT, 0.0, 1.005),
        (EVENT, NAN, 1.01),
        (BELOW, 0.5, 1.001),
        (BELOW, 0.25, 1.001),
        (BELOW, 1.0, 1.005),
        (BELOW, 2.0, 1.007),
        (BELOW, 1e300, 1.009),
        (BELOW, math.inf, 1.009),
        (Event("m", ">", 0.0), -1.0, 1.005),
        (Event("m", ">", -2.0), -4.0, 1.005),
    ],
    ids=str,
)
def test_a_run_that_missed_counts_over_the_limit_by_how_far_it_stayed_away(
    event: Event, best: float, overtime: float
) -> None:
    for time in (0.0, 10.0, LIMIT):
        found = value({"plus": [Observation(time, False, best)]}, event, LIMIT)
        assert found == pytest.approx(math.log(LIMIT * overtime), abs=1e-9)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_trial_none_of_whose_runs_reached_ranks_after_any_whose_runs_all_did(data: st.DataObject) -> None:
    operations = ["plus", "minus"][: data.draw(st.integers(1, 2))]
    good = {o: data.draw(st.lists(reached, min_size=1, max_size=4)) for o in operations}
    bad = {o: data.draw(st.lists(missed, min_size=1, max_size=4)) for o in operations}
    assert value(good, EVENT, LIMIT) < value(bad, EVENT, LIMIT)


def test_a_run_that_reached_just_past_the_limit_still_ranks_before_one_that_never_did() -> None:
    # On the seconds clock the last evaluation ends after horizon_seconds, and may show the event.
    late = [Observation(1.2 * LIMIT, True, 0.995)]
    assert value({"plus": late}, EVENT, LIMIT) < value({"plus": [Observation(LIMIT, False, 0.989)]}, EVENT, LIMIT)


anything = st.builds(Observation, st.floats(0, 2 * LIMIT), st.booleans(), st.floats(width=16) | st.just(NAN))


@pytest.mark.slow
@given(st.lists(anything.filter(lambda o: o.time > 0 or not o.reached), min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=60)
def test_the_value_is_finite_whatever_was_seen(seen: list[Observation], data: st.DataObject) -> None:
    event = data.draw(st.sampled_from([EVENT, BELOW, Event("m", ">", 0.0), Event("m", "<", -1.0)]))
    assert math.isfinite(value({"plus": seen}, event, LIMIT))


@pytest.mark.slow
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_the_value_is_the_log_of_rmst_and_at_most_one_percent(data: st.DataObject) -> None:
    operations = ["plus", "minus", "times"][: data.draw(st.integers(1, 3))]
    seen = {o: data.draw(st.lists(reached | missed, min_size=1, max_size=5)) for o in operations}
    logs = float(np.mean([math.log(rmst(each, LIMIT).mean) for each in seen.values()]))
    found = value(seen, EVENT, LIMIT)
    assert logs - 1e-12 <= found <= logs + math.log(1.01) + 1e-12
    if all(o.reached for each in seen.values() for o in each):
        assert found == pytest.approx(logs, abs=1e-12)


@given(missed, st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_arriving_at_the_limit_ranks_before_not_arriving(never: Observation, count: int) -> None:
    others = runs(100, 300)[: count // 2]
    at_the_limit = value({"plus": [*others, Observation(LIMIT, True, 1.0)]}, EVENT, LIMIT)
    assert at_the_limit < value({"plus": [*others, never]}, EVENT, LIMIT)


def test_trials_none_of_whose_runs_arrive_rank_by_how_close_their_best_metric_came() -> None:
    closest_first = [0.989, 0.9, 0.5, 0.01, 0.0, -3.0, -1e9, NAN]
    values = [value({"plus": [Observation(LIMIT, False, best)] * 3}, EVENT, LIMIT) for best in closest_first]
    assert all(before < after for before, after in pairwise(values))


@given(st.lists(reached | missed, max_size=4), metrics, metrics)
@settings(deadline=None, max_examples=40)
def test_a_better_metric_among_censored_runs_ranks_better(others: list[Observation], one: float, two: float) -> None:
    distance = [math.inf if math.isnan(best) else 0.99 - best for best in (one, two)]
    with_one, with_two = (
        value({"plus": [*others, Observation(LIMIT, False, best)]}, EVENT, LIMIT) for best in (one, two)
    )
    if abs(distance[0] - distance[1]) > 1e-6:
        assert (with_one < with_two) == (distance[0] < distance[1])


@given(st.lists(times, min_size=1, max_size=5), st.integers(0, 4), st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=40)
def test_reaching_the_event_earlier_never_ranks_worse(seen: list[float], index: int, share: float) -> None:
    earlier = [time * share if i == index % len(seen) else time for i, time in enumerate(seen)]
    assert value({"plus": runs(*earlier)}, EVENT, LIMIT) < value({"plus": runs(*seen)}, EVENT, LIMIT)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_the_lower_bound_never_exceeds_what_the_value_becomes(data: st.DataObject) -> None:
    operations = ["plus", "minus"][: data.draw(st.integers(1, 2))]
    final = {o: data.draw(st.lists(reached | missed, min_size=1, max_size=4)) for o in operations}
    now = data.draw(st.floats(0, LIMIT))
    so_far = {
        operation: [o if o.reached and o.time <= now else Observation(min(now, o.time), False, NAN) for o in seen]
        for operation, seen in final.items()
    }
    assert lower_bound(so_far, LIMIT) <= value(final, EVENT, LIMIT) + 1e-9


def test_the_lower_bound_by_hand() -> None:
    so_far = [Observation(200, True, 1.0), Observation(400, False, 0.5), Observation(0, False)]
    assert lower_bound({"plus": so_far}, LIMIT) == pytest.approx(math.log(200))
    assert lower_bound({"plus": so_far, "minus": runs(50)}, LIMIT) == pytest.approx((math.log(200) + math.log(50)) / 2)
    assert lower_bound({"plus": runs(100, 300)}, LIMIT) == value({"plus": runs(100, 300)}, EVENT, LIMIT)
    assert math.isfinite(lower_bound({"plus": [Observation(0, False)]}, LIMIT))


def test_the_lower_bound_counts_no_run_beyond_the_limit() -> None:
    """Evaluations come at intervals: the last one may be seen when the time is already over."""
    late = [Observation(1.25 * LIMIT, False, 0.5), Observation(LIMIT / 2, True)]
    assert lower_bound({"plus": late}, LIMIT) == pytest.approx(math.log(0.75 * LIMIT))
    assert lower_bound({"plus": late}, LIMIT) <= value({"plus": late}, EVENT, LIMIT)
