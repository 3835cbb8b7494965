"""One launch at a time runs a sweep that is in an object store, whichever machines they are on.

The store holds an object that names the launch, which increments a counter in it at every beat. Another launch observes
the object for a bit more than three beats: if the counter changes, the holder is alive; if not, it is dead. No clocks
are compared.

A holder may be suspended, count as dead, and wake up in the middle of anything. Where the store has conditional writes,
the lease is renewed and taken, and the manifest replaced, only as they were last read: a holder that has lost the lease
can commit nothing. Everywhere, a holder that has not renewed the lease for two beats reads it before it writes again.
"""

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from sweeper.errors import StorageError, UserError
from sweeper.folder.background import Background
from sweeper.folder.conditional import ChangedError
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.manifest import LEASE
from sweeper.folder.object_store import ERRORS, Store

_BEATS = 3.5
"""Beats without a change after which the holder counts as dead."""
_STALE_BEATS = 2.0
"""Beats without a renewal after which the holder reads the lease before it writes."""
_RELEASED = ""
"""The token in a lease that nobody holds. The object stays: a delete has no conditions."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""It goes on while the machine sleeps."""
_TOKEN = ".lease"
"""File with this folder's last token: a process that holds the folder's lock knows that the token's launch is dead."""


@dataclass(frozen=True)
class Claim:
    """The content of the lease.

    Attributes:
        host, pid: machine and process of the holder.
        token: identifies the launch.
        beat: a counter.
        every: seconds between two beats.
    """

    host: str
    pid: int
    token: str
    beat: int
    every: float


class Lease:
    """A launch's claim to a sweep in a store.

    Args:
        store: where the sweep is.
        every: seconds between two beats.
    """

    def __init__(self, store: Store, every: float):
        self._store = store
        self._claim = Claim(platform.node(), os.getpid(), secrets.token_hex(8), 0, every)
        self.lost = ""
        self._ours_at = time.clock_gettime(_CLOCK)
        self._done = threading.Event()
        self._thread = Background(self._beat, name="lease")

    @property
    def token(self) -> str:
        """Identifies this launch."""
        return self._claim.token

    def take(self, folder: SweepFolder, say: Callable[[str], object]) -> None:
        """Take the lease, and renew it until it is released.

        Args:
            folder: the sweep's local folder, whose lock this process holds.
            say: receives a message if the sweep is taken over from a dead launch.

        Raises:
            UserError: another launch is running the sweep.
        """
        remembered = folder.root / _TOKEN
        found, version = self._read()
        own = found is not None and remembered.exists() and remembered.read_text() == found.token
        if found is not None and found.token != _RELEASED and not own:
            version = self._outlast(found, say)
        write_text(remembered, self.token)
        with suppress(ChangedError):
            self._write(version)
        found, _ = self._read()
        if not self._is_ours(found):
            raise self._refusal(found)
        self._thread.start()

    def release(self) -> None:
        """Let the next launch begin at once."""
        self._done.set()
        self._thread.join()
        with suppress(ChangedError, *ERRORS):  # then the next launch waits until the lease counts as dead
            found, version = self._read()
            if self._is_ours(found):
                self._claim = replace(self._claim, token=_RELEASED)
                self._write(version)

    def guard(self) -> None:
        """Raise StorageError if another launch may hold the lease by now, and does; to be called before writes."""
        if self.lost or time.clock_gettime(_CLOCK) - self._ours_at > _STALE_BEATS * self._claim.every:
            self.confirm()

    def confirm(self) -> str | None:
        """Raise StorageError if another launch holds the lease; `lost` then has the message. Returns its version."""
        before = time.clock_gettime(_CLOCK)
        found, version = self._read()
        if self.lost:
            raise StorageError(self.lost)
        if found is not None and not self._is_ours(found):
            raise self.lose(_who(found))
        self._ours_at = before
        return version

    def lose(self, who: str) -> StorageError:
        """Record that another launch holds the lease. Returns the error to raise."""
        self.lost = (
            f"{self._store.uri}: {who} took this sweep over, because this launch did not respond for a while; "
            "this launch ends, and its later results are discarded"
        )
        return StorageError(self.lost)

    def _outlast(self, found: Claim, say: Callable[[str], object]) -> str | None:
        """Wait until a claim counts as dead. Returns the version of it. Raises UserError if it is alive."""
        until, version = time.monotonic() + _BEATS * found.every, None
        while time.monotonic() < until:
            time.sleep(found.every / 4)
            now, version = self._read()
            if now is None or now.token == _RELEASED:
                return version
            if now != found:
                raise self._refusal(now)
        say(f"taking over from {_who(found)}, which has not responded for {_BEATS * found.every:g} s")
        return version

    def _refusal(self, found: Claim | None) -> UserError:
        who = _who(found) if found else "another launch"
        return UserError(f"{self._store.uri}: {who} is running this sweep; wait for it, or change name")

    def _beat(self) -> None:
        while not self._done.wait(self._claim.every):
            try:
                version = self.confirm()
                self._claim = replace(self._claim, beat=self._claim.beat + 1)
                self._write(version)
            except StorageError:
                return
            except (ChangedError, *ERRORS):
                continue  # the next beat says who changed it; the mirror reports the others

    def _is_ours(self, found: Claim | None) -> bool:
        return found is not None and found.token == self.token

    def _write(self, version: str | None) -> None:
        self._store.replace(LEASE, json.dumps(asdict(self._claim)).encode(), version)

    def _read(self) -> tuple[Claim | None, str | None]:
        content, version = self._store.read_version(LEASE)
        if content is None:
            return None, None
        try:
            return Claim(**json.loads(content)), version
        except (ValueError, TypeError):  # another version; a changing value is enough to tell that its holder is alive
            unknown = replace(self._claim, host="an unknown machine", pid=0, token=content.decode(errors="replace"))
            return unknown, version


def _who(claim: Claim) -> str:
    return f"a launch on {claim.host} (process {claim.pid})"
