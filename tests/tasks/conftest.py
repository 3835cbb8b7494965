"""Folders with modules of a user's own."""

from tests.fakes.modules import folder

__all__ = ["folder"]
