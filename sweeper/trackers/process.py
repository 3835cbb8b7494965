"""The process of one tracker: finished trials come in on its standard input, and it answers each with one line.

Libraries print, prompt, start processes and wait for servers when Python exits; a process of its own can be killed
whatever they do. `dispatch.py` starts `python -m sweeper.trackers.process MODULE SWEEP FOLDER`.
"""

import os
import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from sweeper.trackers.protocol import Destination, FinishedTrial, Tracker

TAKEN, CLOSED, FAILED = "taken", "closed", "failed: "


def main(module: str, sweep: str, folder: str) -> None:
    """Take trials until the input ends, then exit without running exit handlers that a library has registered."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)

    def answer(line: str) -> None:
        os.write(outgoing, f"{line}\n".encode())

    try:
        tracker: Tracker = import_module(module).open_tracker(Destination(sweep, Path(folder)))
        while (trial := _next(incoming)) is not None:
            tracker.track(trial)
            answer(TAKEN)
        tracker.close()
        answer(CLOSED)
    except BaseException as error:  # noqa: BLE001  # any exception of a library becomes a message for the user
        answer(FAILED + (" ".join(str(error).split())[:300] or type(error).__name__))
    os._exit(0)


def _next(incoming: BinaryIO) -> FinishedTrial | None:
    try:
        trial: FinishedTrial = pickle.load(incoming)
    except EOFError:
        return None
    return trial


if __name__ == "__main__":
    main(*sys.argv[1:])
