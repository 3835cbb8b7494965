"""Trains trials on Ray Tune: many at once, each with its share of a GPU, on one machine or a cluster.

Tune asks a `Searcher` for trials, hands results to a `TrialScheduler` and swallows what either raises; both are thin
adapters here that pass everything to one `Director` and keep the first exception for the end. A fresh `Tuner` runs at
every launch: the study, not Tune's snapshots, remembers trials. docs/decisions/0002-ray-tune-behind-a-director.md
says why.
"""

import atexit
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from sweeper.errors import UserError
from sweeper.outcomes import FINISHED, Ending
from sweeper.runners.protocol import WAIT, Director, ending_of
from sweeper.trial import Assignment, Chunk, Train

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
from ray.tune import schedulers, search  # noqa: E402

_OBJECT_STORE_BYTES = 200 * 2**20


class RayTune:
    """The runner on Ray; a context manager that starts Ray where none runs yet, and ends what it started.

    Args:
        cpu: cores for each trial.
        gpu: GPUs for each trial; a fraction shares a device.
        address: a running cluster's address, or `auto`; None starts Ray on this machine.
        logical: `num_cpus` and `num_gpus` to pretend to have, for a Ray that is started here.
    """

    def __init__(self, cpu: float, gpu: float, address: str | None = None, logical: dict[str, int] | None = None):
        self._cpu, self._gpu, self._address = cpu, gpu, address
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
        if self.places < 1:
            asked = f"{self._cpu:g} CPU and {self._gpu:g} GPU"
            message = f"resources: a trial asks for {asked}; {_available()}; lower resources.cpu or resources.gpu"
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
        """How many trials fit at once: a fraction of a GPU never spans two, and a trial never spans two nodes."""
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(_places(resources, self._cpu, self._gpu) for resources in alive)

    def run(self, train: Train, director: Director) -> None:
        """Train what the director asks for until it has no more. Raises what the director raised."""
        adapter = _Adapter(director)
        trainable = tune.with_parameters(_Trial, train=train)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": self._cpu, "gpu": self._gpu}),
            tune_config=tune.TuneConfig(
                search_alg=_Searcher(adapter),
                scheduler=_Scheduler(adapter),
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
                callbacks=[_Clock(adapter)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        tuner.fit()
        if adapter.error is not None:
            raise adapter.error

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


class _Trial(tune.Trainable):
    """One trial in a worker process: each `step` is one chunk. Actors are reused from trial to trial."""

    def setup(self, config: dict[str, Any], train: Train) -> None:  # type: ignore[override]  # with_parameters adds it
        self._train = train
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._chunks: Iterator[Chunk] | None = None
        self._text = config["assignment"]

    def step(self) -> dict[str, Any]:
        try:
            if self._chunks is None:
                self._chunks = self._train(Assignment.from_json(self._text))
            chunk = next(self._chunks, None)
        except Exception as error:  # noqa: BLE001  # the user's code or torch: its failure is an outcome
            return {"ending": ending_of(error), "done": True}
        return {"ending": FINISHED, "done": True} if chunk is None else {"chunk": chunk}


class _Adapter:
    """Passes Tune's calls to the director; keeps the first exception, because Tune would make a failed trial of it."""

    def __init__(self, director: Director):
        self._director = director
        self.error: BaseException | None = None
        self.assigned: dict[str, int] = {}

    def guarded(self, call: Callable[[], Any], otherwise: Any) -> Any:
        """What the call returns; `otherwise` once anything has gone wrong."""
        if self.error is not None:
            return otherwise
        try:
            return call()
        except Exception as error:  # noqa: BLE001  # raised again by `run`
            self.error = error
            return otherwise

    def next_trial(self) -> Any:
        return self.guarded(self._director.next_trial, None)

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        ending: Ending | None = self.guarded(lambda: self._director.report(number, chunk), Ending("stopped"))
        return ending

    def end(self, trial_id: str, ending: Ending) -> None:
        """Tell the director once how a trial ended, whichever of Tune's roads the news takes."""
        number = self.assigned.pop(trial_id, None)
        if number is not None:
            self.guarded(lambda: self._director.end(number, ending), None)

    def tick(self) -> None:
        self.guarded(self._director.tick, None)


class _Searcher(search.Searcher):
    """Asks the director for trials."""

    def __init__(self, adapter: _Adapter):
        super().__init__()
        self._adapter = adapter

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles the searcher when the Tuner is made; the study stays in this process

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        assignment = self._adapter.next_trial()
        if assignment is None:
            return search.Searcher.FINISHED
        if assignment == WAIT:
            return None
        self._adapter.assigned[trial_id] = assignment.number
        return {"assignment": assignment.to_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the scheduler hears it first."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: every launch is a fresh Tuner."""


class _Scheduler(schedulers.FIFOScheduler):
    """Hands chunks to the director and stops the trials it has done with."""

    def __init__(self, adapter: _Adapter):
        super().__init__()  # type: ignore[no-untyped-call]  # ray
        self._adapter = adapter

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self._adapter.assigned.get(trial.trial_id)
        if number is None:
            return str(self.STOP)
        ending = self._adapter.report(number, result.pop("chunk"))
        if ending is None:
            return str(self.CONTINUE)
        self._adapter.end(trial.trial_id, ending)
        return str(self.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if "ending" in result:
            self._adapter.end(trial.trial_id, result["ending"])

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._adapter.end(trial.trial_id, _loss(trial))


class _Clock(tune.Callback):
    """Lets the director look at the time in every round of Tune's loop."""

    def __init__(self, adapter: _Adapter):
        self._adapter = adapter

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._adapter.tick()


def _loss(trial: Any) -> Ending:
    """The ending of a trial whose worker failed outside the training function."""
    if not trial.pickled_error_file:
        return Ending("failed", "error", Path(trial.error_file).read_text() if trial.error_file else "")
    error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    lost = isinstance(error, ray.exceptions.RayActorError)
    return Ending("failed", "node lost" if lost else "error", str(error))


def _places(resources: dict[str, float], cpu: float, gpu: float) -> int:
    by_cpu = math.floor(resources.get("CPU", 0) / cpu + 1e-6)
    if gpu == 0:
        return by_cpu
    devices = resources.get("GPU", 0)
    by_gpu = math.floor(devices) * math.floor(1 / gpu + 1e-6) if gpu <= 1 else math.floor(devices / gpu)
    return min(by_cpu, by_gpu)


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
