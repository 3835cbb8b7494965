"""What a sweep shows of itself while it runs: plain lines when piped, a panel on a terminal."""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.config.loading import load
from sweeper.config.model import SweepSpec
from sweeper.monitor import panel
from sweeper.monitor.panel import counts, duration, result_line
from sweeper.monitor.tables import trials_of
from sweeper.results.totals import Totals
from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import Wait
from sweeper.stats.forecast import Span, about
from sweeper.sweep.conclusion import conclude
from sweeper.sweep.director import CONFIRMATION_REPLICATES, SweepDirector
from sweeper.sweep.forecast import left
from sweeper.sweep.progress import current_progress, show_progress
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.sweeps import PUBLISHED, Sweep
from tests.fakes.training import diverges, fails, follows, learns

STAMP = re.compile(r"^\[\d+:\d\d(, about [\d.]+ \w+ left)?\] ")
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class OneTrial:
    """A director that ends after one trial."""

    def __init__(self, director: SweepDirector):
        self._director, self._begun = director, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._director, name)

    def next_trial(self) -> Assignment | Wait | None:
        begun, self._begun = self._begun, True
        return None if begun else self._director.next_trial()


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def shown(sweep: Sweep, train: Train, console: Console, director: SweepDirector | None = None) -> list[str]:
    """The lines that a launch prints while it runs."""
    director = director or sweep.open()
    with show_progress(director.board, director.broadcast, spec_of(sweep), InProcess(), console):
        sweep.run(train, director)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def spec_of(sweep: Sweep) -> SweepSpec:
    return load(sweep.root / "space.yaml").spec


def mixed(assignment: Assignment) -> Iterator[Chunk]:
    """One of each kind of ending, by the trial's number."""

    def reach(assignment: Assignment, replicate: int) -> int | None:
        return {0: 80, 1: 60, 2: 100, 5: None}.get(assignment.number, 50) if replicate else 50

    return {3: fails, 4: diverges}.get(assignment.number, learns(reach, evaluations=1))(assignment)


def test_graphs_that_a_gpu_captured_are_counted_over_all_trials_and_shown_at_the_end(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}

    def captures(assignment: Assignment) -> Iterator[Chunk]:
        for chunk in learns(lambda *_: 50)(assignment):
            yield replace(chunk, captures=3, capture_seconds=0.25)

    director, console = sweep.launch(captures), Console(file=StringIO(), width=200)
    progress = current_progress(director.board, director.broadcast, spec_of(sweep), InProcess())
    assert (progress.captures, progress.capture_seconds) == (12, 1.0), "two trials of two chunks"
    console.print(panel.render(progress))
    conclude(director.board, sweep.folder, spec_of(sweep), console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().count("12 CUDA graphs captured in 1.0 s\n") == 2


def test_plain_lines_for_a_pipe(sweep: Sweep) -> None:
    sweep.changes = {
        "stop": "cap",
        "budget": {"trials": 6},
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 1, "replicates": 3},
        "search": {"weight_decay": {"choice": [0.1234567, 0.5, 1.0, 2.0, 3.0, 4.0]}, "batch.max": {"choice": [64]}},
    }
    lines = shown(sweep, mixed, Console(file=StringIO(), width=60))
    assert all(STAMP.match(line) for line in lines)
    assert [STAMP.sub("", line) for line in lines] == [
        "trial 0 (baseline published): reached 2/2, mean 65 steps  weight_decay=0.5 batch.max=512",
        "trial 1: reached 2/2, mean 55 steps  weight_decay=0.123 batch.max=64",
        "trial 2: reached 2/2, mean 75 steps  weight_decay=0.5 batch.max=64",
        "trial 3: failed: ValueError: trial 3 cannot be trained  weight_decay=1 batch.max=64",
        "trial 4: reached 0/2, mean ≥ 100 steps, 2 diverged  weight_decay=2 batch.max=64",
        "trial 5: reached 1/2, mean ≥ 75 steps, 1 censored  weight_decay=3 batch.max=64",
        "trial 6 (confirm 1): reached 3/3, mean 50 steps  weight_decay=0.123 batch.max=64",
        "trial 7 (confirm 0): reached 3/3, mean 50 steps  weight_decay=0.5 batch.max=512",
    ]


