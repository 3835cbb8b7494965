"""Batch sizes over training."""

from pathlib import Path

import pytest

from sweeper.report.figures import schedules
from sweeper.report.figures.subject import Subject
from tests.report.figures.looking import SHAPES, about, launched, look


def described(found: schedules.Courses) -> dict[str, tuple[list[int], list[int], tuple[int, ...]]]:
    return {each.label: (each.steps.tolist(), each.sizes.tolist(), each.events) for each in found.courses}


@pytest.mark.slow
def test_the_best_of_each_shape_and_the_baseline_with_their_events(shapes: Subject) -> None:
    found = schedules.read(shapes)
    assert found is not None
    assert described(found) == {
        "constant (trial 2)": ([0], [64], (20, 30)),
        "linear (trial 4)": (list(range(0, 100, 10)), [8, 13, 19, 24, 30, 36, 41, 47, 52, 58], (40, 50)),
        "doubling (trial 6)": ([0, 20, 40, 60], [8, 16, 32, 64], (90, 100)),
        "published": ([0], [128], (80, 90)),
    }
    figure = look(schedules.draw(found), "constant (trial 2)", "published", "batch size", "steps")
    assert figure.alt == (
        "constant (trial 2) (batch 64): reached at 20 to 30 steps, linear (trial 4) (batch 8, between 8 and 58): "
        "reached at 40 to 50 steps, doubling (trial 6) (batch 8, between 8 and 64): reached at 90 to 100 steps and "
        "published (batch 128): reached at 80 to 90 steps."
    )


def test_a_schedule_on_the_noise_scale_is_shown_as_it_was_measured(tmp_path: Path) -> None:
    changes = {
        "search": {"batch.shape": {"choice": ["constant", "noise_scale"]}},
        "fixed": {"width": 32, "batch.min": 8, "batch.max": 100},
        "budget": {"trials": 2},
    }
    found = schedules.read(about(launched(tmp_path, changes, lambda *_: None)))
    assert found is not None
    assert described(found) == {"constant (trial 0)": ([0], [100], ()), "noise_scale (trial 1)": ([10], [64], ())}
    assert schedules.draw(found).alt == (
        "constant (trial 0) (batch 100): no run reached the event and noise_scale (trial 1) (batch 64): no run reached "
        "the event."
    )


def test_one_batch_size_for_all_is_not_drawn(tmp_path: Path) -> None:
    assert (
        schedules.read(about(launched(tmp_path, {**SHAPES, "search": {"depth": {"int": [1, 2]}}, "baselines": {}})))
        is None
    )
