"""The JSON Schema is a schema, and draws the line where the loader draws it, as far as a schema can."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import sweeper.config
from sweeper.config.json_schema import json_schema
from sweeper.config.loading import check, load
from sweeper.config.reader import parse, read
from sweeper.errors import SpecError
from sweeper.space.batch_schedules import ALIASES
from sweeper.space.hyperparameters import fields

SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"
STARTER = Path(sweeper.config.__file__).with_name("starter.yaml")
SHIPPED = [*sorted(SEARCH_SPACES.glob("*.yaml")), STARTER]

VALIDATOR = Draft202012Validator(json_schema())
SOUND = {
    "name": "name: x",
    "task": "task: {name: modular_arithmetic, operation: x_plus_y}",
    "objective": "objective: {horizon: 100}",
    "search": "search: {depth: {int: [1, 2]}}",
    "budget": "budget: {trials: 4}",
}


def space(*lines: str) -> bytes:
    """A sound file with some lines instead of, or after, its own."""
    return "\n".join((SOUND | {line.split(":")[0]: line for line in lines}).values()).encode()


def objections(data: dict[str, Any]) -> list[str]:
    """Where the schema finds fault, such as `$.budget`."""
    return sorted({error.json_path for error in VALIDATOR.iter_errors(data)})


def test_the_schema_is_a_schema_of_draft_2020_12() -> None:
    schema = json_schema()
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    schema = json_schema()
    used = set(_references(schema))
    assert used == {f"#/$defs/{name}" for name in schema["$defs"]}


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [found for value in part.values() for found in _references(value)]
    return [found for value in part for found in _references(value)] if isinstance(part, list) else []


def test_every_key_is_described_for_the_editor() -> None:
    schema = json_schema()
    searched = schema["properties"]["search"]["properties"]
    assert list(searched) == [*fields(), "model.violation"]
    settings = schema["$defs"]["Hyperparameters"]["properties"]
    assert [key for key, each in settings.items() if not each.get("description")] == []
    assert [key for key, each in searched.items() if not each.get("description")] == []


def test_the_shipped_schema_is_the_one_that_the_code_gives() -> None:
    shipped = json.loads((SEARCH_SPACES / "schema.json").read_text())
    assert shipped == json_schema(), "write it again: python -m sweeper schema > search_spaces/schema.json"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_a_shipped_space_loads_and_pleases_the_schema(file: Path) -> None:
    load(file)
    assert objections(read(file).data) == []


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_a_shipped_space_tells_editors_where_its_schema_is(file: Path) -> None:
    assert file.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("task: {name: modular_arithmetic, operation: [x_plus_y, x_minus_y], evaluation: sampled}",),
        ("require: depth < 3",),
        ("require: []",),
        ("search: {weight_decay: {float: [0, 1], step: 0.5}}",),
        ("search: {betas: {choice: [[0.9, 0.98], [0.9, 0.99]]}}",),
        ("search: {batch.period: {choice: [null, 100]}}",),
        ("fixed: {batch.shape: step, batch.stages: [[0, 8], [50, 16]]}",),
        ("fixed: {hold_decay: true, coupling: sqrt, coupling_batch: 64}",),
        ("objective: {horizon: 100, minimize: seconds, horizon_seconds: 2.5}",),
        ("budget: {hours: 0.5}",),
        ("resources: {cpu: 2, gpu: 0.25}", "confirm: {top: 1, replicates: 2}", "stop: none"),
        ("resources: {gpu: auto}",),
        ("stop: asha",),
        ("race: {first: 1, slack: 0}", "stop: cap"),
        ("race: {}",),
        ("race: null", "stop: none"),
        ("confirm: null",),
        ("storage: postgresql://me@host:5432/database",),
        ("storage: sqlite:////a/b.db",),
        ("storage: null",),
        ("baselines: {small: {depth: 1}, as-it-is: {}}",),
        *((f"fixed: {{batch.shape: {alias}, batch.min: 8, batch.stages: [[0, 8]]}}",) for alias in ALIASES),
    ],
    ids=str,
)
def test_what_loads_pleases_the_schema(lines: tuple[str, ...]) -> None:
    document = parse(space(*lines), "space.yaml")
    check(document)
    assert objections(document.data) == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("serach: {depth: {int: [1, 2]}}", "$"),
        ("budget: {trails: 4}", "$.budget"),
        ("budget: {trials: 0}", "$.budget.trials"),
        ("budget: {hours: -1}", "$.budget.hours"),
        ("task: {name: modular_arithmetic}", "$.task"),
        ("task: {name: sudoku, operation: x_plus_y}", "$.task.name"),
        ("task: {name: modular_arithmetic, operation: x_over_y}", "$.task.operation"),
        ("task: {name: modular_arithmetic, operation: []}", "$.task.operation"),
        ("task: {name: modular_arithmetic, operation: x_plus_y, train_fraction: 1.5}", "$.task.train_fraction"),
        ("objective: {horizon: 1e4}", "$.objective.horizon"),
        ("objective: {horizon: 100, minimize: step}", "$.objective.minimize"),
        ("objective: [1, 2]", "$.objective"),
        ("search: {dept: {int: [1, 2]}}", "$.search"),
        ("search: {depth: {int: [1, 2], lgo: true}}", "$.search.depth"),
        ("search: {depth: {itn: [1, 2]}}", "$.search.depth"),
        ("search: {depth: {int: [1, 2, 3]}}", "$.search.depth"),
        ("search: {depth: {int: [1]}}", "$.search.depth"),
        ("search: {heads: {choice: []}}", "$.search.heads"),
        ("search: {depth: 2}", "$.search.depth"),
        ("fixed: {learnig_rate: 0.1}", "$.fixed"),
        ("fixed: {learning_rate: 1e-3}", "$.fixed.learning_rate"),
        ("fixed: {learning_rate: 0}", "$.fixed.learning_rate"),
        ("fixed: {betas: [0.9]}", "$.fixed.betas"),
        ("fixed: {batch.shape: linaer}", "$.fixed['batch.shape']"),
        ("fixed: {batch: {max: 128}}", "$.fixed"),
        ("baselines: {b: {dept: 1}}", "$.baselines.b"),
        ("baselines: {b: {depth: two}}", "$.baselines.b.depth"),
        ("baselines: {'my baseline!': {depth: 1}}", "$.baselines"),
        ("sampler: {name: bayes}", "$.sampler.name"),
        ("stop: hyperband", "$.stop"),
        ("race: {first: 0}", "$.race"),
        ("race: {slack: -1}", "$.race"),
        ("race: {fist: 1}", "$.race"),
        ("stop: off", "$.stop"),
        ("confirm: {top: 0}", "$.confirm"),
        ("resources: {gpu: -1}", "$.resources.gpu"),
        ("resources: {gpu: some}", "$.resources.gpu"),
        ("name: ../up", "$.name"),
        ("require: {depth: 2}", "$.require"),
        ("results: 3", "$.results"),
        ("storage: 3", "$.storage"),
    ],
)
def test_what_does_not_load_displeases_the_schema_at_its_place(line: str, place: str) -> None:
    document = parse(space(line), "space.yaml")
    with pytest.raises(SpecError):
        check(document)
    assert objections(document.data) == [place]
