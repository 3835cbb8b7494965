"""Progress while a sweep runs: a live panel on a terminal, otherwise a line for each finished trial.

Both read the scoreboard in a thread of their own, a few times a second.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console, RenderableType
from rich.live import Live

from sweeper.config.model import SweepSpec
from sweeper.monitor import panel
from sweeper.monitor.heartbeat import Progress, PromisingTrial, RunningTrial
from sweeper.monitor.panel import duration
from sweeper.report.lines import say
from sweeper.results.decisions import predicted
from sweeper.runners.protocol import Runner
from sweeper.search.study import Proposal
from sweeper.space import hyperparameters
from sweeper.stats.events import CUT_SHORT
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.scoreboard import Finished, Scoreboard

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
    thread = threading.Thread(target=lines.follow, args=(done,), daemon=True)
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
    if not board.begun:
        return Progress(spec.name, stopping=broadcast.stopping)
    tally, elapsed = board.tally, board.elapsed()
    training = [
        RunningTrial(
            each.proposal.number,
            each.proposal.phase,
            _role(each.proposal) if each.proposal.name else "",
            each.step,
            None if math.isnan(each.metric) else each.metric,
        )
        for each in board.running()
    ]
    return Progress(
        spec.name,
        metric=spec.objective.event.metric,
        horizon=spec.objective.horizon,
        elapsed=elapsed,
        remaining=seconds_left(board, spec, runner),
        finished=board.earlier - board.earlier_confirmed + tally.searched,
        budget=spec.budget.trials,
        confirmed=board.earlier_confirmed + tally.trials - tally.searched,
        runs=dict(tally.runs),
        rate=board.steps_trained / max(elapsed, 1e-9),
        best="" if tally.best is None else result_line(tally.best, spec),
        running=tuple(training),
        paused=len(board.paused),
        promising=_promising(board, spec),
        notice=broadcast.notices[-1] if broadcast.notices else "",
        stopping=broadcast.stopping,
    )


def _promising(board: Scoreboard, spec: SweepSpec) -> tuple[PromisingTrial, ...]:
    """The paused trials of which the shortest times are predicted."""
    known = [each for each in board.paused.values() if each.expected is not None]
    known.sort(key=lambda each: each.expected or (0.0, 0.0))
    words = ((each, predicted(each.expected or (0.0, 0.0), spec.limit())) for each in known[:_PROMISING])
    return tuple(PromisingTrial(each.trial, each.step, str(word)) for each, word in words)


def seconds_left(board: Scoreboard, spec: SweepSpec, runner: Runner) -> float | None:
    """An estimate from the finished trials; None before the first one, and without a budget."""
    limits = []
    tally = board.tally
    if spec.budget.trials is not None and tally.searched:
        remaining = max(spec.budget.trials - board.earlier + board.earlier_confirmed - tally.searched, 0)
        limits.append(tally.seconds / tally.searched * remaining / max(runner.slots, 1))
    if spec.budget.hours is not None:
        limits.append(max(spec.budget.hours * 3600 - board.searched(), 0.0))
    return min(limits) if limits else None


def result_line(finished: Finished, spec: SweepSpec) -> str:
    """One finished trial in a line."""
    summary, proposal = finished.summary, finished.proposal
    label = f"trial {proposal.number}"
    label += f" ({_role(finished.proposal)})" if proposal.name else ""
    reached, runs = summary.count("reached"), len(summary.runs)
    bound = "" if reached == runs else "≤ " if summary.ending.kind in CUT_SHORT else "≥ "
    mean = f"{bound}{summary.overall.mean:,.0f} {spec.objective.minimize}"
    others = [f"{summary.count(kind)} {kind}" for kind in ("censored", "diverged", "failed") if summary.count(kind)]
    state = "" if summary.ending.kind == "finished" else f" [{summary.ending.kind}]"
    detail = ", ".join([f"reached {reached}/{runs}", f"mean {mean}", *others])
    return f"{label}: {detail}{state}  {configuration(finished, spec)}"


def _role(proposal: Proposal) -> str:
    """The purpose of a trial that has a name."""
    return f"{proposal.name} again" if proposal.phase == "search" else f"{proposal.phase} {proposal.name}"


def configuration(finished: Finished, spec: SweepSpec) -> str:
    """The searched hyperparameters of a trial that have an effect."""
    flat = hyperparameters.described(finished.proposal.settings, spec.task.hyperparameters)
    shown = {key: flat[key] for key in spec.search if flat[key] is not None}
    return " ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in shown.items()
    )


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
        ended, finished, notices = board.tally.trials, list(board.finished), list(broadcast.notices)
        for notice in notices[broadcast.shown :]:
            self._print(f"[{duration(board.elapsed())}] {notice}")
        broadcast.shown = len(notices)
        for each in finished[len(finished) - min(ended - self._printed, len(finished)) :]:
            left = duration(seconds_left(board, self._spec, self._runner))
            self._print(f"[{duration(board.elapsed())}, {left} left] {result_line(each, self._spec)}")
        self._printed = ended
        if board.elapsed() - self._quiet_since > 60:
            steps = ", ".join(f"trial {each.proposal.number} at step {each.step:,}" for each in board.running())
            self._print(f"[{duration(board.elapsed())}] training: {steps or 'nothing yet'}")

    def _print(self, line: str) -> None:
        self._quiet_since = self._board.elapsed()
        say(self._console, line)
