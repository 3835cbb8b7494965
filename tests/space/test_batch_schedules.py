"""Every shape against hand-worked sizes, published sums and Megatron's ramp; one spelling for one schedule."""

import itertools
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sweeper.space.batch_schedules import (
    ALIASES,
    SMOOTH,
    USED_BY,
    BatchSchedule,
    Shape,
    batch_sizes,
    canonical,
    mistakes,
    smooth_size,
    truncate,
)

SHAPES = get_args(Shape)
few = settings(deadline=None, max_examples=15)
MONOTONE = ["linear", "polynomial", "geometric", "logarithmic", "cosine", "doubling", "sample_ramp"]
HORIZON = 120

NON_DEFAULT: dict[str, Any] = {
    "min": 7,
    "direction": "falling",
    "clock": "examples",
    "period": 55,
    "every": 3,
    "power": 0.5,
    "curvature": 9.0,
    "cycles": 2,
    "doubling_steps": 4,
    "increment": 5,
    "stages": ((0, 3), (9, 5)),
    "noise_fraction": 2.5,
    "noise_memory": 0.25,
}


def ramp(shape: str, **settings: Any) -> BatchSchedule:
    return BatchSchedule(**({"shape": shape, "min": 32, "max": 512} | settings))


@st.composite
def schedules(draw: st.DrawFn, shape: str) -> BatchSchedule:
    """Any schedule of a shape that has no mistakes, its unused settings filled at random too."""
    low, high = sorted(draw(st.tuples(st.integers(1, 300), st.integers(1, 300))))
    examples = shape == "sample_ramp" or draw(st.booleans())
    starts = sorted(draw(st.sets(st.integers(1, 2 * HORIZON), max_size=4)))
    stages = tuple((start, draw(st.integers(1, 4))) for start in (0, *starts))
    return BatchSchedule(
        shape=shape,
        min=low,
        max=high,
        direction=draw(st.sampled_from(["rising", "falling"])),
        clock="examples" if examples else "steps",
        period=draw(st.integers(1, 20_000) if examples else st.none() | st.integers(1, 2 * HORIZON)),
        every=draw(st.integers(1, 30)),
        power=draw(st.sampled_from([0.5, 1.0, 2.0])),
        curvature=draw(st.sampled_from([1.5, 100.0])),
        cycles=draw(st.integers(1, 6)),
        doubling_steps=draw(st.integers(1, 50)),
        increment=draw(st.integers(1, 100)),
        stages=stages if shape == "step" else (),
        noise_fraction=draw(st.sampled_from([0.5, 1.0])),
        noise_memory=draw(st.sampled_from([0.0, 0.9])),
    )


POINTS = [
    (ramp("linear"), {0: 32, 0.25: 152, 0.5: 272, 1: 512}),
    (ramp("linear", direction="falling"), {0: 512, 0.25: 392, 0.5: 272, 1: 32}),
    (ramp("polynomial", power=2.0), {0: 32, 0.5: 152, 1: 512}),
    (ramp("polynomial", power=0.5), {0: 32, 0.25: 272, 1: 512}),
    (ramp("polynomial", power=2.0, direction="falling"), {0: 512, 0.5: 392, 1: 32}),
    (ramp("geometric"), {0: 32, 0.25: 64, 0.5: 128, 0.75: 256, 1: 512}),
    (ramp("geometric", direction="falling"), {0: 512, 0.25: 256, 0.75: 64, 1: 32}),
    (ramp("logarithmic", curvature=100.0), {0: 32, 1 / 11: 272, 1: 512}),
    (ramp("logarithmic", curvature=16.0), {0: 32, 1 / 15: 152, 0.2: 272, 1: 512}),
    (ramp("logarithmic", curvature=100.0, direction="falling"), {0: 512, 1 / 11: 272, 1: 32}),
    (ramp("cosine"), {0: 32, 1 / 3: 152, 0.5: 272, 2 / 3: 392, 1: 512}),
    (ramp("cosine", direction="falling"), {0: 512, 1 / 3: 392, 1: 32}),
    (ramp("cyclic", cycles=1), {0: 32, 1 / 6: 152, 0.5: 512, 1: 32}),
    (ramp("cyclic", cycles=5), {0: 32, 0.1: 512, 0.2: 32, 0.25: 272, 0.9: 512, 1: 32}),
    (ramp("cyclic", cycles=5, direction="falling"), {0: 512, 0.1: 32, 0.2: 512, 1: 512}),
]


