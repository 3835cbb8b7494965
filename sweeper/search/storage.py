"""Where a sweep's trials are recorded, so that they survive a killed driver: an Optuna storage.

Two records a trial, each written whole or not at all: one when it opens, one with its value. What is read back is
checked: a record that is damaged, or somebody else's, is refused in words.
"""

import itertools
import json
import math
import os
import stat
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict

from sweeper.errors import StorageError, UserError
from sweeper.space import hyperparameters
from sweeper.space.hyperparameters import Hyperparameters

Phase = Literal["baseline", "search", "confirm"]

_DESCRIPTION = "trial"
"""User attribute: what a trial runs."""
_LONGEST_REASON = 200


class Description(BaseModel):
    """The configuration and the purpose of a trial.

    Attributes:
        number: the trial's number in the study.
        phase: its purpose.
        name: see `sweeper.search.study.Proposal`.
        settings: canonical hyperparameters, all of them: a default may be another one by the time they are read.
        space: of the space that the coordinates are in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: int
    phase: Phase
    name: str
    settings: Hyperparameters
    space: str


class _Attributes(BaseModel):
    trial: Description


@dataclass(frozen=True)
class StoredTrial:
    """A trial as it is read back: labels of its coordinates, none where it has no coordinates; no value: it runs."""

    description: Description
    labels: Mapping[str, Any]
    value: float | None


class Storage(ABC):
    """The trials of one sweep. One process uses them at a time.

    Attributes:
        where: the file or database, for messages.

    Raises:
        UserError: it cannot be used, is damaged, or was written by another version.
    """

    def __init__(self, where: str):
        self.where = where
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._understood():
            self._optuna = self._connect()
            self._study = self._find()
        self._ids: list[int] = []
        self._distributions: dict[str, BaseDistribution] = {}

    @abstractmethod
    def _connect(self) -> BaseStorage:
        """Optuna's storage, opened."""

    @abstractmethod
    def _find(self) -> int:
        """Optuna's id of the sweep's study, which is created where there is none."""

    @abstractmethod
    def _trouble(self, error: Exception) -> str:
        """Words for an error that comes from outside, such as a full disk; empty where damage is more likely."""

    @abstractmethod
    def _forget(self, trial_id: int) -> None:
        """Free the data of a trial that Optuna keeps in memory and nothing reads."""

    @abstractmethod
    def close(self) -> None:
        """Let others use it."""

    def read(self) -> list[StoredTrial]:
        """Every trial, by number. Raises UserError when the record is damaged."""
        with self._understood():
            trials = self._optuna.get_all_trials(self._study, deepcopy=False)
            found = [_recorded(trial, number) for number, trial in enumerate(trials)]
            for trial in trials:
                self._distributions = trial.distributions | self._distributions
                self._ids.append(trial._trial_id)
                self._forget(trial._trial_id)
        return found

    def open(
        self, description: Description, labels: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """Record that a trial opens. Its number is the next one; UserError when somebody else has taken it."""
        names = {key: self._free_name(key, distributions[key]) for key in labels}
        opened = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params={names[key]: label for key, label in labels.items()},
            distributions={name: distributions[key] for key, name in names.items()},
            user_attrs={_DESCRIPTION: description.model_dump(mode="json")},
        )
        with self._written():
            trial_id = self._optuna.create_new_trial(self._study, opened)
            number = self._optuna.get_trial_number_from_id(trial_id)
        if number != description.number:
            raise UserError(f"{self.where}: another launch opens trials of this sweep; end one of the two")
        self._ids.append(trial_id)
        self._forget(trial_id)

    def tell(self, number: int, value: float) -> None:
        """Record the value of a trial that runs."""
        with self._written():
            self._optuna.set_trial_state_values(self._ids[number], TrialState.COMPLETE, [value])

    def _free_name(self, key: str, distribution: BaseDistribution) -> str:
        """A parameter's name in Optuna, which wants distributions of one kind under a name.

        `heads`, or `heads (2)` in a sweep that was continued with other choices of heads.
        """
        names = itertools.chain([key], (f"{key} ({count})" for count in itertools.count(2)))
        kind = _kind(distribution)
        return next(name for name in names if _kind(self._distributions.setdefault(name, distribution)) == kind)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  # Optuna stumbles over damage in any way that Python can
            trouble = self._trouble(error)
            if trouble:
                raise UserError(f"{self.where}: cannot be used: {trouble}") from None
            reason = one_line(f"{type(error).__name__}: {error}")
            raise UserError(
                f"{self.where}: damaged, or written by another version ({reason}); put back a copy of it, or give the "
                "sweep another name"
            ) from None

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            trouble = self._trouble(error)
            if not trouble:
                raise
            raise StorageError(
                f"{self.where}: could not be written: {trouble}; everything written before is whole, and the same "
                "command continues the sweep"
            ) from error


