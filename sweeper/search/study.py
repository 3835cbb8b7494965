"""The Optuna study behind a sweep: remembers every trial, survives a killed driver, and asks the sampler for more.

Optuna's journal is the truth about trials. A trial's parameters there are its coordinates in the space; the
configuration that it really ran and its phase are attributes. Configurations that lie outside the space, as a baseline
may, are trials without coordinates. The journal holds what is trained and nothing else: a suggestion that has
been run already leaves no trace.
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from sweeper import hyperparameters
from sweeper.errors import UserError
from sweeper.hyperparameters import Hyperparameters
from sweeper.parameters import Choice, Float, Int
from sweeper.search.sampler import Suggestions
from sweeper.space import Coordinates, Space
from sweeper.spec.model import Sampler

Phase = Literal["baseline", "search", "confirm"]

_DESCRIPTION = "trial"
"""User attribute: what a trial runs."""
_LARGEST_GRID = 100_000
"""Configurations up to which a space is listed, for the grid sampler and to notice that all have been run."""
_STUBBORN = 3
"""Suggestions in a row of configurations already run before one that has not been run is drawn from the list."""


@dataclass(frozen=True)
class Proposal:
    """A trial that the study has opened.

    Attributes:
        number: the trial's number in the study.
        settings: canonical hyperparameters.
        phase: what it is for.
        name: the baseline's name; of a confirmation the number of the trial it repeats, of a search trial that of the
            capped trial it takes up again; otherwise empty.
    """

    number: int
    settings: Hyperparameters
    phase: Phase
    name: str = ""


class Study:
    """One sweep's study. One process uses it at a time.

    Args:
        journal: the file.
        space: the search space.
        sampler: how the next configuration is chosen.
        places: how many of the best trials the sampler may call good (`sweeper.search.capping`).
    """

    def __init__(self, journal: Path, space: Space, sampler: Sampler, places: int):
        self.places = places
        self._space = space
        self._in_order = sampler.name == "grid"
        self._distributions = {key: _distribution(parameter) for key, parameter in space.parameters.items()}
        _recover(journal)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal))))
            self._study = optuna.create_study(
                study_name="sweep", storage=storage, direction="minimize", load_if_exists=True
            )
        except (ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{journal}: damaged ({reason}); move it away, or use another sweep name") from None
        trials = self._trials()
        self._count = len(trials)
        drawn = {key: _drawn(parameter) for key, parameter in space.parameters.items()}
        self._suggestions = Suggestions(drawn, sampler, self._seen, places, earlier=len(trials))
        self._order = np.random.default_rng([sampler.seed, len(trials)])
        self._numbers: dict[str, int] = {}
        self._handles: dict[int, int] = {}
        self._identities: dict[tuple[Any, ...], str] = {}
        self._values: dict[int, float] = {}
        for trial in trials:
            self._remember(trial)
        for number in self._numbers.values():
            self._teach(trials[number])

    def unfinished(self) -> list[Proposal]:
        """Trials that a dead driver left running, to be taken up again."""
        return [_proposal(trial) for trial in self._trials(TrialState.RUNNING)]

    def opened(self) -> list[Proposal]:
        """Every trial that was opened, finished or not."""
        return [_proposal(trial) for trial in self._trials()]

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

        A configuration already run is answered from the record, and the sampler asked for another. It is not told the
        value once more: copies of the best trials would crowd out the others on its good side.
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

    def begin(self, settings: Hyperparameters, phase: Phase, name: str) -> Proposal:
        """Open a trial of a given configuration, with coordinates where it lies in the space."""
        coordinates = None if phase == "confirm" else self._locate(settings)
        number = self._open(coordinates, settings, phase, name)
        if coordinates is not None:
            self._handles[number] = self._suggestions.add(coordinates)
        return Proposal(number, settings, phase, name)

    def again(self, proposal: Proposal) -> Proposal:
        """Open a finished trial's configuration once more, under a new number; the sampler forgets what it was told."""
        handle = self._handles.pop(proposal.number, None)
        coordinates = None if handle is None else self._rounded(self._suggestions.forget(handle))
        number = self._open(coordinates, proposal.settings, proposal.phase, str(proposal.number))
        if handle is not None:
            self._handles[number] = handle
        return Proposal(number, proposal.settings, proposal.phase, str(proposal.number))

    def known(self, settings: Hyperparameters) -> int | None:
        """The number of the trial that ran, or is running, this configuration."""
        return self._numbers.get(self._identity(settings))

    def tell(self, number: int, value: float) -> None:
        """Record a trial's value; telling it again changes nothing."""
        if self._study.tell(number, value, skip_if_finished=True).value != value:
            return
        self._values[number] = value
        if number in self._handles:
            self._suggestions.tell(self._handles[number], value)

    def _open(self, coordinates: Coordinates | None, settings: Hyperparameters, phase: Phase, name: str) -> int:
        """Open a trial in one record of the journal: a crash leaves all of it or nothing. Returns its number."""
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params={key: self._label(key, each) for key, each in (coordinates or {}).items()},
                distributions={} if coordinates is None else self._distributions,
                user_attrs={_DESCRIPTION: _description(settings, phase, name)},
            )
        )
        number, self._count = self._count, self._count + 1
        if phase != "confirm":
            self._numbers[self._identity(settings)] = number
        return number

    def _remember(self, trial: FrozenTrial) -> None:
        """Take in a trial of an earlier launch."""
        proposal = _proposal(trial)
        if trial.value is not None:
            self._values[trial.number] = trial.value
        if proposal.phase != "confirm":
            self._numbers[self._identity(proposal.settings)] = trial.number

    def _teach(self, trial: FrozenTrial) -> None:
        """Tell the sampler of a trial of an earlier launch."""
        if trial.params:
            self._handles[trial.number] = self._suggestions.add(self._coordinates(trial.params), trial.value)

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
        coordinates = self._space.encode({key: flat[key] for key in self._space.parameters})
        if coordinates is None:
            return None
        back = self._space.settings(self._space.decode(coordinates))
        if self._identity(back) != self._identity(settings):
            return None
        return coordinates

    def _identity(self, settings: Hyperparameters) -> str:
        return hyperparameters.identity(settings, self._space.horizon)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _rounded(self, drawn: Coordinates) -> Coordinates:
        """What the sampler draws as real numbers made whole again (see `_drawn`)."""
        return {key: _round(parameter, drawn[key]) for key, parameter in self._space.parameters.items()}

    def _seen(self, drawn: Coordinates) -> bool:
        """Whether what these coordinates mean has been run. In small spaces the sampler asks of the same ones often."""
        coordinates = self._rounded(drawn)
        place = tuple(coordinates.values())
        if place not in self._identities:
            self._identities[place] = self._identity(self._space.settings(self._space.decode(coordinates)))
        return self._identities[place] in self._numbers

    def _coordinates(self, labels: Mapping[str, Any]) -> Coordinates:
        """From what the journal holds."""
        found = {}
        for key, parameter in self._space.parameters.items():
            label = labels[key]
            found[key] = _labels(parameter).index(label) if isinstance(parameter, Choice) else label
        return found

    def _label(self, key: str, coordinate: Any) -> Any:
        """What the journal holds of a coordinate: of a choice its value, which people can read."""
        parameter = self._space.parameters[key]
        return _labels(parameter)[coordinate] if isinstance(parameter, Choice) else coordinate


