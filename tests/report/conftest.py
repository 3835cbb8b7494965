"""One made-up sweep for everything that only reads it."""

from pathlib import Path

import pytest

from tests.fakes.sweeps import Sweep, made_up


@pytest.fixture(scope="session")
def made_up_sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return made_up(tmp_path_factory.mktemp("made-up"))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """An empty one."""
    return Sweep(tmp_path)
