"""A dimension of the space as Optuna knows it: what the sampler draws of a parameter, and what a record holds of it."""

import json
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.space.parameters import Choice, Float, Int


def recorded(parameter: Choice | Int | Float) -> BaseDistribution:
    """How a parameter stands in the record."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(_labels(parameter))
    if isinstance(parameter, Int):
        every = parameter.every()
        return IntDistribution(every[0], every[-1], log=parameter.log, step=every.step)
    low, high = parameter.bounds
    if parameter.step is not None:
        return FloatDistribution(low, parameter.grid()[-1], step=parameter.step)
    return FloatDistribution(low, high, log=parameter.log)


def drawn(parameter: Choice | Int | Float) -> BaseDistribution:
    """The distribution that the sampler draws from.

    Of a choice the index, which has an order where its values are numbers in order. Whole numbers and steps are drawn
    as real numbers, half a step wider on both sides, and rounded: Optuna's densities of whole numbers take ten times as
    long, and its steps miss the values of a range such as 0.1, 0.4, ... 1.0 by a binary fraction.
    """
    if isinstance(parameter, Float) and parameter.step is None:
        return recorded(parameter)
    if isinstance(parameter, Float | Int):
        every = parameter.grid() if isinstance(parameter, Float) else parameter.every()
        half = (parameter.step or 1) / 2 if len(every) > 1 else 0
        return FloatDistribution(every[0] - half, every[-1] + half, log=parameter.log)
    values = parameter.choice
    if in_order(values):
        return FloatDistribution(-0.5, len(values) - 0.5)
    return CategoricalDistribution(tuple(range(len(values))))


def stepped(parameter: Choice | Int | Float) -> BaseDistribution:
    """The distribution for the Gaussian process: whole numbers as they are, a choice as its index."""
    if not isinstance(parameter, Choice):
        return recorded(parameter)
    return IntDistribution(0, len(parameter.choice) - 1) if in_order(parameter.choice) else drawn(parameter)


def first(parameter: Choice | Int | Float) -> Any:
    """The first coordinate of a parameter: the only one where it has one."""
    return 0 if isinstance(parameter, Choice) else parameter.bounds[0]


def rounded(parameter: Choice | Int | Float, value: Any) -> Any:
    """The coordinate that was meant by what the sampler drew."""
    if isinstance(parameter, Choice):
        return min(max(round(value), 0), len(parameter.choice) - 1)
    if isinstance(parameter, Int):
        every = parameter.every()
        return every[min(max(round((value - every[0]) / every.step), 0), len(every) - 1)]
    return _on_a_step(parameter, value)


def label(parameter: Choice | Int | Float, coordinate: Any) -> Any:
    """A coordinate as the record holds it: a choice by its value, which people can read."""
    return _labels(parameter)[coordinate] if isinstance(parameter, Choice) else coordinate


def coordinate(parameter: Choice | Int | Float, label: Any) -> Any:
    """The inverse of `label`. Raises ValueError where the parameter has no such value."""
    if isinstance(parameter, Choice):
        index = next(
            (i for i, each in enumerate(_labels(parameter)) if each == label and type(each) is type(label)), None
        )
        if index is not None:
            return index
    elif isinstance(parameter, Int):
        if type(label) is int and label in parameter.every():
            return label
    elif type(label) in (int, float) and parameter.bounds[0] <= label <= parameter.bounds[1]:
        return _on_a_step(parameter, label)
    raise ValueError(f"got {label!r}, which is no value of {parameter}")


def _on_a_step(parameter: Float, value: float) -> float:
    """The nearest value of a range with steps; of one without, the value itself."""
    if parameter.step is None:
        return value
    every = parameter.grid()
    return every[min(max(round((value - every[0]) / parameter.step), 0), len(every) - 1)]


def _labels(parameter: Choice) -> list[Any]:
    """Optuna's categories: words and numbers as they are, anything else as JSON text."""
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in parameter.choice)
    return list(parameter.choice) if plain else [json.dumps(value) for value in parameter.choice]


def in_order(values: Sequence[Any]) -> bool:
    """Whether these are several numbers, from small to large or from large to small."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) == len(values) > 1 and numbers in (sorted(numbers), sorted(numbers, reverse=True))
