"""Replays worked out by hand, and recorded trials against the objective on the same curves."""

import math
from collections.abc import Iterable
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.search.pruning import Pruner
from sweeper.search.simulation import Ended, Pruned, Question, RecordedTrial, Rule, SimulatedRace, Uncapped, replay
from sweeper.stats import objective
from sweeper.stats.events import Event
from sweeper.stats.objective import Observation
from sweeper.stats.racing import StagedCap, stages
from tests.fakes.curves import assignment_of, chunk_of, curve, watch_of
from tests.fakes.recordings import EVENT, EVERY, HORIZON, NEVER, question, recorded, value

LAST = HORIZON // EVERY - 1
ONE, TWO = question(1), question(2)


def ended(trials: Iterable[RecordedTrial], rule: Rule, at_once: int = 1, pace: int = 1) -> list[Ended]:
    waiting = iter(trials)
    return list(replay(lambda: next(waiting, None), rule, at_once, pace))


def trials_of(*times: float) -> list[RecordedTrial]:
    """Trials of one run each."""
    return [recorded([[time]], number) for number, time in enumerate(times)]


def short(found: Iterable[Ended]) -> list[tuple[int, bool, float, float, int]]:
    return [(each.trial.number, each.stopped, each.spent, each.total, each.at) for each in found]


def cap(asked: Question, places: int = 1) -> SimulatedRace:
    return SimulatedRace(asked, StagedCap((asked.replicates,), places))


def test_uncapped_trials_train_one_after_the_other_to_their_ends() -> None:
    found = ended(trials_of(100, 30, NEVER), Uncapped(ONE))
    assert short(found) == [(0, False, 100, 100, 10), (1, False, 30, 130, 13), (2, False, 400, 530, 53)]
    assert [each.reported for each in found[:2]] == [pytest.approx(math.log(100)), pytest.approx(math.log(30))]
    assert math.log(1.001 * HORIZON) <= found[2].reported <= math.log(1.01 * HORIZON)


def test_two_at_once_end_in_the_order_of_their_times_and_make_room_for_the_next() -> None:
    found = ended(trials_of(100, 30, 50, 10), Uncapped(ONE), at_once=2)
    # 1 ends after 3 evaluations, when 0 has trained 30 steps too; then 2 trains until the 8th, then 3 beside 0.
    assert short(found) == [
        (1, False, 30, 60, 3),
        (2, False, 50, 160, 8),
        (3, False, 10, 180, 9),
        (0, False, 100, 190, 10),
    ]


def test_of_trials_that_end_together_the_one_that_began_first_comes_first() -> None:
    assert [each.trial.number for each in ended(trials_of(50, 50, 50), Uncapped(ONE), at_once=3)] == [0, 1, 2]


def test_a_trial_is_stopped_at_the_first_look_at_which_its_bound_exceeds_the_cap() -> None:
    # The cap is at 50 after trial 0; trial 1 is past it for the first time at 60 steps.
    found = ended(trials_of(50, 100, 20, NEVER), cap(ONE))
    assert short(found) == [
        (0, False, 50, 50, 5),
        (1, True, 60, 110, 11),
        (2, False, 20, 130, 13),
        (3, True, 30, 160, 16),
    ]
    assert all(each.reported >= math.log(HORIZON) for each in found if each.stopped), "as if it never arrived"


def test_a_cap_of_more_places_waits_until_they_are_taken() -> None:
    found = ended(trials_of(50, 100, 200, 60, NEVER), cap(ONE, places=2))
    assert short(found) == [
        (0, False, 50, 50, 5),
        (1, False, 100, 150, 15),
        (2, True, 110, 260, 26),
        (3, False, 60, 320, 32),
        (4, True, 70, 390, 39),
    ]


