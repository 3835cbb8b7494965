"""Check that a sweep's folder holds only plain files and folders, before anything in it is opened.

A folder may come from an untrusted source. A link in it could make sweeper read, replace or remove files outside it;
reading a pipe would block forever.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder


def check(folder: SweepFolder) -> None:
    """Raise UserError, listing every violation, unless the folder holds plain files and folders where expected."""
    odd = [*_odd(folder.root), *_misplaced(folder)]
    if odd:
        raise UserError("\n".join(f"{each}; move it away to continue" for each in odd))


def _odd(root: Path) -> Iterator[str]:
    if not root.is_dir():
        return
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield f"{entry.path}: a link; a sweep's folder has none, for it could lead anywhere"
            elif entry.is_dir():
                yield from _odd(Path(entry.path))
            elif not entry.is_file() and os.path.lexists(entry.path):
                yield f"{entry.path}: neither a file nor a folder"


def _misplaced(folder: SweepFolder) -> Iterator[str]:
    for path in folder.files:
        if path.is_dir() and not path.is_symlink():
            yield f"{path}: a folder where a file should be"
    for path in folder.folders:
        if path.is_file() and not path.is_symlink():
            yield f"{path}: a file where a folder should be"
