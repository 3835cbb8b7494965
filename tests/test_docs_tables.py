"""The tables in the documentation agree with the code. `python -m tests.test_docs_tables` writes them afresh."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sweeper.config.model import SweepSpec
from sweeper.results.schema import tables
from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import USED_BY
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.registry import BUILT_IN
from sweeper.tasks.task import Task

ROOT = Path(__file__).parent.parent
SPACES, RESULTS = ROOT / "search_spaces" / "README.md", ROOT / "docs" / "results.md"
DECISIONS = ROOT / "docs" / "decisions" / "README.md"
PAGES = sorted([SPACES, ROOT / "results" / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
_TABLE = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}

Rows = list[tuple[str, ...]]


def settings() -> Rows:
    """Every hyperparameter, those of our own tasks' models last."""
    models = [item for task in BUILT_IN.values() for item in task.model_construct(name="").models.items()]
    return [
        _row(key, hyperparameters.adapter_of(field).json_schema(), field)
        for key, field in (*hyperparameters.fields().items(), *models)
    ]


def sections() -> Rows:
    """Every key of a space.yaml, section by section."""
    rows: Rows = []
    for name, field in SweepSpec.model_fields.items():
        if name == "task":
            continue
        model = next((kind for kind in (field.annotation, *get_args(field.annotation)) if _is_section(kind)), None)
        if model is None:
            rows.append(_row(name, SweepSpec.model_json_schema()["properties"][name], field))
        else:
            properties = model.model_json_schema()["properties"]
            rows += [_row(f"{name}.{key}", properties[key], each) for key, each in model.model_fields.items()]
    return rows


def keys(task: type[Task]) -> Callable[[], Rows]:
    """Every key of the section `task`."""
    properties = task.model_json_schema()["properties"]
    return lambda: [_row(f"task.{key}", properties[key], each) for key, each in task.model_fields.items()]


def shapes() -> Rows:
    """What each shape of batch schedule reads."""
    return [
        (f"`{shape}`", ", ".join(f"`batch.{name}`" for name in ((*used, "max") if shape != "step" else used)))
        for shape, used in USED_BY.items()
    ]


MODULAR = tables(ModularArithmetic.model_construct(name=""))
HEIGHTS = tables(MHeight.model_construct(name=""))


def columns(table: str) -> Callable[[], Rows]:
    """Every column of a table, of modular arithmetic."""
    return lambda: [
        (f"`{each.name}`", f"{each.type}", MODULAR.meanings[table][each.name]) for each in MODULAR.schemas[table]
    ]


def other_columns() -> Rows:
    """Those that m_height has besides."""
    return [
        (f"`{each.name}`", f"`{table}`", f"{each.type}", HEIGHTS.meanings[table][each.name])
        for table, schema in HEIGHTS.schemas.items()
        for each in schema
        if each.name not in MODULAR.meanings[table]
    ]


def decisions() -> Rows:
    """Every decision, by its first line."""
    titles = {path: path.read_text().splitlines()[0] for path in sorted(DECISIONS.parent.glob("0*.md"))}
    return [(f"[{path.name[:4]}]({path.name})", re.sub(r"^# (\d+\W+)?", "", title)) for path, title in titles.items()]


