"""Trackers that fail, hang or are slow: the sweep continues, and one message reports it."""

import json
import signal
import socket
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.trackers import dispatch
from tests.fakes import small
from tests.fakes.launches import launched, quiet, wait_for
from tests.fakes.small import table
from tests.fakes.tracked import trial


@pytest.fixture(autouse=True)
def _misbehaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace two trackers."""
    for name in ("mlflow", "wandb"):
        monkeypatch.setitem(dispatch.MODULES, name, "tests.fakes.misbehaving_trackers")


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "made-up")


def notes(folder: SweepFolder, name: str = "wandb") -> list[str]:
    """The notes that a tracker wrote."""
    path = folder.root.parent / name / "notes.txt"
    return path.read_text().split() if path.exists() else []


@pytest.mark.slow
def test_every_trial_is_sent_once_and_in_order(folder: SweepFolder) -> None:
    said: list[str] = []
    with dispatch.running(["wandb"], "behaves", folder, said.append) as trackers:
        for number in range(20):
            trackers.put(trial(number))
    assert said == []
    assert notes(folder) == [*map(str, range(20)), "closed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "why", "sent"),
    [
        ("raises", "no room", ["0"]),
        ("cannot-begin", "no room", []),
        ("leaves", "1", []),
        ("dies", "its process ended", []),
    ],
)
def test_a_tracker_that_fails_receives_no_further_trials_and_one_message_says_why(
    folder: SweepFolder, how: str, why: str, sent: list[str]
) -> None:
    said: list[str] = []
    with dispatch.running(["wandb"], how, folder, said.append) as trackers:
        for number in range(3):
            trackers.put(trial(number))
        wait_for(lambda: said)
        for number in range(100):
            trackers.put(trial(number))
    assert said == [f"wandb failed and receives no further trials: {why}"]
    assert notes(folder) == sent


@pytest.mark.slow
def test_what_a_tracker_prints_is_not_shown_and_nobody_answers_its_questions(
    folder: SweepFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with dispatch.running(["wandb"], "prints", folder, said.append) as trackers:
        trackers.put(trial())
    assert said == ["wandb failed and receives no further trials: EOF when reading a line"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_trials_that_a_slow_tracker_misses_are_counted(folder: SweepFolder) -> None:
    said: list[str] = []
    with dispatch.running(["wandb"], "waits", folder, said.append) as trackers:
        for number in range(100):
            trackers.put(trial(number))
            if number == 0:
                wait_for(trackers._trackers[0]._queue.empty)
        assert len(said) == 1
        write_text(folder.root.parent / "wandb" / "go", "")
    assert notes(folder) == [*map(str, range(65)), "closed"]
    assert said == [
        "wandb is slower than the sweep and misses trials; the tables contain all of them",
        "wandb missed 35 trials because it is slower than the sweep",
    ]


@pytest.mark.slow
def test_trackers_that_hang_are_ended_at_the_end(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_CLOSE_SECONDS", 0.3)
    said: list[str] = []
    with dispatch.running(["mlflow", "wandb"], "hangs", folder, said.append) as trackers:
        trackers.put(trial())
    assert said == [
        f"{name} was ended before it had taken every trial; the tables contain all of them"
        for name in ("mlflow", "wandb")
    ]
    assert [each._process.poll() for each in trackers._trackers] == [-signal.SIGKILL] * 2
    assert not any(each._thread.is_alive() for each in trackers._trackers)


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_no_tracker(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_CLOSE_SECONDS", 1000.0)
    said: list[str] = []

    def interrupted() -> None:
        with dispatch.running(["wandb"], "hangs", folder, said.append) as trackers:
            trackers.put(trial())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert said == ["wandb was ended before it had taken every trial; the tables contain all of them"]


def test_a_missing_package_is_reported_before_the_sweep_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dispatch.NEEDS, "wandb", "a_package_that_is_missing")
    space = small.write(tmp_path)
    with pytest.raises(UserError) as raised:
        launch(space, ["trackers=wandb"], LaunchOptions(where="here", console=quiet()))
    assert str(raised.value) == (
        "trackers: wandb needs a package that is not installed; run pip install 'grokking-sweeper[wandb]'"
    )
    assert not (tmp_path / "results").exists()


def test_a_tracker_does_not_write_into_a_sweep(folder: SweepFolder) -> None:
    other = SweepFolder(folder.root.parent / "tensorboard")
    write_text(other.space, "name: tensorboard")
    with pytest.raises(UserError, match="is a sweep's folder, and tensorboard would write into it; move it away"):
        dispatch.check(["tensorboard"], folder)


@pytest.mark.slow
def test_finished_trials_are_sent_and_stopped_ones_only_once_they_have_finished(tmp_path: Path) -> None:
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
    monkeypatch.setitem(dispatch.MODULES, "mlflow", "sweeper.trackers.mlflow")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        console = quiet()
        launch(
            small.write(tmp_path), ["trackers=mlflow", "budget.trials=3"], LaunchOptions(where="here", console=console)
        )
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert sorted(table(tmp_path, "trials")["trial"]) == [0, 1, 2]
    assert said.count("mlflow failed and receives no further trials: ") == 1
    assert json.loads((tmp_path / "results" / "small" / "status.json").read_text())["ended"] == "finished"


@pytest.mark.slow
def test_trials_that_are_sent_after_the_fact_all_arrive_or_the_reason_is_raised(folder: SweepFolder) -> None:
    assert dispatch.send("wandb", "behaves", folder, map(trial, range(100))) == 100
    assert notes(folder) == [*map(str, range(100)), "closed"]
    with pytest.raises(UserError, match="mlflow: mlflow failed and receives no further trials: no room"):
        dispatch.send("mlflow", "raises", folder, map(trial, range(100)))
