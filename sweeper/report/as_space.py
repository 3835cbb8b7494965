"""One trial's configuration as a space of its own: a single baseline, with the question that the sweep asked."""

import re
from pathlib import Path
from typing import Any

from sweeper.config.reader import Document, read, text_of
from sweeper.errors import UserError
from sweeper.folder.address import in_store
from sweeper.report.select import SelectedTrial
from sweeper.results.rows import column_of
from sweeper.space.hyperparameters import identity

_KEPT = ("task", "objective", "resources", "precision", "keep")
"""Sections that the space has as the sweep has them: search, its rules and its budget have no place there."""
_LONGEST_NAME = 100


def space_of(chosen: SelectedTrial) -> Document:
    """The space of one configuration; launched, it trains that configuration and nothing else.

    Raises:
        UserError: the trial's row does not say how it was configured.
    """
    name = chosen.folder.root.name
    label = str(chosen.row["name"]) if chosen.row["phase"] == "baseline" else f"{chosen.row['trial']}"
    saved = read(chosen.folder.space).data
    results = _results(chosen)
    data: dict[str, Any] = {"name": _name(name, label)}
    data |= {key: saved[key] for key in _KEPT if key in saved}
    data["baselines"] = {label if not label.isdecimal() else f"trial-{label}": _values(chosen)}
    data["budget"] = {"trials": 1}
    data |= {} if results == "results" else {"results": results}
    return Document(f"{name}:{label}", data=data)


def text(chosen: SelectedTrial) -> str:
    """The same as YAML, with a line that says of which trial it is."""
    row = chosen.row
    reached = f"{row['reached']} of {row['runs']} runs reached the event, restricted mean {row['rmst']:,.0f}"
    return f"# {chosen.folder.root.name}, {chosen.label} ({row['state']}): {reached}.\n{text_of(space_of(chosen))}"


def _values(chosen: SelectedTrial) -> dict[str, Any]:
    """Hyperparameter -> value of each setting that has an effect."""
    spec, row = chosen.spec, chosen.row
    found = {key: row.get(column_of(key)) for key in spec.task.hyperparameters}
    values = {
        key: list(value) if isinstance(value, tuple) else value for key, value in found.items() if value is not None
    }
    if identity(spec.space.settings(values), spec.objective.horizon) != row["identity"]:
        raise UserError(
            f"{chosen.sweep}: the row of {chosen.label} in `trials` does not give the configuration that was trained; "
            "the folder's space.yaml or its tables have been changed since"
        )
    return values


def _name(sweep: str, label: str) -> str:
    """A name for the space: the sweep's and the trial's, as far as names may be long."""
    whole = re.sub(r"[^A-Za-z0-9._-]", "-", f"{sweep[: _LONGEST_NAME - len(label) - 1]}-{label}")
    return whole if whole[0].isalnum() else f"s{whole[1:]}"


def _results(chosen: SelectedTrial) -> str:
    """Where sweeps beside this one are kept."""
    if in_store(chosen.sweep):
        return chosen.sweep.rstrip("/").rpartition("/")[0]
    parent, here = chosen.folder.root.absolute().parent, Path.cwd()
    return str(parent.relative_to(here) if parent.is_relative_to(here) else parent)
