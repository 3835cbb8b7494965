"""The leaderboard as text: tables that fit a terminal, and the sentences below them."""

import re
import textwrap
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.errors import plural
from sweeper.report.leaderboard import Leaderboard
from sweeper.report.paused import paused_grid
from sweeper.report.table import TextTable, fits, on_terminal, without
from sweeper.stats.events import CUT_SHORT

_FRESH_SEEDS = (
    "Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds."
)
_FIXED = "\xa0"
"""A space at which no line ends."""
_NOTE = (
    "Mean: of the time to the event, restricted to the horizon; it decides the rank, and equal ones share it. ≥: runs "
    "are censored at the horizon. ≤: a trial was stopped early, its unfinished runs count at the horizon."
)
_MEDIAN = " Median: by then half of the runs had reached the event (Kaplan-Meier)."
_EXPENDABLE = ("vs baseline", "median", "±")
"""Columns that are left out where space is short, the first one first."""


def grids(board: Leaderboard, parameters: Collection[str] | None = None) -> list[TextTable]:
    """The leaderboard and, if there are any, the confirmations; with a column for each parameter, or for some."""
    shown = board.parameters if parameters is None else tuple(each for each in board.parameters if each in parameters)
    found = [_grid(board, board.rows, "trial", f"{board.clock} until {board.until}", shown)]
    if board.confirmed:
        found.append(_grid(board, board.confirmed, "of", "confirmed on fresh seeds", shown))
    return found


def render(board: Leaderboard, console: Console) -> RenderableType:
    """The leaderboard for people: parameters as columns if the console is wide enough, otherwise as lines.

    A parameter with one value throughout has no column where space is short, and then expendable columns are left out.
    """
    waiting: list[RenderableType] = []
    if board.paused:
        waiting = [Text(), on_terminal(paused_grid(board.paused, board.minimize))]
    if not board.rows:
        return Group(Text("No trial has finished yet."), *waiting)
    everywhere = _everywhere(board)
    varying = [each for each in board.parameters if each not in everywhere]
    tables, left_out = _fitting(board, varying, console.width)
    columns = {str(column.header) for table in tables for column in table.columns}
    wide = not varying or varying[0] in columns
    parts: list[RenderableType] = []
    listed: set[int] = set()
    for table, rows, number in zip(tables, (board.rows, board.confirmed), ("trial", "of"), strict=False):
        parts += [*([Text()] if parts else []), table]
        new = [row for row in rows if not wide and row[number] not in listed]
        parts += [_wrapped(f"trial {row[number]}: {_configuration(row, varying)}", console.width) for row in new]
        listed |= {row[number] for row in new}
    if everywhere and not columns.issuperset(everywhere):
        parts.append(_wrapped(f"all trials here: {_configuration(board.rows[0], everywhere)}", console.width))
    if left_out:
        parts.append(_wrapped(f"no room here for: {', '.join(left_out)}", console.width))
    return Group(*parts, *waiting, *_sentences(board, console.width))


def _sentences(board: Leaderboard, width: int) -> Iterator[RenderableType]:
    """What is said below the tables."""
    if board.verdicts:
        yield Text()
        yield from (_wrapped(f"{each.sentence}.", width) for each in board.verdicts)
    if board.unfinished:
        words = f"{plural(board.unfinished, 'confirmation')} not finished yet; the same command continues the sweep."
        yield _wrapped(words, width)
    if not any(row["reached"] for row in board.rows):
        yield Text(nothing_reached(board).replace(" --set", " \\\n  --set", 1), style="yellow")
    elif board.unconfirmed:
        yield Text(_FRESH_SEEDS, style="dim")


def nothing_reached(board: Leaderboard) -> str:
    """What to do where no run has reached the event."""
    if not any(row["censored"] for row in board.rows):
        return f"No run reached {board.until}: all of them diverged or failed."
    widen = "widen the space, or " if board.parameters else ""
    return f"No run reached {board.until}: {widen}raise the horizon:\n{board.again}"


def _everywhere(board: Leaderboard) -> list[str]:
    """Parameters that have the same value in every row."""
    rows = [*board.rows, *board.confirmed]
    found = [name for name in board.parameters if len(rows) > 1 and len({_cell(row[name]) for row in rows}) == 1]
    return [name for name in found if rows[0][name] is not None]


