"""The heartbeat of a launch: what it says, that it does no harm, and that it hears a request to stop."""

import json
import os
import platform
import shutil
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.monitor import heartbeat
from sweeper.monitor.heartbeat import Heartbeat, Progress, Pulse, read
from tests.fakes.heartbeats import BEAT
from tests.fakes.launches import launched, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.05)


def test_a_heartbeat_is_the_same_after_a_way_through_json() -> None:
    assert Heartbeat.parse(BEAT.text()) == BEAT
    assert Heartbeat.parse(BEAT.text() + b" " * 1000) == BEAT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        BEAT.text()[:-20],
        BEAT.text().replace(b"4711", b"-1"),
        BEAT.text().replace(b"4711", b"9" * 5000),
        BEAT.text().replace(b"61.5", b"NaN"),
        BEAT.text().replace(b"61.5", b"1e999"),
        BEAT.text().replace(b'"launch"', b'"lunch"'),
        BEAT.text().replace(b"+00:00", b"").replace(b"05Z", b"05"),
        BEAT.text().replace(b'"trial 1: ', b'{"trial 1: '),
    ],
)
def test_a_damaged_heartbeat_is_as_good_as_none(folder: SweepFolder, content: bytes) -> None:
    assert Heartbeat.parse(content) is None
    folder.status.write_bytes(content)
    assert read(folder) is None


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    found = Heartbeat.parse(BEAT.text().replace(b"a-machine", b"a\\u001b[2Jmachine\\u202e"))
    assert found is not None
    assert found.host == "a?[2Jmachine?"


def test_without_a_file_or_with_something_else_in_its_place_there_is_no_heartbeat(folder: SweepFolder) -> None:
    assert read(folder) is None
    folder.status.mkdir()
    assert read(folder) is None
    folder.status.rmdir()
    os.mkfifo(folder.status)
    assert read(folder) is None
    folder.status.unlink()
    (folder.root / "elsewhere").write_bytes(BEAT.text())
    folder.status.symlink_to(folder.root / "elsewhere")
    assert read(folder) is None


def begins() -> Progress:
    return Progress("made-up")


def nothing() -> None:
    """Follows no request to stop."""


def test_a_launch_says_what_it_does_and_how_it_ended(folder: SweepFolder) -> None:
    steps = iter(range(1000))
    with Pulse(folder, lambda: Progress("made-up", finished=next(steps)), nothing, 7.0):
        begun = read(folder)
        assert begun is not None
        assert (begun.host, begun.pid, begun.every) == (platform.node(), os.getpid(), 7.0)
        assert (begun.progress.name, begun.ended) == ("made-up", "")
        wait_for(lambda: (read(folder) or begun).progress.finished > 2)
        seen = read(folder)
    ended = read(folder)
    assert seen is not None
    assert ended is not None
    assert begun.launch == seen.launch == ended.launch
    assert begun.at < seen.at < ended.at
    assert ended.ended == "finished"
    assert ended.progress.finished > seen.progress.finished, "it looked once more"
    assert sorted(path.name for path in folder.root.iterdir()) == ["status.json"]


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (UserError("storage: is away\nwith more"), "failed: storage: is away"),
        (ZeroDivisionError(), "failed: ZeroDivisionError"),
        (KeyboardInterrupt(), "stopped: interrupted"),
    ],
)
def test_a_launch_that_breaks_says_so(folder: SweepFolder, error: BaseException, ended: str) -> None:
    with pytest.raises(type(error)), Pulse(folder, begins, nothing):
        raise error
    found = read(folder)
    assert found is not None
    assert found.ended == ended


def test_a_stopped_launch_says_by_what_and_that_nothing_trains(folder: SweepFolder) -> None:
    with Pulse(folder, lambda: BEAT.progress, nothing):
        pass
    found = read(folder)
    assert found is not None
    assert found.ended == "stopped: Ctrl-C"
    assert (found.progress.running, found.progress.stopping) == ((), "")


def test_only_a_request_for_this_launch_stops_it_and_every_request_is_taken_away(folder: SweepFolder) -> None:
    stopped: list[str] = []
    with Pulse(folder, begins, lambda: stopped.append("stop")):
        found = read(folder)
        assert found is not None
        for other in (heartbeat.request("fedcba9876543210"), b"", b"{", b"\xff" * 100):
            folder.stop_request.write_bytes(other)
            wait_for(lambda: not folder.stop_request.exists())
        assert stopped == []
        folder.stop_request.write_bytes(heartbeat.request(found.launch) + b"   ")
        wait_for(lambda: stopped)
        assert not folder.stop_request.exists()


def test_a_pipe_in_the_place_of_a_request_is_not_waited_on(folder: SweepFolder) -> None:
    with Pulse(folder, begins, nothing):
        os.mkfifo(folder.stop_request)
        wait_for(lambda: not folder.stop_request.exists())


def test_trouble_with_the_disk_or_with_looking_does_no_harm(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "gone")
    folder.root.mkdir()

    looks = iter([Progress("made-up")])

    def breaks_later() -> Progress:
        for first in looks:
            return first
        raise RuntimeError("changed size during iteration")

    with Pulse(folder, lambda: Progress("made-up", finished=3), nothing):
        shutil.rmtree(folder.root)
        folder.root.write_text("a file now")
        wait_for(lambda: True)
    folder.root.unlink()
    folder.root.mkdir()
    with Pulse(folder, breaks_later, nothing):
        pass
    found = read(folder)
    assert found is not None
    assert (found.ended, found.progress) == ("finished", Progress("made-up"))


@pytest.mark.slow
def test_a_whole_launch_says_what_its_director_knows(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        wait_for(
            lambda: (
                (beat := read(running.folder))
                and beat.progress.best
                and any(each.metric for each in beat.progress.running)
            )
        )
        beat = read(running.folder)
        assert beat is not None
        now = beat.progress
        assert (now.name, now.metric, now.horizon, now.budget, now.finished) == ("made-up", "val_accuracy", 10**6, 3, 1)
        assert now.runs == {"reached": 2}
        assert now.best == "trial 0: reached 2/2, mean 10 steps  depth=1 heads=1"
        (training,) = now.running
        assert (training.number, training.phase, training.role, training.metric) == (1, "search", "", 0.25)
        assert training.step > 0
        assert now.rate > 0
        assert now.remaining is not None
    running.join()
    beat = read(running.folder)
    assert beat is not None
    assert (beat.ended, beat.progress.finished, beat.progress.runs) == ("finished", 3, {"reached": 6})


@pytest.mark.slow
def test_a_launch_that_is_refused_leaves_the_heartbeat_of_before(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        running.go.set()
        running.join()
        before = json.loads(running.folder.status.read_text())
    with launched(tmp_path, fixed={"width": 64}) as refused, pytest.raises(UserError, match=r"fixed\.width"):
        refused.join()
    assert json.loads(running.folder.status.read_text()) == before
