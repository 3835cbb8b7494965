"""Restricted mean time and the sampler's value: by hand, against scipy, and the orders that they promise."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from sweeper.objective import Observation, Rmst, limit_of, lower_bound, rmst, value
from sweeper.outcomes import Event

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
        (EVENT, 0.99, 1.1),
        (EVENT, 1.0, 1.1),
        (EVENT, 0.495, 1.1 + 0.4 / 3),
        (EVENT, 0.0, 1.3),
        (EVENT, NAN, 1.5),
        (BELOW, 0.5, 1.1),
        (BELOW, 0.25, 1.1),
        (BELOW, 1.0, 1.3),
        (BELOW, 2.0, 1.4),
        (BELOW, 1e300, 1.5),
        (Event("m", ">", 0.0), -1.0, 1.3),
        (Event("m", ">", -2.0), -4.0, 1.3),
    ],
    ids=str,
)
def test_a_run_that_missed_counts_over_the_limit_by_how_far_it_stayed_away(
    event: Event, best: float, overtime: float
) -> None:
    for time in (0.0, 10.0, LIMIT):
        found = value({"plus": [Observation(time, False, best)]}, event, LIMIT)
        assert found == pytest.approx(math.log(LIMIT * overtime))


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


@given(st.lists(reached | missed, min_size=1, max_size=5), st.sampled_from([EVENT, BELOW]))
@settings(deadline=None, max_examples=40)
def test_the_value_is_always_finite(seen: list[Observation], event: Event) -> None:
    assert math.isfinite(value({"plus": seen}, event, LIMIT))


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
    assert lower_bound(so_far) <= value(final, EVENT, LIMIT) + 1e-9


def test_the_lower_bound_by_hand() -> None:
    so_far = [Observation(200, True, 1.0), Observation(400, False, 0.5), Observation(0, False)]
    assert lower_bound({"plus": so_far}) == pytest.approx(math.log(200))
    assert lower_bound({"plus": so_far, "minus": runs(50)}) == pytest.approx((math.log(200) + math.log(50)) / 2)
    assert lower_bound({"plus": runs(100, 300)}) == value({"plus": runs(100, 300)}, EVENT, LIMIT)
    assert math.isfinite(lower_bound({"plus": [Observation(0, False)]}))
