"""What `search.py` searches: tables of whole curves, recorded ones and made-up ones of the same structure.

A table is a finite space and, for each of its configurations, the curves of every replicate. A tuner that asks for a
configuration is given its recorded curves; nothing is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from optuna.distributions import CategoricalDistribution

from sweeper.config.loading import load
from sweeper.folder.layout import SweepFolder
from sweeper.report.replay import question, recorded_trials
from sweeper.results.parts import whole
from sweeper.results.query import query
from sweeper.search import dimensions
from sweeper.search.encoding import Encoding
from sweeper.search.simulation import Question, RecordedTrial
from sweeper.space.hyperparameters import Hyperparameters, identity, to_flat
from sweeper.space.parameters import Choice, Int, Value
from sweeper.space.space import Space

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Table:
    """A finite space with curves.

    Attributes:
        name: for figures.
        space: the space that tuners search.
        question: event, horizon and replicates.
        trials: identity of a configuration -> its curves.
        encoding: of the space's parameters as cells; cells: of each trial, [D].
        signals: trial -> [O, R, E, S], what a model of curves may look at; losses and norms as logarithms.
        shares: which of the S signals are shares.
    """

    name: str
    space: Space
    question: Question
    trials: Mapping[str, RecordedTrial]
    signals: Mapping[int, np.ndarray]
    encoding: Encoding
    cells: Mapping[int, np.ndarray]
    shares: tuple[int, ...] = (0,)

    def trial(self, settings: Hyperparameters) -> RecordedTrial:
        """A configuration's curves."""
        return self.trials[identity(settings, self.space.horizon)]

    @cached_property
    def free(self) -> tuple[str, ...]:
        """Parameters that the others do not determine: all that a tuner without conditions and requirements needs."""
        values = list(self.space.grid(100_000) or ())
        keys = list(self.space.parameters)
        for key in list(keys):
            others = [each for each in keys if each != key]
            if len({tuple(each.get(other) for other in others) for each in values}) == len(values):
                keys = others
        return tuple(keys)

    @cached_property
    def _by_values(self) -> dict[tuple[Value | None, ...], RecordedTrial]:
        values = self.space.grid(100_000) or ()
        return {tuple(each.get(key) for key in self.free): self.trial(self.space.settings(each)) for each in values}

    def at(self, values: Mapping[str, Value]) -> RecordedTrial:
        """The curves of the configuration that has these values of the free parameters."""
        return self._by_values[tuple(values[key] for key in self.free)]

    @cached_property
    def truths(self) -> dict[int, float]:
        """Trial -> log of its restricted mean time, mean over operations."""
        return {
            trial.number: float(
                np.log(np.where(trial.reached, trial.elapsed[:, :, -1], self.question.limit).mean(1)).mean()
            )
            for trial in self.trials.values()
        }

    @cached_property
    def best(self) -> int:
        """The trial with the smallest truth."""
        return min(self.truths, key=self.truths.__getitem__)

    @cached_property
    def cost(self) -> float:
        """Steps that an average configuration trains to its end, over all its runs."""
        return float(np.mean([trial.spent[:, :, -1].sum() for trial in self.trials.values()]))


def _encoding(space: Space) -> Encoding:
    drawn = {key: dimensions.stepped(each) for key, each in space.parameters.items()}
    words = [key for key, each in drawn.items() if isinstance(each, CategoricalDistribution)]
    return Encoding(drawn, words=words)


def _cells(space: Space, numbers: Mapping[str, int]) -> dict[int, np.ndarray]:
    """Of the configurations that have numbers, by their identities."""
    found = {}
    for values in space.grid(100_000) or ():
        number = numbers.get(identity(space.settings(values), space.horizon))
        if number is not None:
            found[number] = _encoding(space).cells([space.encode(values) or {}])[0]
    return found


SIGNALS = ("val_accuracy", "train_accuracy", "val_loss", "train_loss", "weight_norm")


