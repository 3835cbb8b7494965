"""Summaries of the runs of each trial: the time to the event on any of the three clocks."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from sweeper.folder.layout import SweepFolder
from sweeper.results.readback import rows_of
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
    at = f"sustained_{clock}"
    rows = rows_of(folder, "runs", ["trial", "operation", "replicate", "outcome", at, "final_step"], needed)
    seen = {} if clock == "steps" else _last_seen(folder, clock, {row["trial"] for row in rows if row[at] is None})
    held: dict[int, dict[tuple[str, int], tuple[float, bool]]] = {}
    for row in rows:
        reached, run = row[at] is not None, (row["trial"], row["operation"], row["replicate"])
        last = row["final_step"] if clock == "steps" else seen.get(run)
        watched = float(last or 0) if row["outcome"] == "censored" else limit
        mine = held.setdefault(first.get(row["trial"], row["trial"]), {})
        mine[row["operation"], row["replicate"]] = (float(row[at]) if reached else watched, reached)
    return {trial: _trial_runs(held[trial], limit) for trial in sorted(held)}


def _trial_runs(held: Mapping[tuple[str, int], tuple[float, bool]], limit: float) -> TrialRuns:
    runs = sorted(held)
    shape = (len({operation for operation, _ in runs}), -1)
    times, reached = zip(*(held[run] for run in runs), strict=True)
    replicates = tuple(dict.fromkeys(replicate for _, replicate in runs))
    return TrialRuns(replicates, np.array(times).reshape(shape), np.array(reached).reshape(shape), limit)


def _last_seen(folder: SweepFolder, clock: Clock, trials: Collection[int]) -> dict[tuple[int, str, int], float]:
    """Trial, operation and replicate -> when the run was last evaluated."""
    if not trials:
        return {}
    from sweeper.results.query import records  # noqa: PLC0415  # 0.1 s; `runs` has the last step itself

    wanted = ", ".join(str(int(trial)) for trial in sorted(trials))
    rows = records(
        folder,
        f"SELECT trial, operation, replicate, max({COLUMN[clock]})::DOUBLE AS last FROM curves "
        f"WHERE trial IN ({wanted}) GROUP BY ALL",
    )
    return {(row["trial"], row["operation"], row["replicate"]): row["last"] for row in rows}


def _first_confirmations(folder: SweepFolder) -> dict[int, int]:
    """Finished confirmation on further seeds -> the first confirmation of the same trial."""
    trials = sorted(rows_of(folder, "trials", ["trial", "name", "phase", "state"]), key=itemgetter("trial"))
    rows = [row for row in trials if (row["phase"], row["state"]) == ("confirm", "finished")]
    first: dict[str, int] = {}
    return {
        row["trial"]: first[row["name"]] for row in rows if first.setdefault(row["name"], row["trial"]) != row["trial"]
    }
