"""Mean learning curves: what counts of runs that ended, and what is written on the axes."""

from pathlib import Path

import numpy as np
import pytest

from sweeper.report.figures import learning
from sweeper.report.figures.groups import grouped
from sweeper.report.figures.subject import Subject
from tests.fakes.training import always
from tests.report.figures.looking import SHAPES, about, launched, look


@pytest.mark.slow
def test_the_best_against_the_baseline_with_the_last_values_of_runs_that_ended(shapes: Subject) -> None:
    """On fresh seeds trial 2 arrives at 20, 30 and 40, the baseline at 80, 90 and 100; before, accuracy is 0.1."""
    found = learning.read(shapes)
    assert found is not None
    assert found.x.tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert (found.labels, found.fresh) == ({"trial 2": False, "published": True}, True)
    curves = found.curves["x_plus_y"]
    best, baseline = curves["trial 2"]["val_accuracy"], curves["published"]["val_accuracy"]
    assert best.mean.tolist() == pytest.approx([0.1, 0.4, 0.7] + [1.0] * 7)
    third = 0.9 / 3  # of (1, 0.1, 0.1): deviation sqrt(0.27), error 0.3
    assert best.error.tolist() == pytest.approx([0.0, third, third] + [0.0] * 7, abs=1e-7)
    assert (best.runs, best.end, baseline.end) == (3, 3, 9)
    assert baseline.mean.tolist() == pytest.approx([0.1] * 7 + [0.4, 0.7, 1.0])
    figure = look(
        learning.draw(found),
        *("trial 2, training", "trial 2, validation", "published, validation", "accuracy", "loss", "steps"),
    )
    assert figure.alt == (
        "Mean val_accuracy: trial 2 (3 runs) passes the threshold at 40 steps and published (3 runs) passes the "
        "threshold at 100 steps."
    )


@pytest.mark.slow
def test_by_group(shapes: Subject) -> None:
    found = learning.read_groups(shapes, grouped(shapes))
    assert found is not None
    curves = found.curves["x_plus_y"]
    assert {label: curve["val_accuracy"].runs for label, curve in curves.items()} == {
        "constant": 4,
        "linear": 4,
        "doubling": 4,
        "published": 2,
    }
    assert curves["constant"]["val_accuracy"].mean.tolist() == pytest.approx([0.1, 0.325, 0.775] + [1.0] * 7)
    assert look(learning.draw(found), "constant", "doubling", "val_accuracy").name == "learning-by-group"


def test_of_many_trials_some_are_looked_at(shapes: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "_SAMPLE", 1)
    found = learning.read_groups(shapes, grouped(shapes))
    assert found is not None
    assert found.sampled == 3
    assert "3 trials more" in learning.draw(found).caption


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["examples", "seconds"])
def test_long_curves_are_thinned_on_any_clock(tmp_path: Path, clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "PLACES", 5)
    objective = {"horizon": 100, "evaluate_every": 10, "replicates": 2, "minimize": clock, "horizon_seconds": 1.0}
    found = learning.read(about(launched(tmp_path, {**SHAPES, "objective": objective})))
    assert found is not None
    unit = {"examples": 64, "seconds": 0.01}[clock]
    assert found.x.tolist() == pytest.approx([unit * step for step in (20, 40, 60, 80, 100)])
    best = found.curves["x_plus_y"]["trial 2"]["val_accuracy"]
    assert best.mean.tolist() == pytest.approx([0.4, 1.0, 1.0, 1.0, 1.0])
    look(learning.draw(found), clock)


@pytest.mark.slow
def test_the_metric_of_the_event_has_a_panel_of_its_own(tmp_path: Path) -> None:
    objective = {"horizon": 100, "evaluate_every": 10, "replicates": 1, "until": "weight_norm < 0.1"}
    found = learning.read(about(launched(tmp_path, {**SHAPES, "objective": objective, "confirm": None}, always(None))))
    assert found is not None
    weights = found.curves["x_plus_y"]["published"]["weight_norm"]
    assert weights.mean.tolist() == [0.5] * 10
    assert np.isnan(weights.error).all()
    look(learning.draw(found), "weight_norm")
