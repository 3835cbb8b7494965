"""Mirror the folder of a running sweep to an object store.

The store always holds a snapshot of the folder at one instant, from which a killed launch resumes. Several objects
cannot be replaced atomically, so changed files are uploaded to a staging folder first; writing the manifest, one
object, commits them; then they are copied, within the store, to their final names. A reader that finds the copying
unfinished reads the staged objects instead; a launch finishes it.
docs/decisions/0013-mirror.md has the reasons.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sweeper.errors import StorageError, SweeperError, UserError
from sweeper.folder.address import in_store
from sweeper.folder.background import Background
from sweeper.folder.conditional import ChangedError
from sweeper.folder.layout import SweepFolder, write_briefly, write_text
from sweeper.folder.lease import Lease
from sweeper.folder.local_copy import (
    apply_staged,
    at_once,
    exclusive,
    fetch,
    local_manifest,
    store_errors,
    stored_version,
)
from sweeper.folder.manifest import MANIFEST, Manifest, freeze, thaw
from sweeper.folder.object_store import ERRORS, Store, reason

LAG_SECONDS = 5.0
"""Delay of the store, and the interval of the lease."""
LAG = "SWEEPER_LAG"
"""Environment variable: another number of seconds."""
_STAGING = ".staging"
_LAST_TRIES = 3
Say = Callable[[str], object]


@contextmanager
def mirrored(address: str, folder: SweepFolder, say: Say, *, notice: Say, stop: Say) -> Iterator["Mirror | None"]:
    """Run a sweep in an object store: download it, keep the store up to date, and release the lease at the end.

    Args:
        address: of the sweep; for a path there is nothing to do.
        folder: the local folder it runs in, whose lock this process holds.
        say: prints what a user should know before the sweep starts.
        notice: is called with what the user should know while it runs.
        stop: ends the sweep when another launch takes it over, for the reason given.

    Raises:
        UserError: the store cannot be used, or another launch runs the sweep.
        StorageError: at the end, when the last results could not be brought to the store, or another launch took the
            sweep over.
    """
    if not in_store(address):
        yield None
        return
    lag = _lag()
    with store_errors(address):
        store = Store(address)
        lease = Lease(store, lag)
        lease.take(folder, say)
    try:
        mirror = Mirror(store.guarded(lease.guard), folder, lease, lag=lag, notice=notice, stop=stop)
        with store_errors(address):
            mirror.restore(say)
        mirror.start()
        try:
            yield mirror
        except BaseException as error:
            with suppress(StorageError):
                mirror.close(tries=1 if isinstance(error, Exception) else 0)
            raise
        mirror.close()
    finally:
        lease.release()


class Mirror:
    """Brings a sweep's folder to its store.

    Args:
        store: where to.
        folder: where from.
        lease: held by this launch.
        lag: seconds between two looks at the folder.
        notice, stop: see `mirrored`; called from another thread.

    Attributes:
        lag: the same.
    """

    def __init__(self, store: Store, folder: SweepFolder, lease: Lease, *, lag: float, notice: Say, stop: Say):
        self._store, self._folder, self._lease, self.lag = store, folder, lease, lag
        self._status = b""
        self._there = Manifest()
        self._settled = True
        self._pushes = 0
        self._failing = False
        self._notice, self._stop = notice, stop
        self._done = threading.Event()
        self._thread = Background(self._follow, name="mirror")

    def restore(self, say: Say) -> None:
        """Download the sweep, unless the local folder is at least as new.

        Raises:
            UserError: the store's record is damaged.
            OSError, ArrowException: the store cannot be reached, or refuses.
        """
        with exclusive(self._folder):
            there, version = stored_version(self._store)
            local = local_manifest(self._folder)
            if there is None:
                if local is not None:
                    say(f"{self._store.uri} does not have this sweep; uploading it from {self._folder.root}")
                there = Manifest()
            else:
                apply_staged(self._store, there)
                self._store.delete_folder(_STAGING)
                if there.newer_than(local):
                    say(f"downloading {self._store.uri} to {self._folder.root}")
                    there = fetch(self._store, self._folder) or there
            generation = max(there.generation, local.generation if local else 0) + 1
            # From now on no launch that was suspended can replace the manifest: it has read an earlier version.
            self._commit(Manifest(generation, self._lease.token, there.files), version)

    def start(self) -> None:
        """Upload changes from now on, in a background thread."""
        self._thread.start()

    def push(self) -> None:
        """Upload the changes of the folder, if there are any.

        Raises:
            StorageError: another launch has taken the sweep over.
            OSError, ArrowException: the store cannot be reached, or refuses.
        """
        try:
            self._settle()
            self._push()
        finally:
            thaw(self._folder.root)

    def close(self, tries: int = _LAST_TRIES) -> None:
        """Upload the last changes and stop.

        Raises:
            StorageError: the upload failed, or another launch has taken the sweep over.
        """
        self._done.set()
        self._thread.join()
        said = ""
        for attempt in range(tries):
            if attempt:
                time.sleep(self.lag)
            try:
                self._lease.confirm()
                self.push()
                self._carry()
                return
            except ERRORS as error:
                said = reason(error)
        if tries:
            raise StorageError(
                f"{self._store.uri}: the last results could not be uploaded ({said}). {self._folder.root} has all of "
                "them; the same command on this machine uploads them and continues"
            )

    def _push(self) -> None:
        appended = (self._folder.journal.name, self._folder.decisions.name)
        files, frozen = freeze(self._folder.root, self._there.files, appended)
        staged = tuple(name for name, stamp in files.items() if self._there.files.get(name) != stamp)
        removed = tuple(name for name in self._there.files if name not in files)
        if not staged and not removed:
            return
        self._pushes += 1
        staging = f"{_STAGING}/{self._lease.token}-{self._pushes}"
        try:
            at_once(lambda name: self._store.upload(frozen / name, f"{staging}/{name}"), staged)
            version = self._confirm()
            new = Manifest(self._there.generation + 1, self._lease.token, files, staging, staged, removed)
            self._commit(new, version)
        except StorageError:  # another launch holds the lease, and no manifest names what was on its way
            with suppress(*ERRORS):
                self._store.guarded(lambda: None).delete_folder(staging)
            raise
        self._settle()

    def _commit(self, new: Manifest, version: str | None) -> None:
        """Replace the manifest of which this version was read."""
        # Locally first: a launch that dies in between then finds that its own folder is newer.
        write_text(self._folder.root / MANIFEST, new.text())
        try:
            self._store.replace(MANIFEST, new.text().encode(), version)
        except ChangedError:
            written = self._store.read(MANIFEST)
            # A request that was repeated, because its answer was lost, finds its own effect.
            if written is None or Manifest.parse(written, self._store.uri) != new:
                raise self._lease.lose("another launch") from None
        self._there, self._settled = new, not new.staging

    def _confirm(self) -> str | None:
        """Check that the store is unchanged since the last upload, because only changes are uploaded.

        Returns:
            The version of the manifest.
        """
        self._lease.confirm()
        content, version = self._store.read_version(MANIFEST)
        if content is None:
            if self._there.launch:
                self._there = Manifest(self._there.generation)
                raise OSError(f"{MANIFEST} is missing; everything is uploaded again")
        elif Manifest.parse(content, self._store.uri).launch not in (self._there.launch, self._lease.token):
            raise self._lease.lose("another launch")
        return version

    def _settle(self) -> None:
        if not self._settled:
            apply_staged(self._store, self._there)
            self._settled = True

    def _carry(self) -> None:
        """Upload the heartbeat and download stop requests: separate objects, because no trial depends on them.

        A sweep is found by its space, so its heartbeat follows the space: a heartbeat in the store can be read.
        """
        request = self._store.read(self._folder.stop_request.name)
        if request is not None:
            write_briefly(self._folder.stop_request, request)
            self._store.delete(self._folder.stop_request.name)
        if self._folder.space.name not in self._there.files:
            return
        with suppress(FileNotFoundError):
            status = self._folder.status.read_bytes()
            if status != self._status:
                self._store.write(self._folder.status.name, status)
                self._status = status

    def _follow(self) -> None:
        while not self._done.wait(self.lag):
            try:
                self._lease.confirm()
                self.push()
                self._carry()
            except SweeperError as error:
                self._stop(str(error))
                return
            except ERRORS as error:
                if not self._failing:
                    self._notice(
                        f"{self._store.uri} cannot be updated ({reason(error)}); retrying; "
                        f"{self._folder.root} has everything"
                    )
                self._failing = True
            else:
                if self._failing:
                    self._notice(f"{self._store.uri} is up to date again")
                self._failing = False


def _lag() -> float:
    given = os.environ.get(LAG)
    try:
        lag = LAG_SECONDS if given is None else float(given)
    except ValueError:
        lag = 0.0
    if not 0 < lag < math.inf:
        raise UserError(f"{LAG}: got {given!r}; it must be a number of seconds, more than 0")
    return lag
