"""Pydantic's findings in the words of a user: what was got, what is allowed, what to do."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic_core import ErrorDetails

from sweeper.errors import nearest

_NUMBER_TEXT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "number_or_auto": "a number or auto",
    "string_type": "text",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def short(value: Any) -> str:
    """A value as it would stand in YAML, cut to a readable length."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def message_of(error: ErrorDetails, known: Sequence[str] = ()) -> str:
    """One finding in words.

    Args:
        error: as pydantic reports it.
        known: for an unknown key, the keys that would be known there.
    """
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return f"missing; this {'item' if isinstance(error['loc'][-1], int) else 'key'} is needed"
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown key{nearest(name, known)}; known here: {', '.join(known)}"
    if kind == "literal_error":
        return _one_of(got, str(context["expected"]))
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return f"got {short(got)}; it must be {words} {context[limit]}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "parameter":
        return f"got {short(got)}; {error['msg']}"
    if kind == "string_pattern_mismatch":
        return (
            f"got {short(got)}; use letters, digits, dots, dashes and underscores, at most 100, a letter or digit first"
        )
    if kind in ("too_short", "too_long"):
        return f"got {short(list(got))}; it must be a list of {_length(context)}"
    allowed = _KINDS.get(kind)
    if allowed is None:
        return f"got {short(got)}; {error['msg'][0].lower()}{error['msg'][1:]}"
    return f"got {_typed(got)}; it must be {allowed}{_trap(got, whole=kind.startswith('int'))}"


def _trap(got: Any, whole: bool = False) -> str:
    """What YAML did behind the user's back, if it did: exponents without a dot, yes and no."""
    if isinstance(got, str) and _NUMBER_TEXT.fullmatch(got):
        number = float(got)
        if whole and not number.is_integer():
            return f". YAML reads {got} as text; as a number it is {number:g}"
        return f". YAML reads {got} as text: write {f'{number:.0f}' if whole else _with_dot(got)}"
    if isinstance(got, date):
        return ". YAML reads it as a date: put quotes around it"
    if isinstance(got, bool):
        return ". YAML reads yes, no, on and off as true and false: put quotes around a word that is meant"
    return ""


def _length(limits: Mapping[str, Any]) -> str:
    most = limits.get("max_length")
    if most == 2:
        return "2"
    return f"at least {limits['min_length']}" if most is None else f"at most {most}"


def _with_dot(text: str) -> str:
    mantissa, exponent = re.split("[eE]", text)
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def _typed(got: Any) -> str:
    if isinstance(got, str):
        return f"the text {short(got)}"
    if isinstance(got, Mapping):
        return "keys with values"
    return f"the list {short(list(got))}" if isinstance(got, list | tuple) else short(got)


def _one_of(got: Any, expected: str) -> str:
    names = [name.strip("' ") for name in expected.replace(" or ", ", ").split(", ")]
    hint = nearest(got, names) if isinstance(got, str) else ""
    return f"got {short(got)}{hint}; allowed: {', '.join(names)}{_trap(got)}"
