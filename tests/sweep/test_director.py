"""Whole sweeps without training: the director on real journals and tables, driven in this process by made-up curves."""

import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.loading import load
from sweeper.errors import StorageError
from sweeper.folder.layout import TABLES
from sweeper.report.leaderboard import leaderboard
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.readback import trial_outcomes
from sweeper.runners.protocol import WAIT
from sweeper.stats.events import (
    DEVICE_FAILED,
    ERROR,
    FINISHED,
    HOST_MEMORY,
    NODE_LOST,
    OUT_OF_MEMORY,
    UNUSABLE_STATE,
    WORKER_KILLED,
    Ending,
)
from sweeper.sweep import director as director_module
from sweeper.sweep.director import CONFIRMATION_REPLICATES, SweepDirector
from sweeper.sweep.retries import RETRIES
from sweeper.sweep.scoreboard import Tally
from sweeper.trial import Assignment, Chunk, Train, UnusableStateError
from tests.fakes.curves import EVERY, chunk_of, curve
from tests.fakes.sweeps import HORIZON, PUBLISHED, QUESTION, Sweep
from tests.fakes.training import always, by_depth, diverges, fails, fails_half_way, follows, learns


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_baselines_then_the_search_then_confirmations(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {"published": PUBLISHED, "strong": {"depth": 1, "heads": 2}},
        "confirm": {"top": 3, "replicates": 4},
        "budget": {"trials": 6},
    }
    director = sweep.launch(learns(by_depth))
    assert [(row["trial"], row["phase"], row["name"], row["depth"], row["heads"]) for row in sweep.rows()] == [
        (0, "baseline", "published", 6, 8),
        (1, "baseline", "strong", 1, 2),
        (2, "search", "", 1, 1),
        (3, "search", "", 1, 4),
        (4, "search", "", 2, 1),
        (5, "search", "", 2, 2),
        (6, "confirm", "2", 1, 1),
        (7, "confirm", "3", 1, 4),
        (8, "confirm", "4", 2, 1),
        (9, "confirm", "0", 6, 8),
        (10, "confirm", "1", 1, 2),
    ]
    assert sweep.numbers() == list(range(11))
    assert [each.proposal.number for each in director.board.finished] == list(range(11))
    assert director.board.running() == []
    assert director.stopping == ""


def test_confirmations_train_on_fresh_replicates_and_everything_else_on_common_ones(sweep: Sweep) -> None:
    sweep.changes = {"confirm": {"top": 1, "replicates": 3}, "budget": {"trials": 2}}
    sweep.launch(learns(by_depth))
    assert [each.replicates for each in sweep.trained] == [(0, 1), (0, 1), (1000, 1001, 1002)]
    seeds = {row["replicate"]: row["init_seed"] for row in sweep.rows("runs")}
    assert set(seeds) == {0, 1, 1000, 1001, 1002}
    assert len(set(seeds.values())) == 5
    assert [row["rmst"] for row in sweep.rows()] == [20.0, 20.0, 30.0]


def test_confirmed_trials_train_the_seeds_that_a_larger_confirmation_adds(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 1, "replicates": 2},
        "budget": {"trials": 3},
    }
    sweep.launch(learns(by_depth))
    before = sweep.rows()
    sweep.changes |= {"confirm": {"top": 2, "replicates": 5}}
    sweep.trained.clear()
    sweep.launch(learns(by_depth))
    assert [each.replicates for each in sweep.trained] == [
        (1002, 1003, 1004),
        (1000, 1001, 1002, 1003, 1004),
        (1002, 1003, 1004),
    ]
    assert sweep.rows()[: len(before)] == before
    assert [(row["phase"], row["name"]) for row in sweep.rows()[len(before) :]] == [
        ("confirm", "1"),
        ("confirm", "2"),
        ("confirm", "0"),
    ]
    sweep.trained.clear()
    sweep.launch(learns(by_depth))
    assert sweep.trained == []
    board = leaderboard(sweep.folder, load(sweep.root / "space.yaml").spec, 10)
    assert [(row["of"], row["runs"]) for row in board.confirmed] == [(1, 5), (2, 5), (0, 5)]
    assert {each.comparison.replicates for each in board.verdicts} == {5}


def test_the_trial_budget_counts_baselines_but_not_confirmations(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 1, "replicates": 1},
        "budget": {"trials": 3},
    }
    sweep.launch(learns(by_depth))
    assert Counter(row["phase"] for row in sweep.rows()) == {"baseline": 1, "search": 2, "confirm": 2}


def test_baselines_run_even_beyond_the_budget(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {f"b{depth}": {"depth": depth, "heads": 8} for depth in (5, 6, 7)},
        "budget": {"trials": 2},
    }
    sweep.launch(learns(by_depth))
    assert [row["name"] for row in sweep.rows()] == ["b5", "b6", "b7"]


def test_baselines_alone_are_a_sweep(sweep: Sweep) -> None:
    sweep.changes = {"search": {}, "baselines": {"a": {"depth": 1}, "b": {"depth": 2}}, "sampler": {"name": "tpe"}}
    director = sweep.launch(learns(by_depth))
    assert [(row["phase"], row["depth"]) for row in sweep.rows()] == [("baseline", 1), ("baseline", 2)]
    assert not director.board.exhausted


def test_a_larger_budget_continues_a_sweep_and_repeats_nothing(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "confirm": {"top": 1, "replicates": 2}}
    first = sweep.launch(learns(by_depth))
    assert (first.board.earlier, len(first.board.finished)) == (0, 3)
    again = sweep.launch(learns(by_depth))
    assert (again.board.earlier, len(again.board.finished)) == (3, 0)
    sweep.changes = {"budget": {"trials": 4}, "confirm": {"top": 2, "replicates": 2}}
    more = sweep.launch(learns(by_depth))
    assert more.board.earlier == 3
    assert [(row["trial"], row["phase"], row["name"]) for row in sweep.rows()] == [
        (0, "search", ""),
        (1, "search", ""),
        (2, "confirm", "0"),
        (3, "search", ""),
        (4, "search", ""),
        (5, "confirm", "1"),
    ]
    assert sweep.numbers() == list(range(6))


def test_a_finite_space_ends_the_search_before_the_budget(sweep: Sweep) -> None:
    sweep.changes = {"search": {"depth": {"int": [1, 2]}}, "budget": {"trials": 50}, "confirm": {"top": 1}}
    director = sweep.launch(learns(by_depth))
    assert [row["phase"] for row in sweep.rows()] == ["search", "search", "confirm"]
    assert director.board.exhausted
    assert director.stopping == ""


def test_with_the_time_used_up_nothing_is_begun(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3, "hours": 1.5e-9}}
    director = sweep.launch(learns(by_depth))
    assert (director.board.out_of_time, director.stopping) == (True, "")
    assert sweep.trained == []
    sweep.changes = {"budget": {"trials": 3, "hours": 1}}
    assert sweep.launch(learns(by_depth)).stopping == ""
    assert sweep.states() == {0: "finished", 1: "finished", 2: "finished"}


