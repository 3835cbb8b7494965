"""Whole sweeps without training: the director on real journals and tables, driven in this process by made-up curves.

`Sweep` and the training functions here also serve the tests of what is shown of a sweep.
"""

import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweeper.director import CONFIRMATION_REPLICATES, SweepDirector
from sweeper.objective import limit_of
from sweeper.outcomes import FINISHED, Ending
from sweeper.paths import TABLES, SweepFolder, write_text
from sweeper.results.writer import Writer, settled
from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import WAIT
from sweeper.search.study import Study
from sweeper.spec.loading import load
from sweeper.trial import Assignment, Chunk, Train
from tests.results.test_summary import BATCH, EVERY, chunk_of, curve

HORIZON = 100
QUESTION: dict[str, Any] = {
    "name": "made-up",
    "task": {"name": "modular_arithmetic", "operation": "x_plus_y", "modulus": 31},
    "objective": {"horizon": HORIZON, "evaluate_every": EVERY, "replicates": 2},
    "search": {"depth": {"int": [1, 4]}, "heads": {"choice": [1, 2, 4]}},
    "fixed": {"width": 32},
    "sampler": {"name": "grid"},
    "stop": "none",
    "budget": {"trials": 12},
}
PUBLISHED = {"depth": 6, "heads": 8}
Reach = Callable[[Assignment, int], int | None]
"""(trial, replicate) -> step at which it gets there; None for never."""


@dataclass
class Sweep:
    """A sweep that can be launched again and again.

    Attributes:
        root: an empty folder.
        changes: sections that replace those of `QUESTION`.
        trained: every assignment that training was begun for, over all launches.
    """

    root: Path
    changes: dict[str, Any] = field(default_factory=dict)
    trained: list[Assignment] = field(default_factory=list)

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.root / "results" / "made-up")

    def open(self) -> SweepDirector:
        """A launch's director, put together as `sweeper.launch` does."""
        path = self.root / "space.yaml"
        path.write_text(json.dumps(QUESTION | self.changes))
        loaded = load(path)
        write_text(self.folder.space, path.read_text())
        writer = Writer(self.folder, {})
        study = Study(self.folder.journal, loaded.space, loaded.spec.sampler)
        known = settled(self.folder)
        limit = limit_of(loaded.spec.objective.minimize, loaded.spec.objective.horizon, BATCH, None)
        return SweepDirector(loaded.spec, loaded.space, study=study, writer=writer, settled=known, limit=limit)

    def launch(self, train: Train) -> SweepDirector:
        """Run to the end."""
        director = self.open()
        self.run(train, director)
        return director

    def run(self, train: Train, director: SweepDirector) -> None:
        def noted(assignment: Assignment) -> Iterator[Chunk]:
            self.trained.append(assignment)
            yield from train(assignment)

        InProcess().run(noted, director)

    def study(self) -> Study:
        """The study as the next launch would find it."""
        loaded = load(self.root / "space.yaml")
        return Study(self.folder.journal, loaded.space, loaded.spec.sampler)

    def rows(self, name: str = "trials") -> list[dict[str, Any]]:
        """A table's rows, by trial and replicate."""
        if not any(self.folder.table(name).glob("*.parquet")):
            return []
        rows: list[dict[str, Any]] = pq.read_table(self.folder.table(name)).to_pylist()
        return sorted(rows, key=lambda row: (row["trial"], row.get("replicate", 0), row.get("step", 0)))

    def states(self) -> dict[int, str]:
        return {row["trial"]: row["state"] for row in self.rows()}

    def numbers(self) -> list[int]:
        """Trials in the order in which their training began."""
        return [assignment.number for assignment in self.trained]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def learns(reach: Reach, evaluations: int = 3, blips: Callable[[int], bool] = lambda _: False) -> Train:
    """A training function whose runs get there when `reach` says, in chunks of a few evaluations.

    `blips` says at which steps a run is past the threshold for one evaluation only.
    """

    def train(assignment: Assignment) -> Iterator[Chunk]:
        sustained = assignment.objective.sustained
        steps = range(EVERY, assignment.objective.horizon + 1, EVERY)
        for first in range(0, len(steps), evaluations):
            curves = []
            for replicate in assignment.replicates:
                there = reach(assignment, replicate)
                last = math.inf if there is None else there + (sustained - 1) * EVERY
                past = [step for step in steps[first : first + evaluations] if step <= last]
                accuracy = [1.0 if step >= (there or math.inf) or blips(step) else 0.1 for step in past]
                if past:
                    curves.append(curve(accuracy, replicate, first=first + 1))
            if not curves:
                return
            yield chunk_of(*curves)

    return train


def always(step: int | None) -> Reach:
    return lambda assignment, replicate: step


