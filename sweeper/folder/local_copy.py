"""Make a local folder equal to a sweep in an object store, to resume or to read it.

The manifest lists the sweep's files. Objects that it lists as staged may still be in the staging folder, so they are
read from there first; readers never write to the store.
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
_CHECKPOINTS, _MODELS = (f"{each}/" for each in (SweepFolder(Path()).checkpoints, SweepFolder(Path()).models))
"""What a reader does not need, or seldom."""
_AT_ONCE = 4
_PASSES = 20
_FAILURES = 3


def local_folder(address: str, *, models: bool = False) -> SweepFolder:
    """The folder of a sweep to read; for a sweep in an object store, an up-to-date local copy.

    A sweep that a launch on this machine is running is read in the folder of that launch.

    Args:
        address: of the sweep.
        models: whether a copy has to have the trained parameters that are kept; without, they are left as they are.

    Raises:
        UserError: not an address, the store cannot be read, or the folder holds links or special files.
    """
    try:
        folder = SweepFolder(working_folder(address))
    except ValueError as error:
        raise UserError(str(error)) from None
    if in_store(address) and not is_running(folder):
        with store_errors(address):
            _bring(Store(address), folder, (_CHECKPOINTS,) if models else (_CHECKPOINTS, _MODELS))
    integrity.check(folder)
    return folder


def _bring(store: Store, folder: SweepFolder, without: tuple[str, ...]) -> None:
    there = stored_manifest(store)
    if there is None:
        return
    with exclusive(folder):
        if is_running(folder):
            return
        if there.newer_than(local_manifest(folder)):
            fetch(store, folder, lambda name: not name.startswith(without))
        for path in (folder.status, folder.labels):
            content = store.read(path.name)
            if content is not None:
                write_briefly(path, content)


def request_stop(address: str, request: bytes) -> None:
    """Write a stop request to the folder of the launch, or to the store.

    Raises:
        UserError: it cannot be written.
    """
    folder = SweepFolder(working_folder(address))
    if in_store(address) and not is_running(folder):
        with store_errors(address):
            Store(address).write(folder.stop_request.name, request)
        return
    try:
        write_briefly(folder.stop_request, request)
    except OSError as error:
        raise UserError(f"{folder.stop_request}: cannot be written ({error.strerror})") from None


def stored_manifest(store: Store) -> Manifest | None:
    """The manifest of a sweep in a store, or one made from the listing if it was copied by other means; else None."""
    return _manifest(store, store.read(MANIFEST))


def stored_version(store: Store) -> tuple[Manifest | None, str | None]:
    """The same, and the version of it that was read (`Store.read_version`)."""
    content, version = store.read_version(MANIFEST)
    return _manifest(store, content), version


def _manifest(store: Store, content: bytes | None) -> Manifest | None:
    if content is not None:
        return Manifest.parse(content, f"{store.uri}/{MANIFEST}")
    files = store.listing()
    space = SweepFolder(Path()).space.name
    return Manifest(files={name: files[name] for name in sorted(files) if is_kept(name)}) if space in files else None


def local_manifest(folder: SweepFolder) -> Manifest | None:
    """The manifest that a launch in this folder last uploaded, or was about to upload; None if there is none."""
    path = folder.root / MANIFEST
    return Manifest.parse(path.read_bytes(), str(path)) if path.exists() else None


def apply_staged(store: Store, manifest: Manifest) -> None:
    """Copy staged objects to their final names and delete removed ones. Idempotent.

    Table by table, in the order in which a trial's rows are written: a trial in `trials` is complete in the others.
    """
    waiting = store.listing(manifest.staging) if manifest.staging else {}
    for _, names in groupby(sorted(waiting), key=lambda name: name.partition("/")[0]):
        at_once(lambda name: store.copy(f"{manifest.staging}/{name}", name), names)
    at_once(store.delete, manifest.removed)
    if waiting:
        store.delete_folder(manifest.staging)


def fetch(store: Store, folder: SweepFolder, wanted: Callable[[str], bool] = lambda name: True) -> Manifest | None:
    """Download a sweep, repeatedly until the store does not change in between.

    Files that are equal already are kept. Returns the store's manifest; None if the store has no sweep any more.

    Raises:
        OSError, ArrowException: the two do not become equal.
    """
    # An interrupted copy is not what a launch left behind.
    (folder.root / MANIFEST).unlink(missing_ok=True)
    failures = 0
    for _ in range(_PASSES):
        manifest = stored_manifest(store)
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
        except ERRORS:  # it may have been replaced or deleted in the meantime
            failures += 1
            if failures == _FAILURES:
                raise
    raise OSError(f"after {_PASSES} attempts, the local copy still differs from {MANIFEST} in the store")


def _download(store: Store, folder: SweepFolder, manifest: Manifest, name: str) -> None:
    """Download one file, from the staging folder if it is still there, with its modification time."""
    path = folder.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # To a temporary file first, so that errors of the store are not reported as errors of the disk.
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
    """Call a function for several names, a few concurrently. When all are done, raises the first error, if any."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(do, names):
            pass


@contextmanager
def exclusive(folder: SweepFolder) -> Iterator[None]:
    """Hold the lock under which one process at a time synchronises a folder."""
    folder.root.mkdir(parents=True, exist_ok=True)
    with open(folder.root / _LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def store_errors(address: str) -> Iterator[None]:
    """Turn errors of a store into UserError with a remedy."""
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
