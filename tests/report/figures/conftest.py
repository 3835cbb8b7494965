"""Sweeps that many tests of figures only look at, launched once."""

import pytest

from sweeper.report.figures.subject import Subject
from tests.report.figures.looking import SHAPES, about, launched


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The sweep `SHAPES`."""
    return about(launched(tmp_path_factory.mktemp("shapes"), SHAPES))


@pytest.fixture(scope="session")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same with a cap, no baseline and no confirmation."""
    changes = {**SHAPES, "stop": "cap", "confirm": None, "baselines": {}, "budget": {"trials": 6}}
    return about(launched(tmp_path_factory.mktemp("capped"), changes))
