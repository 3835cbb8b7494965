"""Studies are tested on every kind of storage."""

from tests.fakes.studies import each_storage

__all__ = ["each_storage"]
