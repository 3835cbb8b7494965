"""The leaderboard: trials ranked by restricted mean time to the event."""

import math
import textwrap
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.report.paused import paused, paused_grid
from sweeper.report.summaries import TrialRuns, runs_on
from sweeper.report.table import TextTable, on_terminal
from sweeper.report.verdicts import Verdict, verdicts
from sweeper.results.query import query
from sweeper.results.readback import taken_up_again
from sweeper.results.rows import column_of
from sweeper.stats.events import CUT_SHORT, Clock

_FRESH_SEEDS = (
    "Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds."
)
_UNBOUNDED = 10_000


@dataclass(frozen=True)
class Leaderboard:
    """The best trials as data.

    Attributes:
        clock: the clock of all times: steps, examples or seconds.
        minimize: the objective's clock, that of predictions.
        until: the event.
        parameters: columns of the searched hyperparameters.
        rows: trials, best first, failed ones last: rows of `trials` plus `mean` and `error`, the restricted mean on the
            clock, None for a failed trial; `median` and `beyond`, the Kaplan-Meier median or, if it was not reached,
            the time beyond which it lies; and `ratio`, the mean divided by that of the first baseline, None if there
            is none.
        confirmed: the same for finished confirmations on fresh seeds, baselines included, plus `of`, the repeated
            trial, and `success`, the share of runs that reached the event with its interval.
        verdicts: comparisons on those fresh seeds.
        unconfirmed: whether the space.yaml confirms no finalists.
        paused: trials that wait with their checkpoints (`sweeper.report.paused`).
    """

    clock: Clock
    minimize: Clock
    until: str
    parameters: tuple[str, ...]
    rows: list[dict[str, Any]]
    confirmed: list[dict[str, Any]]
    verdicts: list[Verdict]
    unconfirmed: bool
    paused: list[dict[str, Any]] = field(default_factory=list)


def leaderboard(folder: SweepFolder, spec: SweepSpec, top: int, clock: Clock | None = None) -> Leaderboard:
    """Read the leaderboard from a sweep's tables.

    Args:
        folder: the sweep's folder.
        spec: its space.yaml.
        top: number of trials to list.
        clock: the clock to rank on; by default the objective's, where the ranking uses the sampler's values.
    """
    clock = clock or spec.objective.minimize
    by_value = clock == spec.objective.minimize
    # A few columns suffice to rank thousands of trials; the others are read for the trials that are shown.
    everyone = query(
        folder,
        "SELECT trial, phase, name, state, value, rmst, rmst_error FROM trials ORDER BY state = 'failed', value, trial",
    ).to_pylist()
    limit = limit_on(folder, spec, clock)
    # Ranking on another clock needs the runs of all trials, which takes seconds for thousands of trials.
    runs = {} if by_value else runs_on(folder, clock, limit, [row["trial"] for row in everyone])
    for row in everyone:
        _add_mean(row, runs.get(row["trial"]))
    if not by_value:
        everyone.sort(key=lambda row: (row["state"] == "failed", row["mean"] or 0.0, row["trial"]))
    replaced = taken_up_again(everyone)
    rows = [
        row
        for row in everyone
        if row["phase"] != "confirm" and row["state"] != "paused" and row["trial"] not in replaced
    ]
    confirmed = _confirmed(everyone)
    shown = [*rows[:top], *confirmed]
    _add_columns(folder, shown)
    if by_value:
        runs = runs_on(folder, clock, limit, [row["trial"] for row in shown])
    for row in shown:
        _add_spread(row, runs.get(row["trial"]))
    for row in confirmed:
        _add_further_seeds(row, runs.get(row["trial"]))
    repeated = {row["trial"]: row for row in rows}
    for row in confirmed:
        row["of"] = int(row["name"])
        row["baseline"] = repeated[row["of"]]["baseline"] if row["of"] in repeated else ""
    for group in (rows, confirmed):
        _add_ratios(group)
    by_search = sorted(confirmed, key=lambda row: repeated[row["of"]]["value"] if row["of"] in repeated else math.inf)
    return Leaderboard(
        clock,
        spec.objective.minimize,
        spec.objective.until,
        tuple(column_of(key) for key in spec.search),
        rows[:top],
        confirmed,
        verdicts(by_search, runs),
        spec.confirm is None and bool(spec.search),
        paused(folder, spec)[:top],
    )


