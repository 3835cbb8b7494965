"""Folders with modules of a user's own."""

from tests.tasks.modules import folder

__all__ = ["folder"]
