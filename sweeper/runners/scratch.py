"""Temporary folders of this process; those that killed processes left are removed.

Each is locked while its process lives, and a lock ends with its process: a folder that can be locked is abandoned.
"""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

_PREFIX = "sweeper-"
_LOCK = "lock"
_YOUNG_SECONDS = 3600
"""A younger folder without a lock may be about to get one."""
_locks: dict[Path, IO[bytes]] = {}


def make() -> Path:
    """A new folder, readable by this user alone. Its path is short: those of sockets are limited to 107 bytes."""
    parent = tempfile.gettempdir()
    parent = parent if len(parent) <= 30 else "/tmp"
    for old in Path(parent).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(old)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    lock = _locks[folder] = open(folder / _LOCK, "wb")  # noqa: SIM115  # it is held, not read
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder


def remove(folder: Path) -> None:
    """Remove a folder that `make` made."""
    shutil.rmtree(folder, ignore_errors=True)
    _locks.pop(folder).close()


def _remove_if_abandoned(folder: Path) -> None:
    about = folder.lstat()
    if about.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
        return
    if not (folder / _LOCK).exists():
        if time.time() - about.st_mtime > _YOUNG_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with open(folder / _LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError where its process lives
        shutil.rmtree(folder, ignore_errors=True)