@cache
def _signals(name: str) -> dict[int, np.ndarray]:
    """Trial of a recorded table -> [operation, replicate, evaluation, signal]; a run's last values are repeated."""
    folder = SweepFolder(DATA / name)
    spec = load(folder.space).spec
    names, asked = list(spec.task.operation), spec.objective
    found: dict[int, np.ndarray] = {}
    shape = (len(names), asked.replicates, asked.horizon // asked.evaluate_every, len(SIGNALS))
    frame = whole(folder, "curves", ["trial", "operation", "replicate", "step", *SIGNALS]).to_pandas()
    for (trial, operation, replicate), run in frame.groupby(["trial", "operation", "replicate"]):
        values = run.sort_values("step")[list(SIGNALS)].to_numpy(dtype=np.float64, copy=True)
        values[:, 2:] = np.log(values[:, 2:])
        at = np.minimum(np.arange(shape[2]), len(values) - 1)
        found.setdefault(trial, np.zeros(shape))[names.index(operation), replicate] = values[at]
    return found


def half(table: Table, seed: int) -> Table:
    """A random half of a table: of the parameter with the most choices, or the next, half of them."""
    rng = np.random.default_rng([seed, 77])
    choices = {key: each.choice for key, each in table.space.parameters.items() if isinstance(each, Choice)}
    key = rng.choice(sorted(choices, key=lambda key: len(choices[key]))[-2:])
    kept = np.sort(rng.permutation(len(choices[key]))[: len(choices[key]) // 2])
    part = Choice(choice=tuple(choices[key][i] for i in kept))
    space = replace(table.space, parameters={**table.space.parameters, key: part})
    cells = _cells(space, {name: trial.number for name, trial in table.trials.items()})
    trials = {name: trial for name, trial in table.trials.items() if trial.number in cells}
    name = f"{table.name}, half"
    return replace(table, name=name, space=space, trials=trials, encoding=_encoding(space), cells=cells)


@cache
def recorded(name: str, operations: tuple[str, ...] = ()) -> Table:
    """A recorded table, by its folder; of some operations or, by default, of all."""
    folder = SweepFolder(DATA / name)
    loaded = load(folder.space)
    names = loaded.spec.task.operation
    kept = [names.index(each) for each in operations or names]
    trials, _ = recorded_trials(folder, loaded.spec)
    identities = {
        row["trial"]: row["identity"] for row in query(folder, "SELECT trial, identity FROM trials").to_pylist()
    }
    some = {
        identities[each.number]: RecordedTrial(
            each.number, each.last[kept], each.elapsed[kept], each.spent[kept], each.metric[kept], each.reached[kept]
        )
        for each in trials
    }
    signals = {number: each[kept] for number, each in _signals(name).items()}
    encoding, cells = _encoding(loaded.space), _cells(loaded.space, {name: t.number for name, t in some.items()})
    return Table(
        " ".join((name, *operations)), loaded.space, question(loaded.spec), some, signals, encoding, cells, (0, 1)
    )


SYNTHETIC = {
    "batch.shape": Choice(choice=("constant", "linear", "geometric", "logarithmic", "doubling", "cyclic")),
    "batch.max": Choice(choice=(64, 128, 512)),
    "weight_decay": Choice(choice=(0.01, 0.03, 0.1, 0.3)),
    "depth": Int(int=(1, 2)),
    "heads": Choice(choice=(2, 4, 8)),
}
_EFFECTS = {"batch.shape": 0.15, "batch.max": 0.2, "weight_decay": 0.1, "depth": 0.2, "heads": 0.12}
"""Standard deviation of a value's effect on the log of the time."""
_INTERACTION, _NOISE, _CURVATURE = 0.06, 0.2, 0.3
_FASTEST = 0.25
"""The best configuration's time, in horizons."""
_HORIZON, _EVERY, _REPLICATES = 7500, 75, 5


_DENSE = SYNTHETIC | {
    "batch.max": Choice(choice=(64, 96, 128, 192, 256, 384, 512)),
    "weight_decay": Choice(choice=(0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)),
}
_SPACES = {"synthetic": SYNTHETIC, "dense": _DENSE}
_OPTIMUM = 0.75
"""How much the log of the time rises over the whole range of a parameter of `dense` that has an optimum."""


@cache
def _listed(name: str) -> tuple[Space, list[tuple[str, dict[str, int]]], dict[int, np.ndarray]]:
    """A made-up space, for each configuration its identity and the index of each value, and all cells."""
    parameters = _SPACES[name]
    fixed = {"width": 128, "batch.min": 32, "batch.period": 4000, "batch.doubling_steps": 1000, "batch.cycles": 3}
    space = Space(parameters, fixed, (), _HORIZON)
    found = []
    for values in space.grid(100_000) or ():
        settings = space.settings(values)
        flat = to_flat(settings)
        index = {key: list(parameter.grid()).index(flat[key]) for key, parameter in parameters.items()}
        found.append((identity(settings, _HORIZON), index))
    return space, found, _cells(space, {name: i for i, (name, _) in enumerate(found)})


SYNTHETIC_KINDS = ("synthetic", "synthetic, telling", "synthetic, misleading", "dense", "dense, telling")


def synthetic(seed: int, kind: str = "synthetic") -> Table:
    """A made-up landscape: main effects, interactions, optima; curves creep to a height and jump.

    Args:
        seed: of the landscape.
        kind: `synthetic`: 432 configurations, five seeds each, whose mean is the time. `dense`: 2,520, many of them
            near the best, as where parameters are continuous; batch and decay have an optimum each, nothing interacts,
            and the noise of the three seeds of a configuration cancels, so that the best is not the luckiest.
            By themselves heights say nothing about the time of the jump; `telling`: the higher the earlier, with noise
            of half the spread; `misleading`: so for the slower six sevenths, and the other way for the fastest.
    """
    rng = np.random.default_rng(seed)
    name, _, curves = kind.partition(", ")
    dense = name == "dense"
    space, listed, cells = _listed(name)
    sizes = {key: len(list(parameter.grid())) for key, parameter in _SPACES[name].items()}
    effects = {key: rng.normal(0, _EFFECTS[key], size) for key, size in sizes.items()}
    if dense:
        for key in ("batch.max", "weight_decay"):
            effects[key] = _OPTIMUM * (np.linspace(0, 1, sizes[key]) - rng.uniform(0.1, 0.9)) ** 2
    else:
        middle = rng.uniform(0.5, 2.5)
        effects["weight_decay"] += _CURVATURE * (np.arange(4) - middle) ** 2 / 2
    keys = list(sizes)
    pairs = [(a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]]
    spread = 0.0 if dense else _INTERACTION
    together = {(a, b): rng.normal(0, spread, (sizes[a], sizes[b])) for a, b in pairs}
    logs = np.array(
        [
            sum(effects[key][index[key]] for key in keys) + sum(together[a, b][index[a], index[b]] for a, b in pairs)
            for _, index in listed
        ]
    )
    logs += np.log(_FASTEST * _HORIZON) - logs.min()
    event = load(DATA / "modular-23" / "space.yaml").spec.objective.event
    asked = Question(event, float(_HORIZON), _HORIZON, _EVERY, 3 if dense else _REPLICATES)
    noise = rng.normal(0, _NOISE, (len(logs), asked.replicates))
    if dense:
        noise = (noise - noise.mean(1, keepdims=True)) * np.sqrt(1.5)
    times = np.exp(logs[:, None] + noise)
    heights = rng.uniform(0.05, 0.7, times.shape)
    if curves:
        place = (np.log(times) - np.log(times).mean()) / np.log(times).std()
        if curves == "misleading":
            place = np.where(place < np.quantile(place, 0.15), -place, place)
        heights = np.clip(0.4 - 0.2 * (place + rng.normal(0, 0.5, times.shape)), 0.02, 0.8)
    trials = {name: _made_up(i, times[i], heights[i]) for i, (name, _) in enumerate(listed)}
    signals = {each.number: each.metric[..., None] for each in trials.values()}
    return Table(kind, space, asked, trials, signals, _encoding(space), cells)


def _made_up(number: int, times: np.ndarray, heights: np.ndarray) -> RecordedTrial:
    """Curves that creep up to a height of their own and jump at the time."""
    steps = np.arange(_EVERY, _HORIZON + 1, _EVERY)
    reached = times <= _HORIZON
    last = np.where(reached, np.minimum(np.ceil(times / _EVERY).astype(np.int64), len(steps)) - 1, len(steps) - 1)
    at = np.minimum(np.arange(len(steps)), last[:, None])
    clock = steps[at].astype(np.float64)
    creep = heights[:, None] * (1 - np.exp(-clock / 1500))
    metric = np.where((at == last[:, None]) & reached[:, None], 1.0, creep)
    return RecordedTrial(number, last[None], clock[None], clock[None].copy(), metric[None], reached[None])