def test_when_the_time_is_up_what_trains_is_stopped_and_the_next_launch_trains_it_again(sweep: Sweep) -> None:
    def slow(assignment: Assignment) -> Iterator[Chunk]:
        for each in learns(always(90), evaluations=1)(assignment):
            time.sleep(0.03)
            yield each

    sweep.changes = {"budget": {"trials": 2, "hours": 0.1 / 3600}, "confirm": {"top": 1}}
    director = sweep.launch(slow)
    assert (director.board.out_of_time, director.stopping) == (True, "")
    assert sweep.states() == {0: "stopped"}
    assert {(row["outcome"], row["why"]) for row in sweep.rows("runs")} == {("censored", "stopped")}
    assert sweep.study().values() == {}

    sweep.changes = {"budget": {"trials": 2, "hours": 1}, "confirm": {"top": 1, "replicates": 1}}
    sweep.launch(learns(always(90)))
    assert sweep.numbers() == [0, 0, 1, 2]
    assert set(sweep.states().values()) == {"finished"}
    assert [row["step"] for row in sweep.rows("curves") if row["trial"] == 0] == [*range(10, 91, 10)] * 2


def test_the_time_budget_ends_the_search_and_its_finalists_are_confirmed_then(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hours alone; and the same budget gives no more of the search, but a larger one does."""
    monkeypatch.setattr(director_module, "_USED_UP", 0.5)  # of 0.3 s the beginning and the end are more than of hours

    def slow(assignment: Assignment) -> Iterator[Chunk]:
        for each in learns(by_depth, evaluations=1)(assignment):
            time.sleep(0.0 if assignment.number < 2 else 0.02)
            yield each

    budget = {"hours": 0.3 / 3600}
    sweep.changes = {"budget": budget, "confirm": {"top": 1, "replicates": 2}, "stop": "none"}
    director = sweep.launch(slow)
    assert director.board.out_of_time
    assert director.broadcast.notices == ["the time budget is used up, 8.33333e-05 hours: the search ends"]
    phases = Counter((row["phase"], row["state"]) for row in sweep.rows())
    assert phases["confirm", "finished"] == 1
    assert phases["search", "finished"] >= 2
    before = sweep.rows()
    assert sweep.launch(slow).board.out_of_time
    assert sweep.rows() == before
    sweep.changes |= {"budget": {"hours": 1, "trials": len(before) + 1}}
    assert not sweep.launch(slow).board.out_of_time
    assert len(sweep.rows()) > len(before)
    assert {row["state"] for row in sweep.rows()} == {"finished"}


def test_a_stop_ends_the_launch_and_the_next_takes_the_trial_up_first_under_its_number(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 4}, "confirm": {"top": 1, "replicates": 1}}
    director = sweep.open()

    def stopped_in_the_third(assignment: Assignment) -> Iterator[Chunk]:
        for i, each in enumerate(learns(by_depth, evaluations=1)(assignment)):
            if assignment.number == 2 and i == 1:
                director.broadcast.stop("Ctrl-C")
                director.broadcast.stop("another reason, too late")
            yield each

    sweep.run(stopped_in_the_third, director)
    assert director.stopping == "Ctrl-C"
    assert sweep.states() == {0: "finished", 1: "finished", 2: "stopped"}
    assert set(trial_outcomes(sweep.folder, "steps")) == {0, 1}
    assert [row["why"] for row in sweep.rows()] == ["", "", "Ctrl-C"]
    assert set(sweep.study().values()) == {0, 1}
    assert [each.number for each in sweep.study().unfinished()] == [2]

    again = sweep.launch(learns(by_depth))
    assert again.board.earlier == 2
    assert sweep.numbers() == [0, 1, 2, 2, 3, 4]
    assert sweep.trained[2] == sweep.trained[3]
    assert sweep.states() == dict.fromkeys(range(5), "finished")
    assert Counter(row["trial"] for row in sweep.rows("runs")) == {0: 2, 1: 2, 2: 2, 3: 2, 4: 1}


def test_nothing_more_begins_after_a_stop(sweep: Sweep) -> None:
    director = sweep.open()
    director.broadcast.stop("Ctrl-C")
    assert director.next_trial() is None


def test_a_trial_that_starts_again_is_next_under_its_number_and_nothing_is_kept_of_its_first_start(
    sweep: Sweep,
) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.open()
    first, second = director.next_trial(), director.next_trial()
    assert isinstance(first, Assignment)
    assert isinstance(second, Assignment)
    director.report(first.number, next(iter(learns(by_depth)(first))))
    director.requeue(first.number, "there was no room")
    assert director.broadcast.notices == ["trial 0 starts again: there was no room"]
    assert [each.proposal.number for each in director.board.running()] == [1]
    assert sweep.rows() == []
    assert director.next_trial() == first
    for assignment in (first, second):
        for each in learns(by_depth)(assignment):
            director.report(assignment.number, each)
        director.end(assignment.number, FINISHED)
    sweep.run(learns(by_depth), director)
    assert sweep.states() == {0: "finished", 1: "finished", 2: "finished"}
    curves = [(row["trial"], row["replicate"], row["step"]) for row in sweep.rows("curves")]
    assert len(set(curves)) == len(curves)


def test_a_trial_that_would_start_again_after_a_stop_is_left_to_the_next_launch(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    director = sweep.open()
    first = director.next_trial()
    assert isinstance(first, Assignment)
    director.broadcast.stop("Ctrl-C")
    director.requeue(first.number, "there was no room")
    assert director.next_trial() is None
    sweep.launch(learns(by_depth))
    assert (sweep.numbers(), sweep.states()) == ([0], {0: "finished"})


@pytest.mark.parametrize("confirm", [{"top": 1, "replicates": 1}, None])
def test_several_at_once_wait_for_what_may_follow_or_start_again(sweep: Sweep, confirm: dict[str, int] | None) -> None:
    sweep.changes = {"budget": {"trials": 2}, "confirm": confirm}
    director = sweep.open()
    first, second = director.next_trial(), director.next_trial()
    assert isinstance(first, Assignment)
    assert isinstance(second, Assignment)
    assert (first.number, second.number) == (0, 1)
    assert [each.proposal.number for each in director.board.running()] == [0, 1]
    assert director.next_trial() == WAIT
    for assignment in (second, first):
        for each in learns(by_depth)(assignment):
            assert director.report(assignment.number, each) is None
        assert director.next_trial() == WAIT
        director.end(assignment.number, FINISHED)
    third = director.next_trial()
    if confirm is None:
        assert third is None
    else:
        assert isinstance(third, Assignment)
        assert (third.number, third.replicates) == (2, (CONFIRMATION_REPLICATES,))
        assert director.next_trial() == WAIT
        director.end(2, Ending("failed", "node lost"))
        again = director.next_trial()
        assert isinstance(again, Assignment)
        assert (again.number, again.replicates) == (2, (CONFIRMATION_REPLICATES,))
        director.end(2, FINISHED)
    assert director.next_trial() is None
    assert [each.proposal.number for each in director.board.finished] == [1, 0, 2][: 3 if confirm else 2]


def test_the_progress_of_what_trains_can_be_seen(sweep: Sweep) -> None:
    director = sweep.open()
    seen: list[tuple[int, int, float]] = []

    def watched(assignment: Assignment) -> Iterator[Chunk]:
        for each in learns(always(50), evaluations=2)(assignment):
            seen.extend((each.proposal.number, each.step, each.metric) for each in director.board.running())
            yield each
        director.broadcast.stop("enough")

    sweep.run(watched, director)
    assert [(number, step) for number, step, _ in seen] == [(0, 0), (0, 20), (0, 40)]
    assert math.isnan(seen[0][2])
    assert [metric for *_, metric in seen[1:]] == pytest.approx([0.1, 0.1])
    assert director.board.steps_trained == 2 * 50


@pytest.mark.parametrize("name", TABLES)
def test_what_could_not_be_written_is_not_told_and_trains_again(sweep: Sweep, name: str) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.open()
    in_the_way = sweep.folder.table(name) / ".part-00000.parquet.partial"

    def the_disk_is_full_for_the_second(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 1:
            in_the_way.mkdir()
        yield from learns(by_depth)(assignment)

    with pytest.raises(StorageError, match="part-00000"):
        sweep.run(the_disk_is_full_for_the_second, director)
    assert set(sweep.study().values()) == {0}
    assert [each.number for each in sweep.study().unfinished()] == [1]
    in_the_way.rmdir()

    sweep.launch(learns(by_depth))
    assert sweep.numbers() == [0, 1, 1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "finished")
    assert Counter(row["trial"] for row in sweep.rows("runs")) == dict.fromkeys(range(3), 2)
    assert Counter(row["trial"] for row in sweep.rows("curves")) == dict.fromkeys(range(3), 4)
    assert set(sweep.study().values()) == {0, 1, 2}


@pytest.mark.parametrize("ending", ["finished", "capped", "lost", "pruned", "failed"])
def test_what_was_written_but_not_told_is_told_without_training(sweep: Sweep, ending: str) -> None:
    """A crash between tables and study: the journal without its last record."""
    rule: dict[str, Any] = {"lost": {"race": {}}, "pruned": {"stop": "asha"}}.get(ending, {})
    sweep.changes = {"budget": {"trials": 2}, "stop": "cap", **rule}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        second = {"finished": learns(always(10)), "failed": fails}.get(ending, learns(always(90)))
        return (second if assignment.number == 1 else follows(lambda *_: [0.2, 1.0]))(assignment)

    sweep.launch(train)
    assert sweep.states() == {0: "finished", 1: ending}
    trained, values, rows = sweep.numbers(), sweep.study().values(), {name: sweep.rows(name) for name in TABLES}
    lines = sweep.folder.journal.read_bytes().splitlines(keepends=True)
    told = [
        i for i, line in enumerate(lines) if json.loads(line).get("state") == 1 and json.loads(line)["trial_id"] == 1
    ]
    sweep.folder.journal.write_bytes(b"".join(lines[: told[0]]))
    assert set(sweep.study().values()) == {0}

    director = sweep.launch(train)
    assert sweep.numbers() == trained, "nothing was trained again"
    assert sweep.study().values() == values
    assert sweep.study().unfinished() == []
    assert {name: sweep.rows(name) for name in TABLES} == rows
    assert not director.board.finished
    assert director.board.earlier == 2


def test_failing_and_diverging_trials_become_outcomes_and_the_sweep_goes_on(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 6}}
    kinds: list[Train] = [fails, fails, diverges, fails_half_way, learns(always(None)), learns(by_depth)]
    director = sweep.launch(lambda assignment: kinds[assignment.number](assignment))
    counts = ("state", "why", "reached", "censored", "diverged", "failed", "steps_trained")
    assert [tuple(row[name] for name in counts) for row in sweep.rows()] == [
        ("failed", "error", 0, 0, 0, 2, 0),
        ("failed", "error", 0, 0, 0, 2, 0),
        ("finished", "", 0, 0, 2, 0, 40),
        ("failed", "out of memory", 0, 0, 0, 2, 40),
        ("finished", "", 0, 2, 0, 0, 200),
        ("finished", "", 2, 0, 0, 0, 60),
    ]
    assert director.stopping == ""
    details = [row["detail"] for row in sweep.rows()]
    assert details[0].startswith("Traceback (most recent call last):")
    assert details[0].endswith("ValueError: trial 0 cannot be trained\n")
    assert details[2] == ""
    values = sweep.study().values()
    assert all(math.isfinite(value) for value in values.values())
    assert min(values, key=values.__getitem__) == 5
    assert sorted(values, key=values.__getitem__)[:2] == [5, 3], "then those that came nearest"


def test_when_the_first_three_trials_all_fail_the_sweep_stops(sweep: Sweep) -> None:
    sweep.changes = {"confirm": {"top": 1}, "baselines": {"published": PUBLISHED}}
    director = sweep.launch(fails)
    assert director.stopping == "every one of the first 3 trials failed"
    assert sweep.numbers() == [0, 1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "failed")


@pytest.mark.parametrize("sound", [0, 1, 2, 3])
def test_one_sound_trial_among_the_first_three_keeps_the_sweep_going(sweep: Sweep, sound: int) -> None:
    sweep.changes = {"budget": {"trials": 5}}
    director = sweep.launch(lambda a: (learns(by_depth) if a.number == sound else fails)(a))
    assert len(sweep.trained) == (3 if sound == 3 else 5)
    assert bool(director.stopping) == (sound == 3)


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
    assert [each.summary.ending.kind for each in director.board.finished] == ["finished", "capped"]


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
@pytest.mark.parametrize("sustained", [1, 3])
@pytest.mark.parametrize("seed", range(2))
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


RACE: dict[str, Any] = {
    "search": {"depth": {"int": [1, 9]}},
    "objective": {**QUESTION["objective"], "replicates": 3},
    "stop": "cap",
    "race": {"first": 1, "slack": 0},
}
"""Stages of 1, 2 and 3 replicates; one place matters in a sweep of up to 9 trials; depths in order."""
STEPS = {1: (20, 40, 60), 2: (40, 20, 20), 3: (20, 60, 30), 4: (10, 40, 90), 5: (20, 20, 20), 6: (10, 40, 60)}
"""Depth -> when each replicate gets there, in a race that is worked out by hand."""


def raced(assignment: Assignment, replicate: int) -> int:
    return STEPS[assignment.settings.depth][replicate % CONFIRMATION_REPLICATES]


def late(best: float = 0.1) -> float:
    """What a run that did not arrive counts, whose best accuracy that was."""
    distance = (0.99 - best) / 0.99
    return HORIZON * (1.001 + 0.008 * distance / (1 + distance))


def stages_of(sweep: Sweep) -> list[tuple[int, tuple[int, ...]]]:
    """Trial and replicates of every assignment, in order."""
    return [(each.number, each.replicates) for each in sweep.trained]


def ends(sweep: Sweep, trial: int) -> list[tuple[int, str, int, str]]:
    """What became of a trial's runs: replicate, outcome, step and why."""
    return [
        (row["replicate"], row["outcome"], row["outcome_step"], row["why"])
        for row in sweep.rows("runs")
        if row["trial"] == trial
    ]


def test_in_a_race_later_replicates_train_only_where_the_first_ones_keep_up(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 6}}
    sweep.launch(learns(raced, evaluations=1))
    assert stages_of(sweep) == [
        *((0, (0,)), (0, (1,)), (0, (2,))),
        (1, (0,)),  # at step 30 it is behind the 20 of trial 0's first replicate
        *((2, (0,)), (2, (1,))),  # level after one, but at step 50 its mean of two is behind the 30 of trial 0
        *((3, (0,)), (3, (1,)), (3, (2,))),  # level after two; at step 80 its mean of three is behind the 40 of trial 0
        *((4, (0,)), (4, (1,)), (4, (2,))),  # the new best: 20 in every stage
        *((5, (0,)), (5, (1,))),  # the first replicate is ahead; at step 40 the mean of two is 25
    ]
    assert [(row["trial"], row["state"], row["runs"], row["reached"]) for row in sweep.rows()] == [
        (0, "finished", 3, 3),
        (1, "lost", 1, 0),
        (2, "lost", 2, 1),
        (3, "capped", 3, 2),
        (4, "finished", 3, 3),
        (5, "lost", 2, 2),
    ]
    assert [ends(sweep, trial) for trial in (1, 2, 3, 5)] == [
        [(0, "censored", 30, "race")],
        [(0, "reached", 20, ""), (1, "censored", 50, "race")],
        [(0, "reached", 10, ""), (1, "reached", 40, ""), (2, "censored", 80, "cap")],
        [(0, "reached", 10, ""), (1, "reached", 40, "")],
    ]
    assert [row["steps_trained"] for row in sweep.rows()] == [120, 30, 70, 130, 60, 50]
    curves = Counter((row["trial"], row["replicate"]) for row in sweep.rows("curves"))
    assert curves == {
        **{(0, 0): 2, (0, 1): 4, (0, 2): 6, (1, 0): 3, (2, 0): 2, (2, 1): 5},
        **{(3, 0): 1, (3, 1): 4, (3, 2): 8, (4, 0): 2, (4, 1): 2, (4, 2): 2, (5, 0): 1, (5, 1): 4},
    }
    seeds = {(row["replicate"], row["init_seed"]) for row in sweep.rows("runs")}
    assert len(seeds) == 3, "common to all trials"


