"""One row of each table: the names, types and meanings of its columns, in their order.

A field's annotation is its type and its meaning; None is null. A field of type `OfTask` stands for columns that differ
by task, which `sweeper.results.schema` puts in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Annotated, Any, TypeAlias

import numpy as np

OfTask: TypeAlias = Mapping[str, object]
"""Column -> value, for the columns that a task adds to a table."""

ACCURACY = "accuracy"
"""The score whose levels are recorded, where a task has it."""

LEVELS = {"90": 0.90, "95": 0.95, "99": 0.99}
"""Validation accuracies whose first and sustained crossings are recorded."""


def column_of(key: str) -> str:
    """The column of a hyperparameter: dots would need quotes in SQL."""
    return key.replace(".", "_")


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A row of `trials`: one trial, its outcome and its configuration."""

    trial: Annotated[int, "The trial's number in the study."]
    phase: Annotated[str, "Purpose of the trial: `baseline`, `search` or `confirm`."]
    name: Annotated[
        str,
        "The baseline's name; for a confirmation the number of the trial that it repeats, as text; for a search "
        "trial that was opened again under a larger budget the number of the capped trial that it replaces; "
        "otherwise empty.",
    ]
    state: Annotated[
        str,
        "How training ended: `finished` (every run reached its event, its horizon or a non-finite loss), `capped` "
        "(it could no longer matter), `lost` (out of the race after some of its replicates), `pruned` (by the "
        "height of its curve, under `stop: asha`), `paused` (others promised more, under `stop: thaw`; it may go on), "
        "`stopped` (by the user or the time budget; taken up again by the next launch) or `failed`.",
    ]
    runs: Annotated[
        int,
        "Runs of the trial: operations x replicates; of a trial that was out of the race, the replicates that it "
        "trained.",
    ]
    reached: Annotated[int, "Runs that reached the event."]
    censored: Annotated[int, "Runs that were still waiting for it when they were last seen."]
    diverged: Annotated[int, "Runs that ended in a loss that is not finite."]
    failed: Annotated[int, "Runs that ended because training failed."]
    rmst: Annotated[
        float,
        "Restricted mean time to the event, on the objective's clock and in its units; with several operations the "
        "geometric mean of theirs.",
    ]
    rmst_error: Annotated[float | None, "Its standard error; null when an operation has a single run."] = None
    rmst_by_operation: Annotated[tuple[tuple[str, float], ...], "The restricted mean of each operation."]
    value: Annotated[
        float,
        "The value reported to the sampler: the mean over operations of the log of the mean time, where a run that did "
        "not reach the event counts 1.001 to 1.01 times the limit ([0006](decisions/0006-value-for-the-sampler.md)). "
        "For `lost`: as far behind the complete trials as it was with the replicates that it trained.",
    ]
    bound: Annotated[
        float | None,
        "The least that `value` could have become when training ended; null where every run was watched to its end.",
    ] = None
    steps_trained: Annotated[int, "Model updates spent, summed over the runs."]
    seconds: Annotated[float, "Wall time spent on the trial, over all its starts."]
    retries: Annotated[tuple[str, ...] | None, "Why the trial was restarted, once per restart; empty for most."]
    started: Annotated[datetime, "When the trial was first handed to a runner, UTC."]
    finished: Annotated[datetime, "When its last result arrived, UTC."]
    device: Annotated[
        str,
        "Where it was trained, such as a GPU's name; empty when it failed before the first evaluation.",
    ]
    why: Annotated[
        str,
        "For `failed`: `error`, `error beside others`, `out of memory`, `out of memory beside others`, "
        "`out of host memory`, `node lost`, `worker killed`, `device "
        "failed` or `unusable checkpoint` ([failures](failures.md)). For `capped` and `lost`: the bound and the "
        "value that it exceeded. For `pruned`: the rule, the metric and the step. For `stopped`: by what. Otherwise "
        "empty.",
    ]
    detail: Annotated[str, "The traceback of a failed trial; otherwise empty."]
    identity: Annotated[
        str,
        "16 hexadecimal digits that two trials share when they train the same, however they are spelt "
        "([0005](decisions/0005-identity-by-realised-batches.md)).",
    ]
    hyperparameters: OfTask


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A row of `runs`: one run, its outcome and what its curve shows."""

    trial: Annotated[int, "The trial that the run belongs to."]
    operation: Annotated[str, "The operation that it learnt."]
    replicate: Annotated[
        int,
        "Replicate number. The search has 0, 1, 2, ...; confirmations start at 1000. Equal numbers mean equal "
        "seeds, in every trial and every sweep.",
    ]
    init_seed: Annotated[int, "Seed of the initial parameters."]
    data_seed: Annotated[int, "Seed of the split into training and validation pairs."]
    order_seed: Annotated[int, "Seed of the batches, and of the validation sample where it is sampled."]
    outcome: Annotated[str, "`reached`, `censored`, `diverged` or `failed`."]
    outcome_step: Annotated[
        int,
        "The update at which the event was reached, the run was last seen, or the loss stopped being finite.",
    ]
    why: Annotated[
        str,
        "Censored by `horizon`, `cap`, `race`, `pruned`, `paused` or `stopped`; failed by a cause as in `trials`; "
        "otherwise empty.",
    ]
    first_steps: Annotated[int | None, "Steps at the first evaluation past the objective's threshold."] = None
    first_examples: Annotated[int | None, "Examples at the first evaluation past the objective's threshold."] = None
    first_seconds: Annotated[float | None, "Seconds at the first evaluation past the objective's threshold."] = None
    sustained_steps: Annotated[
        int | None,
        "Steps at the event: the start of the first streak of `sustained` evaluations past the threshold.",
    ] = None
    sustained_examples: Annotated[
        int | None,
        "Examples at the event: the start of the first streak of `sustained` evaluations past the threshold.",
    ] = None
    sustained_seconds: Annotated[
        float | None,
        "Seconds at the event: the start of the first streak of `sustained` evaluations past the threshold.",
    ] = None
    best_metric: Annotated[
        float | None,
        "The value of the objective's metric that came closest to, or furthest past, the threshold.",
    ] = None
    final_step: Annotated[int | None, "Step of the last evaluation."] = None
    scores: OfTask = field(default_factory=dict)
    train_first_steps: Annotated[
        int | None,
        "Steps at the first evaluation at which training was past the threshold of generalisation: an accuracy of "
        "99 %, or the objective's threshold where there is no accuracy.",
    ] = None
    gap_steps: Annotated[
        int | None,
        "Steps from there to the first evaluation at which validation was: how long generalisation came after fitting.",
    ] = None
    gap_ratio: Annotated[float | None, "The one divided by the other."] = None
    fell_back: Annotated[
        bool | None,
        "Whether validation was past that threshold once and did not end there: an accuracy or R2 by more than "
        "0.05, a loss by more than 5 %.",
    ] = None
    train_loss_spikes: Annotated[
        int | None,
        "How often the training loss rose above five times its median over the 25 evaluations before.",
    ] = None
    label: Annotated[
        str | None,
        "`comprehension` (validation followed training within twice its time), `grokking` (later than that), "
        "`memorisation` (training only), `confusion` (neither) or `collapse` (reached and lost); after Liu et "
        "al. 2022, arXiv:2205.10343. The rules are in [m_height.md](m_height.md#labels).",
    ] = None
    inversion_start: Annotated[
        int | None,
        "Step from which validation loss fell while training loss rose; null without.",
    ] = None
    inversion_end: Annotated[int | None, "Step at which it had."] = None
    inversion_val_before: Annotated[float | None, "Validation loss then, a median over 11 evaluations."] = None
    inversion_val_after: Annotated[float | None, "Validation loss afterwards."] = None
    inversion_train_before: Annotated[float | None, "Training loss before."] = None
    inversion_train_after: Annotated[float | None, "Training loss afterwards."] = None
    inversion_explained: Annotated[
        tuple[str, ...] | None,
        "What it could have been: `memorised` (grokking by the standard definition), `group means`, `slingshot`, "
        "`clamped`; empty for none of these ([m_height.md](m_height.md#inversions)).",
    ] = None


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """A row of `curves`: one evaluation of one run. It is declared only: `curves` is written column by column.

    A loop of the user's own logs no norms.
    """

    trial: Annotated[int, "The trial that the run belongs to."]
    operation: Annotated[str, "The operation that it learns."]
    replicate: Annotated[np.int32, "Replicate number."]
    step: Annotated[int, "Updates done."]
    examples: Annotated[int, "Training examples drawn so far."]
    seconds: Annotated[float, "Wall time since the run's stack began to train."]
    scores: OfTask
    batch_size: Annotated[np.int32, "Examples in the last update's batch."]
    learning_rate: Annotated[np.float32 | None, "Learning rate of the last update."]
    gradient_norm: Annotated[np.float32 | None, "L2 norm of the last update's gradient."]
    weight_norm: Annotated[np.float32 | None, "L2 norm of all parameters."]
    last_layer_norm: Annotated[
        np.float32 | None,
        "L2 norm of the output layer's weights alone: its spikes are the slingshots of Thilak et al. 2022, "
        "arXiv:2206.04817.",
    ]
    weight_norm_blocks: Annotated[
        tuple[np.float32, ...] | None, "L2 norm of each block's parameters, first block first."
    ]
    diagnostics: OfTask


def columns(row: TrialRow | RunRow) -> dict[str, Any]:
    """Column -> value, with the task's columns in their places."""
    found: dict[str, Any] = {}
    for each in fields(row):
        value = getattr(row, each.name)
        found |= value if isinstance(value, Mapping) else {each.name: value}
    return found
