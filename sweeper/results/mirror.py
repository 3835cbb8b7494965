"""Keeps an object store a copy of the folder that a sweep runs in, and brings it back.

The store always holds the folder as it was at one instant, which is what a killed launch goes on from. Several objects
cannot be replaced at once, so what changed is brought to a staging folder first; writing the manifest, one object, is
the moment at which it counts; then it is copied, within the store, to where plain readers look for it. Whoever
finds that the copying was not finished takes the staged objects for the others, or finishes it.
docs/decisions/0013-mirror.md has the reasons.
"""

import fcntl
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path

from sweeper.errors import StorageError, UserError
from sweeper.locations import in_store, working_folder
from sweeper.paths import SweepFolder, write_atomically, write_text
from sweeper.results.inventory import MANIFEST, Manifest, freeze, is_kept, scan, thaw
from sweeper.results.lease import Lease
from sweeper.results.store import ERRORS, Store, reason

LAG_SECONDS = 5.0
"""How far the store is behind, and the beat of the lease."""
LAG = "SWEEPER_LAG"
"""Environment variable: another number of seconds."""
_STAGING = ".staging"
_LOCK = ".mirror.lock"
"""Held while the folder is made equal to the store."""
_NOT_READ = "checkpoints/"
_AT_ONCE = 4
_PASSES = 20
_LAST_TRIES = 3
Say = Callable[[str], object]


@contextmanager
def mirrored(address: str, folder: SweepFolder, say: Say) -> Iterator["Mirror | None"]:
    """Run a sweep whose results are in an object store: bring them here, keep the store up to date, and let go.

    Args:
        address: of the sweep; for a path there is nothing to do.
        folder: the local folder it runs in, whose lock this process holds.
        say: is told what a user should know before the sweep starts.

    Raises:
        UserError: the store cannot be used, or another launch runs the sweep.
        StorageError: at the end, when the last results could not be brought to the store, or another launch took the
            sweep over.
    """
    if not in_store(address):
        yield None
        return
    lag = _lag()
    with _explained(address):
        store = Store(address)
        lease = Lease(store, lag)
        lease.take(folder, say)
    try:
        mirror = Mirror(store, folder, lease, lag)
        with _explained(address):
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


def localised(address: str) -> SweepFolder:
    """The folder of a sweep to read: of one in an object store a local copy, brought up to date.

    A sweep that a launch on this machine is running, or ran last, is read where it runs.

    Raises:
        UserError: the store cannot be read.
    """
    try:
        folder = SweepFolder(working_folder(address))
    except ValueError as error:
        raise UserError(str(error)) from None
    if not in_store(address) or _is_running(folder):
        return folder
    with _explained(address):
        store = Store(address)
        there = _manifest(store)
        if there is None:
            return folder
        with _alone(folder):
            if not _is_running(folder) and there.newer_than(_local(folder)):
                _fetch(store, folder, lambda name: not name.startswith(_NOT_READ))
    return folder


class Mirror:
    """Brings a sweep's folder to its store.

    Args:
        store: where to.
        folder: where from.
        lease: held by this launch.
        lag: seconds between two looks at the folder.
    """

    def __init__(self, store: Store, folder: SweepFolder, lease: Lease, lag: float):
        self._store, self._folder, self._lease, self._lag = store, folder, lease, lag
        self._there = Manifest()
        self._settled = True
        self._pushes = 0
        self._failing = False
        self._untold: list[str] = []
        self._notice: Say = self._untold.append
        self._stop: Say = lambda why: None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)

    def restore(self, say: Say) -> None:
        """Make the local folder equal to the store, unless it is what a launch here left behind.

        Raises:
            UserError: the store's record is damaged.
        """
        with _alone(self._folder):
            there, local = _manifest(self._store), _local(self._folder)
            if there is None:
                if local is not None:
                    say(f"{self._store.uri} has nothing of this sweep; what {self._folder.root} has is brought there")
                return
            _settle(self._store, there)
            self._store.delete_folder(_STAGING)
            if there.newer_than(local):
                say(f"bringing what {self._store.uri} has to {self._folder.root}")
                there = _fetch(self._store, self._folder, lambda name: True) or there
                write_text(self._folder.root / MANIFEST, there.text())
            self._there = there

    def start(self) -> None:
        """Bring what changes to the store from now on, in a thread of its own."""
        self._thread.start()

    def follow(self, notice: Say, stop: Say) -> None:
        """Say from now on what a user should know, and end the sweep when another launch takes it over."""
        self._notice, self._stop = notice, stop
        for each in self._untold:
            notice(each)
        if self._lease.lost:
            stop(self._lease.lost)

    def push(self) -> None:
        """Bring the store to what the folder holds now. Nothing is done when nothing changed.

        Raises:
            StorageError: another launch has taken the sweep over.
            OSError, ArrowException: the store cannot be reached, or refuses.
        """
        try:
            self._settle()
            self._push()
        finally:
            thaw(self._folder.root)

    def _push(self) -> None:
        files, frozen = freeze(self._folder.root, self._there.files, self._folder.journal.name)
        staged = tuple(name for name, stamp in files.items() if self._there.files.get(name) != stamp)
        removed = tuple(name for name in self._there.files if name not in files)
        if not staged and not removed:
            return
        self._pushes += 1
        staging = f"{_STAGING}/{self._lease.token}-{self._pushes}"
        _at_once(lambda name: self._store.upload(frozen / name, f"{staging}/{name}"), staged)
        new = Manifest(self._there.generation + 1, self._lease.token, files, staging, staged, removed)
        # Here first: a launch that dies in between finds that its own folder is the newer one.
        write_text(self._folder.root / MANIFEST, new.text())
        self._lease.confirm()
        self._store.write(MANIFEST, new.text().encode())
        self._there, self._settled = new, False
        self._settle()

    def close(self, tries: int = _LAST_TRIES) -> None:
        """Bring the rest to the store and stop.

        Raises:
            StorageError: that was not possible, or another launch has taken the sweep over.
        """
        self._done.set()
        self._thread.join()
        said = ""
        for attempt in range(tries):
            if attempt:
                self._done.wait(self._lag)
            try:
                self._lease.confirm()
                self.push()
                return
            except ERRORS as error:
                said = reason(error)
        if tries:
            raise StorageError(
                f"{self._store.uri}: the last results could not be brought there ({said}). {self._folder.root} has "
                "all of them; the same command on this machine brings them there and goes on"
            )

    def _settle(self) -> None:
        if not self._settled:
            _settle(self._store, self._there)
            self._settled = True

    def _follow(self) -> None:
        while not self._done.wait(self._lag):
            try:
                self._lease.confirm()
                self.push()
            except StorageError as error:
                self._stop(str(error))
                return
            except ERRORS as error:
                if not self._failing:
                    self._notice(
                        f"{self._store.uri} cannot be brought up to date ({reason(error)}); trying again, and "
                        f"{self._folder.root} has everything"
                    )
                self._failing = True
            else:
                if self._failing:
                    self._notice(f"{self._store.uri} is up to date again")
                self._failing = False


