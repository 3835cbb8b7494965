"""From a trial's curves to its summary and its row in `trials`."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sweeper.results.rows import RunRow, TrialRow, column_of
from sweeper.results.run_rows import run_row
from sweeper.space.hyperparameters import Hyperparameters, described
from sweeper.stats.events import Ending
from sweeper.stats.objective import Observation, Rmst, lower_bound, rmst, value
from sweeper.stats.trial_watch import TrialWatch
from sweeper.trial import Assignment, Columns


@dataclass(frozen=True)
class RunSummary:
    """One run: its row in `runs`, and what the objective needs of it."""

    row: RunRow
    observation: Observation


@dataclass(frozen=True)
class TrialSummary:
    """One trial: outcome counts, restricted mean time and objective value.

    Attributes:
        trial: its number.
        rmst: operation -> RMST on the objective's clock.
        value: the value reported to the sampler.
        bound: the least that the value could have become when training ended.
    """

    trial: int
    ending: Ending
    runs: tuple[RunSummary, ...]
    rmst: dict[str, Rmst]
    value: float
    bound: float
    started: datetime
    finished: datetime
    seconds: float
    device: str

    @property
    def overall(self) -> Rmst:
        """RMST; with several operations the geometric mean of theirs, its error by the delta method."""
        parts = list(self.rmst.values())
        if len(parts) == 1:
            return parts[0]
        mean = math.exp(sum(math.log(part.mean) for part in parts) / len(parts))
        relative = math.sqrt(sum((part.error / part.mean) ** 2 for part in parts)) / len(parts)
        return Rmst(mean, mean * relative)

    @property
    def observations(self) -> dict[str, list[Observation]]:
        """Operation -> the outcome of each run, by replicate."""
        return _by_operation(self.runs)

    def count(self, kind: str) -> int:
        """How many runs ended that way."""
        return sum(run.row.outcome == kind for run in self.runs)


def summarise(
    assignment: Assignment,
    *,
    columns: Columns,
    ending: Ending,
    limit: float,
    started: datetime,
    finished: datetime,
    seconds: float,
    device: str,
) -> TrialSummary:
    """A trial's summary from its curves.

    Args:
        assignment: the trial.
        columns: the trial's curves, as `sweeper.trial.join` makes them; empty when it failed at once.
        ending: how it ended.
        limit: where the restricted mean is restricted, on the objective's clock.
        started, finished: wall-clock times, UTC.
        seconds: time spent on it, over all its starts.
        device: where it was trained.
    """
    objective, operations = assignment.objective, assignment.task.operations
    watched = TrialWatch(operations, assignment.replicates, objective.watch, objective.minimize)
    watched.see(columns)
    runs = tuple(
        RunSummary(
            run_row(
                assignment,
                columns,
                operation=operation,
                replicate=replicate,
                watch=watched.run(operation, replicate),
                ending=ending,
            ),
            watched.run(operation, replicate).observation,
        )
        for operation in operations
        for replicate in assignment.replicates
    )
    by_operation = _by_operation(runs)
    return TrialSummary(
        assignment.number,
        ending,
        runs,
        {operation: rmst(observations, limit) for operation, observations in by_operation.items()},
        value(by_operation, assignment.objective.event, limit),
        lower_bound(by_operation, limit),
        started,
        finished,
        seconds,
        device,
    )


def _by_operation(runs: Sequence[RunSummary]) -> dict[str, list[Observation]]:
    found: dict[str, list[Observation]] = {}
    for run in runs:
        found.setdefault(run.row.operation, []).append(run.observation)
    return found


def trial_row(
    summary: TrialSummary,
    *,
    phase: str,
    name: str,
    identity: str,
    settings: Hyperparameters,
    known: Collection[str],
    retries: tuple[str, ...] = (),
) -> TrialRow:
    """The trial's row in `trials`; `known` are the hyperparameters that its task has."""
    overall = summary.overall
    return TrialRow(
        trial=summary.trial,
        phase=phase,
        name=name,
        state=summary.ending.kind,
        runs=len(summary.runs),
        reached=summary.count("reached"),
        censored=summary.count("censored"),
        diverged=summary.count("diverged"),
        failed=summary.count("failed"),
        rmst=overall.mean,
        rmst_error=None if math.isnan(overall.error) else overall.error,
        rmst_by_operation=tuple((operation, part.mean) for operation, part in summary.rmst.items()),
        value=summary.value,
        bound=summary.bound if summary.ending.cut_short else None,
        steps_trained=sum(run.row.final_step or 0 for run in summary.runs),
        seconds=summary.seconds,
        retries=retries,
        started=summary.started,
        finished=summary.finished,
        device=summary.device,
        why=summary.ending.why,
        detail=summary.ending.detail,
        identity=identity,
        hyperparameters={column_of(key): setting for key, setting in described(settings, known).items()},
    )
