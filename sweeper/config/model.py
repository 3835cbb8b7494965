"""The sections of a space.yaml as frozen records: type, range, default and description of every key."""

import re
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    create_model,
    field_validator,
    model_validator,
)

from sweeper.folder import address
from sweeper.space.batch_schedules import BatchSchedule
from sweeper.space.hyperparameters import Value
from sweeper.space.parameters import Parameter
from sweeper.space.space import Space
from sweeper.stats.events import Clock, Event
from sweeper.stats.objective import limit_of
from sweeper.stats.watch import Watch
from sweeper.tasks.task import DISTINCT, OneOrMany, Task

Precision = Literal["float32", "tf32", "bfloat16"]
At = Literal["event", "end"]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


_URL = re.compile(r"[A-Za-z][\w+]*://.+")
_PASSWORD = re.compile(r"[^:/]*://[^:/]*:[^@]*@", re.DOTALL)
"""`scheme://user:password@`, as SQLAlchemy parses it."""
_PASSWORD_KEYS = {"password", "passwd", "sslpassword"}


class Section(BaseModel):
    """A frozen section without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Objective(Section):
    """The event whose time is minimized, and how runs are observed."""

    minimize: Clock = Field("steps", description="The clock that measures the time to the event.")
    until: str = Field("val_accuracy > 0.99", description="The event: a logged metric, > or <, and a threshold.")
    sustained: Positive = Field(1, description="Evaluations in a row that must be past the threshold.")
    horizon: Annotated[int, Field(ge=1, le=10_000_000)] = Field(description="Updates after which a run is censored.")
    horizon_seconds: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Seconds after which a run is censored; needed to minimize seconds."
    )
    evaluate_every: Positive = Field(10, description="Updates between evaluations.")
    screen: bool = Field(
        False,
        description="Whether an evaluation begins with a few validation examples and ends there if so many are wrong "
        "that the event is impossible. No event changes; curves before it hold values of these examples alone.",
    )
    tail: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        0, description="Updates that a run still trains after its event, to see whether the metric falls back."
    )
    replicates: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Seeds every trial is trained with.")

    @field_validator("until")
    @classmethod
    def _is_event(cls, value: str) -> str:
        Event.parse(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Objective":
        if self.evaluate_every > self.horizon:
            raise ValueError(f"evaluate_every ({self.evaluate_every}) is past the horizon ({self.horizon})")
        if self.minimize == "seconds" and self.horizon_seconds is None:
            raise ValueError("to minimize seconds, give horizon_seconds, the time after which a run is censored")
        return self

    @property
    def event(self) -> Event:
        """The parsed event."""
        return Event.parse(self.until, self.sustained)

    def watch(self) -> Watch:
        """A watch on one run that has not begun."""
        return Watch(self.event, self.horizon, self.tail, self.horizon_seconds)


class Sampler(Section):
    """How the next configuration is chosen."""

    name: Literal["gp", "tpe", "random", "grid"] = Field(
        "gp",
        description="gp, a Gaussian process over event times, and tpe learn; random does not; grid tries all.",
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="Seed of the suggestions.")
    startup_trials: Positive | None = Field(
        None, description="Trials before gp or tpe starts to learn; by default 8 for gp and 20 for tpe."
    )

    @property
    def startup(self) -> int:
        """Trials before it starts to learn."""
        return self.startup_trials or (8 if self.name == "gp" else 20)


class Race(Section):
    """Later replicates only for trials that are competitive on their first ones."""

    first: Positive = Field(1, description="Replicates a trial begins with; then twice as many each time, up to all.")
    slack: Annotated[float, Field(ge=0, le=10)] = Field(
        0.5, description="How much slower than the leader, on the same seeds, a trial may be to go on: 0.5 is 50 %."
    )


class Confirm(Section):
    """Fresh seeds for the finalists, because the best trial on the search's seeds is partly lucky."""

    top: Positive = Field(3, description="How many of the best trials to repeat.")
    replicates: Positive = Field(10, description="Fresh seeds for each.")


class Budget(Section):
    """When the search ends: at the first limit reached."""

    trials: Positive | None = Field(None, description="Trials of the search, baselines included.")
    hours: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Hours of the search, over all launches; confirmations are trained after it."
    )

    @model_validator(mode="after")
    def _finite(self) -> "Budget":
        if self.trials is None and self.hours is None:
            raise ValueError("give trials, hours or both")
        return self


