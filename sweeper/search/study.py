"""The Optuna study behind a sweep: asks for configurations, remembers every trial, survives a killed driver.

Optuna's journal is the truth about trials. The sampler works in the space's fixed coordinates; the configuration that
a trial really ran, its phase and its identity are attributes of the trial. Configurations that lie outside the space,
as a baseline may, are trials without coordinates: TPE counts them but does not model them.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from sweeper import hyperparameters
from sweeper.errors import UserError
from sweeper.hyperparameters import Hyperparameters
from sweeper.parameters import Choice, Float, Int
from sweeper.space import Coordinates, Space
from sweeper.spec.model import Sampler

Phase = Literal["baseline", "search", "confirm"]

_DESCRIPTION, _SAME_AS = "trial", "same_as"
"""User attributes: what a trial runs, or the number of the trial that it repeats."""
_LARGEST_GRID = 100_000
"""Configurations up to which a space is listed, for the grid sampler and to notice that all have been run."""
_STUBBORN = 50
"""Suggestions in a row of configurations already run before the space counts as exhausted or an unseen one is drawn."""


@dataclass(frozen=True)
class Proposal:
    """A trial that the study has opened.

    Attributes:
        number: the trial's number in the study.
        settings: canonical hyperparameters.
        phase: what it is for.
        name: the baseline's name; for a confirmation the number of the trial it repeats; otherwise empty.
    """

    number: int
    settings: Hyperparameters
    phase: Phase
    name: str = ""


class _FixedSpaceTPE(optuna.samplers.TPESampler):
    """TPE over the coordinates of the space, whatever trials without coordinates the study holds."""

    def __init__(self, coordinates: Mapping[str, BaseDistribution], **settings: Any):
        super().__init__(**settings)
        self._coordinates = {key: each for key, each in coordinates.items() if not each.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._coordinates)


class Study:
    """One sweep's study. One process uses it at a time."""

    def __init__(self, journal: Path, space: Space, sampler: Sampler):
        self._space = space
        self._sampler = sampler
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
        self._study.sampler = self._make_sampler()
        self._numbers: dict[str, int] = {}
        self._waiting_copies: dict[int, list[int]] = {}
        for trial in self._trials():
            self._remember(trial)

    def unfinished(self) -> list[Proposal]:
        """Trials that a dead driver left running, to be taken up again; ones it had not described yet are dropped."""
        found = []
        for trial in self._trials(TrialState.RUNNING):
            if _trained(trial):
                found.append(_proposal(trial))
            elif _SAME_AS not in trial.user_attrs:
                self._study.tell(trial.number, state=TrialState.FAIL)
        for twin in list(self._waiting_copies):
            if (scored := self._trials()[twin].value) is not None:
                self._tell_copies(twin, scored)
        return found

    def opened(self) -> list[Proposal]:
        """Every trial that was opened to be trained, finished or not."""
        return [_proposal(trial) for trial in self._trials() if _trained(trial)]

    @property
    def count(self) -> int:
        """Configurations that the baselines and the search have opened."""
        return len(self._numbers)

    def values(self) -> dict[int, float]:
        """Number -> value of every finished trial of the baselines and the search."""
        trials = [trial for trial in self._trials(TrialState.COMPLETE) if _trained(trial)]
        searched = [trial for trial in trials if trial.user_attrs[_DESCRIPTION]["phase"] != "confirm"]
        return {trial.number: float(trial.value) for trial in searched if trial.value is not None}

    def suggest(self) -> Proposal | None:
        """The sampler's next configuration that has not been run; None when there is none left.

        A configuration already run is answered from the record: the sampler is told its value and asked again.
        """
        if self._sampler.name == "grid":
            return self._begin_unseen()
        for _ in range(_STUBBORN):
            trial = self._study.ask(self._distributions)
            settings = self._space.settings(self._space.decode(self._coordinates(trial)))
            twin = self.known(settings)
            if twin is None:
                trial.set_user_attr(_DESCRIPTION, _description(settings, "search", ""))
                return self._opened_as(trial.number, Proposal(0, settings, "search"))
            self._answer(trial, twin)
        return self._begin_unseen()

    def begin(self, settings: Hyperparameters, phase: Phase, name: str) -> Proposal:
        """Open a trial of a given configuration, with coordinates where it lies in the space."""
        coordinates = None if phase == "confirm" else self._locate(settings)
        # One record in the journal, description included: a crash leaves all of the trial or nothing.
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=coordinates or {},
                distributions={} if coordinates is None else self._distributions,
                user_attrs={_DESCRIPTION: _description(settings, phase, name)},
            )
        )
        return self._opened_as(self._trials()[-1].number, Proposal(0, settings, phase, name))

    def known(self, settings: Hyperparameters) -> int | None:
        """The number of the trial that ran, or is running, this configuration."""
        return self._numbers.get(self._identity(settings))

    def tell(self, number: int, value: float) -> None:
        """Record a trial's value; telling it again changes nothing."""
        self._study.tell(number, value, skip_if_finished=True)
        self._tell_copies(number, value)

    def _tell_copies(self, number: int, value: float) -> None:
        for copy in self._waiting_copies.pop(number, []):
            self._study.tell(copy, value, skip_if_finished=True)

    def _answer(self, trial: Trial, twin: int) -> None:
        """Tell a repeated suggestion what its twin scored, now or when the twin finishes."""
        trial.set_user_attr(_SAME_AS, twin)
        scored = self._trials()[twin].value
        if scored is not None:
            self._study.tell(trial, scored)
        else:
            self._waiting_copies.setdefault(twin, []).append(trial.number)

    def _opened_as(self, number: int, proposal: Proposal) -> Proposal:
        """The proposal under its number, remembered unless it confirms another."""
        if proposal.phase != "confirm":
            self._numbers[self._identity(proposal.settings)] = number
        return replace(proposal, number=number)

    def _remember(self, trial: FrozenTrial) -> None:
        if _trained(trial):
            proposal = _proposal(trial)
            if proposal.phase != "confirm":
                self._numbers[self._identity(proposal.settings)] = trial.number
        elif trial.state == TrialState.RUNNING and _SAME_AS in trial.user_attrs:
            self._waiting_copies.setdefault(trial.user_attrs[_SAME_AS], []).append(trial.number)

    def _begin_unseen(self) -> Proposal | None:
        """Open the first configuration of a listable space that has not been run; None where there is none."""
        for values in self._space.grid(_LARGEST_GRID) or ():
            settings = self._space.settings(values)
            if self.known(settings) is None:
                return self.begin(settings, "search", "")
        return None

    def _locate(self, settings: Hyperparameters) -> dict[str, Any] | None:
        """Optuna's parameters of a configuration; None where it lies outside the space."""
        flat = hyperparameters.to_flat(settings)
        coordinates = self._space.encode({key: flat[key] for key in self._space.parameters})
        if coordinates is None:
            return None
        back = self._space.settings(self._space.decode(coordinates))
        if self._identity(back) != self._identity(settings):
            return None
        return {key: self._label(key, coordinate) for key, coordinate in coordinates.items()}

    def _identity(self, settings: Hyperparameters) -> str:
        return hyperparameters.identity(settings, self._space.horizon)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _coordinates(self, trial: Trial) -> Coordinates:
        found = {}
        for key, parameter in self._space.parameters.items():
            asked = trial.params[key]
            found[key] = _labels(parameter).index(asked) if isinstance(parameter, Choice) else asked
        return found

    def _label(self, key: str, coordinate: Any) -> Any:
        parameter = self._space.parameters[key]
        return _labels(parameter)[coordinate] if isinstance(parameter, Choice) else coordinate

    def _make_sampler(self) -> optuna.samplers.BaseSampler:
        """The sampler, seeded by the seed and by how far the study is: a reopened study must not repeat itself."""
        seed = int(np.random.SeedSequence([self._sampler.seed, len(self._trials())]).generate_state(1)[0])
        if self._sampler.name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return _FixedSpaceTPE(
            self._distributions,
            n_startup_trials=self._sampler.startup_trials,
            multivariate=True,
            constant_liar=True,
            seed=seed,
        )


def _proposal(trial: FrozenTrial) -> Proposal:
    description = trial.user_attrs[_DESCRIPTION]
    settings = Hyperparameters.model_validate_json(json.dumps(description["settings"]))
    return Proposal(trial.number, settings, description["phase"], description["name"])


def _description(settings: Hyperparameters, phase: Phase, name: str) -> dict[str, Any]:
    return {"phase": phase, "name": name, "settings": settings.model_dump(mode="json")}


def _trained(trial: FrozenTrial) -> bool:
    return _DESCRIPTION in trial.user_attrs


def _labels(parameter: Choice) -> list[Any]:
    """Optuna's categories: words and numbers as they are, anything else as JSON text."""
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in parameter.choice)
    return list(parameter.choice) if plain else [json.dumps(value) for value in parameter.choice]


def _distribution(parameter: Choice | Int | Float) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(_labels(parameter))
    low, high = parameter.bounds
    if isinstance(parameter, Int):
        step = parameter.step or 1
        return IntDistribution(int(low), int(low + (high - low) // step * step), log=parameter.log, step=step)
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