def _proposal(trial: FrozenTrial) -> Proposal:
    description = trial.user_attrs[_DESCRIPTION]
    settings = Hyperparameters.model_validate_json(json.dumps(description["settings"]))
    return Proposal(trial.number, settings, description["phase"], description["name"])


def _description(settings: Hyperparameters, phase: Phase, name: str) -> dict[str, Any]:
    return {"phase": phase, "name": name, "settings": settings.model_dump(mode="json")}


def _labels(parameter: Choice) -> list[Any]:
    """Optuna's categories: words and numbers as they are, anything else as JSON text."""
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in parameter.choice)
    return list(parameter.choice) if plain else [json.dumps(value) for value in parameter.choice]


def _drawn(parameter: Choice | Int | Float) -> BaseDistribution:
    """What the sampler draws.

    Of a choice the index, which has an order where its values are numbers in order. Whole numbers are drawn as real
    ones, half a step wider on both sides, and rounded: Optuna's densities of whole numbers take ten times as long.
    """
    if isinstance(parameter, Float):
        return _distribution(parameter)
    if isinstance(parameter, Int):
        every = parameter.every()
        half = every.step / 2
        low = every[0] if len(every) == 1 else every[0] - half
        return FloatDistribution(low, every[-1] if len(every) == 1 else every[-1] + half, log=parameter.log)
    values = parameter.choice
    if _in_order(values):
        return FloatDistribution(-0.5, len(values) - 0.5)
    return CategoricalDistribution(tuple(range(len(values))))


def _in_order(values: Sequence[Any]) -> bool:
    """Whether these are several numbers, from small to large or from large to small."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) == len(values) > 1 and numbers in (sorted(numbers), sorted(numbers, reverse=True))


def _round(parameter: Choice | Int | Float, drawn: Any) -> Any:
    if isinstance(parameter, Choice):
        return min(max(round(drawn), 0), len(parameter.choice) - 1)
    if isinstance(parameter, Int):
        every = parameter.every()
        return every[min(max(round((drawn - every[0]) / every.step), 0), len(every) - 1)]
    return drawn


def _distribution(parameter: Choice | Int | Float) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(_labels(parameter))
    if isinstance(parameter, Int):
        every = parameter.every()
        return IntDistribution(every[0], every[-1], log=parameter.log, step=every.step)
    low, high = parameter.bounds
    if parameter.step is not None:
        return FloatDistribution(low, parameter.grid()[-1], step=parameter.step)
    return FloatDistribution(low, high, log=parameter.log)


def _recover(journal: Path) -> None:
    """Drop what a killed writer left: its lock, and an unfinished last line that Optuna could not read past.

    One launch at a time uses a sweep's folder, so a lock beside the journal is a dead one's.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    content = journal.read_bytes()
    if content and not content.startswith(b"{"):
        raise UserError(f"{journal}: not an Optuna journal; move it away, or use another sweep name")
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        warnings.warn(f"{journal}: dropped an unfinished last record of {len(content) - whole} bytes", stacklevel=2)
        os.truncate(journal, whole)
