"""Eight trials in one engine against the same trials apart, taking turns, paired, on one core of this machine.

    python -m benchmarks.engine

Trials differ in learning rate, decay and seeds, so that all of them share one stack. Apart, each has an engine of its
own, as in a process of its own; what processes cost beside training (imports, memory, Ray) is left out. CPU seconds
are compared, which hold on a machine that others use too. Raw figures go to benchmarks/figures/engine.json.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from sweeper.config.model import Objective
from sweeper.space.hyperparameters import canonical_form, from_flat
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.engine import StackedEngine, open_engine
from sweeper.trial import Assignment

TRIALS, ROUNDS = 8, 5
CASES: dict[str, dict[str, Any]] = {
    "width 32, depth 1, modulus 31, batch 16": {"modulus": 31, "width": 32, "heads": 2, "depth": 1, "batch.max": 16},
    "width 64, depth 2, modulus 47, batch 32": {"modulus": 47, "width": 64, "heads": 4, "depth": 2, "batch.max": 32},
}


def assignment(number: int, case: dict[str, Any]) -> Assignment:
    """One of the eight; it trains as long as it is let."""
    flat = {name: value for name, value in case.items() if name != "modulus"}
    flat |= {"learning_rate": 1e-3 * (1 + number / 10), "weight_decay": 0.1 * number}
    task = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=case["modulus"])
    asked = Objective(horizon=100_000, evaluate_every=10, until="val_accuracy > 2")
    return Assignment(number, canonical_form(from_flat(flat), asked.horizon), task, asked, (0, 1, 2), 1)


def engine(numbers: range, case: dict[str, Any]) -> StackedEngine:
    """An engine with these trials."""
    made = open_engine(1, "float32")
    for number in numbers:
        made.admit(assignment(number, case))
    return made


def measure(case: dict[str, Any], evaluations: int) -> dict[str, Any]:
    """CPU seconds of every round, in which each trial is trained by so many evaluations."""
    sides = {
        "together": [engine(range(TRIALS), case)],
        "apart": [engine(range(number, number + 1), case) for number in range(TRIALS)],
    }
    found: dict[str, Any] = {name: [] for name in sides}
    for number in range(ROUNDS + 1):
        for name, engines in sides.items():
            began = time.process_time()
            for each in engines:
                for _ in range(evaluations):
                    each.step()
            if number:  # the first round warms up
                found[name].append(round(time.process_time() - began, 3))
    ratios = [slow / fast for slow, fast in zip(found["apart"], found["together"], strict=True)]
    return found | {"times as fast": round(statistics.median(ratios), 2)}


def main() -> None:
    """Measure every case and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=3, help="of each trial in a round")
    given = parser.parse_args()
    figures: dict[str, Any] = {"trials": TRIALS, "replicates": 3, "load": os.getloadavg()}
    for name, case in CASES.items():
        figures[name] = measure(case, given.evaluations)
        print(name, json.dumps(figures[name]), flush=True)
    path = Path(__file__).parent / "figures" / "engine.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
