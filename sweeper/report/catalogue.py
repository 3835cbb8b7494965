"""The sweeps that lie in a folder: what each asked, how far it is, and its best trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from sweeper.paths import SweepFolder
from sweeper.results.local_copy import is_running
from sweeper.results.query import query
from sweeper.spec.loading import load


@dataclass(frozen=True)
class Entry:
    """One sweep.

    Attributes:
        running: whether a launch on this machine is running it.
        trials: finished trials of the baselines and the search, and how many were asked for, None without a limit.
        confirmed: finished confirmations.
        best: number of the best trial, with its restricted mean and how many of its runs reached the event.
        finished: when the last trial ended.
    """

    sweep: str
    folder: Path
    running: bool
    minimizes: str
    until: str
    trials: int
    asked: int | None
    confirmed: int
    failed: int
    best: int | None
    mean: float | None
    reached: str
    finished: datetime | None


def catalogue(sweeps: Mapping[str, SweepFolder]) -> list[Entry]:
    """Look at every sweep, the one that changed last first.

    Raises:
        UserError: a part or a space.yaml is damaged.
    """
    found = [_entry(name, folder) for name, folder in sweeps.items()]
    return sorted(found, key=lambda each: each.finished.timestamp() if each.finished else 0.0, reverse=True)


def _entry(name: str, folder: SweepFolder) -> Entry:
    spec = load(folder.space).spec
    (row,) = query(
        folder,
        """
        SELECT count(*) FILTER (phase <> 'confirm') AS trials, count(*) FILTER (phase = 'confirm') AS confirmed,
               count(*) FILTER (state = 'failed') AS failed, max(finished) AS finished,
               arg_min({trial: trial, mean: rmst, reached: reached || '/' || runs}, value)
                   FILTER (phase <> 'confirm') AS best
        FROM trials
        """,
    ).to_pylist()
    best = row.pop("best") or {"trial": None, "mean": None, "reached": ""}
    return Entry(
        name,
        folder.root,
        is_running(folder),
        spec.objective.minimize,
        spec.objective.until,
        asked=spec.budget.trials,
        best=best["trial"],
        mean=best["mean"],
        reached=best["reached"],
        **row,
    )


def render(entries: list[Entry]) -> Table:
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
        table.add_row(
            Text(each.sweep, style="bold"),
            "running" if each.running else "",
            f"{each.trials}" + (f"/{each.asked}" if each.asked else ""),
            str(each.confirmed or ""),
            Text(str(each.failed or ""), style="red"),
            "" if each.best is None else str(each.best),
            "" if each.mean is None else f"{each.mean:,.0f} {each.minimizes}",
            each.reached,
            each.until,
            "" if each.finished is None else f"{each.finished:%Y-%m-%d %H:%M}",
        )
    return table
