"""Stages and caps of a race, by hand and on made-up landscapes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.search.capping import Cap
from sweeper.search.racing import Race, stages
from sweeper.search.simulation import Ended, Raced, Recorded, Uncapped, replay
from tests.search.recordings import NEVER, question, recorded

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


def test_each_stage_has_a_cap_of_its_own() -> None:
    race = Race((1, 2, 5), places=2)
    assert [race.cap(stage) for stage in race.stages] == [math.inf] * 3
    race.finished({1: 3.0, 2: 2.0, 5: 1.0})
    assert [race.cap(stage) for stage in race.stages] == [math.inf] * 3
    race.finished({1: 1.0, 2: 4.0, 5: 2.0})
    assert [race.cap(stage) for stage in race.stages] == [3.0, 4.0, 2.0]
    race.finished({1: 2.0, 2: 9.0, 5: 0.0})
    assert [race.cap(stage) for stage in race.stages] == [2.0, 4.0, 1.0]


def test_slack_is_asked_for_before_the_last_stage_only() -> None:
    race = Race((1, 2, 5), places=1, slack=0.1)
    race.finished({1: 3.0, 2: 2.0, 5: 1.0})
    assert race.cap(1) == pytest.approx(math.log(1.1 * math.exp(3)))
    assert race.cap(2) == pytest.approx(math.log(1.1 * math.exp(2)))
    assert race.cap(5) == 1.0


@given(trials, st.integers(1, 4), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_a_race_of_one_stage_is_the_cap_whatever_the_slack(
    finished: list[dict[int, float]], places: int, slack: float
) -> None:
    race, cap = Race((5,), places, slack), Cap(places)
    for values in finished:
        race.finished(values)
        cap.add(values[5])
        assert race.cap(5) == cap.value
        assert race.told(values[5], 5) == values[5]


@given(trials.filter(lambda each: len(each) >= 4), st.integers(1, 4), st.floats(0, 1), st.lists(numbers, min_size=2))
@settings(deadline=None, max_examples=60)
def test_a_trial_that_is_out_early_is_told_past_the_final_cap_and_in_the_order_of_how_far_it_was_behind(
    finished: list[dict[int, float]], places: int, slack: float, values: list[float]
) -> None:
    race = Race((1, 2, 5), places, slack)
    for each in finished:
        race.finished(each)
    for stage in (1, 2):
        behind = sorted(value for value in values if value > race.cap(stage) + 1e-9)
        told = [race.told(value, stage) for value in behind]
        assert all(each > race.cap(5) for each in told)
        assert told == sorted(told)
        lead = math.log1p(slack)
        expected = [race.cap(5) + (value - (race.cap(stage) - lead)) for value in behind]
        assert told == pytest.approx(expected)


def test_what_is_told_by_hand() -> None:
    race = Race((1, 5), places=1, slack=0.5)
    race.finished({1: 3.0, 5: 1.0})
    assert race.told(3.75, 1) == 1.75, "as far behind the final cap as it was behind the first"
    assert race.told(3.75, 5) == 3.75, "with all replicates, its value"


def landscape(seed: int, trials: int = 60, replicates: int = 5) -> list[Recorded]:
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
        ("cap", Raced(asked, Race((5,), 2))),
        ("race", Raced(asked, Race(stages(1, 5), 2))),
        ("slack", Raced(asked, Race(stages(1, 5), 2, slack=0.3))),
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
    assert 2 <= len(whole) < 30
    told = [each.told for each in found["race"] if each.trial.number in whole]
    best = sorted(told)[1]
    assert all(each.told > best for each in found["race"] if each.stopped), (
        "no trial that was out looks like a good one"
    )
