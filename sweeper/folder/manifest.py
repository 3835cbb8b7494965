"""What a sweep's folder holds at one instant: to compare with what a store holds, and to be taken there.

A sweep may be killed at any instant and goes on from what its folder holds then. So a copy of the folder is as good as
the folder if it is one of a single instant; files that were read one after the other, while the sweep went on, may
never have stood beside each other.
"""

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from pyarrow import fs

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.folder.object_store import Stamp

MANIFEST = "mirror.json"
LEASE = "launch.lease"
_SWEEP = SweepFolder(Path())
_APART = (MANIFEST, LEASE, _SWEEP.status.name, _SWEEP.stop_request.name)
"""Files that are no part of what a sweep goes on from."""
_REPORT = f"{_SWEEP.report}/"
_FROZEN = ".frozen"
_LOOKS = 50
_PAUSE = 0.0005
"""Seconds before the second look; each further pause is that much longer, 0.6 seconds in all."""
_LOCAL = fs.LocalFileSystem()


@dataclass(frozen=True)
class Manifest:
    """What a store holds of a sweep.

    Attributes:
        generation: counts what was brought to the store.
        launch: the token of the launch that brought it.
        files: name -> stamp of every file.
        staging: the folder of the store in which objects wait to be put in their places.
        staged: names of those objects.
        removed: names of files that are to be deleted.
    """

    generation: int = 0
    launch: str = ""
    files: Mapping[str, Stamp] = field(default_factory=dict)
    staging: str = ""
    staged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def newer_than(self, local: "Manifest | None") -> bool:
        """Whether another launch went on since the local folder was equal to the store.

        A folder without a manifest has not been worked in since, or never was brought to the store. One whose
        generation is larger was about to be brought there.
        """
        if local is None or self.generation > local.generation:
            return True
        return self.generation == local.generation and self.launch != local.launch

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | bytes, place: str) -> "Manifest":
        """From JSON. Raises UserError where it is damaged, or would write outside of the folder."""
        try:
            found = json.loads(text)
            files = {str(name): (int(size), int(changed)) for name, (size, changed) in found["files"].items()}
            staged, removed = tuple(found["staged"]), tuple(found["removed"])
            inside = all(_is_inside(name) for name in (*files, *staged, *removed))
            if inside:
                return cls(int(found["generation"]), found["launch"], files, found["staging"], staged, removed)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise UserError(f"{place}: damaged; delete it to take the files beside it as they are") from None


def scan(root: Path) -> dict[str, Stamp]:
    """Every file of a sweep's folder, by its name there: not locks, not what is hidden.

    One call for the whole folder: system calls of a thread beside a busy one wait for the interpreter, each.
    """
    found = _LOCAL.get_file_info(fs.FileSelector(str(root), recursive=True, allow_not_found=True))
    files = {
        os.path.relpath(each.path, root): (each.size, each.mtime_ns) for each in found if each.type == fs.FileType.File
    }
    return {name: files[name] for name in sorted(files) if is_kept(name)}


def freeze(root: Path, known: Mapping[str, Stamp], appended: str) -> tuple[dict[str, Stamp], Path]:
    """Hold what has changed in the folder as it is at one instant.

    Files are only ever replaced, so that a second name for one keeps its content; what is appended to is copied. When
    nothing changed between a look before and a look after, all of them stood there together. Pauses between the looks
    grow, so that they outlast a burst of writing.

    Args:
        root: the folder.
        known: files that need not be held.
        appended: the name of the one file that is appended to.

    Returns:
        Every file of the folder at that instant, and a folder that holds those that are new or changed, until the next
        call.

    Raises:
        OSError: the folder changed at every look, or cannot be read.
    """
    frozen = root / _FROZEN
    for look in range(_LOOKS):
        time.sleep(_PAUSE * look)
        shutil.rmtree(frozen, ignore_errors=True)
        files = scan(root)
        try:
            for name, stamp in files.items():
                if known.get(name) != stamp:
                    _hold(root / name, frozen / name, by_copy=name == appended)
        except FileNotFoundError:
            continue
        if scan(root) == files:
            return files, frozen
    raise OSError(errno.EBUSY, f"changed at each of {_LOOKS} looks", str(root))


def thaw(root: Path) -> None:
    """Let go of what `freeze` held."""
    shutil.rmtree(root / _FROZEN, ignore_errors=True)


def _hold(file: Path, held: Path, *, by_copy: bool) -> None:
    held.parent.mkdir(parents=True, exist_ok=True)
    if not by_copy:
        try:
            os.link(file, held)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without second names
            pass
        else:
            return
    shutil.copyfile(file, held)


def is_kept(name: str) -> bool:
    """Whether a file belongs to the sweep: not a lock, not hidden, not a report, and not one of those apart."""
    return (
        name not in _APART
        and not name.startswith(_REPORT)
        and not name.endswith(".lock")
        and not any(each[0] == "." for each in name.split("/"))
    )


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
