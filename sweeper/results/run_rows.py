"""From a run's curve to its row in `runs`."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from sweeper.results import diagnosis
from sweeper.results.rows import ACCURACY, LEVELS, RunRow
from sweeper.stats.events import CLOCKS, COLUMN, Ending, Event
from sweeper.stats.watch import Watch
from sweeper.trial import Assignment, Columns, seeds_of

_NEAR_ZERO = 0.1
"""A training loss below this counts as memorised, where an inversion is to be explained."""


def run_row(
    assignment: Assignment, columns: Columns, *, operation: str, replicate: int, watch: Watch, ending: Ending
) -> RunRow:
    """The row of one run.

    Args:
        assignment: its trial's.
        columns: the trial's curves; empty when it failed at once.
        operation, replicate: of the run.
        watch: has seen the run's curve.
        ending: how the trial ended.
    """
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
    if not watch.evaluations:
        return row
    return _with_curve(row, assignment, _curve_of(columns, operation, replicate), watch)


def _with_curve(row: RunRow, assignment: Assignment, curve: Columns, watch: Watch) -> RunRow:
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


def _times(prefix: str, index: int | None, curve: Columns) -> dict[str, Any]:
    """The three clocks at an evaluation; nothing where there was none."""
    if index is None:
        return {}
    return {f"{prefix}_{clock}": curve[COLUMN[clock]][index].item() for clock in CLOCKS}


def _diagnose(curve: Columns, event: Event) -> dict[str, Any]:
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


def _curve_of(columns: Columns, operation: str, replicate: int) -> Columns:
    if not columns:
        return {}
    mine = (columns["operation"] == operation) & (columns["replicate"] == replicate)
    return {name: values[mine] for name, values in columns.items()}
