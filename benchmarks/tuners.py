"""Who searches in `search.py`: each tuner asks for a configuration, and is told what became of it.

Ours are the product's own parts: the study with its journal, the cap, the race. Ray's OptunaSearch and ASHA and
Optuna's TPE are those packages' own classes, driven as Tune and as `ask` and `tell` drive them. Each is told the log of
the restricted mean time so far, a run that has not arrived counting as the horizon.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.samplers import GPSampler, TPESampler
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.tables import Table
from sweeper.config.model import Race, Sampler
from sweeper.report.replay import RuleName, simulated_rule
from sweeper.search import thaw_simulation
from sweeper.search.simulation import Ended, RecordedTrial, Rule, Uncapped
from sweeper.search.study import Study
from sweeper.search.thaw import Replicate, Thaw
from sweeper.space.parameters import Choice
from sweeper.stats import capping

PRIOR = 48
"""Configurations of an earlier sweep whose curves are learned from."""

TRIALS = 100
"""The budget of trials that ours are told: it says how many places matter to the cap (docs/decisions/0007)."""
STARTUP = 10
"""Random trials before a TPE begins to learn, in every tuner; Optuna's own default."""


class Tuner(Protocol):
    """What searches a table."""

    rule: Rule

    def ask(self) -> RecordedTrial | None:
        """The next configuration's curves."""
        ...

    def tell(self, ended: Ended) -> None:
        """What became of it."""
        ...


class Ours:
    """The product's study, and one of its rules for stopping."""

    def __init__(
        self, table: Table, seed: int, folder: Path, *, sampler: str, stop: RuleName, race: Race | None = None
    ):
        places = capping.places_that_matter(TRIALS, 3)
        self._table = table
        self._study = Study(
            folder / "study.journal", table.space, Sampler(name=sampler, seed=seed, startup_trials=STARTUP), places
        )
        self._numbers: dict[RecordedTrial, int] = {}
        self.rule = simulated_rule(stop, table.question, places, race or Race())

    def ask(self) -> RecordedTrial | None:
        """The study's suggestion."""
        proposal = self._study.suggest()
        if proposal is None:
            return None
        trial = self._table.trial(proposal.settings)
        self._numbers[trial] = proposal.number
        return trial

    def tell(self, ended: Ended) -> None:
        """Tell the study."""
        self._study.tell(self._numbers.pop(ended.trial), ended.reported)


def _distributions(table: Table) -> dict[str, Any]:
    return {
        key: optuna.distributions.CategoricalDistribution(each.choice)
        if isinstance(each, Choice)
        else optuna.distributions.IntDistribution(*each.bounds)  # type: ignore[union-attr]
        for key, each in table.space.parameters.items()
        if key in table.free
    }


class PlainOptuna:
    """One of Optuna's samplers with its defaults, one study in memory."""

    def __init__(self, table: Table, seed: int, sampler: type[TPESampler] | type[GPSampler]):
        self._table = table
        self.rule: Rule = Uncapped(table.question)
        self._distributions = _distributions(table)
        self._study = optuna.create_study(sampler=sampler(seed=seed, n_startup_trials=STARTUP))
        self._running: dict[RecordedTrial, optuna.Trial] = {}

    def ask(self) -> RecordedTrial | None:
        """Optuna's suggestion; it may have been run already, and then is run again."""
        asked = self._study.ask(self._distributions)
        trial = replace(self._table.at(asked.params))
        self._running[trial] = asked
        return trial

    def tell(self, ended: Ended) -> None:
        """Tell Optuna."""
        self._study.tell(self._running.pop(ended.trial), ended.reported)


