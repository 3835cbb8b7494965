"""How far a sweep is, for people: a picture for a terminal, and a line for everything else."""

import math

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.monitor.heartbeat import Standing


def render(standing: Standing, hint: str = "") -> RenderableType:
    """The picture, with a bar for each trial in training; `hint` follows the word that the sweep is stopping."""
    runs = standing.runs
    head = Text.assemble(
        (standing.name, "bold"),
        f"  {counted(standing)}   runs: ",
        (f"{runs.get('reached', 0)} reached", "green"),
        f", {runs.get('censored', 0)} censored, ",
        (
            f"{runs.get('diverged', 0)} diverged, {runs.get('failed', 0)} failed",
            "red" if runs.get("failed") else "",
        ),
    )
    clock = f"{duration(standing.gone)} gone, {duration(standing.left)} left"
    lines: list[RenderableType] = [head, Text(f"{clock}   {standing.rate:,.0f} model steps/s", style="dim")]
    if standing.best:
        lines.append(Text(f"best so far: {standing.best}", style="green"))
    if standing.running:
        lines.append(_bars(standing))
    if standing.notice:
        lines.append(Text(standing.notice, style="yellow"))
    if standing.stopping:
        lines.append(Text(f"stopping: {standing.stopping}{hint}", style="yellow"))
    return Group(*lines)


def counted(standing: Standing) -> str:
    """How many trials have finished, of how many, and how many train."""
    asked = f"/{standing.asked}" if standing.asked else ""
    confirmed = f", {standing.confirmed} confirmed" if standing.confirmed else ""
    return f"{standing.finished}{asked} trials finished{confirmed}, {len(standing.running)} running"


def line(standing: Standing) -> str:
    """The same in a line that stays true while the same trials train."""
    best = f"; best so far: {standing.best}" if standing.best else ""
    return f"[{duration(standing.gone)}, {duration(standing.left)} left] {counted(standing)}{best}"


def duration(seconds: float | None) -> str:
    """`1:02:03`, or `?`."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bars(standing: Standing) -> Table:
    table = Table.grid(padding=(0, 2))
    for each in standing.running:
        metric = "" if each.metric is None else f"{standing.metric} {each.metric:.3f}"
        table.add_row(
            f"trial {each.number} {each.role}".strip(),
            ProgressBar(total=standing.horizon, completed=each.step, width=30),
            f"step {each.step:,} of {standing.horizon:,}",
            metric,
        )
    return table
