"""Files are written whole or not at all, and what the disk refuses is said plainly."""

import os
from pathlib import Path

import pytest

from sweeper.errors import StorageError
from sweeper.folder.layout import SweepFolder, remove, write_atomically, write_text


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_what_is_written_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "newer" / "a.txt"
    write_text(path, "before")
    write_text(path, "é")
    assert path.read_bytes() == "é".encode()
    assert names(tmp_path) == {"new/newer/a.txt"}


@pytest.mark.parametrize("failure", [ValueError("no such column"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_the_file_of_before_and_nothing_beside_it(
    tmp_path: Path, failure: BaseException
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def half(beside: Path) -> None:
        beside.write_text("aft")
        raise failure

    with pytest.raises(type(failure)) as caught:
        write_atomically(path, half)
    assert caught.value is failure
    assert path.read_text() == "before"
    assert names(tmp_path) == {"a.txt"}


def test_a_full_disk_is_named_and_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def more_than_fits(beside: Path) -> None:
        beside.write_text("aft")
        with open("/dev/full", "w") as full:
            full.write("er")

    with pytest.raises(StorageError) as caught:
        write_atomically(path, more_than_fits)
    assert str(caught.value) == (
        f"{path}: could not be written: No space left on device; everything written before is whole; "
        "make room on the disk, or make it writable, and the same command continues the sweep"
    )
    assert caught.value.exit_code == 1
    assert path.read_text() == "before"
    assert names(tmp_path) == {"a.txt"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "sub" / "a.txt"
    with pytest.raises(StorageError) as caught:
        write_text(path, "text")
    assert str(caught.value).startswith(f"{path}: could not be written: Not a directory;")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="could not be written: Permission denied"):
        write_text(tmp_path / "a.txt", "text")
    tmp_path.chmod(0o700)


def test_files_that_are_gone_already_may_be_removed(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    remove([tmp_path / "there", tmp_path / "gone", tmp_path / "no folder" / "gone"])
    assert names(tmp_path) == set()


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError) as caught:
        remove([tmp_path / "folder"])
    assert str(caught.value).startswith(f"{tmp_path / 'folder'}: could not be removed: ")


def test_what_killed_processes_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    folder.remove_unfinished()
    kept = {"space.yaml", "notes.partial", ".hidden", "pending/trial-00000001.arrow", "other/.a.partial"}
    left = {".space.yaml.partial", "pending/.trial-00000002.arrow.partial", "runs/.part-00001.parquet.partial"}
    for name in kept | left:
        path = folder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder.remove_unfinished()
    assert names(folder.root) == kept
