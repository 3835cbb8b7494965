"""Trials in one engine: eight of three replicates, each with settings of its own, together and one after another.

Processes on one GPU take turns (`paired` measures that), so that one after another is what they cost without an engine.
"""

import time
from collections.abc import Iterator

import torch

from benchmarks.gpu.section import Record, Setting, record, wait
from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.engine import StackedEngine
from sweeper.trial import Assignment

ROUNDS = 5


def measure(setting: Setting) -> Iterator[Record]:
    """Microseconds of the device for an update of one model, the ratio, round by round, and what was captured."""
    trials, updates = (2, 20) if setting.tiny else (8, 200)
    assignments = [_assignment(number, updates, setting.tiny) for number in range(trials)]
    models = sum(len(each.replicates) for each in assignments)
    ways = {"together": [assignments], "one after another": [[each] for each in assignments]}
    for name, groups in ways.items():
        _, count, spent = _train(setting, groups)  # kernels are compiled, memory is reserved
        yield record(f"{trials} trials of 3 runs, {name}: captures", count, f"in {spent:.2f} s")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(2 if setting.tiny else ROUNDS):
        for name, groups in ways.items():
            seconds[name].append(_train(setting, groups)[0])
    for name, rounds in seconds.items():
        figure = sorted(rounds)[len(rounds) // 2] / (updates * models) * 1e6
        yield record(f"{trials} trials of 3 runs, {name}", figure, "us a model-step", seconds=rounds)
    ratios = sorted(b / a for a, b in zip(*seconds.values(), strict=True))
    yield record("together is faster by", ratios[len(ratios) // 2], "times", ratios=ratios)


def _assignment(number: int, updates: int, tiny: bool) -> Assignment:
    sizes: dict[str, object] = {"width": 128, "depth": 2, "heads": 4, "batch.max": 512}
    if tiny:
        sizes = {"width": 16, "depth": 1, "heads": 2, "batch.max": 16}
    flat = sizes | {"weight_decay": 0.3 + 0.1 * number}
    settings = hyperparameters.canonical_form(hyperparameters.from_flat(flat), updates)
    task = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y", modulus=11 if tiny else 97)
    # A threshold that no accuracy passes: the same number of steps on all sides.
    objective = Objective(until="val_accuracy > 2", horizon=updates, evaluate_every=10, replicates=3)
    return Assignment(number, settings, task, objective, (0, 1, 2), 1.0)


def _train(setting: Setting, groups: list[list[Assignment]]) -> tuple[float, int, float]:
    """Seconds to train all, a group at a time; how many graphs were captured, and the seconds of that."""
    count, spent = 0, 0.0
    wait(setting.device)
    started = time.perf_counter()
    engine = StackedEngine(torch.device(setting.device))
    for group in groups:
        for each in group:
            engine.admit(each)
        while len(engine):
            for _, event in engine.step():
                if isinstance(event, BaseException):
                    raise event
                if event is not None:
                    count, spent = count + event.captures, spent + event.capture_seconds
    wait(setting.device)
    return time.perf_counter() - started, count, spent
