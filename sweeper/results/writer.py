"""Write finished trials so that each is durable at once, and in the Parquet parts as soon as that is cheap.

A trial that ends is written to the parts directly if the last fold was long enough ago, since each fold rewrites the
newest part; otherwise it becomes pending: one small file, folded into the parts with others a little later.
10,000 trials make about 100 files, however fast they come. docs/decisions/0012-pending-shards.md has the measurement.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results import shards
from sweeper.results.parts import METADATA, Parts
from sweeper.results.rows import RunRow, TrialRow, columns
from sweeper.results.schema import SCHEMA_VERSION, TableSchemas
from sweeper.results.shards import Rows

TRIALS_PER_PART = {"trials": 1024, "runs": 1024, "curves": 128}
SHARE = 0.02
"""Writing parts may take this share of the time."""


class Writer:
    """The tables of one sweep, open for writing by one process.

    What a killed launch left is put in order first: half-written files are removed, pending trials folded.

    To fold is to put all that is pending into the parts, one rewrite for each part that changes. After a fold that took
    c seconds the next one is due c / 0.02 seconds later, so that folding takes at most 2 % of the time: trials of
    minutes are folded one by one as they end, trials of milliseconds many together. When as many are pending as a part
    of `curves` holds, the next fold is due whatever it costs: memory is bounded, and so is what a trial costs.

    Args:
        folder: the sweep's folder.
        provenance: stored in the metadata of every part this launch writes.
        tables: their columns.
        clock: seconds since whenever; it decides when folds are due.

    Raises:
        UserError: the folder holds tables or pending trials of another schema version, or damaged ones.
        StorageError: pending trials could not be folded; they stay pending.
    """

    def __init__(
        self,
        folder: SweepFolder,
        provenance: Mapping[str, Any],
        tables: TableSchemas,
        clock: Callable[[], float] = time.monotonic,
    ):
        note = {"schema_version": SCHEMA_VERSION, "provenance": provenance}
        self._folder, self._schemas, self._clock = folder, tables.schemas, clock
        self._due_at = clock()
        self._parts = {
            name: Parts(folder.table(name), _noted(tables, name, note), TRIALS_PER_PART[name]) for name in TABLES
        }
        folder.remove_unfinished()
        self._pending: dict[int, Rows] = shards.read(folder, self._schemas)
        self._fold(self._pending)

    def put(self, curves: Mapping[str, Any], runs: Sequence[RunRow], row: TrialRow) -> None:
        """Make a trial durable: its curves, its runs and its row in `trials`. Repeating it changes nothing.

        Raises:
            StorageError: it could not be written. Nothing that was written before is harmed; it may be repeated.
        """
        rows = {
            "trials": pa.Table.from_pylist([_without_nan(row)], schema=self._schemas["trials"]),
            "runs": pa.Table.from_pylist([_without_nan(each) for each in runs], schema=self._schemas["runs"]),
            "curves": _curves_table(self._schemas["curves"], row.trial, curves),
        }
        if self._is_due():
            self._fold({**self._pending, row.trial: rows})
        else:
            shards.write(self._folder, row.trial, rows)
            self._pending[row.trial] = rows

    def fold_when_due(self) -> None:
        """Put what is pending into the parts, if that is due. To be called about once a second. Raises StorageError."""
        if self._is_due():
            self._fold(self._pending)

    def close(self) -> None:
        """Put what is pending into the parts, due or not. Raises StorageError."""
        self._fold(self._pending)

    def _is_due(self) -> bool:
        return self._clock() >= self._due_at or len(self._pending) >= TRIALS_PER_PART["curves"]

    def _fold(self, trials: Mapping[int, Rows]) -> None:
        if not trials:
            return
        begun = self._clock()
        for name in ("curves", "runs", "trials"):  # a trial that is in `trials` is complete in the other two
            self._parts[name].put({trial: rows[name] for trial, rows in trials.items()})
        shards.discard(self._folder, self._pending)
        self._pending = {}
        ended = self._clock()
        self._due_at = ended + (ended - begun) / SHARE


def _noted(tables: TableSchemas, name: str, note: Mapping[str, Any]) -> pa.Schema:
    """The schema of a table with the metadata of its parts."""
    metadata = {**note, "columns": tables.meanings[name]}
    return tables.schemas[name].with_metadata({METADATA: json.dumps(metadata).encode()})


def _without_nan(row: TrialRow | RunRow) -> dict[str, Any]:
    """The row with null for NaN: in SQL NaN is the largest number, and makes a mean of any column NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in columns(row).items()
    }


def _curves_table(schema: pa.Schema, trial: int, columns: Mapping[str, Any]) -> pa.Table:
    """A trial's curves; a metric that was not logged, or was NaN, is null."""
    if not columns:
        return schema.empty_table()
    rows = len(columns["step"])

    def column(field: pa.Field) -> pa.Array:
        if field.name == "trial":
            return pa.array([trial] * rows, pa.int64())
        if field.name not in columns:
            return pa.nulls(rows, field.type)
        values = columns[field.name]
        if pa.types.is_list(field.type):
            return pa.array(list(values)).cast(field.type)
        return pa.array(values, from_pandas=True).cast(field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)
