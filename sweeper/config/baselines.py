"""Checks baselines for names that do not lead to a trial of their own. Sweeps that are only read skip this check."""

from collections.abc import Iterator

from sweeper.config.model import SweepSpec
from sweeper.config.reader import KeyPath
from sweeper.space import hyperparameters
from sweeper.space.hyperparameters import Hyperparameters


def ambiguous_names(spec: SweepSpec) -> Iterator[tuple[KeyPath, str]]:
    """(key path, message) of baselines whose name is a trial's number, or whose configuration is another baseline's.

    Args:
        spec: without other mistakes.
    """
    space = spec.space
    trained: dict[str, str] = {}
    spelt: dict[str, Hyperparameters] = {}
    for name, values in spec.baselines.items():
        path: KeyPath = ("baselines", name)
        if name.isdecimal():
            yield path, f"got the name {name}, which means trial {name}; add a letter, as in batch-{name}"
        spelt[name] = space.complete(values)
        first = trained.setdefault(hyperparameters.identity(spelt[name], space.horizon), name)
        if first != name:
            yield path, f"is the same as {first}{_without_effect(spelt[first], spelt[name])}; keep one of the two"


def _without_effect(one: Hyperparameters, other: Hyperparameters) -> str:
    """The settings in which two configurations differ that train the same, in words."""
    mine, theirs = (hyperparameters.to_flat(each) for each in (one, other))
    keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    return f": {', '.join(keys)} {'has' if len(keys) == 1 else 'have'} no effect there" if keys else ""
