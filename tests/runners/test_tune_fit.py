"""A run of Ray Tune ends when the director has no more trials, and not before."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType

import pytest
from ray._private import services

from benchmarks.signals import VICTIMS, child
from sweeper.errors import RunnerError
from sweeper.folder.background import Background
from sweeper.runners import ray_internals as internals
from sweeper.stats.events import WORKER_KILLED, Ending
from sweeper.trial import Chunk
from tests.fakes import training_functions
from tests.fakes.directors import Recording


@dataclass
class Disturbed(Recording):
    """Disturbs the run with the first chunk."""

    disturb: Callable[[], object] = print

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        if not self.chunks:
            self.disturb()
        return super().report(number, chunk)


@pytest.mark.usefixtures("local_ray")
def test_ray_tune_leaves_sigusr1_to_the_launch_and_a_run_that_it_ends_early_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sweeper.runners.ray_tune import RayTune

    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = signal.signal(signal.SIGUSR1, note)
    try:
        with RayTune(cpu=4, gpu=0) as runner:
            to_myself = partial(os.kill, os.getpid(), signal.SIGUSR1)
            director = Disturbed(trials=1, cap={0: 2, 1: 2}, disturb=to_myself)
            runner.run(training_functions.goes_on, director)
            assert caught == [signal.SIGUSR1]
            assert [told[0].kind for told in director.endings.values()] == ["capped", "capped"]
            over = threading.Event()
            monkeypatch.setattr("ray.tune.tune._setup_signal_catching", lambda: over)
            with pytest.raises(RunnerError, match=r"^Ray Tune ended before \d trials? in training$"):
                runner.run(training_functions.goes_on, Disturbed(trials=1, disturb=over.set))
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("local_ray")
def test_a_ray_worker_that_gets_sigterm_is_no_failure_of_its_trial() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Recording(trials=1)
    with RayTune(cpu=8, gpu=0) as runner:
        runner.run(training_functions.is_terminated, director)
    assert [(told[0].kind, told[0].why) for told in director.endings.values()] == [
        ("finished", ""),
        ("failed", WORKER_KILLED),
    ]


def test_the_processes_of_a_ray_have_groups_of_their_own(local_ray: None) -> None:
    groups = {os.getpgid(child(os.getpid(), each)) for each in VICTIMS.values()}
    assert os.getpgid(0) not in groups


def test_a_signal_waits_while_ray_installs_a_handler_of_its_own() -> None:
    masks: list[set[signal.Signals | int]] = []

    def note() -> None:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    beside = Background(note, name="beside")
    beside.start()
    beside.join()
    with internals.signals_left_alone(), internals.out_of_our_process_group():
        note()
        child = services.ConsolePopen(["grep", "SigBlk", "/proc/self/status"], stdout=subprocess.PIPE, text=True)
        blocked = int(child.communicate()[0].split()[1], 16)
    note()
    assert [signal.SIGTERM in each for each in masks] == [True, True, False]
    assert not blocked & 1 << (signal.SIGTERM - 1)
