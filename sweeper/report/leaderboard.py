"""The leaderboard: trials in the order of their restricted mean time to the event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.paths import SweepFolder
from sweeper.results.query import query
from sweeper.results.summary import CUT_SHORT, column_of

_UNBOUNDED = 10_000
_TRIALS = "SELECT * FROM trials"
_CURRENT = "trial::text NOT IN (SELECT name FROM trials WHERE phase = 'search')"
"""No other trial has taken this one up again."""


@dataclass(frozen=True)
class Leaderboard:
    """The best trials as data.

    Attributes:
        clock: what was minimised: steps, examples or seconds.
        until: the event.
        parameters: columns of the searched hyperparameters.
        rows: trials, best first: rows of `trials` with `ratio`, their RMST over the first baseline's, None without one.
        confirmed: the same for trials that were run again on fresh seeds, baselines included.
        counts: state -> number of trials.
    """

    clock: str
    until: str
    parameters: tuple[str, ...]
    rows: list[dict[str, Any]]
    confirmed: list[dict[str, Any]]
    counts: dict[str, int]


def leaderboard(folder: SweepFolder, clock: str, until: str, searched: Sequence[str], top: int) -> Leaderboard:
    """Read the leaderboard from a sweep's tables.

    Args:
        folder: the sweep's folder.
        clock, until: from its space.yaml.
        searched: keys of its search section.
        top: number of trials to list.
    """
    columns = tuple(column_of(key) for key in searched)
    rows = query(folder, f"{_TRIALS} WHERE phase <> 'confirm' AND {_CURRENT} ORDER BY value, trial").to_pylist()
    confirmed = query(folder, f"{_TRIALS} WHERE phase = 'confirm' ORDER BY value, trial").to_pylist()
    for row in rows:
        row["name"] = row["name"] if row["phase"] == "baseline" else ""
    names = {str(row["trial"]): row["name"] for row in rows}
    for row in confirmed:
        row["of"], row["name"] = int(row["name"]), names.get(row["name"], "")
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    _add_ratios(rows)
    _add_ratios(confirmed)
    return Leaderboard(clock, until, columns, rows[:top], confirmed, counts)


def _add_ratios(rows: list[dict[str, Any]]) -> None:
    baselines = sorted((row for row in rows if row["name"]), key=lambda row: int(row.get("of", row["trial"])))
    for row in rows:
        row["ratio"] = row["rmst"] / baselines[0]["rmst"] if baselines else None


def render(board: Leaderboard, console: Console) -> RenderableType:
    """The leaderboard for people: a column for each parameter where the console is wide enough for that."""
    if not board.rows:
        return Text("No trial has finished yet.")
    unbounded = console.options.update(max_width=_UNBOUNDED)
    wide = console.measure(_table(board, board.rows, "trial", "", True), options=unbounded).maximum <= console.width
    parts: list[RenderableType] = [_table(board, board.rows, "trial", f"{board.clock} until {board.until}", wide)]
    if board.confirmed:
        parts += [Text(), _table(board, board.confirmed, "of", "confirmed on fresh seeds", wide)]
    if not any(row["reached"] for row in board.rows):
        parts.append(Text(f"No run reached {board.until}: raise the horizon, or widen the space.", style="yellow"))
    return Group(*parts)


def _table(board: Leaderboard, rows: list[dict[str, Any]], number: str, title: str, wide: bool) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    table.add_column("", justify="right")
    for heading in ("trial", "reached", f"mean {board.clock}", "±", "x baseline"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column in board.parameters if wide else ("configuration",):
        table.add_column(column, justify="right" if wide else "left", no_wrap=wide, overflow="fold")
    for rank, row in enumerate(rows, start=1):
        label = f"{row[number]}" + (f" {row['name']}" if row["name"] else "")
        cells = {column: _cell(row[column]) for column in board.parameters}
        state = "" if row["state"] == "finished" else f" {row['state']}"
        table.add_row(
            str(rank),
            Text(label),
            f"{row['reached']}/{row['runs']}{state}",
            f"{_bound(row)}{row['rmst']:,.0f}",
            "" if row["rmst_error"] is None else f"{row['rmst_error']:,.0f}",
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            *(cells.values() if wide else (" ".join(f"{key}={cell}" for key, cell in cells.items() if cell != "-"),)),
            style="bold green" if rank == 1 and row["reached"] else None,
        )
    return table


def _bound(row: dict[str, Any]) -> str:
    """How the mean relates to that of runs without a horizon; runs cut short count at the horizon: too much."""
    if row["reached"] == row["runs"]:
        return ""
    return "≤ " if row["state"] in CUT_SHORT else "≥ "


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
