"""Packages that only some tests need."""

from importlib.util import find_spec

import pytest


def needs(package: str) -> pytest.MarkDecorator:
    """Skip where a package is not installed; nothing imports it before the test does, for each worker collects all."""
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")
