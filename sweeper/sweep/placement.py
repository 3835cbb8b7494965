"""Where a launch's trials train: in this process or on Ray, each by itself or in one engine a GPU, with which share."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

from sweeper.config.loading import Loaded
from sweeper.config.model import SweepSpec
from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import Runner, SharesGpus, TrainsTogether
from sweeper.sweep.options import LaunchOptions
from sweeper.sweep.workload import largest_trial
from sweeper.training.named import train as our_training
from sweeper.trial import OpenEngine, Train

_IMPORTS = ("sweeper.sweep.warm",)
"""Modules that Ray's workers import as they start."""
_IMPORTS_FOR_OTHERS = ("sweeper.runners.tune_adapters",)
"""The same for a training function of the user's, which may do without torch."""


def runner_for(spec: SweepSpec, options: LaunchOptions) -> tuple[Runner, AbstractContextManager[object]]:
    """The runner, and the block within which it can be used."""
    if options.where == "here":
        return InProcess(), nullcontext()
    from sweeper.runners.ray_tune import RayTune  # noqa: PLC0415  # ray takes a second to import

    ray = RayTune(
        spec.resources.cpu,
        0.0 if spec.resources.gpu == "auto" else spec.resources.gpu,
        options.address,
        insecure=options.insecure,
        imports=_IMPORTS if options.train is None else _IMPORTS_FOR_OTHERS,
    )
    return ray, ray


def place(
    runner: Runner, loaded: Loaded, train: Train | None, say: Callable[[str], object]
) -> tuple[Train, dict[str, Any]]:
    """Divide the GPUs among the trials.

    Args:
        runner: where trials train.
        loaded: the checked space.
        train: the user's training function; None for ours.
        say: prints a line.

    Returns:
        The training function, and what was measured, for the provenance.
    """
    engine = None if train is not None else _engine(loaded.spec)
    train = train or our_training
    measured: dict[str, Any] = {}
    if loaded.spec.resources.gpu == "auto" and isinstance(runner, SharesGpus):
        measured["gpu"] = _share_gpus(runner, loaded, train, engine, say)
    together = runner if engine is not None and isinstance(runner, TrainsTogether) else None
    if loaded.spec.resources.engine == "auto":
        share = measured.get("gpu", {}).get("share", loaded.spec.resources.gpu)
        together = together if 0 < share < 1 else None
        words = "on, the trials on a GPU train in one process there" if together else "off, no trials share a GPU"
        say(f"engine: auto: {words}")
    if together is not None and engine is not None:
        together.train_together(engine)
    return train, measured


def _engine(spec: SweepSpec) -> OpenEngine | None:
    """A function that opens the engine of a device; None where each trial trains in a process of its own."""
    if not spec.resources.engines:
        return None
    from sweeper.training.engine import open_engine  # noqa: PLC0415  # torch takes seconds to import
    from sweeper.training.train import trains_stacked  # noqa: PLC0415

    return open_engine if trains_stacked(spec.task) else None


def _share_gpus(
    runner: SharesGpus, loaded: Loaded, train: Train, engine: OpenEngine | None, say: Callable[[str], object]
) -> dict[str, Any]:
    """Measure the share of a GPU for each trial and print it. Returns the measurement."""
    from sweeper.training import probe  # noqa: PLC0415  # only here is it needed

    measured = None
    share, words = 0.0, f"no GPU with {loaded.spec.resources.cpu:g} CPU beside it, so trials train on the CPU"
    if runner.most_on_a_gpu:
        say("gpu: auto: measuring how many trials share a GPU")
        trial = largest_trial(loaded.spec, loaded.space)
        if engine is None:
            measured = runner.on_a_gpu(partial(probe.probe, train, trial, runner.most_on_a_gpu))
        else:
            measured = runner.on_a_gpu(partial(probe.probe_together, engine, trial, runner.most_on_a_gpu))
        runs = 0 if engine is None else len(trial.replicates) * len(trial.task.operations)
        share, words = probe.verdict(measured, runs)
    runner.share_gpus(share)
    say(f"gpu: auto: {words}")
    return {"share": share, "words": words, "probe": asdict(measured) if measured else None}
