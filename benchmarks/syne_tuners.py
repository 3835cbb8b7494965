"""Syne Tune's asynchronous successive halving with a model, as a tuner of `search.py`.

Needs `pip install syne-tune==0.16.0 huggingface_hub`. MOBSTER and DyHPO left Syne Tune before 0.16; its searcher for
several fidelities now is conformalised quantile regression (Salinas et al. 2023, arXiv:2305.03623).
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint
from syne_tune.optimizer.baselines import ASHACQR
from syne_tune.optimizer.scheduler import SchedulerDecision

from benchmarks.tables import Table
from sweeper.search.simulation import Ended, RecordedTrial, Uncapped
from sweeper.space.parameters import Choice


class SyneTune:
    """Its ASHA with that searcher, told at every evaluation how high a trial's curves are, or how early they arrived.

    A run's score is its validation accuracy before the event, and afterwards 1 plus the share of the horizon that it
    did not need: one metric that says both. The scheduler gets the mean over the runs.

    Args:
        grace: first rung, in horizons; later ones by factors of 4, as Ray's ASHA has them.
    """

    def __init__(self, table: Table, seed: int, grace: float):
        self._table = table
        evaluations = table.question.horizon // table.question.every
        space = {
            key: choice(list(each.choice)) if isinstance(each, Choice) else randint(*each.bounds)  # type: ignore[union-attr]
            for key, each in table.space.parameters.items()
            if key in table.free
        }
        scheduler = ASHACQR(
            space,
            metric="score",
            do_minimize=False,
            time_attr="evaluation",
            max_t=evaluations,
            grace_period=max(round(grace * evaluations), 1),
            reduction_factor=4,
            random_seed=seed,
        )
        self.rule = _Scheduled(table, scheduler)
        self._scheduler = scheduler

    def ask(self) -> RecordedTrial | None:
        """Its suggestion; it may have been run already, and then is run again."""
        values: dict[str, Any] = self._scheduler.suggest().config
        trial = replace(self._table.at(values))
        self.rule.begin(trial, values)
        return trial

    def tell(self, ended: Ended) -> None:
        """Nothing more: the scheduler was told when the trial ended."""


class _Scheduled(Uncapped):
    """Stops the trials that the scheduler stops."""

    def __init__(self, table: Table, scheduler: ASHACQR):
        super().__init__(table.question)
        self._scheduler, self._horizon = scheduler, table.question.limit
        self._running: dict[RecordedTrial, Trial] = {}
        self._begun = 0

    def begin(self, trial: RecordedTrial, values: dict[str, Any]) -> None:
        """A trial that was suggested."""
        mine = self._running[trial] = Trial(self._begun, values, datetime.now(tz=UTC))
        self._begun += 1
        self._scheduler.on_trial_add(mine)

    def stops(self, trial: RecordedTrial, stage: int, evaluation: int) -> bool:
        """What the scheduler says to a result."""
        decision = self._scheduler.on_trial_result(self._running[trial], self._result(trial, evaluation))
        return bool(decision == SchedulerDecision.STOP)

    def ended(self, trial: RecordedTrial, stage: int, evaluation: int, stopped: bool) -> float:
        """Tell the scheduler."""
        mine = self._running.pop(trial)
        if not stopped:
            self._scheduler.on_trial_complete(mine, self._result(trial, evaluation))
        return super().ended(trial, stage, evaluation, stopped)

    def _result(self, trial: RecordedTrial, evaluation: int) -> dict[str, Any]:
        arrived = trial.reached & (trial.last <= evaluation)
        score = np.where(arrived, 2 - trial.elapsed[:, :, -1] / self._horizon, trial.metric[:, :, evaluation])
        return {"evaluation": evaluation + 1, "score": float(np.nanmean(score))}