def by_depth(assignment: Assignment, replicate: int) -> int | None:
    """The deeper the later: 20, 30, 40, 50; the published depth 6 at 70; replicates of confirmations 10 later."""
    return 10 + 10 * assignment.settings.depth + 10 * (replicate >= CONFIRMATION_REPLICATES)


def diverges(assignment: Assignment) -> Iterator[Chunk]:
    nan = [math.nan] * 2
    yield chunk_of(*(curve([0.1, 0.0], each, train_loss=nan, val_loss=nan) for each in assignment.replicates))


def fails(assignment: Assignment) -> Iterator[Chunk]:
    raise ValueError(f"trial {assignment.number} cannot be trained")
    yield chunk_of()


def fails_half_way(assignment: Assignment) -> Iterator[Chunk]:
    yield chunk_of(*(curve([0.1, 0.2], each) for each in assignment.replicates))
    raise MemoryError


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
        (6, "confirm", "1", 1, 2),
        (7, "confirm", "2", 1, 1),
        (8, "confirm", "3", 1, 4),
        (9, "confirm", "0", 6, 8),
    ]
    assert sweep.numbers() == list(range(10))
    assert [each.proposal.number for each in director.finished] == list(range(10))
    assert director.running() == []
    assert director.stopping == ""


def test_confirmations_train_on_fresh_replicates_and_everything_else_on_common_ones(sweep: Sweep) -> None:
    sweep.changes = {"confirm": {"top": 1, "replicates": 3}, "budget": {"trials": 2}}
    sweep.launch(learns(by_depth))
    assert [each.replicates for each in sweep.trained] == [(0, 1), (0, 1), (1000, 1001, 1002)]
    seeds = {row["replicate"]: row["init_seed"] for row in sweep.rows("runs")}
    assert set(seeds) == {0, 1, 1000, 1001, 1002}
    assert len(set(seeds.values())) == 5
    assert [row["rmst"] for row in sweep.rows()] == [20.0, 20.0, 30.0]


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
    assert not director.exhausted


def test_a_larger_budget_continues_a_sweep_and_repeats_nothing(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "confirm": {"top": 1, "replicates": 2}}
    first = sweep.launch(learns(by_depth))
    assert (first.earlier, len(first.finished)) == (0, 3)
    again = sweep.launch(learns(by_depth))
    assert (again.earlier, len(again.finished)) == (3, 0)
    sweep.changes = {"budget": {"trials": 4}, "confirm": {"top": 2, "replicates": 2}}
    more = sweep.launch(learns(by_depth))
    assert more.earlier == 3
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
    assert director.exhausted
    assert director.stopping == ""


def test_with_the_time_used_up_nothing_is_begun(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3, "hours": 1.5e-9}}
    director = sweep.launch(learns(by_depth))
    assert director.stopping == "the time budget is used up"
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
    assert director.stopping == "the time budget is used up"
    assert sweep.states() == {0: "stopped"}
    assert {(row["outcome"], row["why"]) for row in sweep.rows("runs")} == {("censored", "stopped")}
    assert sweep.study().values() == {}

    sweep.changes = {"budget": {"trials": 2, "hours": 1}, "confirm": {"top": 1, "replicates": 1}}
    sweep.launch(learns(always(90)))
    assert sweep.numbers() == [0, 0, 1, 2]
    assert set(sweep.states().values()) == {"finished"}
    assert [row["step"] for row in sweep.rows("curves") if row["trial"] == 0] == [*range(10, 91, 10)] * 2


def test_a_stop_ends_the_launch_and_the_next_takes_the_trial_up_first_under_its_number(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 4}, "confirm": {"top": 1, "replicates": 1}}
    director = sweep.open()

    def stopped_in_the_third(assignment: Assignment) -> Iterator[Chunk]:
        for i, each in enumerate(learns(by_depth, evaluations=1)(assignment)):
            if assignment.number == 2 and i == 1:
                director.stop("Ctrl-C")
                director.stop("another reason, too late")
            yield each

    sweep.run(stopped_in_the_third, director)
    assert director.stopping == "Ctrl-C"
    assert sweep.states() == {0: "finished", 1: "finished", 2: "stopped"}
    assert set(settled(sweep.folder)) == {0, 1}
    assert [row["why"] for row in sweep.rows()] == ["", "", "Ctrl-C"]
    assert set(sweep.study().values()) == {0, 1}
    assert [each.number for each in sweep.study().unfinished()] == [2]

    again = sweep.launch(learns(by_depth))
    assert again.earlier == 2
    assert sweep.numbers() == [0, 1, 2, 2, 3, 4]
    assert sweep.trained[2] == sweep.trained[3]
    assert sweep.states() == dict.fromkeys(range(5), "finished")
    assert Counter(row["trial"] for row in sweep.rows("runs")) == {0: 2, 1: 2, 2: 2, 3: 2, 4: 1}