class Keep(Section):
    """Which trained parameters are kept, in the folder `models`."""

    best: Positive = Field(3, description="Keep the parameters of so many best trials, of each of their runs.")
    at: At = Field(
        "event",
        description="event: the parameters with which the event was established; end: those at the end of the run, "
        "after its tail. A run without the event keeps those at its end.",
    )


class Notify(Section):
    """Who is notified when the sweep ends, or stalls."""

    command: list[str] | None = Field(
        None, description="A program and its arguments; {text} in one is the message, which is JSON on its input, too."
    )
    webhook: str | None = Field(
        None, description="The environment variable that holds the URL to which the message is posted as JSON."
    )
    stalls_after: Annotated[float, Field(gt=0, le=100_000)] = Field(
        30.0, description="Minutes without an evaluation after which the sweep counts as stalled."
    )

    @field_validator("webhook")
    @classmethod
    def _is_variable(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z_]\w*", value):
            # An address such as this one is a secret: the message must not repeat it.
            raise ValueError(
                "not the name of an environment variable; the space.yaml is kept with the results, so put the URL in a "
                "variable such as SWEEPER_WEBHOOK, and write its name here"
            )
        return value

    @model_validator(mode="after")
    def _sends(self) -> "Notify":
        if not self.command and self.webhook is None:
            raise ValueError("give command, webhook or both")
        return self


def _number_or_auto(value: object) -> str | None:
    """The kind of a value; None if it is neither."""
    if value == "auto":
        return "auto"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else None


GpuShare = Annotated[
    Annotated[float, Field(ge=0, le=64), Tag("number")] | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(
        _number_or_auto, custom_error_type="number_or_auto", custom_error_message="it must be a number or auto"
    ),
]


class Resources(Section):
    """Resources of one trial, shared by its replicates."""

    cpu: Annotated[float, Field(ge=0.01, le=1024)] = Field(1.0, description="Cores for each trial.")
    gpu: GpuShare = Field(
        0.0, description="GPUs for each trial: 0, a fraction such as 0.25, a whole number, or auto to measure it."
    )
    engine: Literal["auto", "on", "off"] = Field(
        "off",
        description="Whether the trials on a device train in one process there, stacked where they can be; "
        "auto: where they share a GPU.",
    )

    @field_validator("engine", mode="before")
    @classmethod
    def _word_that_yaml_reads_as_a_boolean(cls, value: object) -> object:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @property
    def engines(self) -> bool:
        """Whether trials train in engines, as far as that is known before a share of a GPU has been measured."""
        shared = self.gpu == "auto" or 0 < self.gpu < 1
        return self.engine == "on" or (self.engine == "auto" and shared)

    @field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, value: float | Literal["auto"]) -> float | Literal["auto"]:
        if value == "auto":
            return value
        if value > 1 and value != int(value):
            raise ValueError(f"got {value}; above 1 only whole numbers of GPUs are possible")
        if 0 < value < 0.001:
            raise ValueError(f"got {value}; a share of a GPU is at least 0.001")
        return value


