"""The process that one tracker works in: finished trials come in on its standard input, a word for each goes out.

Its own process, because libraries print, ask questions, start processes and wait for servers when Python ends: whatever
they do, it can be ended. `python -m sweeper.trackers.process MODULE SWEEP FOLDER` is started by `feeding.py`.
"""

import os
import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from sweeper.trackers.protocol import Place, Tracker, Trial

TAKEN, CLOSED, FAILED = "taken", "closed", "failed: "


def main(module: str, sweep: str, folder: str) -> None:
    """Take trials until there are no more, and end: what a library registered for its end is not waited for."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)

    def answer(word: str) -> None:
        os.write(outgoing, f"{word}\n".encode())

    try:
        tracker: Tracker = import_module(module).open_tracker(Place(sweep, Path(folder)))
        while (trial := _next(incoming)) is not None:
            tracker.track(trial)
            answer(TAKEN)
        tracker.close()
        answer(CLOSED)
    except BaseException as error:  # noqa: BLE001  # whatever a library raises is a sentence for the user
        answer(FAILED + (" ".join(str(error).split())[:300] or type(error).__name__))
    os._exit(0)


def _next(incoming: BinaryIO) -> Trial | None:
    try:
        trial: Trial = pickle.load(incoming)
    except EOFError:
        return None
    return trial


if __name__ == "__main__":
    main(*sys.argv[1:])