@pytest.mark.parametrize(("schedule", "points"), POINTS, ids=lambda x: getattr(x, "shape", None))
def test_smooth_shapes_pass_through_hand_worked_points(schedule: BatchSchedule, points: dict[float, float]) -> None:
    np.testing.assert_allclose(smooth_size(schedule, list(points)), list(points.values()), rtol=0, atol=1e-9)


def test_every_smooth_shape_has_hand_worked_points() -> None:
    assert {schedule.shape for schedule, _ in POINTS} == set(SMOOTH)
    assert set(USED_BY) == set(SHAPES)


@pytest.mark.parametrize(
    ("shape", "total"), [("linear", 2_038_800), ("geometric", 1_297_120), ("logarithmic", 3_093_290)]
)
def test_the_published_sums_over_7500_steps(shape: str, total: int) -> None:
    clock = (np.arange(750) + 1) * 10 / 7500
    assert truncate(smooth_size(ramp(shape, curvature=100.0), clock)).sum() * 10 == total


@pytest.mark.parametrize(
    ("shape", "at_750", "at_3000"), [("linear", 80, 224), ("geometric", 42, 97), ("logarithmic", 280, 418)]
)
def test_the_published_sizes_at_two_steps(shape: str, at_750: int, at_3000: int) -> None:
    sizes = batch_sizes(ramp(shape), 7500)
    assert (sizes[750], sizes[3000]) == (at_750, at_3000)


def test_sizes_are_truncated_with_a_hair_and_at_least_1() -> None:
    assert truncate([0.2, 1.0, 79.9, 80 - 1e-12, 80.0, 80.999]).tolist() == [1, 1, 79, 80, 80, 80]
    assert truncate([80.0]).dtype == np.int64


