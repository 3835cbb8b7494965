"""Makes a folder on this machine equal to what a store holds of a sweep: to go on from there, or to read.

What a store holds is what its manifest lists. Objects that the manifest calls staged may still wait in the staging
folder, so they are looked for there first; nobody who only reads has to write anything there.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path

from sweeper.errors import UserError
from sweeper.folder import integrity
from sweeper.folder.address import in_store, working_folder
from sweeper.folder.layout import SweepFolder, write_atomically, write_briefly
from sweeper.folder.manifest import MANIFEST, Manifest, is_kept, scan
from sweeper.folder.object_store import ERRORS, Store, reason

_LOCK = ".mirror.lock"
"""Held while the folder is made equal to the store."""
_NOT_READ = f"{SweepFolder(Path()).checkpoints}/"
_AT_ONCE = 4
_PASSES = 20
_FAILURES = 3


def localised(address: str) -> SweepFolder:
    """The folder of a sweep to read: of one in an object store a local copy, brought up to date.

    A sweep that a launch on this machine is running, or ran last, is read where it runs.

    Raises:
        UserError: not an address, or the store cannot be read; or the folder holds what no sweep leaves there.
    """
    try:
        folder = SweepFolder(working_folder(address))
    except ValueError as error:
        raise UserError(str(error)) from None
    if in_store(address) and not is_running(folder):
        with explained(address):
            _bring(Store(address), folder)
    integrity.check(folder)
    return folder


def _bring(store: Store, folder: SweepFolder) -> None:
    there = stored(store)
    if there is None:
        return
    with alone(folder):
        if is_running(folder):
            return
        if there.newer_than(remembered(folder)):
            fetch(store, folder, lambda name: not name.startswith(_NOT_READ))
        status = store.read(folder.status.name)
        if status is not None:
            write_briefly(folder.status, status)


def request_stop(address: str, request: bytes) -> None:
    """Leave a request to stop where the launch that runs a sweep finds it: in its folder, or in the store.

    Raises:
        UserError: it cannot be written there.
    """
    folder = SweepFolder(working_folder(address))
    if in_store(address) and not is_running(folder):
        with explained(address):
            Store(address).write(folder.stop_request.name, request)
        return
    try:
        write_briefly(folder.stop_request, request)
    except OSError as error:
        raise UserError(f"{folder.stop_request}: cannot be written ({error.strerror})") from None


def stored(store: Store) -> Manifest | None:
    """What a store holds of a sweep, also of one that was copied there by other means; None without a sweep."""
    content = store.read(MANIFEST)
    if content is not None:
        return Manifest.parse(content, f"{store.uri}/{MANIFEST}")
    files = store.listing()
    space = SweepFolder(Path()).space.name
    return Manifest(files={name: files[name] for name in sorted(files) if is_kept(name)}) if space in files else None


def remembered(folder: SweepFolder) -> Manifest | None:
    """What the store held when a launch last made it equal to the folder, or was about to; None without one."""
    path = folder.root / MANIFEST
    return Manifest.parse(path.read_bytes(), str(path)) if path.exists() else None


def settle(store: Store, manifest: Manifest) -> None:
    """Put staged objects in their places and delete what is to go. Doing it again changes nothing.

    Table by table, in the order in which a trial's rows are written: a trial in `trials` is complete in the others.
    """
    waiting = store.listing(manifest.staging) if manifest.staging else {}
    for _, names in groupby(sorted(waiting), key=lambda name: name.partition("/")[0]):
        at_once(lambda name: store.copy(f"{manifest.staging}/{name}", name), names)
    at_once(store.delete, manifest.removed)
    if waiting:
        store.delete_folder(manifest.staging)


def fetch(store: Store, folder: SweepFolder, wanted: Callable[[str], bool] = lambda name: True) -> Manifest | None:
    """Make a folder equal to the store, again until nothing changed meanwhile.

    What is the same already is left alone. Returns what the store holds; None where it has no sweep any more.

    Raises:
        OSError, ArrowException: the two do not become equal.
    """
    # An interrupted copy is not what a launch left behind.
    (folder.root / MANIFEST).unlink(missing_ok=True)
    failures = 0
    for _ in range(_PASSES):
        manifest = stored(store)
        if manifest is None:
            return None
        here = {name: stamp for name, stamp in scan(folder.root).items() if wanted(name)}
        there = {name: stamp for name, stamp in manifest.files.items() if wanted(name)}
        if here == there:
            return manifest
        for name in here.keys() - there.keys():
            (folder.root / name).unlink(missing_ok=True)
        missing = [name for name in there if here.get(name) != there[name]]
        try:
            at_once(partial(_download, store, folder, manifest), missing)
        except ERRORS:  # perhaps it was replaced or deleted while we looked
            failures += 1
            if failures == _FAILURES:
                raise
    raise OSError(f"after {_PASSES} times of copying, the copy is not equal to what {MANIFEST} there lists")


def _download(store: Store, folder: SweepFolder, manifest: Manifest, name: str) -> None:
    """One file, from the staging folder while it waits there, with the time of its last change."""
    path = folder.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: what a store raises is not trouble with the disk.
    fetched = path.with_name(f".{path.name}.fetched.partial")
    try:
        if name not in manifest.staged:
            raise FileNotFoundError
        store.download(f"{manifest.staging}/{name}", fetched)
    except FileNotFoundError:
        store.download(name, fetched)
    changed = manifest.files[name][1]
    os.utime(fetched, ns=(changed, changed))
    write_atomically(path, partial(os.replace, fetched))


def at_once(do: Callable[[str], None], names: Iterable[str]) -> None:
    """Do something for several names, a few at a time. Raises what the first that fails raises, when all are done."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(do, names):
            pass


@contextmanager
def alone(folder: SweepFolder) -> Iterator[None]:
    """One process at a time makes a folder equal to the store."""
    folder.root.mkdir(parents=True, exist_ok=True)
    with open(folder.root / _LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Say what a user can do when a store does not answer."""
    try:
        yield
    except ERRORS as error:
        raise UserError(
            f"{address}: cannot be used ({reason(error)}); check the bucket and the network, and that the environment "
            "has credentials, region and, for a server of your own, AWS_ENDPOINT_URL (docs/storage.md)"
        ) from None


def is_running(folder: SweepFolder) -> bool:
    """Whether a launch on this machine holds the folder's lock."""
    try:
        with open(folder.lock) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