def test_runs_that_have_ended_stand_still_while_the_others_train() -> None:
    trial = recorded([[30, 100]])
    assert short(ended([trial], Uncapped(TWO))) == [(0, False, 130, 130, 10)]
    # The cap is at the mean of 30 and 100; (20 + t) / 2 exceeds it for the first time at t = 120.
    found = ended([trial, recorded([[20, NEVER]], 1)], cap(TWO))
    assert short(found) == [(0, False, 130, 130, 10), (1, True, 140, 270, 22)]


def test_operations_are_trained_side_by_side() -> None:
    trial = recorded([[30, 100], [10, 20]])
    (found,) = ended([trial], Uncapped(TWO))
    assert short([found]) == [(0, False, 160, 160, 10)]
    assert found.reported == pytest.approx((math.log(65) + math.log(15)) / 2)


def test_stages_follow_each_other_and_add_up() -> None:
    race = SimulatedRace(question(4), StagedCap((1, 2, 4), 1))
    (found,) = ended([recorded([[40, 30, 100, 20]])], race)
    # 4 evaluations for the first replicate, 3 for the second, and 10 for the last two together.
    assert short([found]) == [(0, False, 190, 190, 17)]
    assert found.reported == pytest.approx(math.log(190 / 4))


def test_a_race_stops_a_trial_after_or_during_its_first_stage() -> None:
    race = SimulatedRace(TWO, StagedCap((1, 2), 1))
    good, late = recorded([[40, 60]], 0), recorded([[90, 10]], 1)
    unlucky, second = recorded([[41, 10]], 2), recorded([[30, NEVER]], 3)
    found = ended([good, late, unlucky, second], race)
    assert short(found) == [
        (0, False, 100, 100, 10),
        (1, True, 50, 150, 15),  # past 40 with its first replicate
        (2, True, 50, 200, 20),  # arrives at 50, past 40, although its mean would have been the best
        (3, True, 110, 310, 31),  # its first replicate is ahead; (30 + t) / 2 is past 50 at t = 80
    ]


def test_a_race_looks_again_when_a_stage_is_complete() -> None:
    # With a pace longer than the curves, the only look at the first stage is at its end.
    race = SimulatedRace(TWO, StagedCap((1, 2), 1))
    found = ended([recorded([[40, 60]], 0), recorded([[90, 10]], 1)], race, pace=1000)
    assert short(found) == [(0, False, 100, 100, 10), (1, True, 90, 190, 19)]


def test_exempt_trials_are_never_stopped() -> None:
    trials = [recorded([[20.0]], 0), recorded([[NEVER]], 1, exempt=True), recorded([[NEVER]], 2)]
    assert short(ended(trials, cap(ONE))) == [(0, False, 20, 20, 2), (1, False, 400, 420, 42), (2, True, 30, 450, 45)]
    asha = Pruned(ONE, Pruner("asha", HORIZON, larger=True))
    exempt = [recorded([[NEVER]], n, heights=0.9 - n / 10, exempt=True) for n in range(6)]
    assert not any(each.stopped for each in ended(exempt, asha))


def test_a_trial_whose_runs_all_end_before_the_first_look_trains_to_its_end() -> None:
    found = ended([recorded([[30, 20]], 0), recorded([[70, 80]], 1)], cap(TWO), pace=10)
    assert short(found) == [(0, False, 50, 50, 3), (1, False, 150, 200, 11)]


@pytest.mark.parametrize("rule", [Uncapped(ONE), cap(ONE), Pruned(ONE, Pruner("median", HORIZON, larger=True))])
def test_a_pace_larger_than_the_curves_looks_only_at_their_ends(rule: Rule) -> None:
    found = ended(trials_of(50, NEVER, 100), rule, pace=10 * LAST)
    assert short(found) == [(0, False, 50, 50, 5), (1, False, 400, 450, 45), (2, False, 100, 550, 55)]


