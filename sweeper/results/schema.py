"""The three tables: names, types and meaning of their columns. docs/results.md is written from here.

Most columns are there whatever is learnt; a task adds those of its scores, diagnostics and hyperparameters.
"""

from dataclasses import dataclass
from typing import TypeAlias, get_args

import pyarrow as pa
from pydantic.fields import FieldInfo

from sweeper.folder.layout import TABLES
from sweeper.results.summary import ACCURACY, LEVELS, column_of
from sweeper.stats.events import CLOCKS
from sweeper.tasks.registry import BUILT_IN
from sweeper.tasks.task import SIDES, Task

SCHEMA_VERSION = 4
"""Goes up when a column changes its name, type or meaning."""

Column: TypeAlias = tuple[str, pa.DataType, str]
"""Name, type and meaning."""

_CLOCK_TYPE = {"steps": pa.int64(), "examples": pa.int64(), "seconds": pa.float64()}


@dataclass(frozen=True)
class Tables:
    """The three tables of a sweep: `trials`, `runs` and `curves`.

    Attributes:
        schemas: table -> names and types of its columns.
        meanings: table -> column -> what it means, in Markdown; every part carries its own in its metadata.
    """

    schemas: dict[str, pa.Schema]
    meanings: dict[str, dict[str, str]]


def tables(task: Task) -> Tables:
    """The tables of sweeps over a task."""
    columns = {"trials": _trials(task), "runs": _runs(task), "curves": _curves(task)}
    return Tables(
        {table: pa.schema([(name, kind) for name, kind, _ in found]) for table, found in columns.items()},
        {table: {name: meaning for name, _, meaning in found} for table, found in columns.items()},
    )


def _hyperparameter_type(key: str, field: FieldInfo) -> pa.DataType:
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


def _times(prefix: str, when: str) -> list[Column]:
    """The three clocks at some evaluation."""
    return [(f"{prefix}_{clock}", _CLOCK_TYPE[clock], f"{clock.capitalize()} at {when}.") for clock in CLOCKS]


def _level_times(name: str) -> list[Column]:
    first = f"the first evaluation with validation accuracy above {name} %"
    sustained = f"the start of the first streak of `sustained` evaluations with validation accuracy above {name} %"
    return [*_times(f"first_{name}", first), *_times(f"sustained_{name}", sustained)]


_AT_LAST = {"val": "In validation", "train": "In training"}


