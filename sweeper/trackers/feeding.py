"""Tells trackers of finished trials, each in a process of its own, so that none can hold up or harm a sweep.

A tracker that raises is left alone from then on. One that is slow misses trials when 64 wait for it. At the end all
together are given ten seconds, and are ended then. The user is told once what went wrong; the tables have everything.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.trackers import process
from sweeper.trackers.protocol import Place, Trial

NEEDS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Tracker -> the library that it needs, which the extra of its name brings."""
MODULES = {name: f"sweeper.trackers.{name}" for name in NEEDS}
"""Tracker -> the module whose `open_tracker` its process calls."""
Say = Callable[[str], object]
_WAITING = 64
_PATIENCE, _GONE = 10.0, 1.0


def check(names: Sequence[str], folder: SweepFolder) -> None:
    """Look whether every tracker can be told anything, before a sweep starts.

    Args:
        names: of trackers.
        folder: the sweep's; trackers work in folders beside it.

    Raises:
        UserError: a package is missing, or a tracker's folder is a sweep's.
    """
    for name in names:
        if find_spec(NEEDS[name]) is None:
            raise UserError(
                f"trackers: {name} needs a package that is missing; pip install 'grokking-sweeper[{name}]' brings it"
            )
        place = SweepFolder(_place(name, folder))
        if place.space.exists():
            raise UserError(f"trackers: {place.root} is a sweep's folder, and {name} would write into it; move it away")


@contextmanager
def feeding(names: Sequence[str], sweep: str, folder: SweepFolder, say: Say) -> Iterator["Feed"]:
    """Tell trackers of finished trials until the block ends, and for at most ten seconds more.

    Args:
        names: of trackers.
        sweep: the sweep's name.
        folder: the sweep's.
        say: is told what a user should know.
    """
    feed = Feed({name: Place(sweep, _place(name, folder)) for name in names}, say)
    patience = 0.0  # after a second Ctrl-C
    try:
        yield feed
        patience = _PATIENCE
    except Exception:
        patience = _PATIENCE
        raise
    finally:
        feed.close(patience)


class Feed:
    """Trackers that are being told.

    Args:
        places: tracker -> where it works.
        say: is told what a user should know.
    """

    def __init__(self, places: dict[str, Place], say: Say):
        self._lines = [_Line(name, place, say) for name, place in places.items()]

    def put(self, trial: Trial) -> None:
        """Tell every tracker, soon. Returns at once."""
        for line in self._lines:
            line.put(trial)

    def close(self, patience: float) -> None:
        """Give what waits so many seconds, and end the rest."""
        until = time.monotonic() + patience
        for line in self._lines:
            line.finish()
        for line in self._lines:
            line.join(max(0.0, until - time.monotonic()))


class _Line:
    """One tracker: its process, the thread that feeds it, and the trials that wait for it."""

    def __init__(self, name: str, place: Place, say: Say):
        self._name, self._say = name, say
        self._waiting: queue.Queue[Trial] = queue.Queue(_WAITING)
        self._missed = 0
        self._over = threading.Event()
        self._done = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", process.__name__, MODULES[name], place.sweep, str(place.folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for the launch, whose last trials are still to come
        )
        self._thread = threading.Thread(target=self._feed, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, trial: Trial) -> None:
        if self._over.is_set():
            return
        try:
            self._waiting.put_nowait(trial)
        except queue.Full:
            self._missed += 1
            if self._missed == 1:
                self._say(f"{self._name} is slower than trials end, and misses some; the tables have all of them")

    def finish(self) -> None:
        self._done.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._over.set()
            self._say(f"{self._name} had not taken every trial, and is ended; the tables have all of them")
        elif self._missed:
            self._say(f"{self._name} missed {self._missed} trials, for it is slower than they ended")
        self._process.kill()
        self._process.wait()
        self._thread.join(_GONE)

    def _feed(self) -> None:
        to, of = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        word = process.TAKEN
        with of:
            with suppress(OSError), to:  # whose process is gone has left its last word
                for trial in self._trials():
                    pickle.dump(trial, to)
                    to.flush()
                    word = of.readline().decode().strip()
                    if word != process.TAKEN:
                        break
            if word in (process.TAKEN, ""):
                word = of.readline().decode().strip()
        if word != process.CLOSED and not self._over.is_set():
            self._over.set()
            said = word.removeprefix(process.FAILED) or "its process ended"
            self._say(f"{self._name} is told nothing more, for it failed: {said}")

    def _trials(self) -> Iterator[Trial]:
        while not self._over.is_set():
            try:
                yield self._waiting.get(timeout=0.2)
            except queue.Empty:
                if self._done.is_set():
                    return


def _place(name: str, folder: SweepFolder) -> Path:
    return folder.root.parent / name
