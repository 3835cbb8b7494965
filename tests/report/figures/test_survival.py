"""Kaplan and Meier's curves of whole sweeps: the numbers, and what is written on them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sweeper.report.figures import survival
from sweeper.report.figures.groups import grouped
from sweeper.report.figures.subject import Subject
from sweeper.stats.survival import kaplan_meier
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import chunk_of, curve
from tests.fakes.sweeps import Sweep
from tests.fakes.training import diverges
from tests.report.figures.looking import SHAPES, TWO, about, launched, look

THIRDS = [1, pytest.approx(2 / 3), pytest.approx(1 / 3), 0]


def described(waiting: survival.Waiting) -> dict[str, list[tuple[object, ...]]]:
    """Operation -> of each curve the label, runs, reached, mean, times, shares and runs at risk."""
    return {
        operation: [
            (
                curve.label,
                curve.runs,
                curve.reached,
                curve.mean,
                curve.survival.times.tolist(),
                curve.survival.survival.tolist(),
                curve.at_risk,
            )
            for curve in curves
        ]
        for operation, curves in waiting.panels.items()
    }


@pytest.mark.slow
def test_the_search_by_shape_and_the_baseline(shapes: Subject) -> None:
    waiting = survival.read(shapes, grouped(shapes))
    assert waiting is not None
    assert waiting.ticks == (0, 20, 40, 60, 80, 100)
    assert described(waiting) == {
        "x_plus_y": [
            ("constant", 4, 4, 30.0, [0, 20, 30, 40], [1, 0.75, 0.25, 0], (4, 4, 1, 0, 0, 0)),
            ("linear", 4, 4, 50.0, [0, 40, 50, 60], [1, 0.75, 0.25, 0], (4, 4, 4, 1, 0, 0)),
            ("doubling", 4, 3, 97.5, [0, 90, 100], [1, 0.75, 0.25], (4, 4, 4, 4, 4, 3)),
            ("published", 2, 2, 85.0, [0, 80, 90], [1, 0.5, 0], (2, 2, 2, 2, 2, 0)),
        ]
    }
    figure = look(
        survival.draw(waiting),
        *("constant", "linear", "doubling", "published", "steps", "not there yet", "runs still waiting", "100", "4"),
    )
    assert figure.name == "survival"
    assert figure.alt == (
        "Restricted mean steps to val_accuracy > 0.99: constant 30 (4 of 4 runs reached it), linear 50 (4 of 4 runs "
        "reached it), published 85 (2 of 2 runs reached it) and doubling 97.5 (3 of 4 runs reached it)."
    )


@pytest.mark.slow
def test_the_finalists_on_fresh_seeds(shapes: Subject) -> None:
    waiting = survival.read_confirmed(shapes)
    assert waiting is not None
    assert described(waiting) == {
        "x_plus_y": [
            ("trial 2", 3, 3, 30.0, [0, 20, 30, 40], THIRDS, (3, 3, 1, 0, 0, 0)),
            ("published", 3, 3, 90.0, [0, 80, 90, 100], THIRDS, (3, 3, 3, 3, 3, 1)),
        ]
    }
    assert look(survival.draw(waiting), "trial 2", "published").name == "survival-confirmed"


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["examples", "seconds"])
def test_on_another_clock(tmp_path: Path, clock: str) -> None:
    """`curve` has 64 examples and 0.01 seconds a step; a run that never arrives is seen to its last evaluation."""
    objective = {"horizon": 100, "evaluate_every": 10, "replicates": 2, "minimize": clock, "horizon_seconds": 1.0}
    sweep = about(launched(tmp_path, {**SHAPES, "objective": objective}))
    waiting = survival.read(sweep, grouped(sweep))
    assert waiting is not None
    unit = {"examples": 64, "seconds": 0.01}[clock]
    doubling = waiting.panels["x_plus_y"][2]
    assert doubling.survival.times.tolist() == pytest.approx([0, 90 * unit, 100 * unit])
    assert doubling.survival.censored.tolist() == pytest.approx([100 * unit])
    look(survival.draw(waiting), clock)


@pytest.mark.slow
def test_without_confirmations_there_is_nothing_to_show_of_them(tmp_path: Path) -> None:
    assert survival.read_confirmed(about(launched(tmp_path, {**SHAPES, "confirm": None}))) is None


@pytest.mark.slow
def test_an_operation_a_panel(tmp_path: Path) -> None:
    def train(assignment: Assignment) -> Iterator[Chunk]:
        for operation, steps in (("x_plus_y", 3), ("permutation", 5)):
            yield chunk_of(*(curve([0.1] * steps + [1.0], each, operation) for each in assignment.replicates))

    sweep = Sweep(tmp_path, {**SHAPES, **TWO})
    sweep.launch(train)
    waiting = survival.read(about(sweep), grouped(about(sweep)))
    assert waiting is not None
    means = {operation: [curve.mean for curve in curves] for operation, curves in waiting.panels.items()}
    assert means == {"x_plus_y": [40.0] * 4, "permutation": [60.0] * 4}
    look(survival.draw(waiting), "x_plus_y", "permutation")


@pytest.mark.slow
def test_runs_that_diverged_wait_for_ever(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, SHAPES)
    sweep.launch(diverges)
    waiting = survival.read(about(sweep), grouped(about(sweep)))
    assert waiting is not None
    assert [(curve.reached, curve.mean) for curve in waiting.panels["x_plus_y"]] == [(0, 100.0)] * 4
    look(survival.draw(waiting))


def test_a_mean_is_an_upper_bound_where_nobody_was_seen_to_the_end(capped: Subject) -> None:
    waiting = survival.read(capped, grouped(capped))
    assert waiting is not None
    assert "doubling at most 100 (0 of 4 runs reached it)" in survival.draw(waiting).alt


def test_of_thousands_of_times_those_are_drawn_that_can_be_told_apart() -> None:
    times = np.sort(np.random.default_rng(0).uniform(10, 1000, 20_000))
    known = kaplan_meier(times, np.ones(len(times), bool))
    curve = survival.SurvivalCurve("many", False, known, len(times), len(times), 500.0, (len(times), 0))
    drawn = survival.draw(survival.Waiting(False, "x", "steps", "y > 1", 1000.0, (0.0, 1000.0), "", {"a": (curve,)}))
    (line,) = (each for each in drawn.sheet.axes[0].get_lines() if each.get_label() == "many")
    x, y = (np.asarray(each) for each in line.get_data())
    assert 700 < len(x) <= 803
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 1.0, times[-1], 0.0)
    assert np.isin(x, known.times).all() and np.isin(y, known.survival).all()
