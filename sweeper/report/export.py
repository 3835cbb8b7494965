"""Export a sweep's tables as CSV, JSON or Parquet, or one trial as the published experiment's final_info.json."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.report.as_json import as_json
from sweeper.report.query_output import save
from sweeper.results.query import Sweeps, query, records
from sweeper.results.rows import ACCURACY, column_of
from sweeper.stats.events import Ending
from sweeper.trackers.protocol import OUTCOME, SCORES, FinishedTrial

if TYPE_CHECKING:  # a whole table needs neither
    from sweeper.config.model import SweepSpec
    from sweeper.report.select import SelectedTrial

Format = Literal["csv", "json", "parquet"]
_OF_CURVES = ("operation", "replicate", "step")
_FINAL = {
    "final_train_loss": "final_train_loss",
    "final_val_loss": "final_val_loss",
    "final_train_acc": "final_train_accuracy",
    "final_val_acc": "final_val_accuracy",
    "step_val_acc_99": "first_99_steps",
}
"""Name in final_info.json -> column of `runs`."""


def finished_trials(folder: SweepFolder, spec: "SweepSpec") -> Iterator[FinishedTrial]:
    """Every trial that is over for good, by number, as trackers take it.

    Raises:
        UserError: a part is damaged.
    """
    known = spec.task.hyperparameters
    for row in records(folder, "SELECT * FROM trials ORDER BY trial"):
        if not Ending(row["state"], row["why"]).final:
            continue
        curves = query(folder, f"SELECT * FROM curves WHERE trial = {row['trial']} ORDER BY operation, replicate, step")
        wanted = [name for name in curves.column_names if name in _OF_CURVES or name.startswith(SCORES)]
        yield FinishedTrial(
            row["trial"],
            row["phase"],
            row["name"],
            row["state"],
            {key: _tuples(value) for key in known if (value := row.get(column_of(key))) is not None},
            {name: float(row[name]) for name in OUTCOME if row[name] is not None},
            {name: np.array(curves[name].to_pylist()) for name in wanted} if curves.num_rows else {},
            row["started"],
            row["finished"],
        )


def format_of(output: Path) -> Format:
    """The format of a file, by its extension. Raises UserError for an unsupported one."""
    extension = output.suffix.removeprefix(".")
    if extension in get_args(Format):
        found: Format = extension  # type: ignore[assignment]  # it is one of them
        return found
    raise UserError(f"{output}: unsupported extension {output.suffix!r}; use .csv, .json or .parquet")


def export(sweeps: Sweeps, table: str, form: Format, output: Path) -> None:
    """Write a whole table as one file.

    Raises:
        UserError: the file cannot be written, or a part is damaged.
    """
    order = {"trials": "trial", "runs": "trial, operation, replicate", "curves": "trial, operation, replicate, step"}
    save(query(sweeps, f"SELECT * FROM {table} ORDER BY {order[table]}"), form, output)


def final_info(chosen: "SelectedTrial") -> dict[str, Any]:
    """One trial in the format of the published experiment's final_info.json: operation -> means, errors, values.

    As in the original, a run that never exceeds 99 % counts as the horizon. The original divides the standard deviation
    by n; here, `stderrs` are standard errors of the mean: sd / sqrt(n), sd with n - 1.

    Raises:
        UserError: the task has no accuracy.
    """
    if ACCURACY not in chosen.spec.task.scores:
        raise UserError(f"{chosen.sweep}: final_info.json needs accuracies, and {chosen.spec.task.name} has none")
    row = chosen.row
    columns = ", ".join(_FINAL.values())
    runs = records(
        chosen.folder,
        f"SELECT operation, {columns} FROM runs WHERE trial = {row['trial']} ORDER BY operation, replicate",
    )
    found: dict[str, Any] = {}
    for operation in dict.fromkeys(run["operation"] for run in runs):
        mine = [run for run in runs if run["operation"] == operation]
        values: dict[str, list[Any]] = {name: [run[column] for run in mine] for name, column in _FINAL.items()}
        horizon = chosen.spec.objective.horizon
        values["step_val_acc_99"] = [horizon if each is None else each for each in values["step_val_acc_99"]]
        found[operation] = {
            "means": {f"{name}_mean": _mean(each) for name, each in values.items()},
            "stderrs": {f"{name}_stderr": _error(each) for name, each in values.items()},
            "final_info_dict": values,
        }
    return found


def write_final_info(chosen: "SelectedTrial", output: Path) -> None:
    """Write final_info.json. Raises UserError if the file cannot be written."""
    try:
        output.write_text(as_json(final_info(chosen)) + "\n")
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from None


def _tuples(value: Any) -> Any:
    """A value of a table as a configuration has it: lists are tuples there."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _mean(values: list[Any]) -> float:
    return math.fsum(values) / len(values) if None not in values else math.nan


def _error(values: list[Any]) -> float:
    if None in values or len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(math.fsum((each - mean) ** 2 for each in values) / (len(values) - 1) / len(values))
