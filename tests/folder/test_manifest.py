"""What a folder holds at one instant, while it changes; and the manifest that says so."""

import json
import os
import random
import threading
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import write_text
from sweeper.folder.manifest import Manifest, freeze, scan, thaw


def test_locks_hidden_files_and_our_own_are_no_part_of_a_sweep(tmp_path: Path) -> None:
    kept = ["checkpoints/deep/er.npz", "space.yaml", "study.journal", "trials/part-00000.parquet"]
    left = ["launch.lock", "study.journal.lock", "mirror.json", "launch.lease", "trials/.part.partial", ".frozen/a"]
    for name in kept + left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = scan(tmp_path)
    assert list(found) == kept
    stats = {name: os.stat(tmp_path / name) for name in kept}
    assert found == {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
    assert scan(tmp_path / "nowhere") == {}


def test_what_is_frozen_is_what_is_new_and_stays_as_it_was(tmp_path: Path) -> None:
    for name in ("a", "deep/b", "study.journal"):
        write_text(tmp_path / name, f"{name} before")
    known = {"a": scan(tmp_path)["a"]}
    files, frozen = freeze(tmp_path, known, ["study.journal"])
    write_text(tmp_path / "deep/b", "after")
    with open(tmp_path / "study.journal", "a") as journal:
        journal.write(" and after")
    assert {path.relative_to(frozen).as_posix(): path.read_text() for path in frozen.rglob("*") if path.is_file()} == {
        "deep/b": "deep/b before",
        "study.journal": "study.journal before",
    }
    assert set(files) == {"a", "deep/b", "study.journal"}
    thaw(tmp_path)
    assert list(tmp_path.rglob(".frozen*")) == []


@pytest.mark.parametrize("names", ["second", "none"])
def test_everything_frozen_stood_there_at_one_instant(
    tmp_path: Path, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer replaces three files and then appends to the journal, again and again: none may be behind the next.

    Its pauses differ, so that looks fall between any two of its writes, and now and then nothing changes during one.
    """
    rng = random.Random(0)
    order = ["study.journal", "trials", "runs", "curves"]
    if names == "none":

        def refuse(*arguments: object) -> None:
            raise PermissionError("no second names on this file system")

        monkeypatch.setattr(os, "link", refuse)
    done = threading.Event()

    def write() -> None:
        lines = 0
        while not done.is_set():
            lines += 1
            for name in reversed(order[1:]):
                write_text(tmp_path / name, "x" * lines)
                done.wait(rng.expovariate(200))
            with open(tmp_path / order[0], "a") as journal:
                journal.write("x")
            done.wait(rng.expovariate(200))

    for name in order:
        (tmp_path / name).touch()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen: list[int] = []
        while len(seen) < 20 or seen[-1] == seen[0]:  # the writer may have had no turn yet
            files, frozen = freeze(tmp_path, {}, [order[0]])
            sizes = [(frozen / name).stat().st_size for name in order]
            assert sizes == [files[name][0] for name in order]
            assert sizes == sorted(sizes)
            assert sizes[-1] - sizes[0] <= 1
            seen.append(sizes[0])
    finally:
        done.set()
        writer.join()
    assert seen[-1] > seen[0]


def test_a_folder_that_never_stands_still_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    real = os.link

    def meanwhile(*arguments: Path) -> None:
        with open(tmp_path / "a", "a") as file:
            file.write("x")
        real(*arguments)

    monkeypatch.setattr(os, "link", meanwhile)
    with pytest.raises(OSError, match="changed during each of 50 attempts"):
        freeze(tmp_path, {}, ["study.journal"])


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    manifest = Manifest(3, "token", {"trials/a": (1, 2)}, ".staging/x", ("trials/a",), ("b",))
    assert Manifest.parse(manifest.text(), "here") == manifest


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        '{"files": 1}',
        json.dumps(
            {"generation": 1, "launch": "", "files": {"../a": [1, 2]}, "staging": "", "staged": [], "removed": []}
        ),
        json.dumps({"generation": 1, "launch": "", "files": {}, "staging": "", "staged": ["/etc/a"], "removed": []}),
        json.dumps({"generation": 1, "launch": "", "files": {}, "staging": "", "staged": [], "removed": [""]}),
    ],
)
def test_a_damaged_manifest_is_refused(damage: str) -> None:
    with pytest.raises(UserError) as raised:
        Manifest.parse(damage, "s3://bucket/small/mirror.json")
    assert str(raised.value) == (
        "s3://bucket/small/mirror.json: damaged; delete it to use the files beside it as they are"
    )


def test_the_store_is_newer_when_another_launch_went_on() -> None:
    def of(generation: int, launch: str) -> Manifest:
        return Manifest(generation, launch)

    stored = of(5, "a")
    assert stored.newer_than(None)
    assert stored.newer_than(of(4, "a"))
    assert stored.newer_than(of(4, "b"))
    assert stored.newer_than(of(5, "b"))
    assert not stored.newer_than(of(5, "a"))
    assert not stored.newer_than(of(6, "b"))
