"""`--set key.path=value`: change a space.yaml for one launch without editing it."""

from typing import Any

from sweeper.config.reader import Document, parse_value
from sweeper.errors import UserError

_FLAT = {"search": 1, "fixed": 1, "baselines": 2}
"""Section whose keys contain dots themselves -> the depth of those keys."""
_OF_PARAMETER = {"choice", "int", "float", "log", "step", "when"}
"""Keys of a parameter under `search`."""


def override(document: Document, settings: list[str]) -> None:
    """Replace values of a document.

    Raises:
        UserError: a setting is not `key.path=value`, or its path leads through a plain value.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {setting}: write key.path=value, as in --set budget.trials=10")
        path = _path(key.strip(), document.data)
        parent: dict[str, Any] = document.data
        for part in path[:-1]:
            parent = parent.setdefault(part, {})
            if not isinstance(parent, dict):
                raise UserError(f"--set {setting}: {part} has a value, not keys below it")
        parent[path[-1]] = parse_value(text, f"--set {setting}")
        document.text = ""
        document.replaced[tuple(path)] = f"--set {setting}"


def _path(key: str, data: dict[str, Any]) -> list[str]:
    section, *rest = key.split(".")
    searched, last = ".".join(rest[:-1]), rest[-1] if rest else ""
    if section == "search" and last in _OF_PARAMETER and searched in (data.get("search") or {}):
        return [section, searched, last]
    depth = _FLAT.get(section)
    if depth is None or len(rest) <= depth:
        return [section, *rest]
    return [section, *rest[: depth - 1], ".".join(rest[depth - 1 :])]
