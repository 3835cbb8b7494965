"""The Optuna study behind a sweep: remembers every trial, survives a killed driver, and gets new ones from the sampler.

The record (`sweeper.search.storage`) is the truth about trials. A trial's parameters there are its coordinates in the
space; the configuration that it really ran and its phase are beside them. Configurations that lie outside the space, as
a baseline may, are trials without coordinates. The record holds what is trained and nothing else: a suggestion that has
been run already leaves no trace.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.config.model import Sampler
from sweeper.search import dimensions
from sweeper.search.sampler import Suggestions
from sweeper.search.storage import Description, Journal, Phase, Storage, StoredTrial
from sweeper.space import hyperparameters
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.space.parameters import Choice
from sweeper.space.space import Coordinates, Space

_LARGEST_GRID = 100_000
"""Configurations up to which a space is listed, for the grid sampler and to notice that all have been run."""
_REMEMBERED = 10_000
"""Coordinates whose configuration is remembered."""
_STUBBORN = 3
"""Suggestions in a row of configurations already run before one that has not been run is drawn from the list."""


@dataclass(frozen=True)
class Proposal:
    """A trial that the study has opened.

    Attributes:
        number: the trial's number in the study.
        settings: canonical hyperparameters.
        phase: its purpose.
        name: the baseline's name; of a confirmation the number of the trial it repeats, of a search trial that of the
            capped trial it takes up again; otherwise empty.
    """

    number: int
    settings: Hyperparameters
    phase: Phase
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A trial as it is kept in memory; of the settings JSON of what differs from the defaults."""

    phase: Phase
    name: str
    settings: str


