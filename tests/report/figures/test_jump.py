"""Norms around the event."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.report.figures import jump
from sweeper.trial import Assignment, Chunk
from tests.fakes.sweeps import Sweep
from tests.fakes.training import always, learns
from tests.report.figures.looking import SHAPES, about, by_shape, launched, look


def with_norms(assignment: Assignment) -> Iterator[Chunk]:
    """Weights as heavy as the steps that are left until 100, or more for the second replicate."""
    for each in learns(by_shape)(assignment):
        heavy = 100.0 - each.columns["step"] + 10 * each.columns["replicate"]
        yield replace(each, columns={**each.columns, "weight_norm": heavy, "gradient_norm": 1 / each.columns["step"]})


@pytest.mark.slow
def test_runs_are_set_to_one_another_by_their_events(tmp_path: Path) -> None:
    """Trial 2 arrives at 20 and 30, the baseline at 80 and 90; the median of these is 55."""
    sweep = Sweep(tmp_path, {**SHAPES, "confirm": None})
    sweep.launch(with_norms)
    found = jump.read(about(sweep))
    assert found is not None
    assert found.metrics == ("val_accuracy", "weight_norm", "last_layer_norm", "gradient_norm")
    assert found.steps.tolist() == [-50, -40, -30, -20, -10, 0]
    best, baseline = found.contenders
    nan = np.nan
    assert (best.label, best.runs, baseline.label, baseline.runs) == ("trial 2", 2, "published", 2)
    assert best.means["weight_norm"] == pytest.approx([nan, nan, nan, 100, 90 + 5 - 5, 80 + 5 - 5], nan_ok=True)
    assert best.errors["weight_norm"] == pytest.approx([nan, nan, nan, nan, 0, 0], nan_ok=True)
    assert baseline.means["val_accuracy"] == pytest.approx([0.1] * 5 + [1.0])
    figure = look(jump.draw(found), "trial 2", "published", "weight_norm", "gradient_norm", "steps since the event")
    assert "trial 2: weight_norm from 100 at 20 steps before to 80 at the event." in figure.alt


@pytest.mark.slow
def test_a_tail_shows_what_came_after(tmp_path: Path) -> None:
    objective: dict[str, Any] = {"horizon": 100, "evaluate_every": 10, "replicates": 1, "tail": 20, "sustained": 2}
    found = jump.read(about(launched(tmp_path, {**SHAPES, "objective": objective, "confirm": None}, always(30))))
    assert found is not None
    assert found.steps.tolist() == [-30, -20, -10, 0, 10]
    assert found.contenders[0].means["val_accuracy"] == pytest.approx([np.nan, 0.1, 0.1, 1, 1], nan_ok=True)


def test_without_an_event_there_is_no_jump(tmp_path: Path) -> None:
    assert jump.read(about(launched(tmp_path, SHAPES, always(None)))) is None
