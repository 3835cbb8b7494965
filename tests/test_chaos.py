"""Launches killed at random instants, among torn files, on a full disk; benchmarks/chaos.py does it at length."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos import QUESTION, Fire, Sweep, differences, disagreements, run_to_the_end, under_fire

SHORT = QUESTION.replace("choice: [16, 24, 32]", "choice: [16]").replace("trials: 7", "trials: 3")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The sweep as it runs when nobody does anything to it."""
    sweep = Sweep(tmp_path_factory.mktemp("calm") / "s", "here", question=SHORT)
    run_to_the_end(sweep)
    assert sorted(sweep.finished()) == [0, 1, 2, 3, 4]
    return sweep


def check(fire: Fire, sweep: Sweep, undisturbed: Sweep) -> None:
    fire.changed, fire.leftovers = differences(sweep, undisturbed) + disagreements(sweep), sweep.leftovers()
    assert fire.clean, (fire, sweep.log.read_text()[-3000:])


def test_a_driver_killed_at_random_instants_loses_and_repeats_nothing(tmp_path: Path, undisturbed: Sweep) -> None:
    sweep = Sweep(tmp_path / "s", "here", question=SHORT)
    fire = under_fire(sweep, ["driver"] * 3, 9.0, random.Random(1))
    assert fire.launches > 1
    check(fire, sweep, undisturbed)


def test_under_tune_a_killed_worker_and_a_killed_raylet_change_nothing(tmp_path: Path, undisturbed: Sweep) -> None:
    sweep = Sweep(tmp_path / "s", question=SHORT)
    fire = under_fire(sweep, ["worker", "raylet"], 9.0, random.Random(3))
    check(fire, sweep, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_ends_a_launch_in_words_and_with_room_the_next_one_goes_on(
    small_disk: Path, undisturbed: Sweep
) -> None:
    sweep = Sweep(small_disk / "s", "here", question=SHORT)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 200_000)
    assert sweep.start().wait() != 0
    assert "No space left on device" in sweep.log.read_text() or not sweep.log.read_text()
    before = sweep.finished()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    run_to_the_end(sweep)
    after = sweep.finished()
    assert {number: after[number]["finished"] for number in before} == {n: before[n]["finished"] for n in before}
    check(Fire(), sweep, undisturbed)
