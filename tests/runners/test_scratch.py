"""Temporary folders that outlive a kill by one launch at most."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.runners import scratch

CHILD = "from sweeper.runners import scratch; print(scratch.make(), flush=True); input()"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of its own, with a short path."""
    folder = Path("/tmp") / f"s{os.getpid()}"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    for each in sorted(folder.rglob("*"), reverse=True):
        each.unlink() if each.is_file() or each.is_symlink() else each.rmdir()
    folder.rmdir()


def test_a_folder_goes_when_it_is_removed(temporary: Path) -> None:
    folder = scratch.make()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (temporary, 0o700)
    scratch.remove(folder)
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        theirs = Path(child.stdout.readline().strip())
        mine = scratch.make()
        assert sorted(temporary.iterdir()) == sorted([mine, theirs])
        child.send_signal(signal.SIGKILL)
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (temporary / "sweeper-link").symlink_to(elsewhere)
    (temporary / "sweeper-young").mkdir()
    (temporary / "sweeper-old").mkdir()
    os.utime(temporary / "sweeper-old", (0, 0))
    new = scratch.make()
    left = {path.name for path in temporary.iterdir()}
    assert left == {mine.name, new.name, "elsewhere", "sweeper-link", "sweeper-young"}
    assert (elsewhere / "kept").exists()
    scratch.remove(mine)
    scratch.remove(new)
