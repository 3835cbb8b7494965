"""A cap never refuses a trial that could have mattered, and a search under it is the search without it."""

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.config.model import Sampler
from sweeper.search.simulation import Ended, RecordedTrial, Rule, SimulatedRace, Uncapped, replay
from sweeper.search.study import Study
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.space.parameters import Choice, Float, Int
from sweeper.space.space import Space
from sweeper.stats.capping import Cap, good_side, places_that_matter
from sweeper.stats.racing import StagedCap
from tests.fakes.recordings import HORIZON, Landscape, question, value

values = st.lists(st.floats(-5, 5) | st.integers(-2, 2).map(float), min_size=1, max_size=40)


def cap_of(finished: Iterable[float], places: int) -> float:
    cap = Cap(places)
    for each in finished:
        cap.add(each)
    return cap.value


def test_the_cap_is_the_last_of_the_best_places_and_infinite_while_they_are_not_taken() -> None:
    assert cap_of([], 1) == math.inf
    assert cap_of([3.0, 1.0], 3) == math.inf
    assert cap_of([3.0, 1.0, 2.0], 3) == 3.0
    assert cap_of([3.0, 1.0, 2.0, 0.0], 3) == 2.0
    assert cap_of([1.0, 1.0, 2.0], 2) == 1.0
    assert cap_of([3.0, 1.0], 1) == 1.0


def test_a_trial_that_may_equal_the_cap_still_matters() -> None:
    cap, race = Cap(1), StagedCap((1, 2), places=1)
    assert not cap.excludes(math.inf)
    cap.add(2.0)
    race.finished({1: 3.0, 2: 2.0})
    assert [cap.excludes(bound) for bound in (1.0, 2.0, math.nextafter(2.0, 3.0))] == [False, False, True]
    assert [race.excludes(bound, 1) for bound in (2.5, 3.0, math.nextafter(3.0, 4.0))] == [False, False, True]
    assert [race.excludes(bound, 2) for bound in (2.0, 2.5)] == [False, True]


