"""All hyperparameters with type, range and default: one list for the spec, the tables and training.

A *configuration* is flat: dotted key -> value, as in `{"batch.shape": "linear", "depth": 2}`. Hyperparameters of the
models of one task only are named `model.NAME`; the task declares them (`sweeper.tasks.task`).
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.fields import FieldInfo

from sweeper.space.batch_schedules import ALIASES, USED_BY, BatchSchedule, BatchSize, batch_sizes, canonical, mistakes

Value = Any
Configuration = Mapping[str, Value]

_CACHED = 1000
"""Configurations whose identity is cached: it is needed when a trial is drawn, opened and recorded."""

MODEL = "model."
"""Prefix of the hyperparameters that only one task's models have."""

Rate = Annotated[float, Field(ge=0, lt=1)]


class Hyperparameters(BaseModel):
    """One trial's settings, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    depth: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Blocks of a transformer, or of a residual network."
    )
    width: Annotated[int, Field(ge=1, le=8192)] = Field(
        128, description="Width of the residual stream; channels of a residual network."
    )
    heads: Annotated[int, Field(ge=1, le=1024)] = Field(4, description="Attention heads; they divide the width.")
    feedforward: Annotated[int, Field(ge=1, le=64)] = Field(4, description="Hidden width of a block, in widths.")
    learning_rate: Annotated[float, Field(gt=0, le=100)] = Field(
        1e-3, description="AdamW's learning rate after warm-up, at the reference batch."
    )
    betas: Annotated[tuple[Rate, Rate], Field(strict=False)] = Field((0.9, 0.98), description="AdamW's decay rates.")
    epsilon: Annotated[float, Field(gt=0, le=1)] = Field(1e-8, description="AdamW's epsilon.")
    weight_decay: Annotated[float, Field(ge=0, le=100)] = Field(
        0.5, description="Decoupled weight decay on every parameter."
    )
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = Field(
        50, description="Updates of linear warm-up; the first has rate 0."
    )
    coupling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="How the learning rate follows the batch: rate x k or rate x sqrt k, k = batch / reference."
    )
    coupling_batch: BatchSize | None = Field(
        None, description="Batch size at which learning_rate applies unscaled; by default batch.max."
    )
    hold_decay: bool = Field(
        False,
        description="Keep learning rate x weight decay as without coupling: the decay then does not follow the batch.",
    )
    batch: BatchSchedule = Field(default_factory=BatchSchedule)
    model: tuple[tuple[str, bool | int | float | str], ...] = ()

    @property
    def reference_batch(self) -> int:
        """The batch size at which `learning_rate` applies unscaled."""
        return self.batch.max if self.coupling_batch is None else self.coupling_batch


@cache
def fields() -> dict[str, FieldInfo]:
    """Dotted key -> pydantic field of every hyperparameter that all tasks share."""
    own = {name: field for name, field in Hyperparameters.model_fields.items() if name not in ("batch", "model")}
    return own | {f"batch.{name}": field for name, field in BatchSchedule.model_fields.items()}


@cache
def adapter(key: str) -> TypeAdapter[Any]:
    """The validator of one key's value."""
    return adapter_of(fields()[key])


def adapter_of(field: FieldInfo) -> TypeAdapter[Any]:
    """The validator of one field's value."""
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


LISTS = frozenset({"betas", "batch.stages"})
"""Keys whose values are lists; conditions cannot mention them."""


def normalize(key: str, value: Value) -> Value:
    """The canonical spelling of a legal value: `geometric` for `exponential`."""
    return ALIASES.get(value, value) if key == "batch.shape" and isinstance(value, str) else value


def choices_of(field: FieldInfo) -> tuple[Value, ...]:
    """The words that a field allows; empty for numbers."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def from_flat(configuration: Configuration) -> Hyperparameters:
    """Fill in the defaults of a configuration. Raises pydantic.ValidationError."""
    batch = {key.removeprefix("batch."): value for key, value in configuration.items() if key.startswith("batch.")}
    model = {key.removeprefix(MODEL): value for key, value in configuration.items() if key.startswith(MODEL)}
    own = {key: value for key, value in configuration.items() if not key.startswith(("batch.", MODEL))}
    return Hyperparameters.model_validate(
        {"batch": BatchSchedule(**batch), "model": tuple(sorted(model.items())), **own}
    )


def to_flat(settings: Hyperparameters) -> dict[str, Value]:
    """Dotted key -> value of every setting."""
    own = {name: value for name, value in settings if name not in ("batch", "model")}
    batch = {f"batch.{name}": value for name, value in settings.batch}
    return own | batch | {f"{MODEL}{name}": value for name, value in settings.model}


def described(settings: Hyperparameters, known: Collection[str] | None = None) -> dict[str, Value]:
    """Dotted key -> value for people and tables, with None for every setting that has no effect.

    Args:
        settings: in canonical form.
        known: the keys that the task has; None for all.
    """
    flat = {key: value for key, value in to_flat(settings).items() if known is None or key in known}
    shape = settings.batch.shape
    used = {"shape", *USED_BY[shape], *(() if shape == "step" else ("max",))}
    unused = {f"batch.{name}" for name in BatchSchedule.model_fields} - {f"batch.{name}" for name in used}
    if settings.coupling == "none":
        unused |= {"coupling_batch", "hold_decay"}
    return {key: None if key in unused else value for key, value in flat.items()}


def conflicts(settings: Hyperparameters) -> list[tuple[str, str]]:
    """(key, message) for settings that are legal one by one but not together."""
    found = [(f"batch.{name}", message) for name, message in mistakes(settings.batch)]
    if settings.width % settings.heads:
        legal = [h for h in range(1, settings.width + 1) if settings.width % h == 0]
        near = sorted(legal, key=lambda h: abs(h - settings.heads))[:4]
        message = f"{settings.heads} heads do not divide width {settings.width}; the nearest that do: {sorted(near)}"
        found.append(("heads", message))
    return found


def canonical_form(settings: Hyperparameters, horizon: int) -> Hyperparameters:
    """The canonical form of a set of hyperparameters: settings without effect have their defaults."""
    batch = canonical(settings.batch, horizon)
    changes: dict[str, Value] = {"batch": batch}
    reference = settings.reference_batch
    unscaled = batch.shape != "noise_scale" and bool((batch_sizes(batch, horizon) == reference).all())
    if settings.coupling == "none" or unscaled:
        changes |= {"coupling": "none", "coupling_batch": None, "hold_decay": False}
    else:
        changes |= {"coupling_batch": reference, "hold_decay": settings.hold_decay and settings.weight_decay > 0}
    return settings.model_copy(update=changes)


@lru_cache(_CACHED)
def identity(settings: Hyperparameters, horizon: int) -> str:
    """A hash that two sets of hyperparameters share exactly if they train identically: schedules are compared by the
    batch sizes that they realise."""
    plain = canonical_form(settings, horizon)
    flat = {key: value for key, value in to_flat(plain).items() if not key.startswith("batch.")}
    if plain.batch.shape == "noise_scale":
        flat["batch"] = plain.batch.model_dump()
    else:
        sizes = batch_sizes(plain.batch, horizon)
        changes = np.flatnonzero(np.diff(sizes, prepend=0))
        flat["batch"] = np.column_stack([changes, sizes[changes]]).tolist()
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]
