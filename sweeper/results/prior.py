"""What the tables of a sweep say of its runs to `stop: thaw`: of its own trials, or of an earlier sweep's (`prior`)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
from sweeper.folder.find import find_sweep
from sweeper.results.readback import TrialOutcome, curves, trial_outcomes
from sweeper.search.evidence import Evidence, KnownRun
from sweeper.search.thaw import Replicate
from sweeper.stats.events import COLUMN, CUT_SHORT

if TYPE_CHECKING:
    import pandas as pd

MOST = 400
"""Seeds of earlier sweeps that are learned from, at most; of more, some of every trial."""


def recorded_seeds(
    evidence: Evidence, spec: SweepSpec, number: int, trial: TrialOutcome, rows: "pd.DataFrame"
) -> list[Replicate]:
    """Every seed of a trial that the tables hold.

    Args:
        evidence: of the sweep.
        spec: the sweep's.
        number: the number that the trial gets.
        trial: its outcome.
        rows: its evaluations, as `readback.curves` gives them.
    """
    columns: dict[str, Any] = {name: rows[name].to_numpy() for name in rows.columns}
    columns[COLUMN[spec.objective.minimize]] = columns["clock"]
    columns[spec.objective.event.metric] = columns["metric"]
    over = trial.state not in CUT_SHORT
    runs = {
        (name, replicate): KnownRun(over or each.reached, each.time if each.reached else None)
        for name, seen in trial.observations.items()
        for replicate, each in enumerate(seen)
    }
    return evidence.replicates(number, columns, runs)


def prior_seeds(spec: SweepSpec) -> list[Replicate]:
    """The seeds of the sweeps that `spec.prior` names which are over; their trials have negative numbers.

    Raises:
        UserError: one of these sweeps is not there, or its curves are of another kind.
    """
    found: list[Replicate] = []
    problems: list[str] = []
    for called in spec.prior:
        folder = find_sweep(called)
        other = saved_spec(folder)
        if different := [f"{name} is {there}, and here {here}" for name, there, here in _differences(other, spec)]:
            problems.append(f"prior: {called}: {'; '.join(different)}; its curves say nothing about these")
            continue
        evidence, objective = Evidence(other), other.objective
        outcomes = trial_outcomes(folder, objective.minimize)
        frame = curves(folder, objective.minimize, objective.event.metric, evidence.signals)
        for number, rows in frame[frame["trial"].isin(list(outcomes))].groupby("trial"):
            seeds = recorded_seeds(evidence, other, -1 - len(found), outcomes[int(str(number))], rows)
            found += [each for each in seeds if each.over and len(each.curve.so_far)]
    if problems:
        raise UserError("\n".join(problems))
    return found[:: -(-len(found) // MOST) or 1]


def _differences(other: SweepSpec, spec: SweepSpec) -> Iterator[tuple[str, object, object]]:
    """What must be the same for curves to be features of one kind: key, there, here."""
    kinds = _kind(other), _kind(spec)
    for key, there in kinds[0].items():
        if there != kinds[1][key]:
            yield key, there, kinds[1][key]


def _kind(spec: SweepSpec) -> Mapping[str, object]:
    objective = spec.objective
    alike = {name: getattr(objective, name) for name in ("minimize", "until", "horizon", "evaluate_every")}
    return {**alike, "what is logged": ", ".join(Evidence(spec).signals)}
