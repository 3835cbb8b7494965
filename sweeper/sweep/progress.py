"""Progress while a sweep runs: a live panel on a terminal, otherwise a line for each finished trial.

Both read the scoreboard in a thread of their own, a few times a second.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich import progress as bars
from rich.console import Console, RenderableType
from rich.live import Live

from sweeper.config.model import SweepSpec
from sweeper.folder.background import Background
from sweeper.monitor import panel
from sweeper.monitor.heartbeat import Progress, PromisingTrial, RunningTrial
from sweeper.monitor.panel import duration, result_line, role_of
from sweeper.monitor.tables import of_tables
from sweeper.report.lines import say
from sweeper.results.decisions import predicted
from sweeper.runners.protocol import Runner
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.forecast import left
from sweeper.sweep.scoreboard import Scoreboard

_EVERY = 0.5
_PROMISING = 3
"""Paused trials that are shown."""


@contextmanager
def show_progress(
    board: Scoreboard, broadcast: Broadcast, spec: SweepSpec, runner: Runner, console: Console
) -> Iterator[None]:
    """Show progress until the block ends: live on a terminal, plain lines when piped."""
    if console.is_terminal:

        def rendered() -> RenderableType:
            return panel.render(current_progress(board, broadcast, spec, runner), " (Ctrl-C again stops at once)")

        with Live(get_renderable=rendered, console=console, refresh_per_second=2, transient=True):
            yield
        broadcast.shown = len(broadcast.notices)
        return
    done = threading.Event()
    lines = _Lines(board, broadcast, spec, runner, console)
    thread = Background(lines.follow, done, name="progress")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def show_preparation(name: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show the preparation of a task's data until the block ends: a bar on a terminal, a line when piped.

    Yields:
        A function to call with the numbers of finished and of all items.
    """
    began = time.monotonic()
    items = 0
    with bars.Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"preparing {name}", total=None)

        def update(done: int, total: int) -> None:
            nonlocal items
            items = total
            bar.update(task, completed=done, total=total)

        yield update
    if items:
        say(console, f"prepared {name}: {items:,} in {duration(time.monotonic() - began)}")


def current_progress(board: Scoreboard, broadcast: Broadcast, spec: SweepSpec, runner: Runner) -> Progress:
    """The progress of the sweep. Safe to call from another thread."""
    now = Progress(
        spec.name,
        metric=spec.objective.event.metric,
        horizon=spec.objective.horizon,
        notice=broadcast.notices[-1] if broadcast.notices else "",
        stopping=broadcast.stopping,
        limit=_limit(board),
        **of_tables(board.totals, spec),
    )
    if not board.begun:
        return now
    elapsed, remaining = board.elapsed(), left(board, spec, runner.slots)
    training = [
        RunningTrial(
            each.proposal.number,
            each.proposal.phase,
            role_of(each.proposal.phase, each.proposal.name) if each.proposal.name else "",
            each.step,
            None if math.isnan(each.metric) else each.metric,
        )
        for each in board.running()
    ]
    return replace(
        now,
        elapsed=elapsed,
        remaining=None if remaining is None else remaining.likely,
        least=None if remaining is None else remaining.low,
        most=None if remaining is None else remaining.high,
        rate=board.steps_trained / max(elapsed, 1e-9),
        captures=board.captures,
        capture_seconds=board.capture_seconds,
        running=tuple(training),
        paused=len(board.paused),
        promising=_promising(board, spec),
    )


def _promising(board: Scoreboard, spec: SweepSpec) -> tuple[PromisingTrial, ...]:
    """The paused trials of which the shortest times are predicted."""
    known = [each for each in board.paused.values() if each.expected is not None]
    known.sort(key=lambda each: each.expected or (0.0, 0.0))
    words = ((each, predicted(each.expected or (0.0, 0.0), spec.limit())) for each in known[:_PROMISING])
    return tuple(PromisingTrial(each.trial, each.step, str(word)) for each, word in words)


def _limit(board: Scoreboard) -> str:
    if board.out_of_time:
        return "the time budget is used up"
    return "every configuration of the space has been run" if board.exhausted else ""


class _Lines:
    """A line for each finished trial, and one every minute in between."""

    def __init__(self, board: Scoreboard, broadcast: Broadcast, spec: SweepSpec, runner: Runner, console: Console):
        self._board, self._broadcast, self._spec, self._runner, self._console = board, broadcast, spec, runner, console
        self._printed = 0
        self._quiet_since = 0.0

    def follow(self, done: threading.Event) -> None:
        """Print what is new until `done`, and once more after."""
        while not done.wait(_EVERY):
            self._print_news()
        self._print_news()

    def _print_news(self) -> None:
        board, broadcast = self._board, self._broadcast
        ended, finished, notices = board.tally.trials, list(board.ended), list(broadcast.notices)
        for notice in notices[broadcast.shown :]:
            self._print(f"[{duration(board.elapsed())}] {notice}")
        broadcast.shown = len(notices)
        for each in finished[len(finished) - min(ended - self._printed, len(finished)) :]:
            now = panel.stamp(current_progress(board, broadcast, self._spec, self._runner))
            self._print(f"{now} {result_line(each, self._spec.objective.minimize, self._spec.search)}")
        self._printed = ended
        if board.elapsed() - self._quiet_since > 60:
            steps = ", ".join(f"trial {each.proposal.number} at step {each.step:,}" for each in board.running())
            self._print(f"[{duration(board.elapsed())}] training: {steps or 'nothing yet'}")

    def _print(self, line: str) -> None:
        self._quiet_since = self._board.elapsed()
        say(self._console, line)
