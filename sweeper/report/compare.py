"""Compare two trials on equal seeds; they may be from different sweeps."""

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError
from sweeper.report.leaderboard import limit_on
from sweeper.report.select import SelectedTrial
from sweeper.report.summaries import TrialRuns, runs_on
from sweeper.stats.comparison import Comparison, compare, verdict
from sweeper.stats.events import CUT_SHORT, Clock


@dataclass(frozen=True)
class TrialComparison:
    """A comparison of two trials.

    Attributes:
        clock: the clock of all times.
        a, b: the trials' names.
        trials: their numbers, or those of their confirmations if these were compared.
        comparison: ratio, interval, p and the number of replicates needed.
        sentence: the comparison in words.
        caveats: limitations of the comparison, in words.
        runs: one row per pair of runs: operation, replicate, both times, and whether each reached the event.
    """

    clock: Clock
    a: str
    b: str
    trials: tuple[int, int]
    comparison: Comparison
    sentence: str
    caveats: tuple[str, ...]
    runs: list[dict[str, Any]]


def compare_trials(a: SelectedTrial, b: SelectedTrial, clock: Clock | None = None) -> TrialComparison:
    """Compare two trials, paired on their replicates; on fresh seeds if both were confirmed.

    Raises:
        UserError: they have different tasks or objectives, share no replicate, or are the same trial.
    """
    if (a.folder, a.row["trial"]) == (b.folder, b.row["trial"]):
        raise UserError(
            f"{a.label} cannot be compared with itself; give two trials, for example {a.sweep}:0 {a.sweep}:1"
        )
    _check_same_question(a, b)
    clock = clock or a.spec.objective.minimize
    both_confirmed = a.confirmation is not None and b.confirmation is not None
    rows = [each.confirmation if both_confirmed and each.confirmation else each.row for each in (a, b)]
    limit = max(limit_on(each.folder, each.spec, clock) for each in (a, b))
    found = [_runs(each, row, clock, limit) for each, row in zip((a, b), rows, strict=True)]
    shared = tuple(sorted(set(found[0].replicates) & set(found[1].replicates)))
    if not shared:
        raise UserError(
            f"{a.label} and {b.label} share no replicate: they have {found[0].replicates} and {found[1].replicates}"
        )
    first, second = (runs.only(shared) for runs in found)
    comparison = compare(first.restricted, second.restricted)
    names = _names(a, b)
    sentence = verdict(*names, comparison)
    if not (first.reached.any() or second.reached.any()):
        sentence = f"no run of {names[0]} or {names[1]} reached the event: nothing to compare"
    return TrialComparison(
        clock,
        *names,
        (rows[0]["trial"], rows[1]["trial"]),
        comparison,
        sentence,
        tuple(_caveats(both_confirmed, rows, names)),
        [
            {
                "operation": operation,
                "replicate": replicate,
                "a": float(first.times[i, j]),
                "a_reached": bool(first.reached[i, j]),
                "b": float(second.times[i, j]),
                "b_reached": bool(second.reached[i, j]),
            }
            for i, operation in enumerate(sorted(a.spec.task.operations))
            for j, replicate in enumerate(shared)
        ],
    )


def render(found: TrialComparison) -> RenderableType:
    """The comparison for people: the sentence, the runs and the caveats."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("operation", "seed", f"{found.a} ({found.clock})", f"{found.b} ({found.clock})", "ratio"):
        table.add_column(heading, justify="left" if heading == "operation" else "right", overflow="fold")
    for run in found.runs:
        ratio = f"{run['a'] / run['b']:.2f}" if run["a_reached"] and run["b_reached"] else ""
        times = (("" if run[f"{side}_reached"] else "> ") + f"{run[side]:,.0f}" for side in ("a", "b"))
        table.add_row(run["operation"], str(run["replicate"]), *times, ratio)
    notes = [Text(f"Note: {each}.", style="yellow") for each in found.caveats]
    return Group(Text(f"{found.sentence}.", style="bold"), Text(), table, *notes)


def _check_same_question(a: SelectedTrial, b: SelectedTrial) -> None:
    for key, of_a, of_b in (
        ("task", a.spec.task, b.spec.task),
        ("objective.until", a.spec.objective.until, b.spec.objective.until),
        ("objective.horizon", a.spec.objective.horizon, b.spec.objective.horizon),
    ):
        if of_a != of_b:
            raise UserError(
                f"{a.sweep} and {b.sweep} have different {'tasks' if key == 'task' else 'objectives'}: "
                f"{key} is {of_a} in the first and {of_b} in the second"
            )


def _runs(chosen: SelectedTrial, row: dict[str, Any], clock: Clock, limit: float) -> TrialRuns:
    found = runs_on(chosen.folder, clock, limit, [row["trial"]])
    if row["trial"] not in found:
        raise UserError(f"{chosen.folder.table('runs')}: damaged; it has no run of trial {row['trial']}")
    return found[row["trial"]]


def _names(a: SelectedTrial, b: SelectedTrial) -> tuple[str, str]:
    if a.sweep == b.sweep:
        return a.label, b.label
    return f"{a.label} of {a.sweep}", f"{b.label} of {b.sweep}"


def _caveats(confirmed: bool, rows: list[dict[str, Any]], names: tuple[str, str]) -> list[str]:
    found = []
    if not confirmed:
        found.append("these are the search's own seeds: a trial that was chosen by them looks better than it is")
    found += [
        f"{name} was stopped early ({row['state']}): its runs that had not reached the event count at the limit"
        for row, name in zip(rows, names, strict=True)
        if row["state"] in CUT_SHORT
    ]
    return found
