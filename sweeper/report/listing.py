"""List the sweeps in a folder: the event of each, its progress and its best trial."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
from sweeper.folder import labels
from sweeper.folder.labels import Labels
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import is_running, local_folder
from sweeper.results.query import query


@dataclass(frozen=True)
class Entry:
    """One sweep.

    Attributes:
        running: whether a launch on this machine is running it.
        trials: finished trials of the baselines and the search.
        budget: `budget.trials`; None without that limit.
        confirmed: finished confirmations.
        best: number of the best trial that did not fail.
        mean, reached: its restricted mean, and how many of its runs reached the event.
        censored: whether any did not, so that the mean is a lower bound.
        finished: when the last trial ended.
        tags, note: what people have written on it.
        damage: why it cannot be read; empty if it can.
    """

    sweep: str
    folder: str
    running: bool = False
    minimizes: str = ""
    until: str = ""
    trials: int = 0
    budget: int | None = None
    confirmed: int = 0
    failed: int = 0
    best: int | None = None
    mean: float | None = None
    reached: str = ""
    censored: bool = False
    finished: datetime | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    damage: str = ""


def list_sweeps(addresses: Mapping[str, str], tags: Collection[str] = ()) -> list[Entry]:
    """Summarise every sweep, the most recently changed first. Damaged sweeps are listed too.

    Args:
        addresses: name -> folder or s3:// address.
        tags: list only the sweeps that have all of these.

    Raises:
        UserError: no sweep has them.
    """
    found = []
    for name, address in addresses.items():
        try:
            found.append(_entry(name, local_folder(address)))
        except UserError as error:
            found.append(Entry(name, address, damage=str(error)))
    known = sorted({tag for each in found for tag in each.tags})
    if tags:
        found = [each for each in found if set(tags) <= set(each.tags)]
        if not found:
            raise UserError(f"no sweep has the tag {' and '.join(tags)}; there are: {', '.join(known) or 'no tags'}")
    return sorted(found, key=lambda each: each.finished.timestamp() if each.finished else 0.0, reverse=True)


def _entry(name: str, folder: SweepFolder) -> Entry:
    spec = saved_spec(folder)
    (row,) = query(
        folder,
        """
        SELECT count(*) FILTER (phase <> 'confirm' AND state NOT IN ('stopped', 'paused')) AS trials,
               count(*) FILTER (phase = 'confirm' AND state NOT IN ('stopped', 'paused')) AS confirmed,
               count(*) FILTER (state = 'failed') AS failed, max(finished) AS finished,
               arg_min({trial: trial, mean: rmst, reached: reached || '/' || runs, whole: reached = runs}, value)
                   FILTER (phase <> 'confirm' AND state NOT IN ('failed', 'paused')) AS best
        FROM trials
        """,
    ).to_pylist()
    written = labels.read(folder)
    best = row.pop("best") or {"trial": None, "mean": None, "reached": "", "whole": True}
    return Entry(
        name,
        str(folder.root),
        is_running(folder),
        spec.objective.minimize,
        spec.objective.until,
        budget=spec.budget.trials,
        best=best["trial"],
        mean=best["mean"],
        reached=best["reached"],
        censored=not best["whole"],
        tags=written.tags,
        note=written.note,
        **row,
    )


def render(entries: list[Entry]) -> RenderableType:
    """The list for people."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (
        "sweep",
        "state",
        "trials",
        "confirmed",
        "failed",
        "best",
        "mean",
        "reached",
        "until",
        "last trial",
    ):
        left = heading in ("sweep", "state", "until", "last trial")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "until")
    for each in entries:
        if each.damage:
            continue
        table.add_row(
            Text(each.sweep, style="bold"),
            "running" if each.running else "",
            f"{each.trials}" + (f"/{each.budget}" if each.budget else ""),
            str(each.confirmed or ""),
            Text(str(each.failed or ""), style="red"),
            "" if each.best is None else str(each.best),
            "" if each.mean is None else f"{'≥ ' if each.censored else ''}{each.mean:,.0f} {each.minimizes}",
            each.reached,
            each.until,
            "" if each.finished is None else f"{each.finished:%Y-%m-%d %H:%M}",
        )
    written = [Text(f"{each.sweep}: {words}") for each in entries if (words := str(Labels(each.note, each.tags)))]
    return Group(
        table, *written, *(Text(f"{each.sweep}: {each.damage}", style="red") for each in entries if each.damage)
    )
