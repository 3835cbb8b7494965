"""Remove and rename sweeps that nobody runs."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sweeper.config.reader import parse, text_of
from sweeper.config.saved import saved_spec
from sweeper.errors import StorageError, UserError
from sweeper.folder.address import in_store
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.local_copy import store_errors
from sweeper.folder.manifest import MANIFEST
from sweeper.folder.object_store import Store
from sweeper.monitor.status import sentence, status
from sweeper.results.query import records
from sweeper.sweep.resume import locked

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Say = Callable[[str], object]


@dataclass(frozen=True)
class Removal:
    """What removing a sweep takes away.

    Attributes:
        sweep: as the user named it.
        folder: the sweep's, or its local copy.
        trials: finished trials.
        size: bytes in the folder.
        storage: the database that has its trials; None for the folder itself.
    """

    sweep: str
    folder: SweepFolder
    trials: int
    size: int
    storage: str | None


def removal(sweep: str) -> Removal:
    """What `remove` would take away.

    Raises:
        UserError: there is no such sweep, it runs, or its folder holds what no sweep leaves there.
    """
    folder = _at_rest(sweep)
    odd = [path.name for path in _unknown(folder)]
    if odd:
        raise UserError(
            f"{folder.root}: holds {', '.join(sorted(odd)[:5])}, which no sweep leaves there; move that away first"
        )
    files = [path for path in folder.root.rglob("*") if path.is_file()]
    (row,) = records(folder, "SELECT count(*) AS n FROM trials")
    size = sum(path.stat().st_size for path in files)
    return Removal(sweep, folder, int(row["n"]), size, saved_spec(folder).storage)


def remove(what: Removal) -> None:
    """Remove a sweep: its folder, its objects in a store, and its study in a database. Trackers keep what they have.

    Raises:
        UserError: it has begun to run, or its database or its store cannot be used.
        StorageError: a file cannot be removed.
    """
    _at_rest(what.sweep)
    with locked(what.folder):
        if what.storage is not None:
            from sweeper.search.database import Database  # noqa: PLC0415  # most sweeps need no SQLAlchemy

            with closing(Database(what.storage, saved_spec(what.folder).name)) as database:
                database.delete()
        if in_store(what.sweep):
            with store_errors(what.sweep):
                _empty(Store(what.sweep))
        try:
            shutil.rmtree(what.folder.root)
        except OSError as error:
            raise StorageError(f"{error.filename}: could not be removed: {error.strerror}") from error


def move(sweep: str, to: str) -> SweepFolder:
    """Rename a sweep, or move its folder.

    Args:
        sweep: as the user names it.
        to: a name, or the path of a folder that does not exist.

    Raises:
        UserError: it runs, its trials are in a database or its files in a store, or the new place is taken or no name.
        StorageError: the folder cannot be moved.
    """
    folder = _at_rest(sweep)
    if in_store(sweep) or in_store(to):
        raise UserError(
            f"{sweep if in_store(sweep) else to}: mv moves folders on a disk; move the objects with the tools of your "
            "store, such as `aws s3 mv --recursive`, and the sweep continues there"
        )
    spec = saved_spec(folder)
    if spec.storage is not None:
        raise UserError(f"{sweep}: its trials are in {spec.storage} under its name, which therefore stays as it is")
    target = SweepFolder(Path(to) if "/" in to else folder.root.parent / to)
    if not _NAME.fullmatch(target.root.name):
        raise UserError(
            f"got the name {target.root.name!r}; a name has 1 to 100 letters, digits and . _ -, and begins with a "
            "letter or digit"
        )
    if target.root.exists():
        raise UserError(f"{target.root}: exists already; give another name, or remove it first")
    with locked(folder):
        try:
            target.root.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder.root, target.root)
        except OSError as error:
            raise StorageError(f"{folder.root}: could not be moved to {target.root}: {error.strerror}") from error
    write_text(target.space, _renamed(target.space.read_text(encoding="utf-8"), target.root.name))
    return target


def _at_rest(sweep: str) -> SweepFolder:
    """The folder of a sweep that does not run. Raises UserError."""
    folder, found = find_sweep(sweep), status(sweep)
    if found.running:
        raise UserError(f"{sentence(found)}; `sweeper stop {sweep}` ends it first")
    return folder


def _unknown(folder: SweepFolder) -> Iterator[Path]:
    """What lies in a sweep's folder and is no part of a sweep."""
    known = {path.name for path in (*folder.files, *folder.folders, folder.report)} | {MANIFEST}
    for path in folder.root.iterdir():
        if path.name not in known and not path.name.startswith("."):
            yield path


def _empty(store: Store) -> None:
    """Delete every object; the space.yaml and the manifest, without which it is no sweep, last."""
    last = (SweepFolder(Path()).space.name, MANIFEST)
    for name in store.listing():
        if name not in last:
            store.delete(name)
    for name in last:
        store.delete(name)


def _renamed(text: str, name: str) -> str:
    """A space.yaml with another name."""
    new = re.sub(r"^name:[^\n#]*", f"name: {json.dumps(name)} ", text, count=1, flags=re.MULTILINE)
    document = parse(new.encode(), "space.yaml")
    if document.data.get("name") != name:  # written in another way
        document.data["name"], document.text = name, ""
    return text_of(document)
