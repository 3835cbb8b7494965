"""One launch at a time runs a sweep that is in an object store, whichever machines they are on.

The store holds an object that says who runs the sweep, and the holder counts it up at every beat. Whoever finds it
looks for a bit more than three beats: when it counts, its holder lives; when it does not, its holder is dead. No
clocks are compared. A store has no locks, so this cannot stop a holder that slept through its own death from writing
once more; it looks before it writes, and ends when the lease is another's.
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
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.manifest import LEASE
from sweeper.folder.object_store import ERRORS, Store

_BEATS = 3.5
"""Beats without news after which a holder is taken for dead."""
_TOKEN = ".lease"
"""File that remembers this folder's last claim: whoever holds the folder's lock knows that its holder is dead."""


@dataclass(frozen=True)
class Claim:
    """What the lease says.

    Attributes:
        host, pid: who holds it.
        token: names the launch.
        beat: counts up.
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
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    @property
    def token(self) -> str:
        """Names this launch."""
        return self._claim.token

    def take(self, folder: SweepFolder, say: Callable[[str], object]) -> None:
        """Take the lease, and count it up until it is released.

        Args:
            folder: the sweep's local folder, whose lock this process holds.
            say: is told from whom the sweep was taken over.

        Raises:
            UserError: another launch is running the sweep.
        """
        remembered = folder.root / _TOKEN
        found = self._read()
        if found is not None and not (remembered.exists() and remembered.read_text() == found.token):
            self._outlast(found, say)
        write_text(remembered, self.token)
        self._write()
        found = self._read()
        if not self._is_ours(found):
            raise self._refusal(found)
        self._thread.start()

    def release(self) -> None:
        """Let the next launch begin at once."""
        self._done.set()
        self._thread.join()
        with suppress(*ERRORS):  # then the next launch waits for beats that do not come
            if self._is_ours(self._read()):
                self._store.delete(LEASE)

    def confirm(self) -> None:
        """Look whether the lease is still ours. Raises StorageError, where it is not, with words in `lost`."""
        found = self._read()
        if self.lost:
            raise StorageError(self.lost)
        if found is not None and not self._is_ours(found):
            raise self.lose(_who(found))

    def lose(self, who: str) -> StorageError:
        """Give the lease up to somebody who has it, for good. Returns the error that says so."""
        self.lost = (
            f"{self._store.uri}: {who} took this sweep over, as this launch was not heard of for a while; "
            "this one ends, and what it did since counts for nothing"
        )
        return StorageError(self.lost)

    def _outlast(self, found: Claim, say: Callable[[str], object]) -> None:
        """Wait until a claim is dead. Raises UserError when it lives."""
        until = time.monotonic() + _BEATS * found.every
        while time.monotonic() < until:
            time.sleep(found.every / 4)
            now = self._read()
            if now is None:
                return
            if now != found:
                raise self._refusal(now)
        say(f"taking over from {_who(found)}, which has not been heard of for {_BEATS * found.every:g} s")

    def _refusal(self, found: Claim | None) -> UserError:
        who = _who(found) if found else "somebody"
        return UserError(f"{self._store.uri}: {who} is running this sweep; wait for it, or change name")

    def _beat(self) -> None:
        while not self._done.wait(self._claim.every):
            try:
                self.confirm()
                self._claim = replace(self._claim, beat=self._claim.beat + 1)
                self._write()
            except StorageError:
                return
            except ERRORS:
                continue  # whoever brings results there says so

    def _is_ours(self, found: Claim | None) -> bool:
        return found is not None and found.token == self.token

    def _write(self) -> None:
        self._store.write(LEASE, json.dumps(asdict(self._claim)).encode())

    def _read(self) -> Claim | None:
        content = self._store.read(LEASE)
        if content is None:
            return None
        try:
            return Claim(**json.loads(content))
        except (ValueError, TypeError):  # of another version; whether it changes shows as well whether its holder lives
            return replace(self._claim, host="an unknown machine", pid=0, token=content.decode(errors="replace"))


def _who(claim: Claim) -> str:
    return f"a launch on {claim.host} (process {claim.pid})"