_TRIALS: list[Column] = [
    ("trial", pa.int64(), "The trial's number in the study."),
    ("phase", pa.string(), "What the trial was for: `baseline`, `search` or `confirm`."),
    (
        "name",
        pa.string(),
        "The baseline's name; for a confirmation the number of the trial that it repeats, as text; for a "
        "search trial that was opened again under a larger budget the number of the capped trial that it "
        "replaces; otherwise empty.",
    ),
    (
        "state",
        pa.string(),
        "How training ended: `finished` (every run reached its event, its horizon or a non-finite loss), "
        "`capped` (it could no longer matter), `lost` (out of the race after some of its replicates), "
        "`pruned` (by the height of its curve, under `stop: asha`), `stopped` (by the user or the time "
        "budget; taken up again by the next launch) or `failed`.",
    ),
    (
        "runs",
        pa.int64(),
        "Runs of the trial: operations x replicates; of a trial that was out of the race, the replicates that "
        "it trained.",
    ),
    ("reached", pa.int64(), "Runs that reached the event."),
    ("censored", pa.int64(), "Runs that were still waiting for it when they were last seen."),
    ("diverged", pa.int64(), "Runs that ended in a loss that is not finite."),
    ("failed", pa.int64(), "Runs that ended because training failed."),
    (
        "rmst",
        pa.float64(),
        "Restricted mean time to the event, on the objective's clock and in its units; with several "
        "operations the geometric mean of theirs.",
    ),
    ("rmst_error", pa.float64(), "Its standard error; null when an operation has a single run."),
    ("rmst_by_operation", pa.map_(pa.string(), pa.float64()), "The restricted mean of each operation."),
    (
        "value",
        pa.float64(),
        "What the sampler was told: the mean over operations of the log of the mean time, where a run that "
        "did not reach the event counts 1.001 to 1.01 times the limit "
        "([0006](decisions/0006-value-for-the-sampler.md)). For `lost`: as far behind the complete trials "
        "as it was with the replicates that it trained.",
    ),
    (
        "bound",
        pa.float64(),
        "The least that `value` could have become when training ended; null where every run was watched to its end.",
    ),
    ("steps_trained", pa.int64(), "Model updates spent, summed over the runs."),
    ("seconds", pa.float64(), "Wall time spent on the trial, over all its starts."),
    ("retries", pa.list_(pa.string()), "Why the trial was started again, each time; empty for most."),
    ("started", pa.timestamp("us", tz="UTC"), "When the trial was first handed to a runner, UTC."),
    ("finished", pa.timestamp("us", tz="UTC"), "When its last news arrived, UTC."),
    (
        "device",
        pa.string(),
        "Where it was trained, such as a GPU's name; empty when it failed before the first evaluation.",
    ),
    (
        "why",
        pa.string(),
        "For `failed`: `error`, `out of memory`, `out of host memory`, `node lost`, `worker killed`, `device "
        "failed` or `unusable checkpoint` ([failures](failures.md)). For `capped` and `lost`: the bound and "
        "the value that it exceeded. For `pruned`: the rule, the metric and the step. For `stopped`: by what. "
        "Otherwise empty.",
    ),
    ("detail", pa.string(), "The traceback of a failed trial; otherwise empty."),
    (
        "identity",
        pa.string(),
        "16 hexadecimal digits that two trials share when they train the same, however they are spelt "
        "([0005](decisions/0005-identity-by-realised-batches.md)).",
    ),
]


def _trials(task: Task) -> list[Column]:
    return [
        *_TRIALS,
        *(
            (column_of(key), _hyperparameter_type(key, field), f"Hyperparameter `{key}`: {field.description}")
            for key, field in task.hyperparameters.items()
        ),
    ]


_RUNS: list[Column] = [
    ("trial", pa.int64(), "The trial that the run belongs to."),
    ("operation", pa.string(), "The operation that it learnt."),
    (
        "replicate",
        pa.int64(),
        "Replicate number. The search has 0, 1, 2, ...; confirmations start at 1000. Equal numbers mean equal "
        "seeds, in every trial and every sweep.",
    ),
    ("init_seed", pa.int64(), "Seed of the initial parameters."),
    ("data_seed", pa.int64(), "Seed of the split into training and validation pairs."),
    ("order_seed", pa.int64(), "Seed of the batches, and of the validation sample where it is sampled."),
    ("outcome", pa.string(), "`reached`, `censored`, `diverged` or `failed`."),
    (
        "outcome_step",
        pa.int64(),
        "The update at which the event was reached, the run was last seen, or the loss stopped being finite.",
    ),
    (
        "why",
        pa.string(),
        "Censored by `horizon`, `cap`, `race`, `pruned` or `stopped`; failed by a cause as in `trials`; "
        "otherwise empty.",
    ),
    *_times("first", "the first evaluation past the objective's threshold"),
    *_times("sustained", "the event: the start of the first streak of `sustained` evaluations past the threshold"),
    (
        "best_metric",
        pa.float64(),
        "The value of the objective's metric that came closest to, or furthest past, the threshold.",
    ),
    ("final_step", pa.int64(), "Step of the last evaluation."),
]

