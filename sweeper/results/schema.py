"""The three tables: names, types and meaning of their columns. docs/results.md is written from here."""

from typing import get_args

import pyarrow as pa

from sweeper import hyperparameters
from sweeper.outcomes import CLOCKS
from sweeper.results.summary import LEVELS, column_of

SCHEMA_VERSION = 3
"""Goes up when a column changes its name, type or meaning."""

_CLOCK_TYPE = {"steps": pa.int64(), "examples": pa.int64(), "seconds": pa.float64()}


def _hyperparameter_type(key: str) -> pa.DataType:
    if key == "betas":
        return pa.list_(pa.float64())
    if key == "batch.stages":
        return pa.list_(pa.list_(pa.int64()))
    return _plain_type(hyperparameters.fields()[key].annotation)


def _plain_type(annotation: object) -> pa.DataType:
    """The type of a number, a flag or, for everything else, text; None and constraints around it do not matter."""
    plain: dict[object, pa.DataType] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if annotation in plain:
        return plain[annotation]
    inner = [_plain_type(each) for each in get_args(annotation) if isinstance(each, type) or get_args(each)]
    return next((each for each in inner if each != pa.string()), pa.string())


def _times(prefix: str) -> list[pa.Field]:
    return [pa.field(f"{prefix}_{clock}", _CLOCK_TYPE[clock]) for clock in CLOCKS]


TRIALS = pa.schema(
    [
        pa.field("trial", pa.int64()),
        pa.field("phase", pa.string()),
        pa.field("name", pa.string()),
        pa.field("state", pa.string()),
        pa.field("runs", pa.int64()),
        pa.field("reached", pa.int64()),
        pa.field("censored", pa.int64()),
        pa.field("diverged", pa.int64()),
        pa.field("failed", pa.int64()),
        pa.field("rmst", pa.float64()),
        pa.field("rmst_error", pa.float64()),
        pa.field("rmst_by_operation", pa.map_(pa.string(), pa.float64())),
        pa.field("value", pa.float64()),
        pa.field("bound", pa.float64()),
        pa.field("steps_trained", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("retries", pa.list_(pa.string())),
        pa.field("started", pa.timestamp("us", tz="UTC")),
        pa.field("finished", pa.timestamp("us", tz="UTC")),
        pa.field("device", pa.string()),
        pa.field("why", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("identity", pa.string()),
        *(pa.field(column_of(key), _hyperparameter_type(key)) for key in hyperparameters.fields()),
    ]
)

RUNS = pa.schema(
    [
        pa.field("trial", pa.int64()),
        pa.field("operation", pa.string()),
        pa.field("replicate", pa.int64()),
        pa.field("init_seed", pa.int64()),
        pa.field("data_seed", pa.int64()),
        pa.field("order_seed", pa.int64()),
        pa.field("outcome", pa.string()),
        pa.field("outcome_step", pa.int64()),
        pa.field("why", pa.string()),
        *_times("first"),
        *_times("sustained"),
        *(each for name in LEVELS for each in (*_times(f"first_{name}"), *_times(f"sustained_{name}"))),
        pa.field("best_metric", pa.float64()),
        pa.field("final_step", pa.int64()),
        pa.field("final_val_accuracy", pa.float64()),
        pa.field("final_val_loss", pa.float64()),
        pa.field("final_train_accuracy", pa.float64()),
        pa.field("final_train_loss", pa.float64()),
        pa.field("train_99_steps", pa.int64()),
        pa.field("gap_steps", pa.int64()),
        pa.field("gap_ratio", pa.float64()),
        pa.field("fell_back", pa.bool_()),
        pa.field("train_loss_spikes", pa.int64()),
        pa.field("label", pa.string()),
    ]
)

CURVES = pa.schema(
    [
        pa.field("trial", pa.int64()),
        pa.field("operation", pa.string()),
        pa.field("replicate", pa.int32()),
        pa.field("step", pa.int64()),
        pa.field("examples", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("val_accuracy", pa.float32()),
        pa.field("val_loss", pa.float32()),
        pa.field("train_accuracy", pa.float32()),
        pa.field("train_loss", pa.float32()),
        pa.field("batch_size", pa.int32()),
        pa.field("learning_rate", pa.float32()),
        pa.field("gradient_norm", pa.float32()),
        pa.field("weight_norm", pa.float32()),
        pa.field("weight_norm_embedding", pa.float32()),
        pa.field("weight_norm_head", pa.float32()),
        pa.field("last_layer_norm", pa.float32()),
        pa.field("weight_norm_blocks", pa.list_(pa.float32())),
        pa.field("saturated", pa.float32()),
    ]
)

SCHEMAS = {"trials": TRIALS, "runs": RUNS, "curves": CURVES}
