"""Render the progress of a sweep: as a panel for a terminal, as a line elsewhere."""

import math

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.monitor.heartbeat import Progress


def render(progress: Progress, hint: str = "") -> RenderableType:
    """The panel, with a bar for each trial in training; `hint` is appended to the line about stopping."""
    runs = progress.runs
    head = Text.assemble(
        (progress.name, "bold"),
        f"  {counts(progress)}   runs: ",
        (f"{runs.get('reached', 0)} reached", "green"),
        f", {runs.get('censored', 0)} censored, ",
        (
            f"{runs.get('diverged', 0)} diverged, {runs.get('failed', 0)} failed",
            "red" if runs.get("failed") else "",
        ),
    )
    clock = f"{duration(progress.elapsed)} elapsed"
    if progress.running or progress.remaining is not None:
        clock += f", {duration(progress.remaining)} left"
    lines: list[RenderableType] = [head, Text(f"{clock}   {progress.rate:,.0f} model steps/s", style="dim")]
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


def counts(progress: Progress) -> str:
    """`23/200 trials finished, 2 confirmed, 4 running, 3 paused`."""
    budget = f"/{progress.budget}" if progress.budget else ""
    confirmed = f", {progress.confirmed} confirmed" if progress.confirmed else ""
    paused = f", {progress.paused} paused" if progress.paused else ""
    return f"{progress.finished}{budget} trials finished{confirmed}, {len(progress.running)} running{paused}"


def line(progress: Progress) -> str:
    """The progress in one line, without the state of single trials."""
    best = f"; best so far: {progress.best}" if progress.best else ""
    return f"[{duration(progress.elapsed)}, {duration(progress.remaining)} left] {counts(progress)}{best}"


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
