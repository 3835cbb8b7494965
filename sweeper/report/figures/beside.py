"""Draw a sweep's figures in two processes: this one from the last figure on, and another beside it from the first on.

`python -m sweeper.report.figures.beside FOLDER` is the other one: it pickles its figures to standard output. It starts
at once, so that it draws while this process still reads what stands beside the figures.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING

from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.folder.layout import SweepFolder

if TYPE_CHECKING:
    from sweeper.report.figures.canvas import Figure

_UNNEEDED = "sklearn"
"""Optuna imports scikit-learn, if it can, for an evaluator that is not used here: with SciPy a fifth of a report."""


class _Lost:
    """Stands for a figure that the other process did not deliver."""


def drawn(folder: SweepFolder, spec: SweepSpec) -> "Iterator[Figure]":
    """A sweep's figures in reading order. Drawing begins now, in a process that ends with the iterator.

    Raises:
        UserError: a part is damaged.
    """
    several = len(os.sched_getaffinity(0)) > 1
    return _in_order(folder, spec, _Another(folder) if several else None)


def _in_order(folder: SweepFolder, spec: SweepSpec, other: "_Another | None") -> "Iterator[Figure]":
    """Draw from the last figure on until all those before have come from the other process."""
    with _hidden(_UNNEEDED):
        from sweeper.report.figures.gallery import PLACES, draw_some  # noqa: PLC0415

    mine = draw_some(folder, spec, reversed(PLACES))
    first, last = 0, len(PLACES)  # those from first to last are still to be drawn
    done: list[Figure | None] = []
    try:
        while first < last:
            figure = other.take(wait=first == last - 1) if other is not None else _Later.SOON
            if isinstance(figure, _Later):
                if other is not None and figure is _Later.NEVER:
                    other.end()
                    other = None
                last -= 1
                done.append(next(mine))
                continue
            first += 1
            if figure is not None:
                yield figure
    finally:
        if other is not None:
            other.end()
    yield from (figure for figure in reversed(done) if figure is not None)


class _Later(Enum):
    """What there is instead of a figure: it is being drawn, or the other process has not delivered it."""

    SOON = 0
    NEVER = 1


class _Another:
    """The process that draws beside this one.

    Args:
        folder: of the sweep that it draws.
    """

    def __init__(self, folder: SweepFolder):
        command = [sys.executable, "-m", __name__, str(folder.root)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None, "it is a pipe"
        self._delivered: SimpleQueue[Figure | _Later | None] = SimpleQueue()
        threading.Thread(target=_receive, args=(self._process.stdout, self._delivered), daemon=True).start()

    def take(self, *, wait: bool) -> "Figure | _Later | None":
        """Its next figure, None for one that has nothing to show."""
        try:
            return self._delivered.get(block=wait)
        except Empty:
            return _Later.SOON

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def _receive(stream: IO[bytes], delivered: "SimpleQueue[Figure | _Later | None]") -> None:
    """Take in figures until the stream ends, or half a figure comes."""
    with stream:
        while True:
            try:
                delivered.put(pickle.load(stream))
            except Exception:  # noqa: BLE001  # whatever half a pickle makes it raise
                delivered.put(_Later.NEVER)
                return


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Have imports of a module fail, as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # this is how Python spells it
    try:
        yield
    finally:
        del sys.modules[module]


def _deliver(folder: SweepFolder) -> None:
    """Draw the figures, and write each to standard output when it is done."""
    with _hidden(_UNNEEDED):
        from sweeper.report.figures.gallery import PLACES, draw_some  # noqa: PLC0415

    for figure in draw_some(folder, saved_spec(folder), PLACES):
        pickle.dump(figure, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _deliver(SweepFolder(Path(sys.argv[1])))
