"""The JSON Schema of space.yaml, for editors that complete and check while one types."""

from typing import Any

from pydantic import TypeAdapter

from sweeper import hyperparameters
from sweeper.batch_schedules import ALIASES, BatchSchedule
from sweeper.hyperparameters import Hyperparameters
from sweeper.parameters import Parameter
from sweeper.spec.model import SweepSpec


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a space.yaml, hyperparameters by name included."""
    schema = SweepSpec.model_json_schema(by_alias=True)
    parameter = TypeAdapter(Parameter).json_schema(by_alias=True, ref_template="#/$defs/{model}")
    schema["$defs"] |= parameter.pop("$defs")
    settings, definitions = _settings()
    schema["$defs"] |= definitions | {"Hyperparameters": _closed(settings)}
    searched = {key: {**parameter, "description": each.get("description", "")} for key, each in settings.items()}
    properties = schema["properties"]
    properties["search"] |= _closed(searched)
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
        many = {name: owner[key].pop(name) for name in ("items", "type") if name in owner[key]}
        owner[key]["anyOf"] = [many["items"], {"minItems": 1, **many} if key == "operation" else many]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sweeper space.yaml",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """Dotted key -> schema of every hyperparameter, and the definitions they refer to."""
    own = Hyperparameters.model_json_schema()
    batch = BatchSchedule.model_json_schema()
    definitions = {**own.get("$defs", {}), **batch.get("$defs", {})}
    definitions.pop("BatchSchedule", None)
    found = {key: value for key, value in own["properties"].items() if key != "batch"}
    found |= {f"batch.{key}": value for key, value in batch["properties"].items()}
    found["batch.shape"]["enum"] = [*found["batch.shape"]["enum"], *ALIASES]
    return {key: found[key] for key in hyperparameters.fields()}, definitions


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}