@given(values, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_the_cap_is_the_m_th_smallest_and_never_rises(finals: list[float], places: int) -> None:
    cap, seen = Cap(places), [math.inf]
    for i, final in enumerate(finals, 1):
        cap.add(final)
        assert cap.value == (sorted(finals[:i])[places - 1] if i >= places else math.inf)
        seen.append(cap.value)
    assert all(after <= before for before, after in pairwise(seen))


@pytest.mark.slow
@given(values, st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=40)
def test_a_trial_that_is_refused_at_any_moment_is_never_among_the_best_places_at_the_end(
    finals: list[float], places: int, data: st.DataObject
) -> None:
    # Trials finish one by one; each is asked about, with a bound below its value, at some moment before it finishes.
    moments = [data.draw(st.integers(0, i)) for i in range(len(finals))]
    bounds = [final - data.draw(st.sampled_from([0.0, 0.5, 3.0])) for final in finals]
    refused = [bounds[i] > cap_of(finals[: moments[i]], places) for i in range(len(finals))]
    worst_that_matters = sorted(finals)[:places][-1]
    assert all(final > worst_that_matters for final, no in zip(finals, refused, strict=True) if no)


@given(values, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_the_best_places_are_the_same_with_and_without_capping(finals: list[float], places: int) -> None:
    # A refused trial is told something past the cap; here as little past it as can be.
    told: list[float] = []
    cap = Cap(places)
    for final in finals:
        if final > cap.value:
            told.append(math.nextafter(cap.value, math.inf))
        else:
            told.append(final)
            cap.add(final)
    assert sorted(told)[:places] == sorted(finals)[:places]


@given(values, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_a_trial_is_refused_exactly_when_enough_finished_trials_are_strictly_better(
    finals: list[float], places: int
) -> None:
    for i, final in enumerate(finals):
        assert (final > cap_of(finals[:i], places)) == (sum(other < final for other in finals[:i]) >= places)


@pytest.mark.parametrize(
    ("trials", "finalists", "places"),
    [
        *((None, 3, 11), (None, 30, 30), (1, 0, 1), (9, 1, 1), (10, 1, 2), (36, 1, 2), (37, 1, 3)),
        *((200, 3, 5), (200, 21, 21), (5_184, 3, 24), (5_185, 3, 25), (100_000, 3, 25), (100_000, 30, 30)),
    ],
)
def test_places_that_matter(trials: int | None, finalists: int, places: int) -> None:
    assert places_that_matter(trials, finalists) == places


def test_the_good_side_is_a_tenth_at_most_the_places() -> None:
    tenth = {0: 0, 1: 1, 10: 1, 11: 2, 100: 10, 101: 11, 250: 25, 10_000: 25, 1_000_000: 25}
    assert {n: good_side(n, 25) for n in tenth} == tenth
    assert [good_side(n, 2) for n in (0, 1, 10, 11, 20, 21, 10_000)] == [0, 1, 1, 2, 2, 2, 2]


@given(st.integers(0, 10_000), st.integers(1, 60))
@settings(deadline=None)
def test_the_good_side_only_grows_and_never_beyond_the_places(finished: int, places: int) -> None:
    assert good_side(finished, places) <= good_side(finished + 1, places) <= places
    assert good_side(finished + 1, places) <= good_side(finished + 1, places + 1)


def test_the_good_side_of_a_sweep_becomes_as_large_as_its_places_but_no_larger() -> None:
    for trials in range(1, 400):
        places = places_that_matter(trials, 0)
        largest = max(good_side(n, places) for n in range(trials + 1))
        assert largest == min(places, math.ceil(trials / 10))
        assert places_that_matter(trials, 0) <= places_that_matter(trials + 1, 0)


FINITE = {
    "depth": Int(int=(1, 4)),
    "weight_decay": Choice(choice=(0.01, 0.02, 0.04, 0.08)),
    "heads": Choice(choice=(1, 2, 4, 8)),
}
SMOOTH = {"depth": Int(int=(1, 4)), "weight_decay": Float(float=(0.003, 0.3), log=True)}
STARTUP = 5


@dataclass(frozen=True)
class Searched:
    """One trial of a search."""

    settings: Hyperparameters
    ended: Ended


def search(landscape: Landscape, capped: bool, places: int, *, budget: int, at_once: int = 1) -> list[Searched]:
    """A whole search by the real study and sampler, in the order in which trials ended."""
    asked = question(landscape.replicates)
    rule: Rule = SimulatedRace(asked, StagedCap((asked.replicates,), places)) if capped else Uncapped(asked)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        sampler = Sampler(name="tpe", startup_trials=STARTUP, seed=landscape.seed)
        study = Study(Path(folder) / "study.journal", landscape.space, sampler, places)

        def ask() -> RecordedTrial | None:
            proposal = study.suggest() if study.count < budget else None
            if proposal is None:
                return None
            settings_of[proposal.number] = proposal.settings
            return landscape.trial(proposal.settings, proposal.number)

        settings_of: dict[int, Hyperparameters] = {}
        for ended in replay(ask, rule, at_once, pace=2):
            study.tell(ended.trial.number, ended.reported)
            found.append(Searched(settings_of[ended.trial.number], ended))
    return found


def best(found: Iterable[Searched], places: int, landscape: Landscape, *, true: bool) -> list[tuple[float, int]]:
    """The values of the `places` best trials, and who they are; of two with the same value the earlier."""
    asked = question(landscape.replicates)
    everyone = [
        (value(each.ended.trial, asked) if true else each.ended.reported, each.ended.trial.number) for each in found
    ]
    return sorted(everyone)[:places]


landscapes = st.builds(
    Landscape,
    st.sampled_from([FINITE, SMOOTH]).map(lambda parameters: Space(parameters, {}, (), HORIZON)),
    st.integers(0, 2**20),
    operations=st.integers(1, 3),
    replicates=st.integers(1, 4),
    never=st.sampled_from([0.0, 0.1, 0.5]),
)


@pytest.mark.slow
@given(landscapes, st.integers(1, 4), st.sampled_from([30, 40]))
@settings(deadline=None, max_examples=5)
def test_a_sequential_search_is_the_same_with_and_without_the_cap(
    landscape: Landscape, places: int, budget: int
) -> None:
    with_cap = search(landscape, True, places, budget=budget)
    without = search(landscape, False, places, budget=budget)
    assert len(without) == budget
    assert [each.settings for each in with_cap] == [each.settings for each in without]
    assert best(with_cap, places, landscape, true=False) == best(without, places, landscape, true=False)
    assert best(with_cap, places, landscape, true=False) == best(with_cap, places, landscape, true=True)
    assert with_cap[-1].ended.total <= without[-1].ended.total
    check_every_moment(with_cap, places, landscape)


@pytest.mark.slow
@pytest.mark.parametrize(("parameters", "seed"), [(FINITE, 0), (SMOOTH, 1)], ids=["finite", "smooth"])
def test_the_cap_saves_steps_on_a_search_that_stays_the_same(
    parameters: dict[str, Choice | Int | Float], seed: int
) -> None:
    landscape = Landscape(Space(parameters, {}, (), HORIZON), seed, operations=1, replicates=3, never=0.1)
    with_cap, without = (search(landscape, capped, places=2, budget=40) for capped in (True, False))
    assert [each.settings for each in with_cap] == [each.settings for each in without]
    assert best(with_cap, 2, landscape, true=False) == best(without, 2, landscape, true=False)
    assert sum(each.ended.stopped for each in with_cap) >= 20
    assert with_cap[-1].ended.total < 0.9 * without[-1].ended.total
    # The values did decide: under another seed of the times, the same sampler goes elsewhere after its startup.
    other = Landscape(landscape.space, seed, operations=1, replicates=3, never=0.9)
    elsewhere = [each.settings for each in search(other, False, places=2, budget=40)]
    assert elsewhere[:STARTUP] == [each.settings for each in without[:STARTUP]]
    assert elsewhere != [each.settings for each in without]


@pytest.mark.slow
@given(landscapes, st.integers(1, 4))
@settings(deadline=None, max_examples=5)
def test_with_several_at_once_the_good_side_is_what_it_would_be_if_none_were_stopped(
    landscape: Landscape, places: int
) -> None:
    check_every_moment(search(landscape, True, places, budget=30, at_once=4), places, landscape)


def check_every_moment(found: list[Searched], places: int, landscape: Landscape) -> None:
    """After every trial, the best places by what was told are those by the truth, and hold no stopped trial."""
    asked = question(landscape.replicates)
    cap = Cap(places)
    for i, each in enumerate(found, 1):
        if each.ended.stopped:
            assert each.ended.reported > cap.value
            assert value(each.ended.trial, asked) > cap.value
        else:
            assert each.ended.reported == value(each.ended.trial, asked)
            cap.add(each.ended.reported)
        told = best(found[:i], places, landscape, true=False)
        assert told == best(found[:i], places, landscape, true=True)
        whole = {other.ended.trial.number for other in found[:i] if not other.ended.stopped}
        assert {number for _, number in told} <= whole