def test_nothing_more_begins_after_a_stop(sweep: Sweep) -> None:
    director = sweep.open()
    director.stop("Ctrl-C")
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
    director.again(first.number, "there was no room")
    assert director.notices == ["trial 0 starts again: there was no room"]
    assert [each.proposal.number for each in director.running()] == [1]
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
    director.stop("Ctrl-C")
    director.again(first.number, "there was no room")
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
    assert [each.proposal.number for each in director.running()] == [0, 1]
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
    assert director.next_trial() is None
    assert [each.proposal.number for each in director.finished] == [1, 0, 2][: 3 if confirm else 2]


def test_the_progress_of_what_trains_can_be_seen(sweep: Sweep) -> None:
    director = sweep.open()
    seen: list[tuple[int, int, float]] = []

    def watched(assignment: Assignment) -> Iterator[Chunk]:
        for each in learns(always(50), evaluations=2)(assignment):
            seen.extend((each.proposal.number, each.step, each.metric) for each in director.running())
            yield each
        director.stop("enough")

    sweep.run(watched, director)
    assert [(number, step) for number, step, _ in seen] == [(0, 0), (0, 20), (0, 40)]
    assert math.isnan(seen[0][2])
    assert [metric for *_, metric in seen[1:]] == pytest.approx([0.1, 0.1])
    assert director.steps_trained == 2 * 50


@pytest.mark.parametrize("name", TABLES)
def test_what_could_not_be_written_is_not_told_and_trains_again(sweep: Sweep, name: str) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.open()
    in_the_way = sweep.folder.table(name) / ".part-00000.parquet.partial"

    def the_disk_is_full_for_the_second(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 1:
            in_the_way.mkdir()
        yield from learns(by_depth)(assignment)

    with pytest.raises(OSError, match="part-00000"):
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


@pytest.mark.parametrize("ending", ["finished", "capped", "failed"])
def test_what_was_written_but_not_told_is_told_without_training(sweep: Sweep, ending: str) -> None:
    """A crash between tables and study: the journal without its last record."""
    sweep.changes = {"budget": {"trials": 2}, "stop": "cap"}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        second = {"finished": learns(always(10)), "capped": learns(always(90)), "failed": fails}[ending]
        return (second if assignment.number == 1 else learns(always(20)))(assignment)

    sweep.launch(train)
    assert sweep.states() == {0: "finished", 1: ending}
    values, rows = sweep.study().values(), {name: sweep.rows(name) for name in TABLES}
    lines = sweep.folder.journal.read_bytes().splitlines(keepends=True)
    told = [
        i for i, line in enumerate(lines) if json.loads(line).get("state") == 1 and json.loads(line)["trial_id"] == 1
    ]
    sweep.folder.journal.write_bytes(b"".join(lines[: told[0]]))
    assert set(sweep.study().values()) == {0}

    director = sweep.launch(train)
    assert sweep.numbers() == [0, 1], "nothing was trained again"
    assert sweep.study().values() == values
    assert sweep.study().unfinished() == []
    assert {name: sweep.rows(name) for name in TABLES} == rows
    assert director.finished == []
    assert director.earlier == 2


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
    assert [each.summary.ending.kind for each in director.finished] == ["finished", "capped"]


def test_only_trials_of_the_search_are_capped(sweep: Sweep) -> None:
    sweep.changes = {
        "stop": "cap",
        "budget": {"trials": 6},
        "baselines": {"fast": {"depth": 1, "heads": 1}, "published": PUBLISHED, "never": {"depth": 9, "heads": 8}},
        "confirm": {"top": 2, "replicates": 2},
    }

    def reach(assignment: Assignment, replicate: int) -> int | None:
        slower = 60 if replicate >= CONFIRMATION_REPLICATES else 0
        return None if assignment.settings.depth == 9 else {1: 10, 2: 40, 6: 60}[assignment.settings.depth] + slower

    sweep.launch(learns(reach, evaluations=1))
    states = {(row["phase"], row["name"], row["depth"], row["heads"]): row["state"] for row in sweep.rows()}
    assert states == {
        ("baseline", "fast", 1, 1): "finished",
        ("baseline", "published", 6, 8): "finished",
        ("baseline", "never", 9, 8): "finished",
        ("search", "", 1, 2): "finished",
        ("search", "", 1, 4): "finished",
        ("search", "", 2, 1): "capped",
        ("confirm", "0", 1, 1): "finished",
        ("confirm", "3", 1, 2): "finished",
        ("confirm", "1", 6, 8): "finished",
        ("confirm", "2", 9, 8): "finished",
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
