"""A launch in a thread of this process, whose trials train until they are let go: for tests of those who watch it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeper.folder.layout import SweepFolder
from sweeper.monitor import heartbeat
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import chunk_of, curve
from tests.fakes.sweeps import QUESTION


def quiet() -> Console:
    """A console whose output nobody sees."""
    return Console(file=StringIO(), width=160)


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


class Launch:
    """A launch of `QUESTION` in a thread. Trial 0 is quick; the others train on until `go` is set.

    Attributes:
        go: lets trials come to their end.
        address: the sweep's.
        raised: what ended the launch, if anything did.
    """

    def __init__(self, root: Path, results: str | None = None, **changes: Any):
        self.go = threading.Event()
        self.raised: BaseException | None = None
        results = results or str(root / "results")
        self.address = f"{results}/made-up"
        self.folder = SweepFolder(Path(self.address))
        self._console = Console(file=StringIO(), width=200)
        self._space = root / "space.yaml"
        objective = {"horizon": 1_000_000, "evaluate_every": 10, "replicates": 2}
        self._space.write_text(
            json.dumps(QUESTION | {"objective": objective, "results": results, "budget": {"trials": 3}} | changes)
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def said(self) -> str:
        """What it has printed."""
        assert isinstance(self._console.file, StringIO)
        return self._console.file.getvalue()

    def join(self) -> None:
        """Wait for its end; raises what it raised."""
        self.thread.join(60)
        assert not self.thread.is_alive(), "waited too long"
        if self.raised is not None:
            raise self.raised

    def _run(self) -> None:
        try:
            launch(self._space, options=LaunchOptions(where="here", console=self._console, train=self._train))
        except BaseException as error:  # noqa: BLE001  # `join` raises it
            self.raised = error

    def _train(self, assignment: Assignment) -> Iterator[Chunk]:
        for evaluation in range(1, 100_000):
            done = self.go.is_set() or assignment.number == 0
            metric = [1.0 if done else 0.25]
            yield chunk_of(*(curve(metric, each, first=evaluation) for each in assignment.replicates))
            if done:
                return
            time.sleep(0.01)


@contextmanager
def launched(root: Path, results: str | None = None, **changes: Any) -> Iterator[Launch]:
    """A launch that is let go, and waited for, when the block ends."""
    running = Launch(root, results, **changes)
    try:
        yield running
    finally:
        running.go.set()
        running.thread.join(60)


def in_training(running: Launch) -> int:
    """The trial that trains until it is let go, once it does."""
    wait_for(
        lambda: (beat := heartbeat.read(running.folder)) and any(each.number > 0 for each in beat.progress.running)
    )
    found = heartbeat.read(running.folder)
    assert found is not None
    return found.progress.running[0].number
