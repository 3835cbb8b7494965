"""Small spaces, and studies of them on every kind of storage."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from sweeper.config.model import Sampler
from sweeper.search.database import Database
from sweeper.search.storage import Storage
from sweeper.search.study import Study
from sweeper.space.space import Choice, Float, Int, Space

HORIZON = 200
DEPTH = Int(int=(1, 4))
HEADS = Choice(choice=(1, 2, 4))
DECAY = Float(float=(0.01, 0.1), log=True)

CONDITIONAL = {
    "batch.shape": Choice(choice=("constant", "linear", "cyclic")),
    "batch.min": Int(int=(16, 256), log=True, when="batch.shape != constant"),
    "batch.max": Int(int=(64, 1024), log=True),
    "batch.cycles": Int(int=(1, 8), when="batch.shape == cyclic"),
    "width": Choice(choice=(48, 64, 96)),
    "heads": Choice(choice=(1, 2, 3, 4, 8)),
    "weight_decay": DECAY,
}


def space_of(
    parameters: Mapping[str, Choice | Int | Float], fixed: Mapping[str, Any] | None = None, require: Sequence[str] = ()
) -> Space:
    return Space(parameters, fixed or {}, require, HORIZON)


SMOOTH = space_of({"weight_decay": DECAY, "depth": DEPTH, "heads": HEADS})
FOUR = space_of({"depth": Int(int=(1, 2)), "heads": Choice(choice=(1, 2))})
PLACES = 3


class Kept:
    """Where the studies of a test are recorded: in journals, or in a database under the names of their folders."""

    def __init__(self, url: str = ""):
        self.url = url
        self.open: dict[Path, Database] = {}

    def storage(self, folder: Path) -> Path | Storage:
        """The same as after the death of the process that had it open."""
        if not self.url:
            return folder / "study.journal"
        self.close(folder)
        self.open[folder] = Database(self.url, folder.name)
        return self.open[folder]

    def close(self, folder: Path) -> None:
        if folder in self.open:
            self.open.pop(folder).close()

    def recorded(self, folder: Path) -> list[FrozenTrial]:
        if not self.url:
            storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
            return optuna.load_study(study_name="sweep", storage=storage).trials
        plain = RDBStorage(self.url.replace("postgresql:", "postgresql+psycopg:"))
        try:
            return optuna.load_study(study_name=folder.name, storage=plain).trials
        finally:
            plain.remove_session()
            plain.engine.dispose()


kept = Kept()


@pytest.fixture(params=["journal", pytest.param("postgresql", marks=pytest.mark.slow), "sqlite"])
def each_storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test runs on every kind of storage."""
    urls = {"journal": lambda: "", "sqlite": lambda: f"sqlite:///{tmp_path / 'trials.db'}"}
    url = urls[request.param]() if request.param in urls else request.getfixturevalue("postgres").url
    here = Kept(url)
    monkeypatch.setattr(sys.modules[__name__], "kept", here)
    yield
    for folder in list(here.open):
        here.close(folder)


def opened(tmp_path: Path, space: Space, name: str = "tpe", **settings: Any) -> Study:
    return Study(kept.storage(tmp_path), space, Sampler(name=name, **settings), PLACES)  # type: ignore[arg-type]


def recorded(tmp_path: Path) -> list[FrozenTrial]:
    """What Optuna itself reads there."""
    return kept.recorded(tmp_path)
