"""List the sweeps in a folder: the event of each, its progress and its best trial."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError
from sweeper.folder import labels
from sweeper.folder.labels import Labels
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import local_folder
from sweeper.monitor.status import state_of, word_of
from sweeper.monitor.tables import kept_in
from sweeper.report.table import width

_OPTIONAL = ("confirmed", "failed", "best", "mean", "reached")
"""Columns that are left out where they would be empty."""
_EXPENDABLE = ("confirmed", "reached", "failed", "trials", "mean")
"""Columns that are left out where space is short, the first one first, after those that are said below the table."""
_SHORT = 20
"""Characters of a sweep's name in one line, where space is short."""
_STYLES = {"running": "green", "dead": "red", "failed": "red"}


@dataclass(frozen=True)
class Entry:
    """One sweep.

    Attributes:
        state: running, finished, stopped, failed, dead (ended without reporting) or not finished.
        trials: baselines and trials of the search that are over.
        budget: `budget.trials`; None without that limit.
        confirmed: trials with a finished confirmation.
        failed: trials of the search that failed.
        best: number of the best trial; None while no run of any has reached the event.
        mean, reached: its restricted mean, and how many of its runs reached the event.
        censored: whether any did not, so that the mean is a lower bound.
        finished: when the last trial ended.
        tags, note: what people have written on it.
        damage: why it cannot be read; empty if it can.
    """

    sweep: str
    folder: str
    state: str = ""
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
    kept, written = kept_in(folder), labels.read(folder)
    totals, best, objective = kept.totals, kept.totals.best, kept.spec.objective
    return Entry(
        name,
        str(folder.root),
        word_of(*state_of(folder), kept.done),
        objective.minimize,
        objective.until,
        trials=kept.progress.finished,
        budget=kept.progress.budget,
        confirmed=kept.progress.confirmed,
        failed=totals.endings["failed"],
        best=None if best is None else best.number,
        mean=None if best is None else best.mean,
        reached="" if best is None else f"{best.reached}/{best.runs}",
        censored=best is not None and best.reached < best.runs,
        finished=max((each.finished for each in totals.over), default=None),
        tags=written.tags,
        note=written.note,
    )


def render(entries: list[Entry]) -> RenderableType:
    """The list for people: names and states whole. Where it is too wide, the last columns are said below it."""
    written = [Text(f"{each.sweep}: {words}") for each in entries if (words := str(Labels(each.note, each.tags)))]
    damaged = [Text(f"{each.sweep}: {each.damage}", style="red") for each in entries if each.damage]
    return Group(_Listing([each for each in entries if not each.damage]), *written, *damaged)


@dataclass(frozen=True)
class _Listing:
    """The table, as wide as there is room."""

    entries: Sequence[Entry]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        used = [name for name in _COLUMNS if name not in _OPTIONAL or any(map(str, map(_COLUMNS[name], self.entries)))]
        if width(self._cells(used)) <= options.max_width:
            yield self._table(used)
            return
        beside = [name for name in used if name not in ("until", "last trial")]
        expendable = [name for name in _EXPENDABLE if name in used]
        for count, short in [(0, False), *((count, True) for count in range(len(expendable) + 1))]:
            shown = [name for name in beside if name not in expendable[:count]]
            if width(self._cells(shown, short=short)) <= options.max_width:
                break
        yield self._table(shown, short=short)
        for until in dict.fromkeys(each.until for each in self.entries):
            names = [f"{each.sweep} ({_date(each) or 'nothing yet'})" for each in self.entries if each.until == until]
            yield Text(f"until {until}, by last trial: {', '.join(names)}")
        if count:
            yield Text(f"no room here for: {', '.join(expendable[:count])}")

    def _cells(self, columns: Iterable[str], *, short: bool = False) -> dict[str, list[str]]:
        limit = _SHORT if short else None
        return {
            name: [str(_COLUMNS[name](each))[: limit if name == "sweep" else None] for each in self.entries]
            for name in columns
        }

    def _table(self, columns: Iterable[str], *, short: bool = False) -> Table:
        """With the columns named; `short`: long names of sweeps go on in the next line."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in columns:
            left, folds = name in ("sweep", "state", "until", "last trial"), short and name == "sweep"
            most = _SHORT if folds else None
            justify: JustifyMethod = "left" if left else "right"
            table.add_column(name, justify=justify, no_wrap=not folds, overflow="fold", max_width=most)
        for each in self.entries:
            table.add_row(*(_COLUMNS[name](each) for name in columns))
        return table


def _mean(each: Entry) -> str:
    return "" if each.mean is None else f"{'≥ ' if each.censored else ''}{each.mean:,.0f} {each.minimizes}"


def _date(each: Entry) -> str:
    return "" if each.finished is None else f"{each.finished:%Y-%m-%d %H:%M} UTC"


_COLUMNS: dict[str, Callable[[Entry], str | Text]] = {
    "sweep": lambda each: Text(each.sweep, style="bold"),
    "state": lambda each: Text(each.state, style=_STYLES.get(each.state, "")),
    "trials": lambda each: f"{each.trials}" + (f"/{each.budget}" if each.budget else ""),
    "confirmed": lambda each: str(each.confirmed or ""),
    "failed": lambda each: Text(str(each.failed or ""), style="red"),
    "best": lambda each: "" if each.best is None else f"trial {each.best}",
    "mean": _mean,
    "reached": lambda each: each.reached,
    "until": lambda each: each.until,
    "last trial": _date,
}
"""Heading -> the cell of a sweep."""