class RayOptuna:
    """Ray's OptunaSearch, alone or with its asynchronous successive halving on validation accuracy.

    Args:
        grace: first rung, in horizons.
        brackets: one is ASHA; several are Ray's asynchronous Hyperband, each with one rung fewer than the last.
    """

    def __init__(self, table: Table, seed: int, grace: float | None = None, brackets: int = 1):
        self._table = table
        self._search = OptunaSearch(_distributions(table), metric="steps", mode="min", seed=seed)
        self.rule: Rule = Uncapped(table.question) if grace is None else _Asha(table, grace, brackets)
        self._running: dict[RecordedTrial, str] = {}
        self._asked = 0

    def ask(self) -> RecordedTrial | None:
        """OptunaSearch's suggestion; it may have been run already, and then is run again."""
        self._asked += 1
        name = f"trial-{self._asked}"
        trial = replace(self._table.at(self._search.suggest(name)))
        self._running[trial] = name
        return trial

    def tell(self, ended: Ended) -> None:
        """Tell OptunaSearch."""
        self._search.on_trial_complete(self._running.pop(ended.trial), {"steps": ended.reported})


class _Asha(Uncapped):
    """Ray's AsyncHyperBandScheduler on the mean validation accuracy."""

    def __init__(self, table: Table, grace: float, brackets: int):
        super().__init__(table.question)
        evaluations = table.question.horizon // table.question.every
        self._asha = AsyncHyperBandScheduler(
            metric="val_accuracy",
            mode="max",
            max_t=evaluations,
            grace_period=max(round(grace * evaluations), 1),
            brackets=brackets,
        )
        self._running: dict[RecordedTrial, SimpleNamespace] = {}

    def stops(self, trial: RecordedTrial, stage: int, evaluation: int) -> bool:
        """What the scheduler says to a result."""
        mine = self._running.get(trial)
        if mine is None:
            mine = self._running[trial] = SimpleNamespace(trial_id=object())
            self._asha.on_trial_add(None, mine)
        return bool(self._asha.on_trial_result(None, mine, self._result(trial, evaluation)) == TrialScheduler.STOP)

    def ended(self, trial: RecordedTrial, stage: int, evaluation: int, stopped: bool) -> float:
        """Tell the scheduler, and say what the search is told."""
        mine = self._running.pop(trial, None)
        if mine is not None:
            self._asha.on_trial_complete(None, mine, self._result(trial, evaluation))
        return super().ended(trial, stage, evaluation, stopped)

    def _result(self, trial: RecordedTrial, evaluation: int) -> dict[str, Any]:
        return {"training_iteration": evaluation + 1, "val_accuracy": float(trial.scores[evaluation])}


def freeze_thaw(
    table: Table, seed: int, *, learn: bool, prior: Table | None = None
) -> Callable[[int], Iterator[Ended]]:
    """Freeze-thaw over a table's configurations, all of which are candidates; the first ones at random.

    With a prior it learns from the curves of 48 random configurations of another table, too.
    """
    trials = sorted(table.trials.values(), key=lambda each: each.number)
    left = [
        thaw_simulation.Candidate(each, table.cells[each.number], table.signals[each.number], table.shares)
        for each in (trials[i] for i in np.random.default_rng(seed).permutation(len(trials)))
    ]
    thaw = Thaw(table.encoding.places, table.question.replicates, learn=learn, prior=_known(prior, seed))

    def fresh() -> list[thaw_simulation.Candidate]:
        return [each for each in left if each.trial.number not in thaw.begun]

    return lambda at_once: thaw_simulation.replay(thaw, table.question, fresh, lambda: fresh()[0], at_once)


def _known(prior: Table | None, seed: int) -> list[Replicate]:
    """All seeds of some configurations of an earlier sweep."""
    if prior is None:
        return []
    trials = sorted(prior.trials.values(), key=lambda each: each.number)
    some = np.random.default_rng([seed, 48]).permutation(len(trials))[:PRIOR]
    found = []
    for trial in (trials[i] for i in some):
        each = thaw_simulation.Candidate(trial, prior.cells[trial.number], prior.signals[trial.number], prior.shares)
        each.trained = prior.question.replicates
        found += [seen for seen in each.seen(each.trained) if len(seen.curve.so_far)]
    return found
