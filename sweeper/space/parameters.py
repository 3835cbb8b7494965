"""The three kinds of parameter in a search space: a choice, an integer, a real number."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from sweeper.space.hyperparameters import Value

Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
_MOST_STEPS = 10_000
_FINEST = 1001
"""Grid points of a float, or of an int with a wide range, that takes part in a requirement."""


class _Parameter(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True, populate_by_name=True
    )

    when: str | None = Field(None, description="Condition under which the parameter exists.")


class Choice(_Parameter):
    """One of a list of values."""

    choice: tuple[Value, ...] = Field(min_length=1, max_length=1000, strict=False, description="The values, each once.")

    @model_validator(mode="after")
    def _distinct(self) -> "Choice":
        if len({repr(value) for value in self.choice}) < len(self.choice):
            raise ValueError(f"got {list(self.choice)}; list each value once")
        return self

    def grid(self) -> tuple[Value, ...]:
        """The values that requirements are checked on: all of them."""
        return self.choice

    def every(self) -> Sequence[Value]:
        """All legal values."""
        return self.choice


class _Range(_Parameter):
    log: bool = Field(False, description="Search the logarithm of the value.")

    def _check(self, low: float, high: float, step: float | None) -> None:
        if low > high:
            raise ValueError(f"got [{low}, {high}]; write the smaller bound first")
        if self.log and low <= 0:
            raise ValueError(f"got [{low}, {high}] with log: true; the logarithm needs bounds above 0")
        if self.log and step is not None:
            raise ValueError("got both log and step; choose one")
        if step is not None and step > high - low:
            raise ValueError(f"got step {step}, wider than the range [{low}, {high}]")
        if isinstance(step, float) and (high - low) / step > _MOST_STEPS:
            count = f"{(high - low) / step:,.0f}"
            raise ValueError(f"got step {step}, which makes {count} values; at most {_MOST_STEPS:,}, or leave it out")


class Int(_Range):
    """An integer between two bounds, both included."""

    bounds: tuple[Whole, Whole] = Field(alias="int", strict=False, description="[smallest, largest].")
    step: Annotated[Whole, Field(ge=1)] | None = Field(None, description="Distance between values; 1 by default.")

    @model_validator(mode="after")
    def _legal(self) -> "Int":
        self._check(*self.bounds, self.step)
        return self

    def every(self) -> range:
        """All legal values."""
        low, high = self.bounds
        return range(low, high + 1, self.step or 1)

    def grid(self) -> tuple[int, ...]:
        """All legal values, or `_FINEST` evenly spaced ones if there are many more."""
        (low, high), every = self.bounds, self.every()
        if len(every) <= 4 * _FINEST:
            return tuple(every)
        if self.log:
            spread = np.geomspace(low, high, _FINEST)
            return tuple(
                dict.fromkeys(every[min(round((value - low) / every.step), len(every) - 1)] for value in spread)
            )
        return tuple(every[int(i)] for i in np.linspace(0, len(every) - 1, _FINEST))


class Float(_Range):
    """A real number between two bounds, both included."""

    bounds: tuple[float, float] = Field(alias="float", strict=False, description="[smallest, largest].")
    step: Annotated[float, Field(gt=0)] | None = Field(None, description="Distance between values.")

    @model_validator(mode="after")
    def _legal(self) -> "Float":
        self._check(*self.bounds, self.step)
        return self

    def every(self) -> Sequence[float] | None:
        """All legal values of a stepped range; None for a continuous one."""
        return None if self.step is None else self.grid()

    def grid(self) -> tuple[float, ...]:
        """All legal values of a stepped range; otherwise `_FINEST` evenly spaced ones."""
        low, high = self.bounds
        if self.step is not None:
            return _decimals(low, high, self.step)
        space = np.geomspace if self.log else np.linspace
        return tuple(float(value) for value in space(low, high, _FINEST).clip(low, high))


@lru_cache
def _decimals(low: float, high: float, step: float) -> tuple[float, ...]:
    """`low`, `low + step`, ... up to `high`, as they are written: 0.1 + 2 x 0.3 is 0.7, not 0.7000000000000001."""
    first, last, distance = (Decimal(repr(number)) for number in (low, high, step))
    return tuple(float(first + i * distance) for i in range(int((last - first) / distance) + 1))


def _kind(value: Any) -> str | None:
    kinds: dict[type, str] = {Choice: "choice", Int: "int", Float: "float"}
    if isinstance(value, Mapping):
        return next((kind for kind in kinds.values() if kind in value), None)
    return kinds.get(type(value))


Parameter = Annotated[
    Annotated[Choice, Tag("choice")] | Annotated[Int, Tag("int")] | Annotated[Float, Tag("float")],
    Discriminator(
        _kind,
        custom_error_type="parameter",
        custom_error_message="write {choice: [..]}, {int: [low, high]} or {float: [low, high]}",
    ),
]


def nearest(grid: Sequence[float], value: float) -> int:
    """Index of the grid value nearest to a number."""
    return int(np.abs(np.asarray(grid, dtype=np.float64) - value).argmin())


def index_of(parameter: Choice | Int | Float, grid: Sequence[Value], value: Value) -> int | None:
    """Index of a value on the grid, or of the nearest grid value; None if the parameter does not allow the value."""
    if isinstance(parameter, Choice):
        return next((i for i, each in enumerate(grid) if each == value and type(each) is type(value)), None)
    low, high = parameter.bounds
    if isinstance(value, bool | str) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    index = nearest(grid, value)
    if isinstance(parameter, Int):
        return index if value in parameter.every() else None
    return index if parameter.step is None or np.isclose(grid[index], value) else None
