"""Consistent snapshots of a sweep's folder, to compare with a store and to upload.

A sweep may be killed at any instant and resumes from the folder's content at that instant. A copy of the folder is
therefore as good as the folder if it is a snapshot of one instant; files read one after the other, while the sweep was
running, may never have existed together.
"""

import errno
import json
import os
import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from pyarrow import fs

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.folder.object_store import Stamp

MANIFEST = "mirror.json"
LEASE = "launch.lease"
_SWEEP = SweepFolder(Path())
_APART = (MANIFEST, LEASE, _SWEEP.status.name, _SWEEP.stop_request.name, _SWEEP.labels.name)
"""Files that are not needed to resume a sweep."""
_REPORT = f"{_SWEEP.report}/"
_FROZEN = ".frozen"
_LOOKS = 50
_PAUSE = 0.0005
"""Seconds before the second look; each further pause is that much longer, 0.6 seconds in all."""
_LOCAL = fs.LocalFileSystem()


@dataclass(frozen=True)
class Manifest:
    """The list of a sweep's files in a store.

    Attributes:
        generation: number of uploads so far.
        launch: token of the launch that made this upload.
        files: name -> stamp of every file.
        staging: folder of the store with uploaded objects that may not have their final names yet.
        staged: names of those objects.
        removed: names of files to delete.
    """

    generation: int = 0
    launch: str = ""
    files: Mapping[str, Stamp] = field(default_factory=dict)
    staging: str = ""
    staged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def newer_than(self, local: "Manifest | None") -> bool:
        """Whether another launch has continued since the local folder was equal to the store.

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
        """From JSON. Raises UserError if it is damaged or has names outside the folder."""
        try:
            found = json.loads(text)
            files = {str(name): (int(size), int(changed)) for name, (size, changed) in found["files"].items()}
            staged, removed = tuple(found["staged"]), tuple(found["removed"])
            inside = all(_is_inside(name) for name in (*files, *staged, *removed))
            if inside:
                return cls(int(found["generation"]), found["launch"], files, found["staging"], staged, removed)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise UserError(f"{place}: damaged; delete it to use the files beside it as they are") from None


def scan(root: Path) -> dict[str, Stamp]:
    """Relative name -> stamp of every file of a sweep's folder, except locks and hidden files.

    One call for the whole folder: system calls of a thread beside a busy one wait for the interpreter, each.
    """
    found = _LOCAL.get_file_info(fs.FileSelector(str(root), recursive=True, allow_not_found=True))
    files = {
        os.path.relpath(each.path, root): (each.size, each.mtime_ns) for each in found if each.type == fs.FileType.File
    }
    return {name: files[name] for name in sorted(files) if is_kept(name)}


def freeze(root: Path, known: Mapping[str, Stamp], appended: Collection[str]) -> tuple[dict[str, Stamp], Path]:
    """Keep a snapshot of the changed files of a folder.

    Files are only ever replaced, so a hard link keeps the content; files that are appended to are copied. If two
    scans, before and after, are equal, all files existed together. Pauses between the attempts grow, so that they
    outlast a burst of writing.

    Args:
        root: the folder.
        known: files that need not be kept.
        appended: names of the files that are appended to.

    Returns:
        All files of the folder at that instant, and a folder with the new and changed ones, until the next call.

    Raises:
        OSError: the folder changed during every attempt, or cannot be read.
    """
    frozen = root / _FROZEN
    for look in range(_LOOKS):
        time.sleep(_PAUSE * look)
        shutil.rmtree(frozen, ignore_errors=True)
        files = scan(root)
        try:
            for name, stamp in files.items():
                if known.get(name) != stamp:
                    _hold(root / name, frozen / name, by_copy=name in appended)
        except FileNotFoundError:
            continue
        if scan(root) == files:
            return files, frozen
    raise OSError(errno.EBUSY, f"changed during each of {_LOOKS} attempts", str(root))


def thaw(root: Path) -> None:
    """Remove the snapshot that `freeze` kept."""
    shutil.rmtree(root / _FROZEN, ignore_errors=True)


def _hold(file: Path, held: Path, *, by_copy: bool) -> None:
    held.parent.mkdir(parents=True, exist_ok=True)
    if not by_copy:
        try:
            os.link(file, held)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
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
