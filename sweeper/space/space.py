"""The search space: parameters, when they exist, and what must hold between them, met by construction.

A sampler works in fixed coordinates: one for every parameter, always present, over its whole range. `decode` turns
coordinates into a legal configuration and never fails: a parameter that does not apply is left out, and one that others
restrict is moved to the same relative place among its legal values. `encode` goes back, so that baselines can be
offered to the sampler.
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
from sweeper.space.parameters import Choice, Float, Int, nearest
from sweeper.space.parameters import place as place_of

BUILT_IN = ("width % heads == 0", "batch.min <= batch.max")
"""Requirements that hold in every space, written or not."""

_ATTEMPTS = 2000
"""Assignments tried before a space counts as having no legal configuration near the coordinates."""


Coordinates = dict[str, Any]
"""Parameter -> coordinate: the index of a choice's value, the value itself for a number."""


def condition(text: str, known: Collection[str]) -> Expression:
    """A `when` or a requirement about known hyperparameters, parsed. Raises ValueError."""
    return parse(text, known, ALIASES)


@dataclass(frozen=True)
class Space:
    """Parameters, fixed values and requirements, already checked (see `sweeper.config.checks`).

    Attributes:
        parameters: key -> parameter, in the order of the file.
        fixed: key -> value of what is not searched.
        require: conditions besides the built-in ones.
        horizon: steps in a run; schedules without a period of their own run over it.
        known: the hyperparameters that there are.
        defaults: key -> value of those that have another default than everybody's.
    """

    parameters: Mapping[str, Choice | Int | Float]
    fixed: Mapping[str, Value]
    require: Sequence[str]
    horizon: int
    known: frozenset[str] = frozenset(hyperparameters.fields())
    defaults: Mapping[str, Value] = field(default_factory=dict)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Parameters, each after those its `when` mentions. Raises ValueError for conditions that go in a circle."""
        placed: list[str] = []
        waiting = list(self.parameters)
        while waiting:
            ready = [key for key in waiting if not (self._parents(key) & set(waiting)) - {key}]
            ready = [key for key in ready if key not in self._parents(key)]
            if not ready:
                raise ValueError(f"the conditions of {', '.join(waiting)} depend on each other in a circle")
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
        """Key -> the values of a parameter that are tried against requirements."""
        return {
            key: tuple(hyperparameters.normal(key, value) for value in parameter.grid())
            for key, parameter in self.parameters.items()
        }

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {key: _as_column(grid) for key, grid in self.grids.items()}

    @cached_property
    def given(self) -> dict[str, Value]:
        """Values of the hyperparameters that are not searched: fixed ones, and defaults that are not None."""
        known = {key: value for key, value in {**self._defaults, **self.fixed}.items() if value is not None}
        return {key: hyperparameters.normal(key, value) for key, value in known.items() if key not in self.parameters}

    def decode(self, coordinates: Coordinates) -> dict[str, Value]:
        """The legal values at some coordinates: parameter -> value of every parameter that applies.

        Raises ValueError when the space has no legal configuration.
        """
        attempts = iter(range(_ATTEMPTS))
        found = self._assign(0, dict(self.given), frozenset(), coordinates, attempts)
        if found is None:
            raise ValueError("no configuration meets every requirement")
        return found

    def encode(self, values: Mapping[str, Value]) -> Coordinates | None:
        """Coordinates that decode to these values; None where the values lie outside the space."""
        coordinates: Coordinates = {}
        known = dict(self.given)
        absent: frozenset[str] = frozenset()
        for key in self.order:
            parameter = self.parameters[key]
            grid = self.grids[key]
            if not self._active(key, known, absent) or key not in values:
                coordinates[key] = len(grid) // 2 if isinstance(parameter, Choice) else grid[len(grid) // 2]
                known, absent = self._left_out(key, known), absent | {key}
                continue
            value = hyperparameters.normal(key, values[key])
            place = place_of(parameter, grid, value)
            if place is None:
                return None
            mask = self._legal(key, known)
            legal = np.flatnonzero(mask)
            if not self._meets(key, known | {key: value}):
                return None
            if not mask.all() and mask[place]:
                rank = int(np.searchsorted(legal, place))
                place = round(rank / max(len(legal) - 1, 1) * (len(grid) - 1))
                coordinates[key] = place if isinstance(parameter, Choice) else grid[place]
            else:
                coordinates[key] = place if isinstance(parameter, Choice) else value
            known[key] = value
        wanted = {key: known[key] for key in self.order if key not in absent}
        return coordinates if self.decode(coordinates) == wanted else None

    def settings(self, values: Mapping[str, Value]) -> Hyperparameters:
        """Values over fixed values over defaults, in canonical form. Raises pydantic.ValidationError."""
        return hyperparameters.canonical_form(self.complete(values), self.horizon)

    def complete(self, values: Mapping[str, Value]) -> Hyperparameters:
        """The same as it is spelt. Raises pydantic.ValidationError."""
        return hyperparameters.from_flat({**self.defaults, **self.fixed, **values})

    def grid(self, limit: int) -> Iterator[dict[str, Value]] | None:
        """Every configuration's values, each once; None for a continuous space, or one of over `limit` points."""
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

    def impossible(self, key: str) -> list[Value]:
        """Values of a choice that no configuration can have."""
        legal = self._legal(key, self.given)
        return [value for value, fine in zip(self.grids[key], legal, strict=True) if not fine]

    @cached_property
    def _defaults(self) -> dict[str, Value]:
        everybodys = hyperparameters.to_flat(Hyperparameters())
        return {**{key: value for key, value in everybodys.items() if key in self.known}, **self.defaults}

    def _parents(self, key: str) -> set[str]:
        condition = self.conditions.get(key)
        return set(condition.names) & set(self.parameters) if condition else set()

    def _active(self, key: str, known: Mapping[str, Value], absent: frozenset[str]) -> bool:
        condition = self.conditions.get(key)
        if condition is None:
            return True
        return not condition.names & absent and condition.names <= known.keys() and bool(condition.holds(known))

    def _left_out(self, key: str, known: dict[str, Value]) -> dict[str, Value]:
        """What is known once a parameter does not apply: it has its default, where there is one."""
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
        """Give values to parameters `index` and later, nearest first, going back where nothing is left."""
        if index == len(self.order):
            return {key: known[key] for key in self.order if key not in absent}
        key = self.order[index]
        if not self._active(key, known, absent):
            left = self._left_out(key, known)
            if not self._meets(key, left):
                return None
            return self._assign(index + 1, left, absent | {key}, coordinates, attempts)
        for value in self._candidates(key, known, coordinates[key]):
            if next(attempts, None) is None:
                return None
            found = self._assign(index + 1, known | {key: value}, absent, coordinates, attempts)
            if found is not None:
                return found
        return None

    def _meets(self, key: str, known: Mapping[str, Value]) -> bool:
        """Whether the requirements about a parameter hold, as far as the values they mention are known."""
        about = [each for each in self.requirements if key in each.names and each.names <= known.keys()]
        return all(bool(each.holds(known)) for each in about)

    def _candidates(self, key: str, known: Mapping[str, Value], coordinate: Any) -> Iterator[Value]:
        """Legal values of a parameter, the one at the coordinate's relative place first, then its neighbours."""
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
        place = coordinate if isinstance(parameter, Choice) else nearest(grid, coordinate)
        target = place / max(len(grid) - 1, 1) * max(len(legal) - 1, 0)
        for rank in sorted(range(len(legal)), key=lambda rank: abs(rank - target)):
            yield grid[legal[rank]]

    def _legal(self, key: str, known: Mapping[str, Value]) -> npt.NDArray[np.bool_]:
        """Which values of the grid leave every requirement satisfiable, looking one parameter ahead."""
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
    """[n, 1]; values that are not numbers or words are kept as objects."""
    plain = all(isinstance(value, int | float | str) for value in values)
    if plain and len({isinstance(value, str) for value in values}) == 1:
        return np.asarray(values)[:, None]
    column = np.empty((len(values), 1), dtype=object)
    for i, value in enumerate(values):
        column[i, 0] = value
    return column
