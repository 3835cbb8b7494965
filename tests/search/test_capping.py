"""A cap never refuses a trial that could have mattered, whatever the order in which trials finish."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers._tpe.sampler import default_gamma

from sweeper.search.capping import cap, places_that_matter

values = st.lists(st.floats(-5, 5) | st.integers(-2, 2).map(float), min_size=1, max_size=40)


def test_the_cap_is_the_last_of_the_best_places_and_infinite_while_they_are_not_taken() -> None:
    assert cap([], 1) == math.inf
    assert cap([3.0, 1.0], 3) == math.inf
    assert cap([3.0, 1.0, 2.0], 3) == 3.0
    assert cap([3.0, 1.0, 2.0, 0.0], 3) == 2.0
    assert cap([1.0, 1.0, 2.0], 2) == 1.0
    assert cap(iter([3.0, 1.0]), 1) == 1.0


@given(values, st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=40)
def test_a_trial_that_is_refused_at_any_moment_is_never_among_the_best_places_at_the_end(
    finals: list[float], places: int, data: st.DataObject
) -> None:
    # Trials finish one by one; each is asked about, with a bound below its value, at some moment before it finishes.
    moments = [data.draw(st.integers(0, i)) for i in range(len(finals))]
    bounds = [final - data.draw(st.sampled_from([0.0, 0.5, 3.0])) for final in finals]
    refused = [bounds[i] > cap(finals[: moments[i]], places) for i in range(len(finals))]
    worst_that_matters = sorted(finals)[:places][-1]
    assert all(final > worst_that_matters for final, no in zip(finals, refused, strict=True) if no)


@given(values, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_the_best_places_are_the_same_with_and_without_capping(finals: list[float], places: int) -> None:
    # A refused trial is told something past the cap; here as little past it as can be.
    told: list[float] = []
    for final in finals:
        limit = cap(told, places)
        told.append(math.nextafter(limit, math.inf) if final > limit else final)
    assert sorted(told)[:places] == sorted(finals)[:places]


@given(values, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_a_trial_is_refused_exactly_when_enough_finished_trials_are_strictly_better(
    finals: list[float], places: int
) -> None:
    for i, final in enumerate(finals):
        assert (final > cap(finals[:i], places)) == (sum(other < final for other in finals[:i]) >= places)


@pytest.mark.parametrize(
    ("trials", "finalists", "places"),
    [(None, 3, 25), (None, 30, 30), (1, 0, 1), (10, 1, 1), (11, 1, 2), (200, 3, 20), (200, 21, 21), (10_000, 3, 25)],
)
def test_places_that_matter(trials: int | None, finalists: int, places: int) -> None:
    assert places_that_matter(trials, finalists) == places


def test_the_places_are_never_fewer_than_optunas_good_side_at_any_time_of_the_sweep() -> None:
    for trials in range(1, 400):
        assert places_that_matter(trials, 0) >= max(default_gamma(n) for n in range(trials + 1))
    assert places_that_matter(None, 0) >= max(default_gamma(n) for n in range(10_000))
