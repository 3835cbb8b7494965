"""Trackers that break, hang or are slow: the sweep goes on, and the user is told once."""

import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.launching import launch
from sweeper.paths import SweepFolder, write_text
from sweeper.trackers import feeding
from sweeper.trackers.protocol import Place, Tracker, Trial
from tests import small
from tests.launches import launched, wait_for
from tests.test_launch import quiet, table
from tests.trackers.made_up import trial


class Notes:
    """A tracker that remembers, and does before what it is told to."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.closed = False
        self.before = lambda number: None

    def track(self, trial: Trial) -> None:
        self.before(trial.number)
        self.told.append(trial.number)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """In the place of every tracker."""
    found = Notes()

    def opened(name: str, place: Place) -> Tracker:
        return found

    monkeypatch.setattr(feeding, "_opened", opened)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "made-up")


def test_every_trial_is_told_once_and_in_order(folder: SweepFolder, notes: Notes) -> None:
    said: list[str] = []
    with feeding.feeding(["wandb"], "made-up", folder, said.append) as feed:
        for number in range(20):
            feed.put(trial(number))
    assert (notes.told, notes.closed, said) == (list(range(20)), True, [])


def test_a_tracker_that_raises_is_left_alone_and_the_user_told_once(folder: SweepFolder, notes: Notes) -> None:
    def breaks(number: int) -> None:
        if number == 1:
            raise RuntimeError("no\nroom")

    notes.before = breaks
    said: list[str] = []
    with feeding.feeding(["wandb"], "made-up", folder, said.append) as feed:
        for number in range(3):
            feed.put(trial(number))
        wait_for(lambda: said)
        for number in range(100):
            feed.put(trial(number))
    assert (notes.told, notes.closed) == ([0], False)
    assert said == ["wandb is told nothing more, for it failed: no room"]


def test_a_library_that_ends_the_process_ends_its_thread_alone(folder: SweepFolder, notes: Notes) -> None:
    notes.before = lambda number: sys.exit(1)
    said: list[str] = []
    with feeding.feeding(["mlflow"], "made-up", folder, said.append) as feed:
        feed.put(trial())
    assert said == ["mlflow is told nothing more, for it failed: 1"]


def test_what_a_slow_tracker_misses_is_counted(folder: SweepFolder, notes: Notes) -> None:
    go = threading.Event()
    notes.before = lambda number: go.wait(30) and None
    said: list[str] = []
    with feeding.feeding(["wandb"], "made-up", folder, said.append) as feed:
        begun = time.monotonic()
        for number in range(100):
            feed.put(trial(number))
            if number == 0:
                wait_for(feed._lines[0]._waiting.empty)
        assert time.monotonic() - begun < 10
        go.set()
    assert notes.told == list(range(65))
    assert said == [
        "wandb is slower than trials end, and misses some; the tables have all of them",
        "wandb missed 35 trials, for it is slower than they ended",
    ]


def test_a_tracker_that_hangs_is_left_at_the_end(
    folder: SweepFolder, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_PATIENCE", 0.2)
    go = threading.Event()
    notes.before = lambda number: go.wait(30) and None
    said: list[str] = []
    with feeding.feeding(["mlflow", "wandb"], "made-up", folder, said.append) as feed:
        feed.put(trial())
    assert said == [
        f"{name} had not taken everything after 0.2 s, and is left; the tables have it all"
        for name in ("mlflow", "wandb")
    ]
    go.set()


def test_what_goes_wrong_while_the_sweep_runs_is_said_where_its_progress_is(folder: SweepFolder, notes: Notes) -> None:
    def breaks(number: int) -> None:
        raise RuntimeError("no room")

    notes.before = breaks
    said: list[str] = []
    noticed: list[str] = []
    with feeding.feeding(["wandb"], "made-up", folder, said.append) as feed, feed.telling(noticed.append):
        feed.put(trial())
        wait_for(lambda: noticed)
    assert (said, len(noticed)) == ([], 1)


def test_a_missing_package_is_said_before_the_sweep_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(feeding.NEEDS, "wandb", "a_package_that_is_missing")
    space = small.write(tmp_path)
    with pytest.raises(UserError) as raised:
        launch(space, ["trackers=wandb"], where="here", console=quiet())
    assert str(raised.value) == (
        "trackers: wandb needs a package that is missing; pip install 'sweeper[wandb]' brings it"
    )
    assert not (tmp_path / "results").exists()


def test_a_tracker_does_not_write_into_a_sweep(folder: SweepFolder) -> None:
    other = SweepFolder(folder.root.parent / "tensorboard")
    write_text(other.space, "name: tensorboard")
    with pytest.raises(UserError, match="is a sweep's folder, and tensorboard would write into it; move it away"):
        feeding.check(["tensorboard"], folder)


def test_trials_that_are_over_for_good_are_told_and_stopped_ones_only_when_they_are(
    tmp_path: Path, notes: Notes
) -> None:
    with launched(tmp_path, budget={"trials": 2, "hours": 0.0001}, trackers=["wandb"]) as running:
        running.join()
    assert notes.told == [0]
    with launched(tmp_path, budget={"trials": 2}, trackers=["wandb", "mlflow"]) as running:
        running.go.set()
        running.join()
    assert sorted(notes.told) == [0, 1, 1]


def test_a_server_that_is_away_neither_harms_nor_delays_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        console = quiet()
        launch(small.write(tmp_path), ["trackers=mlflow", "budget.trials=3"], where="here", console=console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert sorted(table(tmp_path, "trials")["trial"]) == [0, 1, 2]
    assert said.count("mlflow is told nothing more, for it failed: ") == 1
    assert json.loads((tmp_path / "results" / "small" / "status.json").read_text())["ended"] == "finished"
