"""The course of a stack of runs: warm-up, coupling to the batch, held decay, and schedules that measure."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import batch_sizes
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.training.schedules import Course

HORIZON = 8
STEPS: dict[str, Any] = {"batch.shape": "step", "batch.stages": ((0, 16), (4, 64))}
PLAIN: dict[str, Any] = {"learning_rate": 0.1, "weight_decay": 0.5, "warmup_steps": 0}
NOISE: dict[str, Any] = {
    "batch.shape": "noise_scale",
    "batch.min": 8,
    "batch.max": 64,
    "batch.every": 2,
    "batch.noise_memory": 0.0,
}


def run(**changes: Any) -> Hyperparameters:
    return hyperparameters.from_flat(PLAIN | changes)


def arrays(course: Course) -> tuple[list[Any], list[Any], list[Any]]:
    return course.sizes.tolist(), course.rates.tolist(), course.decays.tolist()


def norms(*scales: float, batch: int = 8) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Squared norms, whole and half, of gradients with these noise scales and |G|^2 = 1."""
    noise = np.array(scales)
    return 1 + noise / batch, 1 + noise / (batch / 2)


def at(course: Course, update: int) -> npt.NDArray[np.int64]:
    """Every run at the same update."""
    return np.full(len(course.sizes), update)


def test_warm_up_starts_at_rate_0_and_rises_to_the_rate() -> None:
    course = Course([run(warmup_steps=4)], HORIZON)
    np.testing.assert_allclose(course.rates, [[0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1]], rtol=1e-12)
    np.testing.assert_allclose(course.decays, 0.5 * course.rates, rtol=1e-12)
    assert course.rates[0, 0] == 0


def test_without_warm_up_the_first_update_has_the_whole_rate() -> None:
    assert Course([run()], HORIZON).rates.tolist() == [[0.1] * HORIZON]


def test_a_warm_up_longer_than_the_horizon_is_cut_off() -> None:
    np.testing.assert_allclose(Course([run(warmup_steps=16)], HORIZON).rates[0], 0.1 * np.arange(8) / 16, rtol=1e-12)


@pytest.mark.parametrize(
    ("coupling", "reference", "low", "high"),
    [
        ("none", 16, 0.1, 0.1),
        ("linear", 16, 0.1, 0.4),
        ("linear", 64, 0.025, 0.1),
        ("linear", None, 0.1 * 16 / 512, 0.1 * 64 / 512),
        ("sqrt", 16, 0.1, 0.2),
        ("sqrt", 64, 0.05, 0.1),
    ],
)
@pytest.mark.parametrize("hold", [False, True])
def test_the_rate_follows_the_batch_and_the_decay_clock_follows_unless_held(
    coupling: str, reference: int | None, low: float, high: float, hold: bool
) -> None:
    course = Course([run(**STEPS, coupling=coupling, coupling_batch=reference, hold_decay=hold)], HORIZON)
    assert course.sizes.tolist() == [[16] * 4 + [64] * 4]
    np.testing.assert_allclose(course.rates, [[low] * 4 + [high] * 4], rtol=1e-12)
    expected = [[0.05] * 8] if hold else [[0.5 * low] * 4 + [0.5 * high] * 4]
    np.testing.assert_allclose(course.decays, expected, rtol=1e-12)


def test_coupling_and_warm_up_multiply() -> None:
    course = Course([run(**STEPS, coupling="linear", coupling_batch=16, warmup_steps=8, hold_decay=True)], HORIZON)
    np.testing.assert_allclose(course.rates[0], np.arange(8) / 8 * ([0.1] * 4 + [0.4] * 4), rtol=1e-12)
    np.testing.assert_allclose(course.decays[0], np.arange(8) / 8 * 0.05, rtol=1e-12)


def test_every_run_has_its_own_course() -> None:
    runs = [run(), run(**STEPS), run(learning_rate=0.2, warmup_steps=3), run(**NOISE)]
    together = Course(runs, HORIZON)
    assert together.sizes.shape == together.rates.shape == together.decays.shape == (4, HORIZON)
    assert together.sizes.dtype == np.int64
    for row, each in enumerate(runs):
        assert [rows[row] for rows in arrays(together)] == [rows[0] for rows in arrays(Course([each], HORIZON))]
        assert together.sizes[row].tolist() == batch_sizes(each.batch, HORIZON).tolist()