def test_lines_of_trials_that_were_out_of_the_race_or_pruned(sweep: Sweep) -> None:
    """Out with one replicate that arrived, and with one that did not; pruned."""
    sweep.changes = {"stop": "cap", "race": {}, "search": {"depth": {"choice": [1, 2, 3]}}}
    steps = {1: 20, 2: 50, 3: 30}
    lines = shown(sweep, learns(lambda a, _: steps[a.settings.depth], evaluations=1), Console(file=StringIO()))
    assert [STAMP.sub("", line) for line in lines] == [
        "trial 0: reached 2/2, mean 20 steps  depth=1",
        "trial 1: reached 0/1, 1 censored [lost]  depth=2",
        "trial 2: reached 1/1, mean 30 steps [lost]  depth=3",
    ]
    sweep.root = sweep.root / "asha"
    sweep.root.mkdir()
    sweep.changes = {"stop": "asha", "search": {"depth": {"choice": [1, 2]}}}
    lines = shown(sweep, follows(lambda a, _: [0.5 / a.settings.depth]), Console(file=StringIO()))
    assert [STAMP.sub("", line) for line in lines] == [
        "trial 0: reached 0/2, mean ≥ 100 steps, 2 censored  depth=1",
        "trial 1: reached 0/2, 2 censored [pruned]  depth=2",
    ]


def test_a_trial_that_is_taken_up_again_says_which(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "search": {"depth": {"choice": [1, 2]}}, "budget": {"trials": 9}}
    train = learns(lambda assignment, _: 20 * assignment.settings.depth, evaluations=1)
    shown(sweep, train, Console(file=StringIO()))
    sweep.changes |= {"confirm": {"top": 2, "replicates": 1}}
    lines = shown(sweep, train, Console(file=StringIO()))
    assert [STAMP.sub("", line) for line in lines[1:]] == [
        "trial 2 (1 again): reached 2/2, mean 40 steps  depth=2",
        "trial 3 (confirm 0): reached 1/1, mean 20 steps  depth=1",
        "trial 4 (confirm 2): reached 1/1, mean 40 steps  depth=2",
    ]
    assert lines[0].endswith("] the larger budget continues 1 trial capped under the smaller one")


