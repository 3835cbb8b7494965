"""Kernels are compiled once and kept; where they cannot be had, training goes on without a word about it."""

import json
import os
import shutil
import stat
import subprocess
import sys
from ctypes import CDLL
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.training.ops import kernels
from tests.fakes.runs import losses

ROOT = Path(sweeper.__file__).parents[1]
needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="no C compiler made the kernels")


def load() -> CDLL | None:
    """The kernels as a process that has just begun would get them."""
    return kernels.library.__wrapped__()


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> inode and time of change of everything below a folder."""
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*")}


ANOTHER_PROCESS = """
from sweeper.training.ops import kernels
import torch
print("ready", flush=True)
input()
assert kernels.library() is not None
x = torch.tensor([1.0, 1.00390625])
kernels.call("round_bfloat16", x, x, 2)
print(x.tolist())
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache into which this process and another have compiled at the same time."""
    if kernels.library() is None:
        pytest.skip("no C compiler made the kernels")
    cache = tmp_path_factory.mktemp("cache")
    other = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ANOTHER_PROCESS],
        env=os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with other, pytest.MonkeyPatch.context() as patch:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        patch.setenv("XDG_CACHE_HOME", str(cache))
        assert load() is not None
        assert other.communicate(timeout=120) == ("[1.0, 1.0]\n", "")
    assert other.returncode == 0
    return cache


@pytest.mark.slow
def test_processes_that_compile_at_once_leave_one_library_and_nothing_else(filled: Path) -> None:
    (folder,) = filled.iterdir()
    assert folder.name == "sweeper" and stat.S_IMODE(folder.stat().st_mode) == 0o700
    (library,) = folder.iterdir()
    assert library.name.startswith("kernels-") and library.suffix == ".so"


@pytest.mark.slow
def test_a_library_that_is_there_is_loaded_and_not_compiled_again(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(filled))
    before = contents(filled)
    assert load() is not None
    assert contents(filled) == before


@needs_compiler
def test_a_process_asks_for_the_library_once() -> None:
    assert kernels.library() is kernels.library()


def test_the_cache_is_below_the_home_folder_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert kernels.cache_folder() == tmp_path / ".cache" / "sweeper"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert kernels.cache_folder() == tmp_path / "elsewhere" / "sweeper"


def compiler(folder: Path, script: str) -> str:
    """A compiler that tells its version, and does as the script says with everything else."""
    path = folder / "compiler"
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo 1.0; exit 0; fi\n{script}\n')
    path.chmod(0o755)
    return str(path)


# The arguments end with `-o TARGET -lm`.
TARGET = 'for last; do target=$before; before=$last; done; echo "no library" > "$target"'


@pytest.mark.parametrize(
    "script", ["echo broken >&2; exit 1", "exit 0", TARGET], ids=["fails", "makes nothing", "makes no library"]
)
def test_a_compiler_that_is_broken_means_no_kernels_and_no_word(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", compiler(tmp_path, script))
    monkeypatch.setenv("PATH", "")
    assert load() is None
    assert capfd.readouterr() == ("", "")
    # Nothing half made is left: at most a file under its full name.
    assert all(path.suffix == ".so" for path in (tmp_path / "cache" / "sweeper").iterdir())


def test_without_any_compiler_there_are_no_kernels_and_no_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert load() is None
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_compiler_that_does_not_exist_gives_way_to_one_that_does(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no compiler is called cc here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(filled))
    monkeypatch.setenv("CC", "a-compiler-that-is-not-there")
    assert load() is not None


@pytest.mark.parametrize("place", ["a file", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_means_no_kernels_and_no_word(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
    assert load() is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_permission_means_no_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load() is None


def test_the_kernels_serve_float32_on_the_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.serve(torch.zeros(1)) is kernels.library()
    assert kernels.serve(torch.zeros(1, dtype=torch.float64)) is None
    assert kernels.serve(torch.zeros(1, dtype=torch.bfloat16)) is None
    assert kernels.serve(torch.zeros(1, device="meta")) is None
    monkeypatch.setattr(kernels, "enabled", False)
    assert kernels.serve(torch.zeros(1)) is None


SCRIPT = """
import json
from sweeper.training.ops import kernels
from tests.fakes.runs import losses
print(json.dumps([kernels.library() is None, losses()]))
"""


@pytest.mark.slow
@needs_compiler
def test_training_without_a_compiler_goes_the_same_way_without_a_word(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=ROOT,
        env={
            "PATH": "",
            "CC": shutil.which("false") or "",
            "XDG_CACHE_HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    without, found = json.loads(done.stdout)
    assert without is True
    assert found == pytest.approx(losses(), rel=1e-5)
