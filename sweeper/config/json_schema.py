"""The JSON Schema of space.yaml, for completion and checks in editors."""

import re
from typing import Any

from pydantic import TypeAdapter

from sweeper.config.model import SweepSpec
from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import ALIASES, BatchSchedule
from sweeper.space.hyperparameters import MODEL, Hyperparameters, adapter_of
from sweeper.space.parameters import Parameter
from sweeper.tasks.registry import BUILT_IN, PATH

_MODEL_KEY = f"^{re.escape(MODEL)}[A-Za-z_]"
"""Pattern of the hyperparameters that only a user's own task declares; a schema cannot list them."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a space.yaml, including all hyperparameters by name."""
    schema = SweepSpec.model_json_schema(by_alias=True)
    schema["$defs"] |= {"Task": _task(schema["$defs"])}
    parameter = TypeAdapter(Parameter).json_schema(by_alias=True, ref_template="#/$defs/{model}")
    schema["$defs"] |= parameter.pop("$defs")
    settings, definitions = _settings()
    schema["$defs"] |= definitions | {"Hyperparameters": _closed(settings, {})}
    searched = {key: {**parameter, "description": each.get("description", "")} for key, each in settings.items()}
    properties = schema["properties"]
    properties["search"] |= _closed(searched, parameter)
    properties["fixed"] |= {"$ref": "#/$defs/Hyperparameters"}
    names = properties["baselines"].pop("patternProperties")
    properties["baselines"] |= {
        "patternProperties": {pattern: {"$ref": "#/$defs/Hyperparameters"} for pattern in names},
        "additionalProperties": False,
    }
    for owner, key in (
        (properties, "require"),
        (properties, "trackers"),
        (schema["$defs"]["ModularArithmetic"]["properties"], "operation"),
    ):
        many = {name: owner[key].pop(name) for name in ("items", "minItems", "type") if name in owner[key]}
        owner[key]["anyOf"] = [many["items"], many]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sweeper space.yaml",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """Dotted key -> schema of every hyperparameter, and the definitions that the schemas refer to."""
    own = Hyperparameters.model_json_schema()
    batch = BatchSchedule.model_json_schema()
    definitions = {**own.get("$defs", {}), **batch.get("$defs", {})}
    definitions.pop("BatchSchedule", None)
    found = {key: value for key, value in own["properties"].items() if key != "batch"}
    found |= {f"batch.{key}": value for key, value in batch["properties"].items()}
    found["batch.shape"]["enum"] = [*found["batch.shape"]["enum"], *ALIASES]
    keys = {key: found[key] for key in hyperparameters.fields()}
    for task in BUILT_IN.values():
        models = task.model_construct(name="").models
        keys |= {
            key: {**adapter_of(field).json_schema(), "description": field.description} for key, field in models.items()
        }
    return keys, definitions


def _task(definitions: dict[str, Any]) -> dict[str, Any]:
    """The keys of each built-in task, added to the definitions, and arbitrary keys for a user's own task."""
    keys = []
    for name, task in BUILT_IN.items():
        found = task.model_json_schema()
        definitions |= {**found.pop("$defs", {}), task.__name__: found}
        named = {"properties": {"name": {"const": name}}, "required": ["name"]}
        keys.append({"if": named, "then": {"$ref": f"#/$defs/{task.__name__}"}})
    names = [{"enum": list(BUILT_IN)}, {"pattern": f"^{PATH}$"}]
    word = {"type": "string", "anyOf": names, "description": "A built-in task, or your own as package.module:Class."}
    return {
        "type": "object",
        "description": "The task.",
        "properties": {"name": word},
        "required": ["name"],
        "allOf": keys,
    }


def _closed(properties: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """An object with these properties, and `own` as the schema of hyperparameters that a user's own task declares."""
    known = {"type": "object", "properties": properties, "patternProperties": {_MODEL_KEY: own}}
    return {**known, "additionalProperties": False}
