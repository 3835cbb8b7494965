"""Draw a sweep's figures in two processes: this one, and another beside it that draws every second figure.

`python -m sweeper.report.figures.beside FOLDER` is the other one: it pickles its figures to standard output.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
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
    """A sweep's figures in reading order, each as soon as it and those before it are drawn.

    Raises:
        UserError: a part is damaged.
    """
    with _hidden(_UNNEEDED):
        from sweeper.report.figures.gallery import PLACES, draw_some  # noqa: PLC0415

    every = min(2, len(os.sched_getaffinity(0)))
    mine, theirs = PLACES[::every], PLACES[1::2] if every == 2 else ()
    with _another(folder, len(theirs)) as delivered:
        ours = draw_some(folder, spec, mine)
        for place in PLACES:
            figure = next(ours) if place in mine else delivered.get()
            if isinstance(figure, _Lost):  # if the sweep is damaged, this process says so
                figure = next(draw_some(folder, spec, [place]))
            if figure is not None:
                yield figure


@contextmanager
def _another(folder: SweepFolder, count: int) -> "Iterator[SimpleQueue[Figure | _Lost | None]]":
    """The figures of another process, as they come; it ends with the block."""
    delivered: SimpleQueue[Figure | _Lost | None] = SimpleQueue()
    if count == 0:
        yield delivered
        return
    command = [sys.executable, "-m", __name__, str(folder.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout is not None, "it is a pipe"
        threading.Thread(target=_receive, args=(other.stdout, delivered, count), daemon=True).start()
        try:
            yield delivered
        finally:
            other.kill()


def _receive(stream: IO[bytes], delivered: "SimpleQueue[Figure | _Lost | None]", count: int) -> None:
    for _ in range(count):
        try:
            delivered.put(pickle.load(stream))
        except Exception:  # noqa: BLE001  # whatever half a pickle makes it raise
            delivered.put(_Lost())


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
    """Draw every second figure, and write each to standard output when it is done."""
    with _hidden(_UNNEEDED):
        from sweeper.report.figures.gallery import PLACES, draw_some  # noqa: PLC0415

    for figure in draw_some(folder, saved_spec(folder), PLACES[1::2]):
        pickle.dump(figure, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _deliver(SweepFolder(Path(sys.argv[1])))
