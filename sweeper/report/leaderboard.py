"""The leaderboard: trials in the order of their restricted mean time to the event."""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.report.summaries import Runs, runs_on
from sweeper.report.table import Grid, on_terminal
from sweeper.report.verdicts import Verdict, verdicts
from sweeper.results.query import query
from sweeper.results.readback import taken_up_again
from sweeper.results.summary import column_of
from sweeper.stats.events import CUT_SHORT, Clock

_FRESH_SEEDS = (
    "The seeds that chose the winner flatter it; confirm: {top: 2, replicates: 10} compares it on fresh ones."
)
_UNBOUNDED = 10_000


@dataclass(frozen=True)
class Leaderboard:
    """The best trials as data.

    Attributes:
        clock: on which times are shown: steps, examples or seconds.
        until: the event.
        parameters: columns of the searched hyperparameters.
        rows: trials, best first, failed ones last: rows of `trials` with `mean` and `error`, the restricted mean on the
            clock, None of a failed trial, for a crash is no time; `median` and `beyond`, Kaplan and Meier's median or,
            where it was not reached, the time past which it lies; and `ratio`, the mean over the first baseline's,
            None without one.
        confirmed: the same for trials that were run again on fresh seeds to their end, baselines included, with `of`,
            the trial that each repeats, and `success`, the share of runs that reached the event with its interval.
        verdicts: who is faster than whom, on those fresh seeds.
        asks_for_fresh_seeds: whether the sweep confirms nobody.
    """

    clock: Clock
    until: str
    parameters: tuple[str, ...]
    rows: list[dict[str, Any]]
    confirmed: list[dict[str, Any]]
    verdicts: list[Verdict]
    asks_for_fresh_seeds: bool


def leaderboard(folder: SweepFolder, spec: SweepSpec, top: int, clock: Clock | None = None) -> Leaderboard:
    """Read the leaderboard from a sweep's tables.

    Args:
        folder: the sweep's folder.
        spec: its space.yaml.
        top: number of trials to list.
        clock: on which to rank; by default the objective's, and then as the sampler was told.
    """
    asked = clock or spec.objective.minimize
    as_told = asked == spec.objective.minimize
    # Of thousands of trials little is needed: the rest is read for those that are shown.
    everyone = query(
        folder,
        "SELECT trial, phase, name, state, value, rmst, rmst_error FROM trials ORDER BY state = 'failed', value, trial",
    ).to_pylist()
    limit = limit_on(folder, spec, asked)
    # To rank on another clock, the runs of all trials are needed; thousands of trials take seconds.
    runs = {} if as_told else runs_on(folder, asked, limit, [row["trial"] for row in everyone])
    for row in everyone:
        _add_mean(row, runs.get(row["trial"]))
    if not as_told:
        everyone.sort(key=lambda row: (row["state"] == "failed", row["mean"] or 0.0, row["trial"]))
    replaced = taken_up_again(everyone)
    rows = [row for row in everyone if row["phase"] != "confirm" and row["trial"] not in replaced]
    confirmed = [row for row in everyone if row["phase"] == "confirm" and row["state"] != "stopped"]
    shown = [*rows[:top], *confirmed]
    _add_columns(folder, shown)
    if as_told:
        runs = runs_on(folder, asked, limit, [row["trial"] for row in shown])
    for row in shown:
        _add_spread(row, runs.get(row["trial"]))
    repeated = {row["trial"]: row for row in rows}
    for row in confirmed:
        row["of"] = int(row["name"])
        row["baseline"] = repeated[row["of"]]["baseline"] if row["of"] in repeated else ""
    for group in (rows, confirmed):
        _add_ratios(group)
    by_search = sorted(confirmed, key=lambda row: repeated[row["of"]]["value"] if row["of"] in repeated else math.inf)
    return Leaderboard(
        asked,
        spec.objective.until,
        tuple(column_of(key) for key in spec.search),
        rows[:top],
        confirmed,
        verdicts(by_search, runs),
        spec.confirm is None and bool(spec.search),
    )


def limit_on(folder: SweepFolder, spec: SweepSpec, clock: Clock) -> float:
    """Where restricted means are restricted on a clock; of seconds without a horizon, the longest that any run took."""
    if clock == "seconds" and spec.objective.horizon_seconds is None:
        (longest,) = query(folder, "SELECT max(seconds) AS seconds FROM curves").to_pylist()
        return float(longest["seconds"] or 1.0)
    return spec.limit(clock)


def _add_columns(folder: SweepFolder, rows: list[dict[str, Any]]) -> None:
    """All that the table holds of some trials."""
    wanted = ", ".join(str(row["trial"]) for row in rows) or "NULL"
    held = query(folder, f"SELECT * FROM trials WHERE trial IN ({wanted})").to_pylist()
    by_number = {each["trial"]: each for each in held}
    for row in rows:
        row.update(by_number[row["trial"]] | row)


def _add_mean(row: dict[str, Any], runs: Runs | None) -> None:
    """Name the baseline, and take the mean from the runs; where they are not given, as the table has it."""
    row["baseline"] = row["name"] if row["phase"] == "baseline" else ""
    row["mean"], row["error"] = row["rmst"], row["rmst_error"]
    if row["state"] == "failed":
        row["mean"] = row["error"] = None
    elif runs is not None:
        mean, error = runs.mean
        row["mean"], row["error"] = mean, None if math.isnan(error) else error