WHOLE = [
    ({"shape": "constant", "max": 6}, [6] * 8),
    ({"shape": "noise_scale", "min": 4, "max": 50}, [4] * 8),
    ({"shape": "linear", "min": 10, "max": 50}, [10, 15, 20, 25, 30, 35, 40, 45]),
    ({"shape": "linear", "min": 10, "max": 50, "direction": "falling"}, [50, 45, 40, 35, 30, 25, 20, 15]),
    ({"shape": "linear", "min": 10, "max": 50, "period": 4}, [10, 20, 30, 40, 50, 50, 50, 50]),
    ({"shape": "linear", "min": 10, "max": 50, "period": 4, "direction": "falling"}, [50, 40, 30, 20, 10, 10, 10, 10]),
    ({"shape": "linear", "min": 10, "max": 50, "period": 16}, [10, 12, 15, 17, 20, 22, 25, 27]),
    ({"shape": "linear", "min": 10, "max": 50, "period": 4, "every": 3}, [10, 10, 10, 40, 40, 40, 50, 50]),
    ({"shape": "linear", "min": 10, "max": 50, "every": 9}, [10] * 8),
    ({"shape": "geometric", "min": 4, "max": 64, "period": 4}, [4, 8, 16, 32, 64, 64, 64, 64]),
    ({"shape": "cyclic", "min": 8, "max": 40, "cycles": 2}, [8, 24, 40, 24, 8, 24, 40, 24]),
    ({"shape": "cyclic", "min": 8, "max": 40, "cycles": 1, "period": 4}, [8, 24, 40, 24, 8, 8, 8, 8]),
    ({"shape": "step", "stages": ((0, 32), (3, 64), (5, 16))}, [32, 32, 32, 64, 64, 16, 16, 16]),
    ({"shape": "step", "stages": ((0, 32), (9, 64))}, [32] * 8),
    ({"shape": "doubling", "min": 3, "max": 20, "doubling_steps": 2}, [3, 3, 6, 6, 12, 12, 20, 20]),
    (
        {"shape": "doubling", "min": 3, "max": 20, "doubling_steps": 2, "direction": "falling"},
        [20, 20, 10, 10, 5, 5, 3, 3],
    ),
    (
        {"shape": "doubling", "min": 1, "max": 21, "doubling_steps": 1, "direction": "falling"},
        [21, 10, 5, 2, 1, 1, 1, 1],
    ),
    # consumed before each update: 0, 10, 24, 43, 70, 108, ...
    (
        {"shape": "linear", "min": 10, "max": 50, "clock": "examples", "period": 100},
        [10, 14, 19, 27, 38, 50, 50, 50],
    ),
    # consumed at each change: 0, 20, 56, 120
    (
        {"shape": "linear", "min": 10, "max": 50, "clock": "examples", "period": 100, "every": 2},
        [10, 10, 18, 18, 32, 32, 50, 50],
    ),
    # consumed: 0, 50, 82, 99, 109, ...
    (
        {
            "shape": "linear",
            "min": 10,
            "max": 50,
            "clock": "examples",
            "period": 100,
            "direction": "falling",
        },
        [50, 30, 18, 10, 10, 10, 10, 10],
    ),
    # three increases, 30 examples at each size; consumed: 0, 20, 40, 70, 120
    (
        {"shape": "sample_ramp", "min": 20, "max": 50, "increment": 10, "period": 90},
        [20, 20, 30, 40, 50, 50, 50, 50],
    ),
    (
        {"shape": "sample_ramp", "min": 20, "max": 50, "increment": 10, "period": 90, "direction": "falling"},
        [50, 40, 20, 20, 20, 20, 20, 20],
    ),
    # 1.75 increases over 175 examples: one after 100, the rest at the end; consumed: 0, 50, 100, 190
    (
        {"shape": "sample_ramp", "min": 10, "max": 45, "increment": 20, "period": 175, "every": 5},
        [10, 10, 10, 10, 10, 10, 10, 10],
    ),
    (
        {"shape": "sample_ramp", "min": 50, "max": 85, "increment": 20, "period": 175},
        [50, 50, 70, 70, 85, 85, 85, 85],
    ),
]


@pytest.mark.parametrize(("settings", "sizes"), WHOLE, ids=lambda x: x["shape"] if isinstance(x, dict) else None)
def test_sizes_of_eight_updates_by_hand(settings: dict[str, Any], sizes: list[int]) -> None:
    found = batch_sizes(BatchSchedule(**({"every": 1} | settings)), 8)
    assert found.tolist() == sizes
    assert found.dtype == np.int64


def test_a_schedule_runs_over_the_horizon_unless_it_has_a_period() -> None:
    assert (
        batch_sizes(ramp("linear", every=1), 1000).tolist()
        == batch_sizes(ramp("linear", every=1, period=1000), 2000)[:1000].tolist()
    )


def test_doubling_for_thousands_of_steps_stays_at_its_end() -> None:
    rising, falling = (ramp("doubling", direction=d, doubling_steps=1) for d in ("rising", "falling"))
    assert batch_sizes(rising, 5000).tolist() == [32, 64, 128, 256] + [512] * 4996
    assert batch_sizes(falling, 5000).tolist() == [512, 256, 128, 64] + [32] * 4996


@given(
    start=st.integers(1, 64),
    increment=st.integers(1, 32),
    increases=st.integers(1, 12),
    samples=st.integers(1, 20_000),
    every=st.integers(1, 7),
)
@few
def test_sample_ramp_is_megatrons(start: int, increment: int, increases: int, samples: int, every: int) -> None:
    end = start + increases * increment
    schedule = BatchSchedule(shape="sample_ramp", min=start, max=end, increment=increment, period=samples, every=every)
    expected, consumed = [], 0
    for update in range(HORIZON):
        if update % every == 0:
            # floor(consumed / (samples / increases)), in whole numbers
            size = end if consumed > samples else start + increment * (consumed * increases // samples)
        expected.append(size)
        consumed += size
    assert batch_sizes(schedule, HORIZON).tolist() == expected


@given(st.data())
@few
def test_the_examples_clock_is_what_was_consumed_before_the_update(data: st.DataObject) -> None:
    schedule = data.draw(schedules(data.draw(st.sampled_from(sorted(SMOOTH)))))
    schedule = schedule.model_copy(update={"clock": "examples", "period": data.draw(st.integers(1, 20_000))})
    sizes = batch_sizes(schedule, HORIZON)
    consumed = np.concatenate([[0], np.cumsum(sizes)])[: HORIZON : schedule.every]
    expected = truncate(smooth_size(schedule, np.minimum(consumed / schedule.period, 1)))
    assert sizes.tolist() == np.repeat(expected, schedule.every)[:HORIZON].tolist()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "step"])
