"""The tables of a sweep over a task: its rows (`sweeper.results.rows`) with the columns of the task's hyperparameters,
scores and diagnostics in their places. docs/results.md is written from here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa

from sweeper.folder.layout import TABLES
from sweeper.results.rows import ACCURACY, LEVELS, CurveRow, RunRow, TrialRow, column_of
from sweeper.stats.events import CLOCKS

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from sweeper.tasks.task import Task  # with Pydantic's models it takes 30 ms, which queries do not spend

SCHEMA_VERSION = 4
"""Goes up when a column changes its name, type or meaning."""

_ROWS: dict[str, type] = {"trials": TrialRow, "runs": RunRow, "curves": CurveRow}
_ARROW: dict[object, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    str: pa.string(),
    datetime: pa.timestamp("us", tz="UTC"),
    np.int32: pa.int32(),
    np.float32: pa.float32(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[np.float32, ...]: pa.list_(pa.float32()),
    tuple[tuple[str, float], ...]: pa.map_(pa.string(), pa.float64()),
}


class Column(NamedTuple):
    """A column of a table: its meaning is Markdown."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class TableSchemas:
    """The three tables of a sweep: `trials`, `runs` and `curves`.

    Attributes:
        schemas: table -> names and types of its columns.
        meanings: table -> column -> what it means, in Markdown; every part carries its own in its metadata.
    """

    schemas: dict[str, pa.Schema]
    meanings: dict[str, dict[str, str]]


def tables(task: "Task") -> TableSchemas:
    """The tables of sweeps over a task."""
    of_task = {
        "trials": {"hyperparameters": _hyperparameters(task)},
        "runs": {"scores": [*_levels(task), *_final_scores(task)]},
        "curves": {"scores": _scores(task), "diagnostics": _diagnostics(task)},
    }
    columns = {table: list(_columns(row, of_task[table])) for table, row in _ROWS.items()}
    return TableSchemas(
        {table: pa.schema([(each.name, each.type) for each in found]) for table, found in columns.items()},
        {table: {each.name: each.meaning for each in found} for table, found in columns.items()},
    )


@cache
def known() -> Mapping[str, pa.Schema]:
    """Table -> the columns that any of our own tasks has: those of a sweep whose tables hold nothing yet."""
    from sweeper.tasks.registry import BUILT_IN  # noqa: PLC0415

    found = [tables(task.model_construct(name=name)) for name, task in BUILT_IN.items()]
    return {table: pa.unify_schemas([each.schemas[table] for each in found]) for table in TABLES}


def never_null(table: str) -> list[str]:
    """The columns of a table, those of its task aside, that have a value in every row."""
    row = _ROWS[table]
    hints = get_type_hints(row, include_extras=True)
    named = [each.name for each in fields(row) if get_origin(hints[each.name]) is Annotated]
    return [name for name in named if type(None) not in get_args(get_args(hints[name])[0])]


def _columns(row: type, of_task: Mapping[str, list[Column]]) -> Iterator[Column]:
    """The columns of a table, in order.

    Args:
        row: a record of `sweeper.results.rows`.
        of_task: field of the record -> the columns that lie in its place.
    """
    hints = get_type_hints(row, include_extras=True)
    for each in fields(row):
        if get_origin(hints[each.name]) is Annotated:
            kind, meaning = get_args(hints[each.name])
            yield Column(each.name, _ARROW[_without_none(kind)], meaning)
        else:
            yield from of_task[each.name]


def _without_none(kind: object) -> object:
    inner = get_args(kind)
    return inner[0] if type(None) in inner else kind


def _hyperparameters(task: "Task") -> list[Column]:
    return [
        Column(column_of(key), _hyperparameter_type(key, field), f"Hyperparameter `{key}`: {field.description}")
        for key, field in task.hyperparameters.items()
    ]


def _hyperparameter_type(key: str, field: "FieldInfo") -> pa.DataType:
    if key == "betas":
        return pa.list_(pa.float64())
    if key == "batch.stages":
        return pa.list_(pa.list_(pa.int64()))
    return _plain_type(field.annotation)


def _plain_type(annotation: object) -> pa.DataType:
    """The type of a number, a flag or, for everything else, text; None and constraints around it do not matter."""
    plain: dict[object, pa.DataType] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if annotation in plain:
        return plain[annotation]
    inner = [_plain_type(each) for each in get_args(annotation) if isinstance(each, type) or get_args(each)]
    return next((each for each in inner if each != pa.string()), pa.string())


def _levels(task: "Task") -> list[Column]:
    """When validation accuracy first passed, and stayed past, each of `LEVELS`; none without an accuracy."""
    if ACCURACY not in task.scores:
        return []
    types = {"steps": pa.int64(), "examples": pa.int64(), "seconds": pa.float64()}
    when = {
        "first": "the first evaluation",
        "sustained": "the start of the first streak of `sustained` evaluations",
    }
    return [
        Column(
            f"{which}_{level}_{clock}",
            types[clock],
            f"{clock.capitalize()} at {evaluation} with validation accuracy above {level} %.",
        )
        for level in LEVELS
        for which, evaluation in when.items()
        for clock in CLOCKS
    ]


def _final_scores(task: "Task") -> list[Column]:
    from sweeper.tasks.task import SIDES  # noqa: PLC0415

    where = {"val": "In validation", "train": "In training"}
    return [
        Column(f"final_{side}_{name}", pa.float64(), f"{meaning} {where[side]}, at the last evaluation.")
        for name, meaning in task.scores.items()
        for side in SIDES
    ]


def _scores(task: "Task") -> list[Column]:
    from sweeper.tasks.task import SIDES  # noqa: PLC0415

    where = {
        "val": "Of all validation examples; with `evaluation: sampled` of a sample.",
        "train": "Of the batches since the evaluation before, as they were trained on.",
    }
    return [
        Column(f"{side}_{name}", pa.float32(), f"{meaning} {where[side]}")
        for name, meaning in task.scores.items()
        for side in SIDES
    ]


def _diagnostics(task: "Task") -> list[Column]:
    return [Column(name, pa.float32(), meaning) for name, meaning in task.diagnostics.items()]
