"""When will a run's event come, by its curve so far? Learned within the sweep, and trusted as far as it proved right.

Extremely randomised trees (Geurts et al. 2006) learn how much longer finished runs took. Each tree is fitted to the
runs of some configurations and tested on the others', so its errors are errors on configurations that it has not seen.
A prediction counts as a noisy sensor of the run's time: it weighs as much as predictions and outcomes were correlated,
less one standard error. Where curves say nothing, it weighs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.search.event_gp import Numbers

FEWEST = 6
"""Runs that are over before anything is learned."""
_TREES, _SHARE, _LEAF = 40, 0.7, 2
"""How many trees; the configurations that each of them sees; the least runs in a leaf."""
_FEATURES = 1 / 3
"""Features that each split chooses from."""
_LEAST = 5
"""Runs that a mark needs for its errors to be known."""
_WORTHLESS = 0.05
"""Correlation at which the curve is taken to say nothing."""
_FIRST, _GROWTH = 0.05, 1.35
_LEVELS = (0.1, 0.3, 0.6, 0.9)
"""Heights, of a share, at which the time of passing is a feature."""


def marks(evaluations: int) -> npt.NDArray[np.int64]:
    """Indices of the evaluations at which curves are judged: at 5 % of the horizon, then each time 35 % later."""
    shares = _FIRST * _GROWTH ** np.arange(np.ceil(np.log(1 / _FIRST) / np.log(_GROWTH)))
    at = np.maximum(np.round(shares * evaluations).astype(np.int64), 1) - 1
    return np.unique(np.append(at, evaluations - 1))


def features(signals: Numbers, at: npt.NDArray[np.int64], shares: Sequence[int]) -> Numbers:
    """Features of curves at some marks.

    Args:
        signals: [..., operations, E, S], what was logged at each evaluation; after a run's end its last value.
        at: [K], marks.
        shares: which of the S signals are shares, such as accuracies, between 0 and 1.

    Returns:
        [..., K, F]: level, change since half of the time, when each share passed some heights, and the time; means over
        operations.
    """
    found = []
    for mark in at:
        half = (mark + 1) // 2
        level = signals[..., max(mark - 2, 0) : mark + 1, :].mean(-2)
        before = signals[..., max(half - 3, 0) : max(half, 1), :].mean(-2)
        passed = []
        for share in shares:
            curve = signals[..., : mark + 1, share]
            for height in _LEVELS:
                above = curve >= height
                passed.append(np.where(above.any(-1), above.argmax(-1) + 1, mark + 1) / (mark + 1))
        time = np.full(level.shape[:-1], np.log(mark + 1.0))
        each = np.concatenate([level, level - before, np.stack([*passed, time], -1)], -1)
        found.append(each.mean(-2))
    return np.asarray(np.nan_to_num(np.stack(found, -2), posinf=50.0, neginf=-50.0))


@dataclass(frozen=True, eq=False)
class Curve:
    """One run as the curve model sees it.

    Attributes:
        configuration: its trial's number.
        at: [K], features at the marks that it has passed while it was going on, [K, F].
        so_far: [K], log of the time that it had trained by then.
    """

    configuration: int
    at: Numbers
    so_far: Numbers


class CurveModel:
    """Says when runs will be over.

    Args:
        curves: of runs that are over.
        log_times: when they were.
        prior: how many of them, the last ones, are of other sweeps: every tree learns from them, and none is judged
            by them.
    """

    def __init__(self, curves: Sequence[Curve], log_times: Sequence[float], prior: int = 0):
        from sklearn import config_context  # noqa: PLC0415  # takes a second
        from sklearn.tree import ExtraTreeRegressor  # noqa: PLC0415

        seen = np.concatenate([each.at for each in curves]).astype(np.float32)
        so_far = np.concatenate([each.so_far for each in curves])
        count = [len(each.so_far) for each in curves]
        target = np.repeat(np.asarray(log_times), count) - so_far
        configuration = np.repeat([each.configuration for each in curves], count)
        others = np.repeat(np.arange(len(curves)) >= len(curves) - prior, count)
        mark = np.concatenate([np.arange(each) for each in count])
        rng, known = np.random.default_rng(len(curves)), np.unique(configuration[~others])
        total, times = np.zeros(len(seen)), np.zeros(len(seen))
        self._trees = []
        with config_context(skip_parameter_validation=True):  # takes longer than to grow a tree
            for number in range(_TREES):
                some = rng.permutation(known)[: max(round(_SHARE * len(known)), 1)]
                inside = others | np.isin(configuration, some)
                tree = ExtraTreeRegressor(min_samples_leaf=_LEAF, max_features=_FEATURES, random_state=number)
                self._trees.append(tree.fit(seen[inside], target[inside], check_input=False).tree_)
                total[~inside] += self._trees[-1].predict(seen[~inside])[:, 0] if not inside.all() else 0.0
                times += ~inside
        judged = times > 0
        said = total[judged] / times[judged] + so_far[judged]
        self._sensors = _sensors(mark[judged], said, target[judged] + so_far[judged])

    def predict(self, curves: Sequence[Curve]) -> tuple[Numbers, Numbers]:
        """Log times of runs, by their last marks, and standard deviations: infinite where a curve says nothing."""
        mean, spread = np.zeros(len(curves)), np.full(len(curves), np.inf)
        sensors = [self._sensors.get(len(each.so_far) - 1) for each in curves]
        judged = [i for i, sensor in enumerate(sensors) if sensor is not None]
        if not judged:
            return mean, spread
        at = np.stack([curves[i].at[-1] for i in judged]).astype(np.float32)
        longer = np.mean([tree.predict(at)[:, 0] for tree in self._trees], axis=0)
        for i, each in zip(judged, longer, strict=True):
            sensor = sensors[i]
            if sensor is not None:
                said = each + curves[i].so_far[-1]
                mean[i] = sensor.outcome + (said - sensor.said) / sensor.slope
                spread[i] = sensor.spread
        return mean, spread


@dataclass(frozen=True)
class _Sensor:
    """The model of predictions at a mark: their mean + slope (outcome - its mean) + noise."""

    said: float
    outcome: float
    slope: float
    spread: float


def _sensors(mark: npt.NDArray[np.int64], said: Numbers, outcome: Numbers) -> dict[int, _Sensor]:
    """The sensor at each mark that enough runs have passed; neighbouring marks are pooled around means of their own."""
    means: dict[int, tuple[float, float]] = {}
    moments = {}
    for each in np.unique(mark):
        here = mark == each
        if here.sum() >= 3:
            means[int(each)] = float(said[here].mean()), float(outcome[here].mean())
            apart = np.stack([said[here] - said[here].mean(), outcome[here] - outcome[here].mean()])
            moments[int(each)] = here.sum(), apart @ apart.T
    found = {}
    for each, (said_mean, outcome_mean) in means.items():
        weights = {other: np.exp(-0.5 * (other - each) ** 2) for other in moments}
        count = sum(weights[other] * size for other, (size, _) in moments.items())
        pooled = sum(weights[other] * moment for other, (_, moment) in moments.items()) / count
        size = moments[each][0]
        (said_var, both), (_, outcome_var) = pooled
        if size < _LEAST or both <= 1e-9 or said_var <= 1e-9:
            continue
        correlation = min(both / np.sqrt(said_var * outcome_var), 0.995)
        sure = np.tanh(np.arctanh(correlation) - 1 / np.sqrt(size - 3))  # Fisher's interval: one standard error less
        if sure > _WORTHLESS:
            spread = np.sqrt(outcome_var * (1 - sure**2)) / sure
            found[each] = _Sensor(said_mean, outcome_mean, both / outcome_var, float(spread))
    return found
