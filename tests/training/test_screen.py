"""Evaluations that end early where the event is impossible: events, and all that training does, stay as they are."""

import numpy as np
import pytest
import torch

from sweeper.config.loading import load
from sweeper.errors import UserError
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.cohort import Cohort
from sweeper.training.evaluation import Screen
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.trial import Chunk, join
from tests.fakes import small
from tests.fakes.runs import CPU, make_run, objective

TASK = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=23, train_fraction=0.7)
FAST = {"depth": 1, "width": 48, "heads": 4, "batch.max": 256, "warmup_steps": 10, "learning_rate": 0.01}


def trained(screen: bool, horizon: int = 400) -> dict[str, np.ndarray]:
    runs = [make_run(replicate=replicate, weight_decay=1.0, **FAST) for replicate in (0, 1)]
    question = objective(until="val_accuracy > 0.95", horizon=horizon, evaluate_every=10, tail=20, screen=screen)
    rows = list(Cohort(ModularArithmeticLearner(TASK), runs, question, CPU).train())
    return join([Chunk(each, "cpu") for each in rows])


@pytest.mark.slow
def test_a_screen_changes_no_event_and_no_other_column_but_those_of_validation_before_it() -> None:
    whole, screened = trained(False), trained(True)
    for name in whole.keys() - {"seconds", "val_accuracy", "val_loss"}:
        np.testing.assert_array_equal(whole[name], screened[name])
    for name in ("val_accuracy", "val_loss"):
        near = whole["val_accuracy"] > 0.95
        assert near.sum() >= 2, "the event has taken place"
        np.testing.assert_array_equal(whole[name][near], screened[name][near])
        assert (whole[name] != screened[name])[~near].mean() > 0.5
    assert (np.abs(whole["val_accuracy"] - screened["val_accuracy"]) < 0.25).all()


def test_the_evaluation_at_the_horizon_is_of_all_examples() -> None:
    whole, screened = trained(False, horizon=20), trained(True, horizon=20)
    assert [(whole["val_loss"] == screened["val_loss"])[each].all() for each in (slice(2), slice(2, 4))] == [
        False,
        True,
    ]


@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("count", [1, 63, 64, 159, 1000, 4704])
def test_what_a_screen_rules_out_is_impossible(threshold: float, count: int) -> None:
    """All other examples may be right."""
    screen = Screen(1, threshold, 7500)
    size = screen.size(count)
    counts = torch.full((size + 1,), count)
    assert screen.sizes(counts[:, None]).unique().tolist() == [size]
    possible = screen.possible(torch.arange(size + 1, dtype=torch.float64), counts * 0 + size, counts).tolist()
    for right, may in enumerate(possible):
        assert may or not (right + count - size) / count > threshold
    assert all(possible) == (2 * size > count)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["objective.until=val_loss < 0.1"], "a screen works for val_accuracy > ..."),
        (["task.evaluation=sampled"], "no score that a part of its validation set bounds"),
    ],
)
def test_a_screen_that_could_rule_nothing_out_is_a_mistake(tmp_path: object, changes: list[str], wanted: str) -> None:
    space = small.write(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"objective\.screen") as raised:
        load(space, ["objective.until=val_accuracy > 0.99", "objective.screen=true", *changes])
    assert wanted in str(raised.value)