def test_a_trial_that_is_out_says_with_how_many_replicates_and_is_told_as_far_behind_as_it_was(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 5}}
    sweep.launch(learns(raced, evaluations=1))
    rows = sweep.rows()
    assert [row["why"] for row in rows] == [
        "",
        (
            f"with 1 of 3 replicates its value is at least {math.log(30):.4f}; "
            f"the leader's and the slack are {math.log(20):.4f}"
        ),
        (
            f"with 2 of 3 replicates its value is at least {math.log(35):.4f}; "
            f"the leader's and the slack are {math.log(30):.4f}"
        ),
        f"its value is at least {math.log(130 / 3):.4f}; place 1 is at {math.log(40):.4f}",
        "",
    ]
    assert [row["value"] for row in rows] == [
        pytest.approx(math.log(40)),
        pytest.approx(math.log(40) + math.log(late() / 20)),
        pytest.approx(math.log(40) + math.log((20 + late()) / 2 / 30)),
        pytest.approx(math.log((10 + 40 + late()) / 3)),
        pytest.approx(math.log(20)),
    ]
    assert [row["bound"] for row in rows] == [
        None,
        *(pytest.approx(math.log(mean)) for mean in (30, 35, 130 / 3)),
        None,
    ]
    assert sweep.study().values() == {row["trial"]: row["value"] for row in rows}


