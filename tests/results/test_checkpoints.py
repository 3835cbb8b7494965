"""Checkpoints: what is saved is what is loaded, to the bit; whatever happens to the file, it is that or an error."""

import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sweeper.folder.layout import SweepFolder
from sweeper.results.checkpoints import Checkpoint, Checkpoints, DamagedError
from sweeper.trial import RunParameters, join
from tests.fakes.curves import chunk_of, curve

EMPTY = Checkpoint("a question", (), {}, "", None, datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), 0.0)
COLUMNS: dict[str, npt.NDArray[Any]] = {
    "operation": np.array(["x_plus_y", "permutation", "é"]),
    "step": np.array([10, 20, 2**62]),
    "float": np.array([-0.0, np.nan, np.inf]),
    "single": np.array([1 / 3, 5e-324, -1], dtype=np.float32),
    "flag": np.array([True, False, True]),
    "weight_norm_blocks": np.arange(6.0).reshape(2, 3).T,
    "about": np.array([1, 2, 3], dtype=np.int8),
    "state": np.array([], dtype=np.float64),
}
KEPT = {
    "nothing": EMPTY,
    "a start": replace(EMPTY, seconds=1 / 3, retries=("node lost", "out of memory with 0.5 GPU; é")),
    "between two stages": replace(
        EMPTY, trained=(0, 1), columns=join([chunk_of(curve([0.1, 1.0], 0), curve([0.2], 1))]), device="a GPU"
    ),
    "in training": replace(EMPTY, trained=(0,), columns=COLUMNS, device="a GPU", state=bytes(range(256)) * 3),
    "with runs that are kept": replace(
        EMPTY,
        state=b"1",
        parameters=(
            RunParameters("é/1", 3, 20, {"head.weight": np.eye(2, dtype=np.float32), "count": np.array(7)}),
            RunParameters("x", 1, 10, {}),
        ),
    ),
    "before the first evaluation": replace(EMPTY, state=b""),
}
SMALL = replace(EMPTY, columns={"step": np.arange(3)}, state=b"\x00\x01\x02", retries=("node lost",))


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


@pytest.fixture
def checkpoints(folder: SweepFolder) -> Checkpoints:
    return Checkpoints(folder)


def file_of(folder: SweepFolder, number: int) -> Path:
    return folder.checkpoints / f"trial-{number:08d}.npz"


def content(of: Checkpoint | None) -> dict[str, object]:
    """All of a checkpoint, its columns bit by bit."""
    assert of is not None
    columns = {name: (each.dtype.str, each.shape, each.tobytes()) for name, each in of.columns.items()}
    runs = [(run.operation, run.replicate, run.step, _bits(run.arrays)) for run in of.parameters]
    return vars(of) | {"columns": columns, "parameters": runs}


def _bits(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, object]:
    return {name: (each.dtype.str, each.shape, each.tobytes()) for name, each in sorted(arrays.items())}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_saved_is_what_is_loaded(checkpoints: Checkpoints, name: str) -> None:
    checkpoints.save(7, KEPT[name])
    assert content(checkpoints.load(7)) == content(KEPT[name])
    assert checkpoints.load(8) is None


def test_a_checkpoint_takes_the_place_of_the_last_one_and_of_no_other(
    folder: SweepFolder, checkpoints: Checkpoints
) -> None:
    for number, name in ((1, "in training"), (2, "a start"), (1, "between two stages")):
        checkpoints.save(number, KEPT[name])
    assert content(checkpoints.load(1)) == content(KEPT["between two stages"])
    assert content(checkpoints.load(2)) == content(KEPT["a start"])
    assert sorted(folder.checkpoints.iterdir()) == [file_of(folder, 1), file_of(folder, 2)]


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def write_half(file: io.BufferedWriter, **_: object) -> None:
    file.write(b"PK\x03\x04 and so on")
    stop()


@pytest.mark.parametrize(("where", "instead"), [("numpy.savez", write_half), ("os.fsync", stop), ("os.replace", stop)])
def test_a_save_that_is_cut_off_leaves_the_last_one_whole(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, where: str, instead: Callable[..., None]
) -> None:
    checkpoints.save(3, KEPT["in training"])
    with monkeypatch.context() as patch:
        patch.setattr(where, instead)
        for number in (3, 4):
            with pytest.raises(KeyboardInterrupt):
                checkpoints.save(number, KEPT["a start"])
    assert content(checkpoints.load(3)) == content(KEPT["in training"])
    assert checkpoints.load(4) is None
    checkpoints.save(3, KEPT["a start"])
    assert content(checkpoints.load(3)) == content(KEPT["a start"])


def test_keep_takes_away_all_others_and_what_was_left_half_written(
    folder: SweepFolder, checkpoints: Checkpoints
) -> None:
    checkpoints.keep({1})
    for number in range(5):
        checkpoints.save(number, SMALL)
    (folder.checkpoints / ".trial-00000001.npz.partial").write_bytes(b"half")
    checkpoints.keep({1, 3, 12})
    assert sorted(folder.checkpoints.iterdir()) == [file_of(folder, 1), file_of(folder, 3)]
    checkpoints.keep(set())
    assert list(folder.checkpoints.iterdir()) == []