def test_lines_come_while_the_sweep_runs_and_each_once(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    console, seen = Console(file=StringIO(), width=60), []

    def slow_at_the_end(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 2:
            deadline = time.monotonic() + 20
            while console.file.getvalue().count("\n") < 2 and time.monotonic() < deadline:  # type: ignore[attr-defined]
                time.sleep(0.02)
            seen.append(console.file.getvalue().count("\n"))  # type: ignore[attr-defined]
        yield from learns(lambda *_: 20)(assignment)

    lines = shown(sweep, slow_at_the_end, console)
    assert seen == [2]
    assert [STAMP.sub("", line).split(":")[0] for line in lines] == ["trial 0", "trial 1", "trial 2"]


def test_a_pipe_gets_no_control_codes_and_no_markup(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}, "objective": {"horizon": 100, "evaluate_every": 10, "replicates": 1}}
    director = sweep.open()

    def stops(assignment: Assignment) -> Iterator[Chunk]:
        director.broadcast.stop("Ctrl-C")
        yield from learns(lambda *_: 50, evaluations=1)(assignment)

    (line,) = shown(sweep, stops, Console(file=StringIO(), width=200), director)
    assert STAMP.sub("", line) == "trial 0: reached 0/1, 1 censored [stopped]  depth=1 heads=1"


def test_what_is_printed_does_not_depend_on_the_width_of_a_pipe(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    (line,) = shown(sweep, learns(lambda *_: 50), Console(file=StringIO(), width=20))
    assert STAMP.sub("", line) == "trial 0: reached 2/2, mean 50 steps  depth=1 heads=1"


def test_the_progress_of_a_sweep_that_breaks_ends_with_what_had_finished(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    console = Console(file=StringIO(), width=120)

    def breaks(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 1:
            raise KeyboardInterrupt
        yield from learns(lambda *_: 20)(assignment)

    with pytest.raises(KeyboardInterrupt):
        shown(sweep, breaks, console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().count("\n") == 1


def test_a_panel_on_a_terminal(sweep: Sweep) -> None:
    sweep.changes = {"name": "made-up", "budget": {"trials": 3, "hours": 2}, "baselines": {"published": PUBLISHED}}
    console = Console(file=StringIO(), width=120, height=20, force_terminal=True, color_system=None)

    def watched(assignment: Assignment) -> Iterator[Chunk]:
        for i, each in enumerate(learns(lambda *_: 50, evaluations=1)(assignment)):
            yield each
            if assignment.number == 1 and i == 2:
                assert isinstance(console.file, StringIO)
                deadline = time.monotonic() + 20
                while "step 30 of 100" not in console.file.getvalue() and time.monotonic() < deadline:
                    time.sleep(0.02)

    shown(sweep, watched, console)
    assert isinstance(console.file, StringIO)
    frames = [CODES.sub("", frame) for frame in console.file.getvalue().split("\x1b[?25h")[0].split("\x1b[2K")]
    picture = re.sub(r"\s+", " ", " ".join(frames))
    assert "made-up 1/3 trials finished, 1 running runs: 2 reached, 0 censored, 0 diverged, 0 failed" in picture
    assert re.search(r"\d+:\d\d elapsed, about \d+ s \(\d+ to \d+\) left [\d,]+ model steps/s", picture)
    best = "best so far: trial 0 (baseline published): reached 2/2, mean 50 steps depth=6 heads=8"
    assert best in picture
    assert re.search(r"trial 1 ━+ step 30 of 100 val_accuracy 0\.100", picture)
    assert "made-up 3/3 trials finished, 0 running runs: 6 reached" in picture


def test_the_panel_before_anything_has_finished_and_when_stopping(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    director = sweep.open()
    console = Console(file=StringIO(), width=120, height=20, force_terminal=True, color_system=None)

    def stops(assignment: Assignment) -> Iterator[Chunk]:
        assert isinstance(console.file, StringIO)
        deadline = time.monotonic() + 20
        for wanted in ("1 running", "stopping: Ctrl-C"):
            while wanted not in console.file.getvalue() and time.monotonic() < deadline:
                time.sleep(0.02)
            director.broadcast.stop("Ctrl-C")
        yield from learns(lambda *_: 50, evaluations=1)(assignment)

    shown(sweep, stops, console, director)
    assert isinstance(console.file, StringIO)
    picture = re.sub(r"\s+", " ", CODES.sub("", console.file.getvalue()))
    assert "made-up 0/2 trials finished, 1 running" in picture
    assert re.search(r"\d+:\d\d elapsed 0 model steps/s", picture)
    assert "step 0 of 100" in picture
    assert "nan" not in picture
    assert "stopping: Ctrl-C (Ctrl-C again stops at once)" in picture


def test_the_best_is_the_lowest_value_and_never_a_confirmation(sweep: Sweep) -> None:
    sweep.changes = {
        "budget": {"trials": 3},
        "confirm": {"top": 2, "replicates": 2},
        "search": {"depth": {"choice": [3, 1, 2]}},
    }

    def reach(assignment: Assignment, replicate: int) -> int:
        return 10 if replicate >= CONFIRMATION_REPLICATES else 20 * assignment.settings.depth

    best = sweep.launch(learns(reach)).board.totals.best
    assert best is not None
    assert best.number == 1
    assert result_line(best, "steps", ["depth"]) == "trial 1: reached 2/2, mean 20 steps  depth=1"


def test_the_time_left_follows_from_what_has_ended(sweep: Sweep) -> None:
    """The search of 4, then of the three best and of the baseline four times as many runs as in the search."""
    sweep.changes = {
        "budget": {"trials": 4},
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 2, "replicates": 8},
    }
    director = sweep.open()
    assert left(director.board, spec_of(sweep), 1) is None

    def remaining(seconds: float, places: int = 1) -> Span | None:
        """The time left, if every trial that has ended had taken so long."""
        trials = [replace(each, seconds=seconds) for each in director.board.totals.over]
        director.board.totals = Totals(trials)
        return left(director.board, spec_of(sweep), places)

    expected = {0: 3 * 10 + 3 * 40, 1: 2 * 10 + 3 * 40, 2: 10 + 3 * 40, 3: 3 * 40}
    for number, seconds in expected.items():
        sweep.run(learns(lambda *_: 20), OneTrial(director))
        found = remaining(10.0)
        assert found is not None
        assert len(director.board.totals.over) == number + 1
        assert found.likely == pytest.approx(seconds, rel=0.05)
        assert found.low < 0.9 * seconds < 1.1 * seconds < found.high
    two = remaining(10.0, places=2)
    assert two is not None
    assert two.likely == pytest.approx(2 * 40, rel=0.05), "three confirmations in two places"
    sweep.run(learns(lambda *_: 20), director)
    assert remaining(10.0) == Span(0, 0, 0)


def test_what_a_launch_shows_is_that_of_all_launches(sweep: Sweep) -> None:
    """After a second launch with nothing to do; after one that is stopped; before another one begins."""
    sweep.changes = {"budget": {"trials": 2}, "confirm": {"top": 1, "replicates": 2}}
    first = sweep.launch(learns(lambda *_: 20))
    for each in (first, sweep.open()):
        now = current_progress(each.board, each.broadcast, spec_of(sweep), InProcess())
        assert (now.finished, now.budget, now.confirmed, now.runs) == (2, 2, 1, {"reached": 6})
        assert now.best == "trial 0: reached 2/2, mean 20 steps  depth=1 heads=1"
        assert counts(now) == "2/2 trials finished, 1 confirmed, 0 running"
    sweep.changes["budget"] = {"trials": 4}
    director = sweep.open()

    def stops(assignment: Assignment) -> Iterator[Chunk]:
        director.broadcast.stop("Ctrl-C")
        yield from learns(lambda *_: 50, evaluations=1)(assignment)

    sweep.run(stops, director)
    stopped = current_progress(director.board, director.broadcast, spec_of(sweep), InProcess())
    assert (stopped.finished, stopped.confirmed, stopped.runs) == (2, 1, {"reached": 6}), "a stopped one is not over"
    board = Scoreboard()
    board.load(trials_of(sweep.folder, spec_of(sweep)))
    assert current_progress(board, director.broadcast, spec_of(sweep), InProcess()).finished == 2


def test_the_time_left_is_that_of_the_hours_where_there_is_no_other_limit(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"hours": 1}}
    director = sweep.open()
    sweep.run(learns(lambda *_: 20), OneTrial(director))
    found = left(director.board, spec_of(sweep), 1)
    assert found is not None
    assert (found.low, found.likely, found.high) == pytest.approx((3600, 3600, 3600), abs=5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (9.4, "9 s"),
        (119, "120 s"),
        (150, "2.5 min"),
        (7199, "120 min"),
        (9e3, "2.5 h"),
        (3e5, "3.5 days"),
    ],
)
def test_a_time_that_is_estimated_has_two_digits(seconds: float, words: str) -> None:
    assert about(seconds) == f"about {words}"


def test_an_estimate_has_an_interval_in_the_same_unit() -> None:
    assert about(2400, (1500, 3600)) == "about 40 min (25 to 60)"
    assert about(9000, (1800, 36000)) == "about 2.5 h (0.5 to 10)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_duration_that_is_not_known() -> None:
    assert {duration(None), duration(math.inf), duration(math.nan)} == {"?"}
