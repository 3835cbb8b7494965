"""`stop: thaw` in sweeps without training: what pauses, what goes on, what is dropped, and what a crash changes."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
from sweeper.monitor import panel
from sweeper.report.leaderboard import leaderboard
from sweeper.report.paused import paused_grid
from sweeper.report.remade import Remade, remake
from sweeper.results.decisions import Decisions, paused_trials
from sweeper.results.prior import prior_seeds
from sweeper.runners.in_process import InProcess
from sweeper.stats.events import Ending
from sweeper.sweep import thawing
from sweeper.sweep.director import SweepDirector
from sweeper.sweep.progress import current_progress
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import EVERY, chunk_of, curve
from tests.fakes.sweeps import Sweep

LONG, CHUNK = 800, 10
THAW: dict[str, Any] = {
    "stop": "thaw",
    "objective": {"until": "val_accuracy > 0.99", "horizon": LONG, "evaluate_every": EVERY, "replicates": 3},
    "search": {"depth": {"int": [1, 4]}, "weight_decay": {"choice": [0.01, 0.03, 0.1, 0.3]}},
    "fixed": {"heads": 1},
    "sampler": {"name": "gp", "startup_trials": 8},
    "budget": {"trials": 14},
}


def time_of(assignment: Assignment, replicate: int) -> int:
    """Best, 200, at depth 3 and decay 0.1; seeds differ by a tenth."""
    settings = assignment.settings
    slower = abs(settings.depth - 3) + 2 * abs([0.01, 0.03, 0.1, 0.3].index(settings.weight_decay) - 2)
    return round((200 + 100 * slower) * (1 + 0.1 * (replicate % 3)) / EVERY) * EVERY


def trains(
    telling: Callable[[float], float],
    trained: list[tuple[int, int]],
    kill: int = 0,
    stop: Callable[[], object] | None = None,
    breaks: bool = False,
) -> Any:
    """A training function that can be paused, whose accuracy until the event is what `telling` makes of its time.

    It notes (trial, replicates of the stage) at each chunk, and after so many dies, or calls `stop`; or every second
    trial fails where it goes on from a state.
    """

    def train(assignment: Assignment) -> Iterator[Chunk]:
        first = 0 if assignment.state is None else json.loads(assignment.state)
        if first and breaks and assignment.number % 2:
            raise ValueError("cannot go on")
        for place in range(first, LONG // EVERY, CHUNK):
            curves = []
            for replicate in assignment.replicates:
                there = time_of(assignment, replicate)
                steps = [EVERY * (place + 1 + i) for i in range(CHUNK) if EVERY * (place + 1 + i) <= there]
                if steps:
                    curves.append(
                        curve([1.0 if step == there else telling(there) for step in steps], replicate, first=place + 1)
                    )
            if not curves:
                return
            trained.append((assignment.number, len(assignment.replicates)))
            if len(trained) == kill:
                if stop is None:
                    raise KeyboardInterrupt
                stop()
            yield replace(chunk_of(*curves), state=json.dumps(place + CHUNK).encode())

    return train


def speaks(there: float) -> float:
    return 0.9 - there / 2000


def silent(there: float) -> float:
    return 0.1


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setattr(thawing, "_SHARE", 1e9)  # starting again costs nothing here
    return Sweep(tmp_path, THAW)


def best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return min((row for row in rows if row["state"] == "finished"), key=lambda row: row["value"])


def check_whole(rows: list[dict[str, Any]]) -> None:
    """The best was found, every trial has an ending, and what was dropped could not have been the best."""
    assert len(rows) == 14
    assert (best(rows)["depth"], best(rows)["weight_decay"]) == (3, 0.1)
    assert {row["state"] for row in rows} <= {"finished", "lost", "capped"}
    assert {row["runs"] for row in rows if row["state"] == "lost"} == {1}


def pauses(trained: list[tuple[int, int]]) -> int:
    """How often a trial stopped in the middle of a stage and went on later."""
    runs = [each for i, each in enumerate(trained) if i == 0 or trained[i - 1] != each]
    return len(runs) - len(set(runs))


def test_a_trial_trains_longer_before_it_pauses_where_handing_its_place_over_takes_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Starting takes 0.1 s and handing over 0.2 s: at 3 % a trial must have trained for 10 s, where 3.4 were enough."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace, live = thawing._Pace(), SimpleNamespace(number=0, began=0.0, started=0.1, trained=9.9)
    pace.see(live)  # type: ignore[arg-type]
    assert pace.allows(live)  # type: ignore[arg-type]
    pace.leaves()
    clock[0] = 0.2
    pace.takes()
    pace.takes()  # a place that nobody left
    assert not pace.allows(live)  # type: ignore[arg-type]
    live.trained = 10.1
    assert pace.allows(live)  # type: ignore[arg-type]


@pytest.mark.slow
def test_silent_curves_pause_nothing(sweep: Sweep) -> None:
    trained: list[tuple[int, int]] = []
    sweep.launch(trains(silent, trained))
    check_whole(sweep.rows())
    assert pauses(trained) == 0


@pytest.mark.slow
def test_a_killed_sweep_goes_on_with_the_same_search_from_its_checkpoints(sweep: Sweep, tmp_path: Path) -> None:
    whole: list[tuple[int, int]] = []
    (tmp_path / "alone").mkdir()
    alone = Sweep(tmp_path / "alone", THAW)
    alone.launch(trains(speaks, whole))
    trained: list[tuple[int, int]] = []
    kills = (12, 36)  # while configurations are only spread, and when trials pause
    for kill in kills:
        with pytest.raises(KeyboardInterrupt):
            sweep.launch(trains(speaks, trained, kill=kill))
        del trained[kill - 1]  # the chunk that the kill cut off
        with sweep.folder.decisions.open("a") as file:
            file.write('{"at":17')  # what a launch was writing when it was killed
    sweep.launch(trains(speaks, trained))
    check_whole(sweep.rows())
    assert pauses(trained) > 0
    assert trained == whole
    assert chosen(sweep) == chosen(alone)
    assert [row["value"] for row in sweep.rows()] == [row["value"] for row in alone.rows()]
    made = remake(sweep.folder, saved_spec(sweep.folder))
    assert made == Remade(len(chosen(sweep)), len(chosen(sweep)), 0)
    altered = [replace(each, chosen=13) if each.kind == "chosen" else each for each in Decisions(sweep.folder).read()]
    sweep.folder.decisions.unlink()
    for each in altered:
        Decisions(sweep.folder).append(each)
    assert made.decisions > remake(sweep.folder, saved_spec(sweep.folder)).same


@pytest.mark.slow
def test_a_sweep_learns_from_the_curves_of_an_earlier_one_whose_question_is_the_same(
    sweep: Sweep, tmp_path: Path
) -> None:
    first: list[tuple[int, int]] = []
    sweep.launch(trains(speaks, first))
    (tmp_path / "later").mkdir()
    prior = str(sweep.folder.root)
    later = Sweep(
        tmp_path / "later", THAW | {"prior": prior, "sampler": {"name": "gp", "startup_trials": 8, "seed": 1}}
    )
    trained: list[tuple[int, int]] = []
    later.launch(trains(speaks, trained))
    check_whole(later.rows())
    known = prior_seeds(saved_spec(later.folder))
    assert len(known) >= 14
    assert all(each.over and each.curve.configuration < 0 for each in known)
    assert remake(later.folder, saved_spec(later.folder)) == Remade(len(chosen(later)), len(chosen(later)), 0)

    objective = THAW["objective"] | {"until": "val_accuracy > 0.9", "evaluate_every": 2 * EVERY}
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError) as raised:
        Sweep(tmp_path / "other", THAW | {"prior": [prior, prior], "objective": objective}).open()
    said = f"until is val_accuracy > 0.99, and here val_accuracy > 0.9; evaluate_every is {EVERY}, and here {2 * EVERY}"
    assert str(raised.value) == "\n".join([f"prior: {prior}: {said}; its curves say nothing about these"] * 2)


def chosen(sweep: Sweep) -> list[Any]:
    """What was chosen, among what, and what was believed by then."""
    return [
        (each.trial, each.waiting, each.training, each.opened, each.chosen)
        for each in Decisions(sweep.folder).read()
        if each.kind == "chosen"
    ]


@pytest.mark.slow
def test_the_tables_hold_what_a_paused_trial_has_shown_and_the_journal_what_is_predicted(sweep: Sweep) -> None:
    director = sweep.open()
    trained: list[tuple[int, int]] = []
    sweep.run(trains(speaks, trained, 42, lambda: director.broadcast.stop("enough")), director)
    waits = paused_trials(Decisions(sweep.folder).read())
    rows = {row["trial"]: row for row in sweep.rows()}
    paused = {number for number, row in rows.items() if row["state"] == "paused"}
    assert paused == waits.keys() == director.board.paused.keys() != set()
    assert {row["state"] for row in rows.values()} == {"finished", "lost", "paused", "stopped"} - (
        {"lost", "finished"} - {row["state"] for row in rows.values()}
    )
    for number in paused:
        runs = [row for row in sweep.rows("runs") if row["trial"] == number]
        assert {(row["outcome"], row["why"]) for row in runs} <= {("censored", "paused"), ("reached", "")}
        assert rows[number]["failed"] == 0
        assert waits[number].step == max(row["final_step"] for row in runs)
    logs = [each.expected for each in waits.values()]
    assert all(each is not None and 4 < each[0] < 8 and 0 < each[1] < 2 for each in logs)
    board = leaderboard(sweep.folder, saved_spec(sweep.folder), 20)
    assert {row["trial"] for row in board.paused} == paused
    assert not paused & {row["trial"] for row in board.rows}
    first, words = board.paused[0], paused_grid(board.paused, "steps").rows[0]
    assert first["low"] < first["predicted"] < first["high"] <= LONG
    assert words[4:] == (f"about {first['predicted']:.0f}", f"{first['low']:.0f} to {first['high']:.0f}")
    shown = current_progress(director.board, director.broadcast, saved_spec(sweep.folder), InProcess())
    assert panel.counts(shown).endswith(f", 0 running, {len(paused)} paused")
    assert shown.promising[0].number == first["trial"]
    assert shown.promising[0].predicted.startswith(words[4] + ", 80 % interval ")
    sweep.launch(trains(speaks, trained))
    check_whole(sweep.rows())
    assert paused_trials(Decisions(sweep.folder).read()) == {}


@pytest.mark.slow
def test_a_trial_that_fails_when_it_goes_on_is_failed_and_the_others_go_on(sweep: Sweep) -> None:
    trained: list[tuple[int, int]] = []
    sweep.launch(trains(speaks, trained, breaks=True))
    states = [row["state"] for row in sweep.rows()]
    assert len(states) == 14
    assert 0 < states.count("failed") < 14
    assert {row["why"] for row in sweep.rows() if row["state"] == "failed"} == {"error"}
    assert paused_trials(Decisions(sweep.folder).read()) == {}


@pytest.mark.usefixtures("local_ray")
def test_on_ray_paused_trials_free_their_places_and_a_stopped_sweep_goes_on(sweep: Sweep) -> None:
    from sweeper.runners.ray_tune import RayTune

    for stop_after in (40, 0):
        director = stopping(sweep.open(), stop_after)
        with RayTune(cpu=4, gpu=0) as runner:
            assert runner.slots == 2
            runner.run(trains(speaks, []), director)
    check_whole(sweep.rows())
    records = Decisions(sweep.folder).read()
    assert sum(each.kind == "paused" and each.seeds == 1 for each in records) > 8
    assert remake(sweep.folder, saved_spec(sweep.folder)) == Remade(len(chosen(sweep)), len(chosen(sweep)), 0)
    steps = Counter((row["trial"], row["replicate"], row["step"]) for row in sweep.rows("curves"))
    assert set(steps.values()) == {1}  # nothing was trained twice, and nothing is missing
    last = {(trial, replicate): step for trial, replicate, step in sorted(steps)}
    assert len(steps) == sum(last.values()) // EVERY


def stopping(director: SweepDirector, after: int) -> SweepDirector:
    """Stops after so many chunks, as Ctrl-C does; 0 for never."""
    report, reported = director.report, Counter[int]()

    def counted(number: int, chunk: Chunk) -> Ending | None:
        reported[number] += 1
        if reported.total() == after:
            director.broadcast.stop("enough")
        return report(number, chunk)

    director.report = counted  # type: ignore[method-assign]
    return director


@pytest.mark.slow
def test_where_the_time_is_used_up_the_finalists_are_those_that_are_predicted_to_be_best(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    trained: list[tuple[int, int]] = []

    def slow(assignment: Assignment) -> Iterator[Chunk]:
        for each in trains(speaks, trained)(assignment):
            clock[0] += 3600 / 25
            yield each

    sweep.changes = THAW | {"budget": {"hours": 1}, "confirm": {"top": 2, "replicates": 2}}
    director = sweep.launch(slow)
    assert director.board.out_of_time
    rows = sweep.rows()
    confirmed = [int(row["name"]) for row in rows if row["phase"] == "confirm"]
    values = {row["trial"]: row["value"] for row in rows if row["state"] == "finished" and row["phase"] == "search"}
    waits = paused_trials(Decisions(sweep.folder).read())
    values |= {number: each.expected[0] for number, each in waits.items() if each.expected}
    assert any(number in waits for number in confirmed)
    assert confirmed == sorted(values, key=lambda number: values[number])[:2]
    board = leaderboard(sweep.folder, saved_spec(sweep.folder), 20)
    assert [each.faster for each in board.verdicts] == [f"trial {confirmed[0]}"]
