"""What people write on a sweep: a note and tags, in a small file that no trial depends on."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sweeper.errors import UserError, damaged
from sweeper.folder.address import in_store, working_folder
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.local_copy import store_errors
from sweeper.folder.object_store import Store

_TAG = re.compile(r"[\w][\w.+-]{0,49}")
_LONGEST_NOTE = 2000


@dataclass(frozen=True)
class Labels:
    """The note and the tags of a sweep.

    Attributes:
        note: any text; empty for none.
        tags: in alphabetical order.
    """

    note: str = ""
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "  ".join(filter(None, (" ".join(f"#{tag}" for tag in self.tags), self.note)))


def read(folder: SweepFolder) -> Labels:
    """The labels of a sweep; empty ones where nobody has written any.

    Raises:
        UserError: the file is damaged.
    """
    try:
        found = json.loads(folder.labels.read_text(encoding="utf-8"))
        return Labels(str(found["note"]), tuple(sorted(map(str, found["tags"]))))
    except FileNotFoundError:
        return Labels()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(folder.labels, error) from None


def write(address: str, labels: Labels) -> None:
    """Put labels in the place of those that a sweep has.

    Args:
        address: the sweep's folder, or its address in an object store.
        labels: the new ones.

    Raises:
        UserError: a tag or the note is not legal, or the store cannot be used.
        StorageError: the file cannot be written.
    """
    wrong = [tag for tag in labels.tags if not _TAG.fullmatch(tag)]
    if wrong:
        raise UserError(
            f"got the tag {', '.join(map(repr, wrong))}; a tag has 1 to 50 letters, digits and . _ + -, and begins "
            "with a letter or digit"
        )
    if len(labels.note) > _LONGEST_NOTE:
        raise UserError(f"got a note of {len(labels.note):,} characters; allowed are {_LONGEST_NOTE:,}")
    folder = SweepFolder(working_folder(address))
    text = json.dumps(asdict(labels), ensure_ascii=False)
    if in_store(address):
        with store_errors(address):
            Store(address).write(folder.labels.name, text.encode())
    write_text(folder.labels, text)


def changed(labels: Labels, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Labels:
    """The labels with more tags, and fewer.

    Raises:
        UserError: a tag to remove is not there.
    """
    missing = sorted(set(remove) - set(labels.tags))
    if missing:
        has = ", ".join(labels.tags) or "none"
        raise UserError(f"got the tag {', '.join(missing)} to remove; the sweep has {has}")
    return Labels(labels.note, tuple(sorted({*labels.tags, *add} - set(remove))))
