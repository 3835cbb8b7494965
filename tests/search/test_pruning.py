"""ASHA and the median rule as Optuna has them, worked out by hand."""

import math

import pytest

from sweeper.search.pruning import Pruner
from sweeper.search.pruning import Rule as Name
from sweeper.search.simulation import Pruned, RecordedTrial, Rule, SimulatedRace, replay
from sweeper.stats.racing import StagedCap
from tests.fakes.recordings import HORIZON, NEVER, question, recorded

RUNG = 10
"""The first one of a horizon of 640; the others are at 40 and 160."""


def asha(larger: bool = True) -> Pruner:
    return Pruner("asha", 64 * RUNG, larger)


@pytest.mark.parametrize("larger", [True, False])
def test_asha_keeps_a_quarter_at_each_of_three_rungs(larger: bool) -> None:
    sign = 1 if larger else -1
    pruner = asha(larger)
    stopped: dict[int, int] = {}
    # Eight trials side by side, the best one first; looked at on both sides of every rung.
    for step in (5, 10, 20, 40, 80, 160, 320, 640):
        for number in range(8):
            if number not in stopped and pruner.stops(number, step, sign * (0.8 - number / 10)):
                stopped[number] = step
    # At the first rung every later one is worse than the first of those before it.
    assert stopped == dict.fromkeys(range(1, 8), 10)


def test_asha_lets_the_best_of_fewer_than_four_and_the_upper_quarter_go_on() -> None:
    pruner = asha()
    out = [
        pruner.stops(number, RUNG, score) for number, score in enumerate((0.1, 0.2, 0.15, 0.3, 0.25, 0.4, 0.26, 0.35))
    ]
    # Of two, three, ... seven only the best goes on; of eight, two do: 0.4 and 0.35.
    assert out == [False, False, True, False, True, False, True, False]


def test_asha_looks_at_a_trial_once_at_each_rung() -> None:
    pruner = asha()
    assert not pruner.stops(0, RUNG, 0.5)
    assert not pruner.stops(1, RUNG - 1, 0.1), "not there yet"
    assert not pruner.stops(2, RUNG, 0.6)
    assert not pruner.stops(2, RUNG + 10, 0.1), "past the first rung, before the second"
    assert pruner.stops(1, RUNG, 0.4)
    assert not pruner.stops(0, 4 * RUNG, 0.5), "the first at the second rung"
    assert pruner.stops(2, 4 * RUNG, 0.1)
    assert not pruner.stops(0, 16 * RUNG, 0.1), "the only one at the third rung"
    assert not pruner.stops(0, 63 * RUNG, 0.0), "there is no rung after the third but the end"


def test_asha_compares_with_trials_that_were_stopped_too() -> None:
    pruner = asha()
    for number, score in enumerate((0.5, 0.4, 0.3)):
        assert pruner.stops(number, RUNG, score) == (number > 0)
        pruner.ended(number, score, stopped=number > 0)
    assert not pruner.stops(3, RUNG, 0.5)
    assert pruner.stops(4, RUNG, 0.49)


@pytest.mark.parametrize("larger", [True, False])
def test_the_median_rule_stops_below_the_median_of_what_five_finished_trials_had(larger: bool) -> None:
    sign = 1 if larger else -1
    pruner = Pruner("median", 64 * RUNG, larger)
    for number, score in enumerate((0.1, 0.2, 0.3, 0.4, 0.5)):
        assert not pruner.stops(number, 2 * RUNG, sign * score), "fewer than five have finished"
        assert not pruner.stops(10 + number, 2 * RUNG, -9.0 * sign), "fewer than five have finished"
        pruner.ended(number, sign * 1.0, stopped=False)
    assert pruner.stops(20, 2 * RUNG, sign * 0.29)
    assert not pruner.stops(21, 2 * RUNG, sign * 0.31)
    assert not pruner.stops(22, RUNG - 1, sign * 0.0), "before the first 64th of the horizon"
    assert not pruner.stops(23, 3 * RUNG, sign * 0.0), "no trial was seen at that step"


def test_the_median_rule_looks_at_the_best_score_so_far() -> None:
    pruner = Pruner("median", 64 * RUNG, larger=True)
    for number in range(5):
        assert not any(pruner.stops(number, step, 0.5) for step in (2 * RUNG, 3 * RUNG))
        pruner.ended(number, 1.0, stopped=False)
    assert not pruner.stops(9, 2 * RUNG, 0.6)
    assert not pruner.stops(9, 3 * RUNG, 0.1), "it was above before"
    assert pruner.stops(8, 3 * RUNG, 0.1)


def test_stopped_trials_do_not_count_towards_the_median() -> None:
    pruner = Pruner("median", 64 * RUNG, larger=True)
    for number in range(5):
        pruner.stops(number, 2 * RUNG, 0.5)
        pruner.ended(number, 0.5, stopped=number == 4)
    assert not pruner.stops(9, 2 * RUNG, 0.1), "four have finished"


@pytest.mark.parametrize("rule", ["asha", "median"])
def test_nan_is_not_reported_and_does_not_stop(rule: Name) -> None:
    pruner = Pruner(rule, 64 * RUNG, larger=True)
    for number in range(6):
        assert not pruner.stops(number, 2 * RUNG, 0.5)
        pruner.ended(number, 0.9, stopped=False)
    assert not pruner.stops(7, 2 * RUNG, math.nan)
    pruner.ended(7, math.nan, stopped=False)
    assert not pruner.stops(8, RUNG - 1, math.nan)
    assert pruner.stops(8, 2 * RUNG, 0.4), "its first report"


@pytest.mark.parametrize("rule", ["asha", "median"])
def test_a_trial_whose_last_score_is_nan_ends_all_the_same(rule: Name) -> None:
    pruner = Pruner(rule, 64 * RUNG, larger=True)
    for number in range(6):
        assert not pruner.stops(number, 2 * RUNG, 0.5)
        pruner.ended(number, 0.9, stopped=False)
    pruner.stops(6, 2 * RUNG, 0.7)
    pruner.ended(6, math.nan, stopped=False)
    assert pruner.stops(7, 2 * RUNG, 0.4)


@pytest.mark.parametrize("rule", ["asha", "median"])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_trial_that_was_never_seen_ends_without_a_trace(rule: Name, stopped: bool) -> None:
    pruner = Pruner(rule, 64 * RUNG, larger=True)
    for number in range(9):
        pruner.ended(number, 0.9, stopped)
    assert not pruner.stops(10, 2 * RUNG, 0.1), "there is nothing to compare with"


def ended(trials: list[RecordedTrial], rule: Rule) -> dict[int, bool]:
    """Trial -> whether it was stopped."""
    waiting = iter(trials)
    return {each.trial.number: each.stopped for each in replay(lambda: next(waiting, None), rule, 1, 1)}


@pytest.mark.parametrize("rule", ["asha", "median"])
def test_a_late_bloomer_that_is_best_in_the_end_is_stopped_by_its_height_and_kept_by_the_cap(rule: Name) -> None:
    # Nine climb high at once and never arrive; one stays at chance until it jumps, long before the horizon.
    high = [recorded([[NEVER]], number, heights=0.6 + number / 100) for number in range(9)]
    bloomer = recorded([[HORIZON / 2]], 9, heights=0.05)
    asked = question(1)
    by_height = ended([*high, bloomer], Pruned(asked, Pruner(rule, HORIZON, larger=True)))
    assert by_height[9]
    assert not by_height[0]
    assert not any(ended([*high, bloomer], SimulatedRace(asked, StagedCap((1,), 1))).values())