@given(data=st.data())
@few
def test_sizes_stay_between_min_and_max(shape: str, data: st.DataObject) -> None:
    schedule = data.draw(schedules(shape))
    sizes = batch_sizes(schedule, HORIZON)
    low = schedule.max if shape == "constant" else schedule.min
    assert sizes.shape == (HORIZON,)
    assert low <= sizes.min() <= sizes.max() <= schedule.max == schedule.largest


@pytest.mark.parametrize("shape", MONOTONE)
@given(data=st.data())
@few
def test_ramps_only_rise_or_only_fall_from_start_to_end(shape: str, data: st.DataObject) -> None:
    schedule = data.draw(schedules(shape))
    sizes = batch_sizes(schedule, HORIZON)
    assert sizes[0] == schedule.start
    moves = np.diff(sizes) * (1 if schedule.direction == "rising" else -1)
    assert (moves >= 0).all()


@pytest.mark.parametrize("shape", [shape for shape in MONOTONE if shape in SMOOTH])
@given(data=st.data(), period=st.integers(1, 80), every=st.integers(1, 20))
@few
def test_the_end_is_held_after_the_period(shape: str, data: st.DataObject, period: int, every: int) -> None:
    drawn = data.draw(schedules(shape))
    schedule = drawn.model_copy(update={"clock": "steps", "period": period, "every": every})
    first_change_after = -(-period // every) * every
    assert (batch_sizes(schedule, HORIZON)[first_change_after:] == schedule.end).all()


def test_start_end_and_largest() -> None:
    rising, falling = ramp("linear"), ramp("linear", direction="falling")
    assert (rising.start, rising.end, rising.largest) == (32, 512, 512)
    assert (falling.start, falling.end, falling.largest) == (512, 32, 512)
    stepped = BatchSchedule(shape="step", stages=((0, 64), (5, 700), (9, 8)))
    assert stepped.largest == 700


@pytest.mark.parametrize(("alias", "name"), sorted(ALIASES.items()))
def test_an_alias_is_read_as_its_shape(alias: str, name: str) -> None:
    assert BatchSchedule(shape=alias) == BatchSchedule(shape=name)


def test_the_aliases_are_those_of_the_literature() -> None:
    assert ALIASES == {
        "exponential": "geometric",
        "cosine_ramp": "cosine",
        "cosine_cycles": "cyclic",
        "multistep": "step",
        "piecewise": "step",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"shape": "zigzag"},
        {"shape": 3},
        {"max": 0},
        {"max": 64.0},
        {"max": "64"},
        {"min": -1},
        {"power": 0.0},
        {"curvature": 1.0},
        {"noise_memory": 1.0},
        {"stages": ((0, 0),)},
        {"direction": "up"},
        {"maximum": 5},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BatchSchedule(**settings)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "step"])
def test_min_equal_to_max_is_constant_whatever_the_shape(shape: str) -> None:
    still = ramp(shape, min=64, max=64, period=100, every=3, cycles=2)
    assert canonical(still, HORIZON) == BatchSchedule(shape="constant", max=64)


def test_a_polynomial_of_power_1_is_linear() -> None:
    assert canonical(ramp("polynomial", power=1.0), HORIZON) == canonical(ramp("linear"), HORIZON)
    assert canonical(ramp("polynomial", power=1.5), HORIZON) != canonical(ramp("linear"), HORIZON)


