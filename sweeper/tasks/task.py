"""The declaration of a task: its keys in space.yaml, its metrics and its hyperparameters. Training is elsewhere."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sweeper.space import hyperparameters
from sweeper.space.hyperparameters import MODEL, Value


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError(f"got {list(value)}; list each once")
    return value


Word = TypeVar("Word", bound=str)
OneOrMany = Annotated[tuple[Word, ...], BeforeValidator(_as_tuple)]
"""One word or a list of words, as in `trackers: mlflow` or `trackers: [mlflow, wandb]`."""
DISTINCT = AfterValidator(_distinct)
"""Annotation: no value of a list is repeated."""

LOSS = "loss"
References = Mapping[str, Mapping[str, float]]
"""Metric -> name of a reference -> its value: values to compare results with, such as that of `group means`."""
SIDES = ("val", "train")
_COMMON = ("gradient_norm", "weight_norm", "last_layer_norm")
_TAKEN = (
    *("trial", "operation", "replicate", "step", "examples", "seconds"),
    *("batch_size", "learning_rate", "weight_norm_blocks", *_COMMON),
)
"""Columns of `curves` that every task has."""


class Task(BaseModel):
    """The section `task` of a space.yaml: its fields are the keys, the name of the task first.

    A subclass overrides the properties in which it differs. `sweeper.training.learners` has the code that trains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    name: str = Field(description="The task.")

    @property
    def operations(self) -> tuple[str, ...]:
        """The problems to learn, each by its own models; all must be fast. By default one, named as the task."""
        return (self.name.rpartition(":")[2].rpartition(".")[2],)

    @property
    def scores(self) -> Mapping[str, str]:
        """Name -> meaning of metrics averaged over examples, logged as `val_NAME` and `train_NAME`; includes the loss.

        A run whose loss is not finite ends as diverged.
        """
        return {LOSS: "Mean loss."}

    @property
    def shares(self) -> tuple[str, ...]:
        """Scores that are 0 or 1 for each example, so that some bound the mean of all (`objective.screen`)."""
        return ()

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """Name -> meaning of the other metrics that every evaluation logs."""
        return {}

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        """`model.NAME` -> type, range, default and description of hyperparameters of this task's models only."""
        return {}

    @property
    def without(self) -> frozenset[str]:
        """Common hyperparameters that this task's models do not have: by default the transformer's."""
        return frozenset({"depth", "width", "heads", "feedforward"})

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Hyperparameter -> default, where it differs from the common one."""
        return {}

    @property
    def title(self) -> str:
        """The task in a few words, for people."""
        return self.operations[0]

    @property
    def sampled(self) -> bool:
        """Whether an evaluation uses sampled batches instead of the whole validation set."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether `Learner.prepare` must run before the first trial, for example to generate data."""
        return False

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """(key, message) for keys that are legal one by one but not together."""
        return iter(())

    def untrainable(self) -> str:
        """A reason why models of this task cannot train, in words; empty if none is known."""
        return ""

    def unkeepable(self) -> str:
        """Why parameters of its models cannot be kept, in words; empty where they can."""
        return ""

    @cached_property
    def logged_scores(self) -> tuple[str, ...]:
        """`val_NAME` and `train_NAME` of every score."""
        return tuple(f"{side}_{name}" for name in self.scores for side in SIDES)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """All metrics that every evaluation logs; an event is defined on one of them."""
        return (*self.logged_scores, *_COMMON, *self.diagnostics)

    @cached_property
    def hyperparameters(self) -> dict[str, FieldInfo]:
        """Dotted key -> field of every hyperparameter."""
        shared = {key: field for key, field in hyperparameters.fields().items() if key not in self.without}
        return {**shared, **self.models}

    @cached_property
    def all_defaults(self) -> dict[str, Value]:
        """Hyperparameter -> default of this task, where it differs from the common one.

        Hyperparameters that its models do not have get values that conflict with nothing.
        """
        neutral = {"heads": 1, "feedforward": 1} if "heads" in self.without else {}
        own = {key: field.get_default(call_default_factory=True) for key, field in self.models.items()}
        return {**neutral, **own, **self.defaults}

    def adapter(self, key: str) -> TypeAdapter[Any]:
        """The validator of one hyperparameter's value."""
        return hyperparameters.adapter_of(self.models[key]) if key in self.models else hyperparameters.adapter(key)

    def choices(self, key: str) -> tuple[Value, ...]:
        """The words that a hyperparameter allows; empty for numbers."""
        return hyperparameters.choices_of(self.hyperparameters[key])

    def description(self) -> dict[str, Any]:
        """The declaration as plain data, so that results can be read without the task's code.

        Raises:
            ValueError: the scores lack the loss, a name is not a legal column name, or a hyperparameter of the models
                is not a flag, a number or a word.
        """
        if LOSS not in self.scores:
            raise ValueError(f"scores: got {', '.join(self.scores) or 'none'}; {LOSS} is missing")
        for name in (*self.scores, *self.diagnostics):
            if not re.fullmatch(r"[A-Za-z_]\w{0,99}", name):
                raise ValueError(f"got {name!r}; a score's or diagnostic's name has letters, digits and underscores")
        taken = sorted(self.diagnostics.keys() & {*_TAKEN, *self.logged_scores})
        if taken:
            raise ValueError(f"diagnostics: got {', '.join(taken)}; every task logs that already; choose another name")
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
        """The default of a hyperparameter of its models. Raises ValueError if there is no legal one."""
        if not key.startswith(MODEL):
            raise ValueError(f"models: got {key}; hyperparameters of its models are named {MODEL}NAME")
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
    """Whether a JSON schema allows only flags, numbers and words."""
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if words is not None:
        return all(isinstance(each, bool | int | float | str) for each in words)
    if "anyOf" in schema:
        return all(map(_is_plain, schema["anyOf"]))
    return schema.get("type") in ("boolean", "integer", "number", "string")
