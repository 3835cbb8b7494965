"""A sweep's tables read back for the scheduler: the outcome of each trial, and its curves."""

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sweeper.environment import provenance
from sweeper.folder.layout import SweepFolder
from sweeper.results.parts import whole
from sweeper.results.values import rows
from sweeper.stats.events import COLUMN, Clock, Ending
from sweeper.stats.objective import Observation

if TYPE_CHECKING:
    import pandas as pd  # a second, which a launch that reads no curves does not spend

Observations = Mapping[str, Sequence[Observation]]
"""Operation -> the outcome of each run, by replicate."""


@dataclass(frozen=True)
class TrialOutcome:
    """A trial that has ended and will not be resumed.

    Attributes:
        value: the value reported to the sampler.
        state: how it ended.
        bound: of a trial that was cut short, the least that its value could have become.
        observations: outcomes of its runs.
    """

    value: float
    state: str
    bound: float | None
    observations: Observations


def rows_of(
    folder: SweepFolder, name: str, columns: Sequence[str] | None = None, trials: Collection[int] | None = None
) -> list[dict[str, Any]]:
    """Rows of a table, of all trials or of some (see `whole`): a few of them sooner than DuckDB has started."""
    return rows(whole(folder, name, columns, trials))


def trial_outcomes(folder: SweepFolder, clock: Clock) -> dict[int, TrialOutcome]:
    """Trial -> the outcome in the tables of every trial that will not be resumed.

    Raises:
        UserError: a part is damaged.
    """
    trials = rows_of(folder, "trials", ["trial", "state", "why", "value", "bound"])
    over = [row for row in trials if Ending(row["state"], row["why"]).final]
    runs: dict[int, dict[str, list[Observation]]] = {row["trial"]: {} for row in over}
    at = f"sustained_{clock}"
    seen_runs = rows_of(folder, "runs", ["trial", "operation", "replicate", at, "best_metric"])
    for row in sorted(seen_runs, key=itemgetter("replicate")):
        if row["trial"] in runs:
            # How long a run that did not reach the event was watched is not kept: no value depends on it.
            best = math.nan if row["best_metric"] is None else row["best_metric"]
            seen = Observation(row[at] or 0.0, row[at] is not None, best)
            runs[row["trial"]].setdefault(row["operation"], []).append(seen)
    return {
        row["trial"]: TrialOutcome(
            row["value"], row["state"], row["bound"], {name: tuple(seen) for name, seen in runs[row["trial"]].items()}
        )
        for row in over
    }


def curves(folder: SweepFolder, clock: Clock, metric: str, others: Sequence[str] = ()) -> "pd.DataFrame":
    """Every evaluation of the trials `with_curves`: trial, phase, operation, replicate, step, clock, metric, others."""
    listed = whole(folder, "trials", ["trial", "phase", "name", "state"])
    trials = listed.to_pandas()
    columns = ["trial", "operation", "replicate", "step", COLUMN[clock], metric, *others]
    found = whole(folder, "curves", list(dict.fromkeys(columns))).to_pandas()
    found = found.assign(clock=found[COLUMN[clock]].astype(float), metric=found[metric].astype(float))
    numbers = [row["trial"] for row in with_curves(listed.to_pylist())]
    kept: pd.DataFrame = found.merge(trials[trials["trial"].isin(numbers)].drop(columns="name"), on="trial")
    return kept.sort_values(["trial", "operation", "replicate", "step"], ignore_index=True)


def searched_seconds(folder: SweepFolder, launches: Sequence[datetime]) -> float:
    """Seconds that launches searched: each from its first trial of the baselines or the search to the end of its last.

    Args:
        folder: the sweep's.
        launches: when they began.

    Raises:
        UserError: a part is damaged.
    """
    trained = [row for row in rows_of(folder, "trials", ["phase", "finished", "seconds"]) if row["phase"] != "confirm"]
    began = [-math.inf, *sorted(each.timestamp() for each in launches)]
    spans: dict[int, list[float]] = {}
    for row in trained:
        ended = row["finished"].timestamp()
        launch = bisect_right(began, ended) - 1
        spans.setdefault(launch, []).extend((max(ended - row["seconds"], began[launch]), ended))
    return sum(max(span) - min(span) for span in spans.values())


def searched_before(folder: SweepFolder) -> float:
    """Seconds of the time budget that earlier launches used."""
    launched = [datetime.fromisoformat(each["launched"]) for each in provenance.launches(folder) if "launched" in each]
    return searched_seconds(folder, launched)


def with_curves(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the baselines and the search, without failed ones, which have no curves to speak of, and replaced ones.

    Args:
        trials: rows of `trials`, with `trial`, `phase`, `name` and `state`.
    """
    replaced = taken_up_again(trials)
    trained = [row for row in trials if row["phase"] != "confirm" and row["state"] != "failed"]
    return [row for row in trained if row["trial"] not in replaced]


def taken_up_again(trials: Iterable[Mapping[str, Any]]) -> set[int]:
    """Numbers of the trials that a later one of the search has taken up again.

    Args:
        trials: rows of `trials`, with `phase` and `name`, which of such a later one is the earlier one's number.
    """
    return {int(row["name"]) for row in trials if row["phase"] == "search" and row["name"]}