def _fitting(board: Leaderboard, varying: list[str], room: int) -> tuple[list[Table], tuple[str, ...]]:
    """The tables with as many columns as there is room for, and the columns left out that nothing else shows."""
    shown = {heading for grid in grids(board, ()) for heading in grid.headings}
    expendable = [heading for heading in _EXPENDABLE if heading in shown]
    for parameters in (board.parameters, varying):
        found = grids(board, parameters)
        if all(fits(grid, room) for grid in found):
            return [on_terminal(grid) for grid in found], ()
    for count in range(len(expendable) + 1):
        left_out = tuple(expendable[:count])
        found = [without(grid, left_out) for grid in grids(board, ())]
        if all(fits(grid, room) for grid in found):
            return [on_terminal(grid) for grid in found], left_out
    return [on_terminal(grid, fold=True) for grid in found], left_out


def _grid(board: Leaderboard, rows: list[dict[str, Any]], number: str, title: str, shown: tuple[str, ...]) -> TextTable:
    median = ("median",) if any(row["beyond"] is not None for row in board.rows) else ()
    ratio = ("vs baseline",) if any(row["ratio"] is not None for row in board.rows) else ()
    return TextTable(
        title,
        ("", "trial", "reached", f"mean {board.clock}", "±", *median, *ratio, *shown),
        tuple(
            (
                str(row["rank"] or ""),
                f"{row[number]} {row['baseline']}".strip(),
                f"{row['reached']}/{row['runs']}{_interval(row)}"
                + ("" if row["state"] == "finished" else f" {row['state']}"),
                mean_cell(row),
                error_cell(row),
                *((_median(row),) if median else ()),
                *((ratio_cell(row),) if ratio else ()),
                *(_cell(row[column]) for column in shown),
            )
            for row in rows
        ),
        leads=bool(rows and rows[0]["reached"]),
        note=_NOTE + (_MEDIAN if median else "") if number == "trial" else "",
    )


def mean_cell(row: dict[str, Any]) -> str:
    """The mean with its sign; empty for a crash, and where a trial was cut short before any run arrived."""
    unknown = row["mean"] is None or (not row["reached"] and row["state"] in CUT_SHORT)
    return "" if unknown else f"{bound(row)}{_time(row['mean'])}"


def error_cell(row: dict[str, Any]) -> str:
    """The standard error of the mean; empty where no run arrived, so that nothing is known of the spread."""
    return "" if row["error"] is None or not row["reached"] else _time(row["error"])


def ratio_cell(row: dict[str, Any]) -> str:
    """The mean as a multiple of the first baseline's, with its sign."""
    return "" if row["ratio"] is None or not mean_cell(row) else f"{row['ratio_bound']}{row['ratio']:.2f}"


def _configuration(row: dict[str, Any], parameters: Iterable[str]) -> str:
    """The parameters that have an effect, in one line."""
    return " ".join(f"{column}={_cell(row[column])}" for column in parameters if row[column] is not None)


def _wrapped(sentence: str, width: int) -> Text:
    """Wrap a sentence with indented continuation lines; numbers stay with their signs."""
    kept = re.sub(r" (?=[%<=≤≥] ?)|(?<=[<=≤≥]) ", _FIXED, sentence)
    lines = textwrap.fill(kept, width, subsequent_indent="  ", break_on_hyphens=False)
    return Text(lines.replace(_FIXED, " "))


def bound(row: dict[str, Any]) -> str:
    """The sign before a mean: `≥` if runs are censored at the horizon, `≤` if stopped runs count at the horizon."""
    if row["reached"] == row["runs"]:
        return ""
    return "≤ " if row["state"] in CUT_SHORT else "≥ "


def _median(row: dict[str, Any]) -> str:
    if row["median"] is None:
        return "" if row["beyond"] is None else f"> {_time(row['beyond'])}"
    return _time(row["median"])


def _time(value: float) -> str:
    """A time without decimals; short times with one."""
    return f"{value:,.1f}" if 0 < value < 10 and value != round(value) else f"{value:,.0f}"


def _interval(row: dict[str, Any]) -> str:
    """The interval of a confirmation's success rate; the search's own seeds are too few for an interval."""
    if row["phase"] != "confirm" or row["success"] is None:
        return ""
    return f" ({100 * row['success'].low:.0f} to {100 * row['success'].high:.0f} %)"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
