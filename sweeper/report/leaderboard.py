"""The leaderboard: trials ranked by restricted mean time to the event."""

import math
import shlex
from dataclasses import dataclass, field
from typing import Any

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.report.paused import paused
from sweeper.report.summaries import TrialRuns, runs_on
from sweeper.report.verdicts import Verdict, verdicts
from sweeper.results.readback import rows_of, taken_up_again
from sweeper.results.rows import column_of
from sweeper.stats.events import CUT_SHORT, Clock


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
            the time beyond which it lies; `rank`, which trials of equal rank share, None if no run reached the event;
            and `ratio`, the mean divided by that of the first baseline, None if there is none, or if no run of either
            reached the event.
        confirmed: the same for finished confirmations on fresh seeds, baselines included, plus `of`, the repeated
            trial, and `success`, the share of runs that reached the event with its interval.
        unfinished: confirmations that were stopped and are to be continued.
        verdicts: comparisons on those fresh seeds.
        unconfirmed: whether the space.yaml confirms no finalists.
        again: the command that asks the same question with twice the horizon, in a sweep of its own.
        paused: trials that wait with their checkpoints (`sweeper.report.paused`).
    """

    clock: Clock
    minimize: Clock
    until: str
    parameters: tuple[str, ...]
    rows: list[dict[str, Any]]
    confirmed: list[dict[str, Any]]
    unfinished: int
    verdicts: list[Verdict]
    unconfirmed: bool
    again: str = ""
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
    columns = ["trial", "phase", "name", "state", "reached", "value", "rmst", "rmst_error"]
    everyone = sorted(
        rows_of(folder, "trials", columns), key=lambda row: (row["state"] == "failed", row["value"], row["trial"])
    )
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
    for group in (rows, confirmed):
        _add_ranks(group, "value" if by_value else "mean")
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
    waits = paused(folder, spec)
    search_values = {row["trial"]: math.log(row["predicted"]) for row in waits if row["predicted"] is not None}
    search_values |= {number: row["value"] for number, row in repeated.items()}
    by_search = sorted(confirmed, key=lambda row: search_values.get(row["of"], math.inf))
    return Leaderboard(
        clock,
        spec.objective.minimize,
        spec.objective.until,
        tuple(column_of(key) for key in spec.search),
        rows[:top],
        confirmed,
        len({row["name"] for row in everyone if row["phase"] == "confirm" and row["state"] == "stopped"}),
        verdicts(by_search, runs),
        spec.confirm is None and bool(spec.search),
        _again(folder, spec),
        waits[:top],
    )


def _again(folder: SweepFolder, spec: SweepSpec) -> str:
    """A launch that begins another sweep from this one's space.yaml."""
    longer = f"--set name={spec.name}-longer --set objective.horizon={2 * spec.objective.horizon}"
    return f"sweeper launch {shlex.quote(str(folder.space))} {longer}"


def limit_on(folder: SweepFolder, spec: SweepSpec, clock: Clock) -> float:
    """The limit of restricted means on a clock; for seconds without a horizon, the duration of the longest run."""
    if clock == "seconds" and spec.objective.horizon_seconds is None:
        from sweeper.results.query import records  # noqa: PLC0415  # 0.1 s

        (longest,) = records(folder, "SELECT max(seconds) AS seconds FROM curves")
        return float(longest["seconds"] or 1.0)
    return spec.limit(clock)


def _confirmed(everyone: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first finished confirmation of each trial, in their order here."""
    rows = [row for row in everyone if row["phase"] == "confirm" and row["state"] != "stopped"]
    first: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: int(row["trial"])):
        first.setdefault(row["name"], row["trial"])
    return [row for row in rows if first[row["name"]] == row["trial"]]


def _add_ranks(rows: list[dict[str, Any]], by: str) -> None:
    """Number the trials in their order here; equal ones share a rank, and the next one's counts them all."""
    before: dict[str, Any] = {}
    for place, row in enumerate(rows, 1):
        row["rank"] = place if row["reached"] else None
        if row["rank"] and before.get("rank") and row[by] == before[by]:
            row["rank"] = before["rank"]
        before = row


def _add_further_seeds(row: dict[str, Any], runs: TrialRuns | None) -> None:
    """Count what later confirmations of the same trial trained on further seeds."""
    if runs is not None and runs.times.size > row["runs"]:
        row["runs"], row["reached"] = runs.times.size, int(runs.reached.sum())
        row["mean"], row["error"] = runs.mean


def _add_columns(folder: SweepFolder, rows: list[dict[str, Any]]) -> None:
    """Add all columns of `trials`."""
    held = rows_of(folder, "trials", trials=[row["trial"] for row in rows])
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
    baseline = baselines[0] if baselines and baselines[0]["mean"] is not None else None
    for row in rows:
        arrived = baseline is not None and (row["reached"] or baseline["reached"])
        row["ratio"] = row["mean"] / baseline["mean"] if baseline and arrived and row["mean"] is not None else None
        row["ratio_bound"] = "" if baseline is None else _ratio_bound(row, baseline)


def _ratio_bound(row: dict[str, Any], baseline: dict[str, Any]) -> str:
    """The sign before a ratio: its mean is a bound, or no run of the baseline arrived."""
    if row["state"] in CUT_SHORT or not baseline["reached"]:
        return "≤ "
    return "" if row["reached"] else "≥ "
