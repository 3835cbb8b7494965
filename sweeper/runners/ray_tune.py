"""Trains trials on Ray Tune: many at once, each with its share of a GPU, on one machine or a cluster.

A fresh `Tuner` runs at every launch: the study, not Tune's snapshots, remembers trials. What Tune sees of a sweep is in
`tune_adapters`. docs/decisions/0002-ray-tune-behind-a-director.md says why.
"""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from sweeper.errors import UserError
from sweeper.runners.protocol import Answer, Director
from sweeper.runners.room import Room
from sweeper.trial import Train

_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A trial that asks for no GPU sees none, rather than all of them.
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

import ray  # noqa: E402  # Ray reads its settings when it is imported
from ray import tune  # noqa: E402

from sweeper.runners.tune_adapters import Adapter, Clock, Scheduler, Searcher, Trial  # noqa: E402  # imports ray too

_OBJECT_STORE_BYTES = 200 * 2**20


class RayTune:
    """The runner on Ray; a context manager that starts Ray where none runs yet, and ends what it started.

    Args:
        cpu: cores for each trial.
        gpu: GPUs for each trial; a fraction shares a device. `share_gpus` may still change it.
        address: a running cluster's address, or `auto`; None starts Ray on this machine.
        logical: `num_cpus` and `num_gpus` to pretend to have, for a Ray that is started here.
    """

    def __init__(self, cpu: float, gpu: float, address: str | None = None, logical: dict[str, Any] | None = None):
        self._room = Room((), cpu, gpu)
        self._address = address
        self._logical = logical or {}
        self._scratch: Path | None = None
        self._started = False

    def __enter__(self) -> "RayTune":
        # Sockets lie below this folder and their paths are limited to 107 bytes, hence a short one.
        self._scratch = Path(tempfile.mkdtemp(prefix="sweeper-", dir=_short_folder()))
        if not ray.is_initialized():
            if self._address is None:
                self._start_here(self._scratch)
            else:
                _connect(self._address)
            self._started = True
        self._room.nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if self.places < 1:
            asked = f"{self._room.cpu:g} CPU and {self._room.gpu:g} GPU"
            remedy = "lower resources.cpu or resources.gpu, as in --set resources.gpu=0"
            message = f"resources: a trial asks for {asked}; {_available()}; {remedy}"
            self.__exit__(None, None, None)
            raise UserError(message)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            ray.shutdown()
            self._started = False
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def places(self) -> int:
        """How many trials fit at once."""
        return self._room.places

    @property
    def most_on_a_gpu(self) -> int:
        """See `SharesGpus`."""
        return self._room.most_on_a_gpu

    def on_a_gpu(self, function: Callable[[], Answer]) -> Answer:
        """See `SharesGpus`."""

        # Ended after its call, the worker leaves no CUDA context behind.
        @ray.remote(num_cpus=self._room.cpu, num_gpus=1, max_retries=0, max_calls=1)
        def call() -> Answer:
            return function()

        answer: Answer = ray.get(call.remote())
        return answer

    def share_gpus(self, share: float) -> None:
        """See `SharesGpus`."""
        self._room.gpu, self._room.growing = share, share > 0

    def run(self, train: Train, director: Director) -> None:
        """Train what the director asks for until it has no more. Raises what the director raised."""
        adapter = Adapter(director, self._room)
        trainable = tune.with_parameters(Trial, train=train)
        tuner = tune.Tuner(
            tune.with_resources(trainable, self._resources),
            tune_config=tune.TuneConfig(
                search_alg=Searcher(adapter),
                scheduler=Scheduler(adapter),
                num_samples=-1,
                # Without it Tune keeps a single trial pending whatever the searcher, and concurrency is silently 1.
                max_concurrent_trials=self.places,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(self._scratch),
                verbose=0,
                callbacks=[Clock(adapter)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        tuner.fit()
        if adapter.error is not None:
            raise adapter.error

    def _resources(self, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What a trial of this configuration gets."""
        return tune.PlacementGroupFactory([{"CPU": self._room.cpu, "GPU": config["gpu"]}])

    def _start_here(self, scratch: Path) -> None:
        """Ray on this machine alone; Ray turns token authentication on by itself."""
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(_token_file()))
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=str(scratch / "ray"),
            **self._logical,
        )


@cache
def _token_file() -> Path:
    """A fresh token, one for this process because Ray reads it once; its own default could be read by everybody."""
    folder = Path(tempfile.mkdtemp(prefix="sweeper-token-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(os.urandom(32).hex())
    return token


def _connect(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--address {address}: no Ray cluster answers there ({error})") from None


def _available() -> str:
    total = ray.cluster_resources()
    nodes = sum(node["Alive"] for node in ray.nodes())
    where = "this machine has" if nodes == 1 else f"no single one of {nodes} nodes has that; together they have"
    return f"{where} {total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU"


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 30 else "/tmp"
