"""The signals that end a launch: the first one stops it gracefully, within a grace; a second Ctrl-C ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

GRACE_S = 25.0
"""SLURM and Kubernetes send SIGKILL 30 seconds after SIGTERM."""
CTRL_C = "Ctrl-C"
_CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_UNWIND_AT, _END_AT = 0.6, 0.96
"""Shares of the grace: after one a stop is interrupted as by a second Ctrl-C, after the other the process ends."""


class Stopped(KeyboardInterrupt):
    """Raised by a signal. After a plain KeyboardInterrupt Python may end the process as by SIGINT, with code 130."""


class Signals:
    """Catches SIGINT, SIGTERM, SIGHUP and SIGUSR1 while it is entered, in the main thread; elsewhere it does nothing.

    A signal that the process was started to ignore, as `nohup` does, stays ignored. Before `follow` nothing has begun,
    and the process ends there and then. A graceful stop that takes longer than the grace ends the process too; there is
    no grace after Ctrl-C, which can be pressed again.

    Args:
        grace: seconds between the signal and the end of the process, at most.

    Attributes:
        first: the signal that came first; None before.
        graceful: whether Ctrl-C stops gracefully; otherwise, while a launch prepares, it raises KeyboardInterrupt.
    """

    def __init__(self, grace: float = GRACE_S):
        self.first: signal.Signals | None = None
        self.graceful = False
        self._held = False
        self._grace = grace
        self._stop: Callable[[str], object] | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._timers: list[threading.Timer] = []
        self._entered = 0

    def __enter__(self) -> "Signals":
        self._entered += 1
        if self._entered == 1 and threading.current_thread() is threading.main_thread():
            for number in _CAUGHT:
                before = signal.getsignal(number)
                if before != signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if not self._entered:
            for timer in self._timers:
                timer.cancel()
            for number, before in self._before.items():
                signal.signal(number, before)
            self._before = {}

    def follow(self, stop: Callable[[str], object]) -> None:
        """Call `stop` with the name of the first signal."""
        self._stop = stop

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the first Ctrl-C wait for the end of the block: a module whose import is broken off may be half there,
        and in a notebook no launch would import it again.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.first == signal.SIGINT:
            raise Stopped

    @property
    def name(self) -> str:
        """The name of the signal, for messages; empty before one came."""
        if self.first is None:
            return ""
        return CTRL_C if self.first == signal.SIGINT else self.first.name

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP, 138 SIGUSR1."""
        return 128 + (self.first or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.first is not None
        self.first = self.first or signal.Signals(number)
        if number == signal.SIGINT and (again or not (self.graceful or self._held)):
            raise Stopped
        if self._stop is None:
            os.write(2, f"stopped by {self.name} before anything began\n".encode())
            os._exit(self.exit_code)
        if number != signal.SIGINT and not self._timers:
            self._begin_grace()
        if not again:
            self._stop(self.name)

    def _begin_grace(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        self._timers = [
            threading.Timer(self._grace * _UNWIND_AT, signal.pthread_kill, (main, signal.SIGINT)),
            threading.Timer(self._grace * _END_AT, os._exit, (self.exit_code,)),
        ]
        for timer in self._timers:
            timer.daemon = True
            timer.start()