def test_a_caller_that_has_nothing_for_now_is_asked_again_when_a_trial_ends() -> None:
    trials = trials_of(100, 30, 50)
    over: list[int] = []
    asked: list[int] = []

    def ask() -> RecordedTrial | None:
        """The third trial depends on what became of the second."""
        asked.append(len(over))
        if len(trials) == 1 and 1 not in over:
            return None
        return trials.pop(0) if trials else None

    found = []
    for each in replay(ask, Uncapped(ONE), at_once=3, pace=1):
        over.append(each.trial.number)
        found.append(each)
    assert short(found) == [(1, False, 30, 60, 3), (2, False, 50, 160, 8), (0, False, 100, 180, 10)]
    assert asked[:3] == [0, 0, 0]


def test_nothing_to_train_is_an_empty_replay() -> None:
    assert ended([], Uncapped(ONE), at_once=3) == []


def test_the_caller_may_learn_from_a_trial_before_it_is_asked_for_the_next() -> None:
    told: list[float] = []
    known: list[int] = []
    trials = trials_of(50, 20, 30)

    def ask() -> RecordedTrial | None:
        known.append(len(told))
        return trials.pop(0) if trials else None

    for each in replay(ask, Uncapped(ONE), at_once=1, pace=3):
        told.append(each.reported)
    assert known == [0, 1, 2, 3]


def test_a_pruned_trial_is_told_what_it_had_and_the_pruner_sees_steps() -> None:
    # At the first rung, 400 / 64 = 6 steps, so at the first look, the lower of two is stopped.
    rule = Pruned(ONE, Pruner("asha", HORIZON, larger=True))
    found = ended([recorded([[NEVER]], 0, heights=0.6), recorded([[200]], 1, heights=0.5)], rule, pace=2)
    assert short(found) == [(0, False, 400, 400, 40), (1, True, 20, 420, 42)]
    assert found[1].reported >= math.log(1.001 * HORIZON)


some_times = st.sampled_from([NEVER, 5.0, 10.0]) | st.floats(1, 1.2 * HORIZON)


@st.composite
def made_up(draw: st.DrawFn, most: int = 4) -> RecordedTrial:
    """One to three operations, and up to `most` replicates."""
    operations, replicates = draw(st.integers(1, 3)), draw(st.integers(1, most))
    times = [[draw(some_times) for _ in range(replicates)] for _ in range(operations)]
    heights = np.array([[draw(st.floats(0, 0.98)) for _ in range(replicates)] for _ in range(operations)])
    return recorded(times, heights=heights)


OPERATIONS = ("x_plus_y", "x_minus_y", "x_div_y")


def cut(trial: RecordedTrial, complete: int, replicates: int, evaluation: int) -> dict[str, list[Observation]]:
    """A trial's first replicates as the director sees them: some complete, the others up to an evaluation."""
    curves = []
    for o, r in product(range(len(trial.last)), range(replicates)):
        end = trial.last[o, r] if r < complete else min(trial.last[o, r], evaluation)
        curves.append(curve(trial.metric[o, r, : end + 1].tolist(), r, OPERATIONS[o]))
    assignment = assignment_of(range(replicates), OPERATIONS[: len(trial.last)], until="val_accuracy > 0.99")
    return watch_of(assignment, chunk_of(*curves)).observations


@pytest.mark.slow
@given(made_up(), st.data())
@settings(deadline=None, max_examples=60)
def test_bounds_and_values_are_those_of_the_objective_on_the_same_curves(
    trial: RecordedTrial, data: st.DataObject
) -> None:
    replicates = data.draw(st.integers(1, trial.last.shape[1]))
    complete = data.draw(st.integers(0, replicates - 1))
    for evaluation in data.draw(st.lists(st.integers(0, LAST), min_size=1, max_size=3)):
        seen = cut(trial, complete, replicates, evaluation)
        bound, worth = objective.lower_bound(seen, float(HORIZON)), objective.value(seen, EVENT, float(HORIZON))
        assert trial.bound(complete, replicates, evaluation) == pytest.approx(bound, abs=1e-12)
        assert trial.value(question(replicates), complete, replicates, evaluation) == pytest.approx(worth, abs=1e-12)


