"""Legal configurations by construction, over whole small spaces and random points of large ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sweeper.space import hyperparameters
from sweeper.space.parameters import Choice, Float, Int, Parameter
from sweeper.space.space import Space

Values = dict[str, Any]
PARAMETER: TypeAdapter[Any] = TypeAdapter(Parameter)
some = settings(deadline=None, max_examples=20)


@dataclass(frozen=True)
class Template:
    """A space, and its conditions and requirements again in Python; `meets` is given every hyperparameter."""

    search: dict[str, dict[str, Any]]
    fixed: Values
    require: tuple[str, ...]
    active: Callable[[Values], set[str]]
    meets: Callable[[Values], bool] = lambda _: True

    @cached_property
    def space(self) -> Space:
        return space_of(self.search, self.fixed, *self.require)

    def legal(self, values: Values) -> bool:
        flat = hyperparameters.to_flat(self.space.settings(values))
        ours = flat | values
        return (
            values.keys() == self.active(flat | values)
            and all(value in self.allowed(key) for key, value in values.items())
            and not hyperparameters.conflicts(self.space.settings(values))
            and self.meets(ours)
        )

    def allowed(self, key: str) -> Any:
        match self.search[key]:
            case {"choice": values}:
                return values
            case {"int": (low, high)} as written:
                return range(low, high + 1, written.get("step", 1))
            case {"float": (low, high)} as written:
                return Interval(low, high, written.get("step"))


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    step: float | None

    def __contains__(self, value: float) -> bool:
        steps = 0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-6


def space_of(search: dict[str, dict[str, Any]], fixed: Values | None = None, *require: str) -> Space:
    parameters = {key: PARAMETER.validate_python(written) for key, written in search.items()}
    return Space(parameters, fixed or {}, require, 100)


def everywhere(search: dict[str, dict[str, Any]]) -> Callable[[Values], set[str]]:
    return lambda _: set(search)


def coordinates(search: dict[str, dict[str, Any]]) -> st.SearchStrategy[Values]:
    def of(written: dict[str, Any]) -> st.SearchStrategy[Any]:
        match written:
            case {"choice": values}:
                return st.integers(0, len(values) - 1)
            case {"int": (low, high)}:
                step = written.get("step", 1)
                return st.integers(0, (high - low) // step).map(lambda i: low + i * step)
            case {"float": _, "step": _}:
                return st.sampled_from(PARAMETER.validate_python(written).grid())
            case {"float": (low, high)}:
                return st.floats(low, high)
        raise AssertionError(written)

    return st.fixed_dictionaries({key: of(written) for key, written in search.items()})


PUBLISHED = {
    "batch.shape": {"choice": ["constant", "linear", "geometric", "logarithmic", "doubling", "cyclic"]},
    "batch.min": {"int": [16, 256], "log": True, "when": "batch.shape != constant"},
    "batch.max": {"int": [64, 1024], "log": True},
    "batch.cycles": {"int": [1, 8], "when": "batch.shape == cyclic"},
    "weight_decay": {"float": [0.01, 0.1], "log": True},
    "depth": {"int": [1, 4]},
    "heads": {"choice": [1, 2, 4, 8]},
}
WIDTHS = {"width": {"int": [16, 64], "step": 6}, "heads": {"choice": [1, 3, 4, 5, 7]}}
TAXED = {"learning_rate": {"float": [1e-4, 1e-1], "log": True}, "weight_decay": {"float": [0.0, 2.0]}}
THREE = {"depth": {"int": [1, 6]}, "heads": {"choice": [1, 2, 4, 8]}, "feedforward": {"int": [1, 9]}}
CHAIN = {
    "hold_decay": {"choice": [False, True], "when": "coupling_batch > 100"},
    "coupling_batch": {"int": [64, 200], "when": "coupling in [linear, sqrt]"},
    "coupling": {"choice": ["none", "linear", "sqrt"]},
}
STEPPED = {"weight_decay": {"float": [0.1, 0.3], "step": 0.1}, "learning_rate": {"float": [0.25, 2.0], "step": 0.25}}
WIDE = {"warmup_steps": {"int": [0, 100_000]}, "width": {"int": [8, 8192]}, "heads": {"choice": [1, 3, 8]}}
STRIDE = {"warmup_steps": {"int": [0, 100_000], "step": 7}}
CONDITIONAL_HEADS = {"width": {"choice": [126, 128, 130]}, "heads": {"choice": [1, 3], "when": "width == 126"}}
CONDITIONAL_MAX = {
    "coupling": {"choice": ["none", "linear"]},
    "batch.min": {"choice": [8, 600]},
    "batch.max": {"choice": [700, 800], "when": "coupling == linear"},
}
TENS = {"warmup_steps": {"int": [0, 10_000]}}


def published_keys(values: Values) -> set[str]:
    moving = {"batch.min"} if values["batch.shape"] != "constant" else set()
    cycling = {"batch.cycles"} if values["batch.shape"] == "cyclic" else set()
    return PUBLISHED.keys() - {"batch.min", "batch.cycles"} | moving | cycling


def chained_keys(values: Values) -> set[str]:
    if values["coupling"] == "none":
        return {"coupling"}
    return set(CHAIN) if (values["coupling_batch"] or 0) > 100 else {"coupling", "coupling_batch"}


TEMPLATES = {
    "published": Template(PUBLISHED, {"width": 128}, (), published_keys),
    "heads divide a searched width": Template(WIDTHS, {}, (), everywhere(WIDTHS)),
    "a product of two floats": Template(
        TAXED,
        {},
        ("learning_rate * weight_decay <= 1e-3",),
        everywhere(TAXED),
        lambda v: v["learning_rate"] * v["weight_decay"] <= 1e-3,
    ),
    "a sum of three": Template(
        THREE,
        {},
        ("depth + heads + feedforward == 12", "depth != 2 or heads == 4"),
        everywhere(THREE),
        lambda v: v["depth"] + v["heads"] + v["feedforward"] == 12 and (v["depth"] != 2 or v["heads"] == 4),
    ),
    "conditions on conditions, listed backwards": Template(CHAIN, {}, (), chained_keys),
    "stepped floats": Template(STEPPED, {}, (), everywhere(STEPPED)),
    "wide ints": Template(
        WIDE,
        {},
        ("warmup_steps <= 50 * width",),
        everywhere(WIDE),
        lambda v: v["warmup_steps"] <= 50 * v["width"],
    ),
    "a wide int with a step": Template(
        STRIDE, {}, ("warmup_steps >= 50000",), everywhere(STRIDE), lambda v: v["warmup_steps"] >= 50_000
    ),
    "a wide int between whose tried values the requirement fails": Template(
        TENS, {}, ("warmup_steps % 10 == 0",), everywhere(TENS), lambda v: v["warmup_steps"] % 10 == 0
    ),
    "heads that are 4 where they are not searched": Template(
        CONDITIONAL_HEADS, {}, (), lambda v: {"width", "heads"} if v["width"] == 126 else {"width"}
    ),
    "a largest batch that is 512 where it is not searched": Template(
        CONDITIONAL_MAX,
        {"batch.shape": "linear"},
        (),
        lambda v: CONDITIONAL_MAX.keys() - ({"batch.max"} if v["coupling"] == "none" else set()),
    ),
}
each_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


@each_template
@given(data=st.data())
@some
def test_every_point_decodes_to_a_legal_configuration(template: Template, data: st.DataObject) -> None:
    values = template.space.decode(data.draw(coordinates(template.search)))
    assert template.legal(values), values


def assert_is_point(template: Template, point: Values) -> None:
    assert point.keys() == template.search.keys()
    for key, written in template.search.items():
        assert point[key] in (range(len(written["choice"])) if "choice" in written else template.allowed(key))


@pytest.mark.slow
@each_template
@given(data=st.data())
@some
def test_a_decoded_configuration_encodes_to_a_point_that_decodes_to_it(template: Template, data: st.DataObject) -> None:
    space = template.space
    values = space.decode(data.draw(coordinates(template.search)))
    point = space.encode(values)
    assert point is not None
    assert_is_point(template, point)
    assert space.decode(point) == values
    inactive = {key: 1 for key in template.search if key not in values}
    assert space.encode(values | inactive) == point


@each_template
@given(data=st.data())
@some
def test_a_parameter_that_no_requirement_mentions_is_taken_as_it_stands(
    template: Template, data: st.DataObject
) -> None:
    point = data.draw(coordinates(template.search))
    free = {key for key in point if not any(key in r.names for r in template.space.requirements)}
    decoded = template.space.decode(point)
    for key in free & decoded.keys():
        written = template.search[key]
        assert decoded[key] == (written["choice"][point[key]] if "choice" in written else point[key])


SMALL = {
    "heads and widths": Template(
        {"width": {"choice": [6, 8, 9, 10]}, "heads": {"int": [1, 6]}}, {}, (), everywhere({"width": 0, "heads": 0})
    ),
    "smallest and largest batch": Template(
        {"batch.min": {"choice": [16, 32, 64]}, "batch.max": {"choice": [64, 16, 32]}},
        {"batch.shape": "linear"},
        (),
        everywhere({"batch.min": 0, "batch.max": 0}),
    ),
    "a sum of three": TEMPLATES["a sum of three"],
    "conditions on conditions": Template(
        CHAIN | {"coupling_batch": {"int": [98, 103], "when": "coupling in [linear, sqrt]"}}, {}, (), chained_keys
    ),
    "a condition and a requirement": Template(
        {
            "batch.shape": {"choice": ["constant", "linear"]},
            "batch.max": {"int": [2, 5]},
            "batch.min": {"int": [1, 6], "when": "batch.shape == linear"},
        },
        {},
        ("batch.max != 4",),
        lambda v: {"batch.shape", "batch.max"} | ({"batch.min"} if v["batch.shape"] == "linear" else set()),
        lambda v: v["batch.max"] != 4,
    ),
    "stepped ints": Template({"depth": {"int": [1, 10], "step": 4}}, {}, (), everywhere({"depth": 0})),
}
each_small = pytest.mark.parametrize("template", SMALL.values(), ids=SMALL)


def every_legal(template: Template) -> set[tuple[tuple[str, Any], ...]]:
    """By trying all: each parameter absent or at each of its values."""
    absent = object()
    found = set()
    for point in product(*([absent, *template.allowed(key)] for key in template.search)):
        values = {key: value for key, value in zip(template.search, point, strict=True) if value is not absent}
        if template.legal(values):
            found.add(tuple(sorted(values.items())))
    return found


def every_point(template: Template) -> list[Values]:
    ranges = [
        range(len(written["choice"])) if "choice" in written else template.allowed(key)
        for key, written in template.search.items()
    ]
    return [dict(zip(template.search, point, strict=True)) for point in product(*ranges)]


@each_small
def test_decoding_every_point_of_a_small_space_finds_every_legal_configuration_and_no_other(
    template: Template,
) -> None:
    space = template.space
    decoded = {tuple(sorted(space.decode(point).items())) for point in every_point(template)}
    legal = every_legal(template)
    assert len(legal) > 2
    assert decoded == legal


@each_small
def test_the_grid_lists_every_configuration_once(template: Template) -> None:
    listed = [tuple(sorted(values.items())) for values in template.space.grid(10_000) or ()]
    assert set(listed) == every_legal(template)
    assert len(listed) == len(set(listed))


def test_the_grid_of_stepped_floats_and_of_nothing() -> None:
    floats = space_of({"weight_decay": {"float": [0.0, 1.0], "step": 0.5}, "depth": {"int": [1, 2]}})
    assert list(floats.grid(6) or ()) == [
        {"weight_decay": decay, "depth": depth} for decay in (0.0, 0.5, 1.0) for depth in (1, 2)
    ]
    assert list(space_of({}).grid(1) or ()) == [{}]


def test_there_is_no_grid_over_the_limit_or_of_a_continuous_parameter() -> None:
    assert space_of({"depth": {"int": [1, 4]}, "width": {"int": [1, 25]}}).grid(99) is None
    assert space_of({"weight_decay": {"float": [0.0, 1.0]}}).grid(10**9) is None


def test_the_grid_of_a_wide_int_misses_no_value() -> None:
    listed = space_of({"warmup_steps": {"int": [0, 5000]}}).grid(10_000)
    assert listed is not None
    assert [values["warmup_steps"] for values in listed] == list(range(5001))


def test_a_parameter_that_does_not_apply_is_left_out_and_one_whose_condition_is_on_a_fixed_value_too() -> None:
    space = space_of(PUBLISHED | {"batch.power": {"float": [0.5, 2.0], "when": "width > 200"}}, {"width": 128})
    point = {"batch.shape": 0, "batch.min": 16, "batch.max": 64, "batch.cycles": 3, "weight_decay": 0.05}
    point |= {"depth": 2, "heads": 1, "batch.power": 1.0}
    rest = {"batch.max": 64, "weight_decay": 0.05, "depth": 2, "heads": 2}
    assert space.decode(point) == {"batch.shape": "constant"} | rest
    assert space.decode(point | {"batch.shape": 1}) == {"batch.shape": "linear", "batch.min": 16} | rest
    assert (
        space.decode(point | {"batch.shape": 5})
        == {
            "batch.shape": "cyclic",
            "batch.min": 16,
            "batch.cycles": 3,
        }
        | rest
    )


def test_a_condition_on_a_parameter_that_does_not_apply_does_not_hold() -> None:
    space = space_of(CHAIN)
    assert space.decode({"coupling": 0, "coupling_batch": 200, "hold_decay": 1}) == {"coupling": "none"}


def test_a_condition_does_not_hold_of_the_default_of_a_parameter_that_does_not_apply() -> None:
    space = space_of(
        {
            "coupling": {"choice": ["none", "linear"]},
            "heads": {"choice": [4, 8], "when": "coupling == linear"},
            "depth": {"int": [1, 3], "when": "heads == 4"},
        }
    )
    point = {"coupling": 0, "heads": 0, "depth": 3}
    assert space.decode(point) == {"coupling": "none"}
    assert space.decode(point | {"coupling": 1}) == {"coupling": "linear", "heads": 4, "depth": 3}
    assert space.encode({"coupling": "none", "heads": 4, "depth": 3}) == {"coupling": 0, "heads": 1, "depth": 2}


def test_choices_that_are_neither_all_numbers_nor_all_words_take_part_in_requirements() -> None:
    values = [None, 64, 512]
    space = space_of({"coupling_batch": {"choice": values}}, {}, "coupling_batch != 64")
    assert [space.decode({"coupling_batch": index})["coupling_batch"] for index in (0, 2)] == [None, 512]
    assert space.impossible_values("coupling_batch") == [64]


def test_a_restricted_number_moves_to_the_same_relative_position_among_its_legal_values() -> None:
    space = space_of({"batch.max": {"int": [1, 100]}}, {"batch.shape": "linear", "batch.min": 51})
    decoded = [space.decode({"batch.max": index})["batch.max"] for index in (1, 2, 50, 99, 100)]
    assert decoded == [51, 51, 75, 100, 100]


def test_the_nearest_legal_value_is_taken_where_the_relative_position_leads_nowhere() -> None:
    # Width 10 is found to be a dead end only when depth has no value left: the requirement names three parameters.
    space = space_of(
        {"width": {"choice": [8, 9, 10]}, "depth": {"choice": [1]}, "heads": {"choice": [2]}},
        {},
        "depth + heads + width != 13",
    )
    assert {space.decode({"width": index, "depth": 0, "heads": 0})["width"] for index in range(3)} == {8}


def test_requirements_are_looked_ahead_one_parameter() -> None:
    space = space_of({"width": {"choice": [126, 127, 128]}, "heads": {"choice": [3, 4]}})
    assert space.impossible_values("width") == [127]
    assert space.impossible_values("heads") == []
    point = {"width": 2, "heads": 0}
    assert space.decode(point) == {"width": 128, "heads": 4}
    assert space.decode(point | {"width": 0}) == {"width": 126, "heads": 3}


@pytest.mark.parametrize(
    ("search", "fixed", "require", "key", "values"),
    [
        ({"heads": {"choice": [1, 3, 4, 5]}}, {"width": 128}, (), "heads", [3, 5]),
        ({"heads": {"choice": [3, 5, 8]}}, {}, (), "heads", [3, 5]),
        ({"heads": {"choice": [3, 5, 8]}, "width": {"choice": [64, 96]}}, {}, (), "heads", [5]),
        ({"batch.max": {"choice": [16, 32, 64]}}, {"batch.min": 32}, (), "batch.max", [16]),
        ({"batch.min": {"choice": [16, 1024]}}, {}, (), "batch.min", [1024]),
        ({"depth": {"choice": [1, 2, 3]}}, {}, ("depth % 2 == 1", "depth > 1"), "depth", [1, 2]),
        (
            {"batch.shape": {"choice": ["linear", "cyclic"]}},
            {},
            ("batch.shape != cyclic",),
            "batch.shape",
            ["cyclic"],
        ),
        ({"depth": {"choice": [1, 2]}, "width": {"int": [8, 8]}}, {}, (), "depth", []),
    ],
)
def test_impossible_values_of_a_choice(
    search: dict[str, dict[str, Any]], fixed: Values, require: tuple[str, ...], key: str, values: list[Any]
) -> None:
    assert space_of(search, fixed, *require).impossible_values(key) == values


@pytest.mark.parametrize(
    ("search", "fixed", "require"),
    [
        ({"heads": {"choice": [3, 5]}}, {"width": 128}, ()),
        ({"heads": {"choice": [3]}, "width": {"choice": [4, 5]}}, {}, ()),
        ({"batch.min": {"int": [65, 80]}, "batch.max": {"int": [16, 64]}}, {}, ()),
        ({"depth": {"int": [1, 4]}}, {}, ("depth > 4",)),
        ({"depth": {"int": [1, 4]}, "heads": {"int": [1, 4]}}, {}, ("depth + heads + feedforward > 99",)),
    ],
)
def test_a_space_with_no_legal_configuration_says_so(
    search: dict[str, dict[str, Any]], fixed: Values, require: tuple[str, ...]
) -> None:
    space = space_of(search, fixed, *require)
    point = {key: 0 if "choice" in written else written["int"][0] for key, written in search.items()}
    with pytest.raises(ValueError, match="no configuration meets every requirement"):
        space.decode(point)


def test_a_vast_space_with_no_legal_configuration_says_so_too() -> None:
    keys = ("depth", "feedforward", "warmup_steps", "coupling_batch", "batch.cycles", "batch.every")
    wide: dict[str, dict[str, Any]] = {key: {"int": [1, 60]} for key in keys}
    space = space_of(wide, {}, f"{' + '.join(keys)} > 999")
    with pytest.raises(ValueError, match="no configuration meets every requirement"):
        space.decode(dict.fromkeys(wide, 1))


@pytest.mark.parametrize(
    ("whens", "cycle"),
    [
        (("heads == 1", "depth == 1", None), "depth, heads"),
        (("heads == 1", "width == 1", "depth == 1"), "depth, heads, width"),
        ((None, None, "width == 1"), "width"),
        (("depth == 1 or heads == 1", None, None), "depth"),
    ],
)
def test_conditions_that_form_a_cycle_are_a_value_error(whens: tuple[str | None, ...], cycle: str) -> None:
    keys = ("depth", "heads", "width")
    space = space_of({key: {"choice": [1], "when": when} for key, when in zip(keys, whens, strict=True)})
    with pytest.raises(ValueError, match=f"the conditions of {cycle} form a cycle"):
        _ = space.order


def test_parameters_are_ordered_as_written_but_for_those_that_wait_for_others() -> None:
    assert space_of(PUBLISHED).order == tuple(PUBLISHED)
    assert space_of(CHAIN | {"depth": {"int": [1, 2]}}).order == ("coupling", "coupling_batch", "hold_decay", "depth")


@pytest.mark.parametrize(
    "values",
    [
        {"depth": 5, "heads": 2},
        {"depth": 0, "heads": 2},
        {"depth": "2", "heads": 2},
        {"depth": 2.5, "heads": 2},
        {"depth": True, "heads": 2},
        {"depth": 2, "heads": 3},
        {"depth": 2, "heads": True},
        {"depth": 2, "heads": None},
        {"depth": 2, "heads": 2, "weight_decay": 0.11},
        {"depth": 2, "heads": 2, "weight_decay": 0.009},
    ],
    ids=str,
)
def test_values_outside_their_ranges_have_no_point(values: Values) -> None:
    search = {key: PUBLISHED[key] for key in ("depth", "weight_decay")} | {"heads": {"choice": [1, 2]}}
    assert space_of(search).encode({"weight_decay": 0.1} | values) is None


def test_values_between_the_steps_of_a_range_have_no_point() -> None:
    space = space_of({"depth": {"int": [1, 9], "step": 4}, "weight_decay": {"float": [0.0, 1.0], "step": 0.25}})
    assert space.encode({"depth": 5, "weight_decay": 0.75}) == {"depth": 5, "weight_decay": 0.75}
    assert space.encode({"depth": 6, "weight_decay": 0.75}) is None
    assert space.encode({"depth": 5, "weight_decay": 0.7}) is None
    assert space_of(STRIDE).encode({"warmup_steps": 77}) == {"warmup_steps": 77}
    assert space_of(STRIDE).encode({"warmup_steps": 78}) is None


@pytest.mark.parametrize("values", [{"batch.min": 64, "batch.max": 16}, {"batch.min": 32, "batch.max": 16}], ids=str)
def test_values_that_break_a_requirement_have_no_point(values: Values) -> None:
    sizes = {"choice": [16, 32, 64]}
    assert space_of({"batch.min": sizes, "batch.max": sizes}, {"batch.shape": "linear"}).encode(values) is None


@each_small
@given(data=st.data())
@some
def test_a_point_decodes_to_the_values_it_was_encoded_from(template: Template, data: st.DataObject) -> None:
    values = {key: data.draw(st.sampled_from(list(template.allowed(key)))) for key in template.search}
    space = template.space
    point = space.encode(values)
    if point is not None:
        decoded = space.decode(point)
        assert decoded == {key: values[key] for key in decoded}


@given(st.floats(1e-4, 1e-1), st.floats(0.0, 2.0))
@some
def test_real_numbers_that_a_point_cannot_stand_for_have_none(rate: float, decay: float) -> None:
    space = TEMPLATES["a product of two floats"].space
    values = {"learning_rate": rate, "weight_decay": decay}
    point = space.encode(values)
    assert point is None or space.decode(point) == values


def test_aliases_of_shapes_are_shapes_in_choices_and_conditions() -> None:
    power = {"float": [0.5, 2.0]}
    space = space_of(
        {
            "batch.shape": {"choice": ["multistep", "exponential"]},
            "batch.power": power | {"when": "batch.shape == exponential"},
            "batch.curvature": power | {"when": "batch.shape == step"},
        }
    )
    point = {"batch.shape": 1, "batch.power": 1.0, "batch.curvature": 1.5}
    assert space.decode(point) == {"batch.shape": "geometric", "batch.power": 1.0}
    assert space.decode(point | {"batch.shape": 0}) == {"batch.shape": "step", "batch.curvature": 1.5}
    for name in ("exponential", "geometric"):
        found = space.encode({"batch.shape": name, "batch.power": 1.0})
        assert found is not None
        assert space.decode(found) == {"batch.shape": "geometric", "batch.power": 1.0}


def test_settings_are_the_values_over_the_fixed_over_the_defaults_in_canonical_form() -> None:
    space = space_of({"batch.max": {"int": [16, 64]}}, {"batch.shape": "exponential", "batch.min": 8, "depth": 3})
    expected = {"batch.shape": "geometric", "batch.min": 8, "batch.max": 64, "batch.period": 100, "depth": 3}
    assert space.settings({"batch.max": 64}) == hyperparameters.from_flat(expected)
    with pytest.raises(ValidationError):
        space.settings({"batch.max": "64"})


def test_the_values_that_are_tried() -> None:
    assert Choice(choice=("b", 2, None)).grid() == ("b", 2, None)
    assert Int(bounds=(3, 7)).grid() == (3, 4, 5, 6, 7)
    assert Int(bounds=(1, 10), step=4).grid() == (1, 5, 9)
    assert Int(bounds=(5, 5)).grid() == (5,)
    assert Float(bounds=(0.0, 1.0), step=0.25).grid() == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert Float(bounds=(0.0, 1.0), step=0.4).grid() == pytest.approx((0.0, 0.4, 0.8))


@pytest.mark.parametrize("log", [False, True])
def test_a_range_too_wide_to_list_is_tried_at_a_thousand_values_from_end_to_end(log: bool) -> None:
    for grid in (Float(bounds=(0.001, 3.0), log=log).grid(), Int(bounds=(1, 1_000_000), log=log).grid()):
        middle = grid[len(grid) // 2]
        assert 500 < len(grid) <= 1001
        assert list(grid) == sorted(set(grid))
        assert (middle < 0.1 * grid[-1]) == log
    assert Float(bounds=(0.001, 3.0), log=log).grid()[:: len(Float(bounds=(0.001, 3.0)).grid()) - 1] == (0.001, 3.0)
    assert Int(bounds=(1, 1_000_000), log=log).grid()[-1] == 1_000_000


def test_a_stepped_float_never_passes_its_upper_bound() -> None:
    assert Float(bounds=(0.1, 0.3), step=0.1).grid() == pytest.approx((0.1, 0.2, 0.3))
    assert max(Float(bounds=(0.1, 0.3), step=0.1).grid()) <= 0.3


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"choice": []}, "at least 1 item"),
        ({"choice": [1, 2, 1]}, "list each value once"),
        ({"int": [4, 1]}, "write the smaller bound first"),
        ({"int": [0, 4], "log": True}, "the logarithm needs bounds above 0"),
        ({"int": [1, 4], "log": True, "step": 2}, "got both log and step"),
        ({"int": [1, 4], "step": 4}, "wider than the range"),
        ({"int": [1, 4], "step": 0}, "greater than or equal to 1"),
        ({"int": [1, 4, 9]}, "at most 2 items"),
        ({"float": [1.0, 0.5]}, "write the smaller bound first"),
        ({"float": [0.0, 0.5], "log": True}, "the logarithm needs bounds above 0"),
        ({"float": [0.1, float("inf")]}, "finite number"),
        ({"float": [0.1, 0.5], "step": 0.0}, "greater than 0"),
        ({"float": [0.1, 0.5], "steps": 0.1}, "Extra inputs"),
        ({"float": [0.0, 1.0], "step": 1e-5}, "which makes 100,000 values"),
        ({"int": [1, 2**53 + 1]}, "less than or equal to"),
        ({"choice": list(range(1001))}, "at most 1000 items"),
        ({"low": 1, "high": 2}, r"write \{choice: \[\.\.\]\}, \{int: \[low, high\]\} or \{float: \[low, high\]\}"),
        (3, r"write \{choice"),
    ],
    ids=str,
)
def test_a_parameter_that_makes_no_sense_is_refused_and_said(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PARAMETER.validate_python(written)


def test_1_and_true_are_different_choices() -> None:
    space = space_of({"hold_decay": {"choice": [False, True]}, "depth": {"choice": [1, 2]}})
    assert space.encode({"hold_decay": True, "depth": 1}) == {"hold_decay": 1, "depth": 0}
    assert space.encode({"hold_decay": 1, "depth": 1}) is None


def test_where_parameters_apply_is_found_for_many_configurations_at_once() -> None:
    parameters = {
        "batch.shape": Choice(choice=("constant", "cyclic", "linear")),
        "batch.cycles": Int(int=(1, 6), when="batch.shape == cyclic"),
        "depth": Int(int=(1, 2)),
        "heads": Choice(choice=(1, 2), when="batch.cycles > 3 and depth == 2"),
    }
    space = Space(parameters, {"width": 4, "batch.min": 8, "batch.max": 16}, (), 1000)
    points = list(product(range(3), range(1, 7), (1, 2), range(2)))
    columns = dict(zip(parameters, zip(*points, strict=True), strict=True))
    values = {key: np.array(column) for key, column in columns.items()}
    values["batch.shape"] = np.array(parameters["batch.shape"].choice, dtype=object)[values["batch.shape"]]
    values["heads"] = np.array([1, 2])[values["heads"]]
    found = space.applicable(values)
    for i, point in enumerate(points):
        decoded = space.decode(dict(zip(parameters, point, strict=True)))
        assert {key for key, applies in found.items() if applies[i]} == decoded.keys() - {"batch.shape", "depth"}
