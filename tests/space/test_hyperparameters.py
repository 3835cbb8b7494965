"""Defaults, the flat form, and when two sets of hyperparameters are one."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import BatchSchedule
from sweeper.space.hyperparameters import Hyperparameters, adapter, fields, from_flat, identity, to_flat
from sweeper.training.schedules import Course

Flat = dict[str, Any]
HORIZON = 100

DEFAULTS: Flat = {
    "depth": 2,
    "width": 128,
    "heads": 4,
    "feedforward": 4,
    "learning_rate": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-8,
    "weight_decay": 0.5,
    "warmup_steps": 50,
    "coupling": "none",
    "coupling_batch": None,
    "hold_decay": False,
    "batch.shape": "constant",
    "batch.min": None,
    "batch.max": 512,
    "batch.direction": "rising",
    "batch.clock": "steps",
    "batch.period": None,
    "batch.every": 10,
    "batch.power": 2.0,
    "batch.curvature": 100.0,
    "batch.cycles": 5,
    "batch.doubling_steps": 1000,
    "batch.increment": 32,
    "batch.stages": (),
    "batch.noise_fraction": 1.0,
    "batch.noise_memory": 0.9,
}

LINEAR: Flat = {"batch.shape": "linear", "batch.min": 16, "batch.max": 64}
COUPLED: Flat = LINEAR | {"coupling": "linear", "coupling_batch": 32}


def test_the_defaults_are_the_published_experiment() -> None:
    assert to_flat(Hyperparameters()) == DEFAULTS
    assert from_flat({}) == Hyperparameters()


def test_fields_lists_every_key_with_a_description() -> None:
    assert fields().keys() == DEFAULTS.keys()
    assert all(field.description for field in fields().values())


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("depth", 3, [0, 65, "3", 3.5, True, None]),
        ("width", 8192, [0, 8193]),
        ("heads", 1, [0, 1025]),
        ("feedforward", 1, [0, 65]),
        ("learning_rate", 1, [0.0, 101.0, "1e-3", float("nan")]),
        ("betas", (0.0, 0.5), [(0.9, 1.0), (0.9,), 0.9, (-0.1, 0.5)]),
        ("epsilon", 1.0, [0.0, 1.1]),
        ("weight_decay", 0, [-0.1, 100.1, float("inf")]),
        ("warmup_steps", 0, [-1, 1.5]),
        ("coupling", "sqrt", ["cubic", None, 1]),
        ("coupling_batch", None, [0, "64"]),
        ("hold_decay", True, ["true", 1]),
        ("batch.shape", "exponential", ["zigzag"]),
        ("batch.min", None, [0, 1_048_577]),
        ("batch.noise_memory", 0.0, [1.0, -0.1]),
        ("batch.stages", ((0, 1), (5, 2)), [((0, 0),), ((-1, 5),), ((0, 1, 2),), 3]),
    ],
)
def test_one_keys_values_are_checked(key: str, good: Any, bad: list[Any]) -> None:
    adapter(key).validate_python(good)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter(key).validate_python(value)


def test_the_words_that_a_key_can_have() -> None:
    words = {key: hyperparameters.choices_of(field) for key, field in fields().items()}
    assert words["coupling"] == ("none", "linear", "sqrt")
    assert words["batch.direction"] == ("rising", "falling")
    assert "noise_scale" in words["batch.shape"]
    assert [key for key in fields() if words[key]] == [
        "coupling",
        "batch.shape",
        "batch.direction",
        "batch.clock",
    ]


def test_a_shape_has_one_spelling_and_nothing_else_is_respelt() -> None:
    assert hyperparameters.normalize("batch.shape", "exponential") == "geometric"
    assert hyperparameters.normalize("batch.shape", "linear") == "linear"
    assert hyperparameters.normalize("batch.shape", 3) == 3
    assert hyperparameters.normalize("coupling", "exponential") == "exponential"


def test_hyperparameters_can_be_keys_and_cannot_be_changed() -> None:
    assert {from_flat(LINEAR): 1}[from_flat(LINEAR)] == 1
    with pytest.raises(ValidationError):
        setattr(Hyperparameters(), "depth", 3)  # noqa: B010


@pytest.mark.parametrize(
    "flat",
    [{"dept": 3}, {"batch.maximum": 3}, {"depth": 0}, {"max": 3}, {"depth": "3"}, {"weight_decay": float("nan")}],
    ids=str,
)
def test_a_configuration_with_unknown_keys_or_bad_values_is_refused(flat: Flat) -> None:
    with pytest.raises(ValidationError):
        from_flat(flat)


@pytest.mark.parametrize("flat", [{"optimiser.depth": 3}, {"batch.batch.max": 3}, {"batch": 3}], ids=str)
def test_a_key_in_an_unknown_section_is_refused(flat: Flat) -> None:
    with pytest.raises(ValidationError):
        from_flat(flat)


_values = {
    "depth": st.integers(1, 3),
    "width": st.sampled_from([64, 128]),
    "learning_rate": st.sampled_from([1e-3, 2e-3]),
    "betas": st.sampled_from([(0.9, 0.98), (0.9, 0.99)]),
    "weight_decay": st.sampled_from([0.0, 0.5, 1]),
    "warmup_steps": st.sampled_from([0, 1, 50]),
    "coupling": st.sampled_from(["none", "linear", "sqrt"]),
    "coupling_batch": st.sampled_from([None, 16, 64]),
    "hold_decay": st.booleans(),
    "batch.shape": st.sampled_from(["constant", "linear", "geometric", "polynomial", "cyclic", "step", "doubling"]),
    "batch.min": st.sampled_from([16, 32, 64]),
    "batch.max": st.sampled_from([64, 128]),
    "batch.direction": st.sampled_from(["rising", "falling"]),
    "batch.clock": st.sampled_from(["steps", "examples"]),
    "batch.period": st.sampled_from([100, 50, 1000]),
    "batch.every": st.sampled_from([1, 10, 200]),
    "batch.power": st.sampled_from([1, 2.0]),
    "batch.cycles": st.sampled_from([1, 5]),
    "batch.doubling_steps": st.sampled_from([10, 30, 1000]),
    "batch.stages": st.sampled_from([((0, 64),), ((0, 16), (10, 32), (20, 64)), ((0, 64), (50, 64), (200, 16))]),
}
_flats = st.fixed_dictionaries(_values)


@given(_flats)
@settings(deadline=None, max_examples=40)
def test_flat_and_back(flat: Flat) -> None:
    found = from_flat(flat)
    assert to_flat(found) == DEFAULTS | flat
    assert from_flat(to_flat(found)) == found


def training_of(s: Hyperparameters) -> tuple[Any, ...]:
    """All that training reads of hyperparameters whose schedule does not measure."""
    course = Course([s], HORIZON)
    arrays = (course.sizes.tolist(), course.rates.tolist(), course.decays.tolist())
    return (s.depth, s.width, s.heads, s.feedforward, s.betas, s.epsilon, *arrays)


@given(_flats, st.data())
@settings(deadline=None, max_examples=40)
def test_whatever_changes_training_changes_the_identity(flat: Flat, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(_values)), min_size=1, max_size=3, unique=True))
    one, other = from_flat(flat), from_flat(flat | {key: data.draw(_values[key]) for key in keys})
    if training_of(one) != training_of(other):
        assert identity(one, HORIZON) != identity(other, HORIZON)


@given(_flats)
@settings(deadline=None, max_examples=40)
def test_the_canonical_form_trains_the_same_and_is_its_own_canonical_form(flat: Flat) -> None:
    plain = hyperparameters.canonical_form(from_flat(flat), HORIZON)
    assert training_of(plain) == training_of(from_flat(flat))
    assert hyperparameters.canonical_form(plain, HORIZON) == plain
    assert identity(plain, HORIZON) == identity(from_flat(flat), HORIZON)


DOUBLING: Flat = {"batch.shape": "doubling", "batch.min": 16, "batch.max": 64, "batch.doubling_steps": 10}
STEPS: Flat = {"batch.shape": "step", "batch.stages": ((0, 16), (10, 32), (20, 64))}
NOISE: Flat = {"batch.shape": "noise_scale", "batch.min": 16, "batch.max": 64}
SAME = {
    "step and doubling": (DOUBLING, STEPS),
    "step and falling doubling": (
        DOUBLING | {"batch.direction": "falling"},
        {"batch.shape": "step", "batch.stages": ((0, 64), (10, 32), (20, 16))},
    ),
    "a sample ramp that never leaves its first size": (
        {"batch.shape": "sample_ramp", "batch.min": 16, "batch.period": 10**6},
        {"batch.max": 16},
    ),
    "an alias": (LINEAR | {"batch.shape": "exponential"}, LINEAR | {"batch.shape": "geometric"}),
    "a polynomial of power 1": (LINEAR | {"batch.shape": "polynomial", "batch.power": 1}, LINEAR),
    "the horizon as period": (LINEAR, LINEAR | {"batch.period": HORIZON}),
    "min equal to max": (LINEAR | {"batch.min": 64}, {"batch.max": 64}),
    "no min": ({"batch.max": 64, "batch.min": 16}, {"batch.max": 64}),
    "one stage": ({"batch.shape": "step", "batch.stages": ((0, 64),)}, {"batch.max": 64}),
    "stages that change nothing": (STEPS, STEPS | {"batch.stages": ((0, 16), (5, 16), (10, 32), (20, 64), (100, 1))}),
    "changes after the horizon": (LINEAR | {"batch.every": HORIZON}, {"batch.max": 16}),
    "settings of another shape": (LINEAR, LINEAR | {"batch.cycles": 3, "batch.stages": ((0, 5),)}),
    "coupling to a batch that is the reference": ({"coupling": "sqrt", "hold_decay": True}, {}),
    "a reference without coupling": ({"coupling_batch": 7, "hold_decay": True}, {}),
    "the largest batch as reference": (COUPLED | {"coupling_batch": 64}, COUPLED | {"coupling_batch": None}),
    "whole numbers": ({"weight_decay": 1}, {"weight_decay": 1.0}),
    "the decay held where there is none": (
        COUPLED | {"weight_decay": 0.0},
        COUPLED | {"weight_decay": 0.0, "hold_decay": True},
    ),
    "coupling to a schedule that stays at the reference": (
        {"coupling": "linear", "coupling_batch": 16, "batch.max": 16},
        {"coupling": "linear", "coupling_batch": 16} | LINEAR | {"batch.every": HORIZON},
    ),
    "noise scale with settings of another shape": (NOISE, NOISE | {"batch.direction": "falling", "batch.power": 3.0}),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_two_spellings_of_the_same_training_share_an_identity(one: Flat, other: Flat) -> None:
    first, second = (hyperparameters.canonical_form(from_flat(flat), HORIZON) for flat in (one, other))
    assert training_of(first) == training_of(second)
    assert identity(from_flat(one), HORIZON) == identity(from_flat(other), HORIZON)


def test_every_setting_that_matters_gives_another_identity() -> None:
    base = COUPLED | {"batch.shape": "polynomial", "batch.every": 7}
    changes: list[Flat] = [
        {},
        {"depth": 3},
        {"width": 64},
        {"heads": 8},
        {"feedforward": 2},
        {"learning_rate": 1.1e-3},
        {"betas": (0.9, 0.981)},
        {"betas": (0.91, 0.98)},
        {"epsilon": 1e-7},
        {"weight_decay": 0.51},
        {"warmup_steps": 49},
        {"coupling": "sqrt"},
        {"coupling": "none"},
        {"coupling_batch": 33},
        {"hold_decay": True},
        {"batch.shape": "linear"},
        {"batch.shape": "geometric"},
        {"batch.shape": "logarithmic"},
        {"batch.shape": "cosine"},
        {"batch.shape": "cyclic"},
        {"batch.shape": "cyclic", "batch.cycles": 4},
        {"batch.shape": "logarithmic", "batch.curvature": 50.0},
        {"batch.shape": "doubling", "batch.doubling_steps": 30},
        {"batch.shape": "doubling", "batch.doubling_steps": 31},
        {"batch.shape": "sample_ramp", "batch.period": 2000, "batch.increment": 8},
        {"batch.shape": "sample_ramp", "batch.period": 2000, "batch.increment": 16},
        {"batch.shape": "step", "batch.stages": ((0, 16), (50, 64))},
        {"batch.shape": "step", "batch.stages": ((0, 16), (51, 64))},
        {"batch.shape": "noise_scale"},
        {"batch.shape": "noise_scale", "batch.noise_fraction": 2.0},
        {"batch.shape": "noise_scale", "batch.noise_memory": 0.8},
        {"batch.shape": "noise_scale", "batch.every": 8},
        {"batch.shape": "noise_scale", "batch.min": 18},
        {"batch.shape": "noise_scale", "batch.max": 66},
        {"batch.shape": "constant"},
        {"batch.min": 17},
        {"batch.max": 65},
        {"batch.direction": "falling"},
        {"batch.clock": "examples", "batch.period": 2000},
        {"batch.period": 50},
        {"batch.every": 10},
        {"batch.power": 3.0},
    ]
    found = [(identity(from_flat(base | change), HORIZON), change) for change in changes]
    assert [(one, other) for (i, one), (j, other) in combinations(found, 2) if i == j] == []


def test_an_identity_is_sixteen_hexadecimal_digits() -> None:
    assert len(identity(Hyperparameters(), 7500)) == 16
    assert int(identity(Hyperparameters(), 7500), 16) > 0


def test_the_canonical_form_is_the_plainest_spelling() -> None:
    wordy = {"batch.shape": "linear", "batch.min": 64, "batch.max": 64, "batch.cycles": 3, "coupling_batch": 9}
    assert hyperparameters.canonical_form(from_flat(wordy), HORIZON) == from_flat({"batch.max": 64})
    coupled = COUPLED | {"coupling_batch": None, "batch.direction": "falling"}
    expected = coupled | {"coupling_batch": 64, "batch.period": HORIZON}
    assert hyperparameters.canonical_form(from_flat(coupled), HORIZON) == from_flat(expected)


def test_coupling_a_constant_batch_to_another_reference_is_kept() -> None:
    plain = hyperparameters.canonical_form(from_flat({"coupling": "linear", "coupling_batch": 256}), HORIZON)
    assert plain == from_flat({"coupling": "linear", "coupling_batch": 256})
    assert plain.reference_batch == 256
    assert Hyperparameters(batch=BatchSchedule(max=64)).reference_batch == 64


NOT_USED_BY_CONSTANT = dict.fromkeys([key for key in DEFAULTS if key.startswith("batch.")]) | {
    "batch.shape": "constant",
    "coupling_batch": None,
    "hold_decay": None,
}


@pytest.mark.parametrize(
    ("flat", "shown"),
    [
        ({}, {"batch.max": 512}),
        ({"depth": 3, "batch.max": 64, "hold_decay": True, "coupling_batch": 9}, {"depth": 3, "batch.max": 64}),
        (
            COUPLED | {"batch.shape": "logarithmic", "batch.power": 3.0},
            COUPLED
            | {
                "batch.shape": "logarithmic",
                "batch.direction": "rising",
                "batch.clock": "steps",
                "batch.period": HORIZON,
                "batch.every": 10,
                "batch.curvature": 100.0,
                "hold_decay": False,
            },
        ),
        (STEPS, STEPS),
        (
            NOISE,
            NOISE | {"batch.every": 10, "batch.noise_fraction": 1.0, "batch.noise_memory": 0.9},
        ),
    ],
    ids=["constant", "unused settings", "coupled logarithmic", "step", "noise scale"],
)
def test_people_and_tables_see_only_what_has_an_effect(flat: Flat, shown: Flat) -> None:
    plain = hyperparameters.canonical_form(from_flat(flat), HORIZON)
    assert hyperparameters.described(plain) == DEFAULTS | NOT_USED_BY_CONSTANT | shown


@pytest.mark.parametrize(
    ("flat", "found"),
    [
        ({}, []),
        ({"heads": 8}, []),
        ({"heads": 3}, [("heads", "3 heads do not divide width 128; the nearest that do: [1, 2, 4, 8]")]),
        ({"heads": 100}, [("heads", "100 heads do not divide width 128; the nearest that do: [16, 32, 64, 128]")]),
        ({"heads": 5, "width": 7}, [("heads", "5 heads do not divide width 7; the nearest that do: [1, 7]")]),
        ({"heads": 9, "width": 8}, [("heads", "9 heads do not divide width 8; the nearest that do: [1, 2, 4, 8]")]),
        (
            {"heads": 3, "batch.shape": "linear", "batch.min": 600},
            [
                ("batch.min", "600 is larger than batch.max (512)"),
                ("heads", "3 heads do not divide width 128; the nearest that do: [1, 2, 4, 8]"),
            ],
        ),
        (
            {"batch.shape": "sample_ramp"},
            [
                ("batch.min", "missing: a sample_ramp schedule moves between batch.min and batch.max"),
                ("batch.period", "missing: on the examples clock, give the number of examples the schedule runs over"),
            ],
        ),
        (
            {"batch.shape": "step"},
            [("batch.stages", "got steps []; list them from 0 upwards, as in [[0, 32], [1000, 64]]")],
        ),
    ],
    ids=str,
)
def test_settings_that_are_legal_alone_but_not_together_are_all_named(flat: Flat, found: list[tuple[str, str]]) -> None:
    assert hyperparameters.conflicts(from_flat(flat)) == found


def test_the_course_of_the_defaults_is_the_published_one() -> None:
    course = Course([Hyperparameters()], 100)
    rates = 1e-3 * np.minimum(np.arange(100) / 50, 1)
    np.testing.assert_allclose(course.rates[0], rates, rtol=1e-12)
    np.testing.assert_allclose(course.decays[0], 0.5 * rates, rtol=1e-12)
    assert (course.sizes == 512).all()
