"""A sweep without training, on real journals and tables, driven in this process by made-up curves."""

from pathlib import Path

import pytest

from tests.fakes.sweeps import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)
