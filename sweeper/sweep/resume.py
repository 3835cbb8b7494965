"""Whether a launch may continue a sweep in its folder: are the space and the code the same?"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sweeper.config.loading import Loaded
from sweeper.config.model import SweepSpec
from sweeper.config.reader import text_of
from sweeper.config.saved import DESCRIPTION, saved_spec
from sweeper.environment import provenance
from sweeper.errors import UserError
from sweeper.folder import integrity
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.results.readback import TrialOutcome
from sweeper.search.storage import Journal, Storage
from sweeper.search.study import Study
from sweeper.stats import capping

_MAY_CHANGE = {"name", "budget", "resources", "confirm", "keep", "notify", "results", "start", "trackers"}
"""Sections that may differ when a sweep is continued; its name, because folders are moved."""
_TRIES, _BETWEEN_TRIES_S = 5, 0.1


@contextmanager
def locked(folder: SweepFolder) -> Iterator[None]:
    """Let one launch at a time run a sweep; a lock dies with its process.

    Raises:
        UserError: the folder is in use, or cannot be written.
    """
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        if folder.lock.exists() and not folder.lock.is_file():
            raise UserError(f"{folder.lock}: not a file; move it away to continue")
        lock = open(folder.lock, "a")  # noqa: SIM115  # it is held, not read
    except OSError as error:
        raise UserError(f"results: {folder.root} cannot be written ({error.strerror})") from None
    with lock:
        if not _acquired(lock):
            raise UserError(f"{folder.root}: another launch is running this sweep; wait for it, or change name")
        yield


def _acquired(lock: IO[str]) -> bool:
    """Try to take the lock. Processes that check whether a sweep runs hold it for an instant."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_BETWEEN_TRIES_S)
        else:
            return True
    return False


def changes(folder: SweepFolder, loaded: Loaded) -> list[str]:
    """Changes since the last launch: keys of the space.yaml, files and versions of the code.

    Raises:
        UserError: records of earlier launches are damaged, or the folder holds files of another origin.
    """
    integrity.check(folder)
    if not folder.space.exists():
        return []
    before = saved_spec(folder)
    earlier = provenance.launches(folder)
    recorded = _recorded_code(earlier)
    now = provenance.code(type(loaded.spec.task))
    if provenance.older_layout(recorded):  # file names cannot be compared: see `note`
        recorded, now = ({"torch": each["torch"]} if "torch" in each else {} for each in (recorded, now))
    code = _different(recorded, now) if earlier else []
    return [*_different(_flat(before), _flat(loaded.spec)), *(f"code: {each}" for each in code)]


def note(folder: SweepFolder) -> str:
    """A caution about a sweep that continues unchanged; usually empty."""
    if not folder.space.exists() or not provenance.older_layout(_recorded_code(provenance.launches(folder))):
        return ""
    return (
        f"{folder.root} began with a version of sweeper whose files lay elsewhere, so it is not checked whether code "
        "that decides outcomes has changed since; later launches are compared with this one"
    )


def refuse_record(folder: SweepFolder, space: Path) -> None:
    """Raise UserError if a new sweep is to begin from the file that another sweep's folder keeps."""
    other = SweepFolder(Path(os.path.abspath(space)).parent)
    is_record = other.provenance.exists() and os.path.abspath(space) == str(other.space)
    if is_record and not folder.space.exists():
        raise UserError(
            f"{space}: the record of a sweep, which {folder.root} does not hold; sweeper resume {other.root} continues "
            "that sweep where it is now; --set name=... begins another one with the same question"
        )


def renamed(folder: SweepFolder) -> str:
    """A word about sweeps beside this new one that had its name; empty for none."""
    name = re.compile(rf"""^name: *["']?{re.escape(folder.root.name)}["']? *$""", re.MULTILINE)
    beside = [] if folder.space.exists() else sorted(folder.root.parent.glob("*/" + folder.space.name))
    found = []
    for space in beside:
        with suppress(OSError, UnicodeError):
            if name.search(space.read_text(encoding="utf-8")):
                found.append(space.parent)
    if not found:
        return ""
    return (
        f"{folder.root} is new; {found[0]} holds a sweep that was called {folder.root.name}: sweeper resume {found[0]} "
        "continues that one"
    )


def _recorded_code(launches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The hashes of code that the last launch recorded."""
    found = launches[-1].get("code") if launches else None
    return found if isinstance(found, dict) else {}


def refuse(changed: list[str], folder: SweepFolder, space: Path) -> None:
    """Raise UserError listing the changes and how to resolve them."""
    if changed:
        raise UserError(
            "\n".join([f"{space}: this is not what {folder.root} began with:", *(f"  {each}" for each in changed)])
            + "\nundo that, give this sweep another name (--set name=...), or continue all the same with "
            "--accept-changes: finished trials stay as they are"
        )


@contextmanager
def study_of(folder: SweepFolder, loaded: Loaded) -> Iterator[Study]:
    """The sweep's study. Raises UserError if it is another sweep's, or damaged."""
    spec, new = loaded.spec, not folder.space.exists()
    places = capping.places_that_matter(spec.budget.trials, spec.finalists)
    with closing(_storage(folder, spec)) as storage:
        study = Study(storage, loaded.space, spec.sampler, places)
        if new and study.trials:
            trials = "1 trial" if study.trials == 1 else f"{study.trials} trials"
            raise UserError(
                f"{storage.where}: holds a sweep {spec.name} with {trials} already, and {folder.root} is new; give "
                "this one another name, or put back the folder that belongs to it"
            )
        yield study


def check_tables_match_study(folder: SweepFolder, known: Mapping[int, TrialOutcome], study: Study) -> None:
    """Check that the study knows every trial of the tables. Raises UserError."""
    unknown = sorted(number for number in known if number >= study.trials)
    if unknown:
        raise UserError(
            f"{folder.root}: its tables hold trial {unknown[0]}, which {study.where} does not; restore the one "
            "that belongs to them, or give this sweep another name"
        )


def record_launch(folder: SweepFolder, loaded: Loaded, space: Path, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Record a launch in the sweep's folder.

    Args:
        folder: the sweep's.
        loaded: the checked space.
        space: its file.
        measured: further facts about this launch.

    Returns:
        This launch's provenance.
    """
    task = loaded.spec.task
    record = provenance.collect(space, type(task)) | {DESCRIPTION: task.description()} | dict(measured)
    write_text(folder.provenance, json.dumps([*provenance.launches(folder), record], indent=1))
    write_text(folder.space, text_of(loaded.document))
    return record


def _storage(folder: SweepFolder, spec: SweepSpec) -> Storage:
    if spec.storage is None:
        return Journal(folder.journal)
    from sweeper.search.database import Database  # noqa: PLC0415  # most sweeps need no SQLAlchemy

    return Database(spec.storage, spec.name)


def _flat(spec: SweepSpec) -> dict[str, Any]:
    """Key path -> value, without the sections that may change."""
    found: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, each in value.items():
                walk(f"{path}.{key}" if path else key, each)
        else:
            found[path] = value

    walk("", spec.model_dump(mode="json", exclude=_MAY_CHANGE))
    return found


def _different(before: Any, now: Mapping[str, Any]) -> list[str]:
    """A line for each key whose value changed."""
    if not isinstance(before, dict):
        return []
    return [
        f"{key}: began with {_word(before, key)}, is now {_word(now, key)}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]


def _word(values: Mapping[str, Any], key: str) -> str:
    return "nothing" if values.get(key) is None else json.dumps(values[key], ensure_ascii=False)