def test_a_race_forgives_a_lag_within_its_slack(sweep: Sweep) -> None:
    sweep.changes = RACE | {"race": {"first": 2, "slack": 0.6}, "budget": {"trials": 3}}
    steps = {1: (20, 20, 20), 2: (30, 30, 20), 3: (30, 40, 20)}
    sweep.launch(learns(lambda assignment, replicate: steps[assignment.settings.depth][replicate], evaluations=1))
    assert stages_of(sweep) == [(0, (0, 1)), (0, (2,)), (1, (0, 1)), (1, (2,)), (2, (0, 1))]
    assert sweep.states() == {0: "finished", 1: "capped", 2: "lost"}
    said = sweep.rows()[2]["why"]
    assert said == (
        f"with 2 of 3 replicates its value is at least {math.log(35):.4f}; "
        f"the leader's and the slack are {math.log(32):.4f}"
    )


def test_the_stages_of_a_race_double(sweep: Sweep) -> None:
    sweep.changes = RACE | {
        "objective": {**QUESTION["objective"], "replicates": 7},
        "race": {"first": 2},
        "budget": {"trials": 1},
    }
    sweep.launch(learns(always(10)))
    assert stages_of(sweep) == [(0, (0, 1)), (0, (2, 3)), (0, (4, 5, 6))]
    assert sorted(row["replicate"] for row in sweep.rows("runs")) == list(range(7))


def test_baselines_and_confirmations_do_not_race(sweep: Sweep) -> None:
    sweep.changes = RACE | {
        "baselines": {"published": {"depth": 6}, "slow": {"depth": 2}},
        "confirm": {"top": 1, "replicates": 2},
        "budget": {"trials": 5},
    }
    sweep.launch(learns(raced, evaluations=1))
    # The leader is the slow baseline: 40, 30 and 27 after one, two and three replicates.
    assert stages_of(sweep) == [
        *((0, (0, 1, 2)), (1, (0, 1, 2))),
        *((2, (0,)), (2, (1,)), (2, (2,))),
        *((3, (0,)), (3, (1,))),
        *((4, (0,)), (4, (1,)), (4, (2,))),
        *((5, (1000, 1001)), (6, (1000, 1001)), (7, (1000, 1001))),
    ]
    assert [(row["phase"], row["name"], row["state"]) for row in sweep.rows()] == [
        ("baseline", "published", "finished"),
        ("baseline", "slow", "finished"),
        ("search", "", "finished"),
        ("search", "", "lost"),
        ("search", "", "capped"),
        ("confirm", "2", "finished"),
        ("confirm", "0", "finished"),
        ("confirm", "1", "finished"),
    ]


def test_finalists_are_whole_trials_whatever_the_others_were_told(sweep: Sweep) -> None:
    """The one that lost is told 25 % behind the leader, and so ahead of the second best whole trial."""
    steps = {1: (40, 40, 40), 2: (40, 40, 100), 3: (50, 50, 50)}
    sweep.changes = RACE | {
        "baselines": {"slow": {"depth": 2}},
        "confirm": {"top": 2, "replicates": 1},
        "budget": {"trials": 3},
    }
    sweep.launch(learns(lambda assignment, replicate: steps[assignment.settings.depth][replicate % 1000]))
    rows = sweep.rows()
    assert [(row["phase"], row["depth"], row["state"]) for row in rows[:3]] == [
        ("baseline", 2, "finished"),
        ("search", 1, "finished"),
        ("search", 3, "lost"),
    ]
    assert [row["value"] for row in rows[:3]] == pytest.approx([math.log(60), math.log(40), math.log(50)])
    assert [(row["phase"], row["name"]) for row in rows[3:]] == [("confirm", "1"), ("confirm", "0")]


def test_a_stop_while_a_stage_ends_keeps_what_was_trained_and_the_next_launch_goes_on_with_the_next_stage(
    sweep: Sweep,
) -> None:
    sweep.changes = RACE | {"budget": {"trials": 2}}
    director = sweep.open()

    def stopped_after_the_first_stage_of_the_second(assignment: Assignment) -> Iterator[Chunk]:
        yield from learns(always(20), evaluations=1)(assignment)
        if assignment.number == 1:
            director.broadcast.stop("Ctrl-C")

    sweep.run(stopped_after_the_first_stage_of_the_second, director)
    assert stages_of(sweep) == [(0, (0,)), (0, (1,)), (0, (2,)), (1, (0,))]
    assert sweep.states() == {0: "finished", 1: "stopped"}
    assert sweep.rows()[1]["why"] == "Ctrl-C"
    assert ends(sweep, 1) == [(0, "reached", 20, "")]
    assert [each.number for each in sweep.study().unfinished()] == [1]

    sweep.launch(learns(always(20), evaluations=1))
    assert stages_of(sweep)[4:] == [(1, (1,)), (1, (2,))]
    assert sweep.states() == {0: "finished", 1: "finished"}
    assert [row["step"] for row in sweep.rows("curves") if row["trial"] == 1] == [10, 20] * 3


