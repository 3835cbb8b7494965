"""Sends finished trials to trackers, each in a process of its own, so that no tracker can delay or harm a sweep.

A tracker that raises receives no further trials. A slow tracker misses trials while 64 are queued for it. At the end,
all trackers together have ten seconds to finish; then their processes are killed. Each fault is reported once; the
tables are complete in any case.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

from sweeper.errors import UserError, plural
from sweeper.folder.background import Background
from sweeper.folder.layout import SweepFolder
from sweeper.trackers import process
from sweeper.trackers.protocol import Destination, FinishedTrial

NEEDS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Tracker -> the library that it needs, installed by the extra of the same name."""
MODULES = {name: f"sweeper.trackers.{name}" for name in NEEDS}
"""Tracker -> the module whose `open_tracker` its process calls."""
Notify = Callable[[str], object]
_QUEUED = 64
_CLOSE_SECONDS, _KILL_SECONDS = 10.0, 1.0


def check(names: Sequence[str], folder: SweepFolder) -> None:
    """Check, before a sweep starts, that every tracker can run.

    Args:
        names: the trackers' names.
        folder: the sweep's folder; trackers write to folders beside it.

    Raises:
        UserError: a package is missing, or a tracker's folder belongs to a sweep.
    """
    for name in names:
        if find_spec(NEEDS[name]) is None:
            raise UserError(
                f"trackers: {name} needs a package that is not installed; run pip install 'grokking-sweeper[{name}]'"
            )
        own = SweepFolder(_folder(name, folder))
        if own.space.exists():
            raise UserError(f"trackers: {own.root} is a sweep's folder, and {name} would write into it; move it away")


@contextmanager
def running(names: Sequence[str], sweep: str, folder: SweepFolder, notify: Notify) -> Iterator["Trackers"]:
    """Run trackers until the block ends, and for at most ten seconds more.

    Args:
        names: the trackers' names.
        sweep: the sweep's name.
        folder: the sweep's folder.
        notify: receives messages for the user.
    """
    trackers = Trackers({name: Destination(sweep, _folder(name, folder)) for name in names}, notify)
    seconds = 0.0  # after a second Ctrl-C
    try:
        yield trackers
        seconds = _CLOSE_SECONDS
    except Exception:
        seconds = _CLOSE_SECONDS
        raise
    finally:
        trackers.close(seconds)


def send(name: str, sweep: str, folder: SweepFolder, trials: Iterable[FinishedTrial]) -> int:
    """Give trials to a tracker after the fact, and wait until it has taken all of them. Returns how many.

    Args:
        name: the tracker's.
        sweep: the sweep's name.
        folder: the sweep's folder.
        trials: those to send.

    Raises:
        UserError: the tracker cannot run, or failed.
    """
    check([name], folder)
    problems: list[str] = []
    tracker = _Running(name, Destination(sweep, _folder(name, folder)), problems.append)
    count = 0
    for trial in trials:
        if not tracker.wait_and_put(trial):
            break
        count += 1
    tracker.finish()
    tracker.join(None)
    if problems:
        raise UserError(f"{name}: {problems[0]}")
    return count


class Trackers:
    """Trackers that run.

    Args:
        places: tracker's name -> where it writes.
        notify: receives messages for the user.
    """

    def __init__(self, places: dict[str, Destination], notify: Notify):
        self._trackers = [_Running(name, place, notify) for name, place in places.items()]

    def put(self, trial: FinishedTrial) -> None:
        """Queue a trial for every tracker; return at once."""
        for tracker in self._trackers:
            tracker.put(trial)

    def close(self, seconds: float) -> None:
        """Let trackers take the queued trials for so many seconds, then end their processes."""
        until = time.monotonic() + seconds
        for tracker in self._trackers:
            tracker.finish()
        for tracker in self._trackers:
            tracker.join(max(0.0, until - time.monotonic()))


class _Running:
    """One tracker: its process, the thread that writes to the process, and the queue of trials."""

    def __init__(self, name: str, place: Destination, notify: Notify):
        self._name, self._notify = name, notify
        self._queue: queue.Queue[FinishedTrial] = queue.Queue(_QUEUED)
        self._missed = 0
        self._ended = threading.Event()
        self._last_queued = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", process.__name__, MODULES[name], place.sweep, str(place.folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C must reach the launch alone: its last trials are still to come
        )
        self._thread = Background(self._send_all, name=f"tracker {name}")
        self._thread.start()

    def put(self, trial: FinishedTrial) -> None:
        if self._ended.is_set():
            return
        try:
            self._queue.put_nowait(trial)
        except queue.Full:
            self._missed += 1
            if self._missed == 1:
                self._notify(f"{self._name} is slower than the sweep and misses trials; the tables contain all of them")

    def wait_and_put(self, trial: FinishedTrial) -> bool:
        """Queue a trial as soon as there is room. Returns whether the tracker still takes any."""
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._queue.put(trial, timeout=0.2)
                return True
        return False

    def finish(self) -> None:
        self._last_queued.set()

    def join(self, seconds: float | None) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._ended.set()
            self._notify(f"{self._name} was ended before it had taken every trial; the tables contain all of them")
        elif self._missed:
            self._notify(f"{self._name} missed {plural(self._missed, 'trial')} because it is slower than the sweep")
        self._process.kill()
        self._process.wait()
        self._thread.join(_KILL_SECONDS)

    def _send_all(self) -> None:
        outgoing, incoming = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        message = process.TAKEN
        with incoming:
            with suppress(OSError), outgoing:  # a process that ended has left its last message
                for trial in self._trials():
                    pickle.dump(trial, outgoing)
                    outgoing.flush()
                    message = incoming.readline().decode().strip()
                    if message != process.TAKEN:
                        break
            if message in (process.TAKEN, ""):
                message = incoming.readline().decode().strip()
        if message != process.CLOSED and not self._ended.is_set():
            self._ended.set()
            why = message.removeprefix(process.FAILED) or "its process ended"
            self._notify(f"{self._name} failed and receives no further trials: {why}")

    def _trials(self) -> Iterator[FinishedTrial]:
        while not self._ended.is_set():
            try:
                yield self._queue.get(timeout=0.2)
            except queue.Empty:
                if self._last_queued.is_set():
                    return


def _folder(name: str, folder: SweepFolder) -> Path:
    return folder.root.parent / name
