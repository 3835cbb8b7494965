"""The search space: parameters, their conditions, and requirements that every configuration meets by construction.

A sampler works in fixed coordinates: one for every parameter, always present, over its whole range. `decode` turns
coordinates into a legal configuration and never fails: a parameter that does not apply is left out, and one that others
restrict is moved to the same relative position among its legal values. `encode` is the inverse, so that baselines can
be offered to the sampler.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import ALIASES
from sweeper.space.expressions import Expression, parse
from sweeper.space.hyperparameters import Hyperparameters, Value
from sweeper.space.parameters import Choice, Float, Int, index_of, nearest

BUILT_IN = ("width % heads == 0", "batch.min <= batch.max")
"""Requirements of every space."""

_ATTEMPTS = 2000
"""Partial assignments tried before a space counts as having no legal configuration near the coordinates."""


Coordinates = dict[str, Any]
"""Parameter -> coordinate: the index of a choice's value, the value itself for a number."""


def condition(text: str, known: Collection[str]) -> Expression:
    """Parse a `when` or a requirement about known hyperparameters. Raises ValueError."""
    return parse(text, known, ALIASES)


@dataclass(frozen=True)
class Space:
    """Parameters, fixed values and requirements, already checked (see `sweeper.config.checks`).

    Attributes:
        parameters: key -> parameter, in the order of the file.
        fixed: key -> value of hyperparameters that are not searched.
        require: requirements in addition to the built-in ones.
        horizon: steps in a run; also the period of schedules that have none.
        known: the names of all hyperparameters.
        defaults: key -> task-specific default, where it differs from the common one.
    """

    parameters: Mapping[str, Choice | Int | Float]
    fixed: Mapping[str, Value]
    require: Sequence[str]
    horizon: int
    known: frozenset[str] = frozenset(hyperparameters.fields())
    defaults: Mapping[str, Value] = field(default_factory=dict)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Parameters, each after those its `when` mentions. Raises ValueError for conditions that form a cycle."""
        placed: list[str] = []
        waiting = list(self.parameters)
        while waiting:
            ready = [key for key in waiting if not (self._parents(key) & set(waiting)) - {key}]
            ready = [key for key in ready if key not in self._parents(key)]
            if not ready:
                raise ValueError(f"the conditions of {', '.join(waiting)} form a cycle")
            placed.append(ready[0])
            waiting.remove(ready[0])
        return tuple(placed)

    @cached_property
    def conditions(self) -> dict[str, Expression]:
        """Key -> parsed `when`."""
        found = {key: parameter.when for key, parameter in self.parameters.items()}
        return {key: condition(text, self.known) for key, text in found.items() if text is not None}

    @cached_property
    def requirements(self) -> tuple[Expression, ...]:
        """Every requirement, built-in ones included."""
        everywhere = (text for text in BUILT_IN if condition(text, hyperparameters.fields()).names <= self.known)
        return tuple(condition(text, self.known) for text in dict.fromkeys((*self.require, *everywhere)))

    @cached_property
    def grids(self) -> dict[str, tuple[Value, ...]]:
        """Key -> the values of a parameter that requirements are checked on."""
        return {
            key: tuple(hyperparameters.normalize(key, value) for value in parameter.grid())
            for key, parameter in self.parameters.items()
        }

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {key: _as_column(grid) for key, grid in self.grids.items()}

    @cached_property
    def given(self) -> dict[str, Value]:
        """Values of the hyperparameters that are not searched: fixed ones, and defaults that are not None."""
        known = {key: value for key, value in {**self._defaults, **self.fixed}.items() if value is not None}
        return {
            key: hyperparameters.normalize(key, value) for key, value in known.items() if key not in self.parameters
        }

    def decode(self, coordinates: Coordinates) -> dict[str, Value]:
        """Turn coordinates into legal values: parameter -> value of every parameter that applies.

        With `heads: {choice: [1, 2, 4, 8]}`, width 4 and the requirement `width % heads == 0`, the legal heads are 1,
        2 and 4: index 3, the last of four, decodes to 4, the last of three.

        Raises:
            ValueError: the space has no legal configuration.
        """
        attempts = iter(range(_ATTEMPTS))
        found = self._assign(0, dict(self.given), frozenset(), coordinates, attempts)
        if found is None:
            raise ValueError("no configuration meets every requirement")
        return found

    def encode(self, values: Mapping[str, Value]) -> Coordinates | None:
        """Coordinates that decode to these values; None if the values lie outside the space."""
        coordinates: Coordinates = {}
        known = dict(self.given)
        absent: frozenset[str] = frozenset()
        for key in self.order:
            parameter = self.parameters[key]
            grid = self.grids[key]
            if not self._active(key, known, absent) or key not in values:
                coordinates[key] = len(grid) // 2 if isinstance(parameter, Choice) else grid[len(grid) // 2]
                known, absent = self._with_default(key, known), absent | {key}
                continue
            value = hyperparameters.normalize(key, values[key])
            index = index_of(parameter, grid, value)
            if index is None:
                return None
            mask = self._legal(key, known)
            legal = np.flatnonzero(mask)
            if not self._meets(key, known | {key: value}):
                return None
            if not mask.all() and mask[index]:
                rank = int(np.searchsorted(legal, index))
                index = round(rank / max(len(legal) - 1, 1) * (len(grid) - 1))
                coordinates[key] = index if isinstance(parameter, Choice) else grid[index]
            else:
                coordinates[key] = index if isinstance(parameter, Choice) else value
            known[key] = value
        wanted = {key: known[key] for key in self.order if key not in absent}
        return coordinates if self.decode(coordinates) == wanted else None

    def settings(self, values: Mapping[str, Value]) -> Hyperparameters:
        """Complete values by fixed values and defaults, in canonical form. Raises pydantic.ValidationError."""
        return hyperparameters.canonical_form(self.complete(values), self.horizon)

    def complete(self, values: Mapping[str, Value]) -> Hyperparameters:
        """Complete values by fixed values and defaults, as written. Raises pydantic.ValidationError."""
        return hyperparameters.from_flat({**self.defaults, **self.fixed, **values})

    def grid(self, limit: int) -> Iterator[dict[str, Value]] | None:
        """The values of every configuration, each once; None if the space is continuous or has over `limit` points."""
        grids = []
        for key in self.order:
            parameter = self.parameters[key]
            every = parameter.every()
            if every is None:
                return None
            grids.append(range(len(every)) if isinstance(parameter, Choice) else every)
        if math.prod(len(grid) for grid in grids) > limit:
            return None
        decoded = (self.decode(dict(zip(self.order, point, strict=True))) for point in product(*grids))
        return iter({repr(sorted(values.items())): values for values in decoded}.values())

    def impossible_values(self, key: str) -> list[Value]:
        """Values of a choice that no configuration can have."""
        legal = self._legal(key, self.given)
        return [value for value, possible in zip(self.grids[key], legal, strict=True) if not possible]

    def applicable(self, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.bool_]]:
        """Find where conditional parameters apply, for many configurations at once.

        Args:
            values: [n] for every parameter, whether it applies or not. Requirements are not considered.
        """
        size = len(next(iter(values.values())))
        known: dict[str, Any] = {**self.given, **values}
        found: dict[str, npt.NDArray[np.bool_]] = {}
        for key in self.order:
            written = self.conditions.get(key)
            if written is None:
                continue
            if not written.names <= known.keys():
                found[key] = np.zeros(size, dtype=np.bool_)
                continue
            applies = np.broadcast_to(written.holds({name: known[name] for name in written.names}), size)
            found[key] = np.logical_and.reduce([applies, *(found[name] for name in written.names & found.keys())])
        return found

    @cached_property
    def _defaults(self) -> dict[str, Value]:
        common = hyperparameters.to_flat(Hyperparameters())
        return {**{key: value for key, value in common.items() if key in self.known}, **self.defaults}

    def _parents(self, key: str) -> set[str]:
        condition = self.conditions.get(key)
        return set(condition.names) & set(self.parameters) if condition else set()

    def _active(self, key: str, known: Mapping[str, Value], absent: frozenset[str]) -> bool:
        condition = self.conditions.get(key)
        if condition is None:
            return True
        return not condition.names & absent and condition.names <= known.keys() and bool(condition.holds(known))

    def _with_default(self, key: str, known: dict[str, Value]) -> dict[str, Value]:
        """The known values plus the default, if any, of a parameter that does not apply."""
        default = self._defaults[key]
        return known if default is None else known | {key: default}

    def _assign(
        self,
        index: int,
        known: dict[str, Value],
        absent: frozenset[str],
        coordinates: Coordinates,
        attempts: Iterator[int],
    ) -> dict[str, Value] | None:
        """Give values to parameters `index` and later, nearest first, with backtracking."""
        if index == len(self.order):
            return {key: known[key] for key in self.order if key not in absent}
        key = self.order[index]
        if not self._active(key, known, absent):
            with_default = self._with_default(key, known)
            if not self._meets(key, with_default):
                return None
            return self._assign(index + 1, with_default, absent | {key}, coordinates, attempts)
        for value in self._candidates(key, known, coordinates[key]):
            if next(attempts, None) is None:
                return None
            found = self._assign(index + 1, known | {key: value}, absent, coordinates, attempts)
            if found is not None:
                return found
        return None

    def _meets(self, key: str, known: Mapping[str, Value]) -> bool:
        """Whether all requirements that mention a parameter, and only known values besides, hold."""
        about = [each for each in self.requirements if key in each.names and each.names <= known.keys()]
        return all(bool(each.holds(known)) for each in about)

    def _candidates(self, key: str, known: Mapping[str, Value], coordinate: Any) -> Iterator[Value]:
        """Legal values of a parameter, the one at the coordinate's relative position first, then its neighbours."""
        parameter = self.parameters[key]
        restricted = any(key in requirement.names for requirement in self.requirements)
        grid = self.grids[key]
        if not restricted:
            yield grid[coordinate] if isinstance(parameter, Choice) else coordinate
            return
        mask = self._legal(key, known)
        if mask.all() and not isinstance(parameter, Choice) and self._meets(key, {**known, key: coordinate}):
            yield coordinate
        legal = np.flatnonzero(mask)
        position = coordinate if isinstance(parameter, Choice) else nearest(grid, coordinate)
        target = position / max(len(grid) - 1, 1) * max(len(legal) - 1, 0)
        for rank in sorted(range(len(legal)), key=lambda rank: abs(rank - target)):
            yield grid[legal[rank]]

    def _legal(self, key: str, known: Mapping[str, Value]) -> npt.NDArray[np.bool_]:
        """Mask of the grid values that leave every requirement satisfiable, looking one parameter ahead."""
        column = self._columns[key]
        mask = np.ones(len(column), dtype=np.bool_)
        for requirement in self.requirements:
            if key not in requirement.names:
                continue
            open_names = requirement.names - known.keys() - {key}
            if not open_names:
                mask &= requirement.holds({**known, key: column[:, 0]})
            elif len(open_names) == 1:
                (other,) = open_names
                if other in self.parameters and other not in self.conditions:
                    row = self._columns[other].T
                    mask &= requirement.holds({**known, key: column, other: row}).any(axis=1)
        return mask


def _as_column(values: Sequence[Value]) -> npt.NDArray[Any]:
    """Values as an array [n, 1], of objects unless all are numbers or all are words."""
    plain = all(isinstance(value, int | float | str) for value in values)
    if plain and len({isinstance(value, str) for value in values}) == 1:
        return np.asarray(values)[:, None]
    column = np.empty((len(values), 1), dtype=object)
    for i, value in enumerate(values):
        column[i, 0] = value
    return column
