"""Write finished trials to Parquet, so that readers never see half a trial and the folder stays small.

A table is a folder of parts. Every trial lies in one part; a finished trial is added to the newest part by writing
that part afresh beside itself and renaming it over the old one. Parts are never deleted, so a reader that lists the
folder and opens what it found always sees whole, consistent files, whenever it looks; and 10,000 trials make about
100 files. docs/decisions/0003-parts-rewritten-in-place.md has the measurement.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import dataset

from sweeper.errors import UserError
from sweeper.paths import TABLES, SweepFolder, write_atomically
from sweeper.results.schema import SCHEMA_VERSION, SCHEMAS

TRIALS_PER_PART = {"trials": 1024, "runs": 1024, "curves": 128}
_METADATA = b"sweeper"


class _Table:
    """One table's parts."""

    def __init__(self, folder: Path, schema: pa.Schema, trials_per_part: int):
        self._folder, self._schema, self._trials_per_part = folder, schema, trials_per_part
        self._trials: dict[int, set[int]] = {}
        self._cached: tuple[int, pa.Table] | None = None
        for path in sorted(folder.glob("part-*.parquet")):
            number = int(path.stem.removeprefix("part-"))
            self._trials[number] = set(_read(path, ["trial"])["trial"].to_pylist())

    def put(self, trial: int, rows: pa.Table) -> None:
        """Add a trial's rows, or replace them; without rows, take away what there was."""
        holding = next((number for number, trials in self._trials.items() if trial in trials), None)
        part = self._newest() if holding is None else holding
        old = self._load(part)
        kept = old.filter(pc.not_equal(old["trial"], trial))
        content = pa.concat_tables([kept, rows.cast(self._schema)]).combine_chunks()
        if content.equals(old):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(part), lambda beside: pq.write_table(content, beside, compression="zstd"))
        # Only now: a write that failed has changed nothing, and may be repeated.
        trials = self._trials.get(part, set())
        self._trials[part] = trials | {trial} if len(rows) else trials - {trial}
        if part == max(self._trials):
            self._cached = (part, content)

    def _newest(self) -> int:
        """The part that takes new trials."""
        if not self._trials:
            return 0
        last = max(self._trials)
        return last if len(self._trials[last]) < self._trials_per_part else last + 1

    def _load(self, part: int) -> pa.Table:
        """The rows of a part, with this launch's schema metadata."""
        if self._cached is not None and self._cached[0] == part:
            return self._cached[1]
        return _read(self._path(part)).cast(self._schema) if part in self._trials else self._schema.empty_table()

    def _path(self, part: int) -> Path:
        return self._folder / f"part-{part:05d}.parquet"


class Writer:
    """The tables of one sweep, open for writing by one process.

    Args:
        folder: the sweep's folder.
        provenance: stored in the metadata of every part this launch writes.

    Raises:
        UserError: the folder holds tables of another schema version, or damaged ones.
    """

    def __init__(self, folder: SweepFolder, provenance: Mapping[str, Any]):
        note = {"schema_version": SCHEMA_VERSION, "provenance": provenance}
        metadata = {_METADATA: json.dumps(note).encode()}
        _check_version(folder)
        self._tables = {
            name: _Table(folder.table(name), SCHEMAS[name].with_metadata(metadata), TRIALS_PER_PART[name])
            for name in TABLES
        }

    def put(self, trial: int, curves: Mapping[str, Any], runs: list[dict[str, Any]], trial_row: dict[str, Any]) -> None:
        """Make a trial durable: its curves, then its runs, then its row in `trials`. Repeating it changes nothing."""
        rows = _curves_table(trial, curves) if curves else SCHEMAS["curves"].empty_table()
        self._tables["curves"].put(trial, rows)
        self._tables["runs"].put(trial, pa.Table.from_pylist(runs, schema=SCHEMAS["runs"]))
        self._tables["trials"].put(trial, pa.Table.from_pylist([trial_row], schema=SCHEMAS["trials"]))


def table(folder: SweepFolder, name: str) -> dataset.Dataset:
    """One table as an Arrow dataset over the parts there are now; without any, an empty one.

    Raises:
        UserError: a part is damaged.
    """
    parts = sorted(folder.table(name).glob("part-*.parquet"))
    for part in parts:
        _check_part(part)
    if not parts:
        return dataset.dataset(SCHEMAS[name].empty_table())
    return dataset.dataset([str(part) for part in parts], schema=SCHEMAS[name], format="parquet")


def _curves_table(trial: int, columns: Mapping[str, Any]) -> pa.Table:
    schema = SCHEMAS["curves"]
    rows = len(columns["step"])
    arrays = [
        pa.array([trial] * rows, pa.int64())
        if field.name == "trial"
        else pa.array(list(columns[field.name]) if pa.types.is_list(field.type) else columns[field.name]).cast(
            field.type
        )
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); move it away to go on without it") from None


def _check_version(folder: SweepFolder) -> None:
    for name in TABLES:
        for path in sorted(folder.table(name).glob("part-*.parquet")):
            version = json.loads(_check_part(path).get(_METADATA, b"{}")).get("schema_version")
            if version != SCHEMA_VERSION:
                raise UserError(
                    f"{path}: got schema version {version}; this sweeper writes version {SCHEMA_VERSION}; "
                    "use another sweep name, or the sweeper that wrote it"
                )


def _check_part(path: Path) -> dict[bytes, bytes]:
    """The metadata of a part. Raises UserError where it is damaged."""
    try:
        found: dict[bytes, bytes] | None = pq.read_schema(path).metadata
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); move it away to go on without it") from None
    return found or {}
