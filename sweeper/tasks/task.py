"""What a task says of itself, without training: its keys in space.yaml, what it logs, which hyperparameters it has."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sweeper.space import hyperparameters
from sweeper.space.hyperparameters import MODEL, Value

LOSS = "loss"
References = Mapping[str, Mapping[str, float]]
"""Metric -> name of a reference, such as `group means` -> its value: what any result has to be seen beside."""
SIDES = ("val", "train")
_COMMON = ("gradient_norm", "weight_norm", "last_layer_norm")
_TAKEN = (
    *("trial", "operation", "replicate", "step", "examples", "seconds"),
    *("batch_size", "learning_rate", "weight_norm_blocks", *_COMMON),
)
"""Columns of `curves` that are there whatever the task."""


class Task(BaseModel):
    """The section `task` of a space.yaml: its fields are the keys, the name of the task first.

    A subclass overrides what is different about it. `sweeper.training.learners` has the half that trains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(description="The task.")

    @property
    def operations(self) -> tuple[str, ...]:
        """What is learnt, each by models of its own; with several, all must be fast. By default one, of its name."""
        return (self.name.rpartition(":")[2].rpartition(".")[2],)

    @property
    def scores(self) -> Mapping[str, str]:
        """Name -> meaning of what is averaged over examples: logged as `val_NAME` and `train_NAME`, the loss among it.

        The loss of a run that is not finite ends it as diverged.
        """
        return {LOSS: "Mean loss."}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """Name -> meaning of what else every evaluation logs."""
        return {}

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        """`model.NAME` -> type, range, default and description of hyperparameters that only this task's models have."""
        return {}

    @property
    def without(self) -> frozenset[str]:
        """Hyperparameters that its models do not have, although others do: by default a transformer's."""
        return frozenset({"depth", "width", "heads", "feedforward"})

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Hyperparameter -> its default, where that is another than everybody's."""
        return {}

    @property
    def title(self) -> str:
        """What is learnt, in a few words."""
        return self.operations[0]

    @property
    def sampled(self) -> bool:
        """Whether an evaluation looks at sampled batches instead of the whole validation set."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether something has to be made before the first trial trains, such as data (`Learner.prepare`)."""
        return False

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """(key, what is wrong) of keys that are legal alone but not together."""
        return iter(())

    @cached_property
    def logged_scores(self) -> tuple[str, ...]:
        """`val_NAME` and `train_NAME` of every score."""
        return tuple(f"{side}_{name}" for name in self.scores for side in SIDES)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """What every evaluation logs, and an event can be about."""
        return (*self.logged_scores, *_COMMON, *self.diagnostics)

    @cached_property
    def hyperparameters(self) -> dict[str, FieldInfo]:
        """Dotted key -> field of everything that can be set."""
        shared = {key: field for key, field in hyperparameters.fields().items() if key not in self.without}
        return {**shared, **self.models}

    @cached_property
    def filled_in(self) -> dict[str, Value]:
        """Hyperparameter -> value, of those that are not set and have another default than everybody's.

        What its models do not have gets a value that nothing can be in conflict with.
        """
        neutral = {"heads": 1, "feedforward": 1} if "heads" in self.without else {}
        own = {key: field.get_default(call_default_factory=True) for key, field in self.models.items()}
        return {**neutral, **own, **self.defaults}

    def adapter(self, key: str) -> TypeAdapter[Any]:
        """The check of one hyperparameter's value."""
        return hyperparameters.adapter_of(self.models[key]) if key in self.models else hyperparameters.adapter(key)

    def choices(self, key: str) -> tuple[Value, ...]:
        """The words a hyperparameter can have; empty for numbers."""
        return hyperparameters.choices_of(self.hyperparameters[key])

    def description(self) -> dict[str, Any]:
        """All of this as plain data, for whoever reads results where the task's own code is not installed.

        Raises:
            ValueError: there is no loss among the scores, a name cannot be a column's, or a hyperparameter of its
                models is not a plain one.
        """
        if LOSS not in self.scores:
            raise ValueError(f"scores: got {', '.join(self.scores) or 'none'}; {LOSS} is missing")
        for name in (*self.scores, *self.diagnostics):
            if not re.fullmatch(r"[A-Za-z_]\w{0,99}", name):
                raise ValueError(f"got {name!r}; a score's or diagnostic's name has letters, digits and underscores")
        taken = sorted(self.diagnostics.keys() & {*_TAKEN, *self.logged_scores})
        if taken:
            raise ValueError(f"diagnostics: got {', '.join(taken)}; every task logs that already, choose another name")
        return {
            "keys": self.model_dump(mode="json"),
            "operations": list(self.operations),
            "scores": dict(self.scores),
            "diagnostics": dict(self.diagnostics),
            "metrics": list(self.metrics),
            "models": {key: self._default(key, field) for key, field in self.models.items()},
            "without": sorted(self.without),
            "defaults": dict(self.defaults),
            "title": self.title,
        }

    def _default(self, key: str, field: FieldInfo) -> Value:
        """The default of a hyperparameter of its models. Raises ValueError where it has no legal one."""
        if not key.startswith(MODEL):
            raise ValueError(f"models: got {key}; what only its models have is called {MODEL}NAME")
        if not _is_plain(self.adapter(key).json_schema()):
            raise ValueError(f"{key}: got the type {field.annotation}; allowed: bool, int, float, str, or a Literal")
        if field.is_required():
            raise ValueError(f"{key}: it has no default")
        default = field.get_default(call_default_factory=True)
        try:
            self.adapter(key).validate_python(default)
        except ValidationError as error:
            raise ValueError(f"{key}: its default {default!r} is not legal ({error.errors()[0]['msg']})") from None
        return default


def _is_plain(schema: Mapping[str, Any]) -> bool:
    """Whether all values that a JSON schema allows are flags, numbers or words."""
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if words is not None:
        return all(isinstance(each, bool | int | float | str) for each in words)
    if "anyOf" in schema:
        return all(map(_is_plain, schema["anyOf"]))
    return schema.get("type") in ("boolean", "integer", "number", "string")