class Journal(Storage):
    """Optuna's journal: a file that lies in the sweep's folder and needs no server.

    One launch at a time uses a sweep's folder.

    Raises:
        UserError: the file is damaged, or not a journal of ours.
    """

    _NAME = "sweep"

    def __init__(self, path: Path):
        self._path, self._dropped = path, 0
        super().__init__(str(path))
        if self._dropped:
            warnings.warn(f"{path}: dropped an unfinished last record of {self._dropped} bytes", stacklevel=2)

    def _connect(self) -> BaseStorage:
        self._dropped = _recover(self._path)
        lock = JournalFileOpenLock(str(self._path))
        return JournalStorage(JournalFileBackend(str(self._path), lock_obj=lock))

    def _find(self) -> int:
        names = [study.study_name for study in self._optuna.get_all_studies()]
        if not names and self._path.stat().st_size == 0:
            return self._optuna.create_new_study([StudyDirection.MINIMIZE], self._NAME)
        if names != [self._NAME]:
            raise ValueError(f"it holds the studies {names}, not {self._NAME!r} alone")
        return self._optuna.get_study_id_from_name(self._NAME)

    def _trouble(self, error: Exception) -> str:
        return (error.strerror or str(error)) if isinstance(error, OSError) else ""

    def _forget(self, trial_id: int) -> None:
        trial = self._optuna.get_trial(trial_id)
        trial.params, trial.distributions, trial.user_attrs = {}, {}, {}

    def close(self) -> None:
        """Nothing: it is open only while it is written."""


def _recorded(trial: FrozenTrial, number: int) -> StoredTrial:
    """Raises ValueError for what we would not have written."""
    description = _Attributes.model_validate_json(json.dumps(trial.user_attrs)).trial
    if (trial.number, description.number) != (number, number):
        raise ValueError(f"trial {description.number} stands where trial {number} should")
    for key, message in hyperparameters.conflicts(description.settings):
        raise ValueError(f"trial {number}: {key}: {message}")
    labels = {name.partition(" ")[0]: label for name, label in trial.params.items()}
    match trial.state, trial.values:
        case TrialState.RUNNING, None:
            return StoredTrial(description, labels, None)
        case TrialState.COMPLETE, [float() as value] if math.isfinite(value):
            return StoredTrial(description, labels, value)
    raise ValueError(f"trial {number} is {trial.state.name} with values {trial.values}")


def _kind(distribution: BaseDistribution) -> tuple[Any, ...]:
    """A key that two distributions must share to have one name in Optuna."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution, distribution.choices
    return type(distribution), getattr(distribution, "log", None)


def one_line(text: str) -> str:
    """Long texts of many lines, as libraries give, cut to be read in a sentence."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."


def _recover(journal: Path) -> int:
    """Drop what a killed writer left: its lock, and an unfinished last line that Optuna could not read past.

    One launch at a time uses a sweep's folder, so a lock beside the journal is a dead one's.

    Returns:
        How many bytes that last line had.

    Raises:
        ValueError: the file is not a journal, or its last whole line is none of a journal's, which Optuna overlooks.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if not os.path.lexists(journal):
        return 0
    if not stat.S_ISREG(journal.lstat().st_mode):
        raise ValueError("it is not a regular file")
    content = journal.read_bytes()
    if content and not content.startswith(b"{"):
        raise ValueError("it is not an Optuna journal")
    whole = content.rfind(b"\n") + 1
    if whole:
        json.loads(content[content.rfind(b"\n", 0, whole - 1) + 1 : whole])
    if whole < len(content):
        os.truncate(journal, whole)
    return len(content) - whole