def test_no_period_is_the_horizon_as_period() -> None:
    assert canonical(ramp("linear"), HORIZON) == ramp("linear", period=HORIZON)
    assert canonical(ramp("linear", period=HORIZON - 1), HORIZON) == ramp("linear", period=HORIZON - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_settings_that_a_shape_does_not_read_are_dropped_and_the_others_kept(shape: str) -> None:
    read = {name: NON_DEFAULT[name] for name in USED_BY[shape]}
    plain = BatchSchedule(shape=shape, max=5 if shape == "step" else 77, **read)
    cluttered = BatchSchedule(shape=shape, max=plain.max, **NON_DEFAULT)
    assert canonical(cluttered, HORIZON) == plain


def test_stages_that_change_nothing_are_dropped() -> None:
    wordy = BatchSchedule(shape="step", stages=((0, 32), (10, 32), (20, 64), (30, 64), (500, 64)))
    assert canonical(wordy, HORIZON) == BatchSchedule(shape="step", stages=((0, 32), (20, 64)), max=64)
    assert canonical(BatchSchedule(shape="step", stages=((0, 32), (10, 32))), HORIZON) == BatchSchedule(max=32)


def test_a_stage_after_the_horizon_leaves_no_trace() -> None:
    tailed = BatchSchedule(shape="step", stages=((0, 32), (20, 64), (HORIZON, 128)))
    plain = BatchSchedule(shape="step", stages=((0, 32), (20, 64)))
    assert canonical(tailed, HORIZON) == canonical(plain, HORIZON)
    assert canonical(BatchSchedule(shape="step", stages=((0, 32), (HORIZON, 128))), HORIZON) == BatchSchedule(max=32)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@few
def test_the_canonical_form_realises_the_same_sizes(shape: str, data: st.DataObject) -> None:
    schedule = data.draw(schedules(shape))
    plain = canonical(schedule, HORIZON)
    assert mistakes(schedule) == mistakes(plain) == []
    assert batch_sizes(plain, HORIZON).tolist() == batch_sizes(schedule, HORIZON).tolist()


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@few
def test_the_canonical_form_of_a_canonical_form_is_itself(shape: str, data: st.DataObject) -> None:
    plain = canonical(data.draw(schedules(shape)), HORIZON)
    assert canonical(plain, HORIZON) == plain


MISSING_MIN = "missing: a {} schedule moves between batch.min and batch.max"
MISSING_PERIOD = "missing: on the examples clock, give the number of examples the schedule runs over"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, []),
        ({"shape": "linear", "min": 32}, []),
        ({"shape": "linear", "min": 512}, []),
        ({"shape": "doubling", "min": 32, "clock": "examples"}, []),
        ({"shape": "step", "stages": ((0, 600), (10, 5))}, []),
        ({"shape": "linear"}, [("min", MISSING_MIN.format("linear"))]),
        ({"shape": "noise_scale"}, [("min", MISSING_MIN.format("noise_scale"))]),
        ({"shape": "linear", "min": 513}, [("min", "513 is larger than batch.max (512)")]),
        ({"shape": "cyclic", "min": 32, "clock": "examples"}, [("period", MISSING_PERIOD)]),
        ({"shape": "cyclic", "min": 32, "clock": "examples", "period": 9}, []),
        ({"shape": "sample_ramp", "min": 32}, [("period", MISSING_PERIOD)]),
        (
            {"shape": "sample_ramp"},
            [("min", MISSING_MIN.format("sample_ramp")), ("period", MISSING_PERIOD)],
        ),
        *(
            (
                {"shape": "step", "stages": tuple((step, 8) for step in steps)},
                [("stages", f"got steps {steps}; list them from 0 upwards, as in [[0, 32], [1000, 64]]")],
            )
            for steps in ([], [5], [0, 20, 10], [0, 10, 10])
        ),
    ],
    ids=str,
)
def test_mistakes_are_all_named(settings: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert mistakes(BatchSchedule(**settings)) == found


def test_the_examples_clock_without_a_period_has_no_sizes() -> None:
    for shape, clock in itertools.product(["sample_ramp", "linear"], ["examples"]):
        with pytest.raises(ValueError, match=f"a {shape} schedule on the examples clock needs batch.period"):
            batch_sizes(ramp(shape, clock=clock), HORIZON)
