"""Sweeps looked at from outside while they run, end, die, or run on machines whose clocks are wrong; and stopped."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.object_store import Store
from sweeper.monitor import heartbeat
from sweeper.monitor.status import Watcher, sentence, status, stop, watch
from sweeper.sweep.launch import resume
from sweeper.sweep.options import LaunchOptions
from tests.fakes.ctrl_c import ctrl_c
from tests.fakes.heartbeats import BEAT, SPACE, beats
from tests.fakes.launches import in_training, launched, wait_for

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.1)


@pytest.fixture
def still(tmp_path: Path) -> SweepFolder:
    """A sweep that no launch runs."""
    folder = SweepFolder(tmp_path / "made-up")
    write_text(folder.space, SPACE)
    return folder


@contextmanager
def beating(folder: SweepFolder, ahead: timedelta) -> Iterator[None]:
    """A launch on another machine, whose clock is ahead by so much."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.02):
            beats(folder, at=datetime.now(UTC) + ahead)

    beats(folder, at=datetime.now(UTC) + ahead)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def states(folder: SweepFolder) -> dict[int, str]:
    rows = pq.read_table(folder.table("trials")).to_pylist()
    return {row["trial"]: row["state"] for row in rows}


# ---- status


@pytest.mark.slow
def test_a_sweep_that_runs_here_and_its_end(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        in_training(running)
        found = status(running.address)
        assert (found.state, found.folder) == ("running here", running.folder.root)
        assert found.silent is not None
        assert found.silent < 15
        assert sentence(found) == f"{running.address}: running here (process {os.getpid()})"
    running.join()
    found = status(running.address)
    assert found.state == "ended"
    assert re.fullmatch(rf"{running.address}: ended \d{{4}}-\d\d-\d\d \d\d:\d\d UTC on \S+, finished", sentence(found))


def test_a_sweep_without_a_sign_of_life(still: SweepFolder) -> None:
    found = status(str(still.root))
    assert (found.state, found.silent, found.heartbeat) == ("not running", None, None)
    assert sentence(found) == f"{still.root}: not running; sweeper resume {still.root} continues it"
    still.status.write_text("damaged")
    again = status(str(still.root))
    assert replace(again, unreadable="") == found
    assert again.unreadable == f"{still.status} cannot be read; the next launch writes it anew"


def test_a_sweep_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sweep here"):
        status(str(tmp_path / "nowhere"))


def test_a_launch_on_another_machine_lives_while_its_heartbeat_is_fresh(still: SweepFolder) -> None:
    beats(still)
    found = status(str(still.root))
    assert found.state == "running elsewhere"
    assert sentence(found) == f"{still.root}: running on a-machine (process 4711), last heartbeat 0:00 ago"
    beats(still, ended="stopped: Ctrl-C", at=BEAT.at)
    found = status(str(still.root))
    assert found.state == "ended"
    assert sentence(found) == (
        f"{still.root}: ended 2026-01-02 03:04 UTC on a-machine, stopped: Ctrl-C; "
        f"sweeper resume {still.root} continues it"
    )


def test_a_launch_whose_heartbeat_is_old_is_dead(still: SweepFolder) -> None:
    beats(still, at=datetime.now(UTC) - timedelta(seconds=125))
    found = status(str(still.root))
    assert found.state == "dead"
    assert re.sub(r"2:0[5-9]", "2:05", sentence(found)) == (
        f"{still.root}: dead: the launch on a-machine (process 4711) ended without reporting, last heartbeat 2:05 ago; "
        f"sweeper resume {still.root} continues it"
    )


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_wrong_makes_nobody_dead(still: SweepFolder, hours: int) -> None:
    with beating(still, timedelta(hours=hours)):
        assert status(str(still.root)).state == "running elsewhere"
    assert status(str(still.root)).state == "dead"


@pytest.mark.slow
def test_a_process_of_this_machine_that_is_gone_is_dead_at_once(still: SweepFolder) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    beats(still, host=heartbeat.platform.node(), pid=gone.pid)
    assert status(str(still.root)).state == "dead"
    beats(still, host=heartbeat.platform.node(), pid=os.getpid())
    assert status(str(still.root)).state == "running here"


def test_silence_is_counted_by_the_clock_of_those_who_listen(still: SweepFolder) -> None:
    beats(still, at=datetime.now(UTC) - timedelta(seconds=10))
    watcher = Watcher(str(still.root))
    first = watcher.look().silent
    beats(still, at=datetime.now(UTC) - timedelta(seconds=9))
    then = watcher.look().silent
    time.sleep(0.05)
    last = watcher.look().silent
    assert first is not None
    assert last is not None
    assert 10 <= first < 15
    assert then == 0
    assert 0.05 <= last < 5


# ---- stop


@pytest.mark.slow
def test_a_stopped_launch_sets_its_trials_down_and_the_next_takes_them_up(tmp_path: Path) -> None:
    said: list[str] = []
    with launched(tmp_path) as running:
        number = in_training(running)
        found = stop(running.address, say=said.append)
        running.join()
    assert found.state == "ended"
    assert said == [
        f"sent a stop request to the launch on {heartbeat.platform.node()} (process {os.getpid()})",
        "1 trial in training",
        sentence(found),
    ]
    assert sentence(found).endswith(f"stopped: sweeper stop; sweeper resume {running.address} continues it")
    assert running.said.endswith("stopped by sweeper stop; the same command continues the sweep\n")
    assert states(running.folder) == {0: "finished", number: "stopped"}
    assert not running.folder.stop_request.exists()

    running.go.set()
    resume(running.address, options=LaunchOptions(where="here", console=Console(file=StringIO()), train=running._train))
    assert states(running.folder) == {0: "finished", 1: "finished", 2: "finished"}


@pytest.mark.slow
def test_stop_does_not_wait_where_it_is_told_not_to(tmp_path: Path) -> None:
    said: list[str] = []
    with launched(tmp_path) as running:
        in_training(running)
        assert stop(running.address, wait=False, say=said.append).running
        running.join()
    assert len(said) == 1
    assert status(running.address).state == "ended"


@pytest.mark.slow
def test_a_request_that_was_left_behind_stops_no_later_launch(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        in_training(running)
        before = heartbeat.read(running.folder)
        stop(running.address)
    assert before is not None
    running.folder.stop_request.write_bytes(heartbeat.request(before.launch))
    with launched(tmp_path) as again:
        in_training(again)
        wait_for(lambda: not again.folder.stop_request.exists())
    again.join()
    assert states(again.folder) == {0: "finished", 1: "finished", 2: "finished"}


@pytest.mark.parametrize("state", ["ended", "dead", "not running"])
def test_where_nothing_runs_there_is_nothing_to_stop(still: SweepFolder, state: str) -> None:
    if state == "ended":
        beats(still, ended="finished")
    elif state == "dead":
        beats(still, at=BEAT.at)
    found = status(str(still.root))
    assert found.state == state
    with pytest.raises(UserError) as raised:
        stop(str(still.root))
    assert str(raised.value).startswith(f"nothing to stop: {still.root}: {state}")
    assert not still.stop_request.exists()


def test_a_launch_elsewhere_that_dies_before_it_hears_is_said_to_be_dead(
    still: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.monitor.status.SILENT", 0.3)
    beats(still)
    said: list[str] = []
    assert stop(str(still.root), say=said.append).state == "dead"
    assert said[0] == "sent a stop request to the launch on a-machine (process 4711)"
    assert " dead: the launch on a-machine" in said[-1]
    assert still.stop_request.read_bytes() == heartbeat.request(BEAT.launch)


def test_a_folder_that_cannot_be_written_says_so(still: SweepFolder) -> None:
    beats(still)
    still.stop_request.with_name(".stop.json.partial").mkdir()
    with pytest.raises(UserError, match=r"stop\.json: cannot be written \(Is a directory\)"):
        stop(str(still.root))


def test_a_sweep_in_an_object_store_is_watched_and_stopped_from_another_machine(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with launched(tmp_path, bucket) as running:
        wait_for(lambda: list((tmp_path / "cache").rglob("status.json")))  # it has opened its own folder
        monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "another"))
        wait_for(lambda: Store(running.address).read("status.json"))
        wait_for(lambda: (beat := status(running.address).heartbeat) and beat.progress.running)
        found = status(running.address)
        assert found.running
        assert found.folder.is_relative_to(tmp_path / "another")
        assert stop(running.address, say=lambda line: None).state == "ended"
        running.join()
    assert Store(running.address).read("stop.json") is None
    assert running.said.endswith("stopped by sweeper stop; the same command continues the sweep\n")


# ---- watch


@pytest.mark.slow
def test_watching_through_a_pipe_ends_with_the_sweep(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=120)
    with launched(tmp_path) as running:
        in_training(running)
        watching = threading.Thread(target=watch, args=(running.address, console))
        watching.start()
        assert isinstance(console.file, StringIO)
        shown = console.file
        wait_for(shown.getvalue)
    watching.join(30)
    assert not watching.is_alive()
    first, *rest = shown.getvalue().splitlines()
    best = "best so far: trial 0: reached 2/2, mean 10 steps  depth=1 heads=1"
    assert re.fullmatch(rf"\[0:\d\d(, about \d+ s left)?\] 1/3 trials finished, 1 running; {best}", first)
    assert f"{running.address}: ended" in "\n".join(rest)
    assert "steps until val_accuracy > 0.99" in [line.strip() for line in rest]
    assert "\x1b" not in shown.getvalue()


@pytest.mark.slow
def test_watching_on_a_terminal_shows_the_panel_and_the_leaderboard(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=120, height=30, force_terminal=True, color_system=None)
    with launched(tmp_path) as running:
        in_training(running)
        watching = threading.Thread(target=watch, args=(running.address, console))
        watching.start()
        assert isinstance(console.file, StringIO)
        shown = console.file
        wait_for(lambda: "of 1,000,000" in shown.getvalue() and "steps until val_accuracy" in shown.getvalue())
    watching.join(30)
    assert not watching.is_alive()
    picture = CODES.sub("", shown.getvalue())
    assert f"{running.address}: running here (process {os.getpid()})" in picture
    assert re.search(r"trial 1 [━╸ ]+ step [\d,]+ of 1,000,000 +val_accuracy 0\.250", picture)
    assert "made-up  3/3 trials finished, 0 running   runs: 6 reached" in picture.rpartition(": ended")[2]


def test_watching_a_sweep_that_does_not_run_shows_it_once(still: SweepFolder) -> None:
    console = Console(file=StringIO(), width=120)
    watch(str(still.root), console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == (
        f"{still.root}: not running; sweeper resume {still.root} continues it\n"
        "made-up  0/4 trials finished, 0 running   runs: 0 reached, 0 censored, 0 diverged, 0 failed\n"
        "No trial has finished yet.\n"
    )


@pytest.mark.slow
def test_ctrl_c_ends_the_watching_and_not_the_sweep(tmp_path: Path) -> None:
    shown = StringIO()
    with launched(tmp_path) as running:
        number = in_training(running)
        with ctrl_c(lambda: "1/3 trials finished, 1 running" in shown.getvalue()):
            watch(running.address, Console(file=shown, width=200))
        assert shown.getvalue().splitlines()[-1] == f"the sweep goes on; sweeper stop {running.address} stops it"
        assert status(running.address).running
        assert in_training(running) == number
    running.join()
