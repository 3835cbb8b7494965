"""The command line: parse, call one function, map errors to exit codes."""

import os
import signal
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if os.getpid() == 1:  # the first process of a container: a signal that it does not catch is dropped
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    signal.signal(signal.SIGUSR1, _end)
