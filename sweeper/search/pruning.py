"""Rules that stop trials by the height of their learning curve: ASHA and the median, by Optuna's own pruners.

They are here to be measured (`sweeper replay`), and for those who want ASHA all the same. On curves that stay at chance
and then jump, neither can tell a late bloomer from a failure.
"""

import math
from typing import Literal

import optuna
from optuna.trial import Trial, TrialState

Rule = Literal["asha", "median"]

_RUNGS = 3
_FACTOR = 4
"""ASHA keeps a quarter at each rung (Li et al. 2020): at 1/64 of the horizon, rounded down, and at every fourfold of
that before the horizon. A horizon of 64 steps or more has three rungs where 64 divides it, and four where it does not.
"""


class Pruner:
    """One rule at work on one sweep.

    Args:
        rule: `asha` (asynchronous successive halving, Li et al. 2020, arXiv:1810.05934) or `median` (Golovin et al.
            2017: stop below the median of what finished trials had at that step, after five have finished).
        horizon: steps in a run.
        larger: whether a larger score is better.
    """

    def __init__(self, rule: Rule, horizon: int, larger: bool):
        pruner: optuna.pruners.BasePruner = (
            optuna.pruners.SuccessiveHalvingPruner(max(horizon // _FACTOR**_RUNGS, 1), _FACTOR)
            if rule == "asha"
            else optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=horizon // _FACTOR**_RUNGS)
        )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._horizon = horizon
        self._study = optuna.create_study(direction="maximize" if larger else "minimize", pruner=pruner)
        self._trials: dict[int, Trial] = {}

    @property
    def rungs(self) -> list[int]:
        """The steps at which ASHA compares trials, those before the horizon."""
        first = max(self._horizon // _FACTOR**_RUNGS, 1)
        return [first * _FACTOR**k for k in range(_RUNGS + 1) if first * _FACTOR**k < self._horizon]

    def stops(self, number: int, step: int, score: float) -> bool:
        """Whether a trial whose curve has that score at that step is to train no further."""
        if math.isnan(score):
            return False
        if number not in self._trials:
            self._trials[number] = self._study.ask()
        trial = self._trials[number]
        trial.report(score, step)
        return trial.should_prune()

    def ended(self, number: int, score: float, stopped: bool) -> None:
        """Take in the last score of a trial that trains no further; NaN where it has none."""
        trial = self._trials.pop(number, None)
        if trial is None:
            return
        if stopped or math.isnan(score):
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, score)
