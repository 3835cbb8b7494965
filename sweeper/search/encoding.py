"""Hyperparameters as points for a Gaussian process: what lies near what, words and absent parameters included."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.search.dimensions import in_order
from sweeper.search.event_gp import Numbers, Places

_STEP = 0.15
"""Standard deviation of a step to a neighbour, in widths of a number's range."""
_CHANGED = 0.3
"""Share of the parameters that a neighbour changes besides the one that it always does."""


class Encoding:
    """Configurations as rows of D cells: a number's place in its range, from 0 to 1, or a word's index; NaN if absent.

    Choices among numbers in order are numbers: what is learned of one says something of its neighbours.

    Args:
        distributions: key -> distribution, numbers linear, logarithmic or stepped.
        optional: keys of parameters that do not apply to every configuration.
        words: keys of choices without an order, even where they are among numbers in order.
    """

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], optional: Collection[str] = (), words: Collection[str] = ()
    ):
        self.keys = tuple(distributions)
        self._distributions = tuple(distributions.values())
        self._optional = tuple(key in optional for key in self.keys)
        self._words = tuple(
            len(each.choices)
            if isinstance(each, CategoricalDistribution) and (key in words or not in_order(each.choices))
            else 0
            for key, each in distributions.items()
        )
        self._steps = tuple(_steps(each) for each in self._distributions)

    def cells(self, configurations: Sequence[Mapping[str, Any]]) -> Numbers:
        """[n, D], of configurations as Optuna has them; a key that is missing does not apply."""
        found = np.full((len(configurations), len(self.keys)), np.nan)
        for j, (key, each) in enumerate(zip(self.keys, self._distributions, strict=True)):
            having = [i for i, configuration in enumerate(configurations) if key in configuration]
            if having:
                found[having, j] = _inward(each, [configurations[i][key] for i in having], word=self._words[j] > 0)
        return found

    def values(self, cells: Numbers) -> dict[str, npt.NDArray[Any]]:
        """Key -> [n], the values of rows without absent cells."""
        return {
            key: _outward(each, cells[:, j], word=self._words[j] > 0)
            for j, (key, each) in enumerate(zip(self.keys, self._distributions, strict=True))
        }

    def configuration(self, cells: Numbers) -> dict[str, Any]:
        """The values of one row without absent cells, as Optuna has them."""
        return {
            key: each.item() if isinstance(each, np.generic) else each
            for key, (each,) in self.values(cells[None]).items()
        }

    def places(self, cells: Numbers) -> Places:
        """Points whose distances a kernel may use.

        Two words are as far apart as the ends of a range; so are a parameter that does not apply and one that is in the
        middle of its range, and a little farther from one at an end.
        """
        columns, parameter = [], []
        for j, words in enumerate(self._words):
            own = cells[:, j]
            absent = np.isnan(own)
            if words:
                block = (own[:, None] == np.arange(words)) / np.sqrt(2)
                block = np.hstack([block, absent[:, None] / np.sqrt(2)]) if self._optional[j] else block
            else:
                block = np.where(absent, 0.5, own)[:, None]
                block = np.hstack([block, absent[:, None]]) if self._optional[j] else block
            columns.append(block)
            parameter += [j] * block.shape[1]
        return Places(np.hstack(columns).astype(np.float64), np.array(parameter))

    def draw(self, rng: np.random.Generator, count: int) -> Numbers:
        """[count, D], configurations drawn evenly."""
        return self._on_steps(rng.uniform(size=(count, len(self.keys))), rng.uniform(size=(count, len(self.keys))))

    def spread(self, unit: Numbers) -> Numbers:
        """Configurations at points of the unit cube, [n, D]: for designs that fill it."""
        return self._on_steps(unit, unit)

    def near(self, rng: np.random.Generator, around: Numbers) -> Numbers:
        """A neighbour of each row: one parameter changed or a few, numbers by a step, words to any."""
        changed = rng.uniform(size=around.shape) < _CHANGED / max(around.shape[1] - 1, 1)
        changed[np.arange(len(around)), rng.integers(0, around.shape[1], len(around))] = True
        base = np.where(np.isnan(around), self.draw(rng, len(around)), around)
        size = np.maximum(_STEP, [1 / (steps - 1) if steps > 1 else 0.0 for steps in self._steps])
        moved = np.abs(base + size * rng.normal(size=around.shape))
        moved = np.clip(np.where(moved > 1, 2 - moved, moved), 0, 1)  # reflected at the ends
        return np.where(changed, self._on_steps(moved, rng.uniform(size=around.shape)), base)

    def _on_steps(self, numbers: Numbers, words: Numbers) -> Numbers:
        """Cells from places in the unit cube; `words` says which word."""
        found = numbers.copy()
        for j, (count, steps) in enumerate(zip(self._words, self._steps, strict=True)):
            if count:
                found[:, j] = np.minimum(np.floor(words[:, j] * count), count - 1)
            elif steps:
                level = np.minimum(np.floor(found[:, j] * steps), steps - 1)
                found[:, j] = level / max(steps - 1, 1)
        return found


def _steps(distribution: BaseDistribution) -> int:
    """How many values a number has; 0 for a continuous one."""
    match distribution:
        case CategoricalDistribution():
            return len(distribution.choices)
        case IntDistribution() if not distribution.log:
            return (distribution.high - distribution.low) // distribution.step + 1
        case FloatDistribution() if distribution.step is not None:
            return round((distribution.high - distribution.low) / distribution.step) + 1
    return 0


def _inward(distribution: BaseDistribution, values: Sequence[Any], *, word: bool) -> Numbers:
    if isinstance(distribution, CategoricalDistribution):
        indices = np.array([distribution.to_internal_repr(value) for value in values], dtype=np.float64)
        return indices if word else indices / (len(distribution.choices) - 1)
    assert isinstance(distribution, IntDistribution | FloatDistribution)  # Optuna has no fourth kind
    low, high, scaled = (
        _scale(distribution, np.asarray(each)) for each in (distribution.low, distribution.high, values)
    )
    return np.asarray((scaled - low) / (high - low)) if high > low else np.zeros(len(values))


def _outward(distribution: BaseDistribution, cells: Numbers, *, word: bool) -> npt.NDArray[Any]:
    if isinstance(distribution, CategoricalDistribution):
        choices = np.empty(len(distribution.choices), dtype=object)
        choices[:] = distribution.choices
        return np.asarray(choices[np.rint(cells * (1 if word else len(choices) - 1)).astype(int)])
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = (_scale(distribution, each) for each in (distribution.low, distribution.high))
    values = low + cells * (high - low)
    values = np.exp(values) if distribution.log else values
    if isinstance(distribution, IntDistribution):
        values = distribution.low + np.rint((values - distribution.low) / distribution.step) * distribution.step
        return np.asarray(values.clip(distribution.low, distribution.high).astype(np.int64))
    return np.asarray(values.clip(distribution.low, distribution.high))


def _scale(distribution: IntDistribution | FloatDistribution, values: npt.ArrayLike) -> Numbers:
    return np.asarray(np.log(values) if distribution.log else values, dtype=np.float64)