def limit_on(folder: SweepFolder, spec: SweepSpec, clock: Clock) -> float:
    """The limit of restricted means on a clock; for seconds without a horizon, the duration of the longest run."""
    if clock == "seconds" and spec.objective.horizon_seconds is None:
        (longest,) = query(folder, "SELECT max(seconds) AS seconds FROM curves").to_pylist()
        return float(longest["seconds"] or 1.0)
    return spec.limit(clock)


def _confirmed(everyone: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first finished confirmation of each trial, in their order here."""
    rows = [row for row in everyone if row["phase"] == "confirm" and row["state"] != "stopped"]
    first: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: int(row["trial"])):
        first.setdefault(row["name"], row["trial"])
    return [row for row in rows if first[row["name"]] == row["trial"]]


def _add_further_seeds(row: dict[str, Any], runs: TrialRuns | None) -> None:
    """Count what later confirmations of the same trial trained on further seeds."""
    if runs is not None and runs.times.size > row["runs"]:
        row["runs"], row["reached"] = runs.times.size, int(runs.reached.sum())
        row["mean"], row["error"] = runs.mean


def _add_columns(folder: SweepFolder, rows: list[dict[str, Any]]) -> None:
    """Add all columns of `trials`."""
    wanted = ", ".join(str(row["trial"]) for row in rows) or "NULL"
    held = query(folder, f"SELECT * FROM trials WHERE trial IN ({wanted})").to_pylist()
    by_number = {each["trial"]: each for each in held}
    for row in rows:
        row.update(by_number[row["trial"]] | row)


def _add_mean(row: dict[str, Any], runs: TrialRuns | None) -> None:
    """Add the baseline's name and the mean: that of the runs, or without them the one in the table."""
    row["baseline"] = row["name"] if row["phase"] == "baseline" else ""
    row["mean"], row["error"] = row["rmst"], row["rmst_error"]
    if row["state"] == "failed":
        row["mean"] = row["error"] = None
    elif runs is not None:
        mean, error = runs.mean
        row["mean"], row["error"] = mean, None if math.isnan(error) else error


def _add_spread(row: dict[str, Any], runs: TrialRuns | None) -> None:
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


def grids(board: Leaderboard, *, parameters: bool = True) -> list[TextTable]:
    """The leaderboard and, if there are any, the confirmations; with or without a column per parameter."""
    found = [_grid(board, board.rows, "trial", f"{board.clock} until {board.until}", parameters)]
    if board.confirmed:
        found.append(_grid(board, board.confirmed, "of", "confirmed on fresh seeds", parameters))
    return found


def render(board: Leaderboard, console: Console) -> RenderableType:
    """The leaderboard for people: parameters as columns if the console is wide enough, otherwise as lines."""
    waiting: list[RenderableType] = []
    if board.paused:
        waiting = [Text(), on_terminal(paused_grid(board.paused, board.minimize))]
    if not board.rows:
        return Group(Text("No trial has finished yet."), *waiting)
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
    parts += waiting
    if board.verdicts:
        parts += [Text(), *(_wrapped(f"{each.sentence}.", console.width) for each in board.verdicts)]
    if not any(row["reached"] for row in board.rows):
        parts.append(Text(f"No run reached {board.until}: raise the horizon, or widen the space.", style="yellow"))
    elif board.unconfirmed:
        parts.append(Text(_FRESH_SEEDS, style="dim"))
    return Group(*parts)


def _grid(board: Leaderboard, rows: list[dict[str, Any]], number: str, title: str, parameters: bool) -> TextTable:
    single = any(row["beyond"] is not None for row in board.rows)
    median = ("median",) if single else ()
    shown = board.parameters if parameters else ()
    return TextTable(
        title,
        ("", "trial", "reached", f"mean {board.clock}", "±", *median, "vs baseline", *shown),
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
    """The parameters that have an effect, in one line."""
    return " ".join(f"{column}={_cell(row[column])}" for column in board.parameters if row[column] is not None)


def _wrapped(sentence: str, width: int) -> Text:
    """Wrap a sentence with indented continuation lines."""
    return Text(textwrap.fill(sentence, width, subsequent_indent="  ", break_on_hyphens=False))


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