HEADINGS = ("type", "range", "default", "meaning")
TABLES: dict[str, tuple[Path, tuple[str, ...], Callable[[], Rows]]] = {
    "hyperparameters": (SPACES, ("hyperparameter", *HEADINGS), settings),
    "modular_arithmetic": (SPACES, ("key", *HEADINGS), keys(ModularArithmetic)),
    "m_height": (SPACES, ("key", *HEADINGS), keys(MHeight)),
    "sections": (SPACES, ("key", *HEADINGS), sections),
    "shapes": (SPACES, ("shape", "reads"), shapes),
    "trials": (RESULTS, ("column", "type", "meaning"), columns("trials")),
    "runs": (RESULTS, ("column", "type", "meaning"), columns("runs")),
    "curves": (RESULTS, ("column", "type", "meaning"), columns("curves")),
    "heights": (RESULTS, ("column", "table", "type", "meaning"), other_columns),
    "decisions": (DECISIONS, ("number", "decision"), decisions),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_table_agrees_with_the_code(name: str) -> None:
    path, *_ = TABLES[name]
    assert _tables(path)[name] == rendered(name), "run `python -m tests.test_docs_tables` and say what new rows mean"


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_a_meaning(name: str) -> None:
    _, _, rows = TABLES[name]
    assert [row[0] for row in rows() if not row[-1].strip()] == []


@pytest.mark.parametrize("path", [SPACES, RESULTS, DECISIONS], ids=lambda path: path.parent.name)
def test_no_table_is_missing_or_unknown(path: Path) -> None:
    assert set(_tables(path)) == {name for name, (where, *_) in TABLES.items() if where == path}


def test_every_space_is_listed() -> None:
    listed = re.findall(r"^\| \[`([\w.]+)`\]\(\1\) \|", SPACES.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in SPACES.parent.glob("*.yaml"))


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in asked]
    assert re.findall(r"^\| `([\w-]+)` \| \S", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE) == names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def rendered(name: str) -> str:
    """A table as Markdown."""
    _, headings, rows = TABLES[name]
    lines = [headings, tuple("---" for _ in headings), *(tuple(map(_cell, row)) for row in rows())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def write() -> None:
    """Bring every table in the documentation up to date."""
    for path in (SPACES, RESULTS, DECISIONS):
        new = _TABLE.sub(lambda found: found[1] + rendered(found["name"]) + found[3], path.read_text())
        path.write_text(new)


def _tables(path: Path) -> dict[str, str]:
    found = _TABLE.finditer(path.read_text())
    return {each["name"]: each[0].removeprefix(each[1]).removesuffix(each[3]) for each in found}


def _is_section(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _row(key: str, schema: Mapping[str, Any], field: FieldInfo) -> tuple[str, ...]:
    """Key, type, range, default and meaning; types and ranges from the key's JSON Schema."""
    kinds = schema.get("oneOf", schema.get("anyOf", [schema]))
    kind, *words = (each for each in kinds if each.get("type") != "null")
    or_word = "".join(f" or `{word}`" for each in words for word in _words(each))
    return f"`{key}`", f"{_type(kind)}{or_word}", _range(kind), _default(field), field.description or ""


def _type(schema: Mapping[str, Any]) -> str:
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    return "word" if _words(schema) else names.get(schema["type"], {"array": "list"}.get(schema["type"], "keys"))


def _range(schema: Mapping[str, Any]) -> str:
    if words := _words(schema):
        return ", ".join(f"`{word}`" for word in words)
    if schema["type"] == "array":
        kinds = {_range(each) for each in schema.get("prefixItems", [schema["items"]] if "items" in schema else [])}
        kind = kinds.pop() if len(kinds) == 1 else ""
        return f"each {kind}" if kind and not kind.startswith("each") else ""
    limits = {words: schema[limit] for limit, words in _LIMITS.items() if limit in schema}
    return ", ".join(f"{words} {int(limit) if limit == int(limit) else limit:,}" for words, limit in limits.items())


def _words(schema: Mapping[str, Any]) -> list[Any]:
    return list(schema.get("enum", [schema["const"]] if "const" in schema else []))


def _default(field: FieldInfo) -> str:
    """The default as it would be written in a space.yaml."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, float) and "e" in str(value) and "." not in str(value):
        return f"`{str(value).replace('e', '.0e')}`"
    return f"`{json.dumps(value)}`".replace('"', "")


def _cell(text: str) -> str:
    return text.replace("|", "or").replace("\n", " ")


if __name__ == "__main__":
    write()


def test_every_case_has_a_test() -> None:
    path, named = "", 0
    for row in (ROOT / "docs" / "cases.md").read_text().splitlines():
        if row.startswith("| ") and not row.startswith("| situation"):
            tests = re.findall(r"`(?:([\w/]+\.py)::)?(test_\w+)`", row)
            assert tests, row
            for file, name in tests:
                path = file or path
                assert f"def {name}(" in (ROOT / "tests" / path).read_text(), f"{path}::{name}"
                named += 1
    assert named > 40
