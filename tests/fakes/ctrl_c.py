"""Ctrl-C for what a test calls."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c(when: Callable[[], object]) -> Iterator[None]:
    """Press Ctrl-C in the main thread of this process, once, as soon as a condition holds while the block runs."""
    main, done = threading.main_thread().ident, threading.Event()
    assert main is not None

    def press() -> None:
        while not when():
            if done.wait(0.02):
                return
        signal.pthread_kill(main, signal.SIGINT)

    # Where CI starts pytest behind a shell's `&`, the signal is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(30)
        signal.signal(signal.SIGINT, before)
