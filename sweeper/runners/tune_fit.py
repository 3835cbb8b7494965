"""One run of Ray Tune. Importing this imports Tune, which takes a second: Ray's workers start in the meantime."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.air._internal import usage
from ray.tune import tune as tune_module
from ray.tune.execution import class_cache

from sweeper.errors import RunnerError, plural
from sweeper.runners import lost_workers
from sweeper.runners.capacity import Capacity
from sweeper.runners.protocol import Director
from sweeper.runners.tune_adapters import Adapter, Clock, Scheduler, Searcher, TrialActor
from sweeper.trial import Train

# For statistics of usage, which are off, Tune imports wandb and MLflow wherever they are installed: seconds.
usage.tag_callbacks = lambda callbacks: False
# Tune would catch SIGUSR1, whatever catches it already, and end as if there were no more trials.
tune_module._setup_signal_catching = threading.Event

_NO_LIMIT = 10**9
_VARIABLES = {name: getattr(class_cache, name) for name in ("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE")}
"""Variables that Tune sets for its workers. Ray starts new workers for them, however many have started before."""


def fit(  # noqa: PLR0917  # one call
    train: Train,
    director: Director,
    capacity: Capacity,
    scratch: Path,
    begun: Callable[[], object],
    check: Callable[[], None],
    inherited: bool,
) -> None:
    """Train the director's trials until it has no more. Raises the director's exceptions.

    Args:
        train: the training function.
        director: see `Director`.
        capacity: how many trials fit.
        scratch: a folder for Tune.
        begun: is called whenever Tune's loop runs.
        check: see `Adapter`.
        inherited: whether workers have the environment of this process by themselves.
    """
    for name, variables in _VARIABLES.items():
        setattr(class_cache, name, type(variables)() if inherited else variables)
    adapter = Adapter(director, capacity, begun, check)
    cpu = capacity.cpu  # what Tune pickles must not lead to locks

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": cpu, "GPU": config["gpu"]}])

    trainable = tune.with_parameters(TrialActor, train=train)
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=Searcher(adapter),
            scheduler=Scheduler(adapter),
            num_samples=-1,
            # Without it Tune keeps a single trial pending whatever the searcher, and concurrency is silently 1. The
            # limit that counts is the adapter's, which follows the nodes.
            max_concurrent_trials=_NO_LIMIT,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[Clock(adapter)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    lost_workers.make_them_lost_trials()
    tuner.fit()
    if adapter.error is not None:
        raise adapter.error
    if adapter.assigned:
        raise RunnerError(f"Ray Tune ended before {plural(len(adapter.assigned), 'trial')} in training")