def _manifest(store: Store) -> Manifest | None:
    """What a store holds of a sweep, also of one that was copied there by other means; None without a sweep."""
    content = store.read(MANIFEST)
    if content is not None:
        return Manifest.parse(content, f"{store.uri}/{MANIFEST}")
    files = store.listing()
    space = SweepFolder(Path()).space.name
    return Manifest(files={name: files[name] for name in sorted(files) if is_kept(name)}) if space in files else None


def _local(folder: SweepFolder) -> Manifest | None:
    """What the store held when it was last equal to the folder; None where nobody has worked in the folder since."""
    path = folder.root / MANIFEST
    return Manifest.parse(path.read_bytes(), str(path)) if path.exists() else None


def _settle(store: Store, manifest: Manifest) -> None:
    """Put staged objects in their places and delete what is to go. Doing it again changes nothing.

    Table by table, in the order in which a trial's rows are written: a trial in `trials` is complete in the others.
    """
    waiting = store.listing(manifest.staging) if manifest.staging else {}
    for _, names in groupby(sorted(waiting), key=lambda name: name.partition("/")[0]):
        _at_once(lambda name: store.copy(f"{manifest.staging}/{name}", name), names)
    _at_once(store.delete, manifest.removed)
    if waiting:
        store.delete_folder(manifest.staging)


def _fetch(store: Store, folder: SweepFolder, wanted: Callable[[str], bool]) -> Manifest | None:
    """Make a folder equal to the store, again until nothing changed meanwhile.

    What is the same already is left alone. Raises OSError where the two do not become equal.
    """
    # An interrupted copy is not what a launch left behind.
    (folder.root / MANIFEST).unlink(missing_ok=True)
    for _ in range(_PASSES):
        manifest = _manifest(store)
        if manifest is None:
            return None
        here = {name: stamp for name, stamp in scan(folder.root).items() if wanted(name)}
        there = {name: stamp for name, stamp in manifest.files.items() if wanted(name)}
        if here == there:
            return manifest
        for name in here.keys() - there.keys():
            (folder.root / name).unlink(missing_ok=True)
        missing = [name for name in there if here.get(name) != there[name]]
        with suppress(FileNotFoundError):  # it went while we looked
            _at_once(partial(_download, store, folder, manifest), missing)
    raise OSError(f"after {_PASSES} times of copying, the copy is not equal to what {MANIFEST} there lists")


def _download(store: Store, folder: SweepFolder, manifest: Manifest, name: str) -> None:
    """One file, from the staging folder while it waits there, with the time of its last change."""

    def write(beside: Path) -> None:
        try:
            if name not in manifest.staged:
                raise FileNotFoundError
            store.download(f"{manifest.staging}/{name}", beside)
        except FileNotFoundError:
            store.download(name, beside)
        changed = manifest.files[name][1]
        os.utime(beside, ns=(changed, changed))

    write_atomically(folder.root / name, write)


def _at_once(do: Callable[[str], None], names: Iterable[str]) -> None:
    """Do something for several names, a few at a time. Raises what the first that fails raises, when all are done."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(do, names):
            pass


@contextmanager
def _alone(folder: SweepFolder) -> Iterator[None]:
    """One process at a time makes a folder equal to the store."""
    folder.root.mkdir(parents=True, exist_ok=True)
    with open(folder.root / _LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_running(folder: SweepFolder) -> bool:
    """Whether a launch on this machine holds the folder's lock."""
    try:
        with open(folder.lock) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _lag() -> float:
    given = os.environ.get(LAG)
    try:
        lag = LAG_SECONDS if given is None else float(given)
    except ValueError:
        lag = 0.0
    if not 0 < lag < math.inf:
        raise UserError(f"{LAG}: got {given!r}; it must be a number of seconds, more than 0")
    return lag


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Say what a user can do when a store does not answer."""
    try:
        yield
    except ERRORS as error:
        raise UserError(
            f"{address}: cannot be used ({reason(error)}); check the bucket and the network, and that the environment "
            "has credentials, region and, for a server of your own, AWS_ENDPOINT_URL (docs/storage.md)"
        ) from None
