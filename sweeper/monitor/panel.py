"""Render the progress of a sweep: as a panel for a terminal, as a line elsewhere."""

import math
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.errors import plural
from sweeper.monitor.heartbeat import Progress
from sweeper.results.rows import column_of
from sweeper.results.totals import EndedTrial
from sweeper.stats.events import CUT_SHORT, ERROR
from sweeper.stats.forecast import about


def render(progress: Progress, hint: str = "", *, runs_now: bool = True) -> RenderableType:
    """The panel, with a bar for each trial in training.

    Args:
        progress: of the sweep.
        hint: appended to the line about stopping.
        runs_now: whether a launch runs it, so that its clock is of interest.
    """
    runs = progress.runs
    bad = f", {runs.get('diverged', 0)} diverged, {runs.get('failed', 0)} failed"
    head = Text.assemble(
        (progress.name, "bold"),
        f"  {counts(progress)}   runs: ",
        (f"{runs.get('reached', 0)} reached", "green"),
        f", {runs.get('censored', 0)} censored",
        (bad, "red" if runs.get("failed") else ""),
    )
    lines: list[RenderableType] = [head]
    if runs_now:
        remaining = span(progress)
        clock = f"{duration(progress.elapsed)} elapsed" + (f", {remaining} left" if remaining else "")
        graphs = f"   {captured(progress.captures, progress.capture_seconds)}" if progress.captures else ""
        lines.append(Text(f"{clock}   {progress.rate:,.0f} model steps/s{graphs}", style="dim"))
    if progress.best:
        lines.append(Text(f"best so far: {progress.best}", style="green"))
    if progress.running:
        lines.append(_bars(progress))
    for each in progress.promising:
        predicted = f": {each.predicted} predicted" if each.predicted else ""
        lines.append(Text(f"trial {each.number} paused at step {each.step:,}{predicted}", style="dim"))
    if progress.notice:
        lines.append(Text(progress.notice, style="yellow"))
    if progress.stopping:
        lines.append(Text(f"stopping: {progress.stopping}{hint}", style="yellow"))
    return Group(*lines)


def captured(count: int, seconds: float) -> str:
    """`12 CUDA graphs captured in 3.4 s`."""
    return f"{plural(count, 'CUDA graph')} captured in {seconds:.1f} s"


def counts(progress: Progress) -> str:
    """`23/200 trials finished (4 capped), 2 confirmed, 4 running, 3 paused`."""
    budget = f"/{progress.budget}" if progress.budget else ""
    others = ", ".join(f"{count} {ending}" for ending, count in progress.endings.items())
    confirmed = f", {progress.confirmed} confirmed" if progress.confirmed else ""
    return (
        f"{progress.finished}{budget} trials finished{f' ({others})' if others else ''}{confirmed}, "
        f"{len(progress.running)} running{f', {progress.paused} paused' if progress.paused else ''}"
    )


def line(progress: Progress) -> str:
    """The progress in one line, without the state of single trials."""
    best = f"; best so far: {progress.best}" if progress.best else ""
    return f"{stamp(progress)} {counts(progress)}{best}"


def stamp(progress: Progress) -> str:
    """`[2:49, about 32 min left]`; a second that is left is none."""
    left = progress.remaining or 0.0
    return f"[{duration(progress.elapsed)}{f', {about(left)} left' if left >= 0.5 else ''}]"


def span(progress: Progress) -> str:
    """`about 40 min (25 to 60)`; empty without an estimate, and where nothing is left."""
    if not progress.remaining or progress.least is None or progress.most is None:
        return ""
    return about(progress.remaining, (progress.least, progress.most))


def duration(seconds: float | None) -> str:
    """`1:02:03`, or `?`."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bars(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    for each in progress.running:
        metric = "" if each.metric is None else f"{progress.metric} {each.metric:.3f}"
        table.add_row(
            f"trial {each.number} {each.role}".strip(),
            ProgressBar(total=progress.horizon, completed=each.step, width=30),
            f"step {each.step:,} of {progress.horizon:,}",
            metric,
        )
    return table


def result_line(trial: EndedTrial, clock: str, search: Iterable[str]) -> str:
    """One trial that ended, in a line.

    Args:
        trial: the trial.
        clock: the objective's.
        search: keys of the searched hyperparameters.
    """
    role = role_of(trial.phase, trial.name) if trial.name else ""
    label = f"trial {trial.number}" + (f" ({role})" if role else "")
    shown = configuration(trial, search)
    if trial.failed:
        return f"{label}: failed: {_cause(trial)}  {shown}"
    cut_short = trial.ending.kind in CUT_SHORT
    detail = [f"reached {trial.reached}/{trial.runs}"]
    if trial.reached or not cut_short:  # runs that were cut short before any arrived have no time
        bound = "" if trial.reached == trial.runs else "≤ " if cut_short else "≥ "
        detail.append(f"mean {bound}{trial.mean:,.0f} {clock}")
    detail += [f"{count} {kind}" for kind, count in trial.outcomes.items() if kind != "reached"]
    state = "" if trial.ending.kind == "finished" else f" [{trial.ending.kind}]"
    return f"{label}: {', '.join(detail)}{state}  {shown}"


def role_of(phase: str, name: str) -> str:
    """What a trial with a name is for."""
    return f"{name} again" if phase == "search" else f"{phase} {name}"


def configuration(trial: EndedTrial, search: Iterable[str]) -> str:
    """The searched hyperparameters of a trial that have an effect."""
    found = {key: trial.configuration.get(column_of(key)) for key in search}
    return " ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in found.items()
        if value is not None
    )


def _cause(trial: EndedTrial) -> str:
    """Why a trial failed: the last line of its traceback, if there is one."""
    last = trial.ending.detail.strip().rpartition("\n")[2]
    return last if trial.ending.why == ERROR and last else trial.ending.why
