"""Turn pydantic's errors into messages for users: the value found, the allowed values, the remedy."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic_core import ErrorDetails

from sweeper.errors import nearest
from sweeper.space.hyperparameters import Hyperparameters

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
    """A value as YAML writes it, cut to 60 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def message_of(error: ErrorDetails, known: Sequence[str] = ()) -> str:
    """The message for one error.

    Args:
        error: as pydantic reports it.
        known: for an unknown key, the legal keys of its section.
    """
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return f"missing; this {'item' if isinstance(error['loc'][-1], int) else 'key'} is required"
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        if error["loc"] == (name,) and name in Hyperparameters.model_fields:
            return f"a hyperparameter is not a section; fixed.{name} gives it one value, search.{name} varies it"
        return f"unknown key{nearest(name, known)}; allowed here: {', '.join(known)}"
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
    return f"got {_with_type(got)}; it must be {allowed}{_yaml_hint(got, whole=kind.startswith('int'))}"


def _yaml_hint(got: Any, whole: bool = False) -> str:
    """A hint for values that YAML reads unexpectedly: exponents without a dot, dates, yes and no."""
    if isinstance(got, str) and _NUMBER_TEXT.fullmatch(got):
        number = float(got)
        if whole and not number.is_integer():
            return f". YAML reads {got} as text; as a number it is {number:g}"
        return f". YAML reads {got} as text: write {f'{number:.0f}' if whole else _with_dot(got)}"
    if isinstance(got, date):
        return ". YAML reads it as a date: put quotes around it"
    if isinstance(got, bool):
        return ". YAML reads yes, no, on and off as true and false: put quotes around the word"
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


def _with_type(got: Any) -> str:
    if isinstance(got, str):
        return f"the text {short(got)}"
    if isinstance(got, Mapping):
        return "keys with values"
    return f"the list {short(list(got))}" if isinstance(got, list | tuple) else short(got)


def _one_of(got: Any, expected: str) -> str:
    names = [name.strip("' ") for name in expected.replace(" or ", ", ").split(", ")]
    hint = nearest(got, names) if isinstance(got, str) else ""
    return f"got {short(got)}{hint}; allowed: {', '.join(names)}{_yaml_hint(got)}"
