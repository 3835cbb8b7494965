"""Eight trials in one engine, in two, and in eight processes that take turns, paired, on this machine's cores.

    python -m benchmarks.engine

Trials differ in learning rate, decay and seeds, so that all that are in one engine share a stack. Every engine is a
process of its own with one thread; what processes cost beside training (imports, memory, Ray) is left out. CPU seconds
hold on a machine that others use too; wall seconds, from the start of a round to the end of its last process, only on
one that is idle. Raw figures go to benchmarks/figures/engine.json.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sweeper.config.model import Objective
from sweeper.space.hyperparameters import canonical_form, from_flat
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.engine import open_engine
from sweeper.trial import Assignment

TRIALS, ROUNDS = 8, 5
CASES: dict[str, dict[str, Any]] = {
    "width 32, depth 1, modulus 31, batch 16": {"modulus": 31, "width": 32, "heads": 2, "depth": 1, "batch.max": 16},
    "width 64, depth 2, modulus 47, batch 32": {"modulus": 47, "width": 64, "heads": 4, "depth": 2, "batch.max": 32},
}
SIDES = {"one engine": 1, "two engines": 2, "eight processes": TRIALS}
"""Side -> how many processes share the trials."""


def assignment(number: int, case: dict[str, Any]) -> Assignment:
    """One of the eight; it trains as long as it is let."""
    flat = {name: value for name, value in case.items() if name != "modulus"}
    flat |= {"learning_rate": 1e-3 * (1 + number / 10), "weight_decay": 0.1 * number}
    task = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=case["modulus"])
    asked = Objective(horizon=100_000, evaluate_every=10, until="val_accuracy > 2")
    return Assignment(number, canonical_form(from_flat(flat), asked.horizon), task, asked, (0, 1, 2), 1)


def serve(asked: Connection, numbers: Sequence[int], case: dict[str, Any]) -> None:
    """Train these trials in one engine, by so many evaluations of each as is asked for; answers with CPU seconds."""
    engine = open_engine(1, "float32")
    for number in numbers:
        engine.admit(assignment(number, case))
    asked.send(None)
    while evaluations := asked.recv():
        began = time.process_time()
        for _ in range(evaluations):
            for _ in engine.stacks:
                engine.step()
        asked.send(time.process_time() - began)


def measure(case: dict[str, Any], evaluations: int) -> dict[str, Any]:
    """CPU and wall seconds of every side in every round, in which each trial is trained by so many evaluations."""
    spawn = multiprocessing.get_context("spawn")
    sides: dict[str, list[Connection]] = {}
    for name, count in SIDES.items():
        sides[name] = []
        for place in range(count):
            mine, theirs = spawn.Pipe()
            spawn.Process(target=serve, args=(theirs, range(place, TRIALS, count), case), daemon=True).start()
            sides[name].append(mine)
        for each in sides[name]:
            each.recv()
    found: dict[str, Any] = {name: {"cpu": [], "wall": []} for name in sides}
    for number in range(ROUNDS + 1):
        for name, ends in sides.items():
            began = time.perf_counter()
            for each in ends:
                each.send(evaluations)
            cpu = sum(each.recv() for each in ends)
            if number:  # the first round warms up
                found[name]["cpu"].append(round(cpu, 3))
                found[name]["wall"].append(round(time.perf_counter() - began, 3))
    for ends in sides.values():
        for each in ends:
            each.send(0)
    for clock in ("cpu", "wall"):
        for name in ("one engine", "two engines"):
            pairs = zip(found["eight processes"][clock], found[name][clock], strict=True)
            found[name][f"times as fast, {clock}"] = round(statistics.median(slow / fast for slow, fast in pairs), 2)
    return found


def main() -> None:
    """Measure every case and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=2, help="of each trial in a round")
    given = parser.parse_args()
    figures: dict[str, Any] = {"trials": TRIALS, "replicates": 3, "cores": os.cpu_count(), "load": os.getloadavg()}
    for name, case in CASES.items():
        figures[name] = measure(case, given.evaluations)
        print(name, json.dumps(figures[name]), flush=True)
    path = Path(__file__).parent / "figures" / "engine.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