_DIAGNOSES: list[Column] = [
    (
        "train_first_steps",
        pa.int64(),
        "Steps at the first evaluation at which training was past the threshold of generalisation: an accuracy of "
        "99 %, or the objective's threshold where there is no accuracy.",
    ),
    (
        "gap_steps",
        pa.int64(),
        "Steps from there to the first evaluation at which validation was: how long generalisation came after fitting.",
    ),
    ("gap_ratio", pa.float64(), "The one divided by the other."),
    (
        "fell_back",
        pa.bool_(),
        "Whether validation was past that threshold once and did not end there: an accuracy or R2 by more than 0.05, "
        "a loss by more than 5 %.",
    ),
    (
        "train_loss_spikes",
        pa.int64(),
        "How often the training loss rose above five times its median over the 25 evaluations before.",
    ),
    (
        "label",
        pa.string(),
        "`comprehension` (validation followed training within twice its time), `grokking` (later than that), "
        "`memorisation` (training only), `confusion` (neither) or `collapse` (reached and lost again); after "
        "Liu et al. 2022, arXiv:2205.10343. The rules are in [m_height.md](m_height.md#labels).",
    ),
    ("inversion_start", pa.int64(), "Step from which validation loss fell while training loss rose; null without."),
    ("inversion_end", pa.int64(), "Step at which it had."),
    ("inversion_val_before", pa.float64(), "Validation loss then, a median over 11 evaluations."),
    ("inversion_val_after", pa.float64(), "Validation loss afterwards."),
    ("inversion_train_before", pa.float64(), "Training loss before."),
    ("inversion_train_after", pa.float64(), "Training loss afterwards."),
    (
        "inversion_explained",
        pa.list_(pa.string()),
        "What it could have been: `memorised` (grokking by the standard definition), `group means`, `slingshot`, "
        "`clamped`; empty for none of these ([m_height.md](m_height.md#inversions)).",
    ),
]


def _runs(task: Task) -> list[Column]:
    levels = [each for name in LEVELS for each in _level_times(name)] if ACCURACY in task.scores else []
    finals = [
        (f"final_{side}_{name}", pa.float64(), f"{meaning} {_AT_LAST[side]}, at the last evaluation.")
        for name, meaning in task.scores.items()
        for side in SIDES
    ]
    return [*_RUNS, *levels, *finals, *_DIAGNOSES]


_CURVES: list[Column] = [
    ("trial", pa.int64(), "The trial that the run belongs to."),
    ("operation", pa.string(), "The operation that it learns."),
    ("replicate", pa.int32(), "Replicate number."),
    ("step", pa.int64(), "Updates done."),
    ("examples", pa.int64(), "Training examples drawn so far."),
    ("seconds", pa.float64(), "Wall time since the run's stack began to train."),
]

_TRAINING: list[Column] = [
    ("batch_size", pa.int32(), "Examples in the last update's batch."),
    ("learning_rate", pa.float32(), "Learning rate of the last update."),
    ("gradient_norm", pa.float32(), "L2 norm of the last update's gradient."),
    ("weight_norm", pa.float32(), "L2 norm of all parameters."),
    (
        "last_layer_norm",
        pa.float32(),
        "L2 norm of the output layer's weights alone: its spikes are the slingshots of Thilak et al. 2022, "
        "arXiv:2206.04817.",
    ),
    ("weight_norm_blocks", pa.list_(pa.float32()), "L2 norm of each block's parameters, first block first."),
]


def _curves(task: Task) -> list[Column]:
    where = {
        "val": "Of all validation examples; with `evaluation: sampled` of a sample.",
        "train": "Of the batches since the evaluation before, as they were trained on.",
    }
    scores = [
        (f"{side}_{name}", pa.float32(), f"{meaning} {where[side]}")
        for name, meaning in task.scores.items()
        for side in SIDES
    ]
    others = [(name, pa.float32(), meaning) for name, meaning in task.diagnostics.items()]
    return [*_CURVES, *scores, *_TRAINING, *others]


def _of_ours() -> dict[str, pa.Schema]:
    found = [tables(task.model_construct(name=name)) for name, task in BUILT_IN.items()]
    return {table: pa.unify_schemas([each.schemas[table] for each in found]) for table in TABLES}


KNOWN = _of_ours()
"""Table -> the columns that any of our own tasks has: those of a sweep whose tables hold nothing yet."""
