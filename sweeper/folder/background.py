"""Threads beside a launch, to which no signal is delivered."""

import signal
import threading
from collections.abc import Callable
from typing import Any


class Background(threading.Thread):
    """A daemon thread that leaves SIGTERM to others.

    While one thread blocks a signal, the kernel delivers it to another: here, as Ray starts, to a handler of Ray's that
    ends the process (`sweeper.runners.ray_internals.signals_left_alone`).

    Args:
        target: what it runs, with the positional arguments.
        name: of the thread.
    """

    def __init__(self, target: Callable[..., object], *arguments: Any, name: str):
        super().__init__(target=target, args=arguments, name=name, daemon=True)

    def run(self) -> None:
        """Block SIGTERM, then run the target."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        super().run()
