"""Trials of Optuna studies that are not ours: their parameters and values, read without a change to the file."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from sweeper.errors import UserError, nearest

SQLITE = b"SQLite format 3\0"
"""The first bytes of an SQLite database."""
_URL = "sqlite:///"


@dataclass(frozen=True)
class ForeignTrial:
    """A trial of another tuner.

    Attributes:
        name: what it is called there.
        parameters: its configuration, as it is called there.
        value: its result; smaller is better. None without one.
        state: why it is no point to start from, such as `pruned`; empty where it finished.
    """

    name: str
    parameters: dict[str, Any]
    value: float | None
    state: str = ""


def is_optuna(source: str) -> bool:
    """Whether a file looks like an Optuna storage: SQLite, or a journal."""
    path = Path(source.removeprefix(_URL))
    if source.startswith(_URL):
        return True
    with open(path, "rb") as file:
        first = file.readline(1_000_000)
    if first.startswith(SQLITE):
        return True
    try:
        return "op_code" in json.loads(first)
    except (ValueError, TypeError):
        return False


def optuna_trials(source: str, study: str | None) -> list[ForeignTrial]:
    """The trials of a study.

    Args:
        source: a journal file, an SQLite file, or its URL `sqlite:///path`.
        study: its name; needed where the storage has several.

    Raises:
        UserError: it cannot be read, the study is not there, or has several objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(source.removeprefix(_URL))
    if not path.is_file():
        raise UserError(f"{source}: no such file; give an Optuna journal or an SQLite database")
    with _storage(path) as storage:
        names = sorted(each.study_name for each in storage.get_all_studies())
        if not names:
            raise UserError(f"{source}: holds no Optuna study")
        if study is None and len(names) > 1:
            raise UserError(f"{source}: holds several studies; give --study with one of {', '.join(names)}")
        name = study or names[0]
        if name not in names:
            raise UserError(f"{source}: no study {name!r}{nearest(name, names)}; there are: {', '.join(names)}")
        number = storage.get_study_id_from_name(name)
        directions = storage.get_study_directions(number)
        if len(directions) > 1:
            raise UserError(f"{source}: {name} has {len(directions)} objectives; allowed is one")
        sign = -1.0 if directions[0] == StudyDirection.MAXIMIZE else 1.0
        trials = storage.get_all_trials(number, deepcopy=False)
    if any("trial" in each.user_attrs and "space" in (each.user_attrs["trial"] or ()) for each in trials[:1]):
        raise UserError(
            f"{source}: is the study of a sweep; `sweeper show NAME:TRIAL --yaml` gives its configurations instead"
        )
    return [
        ForeignTrial(
            f"optuna-{each.number}",
            dict(each.params),
            None if not each.state.is_finished() or each.values is None else sign * each.values[0],
            "" if each.state.name == "COMPLETE" else each.state.name.lower(),
        )
        for each in trials
    ]


@contextmanager
def _storage(path: Path) -> Iterator[BaseStorage]:
    """A copy of the storage: to open one may change it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        try:
            shutil.copyfile(path, copy)
            with open(copy, "rb") as file:
                sqlite = file.read(len(SQLITE)) == SQLITE
            if not sqlite:
                yield JournalStorage(JournalFileBackend(str(copy)))
                return
            database = RDBStorage(f"{_URL}{copy}")
        except UserError:
            raise
        except Exception as error:  # Optuna and its libraries raise whatever the content makes them
            raise UserError(
                f"{path}: cannot be read as an Optuna storage ({' '.join(str(error).split())[:200]}); one of an older "
                "Optuna is brought up to date by `optuna storage upgrade`"
            ) from error
        try:
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()
