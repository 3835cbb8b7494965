"""Progress while a sweep runs: a live panel on a terminal, one line a finished trial everywhere else.

Both look at the director from a thread of their own, a few times a second; nothing calls back.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper import hyperparameters
from sweeper.director import Finished, SweepDirector
from sweeper.results.summary import CUT_SHORT
from sweeper.runners.protocol import Runner
from sweeper.search.study import Proposal
from sweeper.spec.model import SweepSpec

_EVERY = 0.5


@contextmanager
def progress(director: SweepDirector, spec: SweepSpec, runner: Runner, console: Console) -> Iterator[None]:
    """Show progress until the block ends: live on a terminal, plain lines when piped."""
    if console.is_terminal:
        panel = _Panel(director, spec, runner)
        with Live(get_renderable=panel.render, console=console, refresh_per_second=2, transient=True):
            yield
        return
    done = threading.Event()
    lines = _Lines(director, spec, runner, console)
    thread = threading.Thread(target=lines.follow, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def seconds_left(director: SweepDirector, spec: SweepSpec, places: int) -> float | None:
    """A guess from the trials that have finished; None before there is one or without a limit to count to."""
    limits = []
    tally = director.tally
    if spec.budget.trials is not None and tally.searched:
        remaining = max(spec.budget.trials - director.earlier - tally.searched, 0)
        limits.append(tally.seconds / tally.searched * remaining / max(places, 1))
    if spec.budget.hours is not None:
        limits.append(max(spec.budget.hours * 3600 - director.elapsed(), 0.0))
    return min(limits) if limits else None


def sentence(finished: Finished, spec: SweepSpec) -> str:
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
    """What a trial with a name is for."""
    return f"{proposal.name} again" if proposal.phase == "search" else f"{proposal.phase} {proposal.name}"


def configuration(finished: Finished, spec: SweepSpec) -> str:
    """The searched hyperparameters of a trial that have an effect."""
    flat = hyperparameters.described(finished.proposal.settings)
    shown = {key: flat[key] for key in spec.search if flat[key] is not None}
    return " ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in shown.items()
    )


def duration(seconds: float | None) -> str:
    """`1:02:03`, or `?`."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Panel:
    """The live picture."""

    def __init__(self, director: SweepDirector, spec: SweepSpec, runner: Runner):
        self._director, self._spec, self._runner = director, spec, runner

    def render(self) -> RenderableType:
        director, spec = self._director, self._spec
        tally, running = director.tally, director.running()
        total = director.earlier + tally.trials
        limit = f"/{spec.budget.trials}" if spec.budget.trials else ""
        rate = director.steps_trained / max(director.elapsed(), 1e-9)
        head = Text.assemble(
            (spec.name, "bold"),
            f"  {total}{limit} trials finished, {len(running)} running   runs: ",
            (f"{tally.runs['reached']} reached", "green"),
            f", {tally.runs['censored']} censored, ",
            (
                f"{tally.runs['diverged']} diverged, {tally.runs['failed']} failed",
                "red" if tally.runs["failed"] else "",
            ),
        )
        clock = (
            f"{duration(director.elapsed())} gone, {duration(seconds_left(director, spec, self._runner.places))} left"
        )
        lines: list[RenderableType] = [head, Text(f"{clock}   {rate:,.0f} model steps/s", style="dim")]
        if tally.best is not None:
            lines.append(Text(f"best so far: {sentence(tally.best, spec)}", style="green"))
        if running:
            lines.append(self._table())
        if director.notices:
            lines.append(Text(director.notices[-1], style="yellow"))
        if director.stopping:
            lines.append(Text(f"stopping: {director.stopping} (Ctrl-C again stops at once)", style="yellow"))
        return Group(*lines)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        horizon = self._spec.objective.horizon
        for each in self._director.running():
            label = f"trial {each.proposal.number}" + (f" {_role(each.proposal)}" if each.proposal.name else "")
            metric = "" if math.isnan(each.metric) else f"{self._spec.objective.event.metric} {each.metric:.3f}"
            bar = ProgressBar(total=horizon, completed=each.step, width=30)
            table.add_row(label, bar, f"step {each.step:,} of {horizon:,}", metric)
        return table


class _Lines:
    """A line for each finished trial, and one every minute in between."""

    def __init__(self, director: SweepDirector, spec: SweepSpec, runner: Runner, console: Console):
        self._director, self._spec, self._runner, self._console = director, spec, runner, console
        self._told = self._noticed = 0
        self._quiet_since = 0.0

    def follow(self, done: threading.Event) -> None:
        """Print what is new until `done`, and once more after."""
        while not done.wait(_EVERY):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        director = self._director
        ended, finished, notices = director.tally.trials, list(director.finished), list(director.notices)
        for notice in notices[self._noticed :]:
            self._print(f"[{duration(director.elapsed())}] {notice}")
        self._noticed = len(notices)
        for each in finished[len(finished) - min(ended - self._told, len(finished)) :]:
            left = duration(seconds_left(director, self._spec, self._runner.places))
            self._print(f"[{duration(director.elapsed())}, {left} left] {sentence(each, self._spec)}")
        self._told = ended
        if director.elapsed() - self._quiet_since > 60:
            steps = ", ".join(f"trial {each.proposal.number} at step {each.step:,}" for each in director.running())
            self._print(f"[{duration(director.elapsed())}] training: {steps or 'nothing yet'}")

    def _print(self, line: str) -> None:
        self._quiet_since = self._director.elapsed()
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)
