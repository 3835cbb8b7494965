"""An assignment trained as it is written, also after it has crossed to another process as text."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sweeper.config.model import Objective, Precision
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.device import prepare
from sweeper.training.train import train
from sweeper.trial import Assignment, join


def assignment(precision: Precision = "float32") -> Assignment:
    flat = {"width": 16, "heads": 2, "depth": 1, "batch.max": 24, "warmup_steps": 3}
    return Assignment(
        number=3,
        settings=hyperparameters.canonical_form(hyperparameters.from_flat(flat), 20),
        task=ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y", "x_div_y"), modulus=7),
        objective=Objective(horizon=20, evaluate_every=5, tail=15),
        replicates=(0, 4),
        cpu=1.0,
        precision=precision,
    )


def curves(of: Assignment) -> dict[str, list[object]]:
    return {name: values.tolist() for name, values in join(list(train(of))).items() if name != "seconds"}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_an_assignment_survives_as_text_with_its_precision_and_its_tail(precision: Precision) -> None:
    written = assignment(precision)
    again = Assignment.from_json(written.to_json())
    assert again == written
    assert (again.precision, again.objective.tail) == (precision, 15)


def test_an_assignment_trains_in_its_precision() -> None:
    exact, rounded = curves(assignment()), curves(assignment("bfloat16"))
    assert exact["step"] == rounded["step"]
    assert exact["val_loss"] != rounded["val_loss"]
    np.testing.assert_allclose(rounded["val_loss"], exact["val_loss"], rtol=0.05)


def test_tf32_on_a_cpu_is_float32() -> None:
    if torch.cuda.is_available():
        pytest.skip("training would use the GPU")
    assert curves(assignment("tf32")) == curves(assignment())


def test_an_assignment_that_crossed_as_text_trains_to_the_same_bit() -> None:
    written = replace(assignment("bfloat16"), replicates=(1,))
    assert curves(Assignment.from_json(written.to_json())) == curves(written)


@pytest.mark.parametrize(("cpu", "threads"), [(0.25, 1), (1.0, 1), (1.9, 1), (2.0, 2)])
def test_a_trial_gets_a_thread_for_each_whole_core_and_at_least_one(cpu: float, threads: int) -> None:
    prepare(cpu)
    assert torch.get_num_threads() == threads


def test_a_process_goes_back_to_float32_after_a_trial_in_tf32() -> None:
    prepare(1, "tf32")
    assert torch.get_float32_matmul_precision() == "high"
    prepare(1, "float32")
    assert torch.get_float32_matmul_precision() == "highest"
