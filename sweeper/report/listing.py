"""List the sweeps in a folder: the event of each, its progress and its best trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
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
    damage: str = ""


def list_sweeps(addresses: Mapping[str, str]) -> list[Entry]:
    """Summarise every sweep, the most recently changed first. Damaged sweeps are listed too.

    Args:
        addresses: name -> folder or s3:// address.
    """
    found = []
    for name, address in addresses.items():
        try:
            found.append(_entry(name, local_folder(address)))
        except UserError as error:
            found.append(Entry(name, address, damage=str(error)))
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
    return Group(table, *(Text(f"{each.sweep}: {each.damage}", style="red") for each in entries if each.damage))
