"""`sweeper replay`: the cost of a recorded sweep, and the trials stopped, under other stopping rules.

The trials, their order and their curves are recorded; only the training length of each trial is decided anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.config.model import Race as RaceSpec
from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.errors import UserError, plural
from sweeper.folder.layout import SweepFolder
from sweeper.results.query import query, records
from sweeper.results.readback import with_curves
from sweeper.results.values import numbers
from sweeper.search import simulation
from sweeper.search.simulation import Pruned, Question, RecordedTrial, Rule, SimulatedRace, Uncapped
from sweeper.stats import capping
from sweeper.stats.events import COLUMN
from sweeper.stats.racing import StagedCap, stages
from sweeper.stats.watch import Watch

if TYPE_CHECKING:
    from sweeper.report.remade import Remade

RuleName = Literal["none", "cap", "race", "asha", "median"]
RULES: tuple[RuleName, ...] = get_args(RuleName)
Columns = Mapping[str, npt.NDArray[Any]]
_PACE = 100
"""Steps between two decisions about a trial: about one second of training, the interval of a launch."""


@dataclass(frozen=True)
class Replayed:
    """A sweep under another rule.

    Attributes:
        rule: its name.
        steps: model updates of all runs.
        stopped: number of trials that the rule stopped.
        winner_stopped: whether the recorded best trial was among them.
        chosen: the trial that would have won; None if every trial was stopped.
    """

    rule: RuleName
    steps: int
    stopped: int
    winner_stopped: bool
    chosen: int | None


@dataclass(frozen=True)
class Replay:
    """A recorded sweep under several rules.

    Attributes:
        trials: number of replayed trials.
        cut: number of recorded trials without whole curves, which are not replayed.
        at_once: number of trials that train concurrently.
        winner: the recorded best trial.
        results: one per rule.
        remade: of a sweep that paused trials, its own decisions made again (`sweeper.report.remade`).
    """

    trials: int
    cut: int
    at_once: int
    winner: int
    results: tuple[Replayed, ...]
    remade: "Remade | None" = None


def replay(folder: SweepFolder, rules: Sequence[RuleName] = RULES, at_once: int = 1) -> Replay:
    """Replay a recorded sweep under each rule.

    Args:
        folder: the sweep's folder.
        rules: their names.
        at_once: number of trials that train concurrently.

    Raises:
        UserError: no trial has whole curves.
    """
    spec = saved_spec(folder)
    posed = question(spec)
    trials, cut = recorded_trials(folder, spec)
    if not trials:
        raise UserError(f"{folder.root}: no trial has whole curves to replay; record some with stop: none")
    places = capping.places_that_matter(len(trials), spec.finalists)
    values = {trial.number: _value(trial, posed) for trial in trials}
    winner = min(values, key=values.__getitem__)
    results = []
    for name in rules:
        rule = simulated_rule(name, posed, places, spec.race or RaceSpec())
        pace = max(_PACE // posed.every, 1)
        ended = list(simulation.replay(partial(next, iter(trials), None), rule, at_once, pace))
        stopped = {each.trial.number for each in ended if each.stopped}
        whole = [number for number in values if number not in stopped]
        chosen = min(whole, key=values.__getitem__, default=None)
        results.append(Replayed(name, round(ended[-1].total), len(stopped), winner in stopped, chosen))
    return Replay(len(trials), cut, at_once, winner, tuple(results), _remade(folder, spec))


def _remade(folder: SweepFolder, spec: SweepSpec) -> "Remade | None":
    if spec.stop != "thaw":
        return None
    from sweeper.report.remade import remake  # noqa: PLC0415  # scipy takes a second to import

    return remake(folder, spec)


def question(spec: SweepSpec) -> Question:
    """The objective that all trials of a sweep share."""
    objective = spec.objective
    return Question(objective.event, spec.limit(), objective.horizon, objective.evaluate_every, objective.replicates)


def simulated_rule(name: RuleName, posed: Question, places: int, race: RaceSpec) -> Rule:
    """A rule by its name, without observations."""
    match name:
        case "none":
            return Uncapped(posed)
        case "cap":
            return SimulatedRace(posed, StagedCap((posed.replicates,), places))
        case "race":
            return SimulatedRace(posed, StagedCap(stages(race.first, posed.replicates), places, race.slack))
        case "asha" | "median":
            from sweeper.search.pruning import Pruner  # noqa: PLC0415  # Optuna takes half a second to import

            return Pruned(posed, Pruner(name, posed.horizon, posed.event.comparison == ">"))


def recorded_trials(folder: SweepFolder, spec: SweepSpec) -> tuple[list[RecordedTrial], int]:
    """The trials of the baselines and the search with whole curves, in order; and the number of those without."""
    trained = with_curves(records(folder, "SELECT trial, phase, name, state FROM trials ORDER BY trial"))
    whole = [row for row in trained if row["state"] == "finished"]
    wanted = ", ".join(str(row["trial"]) for row in whole) or "NULL"
    clock, metric = COLUMN[spec.objective.minimize], spec.objective.event.metric
    found = query(
        folder,
        f"""
        SELECT trial, operation, replicate, step, "{clock}"::DOUBLE AS clock,
               coalesce("{metric}"::DOUBLE, 'nan') AS metric
        FROM curves
        WHERE trial IN ({wanted}) ORDER BY trial, operation, replicate, step
        """,
    )
    columns = {name: numbers(found[name]) for name in found.column_names if name != "operation"}
    columns["operation"] = np.array(found["operation"].to_pylist())
    begins = np.searchsorted(columns["trial"], [row["trial"] for row in whole], "left")
    ends = np.searchsorted(columns["trial"], [row["trial"] for row in whole], "right")
    recorded = [
        _recorded(row["trial"], {name: each[begin:end] for name, each in columns.items()}, spec, row["phase"])
        for row, begin, end in zip(whole, begins, ends, strict=True)
        if end > begin
    ]
    return recorded, len(trained) - len(whole)


def _recorded(number: int, columns: Columns, spec: SweepSpec, phase: str) -> RecordedTrial:
    """One trial's rows as arrays [operation, replicate, evaluation], padded with the last evaluation of each run."""
    objective = spec.objective
    shape = (len(spec.task.operations), objective.replicates, -(-objective.horizon // objective.evaluate_every))
    elapsed, spent, metric = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    last, reached = np.zeros(shape[:2], dtype=np.int64), np.zeros(shape[:2], dtype=np.bool_)
    for o, operation in enumerate(spec.task.operations):
        for r in range(objective.replicates):
            mine = (columns["operation"] == operation) & (columns["replicate"] == r)
            run = {name: each[mine] for name, each in columns.items()}
            if not mine.any():
                continue
            watch, times = _watch_run(run, spec)
            end = watch.evaluations - 1
            last[o, r], reached[o, r] = end, watch.reached is not None
            at = np.minimum(np.arange(shape[2]), end)
            elapsed[o, r] = np.array(times)[at]
            spent[o, r], metric[o, r] = run["step"][at], run["metric"][at]
    return RecordedTrial(number, last, elapsed, spent, metric, reached, phase == "baseline")


def _watch_run(run: Columns, spec: SweepSpec) -> tuple[Watch, list[float]]:
    """A run that was watched to its end, and after each evaluation its time (see `Watch`), at most the limit."""
    watch, times = spec.objective.watch(), []
    clocks = np.minimum(run["clock"], spec.limit())
    for step, value, clock in zip(run["step"].tolist(), run["metric"].tolist(), clocks.tolist(), strict=True):
        watch.see(step, value, True, 0.0, clock)
        times.append(watch.time)
    return watch, times


def _value(trial: RecordedTrial, posed: Question) -> float:
    return trial.value(posed, 0, posed.replicates, trial.elapsed.shape[2] - 1)


def render(found: Replay) -> RenderableType:
    """The replay for people."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("rule", "steps", "of none", "stopped", "winner"):
        table.add_column(heading, justify="left" if heading in ("rule", "winner") else "right")
    uncapped = next((each.steps for each in found.results if each.rule == "none"), None)
    for each in found.results:
        winner = (
            "kept"
            if not each.winner_stopped
            else "stopped; " + (f"trial {each.chosen} would have won" if each.chosen is not None else "every trial was")
        )
        share = "" if not uncapped else f"{each.steps / uncapped:.0%}"
        table.add_row(each.rule, f"{each.steps:,}", share, f"{each.stopped} of {found.trials}", winner)
    at_once = "one at a time" if found.at_once == 1 else f"{found.at_once} at once"
    head = f"{plural(found.trials, 'trial')}, {at_once}; trial {found.winner} is the best"
    parts: list[RenderableType] = [Text(head), table]
    if found.cut:
        parts.append(Text(f"Not replayed: {plural(found.cut, 'trial')} stopped early, without whole curves."))
    if found.remade is not None:
        parts.append(Text(f"{found.remade}."))
    return Group(*parts)