def test_a_stop_between_two_stages_leaves_the_rest_to_the_next_launch(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 2}}
    director = sweep.open()
    first = director.next_trial()
    assert isinstance(first, Assignment)
    for each in learns(always(20))(first):
        director.report(0, each)
    director.end(0, FINISHED)
    assert sweep.rows() == []
    director.broadcast.stop("the machine is needed")
    assert director.next_trial() is None
    assert (sweep.rows(), len(director.board.finished)) == ([], 0)
    sweep.launch(learns(always(20)))
    assert stages_of(sweep)[:2] == [(0, (1,)), (0, (2,))]
    assert ends(sweep, 0) == [(replicate, "reached", 20, "") for replicate in range(3)]


def test_a_stop_within_a_later_stage_keeps_the_earlier_ones(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 1}}
    director = sweep.open()

    def stopped(assignment: Assignment) -> Iterator[Chunk]:
        for i, each in enumerate(learns(always(40), evaluations=1)(assignment)):
            if assignment.replicates == (1,) and i == 1:
                director.broadcast.stop("Ctrl-C")
            yield each

    sweep.run(stopped, director)
    assert ends(sweep, 0) == [(0, "reached", 40, ""), (1, "censored", 20, "stopped")]


def test_a_trial_that_starts_again_in_a_later_stage_starts_with_that_stage(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 1}}
    director = sweep.open()
    for replicates in ((0,), (1,)):
        assignment = director.next_trial()
        assert isinstance(assignment, Assignment)
        assert assignment.replicates == replicates
        for each in learns(always(20), evaluations=1)(assignment):
            director.report(0, each)
        if replicates == (0,):
            director.end(0, FINISHED)
    director.requeue(0, "there was no room")
    assert sweep.rows() == []
    sweep.run(learns(always(30)), director)
    assert stages_of(sweep) == [(0, (1,)), (0, (2,))]
    assert sweep.states() == {0: "finished"}
    assert [row["step"] for row in sweep.rows("curves")] == [10, 20] + [10, 20, 30] * 2
    assert sweep.rows()[0]["retries"] == ["there was no room"]


def test_a_trial_that_fails_in_a_later_stage_fails_in_all_replicates_to_come(sweep: Sweep) -> None:
    """Two of its three replicates must not count as the whole of it."""
    sweep.changes = RACE | {"budget": {"trials": 2}}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        fast = learns(always(10))
        return (fails if assignment.number == 0 and assignment.replicates == (1,) else fast)(assignment)

    sweep.launch(train)
    assert ends(sweep, 0) == [(0, "reached", 10, ""), (1, "failed", 0, "error"), (2, "failed", 0, "error")]
    row = sweep.rows()[0]
    assert (row["state"], row["runs"], row["failed"]) == ("failed", 3, 2)
    assert row["value"] == pytest.approx(math.log((10 + 2 * 1.01 * HORIZON) / 3))
    assert sweep.states()[1] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(6))
def test_the_next_launch_of_a_race_knows_the_caps_from_the_tables(tmp_path: Path, trial: int) -> None:
    """Interrupted at any trial and continued, it decides as if it had not been."""
    kept = ("trial", "state", "why", "value", "bound", "runs", "steps_trained", "identity")
    results = []
    for name, interrupted in (("whole", False), ("broken", True)):
        (tmp_path / name).mkdir()
        sweep = Sweep(tmp_path / name, RACE | {"budget": {"trials": 6}})
        director = sweep.open()

        def train(assignment: Assignment, director: SweepDirector = director) -> Iterator[Chunk]:
            if assignment.number == trial:
                director.broadcast.stop("Ctrl-C")
            yield from learns(raced, evaluations=1)(assignment)

        if interrupted:
            sweep.run(train, director)
            assert sweep.states()[trial] == "stopped"
        sweep.launch(learns(raced, evaluations=1))
        results.append([{name: row[name] for name in kept} for row in sweep.rows()])
    assert results[0] == results[1]


def test_several_trials_at_once_race_each_at_its_own_stage(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 2}}
    director = sweep.open()

    def begin(number: int, replicates: tuple[int, ...]) -> Assignment:
        assignment = director.next_trial()
        assert isinstance(assignment, Assignment)
        assert (assignment.number, assignment.replicates) == (number, replicates)
        return assignment

    def train(assignment: Assignment, step: int) -> Ending | None:
        for each in learns(always(step), evaluations=1)(assignment):
            ending = director.report(assignment.number, each)
            if ending is not None:
                director.end(assignment.number, ending)
                return ending
        director.end(assignment.number, FINISHED)
        return None

    slow, fast = begin(0, (0,)), begin(1, (0,))
    assert director.next_trial() == WAIT
    train(slow, 40)
    slow = begin(0, (1,))  # its next stage comes before anything new
    assert director.next_trial() == WAIT
    for replicates in ((1,), (2,), ()):
        train(fast, 20)
        if replicates:
            fast = begin(1, replicates)
    assert sweep.states() == {1: "finished"}
    ending = train(slow, 40)  # behind what the other one did meanwhile
    assert ending is not None
    assert ending.kind == "lost"
    assert director.next_trial() is None
    assert sweep.states() == {0: "lost", 1: "finished"}
    assert ends(sweep, 0) == [(0, "reached", 40, ""), (1, "censored", 10, "race")]


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


# ---- a larger budget

DESCENT = [(80, 1), (100, 9), (60, 1), (100, 1), (40, 1), (70, 1), (20, 1), (50, 1), (90, 1), (50, 1)]
"""Depth - 1 -> when its runs get there, and evaluations in a chunk. Every other one is the best so far."""


def descends(assignment: Assignment) -> Iterator[Chunk]:
    step, evaluations = DESCENT[assignment.settings.depth - 1]
    return learns(always(step), evaluations)(assignment)


def descent(trials: int, top: int | None = None) -> dict[str, Any]:
    return {
        "search": {"depth": {"int": [1, len(DESCENT)]}},
        "stop": "cap",
        "budget": {"trials": trials},
        "confirm": None if top is None else {"top": top, "replicates": 1},
    }


