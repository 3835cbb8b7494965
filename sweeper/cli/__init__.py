"""The command line: parse, call one function, map errors to exit codes."""

import gc
import os
import signal
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


# Importing makes very many objects and hardly any garbage, which Python by default looks for every 700 objects.
gc.set_threshold(200_000)
if os.getpid() == 1:  # the first process of a container: a signal that it does not catch is dropped
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    signal.signal(signal.SIGUSR1, _end)
