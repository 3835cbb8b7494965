"""Signals that end a launch; the real ones, sent to this process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sweeper.sweep.signals import Signals


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [
        (signal.SIGINT, "Ctrl-C", 130),
        (signal.SIGTERM, "SIGTERM", 143),
        (signal.SIGHUP, "SIGHUP", 129),
        (signal.SIGUSR1, "SIGUSR1", 138),
    ],
)
def test_the_first_signal_stops_gracefully_and_gives_the_exit_code(number: int, name: str, code: int) -> None:
    before = signal.getsignal(number)
    stopped: list[str] = []
    with Signals() as signals:
        signals.follow(stopped.append)
        signals.graceful = True
        assert (signals.first, signals.name) == (None, "")
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)  # as when a job and its step are both signalled
    assert stopped == [name]
    assert (signals.name, signals.exit_code) == (name, code)
    assert signal.getsignal(number) == before


def test_ctrl_c_ends_at_once_what_a_launch_prepares_and_other_signals_wait() -> None:
    stopped: list[str] = []
    with Signals() as signals:
        signals.follow(stopped.append)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (stopped, signals.exit_code) == (["SIGTERM"], 143)


@pytest.mark.slow
def test_before_anything_began_the_process_ends() -> None:
    script = "import os; from sweeper.sweep.signals import Signals\nwith Signals(): os.kill(os.getpid(), 1)"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (129, "stopped by SIGHUP before anything began\n")


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_ends_it_at_once(first: int) -> None:
    with Signals() as signals:
        signals.follow(lambda name: None)
        signals.graceful = True
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signals.exit_code == 128 + first


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.first is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_graceful_stop_that_takes_too_long_is_broken_off() -> None:
    began = time.monotonic()
    with Signals(grace=0.2) as signals:
        signals.follow(lambda name: None)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
    assert 0.1 < time.monotonic() - began < 3


@pytest.mark.slow
def test_a_process_that_clings_to_life_ends_with_the_grace_all_the_same() -> None:
    script = """
import os, signal, time
from sweeper.sweep.signals import Signals
with Signals(grace=0.3) as signals:
    signals.follow(print)
    os.kill(os.getpid(), signal.SIGUSR1)
    while True:
        try:
            time.sleep(5)
        except KeyboardInterrupt:
            pass
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=20)
    assert done.returncode == 138
