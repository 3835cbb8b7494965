"""Trials recorded in a database that Optuna can use: PostgreSQL first of all, SQLite and others too."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import exc, func, select
from sqlalchemy.engine import URL, Connection, make_url

from sweeper.errors import UserError
from sweeper.search.storage import Description, Storage, one_line

_PATIENCE_SECONDS = 10
"""How long a server may take to answer."""
_TABLES = "Optuna's tables"
"""The key of the lock under which they are created."""


class Database(Storage):
    """The study of one sweep in a database; it has the sweep's name.

    In PostgreSQL a launch holds an advisory lock on a connection of its own, so that launches on several machines keep
    out of each other's way; it ends with the connection, and so with the process. In other databases the lock in the
    sweep's folder is what counts.

    Args:
        url: of the database, as SQLAlchemy reads it; `postgresql://` is spoken by psycopg.
        name: the sweep's.

    Raises:
        UserError: the driver is missing, the server does not answer, or another launch runs the sweep.
    """

    def __init__(self, url: str, name: str):
        self._url, self._name = _parsed(url), name
        self._lock: Connection | None = None
        self._rdb: RDBStorage | None = None
        try:
            super().__init__(f"storage {self._url}")  # where there is a password, it is not shown
        except BaseException:
            self.close()
            raise

    def open(
        self, description: Description, labels: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """See `Storage`; UserError, too, when the lock was lost to another launch."""
        with self._written():
            self._hold()
        super().open(description, labels, distributions)

    def delete(self) -> None:
        """Delete the study with all of its trials. Raises UserError when the server refuses."""
        with self._written():
            self._optuna.delete_study(self._study)

    def close(self) -> None:
        """See `Storage`."""
        self._release()
        if self._rdb is not None:
            self._rdb.remove_session()
            self._rdb.engine.dispose()

    def _connect(self) -> BaseStorage:
        url = self._url.set(drivername="postgresql+psycopg") if self._url.drivername == "postgresql" else self._url
        options = _options(url)
        self._engine = sqlalchemy.create_engine(url, connect_args=options, poolclass=sqlalchemy.NullPool)
        self._hold()
        if self._lock is not None:
            self._lock.execute(select(func.pg_advisory_lock(_key(_TABLES))))
        template = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        # Tables are made and checked without a pool, which nobody could close when that fails.
        RDBStorage(template, {"connect_args": options, "poolclass": sqlalchemy.NullPool}).remove_session()
        if self._lock is not None:
            self._lock.execute(select(func.pg_advisory_unlock(_key(_TABLES))))
        pool = {"connect_args": options, "pool_pre_ping": True}
        self._rdb = RDBStorage(template, pool, skip_compatibility_check=True, skip_table_creation=True)
        return self._rdb

    def _find(self) -> int:
        try:
            return self._optuna.get_study_id_from_name(self._name)
        except KeyError:
            return self._optuna.create_new_study([StudyDirection.MINIMIZE], self._name)

    def _forget(self, trial_id: int) -> None:
        """Nothing: the database remembers."""

    def _trouble(self, error: Exception) -> str:
        if isinstance(error, StorageInternalError) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if isinstance(error, exc.NoSuchModuleError):
            return "no such kind of database; write postgresql://, mysql:// or sqlite:///"
        if isinstance(error, ImportError):
            extra = "pip install 'grokking-sweeper[postgres]'" if error.name == "psycopg" else "install it"
            return f"the Python package {error.name} is missing; {extra}" if error.name else one_line(str(error))
        if isinstance(error, exc.DBAPIError):
            return one_line(str(error.orig))
        return one_line(str(error)) if isinstance(error, exc.SQLAlchemyError) else ""

    def _hold(self) -> None:
        """Take the lock, or make sure of it: with a connection that broke, it is gone."""
        if self._url.get_backend_name() != "postgresql":
            return
        try:
            held = self._lock is not None and self._locks(self._lock)
        except exc.DBAPIError:
            held = False
        if not held:
            self._release()
            self._lock = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            held = self._locks(self._lock)
        if not held:
            raise UserError(f"{self.where}: another launch is running {self._name}; wait for it, or change name")

    def _locks(self, connection: Connection) -> bool:
        return bool(connection.scalar(select(func.pg_try_advisory_lock(_key(self._name)))))

    def _release(self) -> None:
        if self._lock is not None:
            with suppress(exc.SQLAlchemyError), closing(self._lock) as connection:
                # The server notices the end of a connection a moment later than the next launch could ask.
                connection.execute(select(func.pg_advisory_unlock_all()))
            self._lock = None


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise UserError(f"storage: not the URL of a database ({one_line(str(error))})") from None


def _options(url: URL) -> dict[str, Any]:
    """Arguments of the driver beside the URL."""
    given = "connect_timeout" in url.query or "PGCONNECT_TIMEOUT" in os.environ
    return {"connect_timeout": _PATIENCE_SECONDS} if url.drivername == "postgresql+psycopg" and not given else {}


def _key(subject: str) -> int:
    """The number of the advisory lock about something."""
    return int.from_bytes(hashlib.sha256(f"sweeper: {subject}".encode()).digest()[:8], "big", signed=True)
