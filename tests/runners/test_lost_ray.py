"""A Ray whose raylet or GCS is killed: the launch ends in a sentence, and the next one goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.signals import RAYS, SPACE, TOY, VICTIMS, child
from sweeper.folder.layout import SweepFolder
from sweeper.results.query import query


def command(trials: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "sweeper", "launch", "toy.yaml", "--set", f"budget.trials={trials}", *more]


def finished(folder: SweepFolder) -> dict[int, object]:
    rows = query(folder, "SELECT trial, finished, retries FROM trials WHERE state = 'finished'").to_pylist()
    return {row["trial"]: (row["finished"], row["retries"]) for row in rows}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kills", [["gcs", "raylet"]])
def test_a_killed_raylet_or_gcs_ends_a_launch_on_ray_in_a_sentence_and_the_next_one_goes_on(
    tmp_path: Path, kills: list[str]
) -> None:
    (tmp_path / "toy.py").write_text(TOY.replace("sleep(0.002)", "sleep(0.004)"))
    (tmp_path / "toy.yaml").write_text(SPACE)
    folder, path = SweepFolder(tmp_path / "results/toy"), os.pathsep.join([os.getcwd(), str(tmp_path)])
    environment, before = os.environ | {"PYTHONPATH": path, "COLUMNS": "400"}, dict[int, object]()
    trials = 2 + 2 * len(kills)  # at least two are left at every kill
    for process in kills:
        name = {"raylet": "raylet", "gcs": "GCS"}[process]
        with (
            (tmp_path / "said").open("w") as output,
            subprocess.Popen(command(trials), cwd=tmp_path, env=environment, stdout=output, stderr=output) as launch,
        ):
            victim = child(launch.pid, VICTIMS[process])
            while ": reached" not in (said := (tmp_path / "said").read_text()):
                assert launch.poll() is None, said
                time.sleep(0.1)
            os.kill(victim, signal.SIGKILL)
            assert launch.wait() == 1
        said = (tmp_path / "said").read_text()
        last = f"Ray was lost: its {name} was killed by SIGKILL; its log is {folder.runner_log.relative_to(tmp_path)}"
        assert said.splitlines()[-1] == f"{last}; the same command continues the sweep"
        assert not RAYS.search(said.removesuffix(said.splitlines()[-1] + "\n")), said
        assert f"== {'raylet' if process == 'raylet' else 'gcs_server'}.out" in folder.runner_log.read_text()
        now = finished(folder)
        assert now.keys() >= before.keys() and all(now[trial] == row for trial, row in before.items())
        before = now
        assert not list(folder.pending.glob("*"))
    done = subprocess.run(
        command(trials, "--here"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    now = finished(folder)
    assert sorted(now) == list(range(trials)) and all(now[trial] == row for trial, row in before.items())
    assert {tuple(retries) for _, retries in now.values()} == {()}  # type: ignore[misc]


def test_ray_leaves_sigterm_to_python(local_ray: None) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    caught = re.search(r"^SigCgt:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert caught
    assert not int(caught[1], 16) >> (signal.SIGTERM - 1) & 1, "a handler of Ray's would abort a graceful stop"