class Study:
    """One sweep's study. One process uses it at a time.

    Args:
        storage: where trials are recorded; a path stands for a journal there.
        space: the search space.
        sampler: how the next configuration is chosen.
        places: how many of the best trials the sampler may call good (`sweeper.stats.capping`).
    """

    def __init__(self, storage: Path | Storage, space: Space, sampler: Sampler, places: int):
        self.places = places
        self._storage = Journal(storage) if isinstance(storage, Path) else storage
        self._space, self._space_key = space, _key(space)
        self._in_order = sampler.name == "grid"
        self._distributions = {key: dimensions.recorded(parameter) for key, parameter in space.parameters.items()}
        trials = self._storage.read()
        draw = dimensions.stepped if sampler.name == "gp" else dimensions.drawn
        drawn = {key: draw(parameter) for key, parameter in space.parameters.items()}
        self._suggestions = Suggestions(
            drawn, sampler, self._seen, places, earlier=len(trials), absent=self._absent if space.conditions else None
        )
        self._order = np.random.default_rng([sampler.seed, len(trials)])
        self._identity_at = lru_cache(_REMEMBERED)(self._identity_of)
        self._opened: list[_Opened] = []
        self._numbers: dict[str, int] = {}
        self._handles: dict[int, int] = {}
        self._values: dict[int, float] = {}
        for trial in trials:
            number = self._remember(trial.description)
            if trial.value is not None:
                self._values[number] = trial.value
        self._load_history([trials[number] for number in self._numbers.values()])

    def unfinished(self) -> list[Proposal]:
        """Trials that an earlier launch left unfinished."""
        return [self._proposal(number) for number in range(len(self._opened)) if number not in self._values]

    def opened(self) -> list[Proposal]:
        """Every trial that was opened, finished or not."""
        return [self._proposal(number) for number in range(len(self._opened))]

    @property
    def where(self) -> str:
        """The file or database that trials are recorded in, for messages."""
        return self._storage.where

    @property
    def trials(self) -> int:
        """Trials that were ever opened, confirmations and second starts included."""
        return len(self._opened)

    @property
    def count(self) -> int:
        """Configurations that the baselines and the search have opened."""
        return len(self._numbers)

    def values(self) -> dict[int, float]:
        """Number -> value of every finished trial of the baselines and the search that no other has taken up again."""
        current = set(self._numbers.values())
        return {number: value for number, value in self._values.items() if number in current}

    def in_space(self, number: int) -> bool:
        """Whether a trial lies in the space, so that the sampler learns from it."""
        return number in self._handles

    def suggest(self) -> Proposal | None:
        """The sampler's next configuration that has not been run; None when there is none left.

        If a configuration has been run, the sampler draws another. Its value is not reported a second time: copies of
        the best trials would crowd out the others on the sampler's good side.
        """
        for _ in range(0 if self._in_order else _STUBBORN):
            handle, drawn = self._suggestions.ask()
            if not self._seen(drawn):
                coordinates = self._rounded(drawn)
                settings = self._space.settings(self._space.decode(coordinates))
                number = self._open(coordinates, settings, "search", "")
                self._handles[number] = handle
                return Proposal(number, settings, "search")
            self._suggestions.withdraw(handle)
        settings_left = next(self._unseen, None)
        return None if settings_left is None else self.begin(settings_left, "search", "")

    def coordinates(self, number: int) -> Coordinates | None:
        """Where a trial of the baselines or the search lies in the space; None outside of it."""
        handle = self._handles.get(number)
        return None if handle is None else self._rounded(self._suggestions.coordinates(handle))

    def unseen(self, drawn: Iterable[Coordinates]) -> list[Coordinates]:
        """Those coordinates that mean a configuration which has not been run, each configuration once."""
        found: dict[str, Coordinates] = {}
        for each in drawn:
            found.setdefault(self._identity_at(*self._rounded(each).values()), each)
        return [self._rounded(each) for name, each in found.items() if name not in self._numbers]

    def begin_at(self, coordinates: Coordinates) -> Proposal:
        """Open a search trial at coordinates that a rule chose."""
        settings = self._space.settings(self._space.decode(coordinates))
        number = self._open(coordinates, settings, "search", "")
        self._handles[number] = self._suggestions.add(coordinates)
        return Proposal(number, settings, "search")

    def begin(self, settings: Hyperparameters, phase: Phase, name: str) -> Proposal:
        """Open a trial of a given configuration, with coordinates where it lies in the space."""
        coordinates = None if phase == "confirm" else self._locate(settings)
        number = self._open(coordinates, settings, phase, name)
        if coordinates is not None:
            self._handles[number] = self._suggestions.add(coordinates)
        return Proposal(number, settings, phase, name)

    def reopen(self, proposal: Proposal) -> Proposal:
        """Open a finished trial's configuration once more, under a new number; the sampler forgets its value."""
        handle = self._handles.pop(proposal.number, None)
        coordinates = None if handle is None else self._rounded(self._suggestions.forget(handle))
        number = self._open(coordinates, proposal.settings, proposal.phase, str(proposal.number))
        if handle is not None:
            self._handles[number] = handle
        return Proposal(number, proposal.settings, proposal.phase, str(proposal.number))

    def known(self, settings: Hyperparameters) -> int | None:
        """The number of the trial that ran, or is running, this configuration."""
        return self._numbers.get(self._identity(settings))

    def tell(self, number: int, value: float, beyond: float | None = None) -> None:
        """Record a trial's value and report it to the sampler; a second time it does nothing.

        Args:
            number: the trial's.
            value: with what is missing at the limit, where the trial was cut short.
            beyond: the least that the value could have become then, for a sampler that understands it.
        """
        if number in self._values:
            return
        self._storage.tell(number, value)
        self._values[number] = value
        if number in self._handles:
            self._suggestions.tell(self._handles[number], value, beyond)

    def censor(self, bounds: Mapping[int, float]) -> None:
        """Know of trials of earlier launches that they were cut short: number -> the least that its value exceeds."""
        self._suggestions.censor({self._handles[n]: each for n, each in bounds.items() if n in self._handles})

    def _open(self, coordinates: Coordinates | None, settings: Hyperparameters, phase: Phase, name: str) -> int:
        """Open a trial in one record: a crash leaves all of it or nothing. Returns its number."""
        description = Description(
            number=len(self._opened), phase=phase, name=name, settings=settings, space=self._space_key
        )
        parameters = self._space.parameters
        labels = {key: dimensions.label(parameters[key], each) for key, each in (coordinates or {}).items()}
        self._storage.open(description, labels, self._distributions)
        return self._remember(description)

    def _remember(self, trial: Description) -> int:
        """Take in a trial that is recorded. Returns its number."""
        self._opened.append(_Opened(trial.phase, trial.name, trial.settings.model_dump_json(exclude_defaults=True)))
        if trial.phase != "confirm":
            self._numbers[self._identity(trial.settings)] = trial.number
        return trial.number

    def _proposal(self, number: int) -> Proposal:
        opened = self._opened[number]
        return Proposal(number, Hyperparameters.model_validate_json(opened.settings), opened.phase, opened.name)

    def _load_history(self, trials: Iterable[StoredTrial]) -> None:
        """Report the trials of earlier launches to the sampler."""
        placed = [(trial, self._place(trial)) for trial in trials]
        known = {trial.description.number: (place, trial.value) for trial, place in placed if place is not None}
        self._handles = dict(zip(known, self._suggestions.load(known.values()), strict=True))

    def _place(self, trial: StoredTrial) -> Coordinates | None:
        """Where a trial of an earlier launch was drawn; where that was in another space, where it lies in this one."""
        if trial.description.space == self._space_key:
            if not trial.labels:
                return None
            try:
                return {
                    key: dimensions.coordinate(parameter, trial.labels[key])
                    for key, parameter in self._space.parameters.items()
                }
            except (KeyError, ValueError):
                pass  # damaged; what it ran is known all the same
        return self._locate(trial.description.settings)

    @cached_property
    def _unseen(self) -> Iterator[Hyperparameters]:
        """Configurations of a listable space that have not been run when they are taken: in order, or shuffled."""
        listed = list(self._space.grid(_LARGEST_GRID) or ())
        places = range(len(listed)) if self._in_order else self._order.permutation(len(listed))
        settings = (self._space.settings(listed[place]) for place in places)
        return (each for each in settings if self.known(each) is None)

    def _locate(self, settings: Hyperparameters) -> Coordinates | None:
        """The coordinates of a configuration; None where it lies outside the space."""
        flat = hyperparameters.to_flat(settings)
        try:
            coordinates = self._space.encode({key: flat[key] for key in self._space.parameters})
        except ValueError:
            return None
        if coordinates is None:
            return None
        place = (coordinates[key] for key in self._space.parameters)
        return coordinates if self._identity_of(*place) == self._identity(settings) else None

    def _identity(self, settings: Hyperparameters) -> str:
        return hyperparameters.identity(settings, self._space.horizon)

    def _identity_of(self, *place: Any) -> str:
        """Of the configuration at some coordinates."""
        coordinates = dict(zip(self._space.parameters, place, strict=True))
        return self._identity(self._space.settings(self._space.decode(coordinates)))

    def _rounded(self, drawn: Coordinates) -> Coordinates:
        """Coordinates with the numbers rounded that the sampler draws as real ones (see `dimensions.drawn`)."""
        return {key: dimensions.rounded(parameter, drawn[key]) for key, parameter in self._space.parameters.items()}

    def _absent(self, drawn: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.bool_]]:
        """Where parameters do not apply, for many coordinates at once, [n] each; those that are not drawn have one."""
        size = len(next(iter(drawn.values())))
        values: dict[str, npt.NDArray[Any]] = {}
        for key, parameter in self._space.parameters.items():
            values[key] = drawn.get(key, np.full(size, dimensions.first(parameter)))
            if isinstance(parameter, Choice):
                grid = np.empty(len(parameter.choice), dtype=object)
                grid[:] = self._space.grids[key]
                values[key] = grid[values[key].astype(int)]
        return {key: ~applies for key, applies in self._space.applicable(values).items()}

    def _seen(self, drawn: Coordinates) -> bool:
        """Whether the configuration at these coordinates has been run. In small spaces samplers repeat themselves."""
        return self._identity_at(*self._rounded(drawn).values()) in self._numbers


def _key(space: Space) -> str:
    """A word that two spaces share when coordinates mean the same in both."""
    parameters = {key: parameter.model_dump(mode="json") for key, parameter in space.parameters.items()}
    fixed = {**space.defaults, **space.fixed}
    parts = [parameters, fixed, list(space.require), space.horizon, Hyperparameters().model_dump_json()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
