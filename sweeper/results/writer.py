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
from sweeper.outcomes import Ending
from sweeper.paths import TABLES, SweepFolder, write_atomically
from sweeper.results.schema import SCHEMA_VERSION, SCHEMAS

TRIALS_PER_PART = {"trials": 1024, "runs": 1024, "curves": 128}
_METADATA = b"sweeper"


class _Table:
    """One table's parts."""

    def __init__(self, folder: Path, schema: pa.Schema, trials_per_part: int):
        self._folder, self._schema, self._trials_per_part = folder, schema, trials_per_part
        self._part_of: dict[int, int] = {}
        self._sizes: list[int] = []
        self._newest: pa.Table | None = None
        for path in sorted(folder.glob("part-*.parquet")):
            trials = pc.unique(_read(path, ["trial"])["trial"]).to_pylist()
            self._part_of |= dict.fromkeys(trials, len(self._sizes))
            self._sizes.append(len(trials))

    def put(self, trial: int, rows: pa.Table) -> None:
        """Add a trial's rows, or replace them."""
        if trial in self._part_of:
            part = self._part_of[trial]
            old = self._load(part)
            kept = old.filter(pc.not_equal(old["trial"], trial))
        else:
            if not self._sizes or self._sizes[-1] >= self._trials_per_part:
                self._sizes.append(0)
                self._newest = self._schema.empty_table()
            part = len(self._sizes) - 1
            kept = self._load(part)
            self._sizes[part] += 1
        content = pa.concat_tables([kept, rows.cast(self._schema)])
        if part == len(self._sizes) - 1:
            self._newest = content
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(part), lambda beside: pq.write_table(content, beside, compression="zstd"))
        self._part_of[trial] = part

    def _load(self, part: int) -> pa.Table:
        """The rows of a part, with this launch's schema metadata."""
        if part == len(self._sizes) - 1 and self._newest is not None:
            return self._newest
        return _read(self._path(part)).cast(self._schema)

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
        if curves:
            self._tables["curves"].put(trial, _curves_table(trial, curves))
        self._tables["runs"].put(trial, pa.Table.from_pylist(runs, schema=SCHEMAS["runs"]))
        self._tables["trials"].put(trial, pa.Table.from_pylist([trial_row], schema=SCHEMAS["trials"]))


def settled(folder: SweepFolder) -> dict[int, float]:
    """Trial -> value of every trial that the tables hold as over for good."""
    found: dict[int, float] = {}
    for path in sorted(folder.table("trials").glob("part-*.parquet")):
        for row in _read(path, ["trial", "state", "why", "value"]).to_pylist():
            if Ending(row["state"], row["why"]).final:
                found[row["trial"]] = row["value"]
    return found


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