@pytest.mark.slow
def test_a_larger_budget_takes_up_again_what_may_now_matter(sweep: Sweep) -> None:
    """One place matters among 8 trials, four among 100. The fourth best of 80, 60, 40 and 20 is at 80."""
    sweep.changes = descent(8)
    sweep.launch(descends)
    assert sweep.states() == {number: "capped" if number % 2 else "finished" for number in range(8)}
    bounds = [round(math.exp(row["bound"])) for row in sweep.rows() if row["bound"] is not None]
    assert bounds == [90, 70, 50, 30]
    before = {row["trial"]: row for row in sweep.rows()}
    same = sweep.launch(descends)
    assert (same.broadcast.notices, len(same.board.finished), len(sweep.trained)) == ([], 0, 8)

    sweep.changes = descent(100)
    more = sweep.launch(descends)
    assert more.broadcast.notices == ["the larger budget continues 3 trials capped under the smaller one"]
    assert sweep.numbers()[8:] == [8, 9, 10, 11, 12]
    rows = {row["trial"]: row for row in sweep.rows()}
    assert {number: rows[number] for number in before} == before, "what was recorded stays"
    new = [(row["trial"], row["phase"], row["name"], row["depth"], row["state"]) for row in sweep.rows()[8:]]
    assert new == [
        (8, "search", "3", 4, "capped"),  # at 90, behind 80
        (9, "search", "5", 6, "finished"),  # 70: the fourth best is now 70
        (10, "search", "7", 8, "finished"),  # 50: 60
        (11, "search", "", 9, "capped"),
        (12, "search", "", 10, "finished"),
    ]
    assert sweep.study().values() == {n: rows[n]["value"] for n in (0, 1, 2, 4, 6, 8, 9, 10, 11, 12)}
    board = leaderboard(sweep.folder, load(sweep.root / "space.yaml").spec, 20)
    assert [(row["trial"], row["rmst"]) for row in board.rows] == [
        *((6, 20.0), (4, 40.0), (10, 50.0), (12, 50.0), (2, 60.0), (9, 70.0), (0, 80.0)),
        *((1, 100.0), (8, 100.0), (11, 100.0)),
    ]
    assert more.board.exhausted

    for trials in (100, 8, 100):
        sweep.changes = descent(trials)
        again = sweep.launch(descends)
        assert (again.broadcast.notices, len(again.board.finished)) == ([], 0)


def test_more_finalists_take_up_again_what_may_be_among_them(sweep: Sweep) -> None:
    sweep.changes = descent(8, 1)
    sweep.launch(descends)
    assert [row["name"] for row in sweep.rows() if row["phase"] == "confirm"] == ["6"]
    sweep.changes = descent(8, 3)
    more = sweep.launch(descends)
    assert more.broadcast.notices == ["the larger budget continues 2 trials capped under the smaller one"]
    assert [(row["trial"], row["phase"], row["name"], row["state"]) for row in sweep.rows()[9:]] == [
        (9, "search", "5", "finished"),
        (10, "search", "7", "finished"),
        (11, "confirm", "4", "finished"),
        (12, "confirm", "10", "finished"),
    ]


def test_a_launch_that_was_killed_while_it_took_up_trials_again_goes_on_with_them(sweep: Sweep) -> None:
    sweep.changes = descent(8)
    sweep.launch(descends)
    sweep.changes = descent(100)
    director = sweep.open()

    def killed(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 9:
            raise KeyboardInterrupt
        return descends(assignment)

    with pytest.raises(KeyboardInterrupt):
        sweep.run(killed, director)
    again = sweep.launch(descends)
    assert again.broadcast.notices == []
    assert sweep.numbers()[8:] == [8, 9, 9, 10, 11, 12]
    assert [row["name"] for row in sweep.rows()] == [*[""] * 8, "3", "5", "7", "", ""]


# ---- checkpoints


def resumes(train: Train, every: int = 1) -> Train:
    """The same, keeping a state in one of so many chunks: how many came before the next."""

    def resumable(assignment: Assignment) -> Iterator[Chunk]:
        done = int(assignment.state or 0)
        for count, each in enumerate(train(replace(assignment, state=None)), 1):
            if count > done:
                yield replace(each, state=str(count).encode()) if count % every == 0 else each

    return resumable


class Killed(BaseException):
    """Ends a launch wherever it is, as kill -9 would."""


def killed_after(chunks: int, train: Train) -> Train:
    """The same, until so many chunks have been handed in, over all trials."""
    left = iter(range(chunks))

    def train_until(assignment: Assignment) -> Iterator[Chunk]:
        for each in train(assignment):
            if next(left, None) is None:
                raise Killed
            yield each

    return train_until


def noted(seen: list[Chunk], train: Train) -> Train:
    """The same, with a note of every chunk that is handed in."""

    def train_and_note(assignment: Assignment) -> Iterator[Chunk]:
        for each in train(assignment):
            seen.append(each)
            yield each

    return train_and_note


def kept(sweep: Sweep) -> list[str]:
    """The files of checkpoints."""
    return sorted(path.name for path in sweep.folder.checkpoints.glob("*"))


def tables(sweep: Sweep) -> dict[str, list[dict[str, str]]]:
    """All rows in words, but for when a trial trained, and the lines of code that its traceback names."""
    apart = {"trials": ("seconds", "started", "finished", "detail")}
    return {
        table: [
            {name: str(value) for name, value in row.items() if name not in apart.get(table, ())}
            for row in sweep.rows(table)
        ]
        for table in TABLES
    }


def begin(director: SweepDirector) -> Assignment:
    assignment = director.next_trial()
    assert isinstance(assignment, Assignment)
    return assignment


def hand_in(director: SweepDirector, assignment: Assignment, train: Train, chunks: int | None = None) -> None:
    for each in list(train(assignment))[:chunks]:
        assert director.report(assignment.number, each) is None


@pytest.mark.parametrize(("every", "chunks", "state"), [(1, 4, b"4"), (3, 4, b"3"), (3, 2, None), (2, 0, None)])
def test_a_trial_that_was_cut_off_goes_on_from_its_last_state(
    sweep: Sweep, every: int, chunks: int, state: bytes | None
) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train = resumes(learns(always(70), evaluations=1), every)
    with pytest.raises(Killed):
        sweep.launch(killed_after(chunks, train))
    assert sweep.rows() == []
    assert kept(sweep) == (["trial-00000000.npz"] if state else [])

    director = sweep.open()
    assignment = begin(director)
    assert assignment == replace(sweep.trained[0], state=state)
    (running,) = director.board.running()
    assert running.step == 10 * int(state or 0), "its curve so far"
    hand_in(director, assignment, train)
    director.end(0, FINISHED)
    assert director.board.steps_trained == 2 * (70 - 10 * int(state or 0)), "what this launch has trained"
    assert [row["step"] for row in sweep.rows("curves")] == [*range(10, 71, 10)] * 2
    assert (sweep.states(), sweep.rows()[0]["retries"]) == ({0: "finished"}, [])
    assert kept(sweep) == []


UNDISTURBED: dict[str, tuple[dict[str, Any], Train]] = {
    "confirmations": (
        {"baselines": {"published": PUBLISHED}, "budget": {"trials": 2}, "confirm": {"top": 1, "replicates": 2}},
        learns(by_depth, evaluations=2),
    ),
    "race": (RACE | {"budget": {"trials": 4}}, learns(raced, evaluations=1)),
    "failures": (
        {"budget": {"trials": 3}},
        lambda each: (diverges, fails_half_way, learns(always(30), evaluations=1))[each.number](each),
    ),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], int]]:
    """Of each sweep above, its tables and how many chunks it takes."""
    found = {}
    for name, (changes, train) in UNDISTURBED.items():
        sweep, seen = Sweep(tmp_path_factory.mktemp("undisturbed"), changes), list[Chunk]()
        sweep.launch(noted(seen, train))
        found[name] = tables(sweep), len(seen)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.1, 0.35, 0.6, 0.95])
@pytest.mark.parametrize("name", UNDISTURBED)
def test_a_sweep_that_was_cut_off_comes_to_the_tables_of_one_that_was_not(
    sweep: Sweep, undisturbed: dict[str, tuple[dict[str, Any], int]], name: str, place: float
) -> None:
    expected, chunks = undisturbed[name]
    sweep.changes, train = UNDISTURBED[name]
    cut = round(place * (chunks - 1))
    with pytest.raises(Killed):
        sweep.launch(killed_after(cut, resumes(train)))
    sweep.launch(killed_after(chunks - cut, resumes(train)))  # and no chunk is trained twice
    assert tables(sweep) == expected
    assert kept(sweep) == []


