"""Trains trials on Ray Tune: many at once, each with its share of a GPU, on one machine or a cluster.

A fresh `Tuner` runs at every launch: the study, not Tune's snapshots, holds the trials. Tune's view of a sweep is in
`tune_adapters`. The reasons are in docs/decisions/0002-ray-tune-behind-a-director.md.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from sweeper.environment import machine
from sweeper.errors import UserError
from sweeper.runners.capacity import Capacity, Nodes
from sweeper.runners.protocol import Answer, Director
from sweeper.trial import OpenEngine, Train

_SETTINGS = {
    # As Tune sets it; workers that are started here inherit it.
    "PL_DISABLE_FORK": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A trial without a GPU sees none, rather than all of them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
machine.have_a_home()

import ray  # noqa: E402  # Ray reads its settings when it is imported

from sweeper.runners import connection, scratch  # noqa: E402  # these import ray too
from sweeper.runners.lost_ray import Health  # noqa: E402

_LOOK_EVERY_S = 2
_STARTING = threading.Lock()
"""Held until Tune's loop runs: its registry of trainables is not thread-safe, and threads may launch at once."""


class RayTune:
    """The runner on Ray; a context manager that starts Ray where none runs yet, and ends what it started.

    Args:
        cpu: cores for each trial.
        gpu: GPUs for each trial; a fraction shares a device. `share_gpus` may still change it.
        address: a running cluster's address, or `auto`; None starts Ray on this machine.
        insecure: whether to accept a cluster that takes commands from anybody who can reach it.
        logical: `num_cpus` and `num_gpus` to pretend to have, if Ray is started here.
        imports: modules that workers import before their first trial, if Ray is started here.
    """

    def __init__(
        self,
        cpu: float,
        gpu: float,
        address: str | None = None,
        *,
        insecure: bool = False,
        logical: dict[str, Any] | None = None,
        imports: Sequence[str] = (),
    ):
        self._health = Health()
        self._capacity = Capacity(_Nodes(lambda: bool(self._health.look())), cpu, gpu)
        self._address, self._insecure = address, insecure
        self._logical, self._imports = logical or {}, imports
        self._scratch: Path | None = None
        self._joined = False
        self._open_engine: OpenEngine | None = None

    def __enter__(self) -> "RayTune":
        self._scratch = scratch.make()
        try:
            self._health = connection.join(
                self._address, self._insecure, self._logical, max(1, math.floor(self._capacity.cpu)), self._imports
            )
        except BaseException:
            scratch.remove(self._scratch)
            raise
        self._joined = True
        try:
            with self._health.in_words():
                self._check_capacity()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _check_capacity(self) -> None:
        if self.slots < 1:
            needed = f"{self._capacity.cpu:g} CPU and {self._capacity.gpu:g} GPU"
            remedy = "lower resources.cpu or resources.gpu, as in --set resources.gpu=0"
            raise UserError(f"resources: a trial needs {needed}; {_available()}; {remedy}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._joined:
            connection.leave()
            self._joined = False
        if self._scratch is not None:
            scratch.remove(self._scratch)
            self._scratch = None

    @property
    def slots(self) -> int:
        """How many trials fit at once."""
        return self._capacity.slots

    @property
    def most_on_a_gpu(self) -> int:
        """See `SharesGpus`."""
        return self._capacity.most_on_a_gpu

    def on_a_gpu(self, function: Callable[[], Answer]) -> Answer:
        """See `SharesGpus`."""

        # The worker ends after its call, and leaves no CUDA context behind.
        @ray.remote(num_cpus=self._capacity.cpu, num_gpus=1, max_retries=0, max_calls=1)
        def call() -> Answer:
            return function()

        with self._health.in_words():
            answer: Answer = ray.get(call.remote())
        return answer

    def share_gpus(self, share: float) -> None:
        """See `SharesGpus`."""
        self._capacity.gpu, self._capacity.growing = share, share > 0

    def train_together(self, open_engine: OpenEngine) -> None:
        """See `TrainsTogether`."""
        self._open_engine = open_engine

    def run(self, train: Train, director: Director) -> None:
        """Train the director's trials until it has no more. Raises RunnerError, and the director's exceptions."""
        from sweeper.runners import ray_engines, tune_fit  # noqa: PLC0415  # Tune takes a second to import

        assert self._scratch is not None, "it is entered"
        with self._health.in_words(), ExitStack() as starting:
            starting.enter_context(_STARTING)
            serving: AbstractContextManager[Train] = nullcontext(train)
            if self._open_engine is not None:
                serving = ray_engines.serving(self._open_engine, train)
            with serving as function:
                tune_fit.fit(
                    function,
                    director,
                    self._capacity,
                    self._scratch,
                    starting.close,
                    self._health.check,
                    self._health.started_here,
                )


class _Nodes:
    """The resources of each node, read again after a while: nodes join and leave.

    Args:
        lost: whether Ray is lost, and so would not answer.
    """

    def __init__(self, lost: Callable[[], bool]):
        self._lost = lost
        self._found: Nodes = ()
        self._looked_at = -math.inf

    def __call__(self) -> Nodes:
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S and not self._lost():
            self._found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self._looked_at = time.monotonic()
        return self._found


def _available() -> str:
    total = ray.cluster_resources()
    nodes = sum(node["Alive"] for node in ray.nodes())
    where = "this machine has" if nodes == 1 else f"no single one of {nodes} nodes has that; together they have"
    return f"{where} {total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU"
