"""When a run is over, watched evaluation by evaluation, against the definition on its whole curve."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.stats.events import FINISHED, Ending, Event, Outcome
from sweeper.stats.watch import Watch, outcome_of

NAN = math.nan
EVENT = Event("val_accuracy", ">", 0.99)
VALUES = st.lists(st.sampled_from([0.5, 0.9, 1.0, NAN, math.inf]), max_size=12)


def watched(
    values: Sequence[float],
    *,
    sustained: int = 1,
    horizon: int = 1000,
    tail: int = 0,
    horizon_seconds: float | None = None,
    bad: int | None = None,
    comparison: str = ">",
) -> tuple[Watch, list[Outcome | None]]:
    """A watch on a run that is evaluated every 10 updates and takes 0.1 s for that, with its answers.

    The loss is not finite at evaluation `bad`, counted from 0; times are 100, 101, and so on.
    """
    event = Event("metric", comparison, 0.99 if comparison == ">" else -0.99, sustained)  # type: ignore[arg-type]
    watch = Watch(event, horizon, tail, horizon_seconds)
    answers = [watch.see(10 * (i + 1), value, i != bad, 0.1 * (i + 1), 100.0 + i) for i, value in enumerate(values)]
    return watch, answers


def test_before_its_first_evaluation_nothing_is_known_of_a_run() -> None:
    watch, _ = watched([])
    assert watch.trains and not watch.known and watch.outcome is None
    assert (watch.step, watch.observation.time, watch.observation.reached) == (0, 0.0, False)
    assert math.isnan(watch.value) and math.isnan(watch.observation.best)


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        ({"values": [0.1, 1.0]}, Outcome("reached", 20)),
        ({"values": [0.1, 1.0, 1.0, 1.0], "sustained": 3}, Outcome("reached", 20)),
        ({"values": [1.0, 0.1, 1.0, 1.0], "sustained": 2}, Outcome("reached", 30)),
        ({"values": [0.1, 1.0, 0.1], "tail": 10}, Outcome("reached", 20)),
        ({"values": [1.0, 1.0, 0.1, 0.1], "sustained": 2, "tail": 20}, Outcome("reached", 10)),
        ({"values": [0.1, 1.0, NAN], "tail": 50, "bad": 2}, Outcome("reached", 20)),
        ({"values": [0.1, 1.0], "bad": 1}, Outcome("reached", 20)),
        ({"values": [0.1, NAN], "bad": 1}, Outcome("diverged", 20)),
        ({"values": [0.1, 0.1, 0.1], "horizon": 30}, Outcome("censored", 30, "horizon")),
        ({"values": [0.1, 1.0, 1.0], "horizon": 30, "tail": 50}, Outcome("reached", 20)),
        ({"values": [0.1, 1.0], "horizon": 20, "sustained": 2}, Outcome("censored", 20, "horizon")),
        ({"values": [0.1, 0.1], "horizon_seconds": 0.2}, Outcome("censored", 20, "horizon")),
        ({"values": [1.0, 1.0], "horizon_seconds": 0.2, "tail": 90}, Outcome("reached", 10)),
    ],
)
def test_a_run_trains_until_its_tail_its_horizon_or_a_loss_that_is_not_finite(
    run: dict[str, object], outcome: Outcome
) -> None:
    watch, answers = watched(**run)  # type: ignore[arg-type]
    assert answers == [*[None] * (len(answers) - 1), outcome]
    assert not watch.trains and watch.outcome == outcome


def test_in_its_tail_the_outcome_of_a_run_is_known_and_it_still_trains() -> None:
    watch, answers = watched([0.1, 1.0, 0.1], tail=30)
    assert answers == [None] * 3
    assert watch.trains and watch.known and watch.outcome == Outcome("reached", 20)


@given(VALUES, st.integers(1, 4), st.integers(0, 12), st.sampled_from([">", "<"]))
@settings(deadline=None, max_examples=80)
def test_a_watch_finds_what_the_whole_curve_shows(values: list[float], sustained: int, bad: int, sign: str) -> None:
    values = [value if sign == ">" else -value for value in values]
    watch, _ = watched(values, sustained=sustained, bad=bad, comparison=sign)
    crossing = watch.event.crossing(values)
    streak = len(values) - 1 - max((i for i, value in enumerate(values) if not watch.event.past(value)), default=-1)
    finite = [value for value in values if math.isfinite(value)]
    assert watch.reached == (None if crossing is None else 10 * (crossing + 1))
    assert watch.diverged == (10 * (bad + 1) if bad < len(values) else None)
    assert watch.streak == streak
    assert watch.evaluations == len(values)
    counts = min(len(values) - streak, len(values) - 1) if crossing is None else crossing
    assert watch.observation.time == (100.0 + counts if values else 0.0)
    best = (max if sign == ">" else min)(finite, default=NAN)
    assert watch.observation.best == best or (math.isnan(watch.observation.best) and math.isnan(best))


@pytest.mark.parametrize("seen", range(6))
def test_a_watch_continues_from_its_state(seen: int) -> None:
    values = [0.1, 1.0, 1.0, 0.1, 1.0, NAN]
    whole, answers = watched(values, sustained=2, tail=30)
    first, _ = watched(values[:seen], sustained=2, tail=30)
    second, _ = watched([], sustained=2, tail=30)
    second.restore(first.state())
    rest = [second.see(10 * (i + 1), values[i], True, 0.1 * (i + 1), 100.0 + i) for i in range(seen, 6)]
    assert rest == answers[seen:]
    assert second == whole
    with pytest.raises(LookupError):
        second.restore({"step": 3})


def outcome(
    values: list[float], ending: Ending = FINISHED, finite: list[bool] | None = None, sustained: int = 1
) -> Outcome:
    steps = 10 * np.arange(1, len(values) + 1)
    fine = np.array([True] * len(values) if finite is None else finite, dtype=np.bool_)
    return outcome_of(EVENT.at(0.99, sustained), steps, np.array(values, dtype=np.float64), fine, ending)


CUT = [Ending("stopped"), Ending("capped"), Ending("lost"), Ending("pruned")]
ENDINGS = [FINISHED, *CUT, Ending("failed", "out of memory", "trace")]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.kind)
def test_a_run_that_reached_its_event_reached_it_however_its_trial_ended(ending: Ending) -> None:
    assert outcome([0.1, 1.0, 0.2], ending) == Outcome("reached", 20)
    assert outcome([0.1, 1.0, 1.0, 0.2], ending, sustained=2) == Outcome("reached", 20)
    assert outcome([0.1, 1.0, 0.2], ending, [True, True, False]) == Outcome("reached", 20)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.kind)
def test_a_run_whose_loss_was_not_finite_diverged_there_however_its_trial_ended(ending: Ending) -> None:
    assert outcome([0.1, NAN, NAN], ending, [True, False, False]) == Outcome("diverged", 20)
    assert outcome([0.1, 0.2, 0.1], ending, [True, True, False]) == Outcome("diverged", 30)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (FINISHED, Outcome("censored", 30, "horizon")),
        (Ending("stopped"), Outcome("censored", 30, "stopped")),
        (Ending("capped"), Outcome("censored", 30, "cap")),
        (Ending("lost", "with 1 of 3 replicates ..."), Outcome("censored", 30, "race")),
        (Ending("pruned", "asha: ..."), Outcome("censored", 30, "pruned")),
        (Ending("failed", "out of memory", "trace"), Outcome("failed", 30, "out of memory")),
        (Ending("failed", "error"), Outcome("failed", 30, "error")),
        (Ending("failed", "node lost"), Outcome("failed", 30, "node lost")),
    ],
    ids=str,
)
def test_any_other_run_ended_as_its_trial_did(ending: Ending, expected: Outcome) -> None:
    assert outcome([0.1, 0.99, 0.2], ending) == expected
    assert outcome([1.0, 0.1, 1.0], ending, sustained=2) == expected
    assert outcome([], ending) == Outcome(expected.kind, 0, expected.why)


def test_steps_are_whole_numbers_of_python() -> None:
    kinds = [outcome([1.0]), outcome([0.1]), outcome([0.1], finite=[False])]
    assert [type(each.step) for each in kinds] == [int, int, int]
