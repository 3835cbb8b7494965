"""The language of conditions: what holds, alone and on arrays, and everything that it refuses to read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweeper.space.expressions import parse

some = settings(deadline=None, max_examples=60)

KNOWN = ("depth", "heads", "width", "hold_decay", "batch.min", "batch.max", "batch.shape")
VALUES = {
    "depth": 2,
    "heads": 4,
    "width": 128,
    "hold_decay": False,
    "batch.min": 32,
    "batch.max": 512,
    "batch.shape": "linear",
}

TRUE = [
    "depth == 2",
    "depth != 3",
    "depth < 3",
    "depth <= 2",
    "depth > 1.5",
    "depth >= 2",
    "-depth == -2",
    "batch.min <= batch.max",
    "width % heads == 0",
    "width // 3 == 42",
    "depth / heads == 0.5",
    "depth + heads * 2 - 1 == 9",
    "(depth + heads) * 2 == 12",
    "width - depth - heads == 122",
    "batch.shape == linear",
    "batch.shape == 'linear'",
    "batch.shape != constant",
    "linear == batch.shape",
    "batch.shape in [linear, cyclic]",
    "batch.shape in (linear,)",
    "batch.shape not in [constant, 'cyclic']",
    "depth in [1, 2]",
    "depth in [heads, heads / 2]",
    "depth not in [heads]",
    "hold_decay == False",
    "not depth == 3",
    "not hold_decay",
    "hold_decay == false",
    "hold_decay != true",
    "hold_decay in [false, 3]",
    "hold_decay or depth == 2",
    "1 < depth < heads",
    "1 < depth < heads <= 4 != width",
    "batch.min < batch.max > depth",
    "depth == 1 or heads > 2",
    "depth == 2 and heads > 2 and width > 2",
    "depth == 1 and heads == 1 or width == 128",
    "width == 128 or depth == 1 and heads == 1",
    "not (depth == 1 or heads == 1)",
    "not depth == 1 and heads == 4",
    "  depth == 2  ",
]
FALSE = [
    "depth == 3",
    "depth != 2",
    "depth < 2",
    "depth <= 1",
    "depth > 2",
    "depth >= 3",
    "width % 3 == 0",
    "batch.shape == constant",
    "batch.shape == Linear",
    "batch.shape in [constant, cyclic]",
    "batch.shape not in [constant, linear]",
    "depth in [1, 3]",
    "not depth == 2",
    "not not hold_decay",
    "2 < depth < heads",
    "1 < depth < 2",
    "1 < depth < heads < 4",
    "depth == 2 and heads > 4",
    "depth == 1 or heads > 4 or width > 128",
    "(depth == 1 or heads == 4) and width == 1",
    "hold_decay == True",
    "hold_decay == true",
    "hold_decay",
    "hold_decay and depth == 2",
]


@pytest.mark.parametrize(("text", "expected"), [*((t, True) for t in TRUE), *((f, False) for f in FALSE)])
def test_what_holds(text: str, expected: bool) -> None:
    found = parse(text, KNOWN).holds(VALUES)
    assert (found.shape, found.dtype, bool(found)) == ((), np.bool_, expected)


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("depth == 1", {"depth"}, set()),
        ("batch.min <= batch.max", {"batch.min", "batch.max"}, set()),
        ("batch.shape != constant", {"batch.shape"}, {"constant"}),
        ("batch.shape in [linear, 'cyclic', batch.other]", {"batch.shape"}, {"linear", "batch.other"}),
        ("min < depth and not heads * width == depth", {"depth", "heads", "width"}, {"min"}),
    ],
)
def test_a_name_is_a_hyperparameter_where_known_and_otherwise_a_word(
    text: str, names: set[str], words: set[str]
) -> None:
    found = parse(text, KNOWN)
    assert (found.text, found.names, found.words) == (text, names, words)


def test_true_is_a_name_where_a_hyperparameter_has_it() -> None:
    assert parse("true == 3", ["true"]).holds({"true": 3})


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("hold_decay", {"hold_decay"}),
        ("depth == 1", set()),
        ("not (hold_decay or depth) and heads == 1", {"hold_decay", "depth"}),
    ],
)
def test_names_that_stand_where_a_comparison_could(text: str, alone: set[str]) -> None:
    assert parse(text, KNOWN).alone == alone


def test_a_word_stands_for_itself_even_where_a_value_of_that_name_is_given() -> None:
    condition = parse("batch.shape == linear", KNOWN)
    assert condition.holds({"batch.shape": "linear", "linear": "cyclic"})


@pytest.mark.parametrize("text", ["batch.shape == exponential", "batch.shape in [linear, exponential]"])
def test_a_word_may_be_another_spelling(text: str) -> None:
    condition = parse(text, KNOWN, {"exponential": "geometric"})
    assert "exponential" in condition.words
    assert bool(condition.holds({"batch.shape": "geometric"}))
    assert condition.holds({"batch.shape": np.array(["geometric", "constant"])}).tolist() == [True, False]
    assert not parse(text, KNOWN).holds({"batch.shape": "geometric"})


def test_a_quoted_word_may_be_another_spelling_too() -> None:
    condition = parse("batch.shape == 'exponential'", KNOWN, {"exponential": "geometric"})
    assert bool(condition.holds({"batch.shape": "geometric"}))


@pytest.mark.parametrize(
    ("text", "mixed"),
    [
        ("depth == 1", False),
        ("depth == heads + 1", False),
        ("batch.shape == linear", False),
        ("batch.shape == 'linear'", False),
        ("batch.shape in [linear, 'cyclic']", False),
        ("depth == 1 or batch.shape == linear", False),
        ("depth == linear", True),
        ("depth == 'linear'", True),
        ("hold_decay == true", False),
        ("hold_decay == 'true'", True),
        ("batch.shape == 1", True),
        ("batch.shape == depth", True),
        ("batch.shape in [linear, 1]", True),
        ("1 < depth < linear", True),
        ("not (depth == 1 and batch.shape != 2)", True),
    ],
)
def test_text_compared_with_numbers_is_noticed(text: str, mixed: bool) -> None:
    assert parse(text, KNOWN).compares_text_with_number({"batch.shape"}) is mixed


ARRAYS: dict[str, Any] = {
    "depth": np.array([1, 2, 3]),
    "heads": 2,
    "batch.shape": np.array(["linear", "cyclic", "constant"]),
    "width": np.array([64, 96, 130]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("depth == heads", [False, True, False]),
        ("depth != heads", [True, False, True]),
        ("depth * 2 > heads", [False, True, True]),
        ("-depth < -1", [False, True, True]),
        ("width % 32 == 0", [True, True, False]),
        ("width // 32 == depth + 1", [True, True, True]),
        ("width / 32 == depth + 1", [True, True, False]),
        ("1 < depth <= 3", [False, True, True]),
        ("depth in [1, 3]", [True, False, True]),
        ("depth not in [1, 3]", [False, True, False]),
        ("batch.shape in [linear, cyclic]", [True, True, False]),
        ("batch.shape == constant or depth == 1", [True, False, True]),
        ("batch.shape != constant and depth > 1", [False, True, False]),
        ("not depth == 1", [False, True, True]),
        ("heads == 2 and depth == 3", [False, False, True]),
        ("heads == 2 or depth == 3", [True, True, True]),
        ("0 < heads < depth", [False, False, True]),
    ],
)
def test_a_condition_holds_element_by_element(text: str, expected: list[bool]) -> None:
    found = parse(text, KNOWN).holds(ARRAYS)
    assert (found.tolist(), found.dtype) == (expected, np.bool_)


def test_columns_and_rows_broadcast_to_a_table() -> None:
    values = {"depth": np.array([[1], [2], [3]]), "heads": np.array([[1, 2]])}
    assert parse("depth <= heads", KNOWN).holds(values).tolist() == [[True, True], [False, True], [False, False]]
    both = parse("depth <= heads and depth == 1", KNOWN).holds(values)
    assert both.tolist() == [[True, True], [False, False], [False, False]]


@pytest.mark.parametrize("text", ["depth in [heads, 3]", "depth == heads or depth == 3"])
def test_membership_among_hyperparameters_broadcasts_too(text: str) -> None:
    values = {"depth": np.array([[1], [2], [3]]), "heads": np.array([[1, 2]])}
    assert parse(text, KNOWN).holds(values).tolist() == [[True, False], [False, True], [True, True]]


def test_a_value_may_be_looked_for_among_hyperparameters() -> None:
    assert parse("3 in [depth, 5]", KNOWN).holds(ARRAYS).tolist() == [False, False, True]
    assert parse("3 not in [depth, 5]", KNOWN).holds(ARRAYS).tolist() == [True, True, False]


def test_division_by_zero_is_no_error_and_no_warning() -> None:
    assert not parse("heads % depth == 1", KNOWN).holds({"heads": 4, "depth": np.array([0])})
    assert parse("heads / depth > 9", KNOWN).holds({"heads": 4, "depth": 0})


def test_types_that_do_not_compare_are_a_type_error_and_a_missing_value_a_key_error() -> None:
    with pytest.raises(TypeError):
        parse("depth < linear", KNOWN).holds({"depth": 2})
    with pytest.raises(TypeError):
        parse("depth < linear", KNOWN).holds({"depth": np.array([2])})
    with pytest.raises(KeyError, match="heads"):
        parse("depth < heads", KNOWN).holds({"depth": 2})


_numbers = st.integers(-9, 9).map(str) | st.sampled_from(["depth", "heads", "width"])
_terms = st.recursive(
    _numbers,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner)
        | inner.map("(-{})".format)
    ),
    max_leaves=5,
)
_orders = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
_comparisons = (
    st.builds("{} {} {}".format, _terms, _orders, _terms)
    | st.builds("{} {} {} {} {}".format, _terms, _orders, _terms, _orders, _terms)
    | st.builds("{} {} [{}, {}]".format, _terms, st.sampled_from(["in", "not in"]), _terms, _terms)
)
_conditions = st.recursive(
    _comparisons,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner) | inner.map("(not {})".format)
    ),
    max_leaves=4,
)


@pytest.mark.slow
@given(_conditions, st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
@some
def test_conditions_mean_what_they_mean_in_python(text: str, depth: int, heads: int, width: int) -> None:
    assume(len(text) <= 500 and any(name in text for name in ("depth", "heads", "width")))
    values = {"depth": depth, "heads": heads, "width": width}
    try:
        expected = eval(text, {}, values)
    except ZeroDivisionError:
        assume(False)
    condition = parse(text, KNOWN)
    assert bool(condition.holds(values)) == expected
    arrays = {name: np.array([value, 1]) for name, value in values.items()}
    assert bool(condition.holds(arrays)[0]) == expected


REFUSED = [
    ("f() == depth", "Call is not allowed"),
    ("depth == max(1, 2)", "Call is not allowed"),
    ("depth.bit_length() == 2", "Call is not allowed"),
    ("f().x == depth", "words joined by dots"),
    ("'a'.x == depth", "words joined by dots"),
    ("(depth + 1).real == depth", "words joined by dots"),
    ("depth[0] == 1", "Subscript is not allowed"),
    ("[1, 2][depth] == 1", "Subscript is not allowed"),
    ("depth in heads[1:2]", "`in` takes a list"),
    ("(lambda: depth) == 1", "Lambda is not allowed"),
    ("depth ** 2 == 4", "BinOp is not allowed"),
    ("depth @ 2 == 4", "BinOp is not allowed"),
    ("depth << 2 == 8", "BinOp is not allowed"),
    ("depth | 1 == 3", "BinOp is not allowed"),
    ("~depth == 1", "UnaryOp is not allowed"),
    ("+depth == 1", "UnaryOp is not allowed"),
    ("f'{depth}' == '2'", "JoinedStr is not allowed"),
    ("(d := depth) == 2", "NamedExpr is not allowed"),
    ("[d for d in [1]] == depth", "ListComp is not allowed"),
    ("{d for d in [1]} == depth", "SetComp is not allowed"),
    ("{d: d for d in [1]} == depth", "DictComp is not allowed"),
    ("(d for d in [1]) == depth", "GeneratorExp is not allowed"),
    ("depth in [d for d in [1]]", "`in` takes a list"),
    ("depth in {1, 2}", "`in` takes a list"),
    ("depth in heads", "`in` takes a list"),
    ("depth not in '12'", "`in` takes a list"),
    ("depth in []", "`in` takes a list"),
    ("depth == {1}", "Set is not allowed"),
    ("depth == {1: 2}", "Dict is not allowed"),
    ("depth in [*heads]", "Starred is not allowed"),
    ("(1 if depth else 2) == 1", "IfExp is not allowed"),
    ("depth is 2", "Compare is not allowed"),
    ("depth is not None", "Compare is not allowed"),
    ("depth == None", "Constant is not allowed"),
    ("depth == ...", "Constant is not allowed"),
    ("depth == b'x'", "Constant is not allowed"),
    ("depth == 2j", "Constant is not allowed"),
    ("(yield depth) == 1", "Yield is not allowed"),
    ("(await depth) == 1", "Await is not allowed"),
    ("not f(depth)", "Call is not allowed"),
    ("depth == 1 and f(depth)", "Call is not allowed"),
    ("depth == 1 or [f()] == depth", "Call is not allowed"),
    ("1 < depth < f()", "Call is not allowed"),
    ("depth in [1, f()]", "Call is not allowed"),
    ("-f() == depth", "Call is not allowed"),
    ("1 + f() == depth", "Call is not allowed"),
    ("'a' * 1000 == batch.shape", "there is no arithmetic with words"),
    ("depth + linear == 1", "there is no arithmetic with words"),
    ("linear % depth == 1", "there is no arithmetic with words"),
    ("-linear == depth", "there is no arithmetic with words"),
    ("batch.shape == yes-linear", "a word with signs in it needs quotes: 'yes-linear'"),
    ("not (depth == 1 and heads // 'a' == 1)", "there is no arithmetic with words"),
    ("depth == [1, 2]", "a list is only allowed after `in`"),
    ("depth in [1, [2]]", "a list is only allowed after `in`"),
    ("[1, 2] == [1, depth]", "a list is only allowed after `in`"),
    ("depth < 1000000000000001", r"numbers are at most 1e\+15"),
    ("depth < 1.1e15", r"numbers are at most 1e\+15"),
    ("depth < 1e999", r"numbers are at most 1e\+15"),
    ("depth in [1, -1e16]", r"numbers are at most 1e\+15"),
    ("constant == linear", "mentions no hyperparameter"),
    ("1 == 1", "mentions no hyperparameter"),
    ("batch == 1", "unknown name 'batch'"),
    ("depths == 1", "did you mean 'depth'"),
    ("'depth' == 1", "mentions no hyperparameter"),
    ("depth + 1", "not a comparison"),
    ("-depth", "not a comparison"),
    ("[depth]", "not a comparison"),
    ("depth, 1", "not a comparison"),
    ("", "not a condition"),
    ("depth = 1", "not a condition"),
    ("depth == 1; heads == 2", "not a condition"),
    ("import os", "not a condition"),
    ("depth ==", "not a condition"),
    ("depth == 1\0", "not a condition"),
    ("(" * 240 + "depth == 1" + ")" * 240, "not a condition"),
    ("[" * 240 + "depth" + "]" * 240 + " == 1", "not a condition"),
    ("depth == " + "1" * 492, "got 501 characters; a condition has at most 500"),
    ("depth == 1" + " or depth == 1" * 2000, "got 28010 characters; a condition has at most 500"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=lambda x: x[:30].replace("\0", "0"))
def test_whatever_else_is_refused_and_said(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse(text, KNOWN)
    assert type(caught.value) is ValueError


def test_large_numbers_are_read() -> None:
    assert bool(parse("depth < 1000000000000000", KNOWN).holds({"depth": 10**15 - 1}))
    assert not parse("-1e15 < depth", KNOWN).holds({"depth": -(10**15)})


def test_500_characters_are_read() -> None:
    text = "depth == 1".ljust(500)
    assert bool(parse(text, KNOWN).holds({"depth": 1}))


@pytest.mark.parametrize("count", [120, 121])
def test_long_chains_that_fit_are_evaluated(count: int) -> None:
    assert bool(parse("not " * count + "depth == 1", KNOWN).holds({"depth": 1})) == (count % 2 == 0)
    assert bool(parse("-" * count + "depth > 0", KNOWN).holds({"depth": 1})) == (count % 2 == 0)
    assert bool(parse(f"depth{' + 1' * count} == {count + 1}", KNOWN).holds({"depth": 1}))


@pytest.mark.parametrize("template", ["{} == depth", "depth in [{}]", "not {}", "{}.x == depth", "depth == 1 or {}"])
def test_nothing_is_ever_executed(template: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(ValueError, match=r"not allowed|words joined by dots"):
        parse(template.format(f"open({str(trace)!r}, 'w')"), KNOWN)
    assert not trace.exists()


_words = r"depth|batch\.min|linear|1|2\.5|'a'|in|is|not|and|or|if|lambda|f\(\)"
_signs = r"==|<=|:=|\+|-|\*\*|//|%|\(|\)|\[|\]|\{|\}|,|\.|\\d|\0"


@given(st.from_regex(f"(({_words}|{_signs}) ?){{0,12}}", fullmatch=True))
@some
def test_any_text_is_read_or_refused_with_a_value_error(text: str) -> None:
    try:
        condition = parse(text, KNOWN)
    except ValueError:
        return
    assert condition.names
    assert condition.names <= set(KNOWN)
