"""Trackers that break, hang or are slow: the sweep goes on, and the user is told once."""

import json
import signal
import socket
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.sweep.launch import launch
from sweeper.trackers import feeding
from tests.fakes import small
from tests.fakes.launches import launched, quiet, wait_for
from tests.fakes.small import table
from tests.fakes.tracked import trial


@pytest.fixture(autouse=True)
def _misbehaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of two trackers."""
    for name in ("mlflow", "wandb"):
        monkeypatch.setitem(feeding.MODULES, name, "tests.fakes.misbehaving_trackers")


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "made-up")


def notes(folder: SweepFolder, name: str = "wandb") -> list[str]:
    """What a tracker wrote down."""
    path = folder.root.parent / name / "notes.txt"
    return path.read_text().split() if path.exists() else []


def test_every_trial_is_told_once_and_in_order(folder: SweepFolder) -> None:
    said: list[str] = []
    with feeding.feeding(["wandb"], "behaves", folder, said.append) as feed:
        for number in range(20):
            feed.put(trial(number))
    assert said == []
    assert notes(folder) == [*map(str, range(20)), "closed"]


@pytest.mark.parametrize(
    ("how", "why", "told"),
    [
        ("raises", "no room", ["0"]),
        ("cannot-begin", "no room", []),
        ("leaves", "1", []),
        ("dies", "its process ended", []),
    ],
)
def test_a_tracker_that_fails_is_left_alone_and_the_user_told_once(
    folder: SweepFolder, how: str, why: str, told: list[str]
) -> None:
    said: list[str] = []
    with feeding.feeding(["wandb"], how, folder, said.append) as feed:
        for number in range(3):
            feed.put(trial(number))
        wait_for(lambda: said)
        for number in range(100):
            feed.put(trial(number))
    assert said == [f"wandb is told nothing more, for it failed: {why}"]
    assert notes(folder) == told


def test_what_a_tracker_prints_is_not_shown_and_nobody_answers_its_questions(
    folder: SweepFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with feeding.feeding(["wandb"], "prints", folder, said.append) as feed:
        feed.put(trial())
    assert said == ["wandb is told nothing more, for it failed: EOF when reading a line"]
    assert capfd.readouterr() == ("", "")


def test_what_a_slow_tracker_misses_is_counted(folder: SweepFolder) -> None:
    said: list[str] = []
    with feeding.feeding(["wandb"], "waits", folder, said.append) as feed:
        for number in range(100):
            feed.put(trial(number))
            if number == 0:
                wait_for(feed._lines[0]._waiting.empty)
        assert len(said) == 1
        write_text(folder.root.parent / "wandb" / "go", "")
    assert notes(folder) == [*map(str, range(65)), "closed"]
    assert said == [
        "wandb is slower than trials end, and misses some; the tables have all of them",
        "wandb missed 35 trials, for it is slower than they ended",
    ]


def test_trackers_that_hang_are_ended_at_the_end(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_PATIENCE", 0.3)
    said: list[str] = []
    with feeding.feeding(["mlflow", "wandb"], "hangs", folder, said.append) as feed:
        feed.put(trial())
    assert said == [
        f"{name} had not taken every trial, and is ended; the tables have all of them" for name in ("mlflow", "wandb")
    ]
    assert [line._process.poll() for line in feed._lines] == [-signal.SIGKILL] * 2
    assert not any(line._thread.is_alive() for line in feed._lines)


def test_a_second_ctrl_c_waits_for_no_tracker(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_PATIENCE", 1000.0)
    said: list[str] = []

    def interrupted() -> None:
        with feeding.feeding(["wandb"], "hangs", folder, said.append) as feed:
            feed.put(trial())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert said == ["wandb had not taken every trial, and is ended; the tables have all of them"]


def test_a_missing_package_is_said_before_the_sweep_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(feeding.NEEDS, "wandb", "a_package_that_is_missing")
    space = small.write(tmp_path)
    with pytest.raises(UserError) as raised:
        launch(space, ["trackers=wandb"], where="here", console=quiet())
    assert str(raised.value) == (
        "trackers: wandb needs a package that is missing; pip install 'grokking-sweeper[wandb]' brings it"
    )
    assert not (tmp_path / "results").exists()


def test_a_tracker_does_not_write_into_a_sweep(folder: SweepFolder) -> None:
    other = SweepFolder(folder.root.parent / "tensorboard")
    write_text(other.space, "name: tensorboard")
    with pytest.raises(UserError, match="is a sweep's folder, and tensorboard would write into it; move it away"):
        feeding.check(["tensorboard"], folder)


@pytest.mark.slow
def test_trials_that_are_over_for_good_are_told_and_stopped_ones_only_when_they_are(tmp_path: Path) -> None:
    with launched(tmp_path, budget={"trials": 2, "hours": 0.0001}, trackers=["wandb"]) as running:
        running.join()
    assert notes(running.folder) == ["0", "closed"]
    with launched(tmp_path, budget={"trials": 2}, trackers=["wandb", "mlflow"]) as running:
        running.go.set()
        running.join()
    assert notes(running.folder) == ["0", "closed", "1", "closed"]
    assert notes(running.folder, "mlflow") == ["1", "closed"]


@pytest.mark.slow
def test_a_server_that_is_away_neither_harms_nor_delays_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setitem(feeding.MODULES, "mlflow", "sweeper.trackers.mlflow")
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
