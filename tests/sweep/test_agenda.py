"""Which trial comes next: baselines, the search, confirmations; budgets, and what a larger one takes up again."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.loading import load
from sweeper.folder.layout import SweepFolder
from sweeper.report.leaderboard import leaderboard
from sweeper.results.checkpoints import Checkpoints
from sweeper.runners.protocol import WAIT
from sweeper.stats.events import (
    FINISHED,
    Ending,
)
from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.sweep.restarts import Restarts
from sweeper.trial import Assignment, Chunk
from tests.fakes.interrupted import kept, resumes
from tests.fakes.sweeps import PUBLISHED, Sweep
from tests.fakes.training import always, by_depth, learns


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
    assert [each.number for each in director.board.ended] == list(range(11))
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


@pytest.mark.slow
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
    assert (first.board.earlier, len(first.board.ended)) == (0, 3)
    again = sweep.launch(learns(by_depth))
    assert (again.board.earlier, len(again.board.ended)) == (3, 0)
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


@pytest.mark.slow
def test_the_time_budget_ends_the_search_and_its_finalists_are_confirmed_then(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hours alone; and the same budget gives no more of the search, but a larger one does."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def slow(assignment: Assignment) -> Iterator[Chunk]:
        for each in learns(by_depth, evaluations=1)(assignment):
            clock[0] += 0.0 if assignment.number < 2 else 2000.0
            yield each

    sweep.changes = {"budget": {"hours": 1}, "confirm": {"top": 1, "replicates": 2}, "stop": "none"}
    director = sweep.launch(slow)
    assert director.board.out_of_time
    assert director.broadcast.notices == ["the time budget is used up, 1 hours: the search ends"]
    phases = Counter((row["phase"], row["state"]) for row in sweep.rows())
    assert phases["confirm", "finished"] == 1
    assert phases["search", "finished"] >= 2
    before = sweep.rows()
    assert sweep.launch(slow).board.out_of_time
    assert sweep.rows() == before
    sweep.changes |= {"budget": {"hours": 1000, "trials": len(before) + 1}}
    assert not sweep.launch(slow).board.out_of_time
    assert len(sweep.rows()) > len(before)
    assert {row["state"] for row in sweep.rows()} == {"finished"}


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
    assert [each.number for each in director.board.ended] == [1, 0, 2][: 3 if confirm else 2]


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
    assert (same.broadcast.notices, len(same.board.ended), len(sweep.trained)) == ([], 0, 8)

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
        assert (again.broadcast.notices, len(again.board.ended)) == ([], 0)


def descends_with_states(assignment: Assignment) -> Iterator[Chunk]:
    return resumes(learns(always(DESCENT[assignment.settings.depth - 1][0]), evaluations=1), every=2)(assignment)


@pytest.mark.slow
def test_a_capped_trial_that_a_larger_budget_continues_goes_on_from_its_state(sweep: Sweep) -> None:
    sweep.changes = descent(8)
    sweep.launch(descends_with_states)
    capped = [number for number, state in sweep.states().items() if state == "capped"]
    assert kept(sweep) == [f"trial-{number:08d}.npz" for number in capped] != []
    sweep.changes = descent(100)
    sweep.launch(descends_with_states)
    names = {row["trial"]: row["name"] for row in sweep.rows() if row["name"]}
    states = {each.number: each.state for each in sweep.trained if each.number in names}
    assert len(states) >= 3 and all(states.values())
    finished = [number for number in names if sweep.states()[number] == "finished"]
    assert finished
    for number in finished:
        steps = [row["step"] for row in sweep.rows("curves") if row["trial"] == number and row["replicate"] == 0]
        assert steps == list(range(10, DESCENT[int(names[number])][0] + 1, 10)), "its curve is whole"


def test_of_capped_trials_the_states_of_those_nearest_to_mattering_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(SweepFolder(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    restarts = Restarts(checkpoints, print)
    for number, bound in enumerate([5.0, 1.0, 3.0, 4.0, 2.0, 6.0]):
        (tmp_path / "checkpoints" / f"trial-{number:08d}.npz").touch()
        restarts.set_aside(number, bound)
    assert checkpoints.numbers == {1, 2, 3, 4}


@pytest.mark.slow
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


@pytest.mark.slow
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