@pytest.mark.parametrize("rows", [[0, 2], [1], [2, 1]])
def test_runs_that_are_kept_keep_their_course_and_their_measurements(rows: list[int]) -> None:
    runs = [run(), run(**STEPS), run(**NOISE)]
    course, expected = Course(runs, HORIZON), Course([runs[row] for row in rows], HORIZON)
    course = course.take(rows)
    assert arrays(course) == arrays(expected)
    whole, half = norms(*([20.0] * len(rows)))
    course.measured(at(course, 2), whole, half)
    expected.measured(at(expected, 2), whole, half)
    assert arrays(course) == arrays(expected)
    assert course.measures(at(course, 2)) == (2 in rows)


def test_a_schedule_that_adapts_begins_with_a_batch_that_can_be_halved() -> None:
    assert (Course([run(**NOISE | {"batch.min": 9})], HORIZON).sizes % 2 == 0).all()


def test_only_a_schedule_that_adapts_measures_and_only_when_it_may_change() -> None:
    planned = Course([run(), run(**STEPS)], HORIZON)
    assert not any(planned.measures(at(planned, update)) for update in range(HORIZON))
    course = Course([run(), run(**NOISE), run(**NOISE | {"batch.every": 3})], HORIZON)
    assert [update for update in range(HORIZON) if course.measures(at(course, update))] == [0, 2, 3, 4, 6]


def test_a_measurement_changes_sizes_rates_and_decays_after_its_update() -> None:
    course = Course([run(**NOISE, coupling="linear", coupling_batch=16, warmup_steps=8), run(**STEPS)], HORIZON)
    before = arrays(Course([run(**STEPS)], HORIZON))
    course.measured(at(course, 2), *norms(20.5, 50.0))
    assert course.sizes[0].tolist() == [8] * 3 + [20] * 5
    factor = np.array([8] * 3 + [20] * 5) / 16 * np.arange(8) / 8
    np.testing.assert_allclose(course.rates[0], 0.1 * factor, rtol=1e-12)
    np.testing.assert_allclose(course.decays[0], 0.05 * factor, rtol=1e-12)
    assert [rows[1] for rows in arrays(course)] == [rows[0] for rows in before]


def test_a_second_measurement_is_of_the_batch_that_the_first_asked_for() -> None:
    course = Course([run(**NOISE)], HORIZON)
    course.measured(at(course, 0), *norms(20.5, batch=8))
    course.measured(at(course, 4), *norms(40.5, batch=20))
    assert course.sizes[0].tolist() == [8] + [20] * 4 + [40] * 3


def test_a_measurement_at_the_last_update_changes_nothing() -> None:
    course = Course([run(**NOISE)], HORIZON)
    course.measured(at(course, HORIZON - 1), *norms(20.5))
    assert course.sizes[0].tolist() == [8] * HORIZON


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_measurement_that_is_not_finite_is_passed_over(bad: float) -> None:
    course = Course([run(**NOISE)], HORIZON)
    course.measured(at(course, 0), np.array([bad]), np.array([1.0]))
    course.measured(at(course, 0), np.array([1.0]), np.array([bad]))
    assert course.sizes[0].tolist() == [8] * HORIZON


def test_a_run_measures_at_its_own_updates_whatever_its_neighbours_do() -> None:
    every_2, every_3 = run(**NOISE), run(**NOISE | {"batch.every": 3})
    course = Course([every_2, every_3], HORIZON)
    course.measured(at(course, 2), *norms(20.5, 40.5))
    course.measured(at(course, 3), *norms(30.5, 50.5))
    assert course.sizes[0].tolist() == [8] * 3 + [20] * 5
    assert course.sizes[1].tolist() == [8] * 4 + [50] * 4


def test_runs_of_one_stack_may_be_at_different_updates() -> None:
    course = Course([run(warmup_steps=4), run(**NOISE)], HORIZON)
    sizes, rates, decays = course.window(np.array([2, 0]), 3)
    for found, table in ((sizes, course.sizes), (rates, course.rates), (decays, course.decays)):
        np.testing.assert_array_equal(found, [table[0, 2:5], table[1, :3]])
    assert course.measures(np.array([1, 2])) and not course.measures(np.array([2, 1]))
    course.measured(np.array([0, 2]), *norms(20.5, 50.0))
    assert course.sizes[1].tolist() == [8, 8, 8, 50, 50, 50, 50, 50]
