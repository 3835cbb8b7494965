"""Contexts in which Ray 2.60 starts otherwise than it would. They replace parts of its own that have no setting."""

import atexit
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ray._private import ray_constants, services, utils
from ray._private.node import Node

from sweeper.runners import scratch

_IDLE_PROCESSES = ("start_monitor", "start_api_server", "start_log_monitor")
"""What starts the autoscaler's monitor, the dashboard's server and the collector of logs."""


@contextmanager
def loopback() -> Iterator[None]:
    """Keep Ray on 127.0.0.1, as on macOS; otherwise it listens on an address that others can reach."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """Keep Ray from catching SIGTERM in this process: its handler exits in the middle of whatever runs.

    Its C++ code installs another, which prints its stack and aborts the process three seconds later, even where the
    handler of before has begun a graceful stop. Python's is installed over it, which the main thread alone may do. A
    signal in between waits: this thread blocks it, and so do those that Ray starts meanwhile.
    """
    before = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        utils.set_sigterm_handler = before
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def out_of_our_process_group() -> Iterator[None]:
    """Start Ray's processes in groups of their own.

    `timeout`, a shell or a terminal signal the whole group of a launch, which needs its Ray to end gracefully. They do
    not inherit that this thread blocks SIGTERM (`signals_left_alone`).
    """
    before = services.ConsolePopen

    def started(*arguments: Any, **named: Any) -> Any:
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        try:
            return before(*arguments, process_group=0, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    services.ConsolePopen = started  # type: ignore[assignment, misc]  # called as the class is
    try:
        yield
    finally:
        services.ConsolePopen = before  # type: ignore[misc]


@contextmanager
def nothing_packed() -> Iterator[None]:
    """Let workers use this interpreter and folder. Under `uv run` Ray would copy the folder for them, without what git
    ignores, and refuse one of over 512 MiB.
    """
    before = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before


@contextmanager
def no_idle_processes() -> Iterator[None]:
    """Start none of the processes that serve people who look at a cluster: nobody does, and they would take most of the
    time in which Ray starts.
    """
    before = {name: getattr(Node, name) for name in _IDLE_PROCESSES if hasattr(Node, name)}
    for name in before:
        setattr(Node, name, lambda self, **named: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable, which the processes that start within the block inherit."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@cache
def token_file() -> Path:
    """A fresh token for this process; Ray's own default could be read by everybody."""
    folder = scratch.make()
    atexit.register(scratch.remove, folder)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(os.urandom(32).hex())
    return token
