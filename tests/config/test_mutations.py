"""Any file at all is either a space or a list of mistakes with lines: nothing else ever comes out of reading one."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.config.loading import check
from sweeper.config.reader import parse
from sweeper.errors import Problem, SpecError
from sweeper.space.hyperparameters import fields

QUICKSTART = (Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml").read_bytes()
FILE = "space.yaml"

some = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
fewer = settings(some, max_examples=30)

SCALAR = re.compile(rb"[\w.+-]+")
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML counts as the end of a line."""

TRAPS = [
    *("yes", "on", "~", "''", "1e-3", "1e4", "-1", "0", "1", "2.5", "1.0e+400", "1:30", "010", "0x1F", "2024-01-01"),
    *(".nan", ".inf", "-.inf", "99999999999999999999999", "<<", "[]", "{}", "[1, 2]", "{a: 1}", "[", "]", "{", "}"),
    *(
        "&a x",
        "*a",
        "&a [*a]",
        "!!python/none",
        "!!binary aGk=",
        "!!set {a}",
        "!x",
        "'",
        '"',
        "|",
        ">",
        "%",
        "@",
        "---",
    ),
    *(
        "...",
        "#",
        ": ",
        "- ",
        "? ",
        "\t",
        "\x00",
        "\u2028",
        "\U0001f600",
        "constant == linear",
        "depth < 2",
        "__import__",
    ),
    *(
        "True",
        "null",
        "x_div_y",
        "permutation",
        "seconds",
        "val_loss < 1",
        "grid",
        "cap",
        "int",
        "float",
        "choice",
        "when",
    ),
]
scalars = (
    st.sampled_from(TRAPS)
    | st.sampled_from(list(fields()))
    | st.integers().map(str)
    | st.floats().map(repr)
    | st.text(max_size=8)
)

Mutation = Callable[[bytes], bytes]


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True) or [b""]


def delete_line(content: bytes, at: int) -> bytes:
    lines = _lines(content)
    del lines[at % len(lines)]
    return b"".join(lines)


def duplicate_line(content: bytes, at: int) -> bytes:
    lines = _lines(content)
    lines.insert(at % len(lines), lines[at % len(lines)])
    return b"".join(lines)


def swap_lines(content: bytes, at: int, other: int) -> bytes:
    lines = _lines(content)
    i, j = at % len(lines), other % len(lines)
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def put_bytes(content: bytes, at: int, length: int, new: bytes) -> bytes:
    start = at % (len(content) + 1)
    return content[:start] + new + content[start + length :]


def replace_scalar(content: bytes, at: int, new: str) -> bytes:
    found = list(SCALAR.finditer(content))
    if not found:
        return content
    start, end = found[at % len(found)].span()
    return content[:start] + new.encode() + content[end:]


def truncate(content: bytes, at: int) -> bytes:
    return content[: at % (len(content) + 1)]


places = st.integers(0, 10_000)
replacement = st.builds(lambda at, new: lambda content: replace_scalar(content, at, new), places, scalars)
mutations: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(lambda at: lambda content: delete_line(content, at), places),
    st.builds(lambda at: lambda content: duplicate_line(content, at), places),
    st.builds(lambda at, other: lambda content: swap_lines(content, at, other), places, places),
    st.builds(
        lambda at, length, new: lambda content: put_bytes(content, at, length, new),
        places,
        st.integers(0, 4),
        st.binary(max_size=4),
    ),
    st.builds(lambda at: lambda content: truncate(content, at), places),
    replacement,
)


def mistakes(content: bytes) -> list[Problem]:
    """What is wrong with the content; nothing where it is a space. Any other exception passes through."""
    try:
        check(parse(content, FILE))
    except SpecError as error:
        return error.problems or [Problem(0, "", "an error without a mistake")]
    return []


def read_or_refused(content: bytes) -> None:
    """Reads the content; anything but a space, or mistakes within the file in the order of its lines, fails."""
    found = mistakes(content)
    last = len(LINE_BREAK.split(content.decode(errors="replace")))
    assert [each for each in found if not (each.file == FILE and each.message and 1 <= each.line <= last)] == []
    assert found == sorted(found, key=lambda each: each.line)


def test_the_file_that_is_mutated_is_a_space() -> None:
    assert check(parse(QUICKSTART, FILE)).spec.name == "quickstart"


@pytest.mark.slow
@some
@given(st.lists(mutations, min_size=1, max_size=3))
def test_a_mutated_file_is_a_space_or_a_list_of_mistakes(changes: list[Mutation]) -> None:
    content = QUICKSTART
    for change in changes:
        content = change(content)
    read_or_refused(content)


@pytest.mark.slow
@some
@given(replacement)
def test_a_file_with_one_other_value_is_a_space_or_a_list_of_mistakes(change: Mutation) -> None:
    read_or_refused(change(QUICKSTART))


@pytest.mark.slow
@fewer
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_space_or_a_list_of_mistakes(content: bytes) -> None:
    read_or_refused(content)


@fewer
@given(st.text(alphabet="abx01.:-,[]{}&*!|>'\"#%@?~ \n\t", max_size=60))
def test_any_punctuation_after_a_sound_file_is_a_space_or_a_list_of_mistakes(tail: str) -> None:
    read_or_refused(QUICKSTART + tail.encode())


@pytest.mark.slow
@some
@given(
    st.sampled_from(["when", "require"]), st.lists(st.sampled_from(sorted(fields())) | scalars, max_size=4), st.data()
)
def test_any_condition_is_a_space_or_a_list_of_mistakes(where: str, terms: list[str], data: st.DataObject) -> None:
    operators = st.sampled_from(["==", "!=", "<", ">=", "in", "not in", "+", "-", "//", "%", "and", "or", "not"])
    text = " ".join(term for each in terms for term in (each, data.draw(operators))).rsplit(" ", 1)[0]
    quoted = "'" + re.sub(r"[^\x20-\x7e]", "", text).replace("'", "''") + "'"
    if where == "when":
        content = QUICKSTART.replace(b"when: batch.shape != constant", b"when: " + quoted.encode())
    else:
        content = QUICKSTART.replace(b"width % heads == 0", quoted.encode())
    read_or_refused(content)
