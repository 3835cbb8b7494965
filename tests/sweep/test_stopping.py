"""The stopping rules in whole sweeps and across launches: what stops, what never does; the winner stays."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import EVERY, chunk_of, curve
from tests.fakes.races import ends, late
from tests.fakes.sweeps import HORIZON, QUESTION, Sweep
from tests.fakes.training import always, diverges, follows, learns


def test_a_capped_trial_is_censored_where_it_was_stopped(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "budget": {"trials": 2}}
    reach = {0: 40, 1: 80}
    director = sweep.launch(learns(lambda assignment, _: reach[assignment.number], evaluations=1))
    first, second = sweep.rows()
    assert (first["state"], second["state"]) == ("finished", "capped")
    assert second["why"] == f"its value is at least {math.log(50):.4f}; place 1 is at {math.log(40):.4f}"
    runs = [(row["outcome"], row["outcome_step"], row["why"]) for row in sweep.rows("runs") if row["trial"] == 1]
    assert runs == [("censored", 50, "cap")] * 2
    assert second["steps_trained"] == 2 * 50
    assert second["value"] > math.log(HORIZON)
    assert [each.ending.kind for each in director.board.ended] == ["finished", "capped"]


def test_only_trials_of_the_search_are_capped(sweep: Sweep) -> None:
    sweep.changes = {
        "stop": "cap",
        "budget": {"trials": 5},
        "baselines": {"fast": {"depth": 1, "heads": 1}, "never": {"depth": 9, "heads": 8}},
        "confirm": {"top": 1, "replicates": 2},
    }

    def reach(assignment: Assignment, replicate: int) -> int | None:
        slower = 60 if replicate >= CONFIRMATION_REPLICATES else 0
        return None if assignment.settings.depth == 9 else {1: 10, 2: 40}[assignment.settings.depth] + slower

    sweep.launch(learns(reach, evaluations=1))
    states = {(row["phase"], row["name"], row["depth"], row["heads"]): row["state"] for row in sweep.rows()}
    assert states == {
        ("baseline", "fast", 1, 1): "finished",
        ("baseline", "never", 9, 8): "finished",
        ("search", "", 1, 2): "finished",
        ("search", "", 1, 4): "finished",
        ("search", "", 2, 1): "capped",
        ("confirm", "0", 1, 1): "finished",
        ("confirm", "1", 9, 8): "finished",
        ("confirm", "2", 1, 2): "finished",
    }


@pytest.mark.parametrize("step", [60, None], ids=["reached", "horizon"])
def test_a_trial_that_has_trained_to_its_end_is_finished_not_capped(sweep: Sweep, step: int | None) -> None:
    """Its last chunk shows that it cannot matter, but there is nothing left to stop."""
    sweep.changes = {"stop": "cap", "budget": {"trials": 2}}
    sweep.launch(learns(lambda assignment, _: 20 if assignment.number == 0 else step, evaluations=100))
    assert sweep.states() == {0: "finished", 1: "finished"}
    assert {row["why"] for row in sweep.rows("runs") if row["trial"] == 1} == {"" if step else "horizon"}


def test_a_diverged_trial_is_finished_not_capped(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "budget": {"trials": 2}}
    sweep.launch(lambda assignment: (diverges if assignment.number else learns(always(10)))(assignment))
    assert sweep.states() == {0: "finished", 1: "finished"}
    assert sweep.rows()[1]["diverged"] == 2


def test_a_run_in_the_middle_of_its_streak_counts_from_where_the_streak_began(sweep: Sweep) -> None:
    """With `sustained`, what is reached at step 50 is known only at step 90: past a cap of 60, and yet the best."""
    sweep.changes = {
        "stop": "cap",
        "budget": {"trials": 2},
        "objective": {**QUESTION["objective"], "sustained": 5},
    }
    sweep.launch(learns(lambda assignment, _: 60 if assignment.number == 0 else 50, evaluations=1))
    assert [(row["state"], row["rmst"]) for row in sweep.rows()] == [("finished", 60.0), ("finished", 50.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("sustained", "seed"), [(1, 0), (3, 1)])
def test_capping_changes_neither_the_winner_nor_the_places_that_matter(
    tmp_path: Path, sustained: int, seed: int
) -> None:
    chance = random.Random(seed)
    latest = HORIZON - (sustained - 1) * EVERY
    reach_of: dict[tuple[int, int, int], int | None] = {}
    for depth in range(1, 5):
        for heads in (1, 2, 4):
            typical = chance.randint(2, 12)
            for replicate in range(2):
                step = EVERY * max(typical + chance.randint(-2, 2), 1)
                reach_of[depth, heads, replicate] = step if step <= latest else None

    def reach(assignment: Assignment, replicate: int) -> int | None:
        return reach_of[assignment.settings.depth, assignment.settings.heads, replicate]

    results: dict[str, list[dict[str, Any]]] = {}
    for stop in ("none", "cap"):
        (tmp_path / stop).mkdir()
        objective = {**QUESTION["objective"], "sustained": sustained}
        sweep = Sweep(tmp_path / stop, {"stop": stop, "objective": objective})
        blips = (lambda step: step % 40 == 10) if sustained > 1 else (lambda _: False)
        sweep.launch(learns(reach, evaluations=chance.choice([1, 2]), blips=blips))
        results[stop] = sorted(sweep.rows(), key=lambda row: (row["value"], row["trial"]))
    whole, capped = results["none"], results["cap"]
    assert {row["trial"]: row["identity"] for row in whole} == {row["trial"]: row["identity"] for row in capped}
    places = math.ceil(12 / 10)
    for before, after in zip(whole[:places], capped[:places], strict=True):
        same = ("trial", "state", "value", "rmst", "reached", "steps_trained", "identity")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert sum(row["steps_trained"] for row in capped) < sum(row["steps_trained"] for row in whole)
    for row in capped:
        if row["state"] == "capped":
            assert row["value"] > whole[places - 1]["value"]


LEVELS: dict[int, list[float]] = {1: [0.5] * 4 + [1.0], 2: [0.6] * 5 + [1.0], 3: [0.2, 1.0], 4: [0.7] * 4 + [0.3]}
"""Depth -> accuracies; the third is low and then the fastest of all, the fourth the highest and never there."""


def levels(assignment: Assignment, replicate: int) -> list[float]:
    return LEVELS[assignment.settings.depth]


def test_asha_stops_what_is_low_at_a_rung(sweep: Sweep) -> None:
    """With a horizon of 100 the rungs are at steps 1, 4, 16 and 64: seen at steps 10, 20 and 70."""
    sweep.changes = {"search": {"depth": {"int": [1, 4]}}, "stop": "asha"}
    sweep.launch(follows(levels))
    assert [(row["state"], row["why"], row["steps_trained"]) for row in sweep.rows()] == [
        ("finished", "", 2 * 50),
        ("finished", "", 2 * 60),
        ("pruned", "asha: val_accuracy is 0.2000 at step 10", 2 * 10),
        ("finished", "", 2 * 100),
    ]
    assert ends(sweep, 2) == [(0, "censored", 10, "pruned"), (1, "censored", 10, "pruned")]
    row = sweep.rows()[2]
    assert row["value"] == pytest.approx(math.log(late(0.2)))
    assert row["bound"] == pytest.approx(math.log(10))
    assert sweep.study().values()[2] == row["value"]


def test_asha_leaves_baselines_and_confirmations_alone(sweep: Sweep) -> None:
    sweep.changes = {
        "search": {"depth": {"int": [1, 4]}},
        "baselines": {"low": {"depth": 3, "heads": 2}, "high": {"depth": 4}},
        "stop": "asha",
        "budget": {"trials": 3},
        "confirm": {"top": 1, "replicates": 1},
    }
    LOW = LEVELS | {3: [0.0]}
    sweep.launch(follows(lambda assignment, _: LOW[assignment.settings.depth]))
    assert [(row["phase"], row["name"], row["state"]) for row in sweep.rows()] == [
        ("baseline", "low", "finished"),
        ("baseline", "high", "finished"),
        ("search", "", "finished"),
        ("confirm", "2", "finished"),
        ("confirm", "0", "finished"),
        ("confirm", "1", "finished"),
    ]


def test_asha_forgets_what_a_trial_showed_before_it_started_again(sweep: Sweep) -> None:
    sweep.changes = {"search": {"depth": {"int": [1, 4]}}, "stop": "asha", "budget": {"trials": 1}}
    director = sweep.open()
    first = director.next_trial()
    assert isinstance(first, Assignment)
    for each in list(follows(levels)(first))[:3]:
        assert director.report(0, each) is None
    director.requeue(0, "there was no room")
    sweep.run(follows(levels), director)
    assert sweep.states() == {0: "finished"}


def test_asha_takes_metrics_that_stop_being_numbers(sweep: Sweep) -> None:
    sweep.changes = {
        "objective": {**QUESTION["objective"], "until": "val_loss < 0.5"},
        "search": {"depth": {"int": [1, 3]}},
        "stop": "asha",
    }

    def train(assignment: Assignment) -> Iterator[Chunk]:
        first = [2.0 + assignment.number, math.nan, 1.0][:: 1 if assignment.number else -1]
        for i, loss in enumerate(first):
            yield chunk_of(*(curve([0.1], each, val_loss=[loss], first=i + 1) for each in assignment.replicates))
            if math.isnan(loss):
                return

    sweep.launch(train)
    assert sweep.states() == {0: "finished", 1: "pruned", 2: "pruned"}
    assert all(math.isfinite(row["value"]) for row in sweep.rows())


def test_asha_compares_operations_that_train_one_after_the_other_when_all_have_begun(sweep: Sweep) -> None:
    sweep.changes = {
        "task": {**QUESTION["task"], "operation": ["x_plus_y", "x_minus_y"]},
        "search": {"depth": {"int": [1, 2]}},
        "stop": "asha",
    }

    def train(assignment: Assignment) -> Iterator[Chunk]:
        height = 0.5 - 0.25 * assignment.number
        for operation in assignment.task.operation:
            for i in range(10):
                yield chunk_of(*(curve([height], each, operation, first=i + 1) for each in assignment.replicates))

    sweep.launch(train)
    rows = sweep.rows()
    assert [row["state"] for row in rows] == ["finished", "pruned"]
    assert rows[1]["why"] == "asha: val_accuracy is 0.2500 at step 10"
    assert rows[1]["steps_trained"] == 2 * (100 + 10)


HEIGHTS = {1: [0.5], 2: [0.6], 3: [0.2], 4: [0.55], 5: [0.9], 6: [0.3]}
"""Depth -> accuracy, which stays."""


@pytest.mark.slow
@pytest.mark.parametrize("first", [2, 4])
def test_asha_decides_after_a_relaunch_as_it_would_have_without(tmp_path: Path, first: int) -> None:
    """Its rungs are rebuilt from the curves in the tables."""
    found: list[list[tuple[Any, ...]]] = []
    for name, budgets in (("whole", [6]), ("broken", [first, 6])):
        (tmp_path / name).mkdir()
        sweep = Sweep(tmp_path / name, {"search": {"depth": {"int": [1, 6]}}, "stop": "asha"})
        for trials in budgets:
            sweep.changes |= {"budget": {"trials": trials}}
            sweep.launch(follows(lambda assignment, _: HEIGHTS[assignment.settings.depth]))
        found.append([(row["trial"], row["state"], row["why"], row["steps_trained"]) for row in sweep.rows()])
    assert found[0] == found[1]
    assert [state for _, state, *_ in found[0]] == ["finished", "finished", "pruned", "pruned", "finished", "pruned"]
