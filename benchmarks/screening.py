"""What `objective.screen` saves: `python -m benchmarks.screening`.

Trains the published experiment's model with and without a screen, in turns, long before its event, and writes seconds a
model-step, evaluations every 10 steps included. Both train the same parameters to the bit, which is checked.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.trial import seeds_of

_TASK = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=97)
_EVALUATIONS = 5
"""In one measurement."""


def _cohort(batch: int, replicates: int, screen: bool, device: torch.device) -> Cohort:
    flat = {"depth": 2, "width": 128, "heads": 4, "batch.max": batch, "weight_decay": 0.5}
    settings = hyperparameters.canonical_form(hyperparameters.from_flat(flat), 7500)
    runs = [Run("x_plus_y", number, settings, seeds_of(number)) for number in range(replicates)]
    objective = Objective(horizon=7500, evaluate_every=10, until="val_accuracy > 0.99", screen=screen)
    return Cohort(ModularArithmeticLearner(_TASK), runs, objective, device)


def _milliseconds(cohort: Cohort, replicates: int) -> float:
    began = time.perf_counter()
    for _ in range(_EVALUATIONS):
        cohort.evaluate()
    return 1000 * (time.perf_counter() - began) / (_EVALUATIONS * 10 * replicates)


def main() -> None:
    """Measure every batch size, print a table, write the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--replicates", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/figures/screening.json"))
    asked = parser.parse_args()
    device, found = prepare(1, "float32"), []
    for batch in asked.batches:
        for replicates in asked.replicates:
            cohorts = {screen: _cohort(batch, replicates, screen, device) for screen in (False, True)}
            for cohort in cohorts.values():
                cohort.evaluate()
            taken = {screen: list[float]() for screen in cohorts}
            for _ in range(asked.rounds):
                for screen, cohort in cohorts.items():
                    taken[screen].append(_milliseconds(cohort, replicates))
            assert torch.equal(cohorts[False].parameters.values, cohorts[True].parameters.values)
            ratio = statistics.median(a / b for a, b in zip(taken[False], taken[True], strict=True))
            found.append({"batch": batch, "replicates": replicates, "whole": taken[False], "screened": taken[True]})
            whole, screened = (statistics.median(taken[each]) for each in (False, True))
            print(
                f"batch {batch}, {replicates} replicates: "
                f"{whole:.2f} ms a model-step, {screened:.2f} screened: {ratio:.2f} times"
            )
    machine = {"processor": platform.machine(), "device": str(device), "torch": torch.__version__}
    asked.output.write_text(json.dumps({"machine": machine, "milliseconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
