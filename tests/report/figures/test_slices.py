"""Time against each parameter."""

from pathlib import Path

import pytest

from sweeper.report.figures import slices
from sweeper.report.figures.subject import Subject
from tests.report.figures.looking import SHAPES, about, launched, look


@pytest.mark.slow
def test_choices_side_by_side_with_their_medians(shapes: Subject) -> None:
    found = slices.read(shapes)
    assert found is not None
    shape, size = found.parameters
    assert (shape.key, shape.categories, shape.medians) == (
        "batch.shape",
        ("constant", "linear", "doubling"),
        {"constant": 30.0, "linear": 50.0, "doubling": 97.5},
    )
    assert [(point.trial, x) for point, x in zip(shape.points, shape.x, strict=True)] == [
        *((2, 0.0), (1, 0.0), (4, 1.0), (3, 1.0), (0, 0.0), (6, 2.0), (5, 2.0)),
    ]
    assert (size.categories, size.medians) == (("32", "64", "128"), {"32": 55.0, "64": 45.0})
    figure = look(slices.draw(found), "batch.shape", "batch.max", "constant", "128", "mean steps", "baseline")
    assert figure.alt == (
        "Median steps by batch.shape: constant 30, linear 50 and doubling 97.5. "
        "Median steps by batch.max: 32 55 and 64 45."
    )


@pytest.mark.slow
def test_numbers_on_an_axis_of_their_own_and_conditional_ones_where_they_apply(tmp_path: Path) -> None:
    changes = {
        "search": {
            "heads": {"choice": [1, 2]},
            "depth": {"int": [1, 10], "when": "heads == 2"},
            "weight_decay": {"float": [0.01, 1.0], "log": True},
        },
        "sampler": {"name": "random"},
        "budget": {"trials": 12},
    }
    sweep = launched(tmp_path, changes, lambda trial, _: 10 * min(trial.settings.depth, 10))
    found = slices.read(about(sweep))
    assert found is not None
    rows = sorted(sweep.rows(), key=lambda row: (row["rmst"], row["trial"]))
    heads, depth, decay = found.parameters
    assert depth.x == tuple(float(row["depth"]) for row in rows if row["heads"] == 2)
    assert decay.x == tuple(row["weight_decay"] for row in rows)
    assert (heads.log, depth.log, decay.log) == (False, False, True)
    look(slices.draw(found), "depth", "weight_decay", "heads")


@pytest.mark.slow
def test_trials_that_were_ended_early_are_told_apart(capped: Subject) -> None:
    found = slices.read(capped)
    assert found is not None
    look(slices.draw(found), "ended early: at least this", "all runs reached it")


def test_a_single_trial_has_no_slices(tmp_path: Path) -> None:
    assert slices.read(about(launched(tmp_path, {**SHAPES, "baselines": {}, "budget": {"trials": 1}}))) is None
