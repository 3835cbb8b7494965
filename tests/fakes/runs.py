"""Small runs that really train, for tests of the training engine."""

import torch

from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.cohort import Cohort
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.trial import seeds_of

CPU = torch.device("cpu")


def task(modulus: int = 11, sampled: bool = False) -> ModularArithmetic:
    operations = ("x_plus_y", "x_minus_y", "x_div_y", "permutation")
    evaluation = "sampled" if sampled else "whole"
    return ModularArithmetic(
        name="modular_arithmetic", operation=operations, modulus=modulus, degree=3, evaluation=evaluation
    )


def make_run(replicate: int = 0, operation: str = "x_plus_y", **settings: object) -> Run:
    flat = {"width": 16, "heads": 2, "depth": 2, "batch.max": 24, "learning_rate": 3e-3, "warmup_steps": 3} | settings
    plain = hyperparameters.canonical_form(hyperparameters.from_flat(flat), 200)
    return Run(operation, replicate, plain, seeds_of(replicate))


def objective(**changes: object) -> Objective:
    return Objective(**({"horizon": 200, "evaluate_every": 10} | changes))


def losses() -> list[float]:
    """Two runs trained in float32 for a few evaluations."""
    runs = [make_run(0), make_run(1, **{"batch.shape": "linear", "batch.min": 5, "batch.max": 30})]
    evaluations = Cohort(
        ModularArithmeticLearner(task()), runs, objective(horizon=20, evaluate_every=5), torch.device("cpu")
    ).train()
    return [float(x) for columns in evaluations for name in ("train_loss", "val_loss") for x in columns[name]]
