"""Summaries of the runs of each trial: the time to the event on any of the three clocks."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.folder.layout import SweepFolder
from sweeper.results.query import records
from sweeper.stats.events import COLUMN, Clock
from sweeper.stats.survival import Rate, Survival, kaplan_meier, restricted_mean, success_rate

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrialRuns:
    """The runs of one trial on one clock, [operations, replicates], replicates in ascending order.

    Attributes:
        replicates: [replicates], their numbers: equal numbers mean equal seeds.
        times: time of the event, or of censoring. A run that diverged or failed can never reach the event, so it
            counts as observed up to the limit.
        reached: whether the event was reached.
        limit: the limit of restricted means.
    """

    replicates: tuple[int, ...]
    times: Times
    reached: npt.NDArray[np.bool_]
    limit: float

    @property
    def restricted(self) -> Times:
        """min(T, limit); the limit for a run that did not reach the event."""
        return np.where(self.reached, np.minimum(self.times, self.limit), self.limit)

    def only(self, replicates: Collection[int]) -> "TrialRuns":
        """The runs of some of the replicates."""
        kept = [i for i, each in enumerate(self.replicates) if each in replicates]
        found = tuple(self.replicates[i] for i in kept)
        return TrialRuns(found, self.times[:, kept], self.reached[:, kept], self.limit)

    def curves(self) -> list[Survival]:
        """Each operation's survival curve."""
        return [kaplan_meier(times, reached) for times, reached in zip(self.times, self.reached, strict=True)]

    @property
    def success(self) -> Rate:
        """Share of the runs of all operations that reached the event."""
        return success_rate(int(self.reached.sum()), self.reached.size)

    @property
    def mean(self) -> tuple[float, float]:
        """Area under the survival curve and its error; with several operations their geometric mean.

        Runs that were stopped early leave the risk set when last observed, instead of counting at the limit. The error
        is scaled so that it equals that of `objective.rmst` if no run was stopped early.
        """
        count = len(self.replicates)
        scale = math.sqrt(count / (count - 1)) if count > 1 else math.nan
        parts = [restricted_mean(curve, self.limit) for curve in self.curves()]
        if len(parts) == 1:
            ((mean, error),) = parts
            return mean, scale * error
        mean = math.exp(sum(math.log(part) for part, _ in parts) / len(parts))
        return mean, scale * mean * math.sqrt(sum((error / part) ** 2 for part, error in parts)) / len(parts)

    @property
    def median(self) -> float | None:
        """The Kaplan-Meier median; None if it lies beyond the last observation, or with several operations."""
        return self.curves()[0].median if len(self.times) == 1 else None


def runs_on(folder: SweepFolder, clock: Clock, limit: float, trials: Sequence[int]) -> Mapping[int, TrialRuns]:
    """Trial -> its runs on a clock. Later confirmations of the same trial, on further seeds, count to the first.

    Args:
        folder: the sweep's folder.
        clock: steps, examples or seconds.
        limit: the limit of restricted means, in the clock's units.
        trials: numbers of the trials.
    """
    if not trials:
        return {}
    first = _first_confirmations(folder)
    needed = {*trials, *(trial for trial, before in first.items() if before in trials)}
    wanted = ", ".join(str(int(trial)) for trial in sorted(needed))
    rows = records(
        folder,
        f"""
        SELECT trial, operation, replicate, sustained_{clock}::DOUBLE AS time, outcome, last::DOUBLE AS last
        FROM runs LEFT JOIN (
            SELECT trial, operation, replicate, max({COLUMN[clock]}) AS last FROM curves
            WHERE trial IN ({wanted}) GROUP BY ALL
        ) USING (trial, operation, replicate)
        WHERE trial IN ({wanted})
        """,
    )
    held: dict[int, dict[tuple[str, int], tuple[float, bool]]] = {}
    for row in rows:
        reached = row["time"] is not None
        watched = row["last"] or 0.0 if row["outcome"] == "censored" else limit
        mine = held.setdefault(first.get(row["trial"], row["trial"]), {})
        mine[row["operation"], row["replicate"]] = (row["time"] if reached else watched, reached)
    return {trial: _trial_runs(held[trial], limit) for trial in sorted(held)}


def _trial_runs(held: Mapping[tuple[str, int], tuple[float, bool]], limit: float) -> TrialRuns:
    runs = sorted(held)
    shape = (len({operation for operation, _ in runs}), -1)
    times, reached = zip(*(held[run] for run in runs), strict=True)
    replicates = tuple(dict.fromkeys(replicate for _, replicate in runs))
    return TrialRuns(replicates, np.array(times).reshape(shape), np.array(reached).reshape(shape), limit)


def _first_confirmations(folder: SweepFolder) -> dict[int, int]:
    """Finished confirmation on further seeds -> the first confirmation of the same trial."""
    rows = records(
        folder, "SELECT trial, name FROM trials WHERE phase = 'confirm' AND state = 'finished' ORDER BY trial"
    )
    first: dict[str, int] = {}
    return {
        row["trial"]: first[row["name"]] for row in rows if first.setdefault(row["name"], row["trial"]) != row["trial"]
    }
