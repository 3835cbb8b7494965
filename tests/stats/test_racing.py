"""Stages and caps of a race, by hand and on made-up landscapes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.search.simulation import Ended, RecordedTrial, SimulatedRace, Uncapped, replay
from sweeper.stats.capping import Cap
from sweeper.stats.racing import StagedCap, stages
from tests.fakes.recordings import NEVER, question, recorded

numbers = st.floats(-5, 5) | st.integers(-2, 2).map(float)
trials = st.lists(st.fixed_dictionaries({1: numbers, 2: numbers, 5: numbers}), max_size=20)


@pytest.mark.parametrize(
    ("first", "replicates", "expected"),
    [
        (1, 5, (1, 2, 4, 5)),
        (2, 3, (2, 3)),
        (3, 3, (3,)),
        (1, 1, (1,)),
        (1, 2, (1, 2)),
        (2, 8, (2, 4, 8)),
        (3, 20, (3, 6, 12, 20)),
        (5, 3, (3,)),
    ],
)
def test_stages_double_until_all(first: int, replicates: int, expected: tuple[int, ...]) -> None:
    assert stages(first, replicates) == expected


def test_early_stages_keep_up_with_the_leader_and_the_last_one_with_the_places() -> None:
    race = StagedCap((1, 2, 5), places=2)
    assert race.places == 2
    assert [race.cap(stage) for stage in race.stages] == [math.inf] * 3
    race.finished({1: 3.0, 2: 2.0, 5: 1.0})
    assert [race.cap(stage) for stage in race.stages] == [3.0, 2.0, math.inf], "one of two places is free"
    race.finished({1: 1.0, 2: 1.0, 5: 2.0})
    assert [race.cap(stage) for stage in race.stages] == [3.0, 2.0, 2.0], "it was ahead early, and is not the leader"
    race.finished({1: 9.0, 2: 9.0, 5: 0.0})
    assert [race.cap(stage) for stage in race.stages] == [9.0, 9.0, 1.0], "the leader was behind early"
    race.finished({1: 5.0, 2: 5.0, 5: 0.0})
    assert [race.cap(stage) for stage in race.stages] == [9.0, 9.0, 0.0], "of two as good as each other, the first"


def test_slack_is_asked_for_before_the_last_stage_only() -> None:
    race = StagedCap((1, 2, 5), places=1, slack=0.1)
    race.finished({1: 3.0, 2: 2.0, 5: 1.0})
    assert race.cap(1) == pytest.approx(math.log(1.1 * math.exp(3)))
    assert race.cap(2) == pytest.approx(math.log(1.1 * math.exp(2)))
    assert race.cap(5) == 1.0


@given(trials, st.integers(1, 4), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_a_race_of_one_stage_is_the_cap_whatever_the_slack(
    finished: list[dict[int, float]], places: int, slack: float
) -> None:
    race, cap = StagedCap((5,), places, slack), Cap(places)
    assert race.cap(5) == cap.value == math.inf
    for values in finished:
        race.finished(values)
        cap.add(values[5])
        assert race.cap(5) == cap.value
        assert race.reported_value(values[5], 5) == values[5]


@pytest.mark.slow
@given(trials, st.integers(1, 4), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_the_leader_is_the_best_whole_trial_so_far_and_the_last_stage_is_the_cap(
    finished: list[dict[int, float]], places: int, slack: float
) -> None:
    race, cap = StagedCap((1, 2, 5), places, slack), Cap(places)
    for i, values in enumerate(finished, 1):
        race.finished(values)
        cap.add(values[5])
        leader = min(finished[:i], key=lambda each: each[5])
        assert [race.cap(stage) for stage in (1, 2)] == [leader[stage] + math.log1p(slack) for stage in (1, 2)]
        assert race.cap(5) == cap.value


@pytest.mark.slow
@given(trials.filter(bool), st.integers(1, 4), st.floats(0, 1), st.lists(numbers, min_size=2))
@settings(deadline=None, max_examples=60)
def test_a_trial_that_is_out_early_is_told_behind_the_leader_in_the_order_of_how_far_it_was_behind(
    finished: list[dict[int, float]], places: int, slack: float, values: list[float]
) -> None:
    race = StagedCap((1, 2, 5), places, slack)
    for each in finished:
        race.finished(each)
    leader = min(finished, key=lambda each: each[5])
    for stage in (1, 2):
        behind = sorted(value for value in values if value > race.cap(stage) + 1e-9)
        told = [race.reported_value(value, stage) for value in behind]
        assert all(each > leader[5] + math.log1p(slack) for each in told)
        assert told == sorted(told)
        assert told == pytest.approx([leader[5] + (value - leader[stage]) for value in behind])


def test_what_is_told_by_hand() -> None:
    race = StagedCap((1, 5), places=1, slack=0.5)
    race.finished({1: 3.0, 5: 1.0})
    assert race.reported_value(3.75, 1) == 1.75, "as far behind the leader's value as it was behind its first run"
    assert race.reported_value(3.75, 5) == 3.75, "with all replicates, its value"


def landscape(seed: int, trials: int = 60, replicates: int = 5) -> list[RecordedTrial]:
    """Trials whose times differ more than their replicates do; some runs never arrive."""
    rng = np.random.default_rng(seed)
    middles = 60 * np.exp(rng.exponential(0.8, trials))
    times = middles[:, None] * np.exp(rng.normal(0, 0.2, (trials, replicates)))
    times[rng.random(times.shape) < 0.05] = NEVER
    return [recorded(times[number][None], number) for number in range(trials)]


@pytest.mark.parametrize("seed", range(6))
def test_a_race_stops_trials_after_one_replicate_and_spends_less_than_the_cap(seed: int) -> None:
    asked, pace = question(5), 2
    found: dict[str, list[Ended]] = {}
    for name, rule in (
        ("none", Uncapped(asked)),
        ("cap", SimulatedRace(asked, StagedCap((5,), 2))),
        ("race", SimulatedRace(asked, StagedCap(stages(1, 5), 2))),
        ("slack", SimulatedRace(asked, StagedCap(stages(1, 5), 2, slack=0.3))),
    ):
        waiting = iter(landscape(seed))
        found[name] = list(replay(lambda waiting=waiting: next(waiting, None), rule, 1, pace))  # type: ignore[misc]
    spent = {name: ended[-1].total for name, ended in found.items()}
    assert spent["race"] < spent["cap"] < spent["none"]
    assert spent["race"] < spent["slack"] < spent["none"]
    # One replicate alone trains at most the horizon; a stopped trial that spent less than its own first run was out in
    # its first stage.
    early = [each for each in found["race"] if each.stopped and each.spent <= each.trial.spent[:, :1, -1].sum()]
    assert len(early) >= 20
    whole = {each.trial.number for each in found["race"] if not each.stopped}
    assert 1 <= len(whole) < 30
    leading = math.inf
    for each in found["race"]:
        if each.stopped:
            assert each.reported > leading, "nobody who was out early is told to be ahead of the leader"
        else:
            leading = min(leading, each.reported)
