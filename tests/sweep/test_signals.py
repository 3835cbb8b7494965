"""Signals that end a launch; the real ones, sent to this process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper import launch, load
from sweeper.errors import Interrupted
from sweeper.sweep.signals import Signals
from tests.fakes.launches import quiet


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


INTERRUPTED = """
import _thread, os, signal
os.kill(os.getpid(), signal.SIGINT)
from sweeper import LoopTask
interruptions = [_thread.interrupt_main]
class Toy(LoopTask):
    def train(self, run):
        for step in range(10, 101, 10):
            if interruptions and step == 50:
                interruptions.pop()()
            yield {"train_loss": 1 / step, "val_loss": 1 / step}
"""


@pytest.mark.slow
def test_a_notebook_cell_that_is_interrupted_stops_its_launch_and_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "interrupted_import", raising=False)
    Path("interrupted_import.py").write_text(INTERRUPTED)
    objective = {"until": "val_loss < 0.011", "horizon": 100, "evaluate_every": 10, "replicates": 1}
    question = {"name": "cell", "task": {"name": "interrupted_import:Toy"}, "objective": objective, "stop": "none"}
    question |= {"search": {"batch.max": {"choice": [8, 16, 32]}}, "sampler": {"name": "grid"}, "budget": {"trials": 3}}
    Path("space.yaml").write_text(json.dumps(question))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in ("while the module is imported", "while a trial trains"):
            with pytest.raises(Interrupted, match=r"^stopped by Ctrl-C; the same command continues the sweep$"):
                launch("space.yaml", where="here", console=quiet())
            assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert list(load("cell").trials["state"]) == ["stopped"]  # type: ignore[union-attr]  # one sweep
        assert list(launch("space.yaml", where="here", console=quiet()).trials["state"]) == ["finished"] * 3
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_an_import_waits_for_its_end_and_a_second_one_does_not() -> None:
    done: list[str] = []

    def imported(signals: Signals, name: str) -> None:
        with signals.held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(name)

    with Signals() as signals:
        signals.follow(lambda name: None)
        for name in ("first", "second"):
            with pytest.raises(KeyboardInterrupt):
                imported(signals, name)
    assert done == ["first"]


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
