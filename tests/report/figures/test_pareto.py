"""Two clocks at a time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.report.figures import pareto
from sweeper.report.figures.subject import Subject
from tests.fakes.sweeps import Sweep
from tests.fakes.training import BATCHES, by_batch
from tests.report.figures.looking import about, look


@pytest.mark.slow
def test_fewer_steps_for_more_examples(tmp_path: Path) -> None:
    """Batches of 64, 16 and 128 arrive at 50, 90 and 30 steps; that of 32 never does."""
    sweep = Sweep(tmp_path, {"search": {"batch.max": {"choice": list(BATCHES)}}})
    sweep.launch(by_batch)
    found = pareto.read(about(sweep))
    assert found is not None
    assert (found.trials, found.left_out) == ((0, 1, 2), 1)
    assert found.means["steps"].tolist() == pytest.approx([50, 90, 30])
    assert found.means["examples"].tolist() == pytest.approx([3200, 1440, 3840])
    assert found.means["seconds"].tolist() == pytest.approx([0.5, 0.9, 0.3])
    assert found.fronts == {
        ("steps", "examples"): (2, 0, 1),
        ("steps", "seconds"): (2,),
        ("examples", "seconds"): (1, 0, 2),
    }
    figure = look(pareto.draw(found), "steps", "examples", "seconds", "trial", "Pareto front")
    assert figure.alt == (
        "3 trials. Pareto front of steps and examples: trial 2 (30 steps and 3,840 examples) and trial 1 (90 steps and "
        "1,440 examples). Pareto front of steps and seconds: trial 2 (30 steps and 0.3 seconds). Pareto front of "
        "examples and seconds: trial 1 (1,440 examples and 0.9 seconds) and trial 2 (3,840 examples and 0.3 seconds)."
    )
    assert "1 trial with runs that did not reach it left out." in figure.caption


@pytest.mark.slow
def test_baselines_are_marked(shapes: Subject) -> None:
    found = pareto.read(shapes)
    assert found is not None
    assert found.baselines == ("published", "", "", "", "", "")
    look(pareto.draw(found), "baseline")


def test_one_trial_is_no_choice(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {"search": {"batch.max": {"choice": [64, 32]}}})
    sweep.launch(by_batch)
    assert pareto.read(about(sweep)) is None


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_a_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    x, y = (np.array(values, dtype=np.float64) for values in zip(*points, strict=True))
    found = pareto.front(x, y)
    unbeaten = {(a, b) for a, b in points if not any((c <= a and d <= b and (c, d) != (a, b)) for c, d in points)}
    assert [points[place] for place in found] == sorted(unbeaten)