def _add_spread(row: dict[str, Any], runs: Runs | None) -> None:
    row["median"] = row["beyond"] = row["success"] = None
    if runs is None or row["state"] == "failed":
        return
    if len(runs.times) == 1:
        row["median"], row["beyond"] = runs.median, float(runs.times.max())
    row["success"] = runs.success


def _add_ratios(rows: list[dict[str, Any]]) -> None:
    baselines = sorted((row for row in rows if row["baseline"]), key=lambda row: int(row.get("of", row["trial"])))
    known = baselines[0]["mean"] if baselines else None
    for row in rows:
        row["ratio"] = None if known is None or row["mean"] is None else row["mean"] / known


def grids(board: Leaderboard, *, parameters: bool = True) -> list[Grid]:
    """The leaderboard, and the confirmations where there are any; with a column for each parameter or without."""
    found = [_grid(board, board.rows, "trial", f"{board.clock} until {board.until}", parameters)]
    if board.confirmed:
        found.append(_grid(board, board.confirmed, "of", "confirmed on fresh seeds", parameters))
    return found


def render(board: Leaderboard, console: Console) -> RenderableType:
    """The leaderboard for people: a column for each parameter where the console is wide enough for that, else lines."""
    if not board.rows:
        return Text("No trial has finished yet.")
    unbounded = console.options.update(max_width=_UNBOUNDED)
    tables = [on_terminal(grid) for grid in grids(board)]
    wide = all(console.measure(table, options=unbounded).maximum <= console.width for table in tables)
    if not wide:
        tables = [on_terminal(grid) for grid in grids(board, parameters=False)]
    parts: list[RenderableType] = []
    listed: set[int] = set()
    for table, rows, number in zip(tables, (board.rows, board.confirmed), ("trial", "of"), strict=False):
        parts += [*([Text()] if parts else []), table]
        new = [row for row in rows if not wide and row[number] not in listed]
        parts += [_wrapped(f"trial {row[number]}: {_configuration(board, row)}", console.width) for row in new]
        listed |= {row[number] for row in new}
    if board.verdicts:
        parts += [Text(), *(_wrapped(f"{each.sentence}.", console.width) for each in board.verdicts)]
    if not any(row["reached"] for row in board.rows):
        parts.append(Text(f"No run reached {board.until}: raise the horizon, or widen the space.", style="yellow"))
    elif board.asks_for_fresh_seeds:
        parts.append(Text(_FRESH_SEEDS, style="dim"))
    return Group(*parts)


def _grid(board: Leaderboard, rows: list[dict[str, Any]], number: str, title: str, parameters: bool) -> Grid:
    single = any(row["beyond"] is not None for row in board.rows)
    median = ("median",) if single else ()
    shown = board.parameters if parameters else ()
    return Grid(
        title,
        ("", "trial", "reached", f"mean {board.clock}", "±", *median, "x baseline", *shown),
        tuple(
            (
                "" if row["mean"] is None else str(rank),
                f"{row[number]} {row['baseline']}".strip(),
                f"{row['reached']}/{row['runs']}{_interval(row)}"
                + ("" if row["state"] == "finished" else f" {row['state']}"),
                "" if row["mean"] is None else f"{bound(row)}{_time(row['mean'])}",
                "" if row["error"] is None else _time(row["error"]),
                *((_median(row),) if single else ()),
                "" if row["ratio"] is None else f"{row['ratio']:.2f}",
                *(_cell(row[column]) for column in shown),
            )
            for rank, row in enumerate(rows, start=1)
        ),
        leads=bool(rows and rows[0]["reached"]),
    )


def _configuration(board: Leaderboard, row: dict[str, Any]) -> str:
    """The parameters that have an effect, in a line."""
    return " ".join(f"{column}={_cell(row[column])}" for column in board.parameters if row[column] is not None)


def _wrapped(sentence: str, width: int) -> Text:
    """With its further lines indented, so that it can be seen where the next one begins."""
    return Text(textwrap.fill(sentence, width, subsequent_indent="  ", break_on_hyphens=False))


def bound(row: dict[str, Any]) -> str:
    """How the mean relates to that of runs without a horizon; runs cut short count at the horizon: too much."""
    if row["reached"] == row["runs"]:
        return ""
    return "≤ " if row["state"] in CUT_SHORT else "≥ "


def _median(row: dict[str, Any]) -> str:
    if row["median"] is None:
        return "" if row["beyond"] is None else f"> {_time(row['beyond'])}"
    return _time(row["median"])


def _time(value: float) -> str:
    """Whole steps, examples and seconds; a few seconds with a decimal."""
    return f"{value:,.1f}" if 0 < value < 10 and value != round(value) else f"{value:,.0f}"


def _interval(row: dict[str, Any]) -> str:
    """The interval of the success rate, for confirmations: the search's own seeds are too few for one."""
    if row["phase"] != "confirm" or row["success"] is None:
        return ""
    return f" ({100 * row['success'].low:.0f} to {100 * row['success'].high:.0f} %)"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