def test_remove_takes_one_away_if_it_is_there(folder: SweepFolder, checkpoints: Checkpoints) -> None:
    checkpoints.remove(1)
    for number in (1, 2):
        checkpoints.save(number, SMALL)
    checkpoints.remove(1)
    checkpoints.remove(1)
    assert list(folder.checkpoints.iterdir()) == [file_of(folder, 2)]


# ---- damage


def test_a_file_of_any_other_length_is_damaged(folder: SweepFolder, checkpoints: Checkpoints) -> None:
    checkpoints.save(0, SMALL)
    path = file_of(folder, 0)
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=r"trial-00000000\.npz"):
            checkpoints.load(0)


@pytest.mark.parametrize(("flip", "every"), [(0x01, 7), (0xFF, 2)])
def test_a_flipped_byte_is_noticed_or_changes_nothing(
    folder: SweepFolder, checkpoints: Checkpoints, flip: int, every: int
) -> None:
    checkpoints.save(0, SMALL)
    path = file_of(folder, 0)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), every):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            found = checkpoints.load(0)
        except DamagedError:
            noticed += 1
        else:
            assert content(found) == content(SMALL), place
    assert noticed > len(whole) / every / 2


@pytest.mark.parametrize("length", [0, 1, 100, 100_000])
def test_random_bytes_are_damaged(folder: SweepFolder, checkpoints: Checkpoints, length: int) -> None:
    folder.checkpoints.mkdir(parents=True)
    file_of(folder, 0).write_bytes(random.Random(length).randbytes(length))
    with pytest.raises(DamagedError):
        checkpoints.load(0)


def test_what_is_compressed_is_none_of_ours(folder: SweepFolder, checkpoints: Checkpoints) -> None:
    """A few bytes of it could fill the memory."""
    checkpoints.save(0, SMALL)
    with np.load(file_of(folder, 0)) as arrays:
        np.savez_compressed(file_of(folder, 0), **arrays)
    with pytest.raises(DamagedError, match="compressed"):
        checkpoints.load(0)


class Touches:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def array(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def replaced(path: Path, name: str, value: bytes) -> None:
    """Put another member in an archive's place of that name, with a sum that is right."""
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for each, old in (members | {name: value}).items():
            archive.writestr(each, old)


@pytest.mark.parametrize("name", ["about", "state", "column.step", "column.new"])
def test_no_code_in_a_file_is_run(folder: SweepFolder, checkpoints: Checkpoints, tmp_path: Path, name: str) -> None:
    trap = Touches(tmp_path / "trap")
    objects = array(np.array([trap], dtype=object))
    checkpoints.save(0, SMALL)
    for hostile in (objects, pickle.dumps(trap)):
        replaced(file_of(folder, 0), f"{name}.npy", hostile)
        with pytest.raises(DamagedError):
            checkpoints.load(0)
    assert not trap.path.exists()
    np.load(io.BytesIO(objects), allow_pickle=True)
    assert trap.path.exists(), "loaded carelessly, it would have"


ABOUT: dict[str, object] = {
    **{"question": "q", "trained": [0], "device": "", "started": "2026-01-02T03:04:05+00:00", "seconds": 1.0},
    **{"retries": [], "arrays": ["column.step", "state"]},
}


def say(folder: SweepFolder, about: str) -> None:
    """Put other words about it into a checkpoint."""
    words = about.encode(errors="surrogateescape")
    replaced(file_of(folder, 0), "about.npy", array(np.frombuffer(words, dtype=np.uint8)))


@pytest.mark.parametrize(
    "about", ["", "{", "[]", "3", "null", "[" * 100_000, "\udc80"], ids=lambda text: repr(text[:1])
)
def test_words_about_it_that_are_none_are_damage(folder: SweepFolder, checkpoints: Checkpoints, about: str) -> None:
    checkpoints.save(0, SMALL)
    say(folder, about)
    with pytest.raises(DamagedError):
        checkpoints.load(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("started", "soon"), ("seconds", []), ("trained", 3), ("retries", None), ("arrays", ["state"]), ("arrays", None)],
)
def test_words_about_it_that_are_missing_or_odd_are_damage(
    folder: SweepFolder, checkpoints: Checkpoints, name: str, value: object
) -> None:
    checkpoints.save(0, SMALL)
    say(folder, json.dumps(ABOUT))
    assert checkpoints.load(0) is not None
    for about in (ABOUT | {name: value}, {key: each for key, each in ABOUT.items() if key != name}):
        say(folder, json.dumps(about))
        with pytest.raises(DamagedError):
            checkpoints.load(0)


@pytest.mark.parametrize("member", ["about.npy", "state.npy", "column.step.npy"])
def test_arrays_of_the_wrong_kind_are_damage(folder: SweepFolder, checkpoints: Checkpoints, member: str) -> None:
    header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000000,), }"
    checkpoints.save(0, SMALL)
    for hostile in (header.ljust(127) + b"\n", header[:40], b"\x93NUMPY", b"not an array"):
        replaced(file_of(folder, 0), member, hostile)
        with pytest.raises(DamagedError):
            checkpoints.load(0)


def test_a_file_that_cannot_be_opened_is_damaged(folder: SweepFolder, checkpoints: Checkpoints) -> None:
    os.makedirs(file_of(folder, 0))
    with pytest.raises(DamagedError):
        checkpoints.load(0)
