"""Finds sweeps by what people call them: a name in results/, a folder, an address in a store, or a folder of many."""

from collections.abc import Callable
from pathlib import Path

from sweeper.errors import UserError, nearest, plural
from sweeper.folder.address import check, in_store
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import local_folder, store_errors
from sweeper.folder.object_store import Store

RESULTS = "results"
"""The folder in which the name of a sweep is looked up."""
_LISTED = 5
"""Names of sweeps in a message."""


def find(called: str, say: Callable[[str], object]) -> SweepFolder | dict[str, SweepFolder]:
    """One sweep, or every sweep in a folder or below an address, by name.

    Args:
        called: name, folder or address.
        say: takes a sentence about each sweep of several that cannot be read, and is left out.

    Raises:
        UserError: there is none that can be read.
    """
    one = _one(called)
    if one is not None:
        return one
    found: dict[str, SweepFolder] = {}
    problems: list[str] = []
    for name, address in addresses(called).items():
        try:
            found[name] = local_folder(address)
        except UserError as error:
            problems.append(f"{name} is left out: {error}")
    if not found:
        raise UserError("\n".join(problems))
    for problem in problems:
        say(problem)
    return found


def addresses(called: str) -> dict[str, str]:
    """Name -> address of a sweep, or of every sweep in a folder or below an address; none of them is looked at.

    Raises:
        UserError: there is none.
    """
    one = _one(called)
    found = {one.root.name: called} if one is not None else _below(called)
    if not found:
        raise UserError(_nothing(called))
    return found


def find_sweep(called: str) -> SweepFolder:
    """The folder of one sweep, or of a local copy of it.

    Raises:
        UserError: there is no such sweep, or there are several.
    """
    one = _one(called)
    if one is not None:
        return one
    names = [] if in_store(called) else list(_below(called))
    if names:
        some = ", ".join(f"{called.rstrip('/')}/{name}" for name in names[:3])
        raise UserError(f"{called}: holds {plural(len(names), 'sweep')}; give one, such as {some}")
    raise UserError(_nothing(called))


def address_of_one(called: str) -> str:
    """The folder or address that a sweep's name means; what is neither a name nor there stays as it is."""
    named = Path(RESULTS) / called
    here = "/" in called or Path(called).is_dir()
    return called if here or not named.is_dir() else str(named)


def _one(called: str) -> SweepFolder | None:
    address = address_of_one(called)
    if Path(address).is_dir() and not SweepFolder(Path(address)).space.is_file():
        return None  # a folder of sweeps perhaps: what lies in it concerns each of them alone
    folder = local_folder(address)
    return folder if folder.space.is_file() else None


def _below(called: str) -> dict[str, str]:
    """Name -> address of every sweep that lies directly below."""
    if in_store(called):
        with store_errors(called):
            names = Store(check(called)).folders_with(SweepFolder(Path()).space.name)
        return {name: f"{called.rstrip('/')}/{name}" for name in names}
    root = Path(called)
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: str(path) for path in found if SweepFolder(path).space.is_file()}


def _nothing(called: str) -> str:
    sweep, colon, trial = called.rpartition(":")
    if colon and trial and not in_store(called) and _one(sweep) is not None:
        return f"{called}: names a trial, and this takes a whole sweep: {sweep}; sweeper show {called} shows the trial"
    names = [] if in_store(called) else list(_below(RESULTS))
    hint = nearest(called, names)
    some = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    known = f"; in {RESULTS}: {some}" if names and not hint else ""
    return f"{called}: no sweep here{hint}; give the folder that `sweeper launch` named, or its name{known}"