class SweepSpec(Section):
    """A whole space.yaml; `of_task` makes the record for one task."""

    name: Name = Field(description="The sweep's name, and its folder's.")
    task: SerializeAsAny[Task]
    objective: Objective
    search: dict[str, Parameter] = Field(default_factory=dict, description="The parameters to search over.")
    require: OneOrMany[str] = Field((), description="Conditions that every configuration meets, by construction.")
    fixed: dict[str, Value] = Field(default_factory=dict, description="Hyperparameters with one value.")
    baselines: dict[Name, dict[str, Value]] = Field(
        default_factory=dict, description="Named configurations that always run, before the search."
    )
    start: list[dict[str, Value]] = Field(
        default_factory=list, description="Configurations that the search begins with, as `sweeper import` writes them."
    )
    sampler: Sampler = Field(default_factory=Sampler)
    stop: Literal["thaw", "cap", "asha", "none"] = Field(
        "cap",
        description="cap: end a trial as soon as its result can no longer matter; thaw: also begin with one seed, and "
        "pause a trial while others promise more; asha: end it if its curve is low at a rung, which may stop the "
        "winner; none: never. Without this key: thaw where hours limit a search by gp without a race, otherwise cap.",
    )
    prior: OneOrMany[str] = Field(
        (),
        description="Earlier sweeps, by name or folder, from whose learning curves stop: thaw learns too; their "
        "objective must be the same. They count as far as they prove right in this sweep.",
    )
    race: Race | None = Field(None, description="Give a trial its later replicates only while it is competitive.")
    confirm: Confirm | None = Field(None, description="Repeat the finalists on fresh seeds.")
    budget: Budget
    keep: Keep | None = Field(None, description="Keep the trained parameters of the best trials.")
    resources: Resources = Field(default_factory=Resources)
    precision: Precision = Field(
        "float32",
        description="Precision of matrix products; parameters, loss and softmax stay float32. tf32 needs a GPU.",
    )
    notify: Notify | None = Field(None, description="Notify a person when the sweep ends, or stalls.")
    results: str = Field(
        "results", description="Parent of the sweep's own folder: a path, s3://bucket/prefix or gs://bucket/prefix."
    )
    storage: str | None = Field(
        None, description="Database that stores the trials, as a URL; by default a journal in the sweep's folder."
    )
    trackers: Annotated[OneOrMany[Literal["tensorboard", "mlflow", "wandb"]], DISTINCT] = Field(
        (), description="Trackers that receive every finished trial: one or a list."
    )

    @model_validator(mode="before")
    @classmethod
    def _stops(cls, data: Any) -> Any:
        """The rule for stopping that fits the other keys, where none is given.

        Where trials are counted, each is trained to its end or its bound in any case, and waiting gains nothing.
        """
        if not isinstance(data, dict) or "stop" in data:
            return data
        budget, sampler = data.get("budget"), data.get("sampler", {})
        timed = isinstance(budget, dict) and budget.get("hours") is not None
        learns = isinstance(sampler, dict) and sampler.get("name", "gp") == "gp"
        thaws = timed and learns and bool(data.get("search")) and data.get("race") is None
        return data | {"stop": "thaw" if thaws else "cap"}

    @field_validator("results")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return address.check(value)

    @field_validator("storage")
    @classmethod
    def _is_database(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if _PASSWORD.match(value) or {key.lower() for key, _ in parse_qsl(value.partition("?")[2])} & _PASSWORD_KEYS:
            raise ValueError(
                "got a URL with a password, and the space.yaml is kept with the results; leave the password out: "
                "PostgreSQL reads it from PGPASSWORD or ~/.pgpass"
            )
        if not _URL.match(value):
            raise ValueError(
                "not the URL of a database; write one such as postgresql://user@host:5432/database or "
                "sqlite:///trials.db, or remove the key"
            )
        return value

    @property
    def given(self) -> dict[str, Value]:
        """Values of the hyperparameters that are not searched: fixed ones, and defaults of the task."""
        own = {key: value for key, value in self.task.all_defaults.items() if key not in self.search}
        return {**own, **self.fixed}

    @property
    def finalists(self) -> int:
        """How many of the best trials must be right, should all baselines be among the best."""
        return self.confirm.top + len(self.baselines) if self.confirm else 1

    @property
    def largest_batch(self) -> int:
        """The largest batch that any configuration of the sweep can use, in examples."""
        written = [
            self.given,
            *self.baselines.values(),
            *({key: value} for key, parameter in self.search.items() for value in parameter.grid()),
        ]
        sizes: list[int] = [values["batch.max"] for values in written if "batch.max" in values]
        sizes += [size for values in written for _, size in values.get("batch.stages", ())]
        default = [] if "batch.max" in {**self.given, **self.search} else [BatchSchedule().max]
        return max([*sizes, *default])

    def limit(self, clock: Clock | None = None) -> float:
        """The limit of restricted means, by default on the objective's clock: no run can exceed it."""
        objective = self.objective
        return limit_of(clock or objective.minimize, objective.horizon, self.largest_batch, objective.horizon_seconds)

    @property
    def space(self) -> Space:
        """The search space; `sweeper.config.checks` has checked its parts."""
        known = frozenset(self.task.hyperparameters)
        return Space(self.search, self.fixed, self.require, self.objective.horizon, known, self.task.all_defaults)


@cache
def of_task(task: type[Task]) -> type[SweepSpec]:
    """The record of a space.yaml whose section `task` has this type."""
    return create_model("SweepSpec", __base__=SweepSpec, __doc__=SweepSpec.__doc__, task=(task, ...))
