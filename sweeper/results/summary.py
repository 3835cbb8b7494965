"""From a trial's curves to its rows in `runs` and `trials`."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.results import diagnosis
from sweeper.results.rows import ACCURACY, LEVELS, RunRow, TrialRow, column_of
from sweeper.space.hyperparameters import Hyperparameters, described
from sweeper.stats.events import CLOCKS, COLUMN, Ending, Event
from sweeper.stats.objective import Observation, Rmst, lower_bound, rmst, value
from sweeper.stats.trial_watch import TrialWatch
from sweeper.stats.watch import Watch
from sweeper.trial import Assignment, seeds_of

_NEAR_ZERO = 0.1
"""A training loss below this counts as memorised, where an inversion is to be explained."""

Curve = Mapping[str, npt.NDArray[Any]]


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
    columns: Curve,
    ending: Ending,
    limit: float,
    started: datetime,
    finished: datetime,
    seconds: float,
    device: str,
) -> TrialSummary:
    """A trial's summary from its curves.

    Args:
        assignment: what was trained.
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
            _run_row(
                assignment,
                _curve_of(columns, operation, replicate),
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


def _curve_of(columns: Curve, operation: str, replicate: int) -> Curve:
    if not columns:
        return {}
    mine = (columns["operation"] == operation) & (columns["replicate"] == replicate)
    return {name: values[mine] for name, values in columns.items()}


def _run_row(
    assignment: Assignment, curve: Curve, *, operation: str, replicate: int, watch: Watch, ending: Ending
) -> RunRow:
    seeds, outcome = seeds_of(replicate), watch.ended(ending)
    row = RunRow(
        trial=assignment.number,
        operation=operation,
        replicate=replicate,
        init_seed=seeds.init,
        data_seed=seeds.data,
        order_seed=seeds.order,
        outcome=outcome.kind,
        outcome_step=outcome.step,
        why=outcome.why,
    )
    return _with_curve(row, assignment, curve, watch) if watch.evaluations else row


def _with_curve(row: RunRow, assignment: Assignment, curve: Curve, watch: Watch) -> RunRow:
    """The row with the columns that the run's curve gives."""
    event = assignment.objective.event
    values = curve[event.metric].astype(np.float64)
    learnt = event
    scores: dict[str, object] = {}
    if ACCURACY in assignment.task.scores:
        learnt = Event(f"val_{ACCURACY}", ">", LEVELS["99"])
        accuracy = curve["val_accuracy"].astype(np.float64)
        for name, level in LEVELS.items():
            at = Event("val_accuracy", ">", level, event.sustained)
            scores |= _times(f"first_{name}", at.at(level, 1).crossing(accuracy), curve)
            scores |= _times(f"sustained_{name}", at.crossing(accuracy), curve)
    scores |= {f"final_{name}": float(curve[name][-1]) for name in assignment.task.logged_scores}
    return replace(
        row,
        **_times("first", event.at(event.threshold, 1).crossing(values), curve),
        **_times("sustained", event.crossing(values), curve),
        best_metric=watch.best,
        final_step=watch.step,
        scores=scores,
        **_diagnose(curve, learnt),
    )


def _times(prefix: str, index: int | None, curve: Curve) -> dict[str, Any]:
    """The three clocks at an evaluation; nothing where there was none."""
    if index is None:
        return {}
    return {f"{prefix}_{clock}": curve[COLUMN[clock]][index].item() for clock in CLOCKS}


def _diagnose(curve: Curve, event: Event) -> dict[str, Any]:
    """The columns of `runs` whose rules are in `sweeper.results.diagnosis`.

    Args:
        curve: a run's.
        event: what counts as learnt.
    """
    found = diagnosis.learning(curve, event)
    first, train = found.val_step, found.train_step
    row: dict[str, Any] = {
        "train_first_steps": train,
        "gap_steps": None if first is None or train is None else first - train,
        "gap_ratio": None if first is None or train is None else first / train,
        "fell_back": found.fell_back,
        "label": found.label,
        "train_loss_spikes": diagnosis.spikes(curve["train_loss"].astype(np.float64)),
    }
    turn = diagnosis.inversion(curve)
    if turn is not None:
        row |= {f"inversion_{name}": value for name, value in asdict(turn).items()}
        row["inversion_explained"] = diagnosis.explanations(curve, turn, _NEAR_ZERO)
    return row


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
