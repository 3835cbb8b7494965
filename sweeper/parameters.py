"""The three kinds of parameter of a search space: a choice, a whole number, a real number."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from sweeper.hyperparameters import Value

_FINEST = 1001
"""Values at which a float, or an int of a wide range, that takes part in a requirement is tried."""


class _Parameter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)

    when: str | None = Field(None, description="Condition under which the parameter exists.")


class Choice(_Parameter):
    """One of a list of values."""

    choice: tuple[Value, ...] = Field(min_length=1, strict=False, description="The values, each once.")

    @model_validator(mode="after")
    def _distinct(self) -> "Choice":
        if len({repr(value) for value in self.choice}) < len(self.choice):
            raise ValueError(f"got {list(self.choice)}; list each value once")
        return self

    def grid(self) -> tuple[Value, ...]:
        """Every value."""
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


class Int(_Range):
    """A whole number between two bounds, both included."""

    bounds: tuple[int, int] = Field(alias="int", strict=False, description="[smallest, largest].")
    step: Annotated[int, Field(ge=1)] | None = Field(None, description="Distance between values; 1 by default.")

    @model_validator(mode="after")
    def _legal(self) -> "Int":
        self._check(*self.bounds, self.step)
        return self

    def grid(self) -> tuple[int, ...]:
        """Every value, or `_FINEST` of them, evenly placed, when there are more."""
        low, high = self.bounds
        if len(range(low, high + 1, self.step or 1)) <= 4 * _FINEST:
            return tuple(range(low, high + 1, self.step or 1))
        space = np.geomspace if self.log else np.linspace
        return tuple(int(value) for value in np.unique(np.rint(space(low, high, _FINEST)).astype(np.int64)))


class Float(_Range):
    """A real number between two bounds, both included."""

    bounds: tuple[float, float] = Field(alias="float", strict=False, description="[smallest, largest].")
    step: Annotated[float, Field(gt=0)] | None = Field(None, description="Distance between values.")

    @model_validator(mode="after")
    def _legal(self) -> "Float":
        self._check(*self.bounds, self.step)
        return self

    def grid(self) -> tuple[float, ...]:
        """The values of a stepped range; otherwise `_FINEST` values, evenly placed."""
        low, high = self.bounds
        if self.step is not None:
            count = int((high - low) / self.step + 1e-9) + 1
            return tuple(float(low + i * self.step) for i in range(count))
        space = np.geomspace if self.log else np.linspace
        return tuple(float(value) for value in space(low, high, _FINEST).clip(low, high))


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
    """Index of the grid's value nearest to a number."""
    return int(np.abs(np.asarray(grid, dtype=np.float64) - value).argmin())


def place(parameter: Choice | Int | Float, grid: Sequence[Value], value: Value) -> int | None:
    """Index of a value on the grid; None when the parameter cannot have it."""
    if isinstance(parameter, Choice):
        return next((i for i, each in enumerate(grid) if each == value and type(each) is type(value)), None)
    low, high = parameter.bounds
    if isinstance(value, bool | str) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    index = nearest(grid, value)
    stepped = parameter.step is not None or isinstance(parameter, Int)
    return None if stepped and len(grid) <= 4 * _FINEST and not np.isclose(grid[index], value) else index