@pytest.mark.slow
@given(made_up(), st.data())
@settings(deadline=None, max_examples=60)
def test_a_bound_rises_and_never_exceeds_what_the_value_becomes(trial: RecordedTrial, data: st.DataObject) -> None:
    asked = question(trial.last.shape[1])
    bounds = [trial.bound(0, asked.replicates, evaluation) for evaluation in range(LAST + 1)]
    assert bounds == sorted(bounds)
    assert bounds[-1] <= value(trial, asked) + 1e-12
    staged = []
    for complete, replicates in zip((0, *stages(1, asked.replicates)), stages(1, asked.replicates), strict=False):
        of_stage = [trial.bound(complete, replicates, evaluation) for evaluation in range(LAST + 1)]
        assert of_stage == sorted(of_stage)
        assert of_stage[-1] <= trial.value(question(replicates), 0, replicates, LAST) + 1e-12
        staged.append(of_stage)
    assert staged[-1][-1] == pytest.approx(bounds[-1])


@pytest.mark.slow
@given(made_up())
@settings(deadline=None, max_examples=40)
def test_a_value_falls_until_the_runs_have_ended_and_is_never_nan(trial: RecordedTrial) -> None:
    asked = question(trial.last.shape[1])
    values = [trial.value(asked, 0, asked.replicates, evaluation) for evaluation in range(LAST + 1)]
    assert all(math.isfinite(each) for each in values)
    assert all(after <= before + 1e-12 for before, after in pairwise(values))
    assert values[int(trial.last.max())] == values[-1]


def test_a_metric_that_was_never_seen_is_as_far_from_the_threshold_as_can_be() -> None:
    trial = recorded([[NEVER]])
    unseen = RecordedTrial(0, trial.last, trial.elapsed, trial.spent, np.full_like(trial.metric, np.nan), trial.reached)
    assert unseen.value(ONE, 0, 1, LAST) == pytest.approx(math.log(1.01 * HORIZON))
    assert math.isnan(unseen.scores[0])
    assert unseen.value(ONE, 0, 1, LAST) > trial.value(ONE, 0, 1, LAST)


def test_the_best_metric_is_the_smallest_where_the_event_is_below_a_threshold() -> None:
    asked = question(1, Event("val_loss", "<", 0.5))
    trial = recorded([[NEVER]])
    losses = np.linspace(3, 1, LAST + 1)[None, None]
    falling = RecordedTrial(0, trial.last, trial.elapsed, trial.spent, losses, trial.reached)
    rising = RecordedTrial(0, trial.last, trial.elapsed, trial.spent, losses[..., ::-1], trial.reached)
    assert falling.value(asked, 0, 1, LAST) == rising.value(asked, 0, 1, LAST)
    assert falling.value(asked, 0, 1, 3) > rising.value(asked, 0, 1, 3)


@pytest.mark.slow
@given(st.lists(made_up(most=2), min_size=1, max_size=8), st.integers(1, 4), st.integers(1, 50), st.booleans())
@settings(deadline=None, max_examples=30)
def test_every_trial_ends_once_and_the_steps_add_up(
    drawn: list[RecordedTrial], at_once: int, pace: int, capped: bool
) -> None:
    asked = question(min(trial.last.shape[1] for trial in drawn))
    kept = slice(asked.replicates)
    trials = [
        RecordedTrial(i, t.last[:, kept], t.elapsed[:, kept], t.spent[:, kept], t.metric[:, kept], t.reached[:, kept])
        for i, t in enumerate(drawn)
    ]
    found = ended(trials, cap(asked) if capped else Uncapped(asked), at_once, pace)
    assert sorted(each.trial.number for each in found) == list(range(len(trials)))
    assert found[-1].total == sum(each.spent for each in found)
    assert [each.at for each in found] == sorted(each.at for each in found)
    for each in found:
        whole = each.trial.spent[:, :, -1].sum()
        assert each.spent <= whole if each.stopped else each.spent == whole
        assert each.stopped or each.reported == value(each.trial, asked)