@pytest.mark.parametrize("write", [1, 3, 4, 9, 14, 15, 16, 17])
def test_a_launch_may_be_killed_at_any_write(
    sweep: Sweep, undisturbed: dict[str, tuple[dict[str, Any], int]], monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """Before a file is put in its place, or after: of 18 the first is the question, and the last are the tables."""
    sweep.changes, train = UNDISTURBED["race"]
    sweep.changes = sweep.changes | {"budget": {"trials": 1}}
    rename, left = os.replace, iter(range(write))

    def killed(before: Path, after: Path) -> None:
        if next(left, None) is None:
            if write % 2:
                rename(before, after)
            raise Killed
        rename(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            sweep.launch(resumes(train))
    sweep.launch(resumes(train))
    expected, _ = undisturbed["race"]
    assert tables(sweep) == {name: [row for row in rows if row["trial"] == "0"] for name, rows in expected.items()}
    assert kept(sweep) == []


@pytest.mark.parametrize("ending", ["finished", "capped", "lost", "pruned", "failed", "stopped"])
def test_a_checkpoint_goes_when_its_trial_is_over(sweep: Sweep, ending: str) -> None:
    rule: dict[str, Any] = {"lost": {"race": {}}, "pruned": {"stop": "asha"}}.get(ending, {})
    sweep.changes = {"budget": {"trials": 2}, "stop": "cap", **rule}
    director = sweep.open()
    during: list[list[str]] = []

    def train(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 0:
            yield from follows(lambda *_: [0.2, 1.0])(assignment)
            return
        for each in resumes(learns(always(20 if ending == "finished" else 90), evaluations=1))(assignment):
            yield each
            during.append(kept(sweep))
            if ending == "failed":
                raise ValueError
            if ending == "stopped":
                director.broadcast.stop("Ctrl-C")

    sweep.run(train, director)
    assert sweep.states() == {0: "finished", 1: ending}
    # The states of a trial that is stopped by its first chunk are seen by nobody but the director.
    assert during or ending == "pruned"
    assert all(each == ["trial-00000001.npz"] for each in during)
    assert kept(sweep) == (["trial-00000001.npz"] if ending == "stopped" else [])


def test_checkpoints_of_trials_that_are_over_go_at_the_next_launch(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the study was told, and before the file was removed."""
    sweep.changes = {"budget": {"trials": 3}}

    def crash(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove", crash)
        with pytest.raises(Killed):
            sweep.launch(resumes(learns(by_depth)))
    assert (kept(sweep), set(sweep.study().values())) == (["trial-00000000.npz"], {0})
    sweep.open()
    assert kept(sweep) == []


def test_a_checkpoint_of_another_question_is_of_no_use(sweep: Sweep) -> None:
    """More replicates are asked of a confirmation that is in training."""
    sweep.changes = {"budget": {"trials": 1}, "confirm": {"top": 1, "replicates": 1}}
    train = resumes(learns(always(60), evaluations=1))
    with pytest.raises(Killed):
        sweep.launch(killed_after(6 + 3, train))
    assert kept(sweep) == ["trial-00000001.npz"]
    sweep.changes |= {"confirm": {"top": 1, "replicates": 2}}
    sweep.launch(train)
    assert [(each.number, each.replicates, each.state) for each in sweep.trained[1:]] == [
        (1, (1000,), None),
        (1, (1000, 1001), None),
    ]
    assert [row["step"] for row in sweep.rows("curves") if row["trial"] == 1] == [*range(10, 61, 10)] * 2


def test_a_checkpoint_is_of_use_to_a_larger_budget_and_on_other_resources(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train = resumes(learns(always(60), evaluations=1))
    with pytest.raises(Killed):
        sweep.launch(killed_after(3, train))
    sweep.changes = {"budget": {"trials": 2, "hours": 1}, "resources": {"cpu": 2}, "confirm": {"top": 1}}
    assignment = begin(sweep.open())
    assert (assignment.number, assignment.cpu, assignment.state) == (0, 2, b"3")


@pytest.mark.parametrize("when", ["at the next launch", "in a launch"])
def test_a_trial_with_a_damaged_checkpoint_starts_from_the_beginning(sweep: Sweep, when: str) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train = resumes(learns(always(60), evaluations=1))
    director = sweep.open()
    hand_in(director, begin(director), train, 3)
    path = sweep.folder.checkpoints / "trial-00000000.npz"
    path.write_bytes(path.read_bytes()[:-1])
    if when == "in a launch":
        director.end(0, Ending("failed", NODE_LOST))
    else:
        director = sweep.open()
    assignment = begin(director)
    assert assignment.state is None
    notice, *others = director.broadcast.notices
    assert notice.startswith(f"trial 0 starts from the beginning: its checkpoint cannot be read ({path}: ")
    assert others == (["trial 0 starts again: node lost"] if when == "in a launch" else [])
    hand_in(director, assignment, train)
    director.end(0, FINISHED)
    assert [row["step"] for row in sweep.rows("curves")] == [*range(10, 61, 10)] * 2
    assert sweep.rows()[0]["retries"] == (["node lost"] if when == "in a launch" else [])


# ---- starting again


@pytest.mark.parametrize(
    "cause", [ERROR, OUT_OF_MEMORY, NODE_LOST, WORKER_KILLED, HOST_MEMORY, DEVICE_FAILED, UNUSABLE_STATE]
)
def test_a_trial_starts_again_as_often_as_its_cause_allows(sweep: Sweep, cause: str) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train, again = resumes(learns(always(50), evaluations=1)), RETRIES.get(cause, 0)
    director = sweep.open()
    for start in range(again + 1):
        assert sweep.rows() == []
        assignment = begin(director)
        began = 0 if cause == UNUSABLE_STATE else min(start, 3)
        assert assignment.state == (str(began).encode() if began else None), "from its last state"
        if start < 3:
            hand_in(director, assignment, train, 1)
        director.end(0, Ending("failed", cause, f"the {start}th time"))
    assert director.next_trial() is None
    assert director.broadcast.notices == [f"trial 0 starts again: {cause}"] * again
    (row,) = sweep.rows()
    said = (row["state"], row["why"], row["detail"], row["retries"])
    assert said == ("failed", cause, f"the {again}th time", [cause] * again)
    assert len(ends(sweep, 0)) == 2, "two replicates"

    final = cause not in (NODE_LOST, DEVICE_FAILED)
    assert [each.number for each in sweep.study().unfinished()] == ([] if final else [0])
    assert kept(sweep) == ([] if final else ["trial-00000000.npz"])
    sweep.launch(train)
    (row,) = sweep.rows()
    assert (row["state"], row["retries"]) == (
        ("failed", [cause] * again) if final else ("finished", [cause] * (again + 1))
    )
    if not final:
        assert sweep.trained[0].state == b"3"
        assert [each["step"] for each in sweep.rows("curves")] == [*range(10, 51, 10)] * 2


def test_each_cause_is_counted_by_itself_and_over_launches(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    causes = [WORKER_KILLED, HOST_MEMORY, NODE_LOST, WORKER_KILLED, HOST_MEMORY]
    for cause in causes:
        director = sweep.open()
        begin(director)
        director.end(0, Ending("failed", cause))
        assert sweep.rows() == []
    director = sweep.open()
    begin(director)
    director.requeue(0, "there was no room")
    begin(director)
    director.end(0, Ending("failed", HOST_MEMORY))
    (row,) = sweep.rows()
    assert (row["state"], row["why"], row["retries"]) == ("failed", HOST_MEMORY, [*causes, "there was no room"])


def test_a_state_that_training_cannot_take_up_is_one_to_start_without(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 1}}
    whole = learns(always(30), evaluations=1)

    def of_another_version(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.state is not None:
            raise UnusableStateError("KeyError: 'parameters'")
        yield from resumes(whole)(assignment)

    with pytest.raises(Killed):
        sweep.launch(killed_after(3 + 2, of_another_version))  # in the second replicate
    director = sweep.launch(of_another_version)
    assert stages_of(sweep) == [(0, (0,)), (0, (1,)), (0, (1,)), (0, (0,)), (0, (1,)), (0, (2,))]
    assert [each.state for each in sweep.trained] == [None, None, b"2", None, None, None]
    assert director.broadcast.notices == ["trial 0 starts again: unusable checkpoint"]
    assert [row["step"] for row in sweep.rows("curves")] == [10, 20, 30] * 3
    assert (sweep.states(), sweep.rows()[0]["retries"]) == ({0: "finished"}, ["unusable checkpoint"])


def breaks(starts: Sequence[bool], train: Train) -> Train:
    """The same on a device that fails in those starts, one after the other."""
    broken = iter(starts)

    def train_or_break(assignment: Assignment) -> Iterator[Chunk]:
        if next(broken, False):
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nFor debugging consider ...\n")
        yield from train(assignment)

    return train_or_break


def test_three_failed_devices_in_a_row_end_the_launch(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.launch(breaks([False, True, True, True], learns(by_depth)))
    assert sweep.numbers() == [0, 1, 1, 1]
    assert director.stopping == "a device has failed"
    assert director.board.broken == (
        "3 trials in a row ended because their device failed (RuntimeError: CUDA error: an illegal memory access was "
        "encountered)"
    )
    assert [(row["state"], row["why"]) for row in sweep.rows()] == [("finished", ""), ("failed", "device failed")]

    again = sweep.launch(learns(by_depth))
    assert (again.board.broken, again.stopping) == ("", "")
    assert sweep.numbers()[4:] == [1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "finished")
    assert [row["retries"] for row in sweep.rows()] == [[], ["device failed"] * 3, []]


def test_three_failed_devices_in_a_row_may_be_those_of_three_trials(sweep: Sweep) -> None:
    director = sweep.open()
    for number in range(3):
        assert begin(director).number == number
    for number in range(3):
        assert director.board.broken == ""
        director.end(number, Ending("failed", DEVICE_FAILED, "the runner's own words"))
    assert director.board.broken == "3 trials in a row ended because their device failed (the runner's own words)"
    assert director.next_trial() is None
    assert (sweep.rows(), len(sweep.study().unfinished())) == ([], 3)


def test_a_success_in_between_lets_the_launch_go_on(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.launch(breaks([True, True, False, True, True, False], learns(by_depth)))
    assert (director.board.broken, director.stopping) == ("", "")
    assert sweep.numbers() == [0, 0, 0, 1, 1, 1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "finished")
    assert [row["retries"] for row in sweep.rows()] == [["device failed"] * 2] * 2 + [[]]


def test_the_time_of_all_starts_adds_up_and_the_first_one_stays_the_first(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    train = resumes(learns(always(100), evaluations=1))

    def start(director: SweepDirector, chunks: int, seconds: float) -> None:
        assignment = begin(director)
        for each in list(train(assignment))[:chunks]:
            clock[0] += seconds
            director.report(0, each)
        clock[0] += 0.25

    director = sweep.open()
    before = datetime.now(UTC)
    start(director, 3, 1.0)
    after = datetime.now(UTC)
    director.end(0, Ending("failed", NODE_LOST))  # 3.25
    start(director, 2, 10.0)  # 23.25 were written; then a kill, and the last quarter is lost
    clock[0] += 10_000
    director = sweep.open()
    start(director, 1, 100.0)  # 123.5
    director.broadcast.stop("Ctrl-C")
    director.end(0, Ending("stopped", "Ctrl-C"))
    (row,) = sweep.rows()
    assert (row["state"], row["seconds"], row["retries"]) == ("stopped", 123.5, ["node lost"])
    clock[0] += 10_000
    director = sweep.open()
    start(director, 4, 1000.0)  # 4123.75
    director.end(0, FINISHED)
    (row,) = sweep.rows()
    assert (row["state"], row["seconds"], row["retries"]) == ("finished", 4123.75, ["node lost"])
    assert before <= row["started"] <= after <= row["finished"]
    assert director.board.tally.seconds == 4123.75


def test_a_stop_of_a_trial_without_a_state_forgets_its_curve_and_not_its_time(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    director = sweep.open()
    hand_in(director, begin(director), learns(always(100), evaluations=1), 3)
    clock[0] += 5
    director.end(0, Ending("stopped", "Ctrl-C"))
    (stopped,) = sweep.rows()
    director = sweep.open()
    assignment = begin(director)
    assert assignment.state is None
    clock[0] += 1
    hand_in(director, assignment, learns(always(20)))
    director.end(0, FINISHED)
    (row,) = sweep.rows()
    assert (stopped["seconds"], row["seconds"]) == (5, 6)
    assert row["started"] == stopped["started"]
    assert [each["step"] for each in sweep.rows("curves")] == [10, 20] * 2


# ---- what is counted


def test_the_tally_adds_up_what_ended_in_this_launch(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "budget": {"trials": 6},
        "confirm": {"top": 1, "replicates": 3},
    }
    kinds: list[Train] = [learns(always(30)), fails, diverges, learns(always(20)), fails_half_way, learns(always(None))]
    director = sweep.launch(lambda each: kinds[each.number](each) if each.number < 6 else learns(always(10))(each))
    tally, finished = director.board.tally, list(director.board.finished)
    assert [each.proposal.number for each in finished] == list(range(8)), "and two confirmations"
    assert (tally.trials, tally.searched, tally.failed, tally.stopped) == (8, 6, 2, 0)
    assert tally.runs == {"reached": 4 + 6, "failed": 4, "diverged": 2, "censored": 2}
    assert tally.first_failure is finished[1]
    assert tally.best is finished[3], "no confirmation, though they are faster"
    assert tally.seconds == pytest.approx(sum(row["seconds"] for row in sweep.rows()[:6]))
    assert sweep.launch(learns(by_depth)).board.tally == Tally()


def test_the_tally_counts_stopped_trials_and_starts_again_do_not_count(sweep: Sweep) -> None:
    director = sweep.open()
    for number in (0, 1):
        assert begin(director).number == number
    director.end(0, Ending("failed", NODE_LOST))
    assert director.board.tally == Tally()
    director.broadcast.stop("Ctrl-C")
    director.end(1, Ending("stopped", "Ctrl-C"))
    assert (director.board.tally.trials, director.board.tally.stopped, director.board.tally.failed) == (1, 1, 0)


def test_only_the_last_trials_that_ended_are_remembered(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.sweep.scoreboard._REMEMBERED", 3)
    sweep.changes = {"budget": {"trials": 5}}
    director = sweep.launch(learns(by_depth))
    assert [each.proposal.number for each in director.board.finished] == [2, 3, 4]
    assert director.board.tally.trials == 5
    assert director.board.tally.best is not None
    assert director.board.tally.best.proposal.number == 0, "which is remembered all the same"
