"""How much each searched parameter has to do with being among the best trials: Optuna's PED-ANOVA.

It compares where the best trials lie with where all trials lie, so that it matters little that a sampler tries good
regions more often (Watanabe et al. 2023, arXiv:2304.10255); parameters that only some trials have are weighed by how
many have them (2026, arXiv:2601.20800). It is the one evaluator of Optuna's that needs no scikit-learn.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

from sweeper.search import dimensions
from sweeper.space import hyperparameters
from sweeper.space.hyperparameters import Value
from sweeper.space.parameters import Choice, Float, Int, nearest

FEWEST = 20
"""Trials below which importances would be noise."""
_SHARE, _BEST = 0.1, 5
"""Share of the trials that count as the best, and how many do at least."""


@dataclass(frozen=True)
class Importances:
    """The importance of parameters for being among the best trials.

    Attributes:
        shares: parameter -> its share of all importance, the largest first; they add up to 1.
        having: parameter -> how many of the trials have it: a conditional one does not apply to all.
        trials: how many trials they rest on.
        best: how many of these count as the best.
    """

    shares: Mapping[str, float]
    having: Mapping[str, int]
    trials: int
    best: int


def importances(
    parameters: Mapping[str, Choice | Int | Float], trials: Sequence[tuple[Mapping[str, Value], float]]
) -> Importances | None:
    """Weigh the parameters of a space.

    Args:
        parameters: key -> parameter.
        trials: the values of the parameters that apply to a trial, and the value reported to the sampler. Trials
            outside the space, such as some baselines, are left out.

    Returns None for fewer than `FEWEST` trials, and where no trials are better than the others.
    """
    distributions = {key: dimensions.recorded(parameter) for key, parameter in parameters.items()}
    inside: list[FrozenTrial] = []
    for values, value in trials:
        places = {key: coordinate_of(key, parameters[key], each) for key, each in values.items()}
        if math.isfinite(value) and None not in places.values():
            labels = {key: dimensions.label(parameters[key], place) for key, place in places.items()}
            mine = {key: distributions[key] for key in labels}
            inside.append(create_trial(value=value, params=labels, distributions=mine))
    if len(inside) < FEWEST:
        return None
    share = max(_SHARE, _BEST / len(inside))
    cutoff = sorted(trial.value for trial in inside if trial.value is not None)[math.ceil(share * len(inside)) - 1]
    best = sum(trial.value is not None and trial.value <= cutoff for trial in inside)
    if best == len(inside):
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    study.add_trials(inside)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that hardly any trial has: `having` says so
        found = PedAnovaImportanceEvaluator(target_quantile=share).evaluate(study)
    total = sum(found.values())
    if total == 0:
        return None
    having = {key: sum(key in trial.params for trial in inside) for key in found}
    shares = dict(sorted(((key, each / total) for key, each in found.items()), key=lambda pair: (-pair[1], pair[0])))
    return Importances(shares, {key: having[key] for key in shares}, len(inside), best)


def coordinate_of(key: str, parameter: Choice | Int | Float, value: Value) -> Value | None:
    """Where a value from the tables lies in its parameter: of a choice the index; None outside of it."""
    if isinstance(parameter, Choice):
        choices = [_plain(hyperparameters.normalize(key, each)) for each in parameter.choice]
        return choices.index(_plain(value)) if _plain(value) in choices else None
    if isinstance(parameter, Int):
        return value if value in parameter.every() else None
    low, high = parameter.bounds
    if not low <= value <= high:
        return None
    if parameter.step is None:
        return value
    at = parameter.grid()[nearest(parameter.grid(), value)]
    return at if math.isclose(at, value, rel_tol=1e-9, abs_tol=1e-12) else None


def _plain(value: Value) -> Value:
    """Lists as tuples: tables have the ones, spaces may have the others."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value
