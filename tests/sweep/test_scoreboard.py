"""What a launch counts, and what can be seen of it while it trains."""

import math
from collections.abc import Iterator

import pytest

from sweeper.stats.events import (
    NODE_LOST,
    Ending,
)
from sweeper.sweep.scoreboard import Tally
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.interrupted import begin
from tests.fakes.sweeps import PUBLISHED, Sweep
from tests.fakes.training import always, by_depth, diverges, fails, fails_half_way, learns


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


def test_the_tally_adds_up_what_ended_in_this_launch(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "budget": {"trials": 6},
        "confirm": {"top": 1, "replicates": 3},
    }
    kinds: list[Train] = [learns(always(30)), fails, diverges, learns(always(20)), fails_half_way, learns(always(None))]
    director = sweep.launch(lambda each: kinds[each.number](each) if each.number < 6 else learns(always(10))(each))
    tally, ended, totals = director.board.tally, list(director.board.ended), director.board.totals
    assert [each.number for each in ended] == list(range(8)), "and two confirmations"
    assert (tally.trials, tally.failed, tally.stopped) == (8, 2, 0)
    assert tally.first_failure is ended[1]
    assert totals.runs == {"reached": 4 + 6, "failed": 4, "diverged": 2, "censored": 2}
    assert totals.endings == {"finished": 4, "failed": 2}
    assert totals.best is ended[3], "no confirmation, though they are faster"
    again = sweep.launch(learns(by_depth)).board
    assert again.tally == Tally()
    assert (again.totals.runs, again.totals.endings) == (totals.runs, totals.endings)
    assert (again.totals.confirmed, again.earlier) == ({"0", "3"}, 8)
    assert again.totals.best is not None
    assert again.totals.best.number == 3


def test_a_crash_is_not_confirmed_and_where_nobody_arrived_there_is_nothing_to_confirm(sweep: Sweep) -> None:
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "budget": {"trials": 3},
        "confirm": {"top": 2, "replicates": 3},
    }
    sweep.launch(lambda each: (fails if each.number < 2 else learns(always(30)))(each))
    assert [(row["trial"], row["phase"], row["name"]) for row in sweep.rows()][3:] == [(3, "confirm", "2")]

    nobody = Sweep(sweep.root / "nobody", sweep.changes)
    nobody.root.mkdir()
    director = nobody.launch(learns(always(None)))
    assert nobody.numbers() == [0, 1, 2]
    assert director.broadcast.notices == ["no run reached val_accuracy > 0.99, so there is nothing to confirm"]
    assert director.board.totals.best is None


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
    assert [each.number for each in director.board.ended] == [2, 3, 4]
    assert director.board.tally.trials == 5
    assert director.board.totals.best is not None
    assert director.board.totals.best.number == 0, "which is remembered all the same"
