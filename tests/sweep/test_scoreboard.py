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
