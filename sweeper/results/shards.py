"""Shards: a finished trial in one small file of its own, until the writer puts it into the parts.

A shard is three Arrow IPC streams one after the other, the trial's rows of each table. No reader looks at shards.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.errors import damaged
from sweeper.folder.layout import TABLES, SweepFolder, remove, write_atomically
from sweeper.results.parts import METADATA, check_version
from sweeper.results.schema import SCHEMA_VERSION

Rows: TypeAlias = Mapping[str, pa.Table]
"""Table -> one trial's rows."""

_NOTE = {METADATA: json.dumps({"schema_version": SCHEMA_VERSION}).encode()}


def write(folder: SweepFolder, trial: int, rows: Rows) -> None:
    """Make a trial durable as a shard, in place of the one it may have.

    Raises:
        StorageError: it could not be written; the shard of before, if any, is still there.
    """

    shard = pa.BufferOutputStream()
    for name in TABLES:
        with pa.ipc.new_stream(shard, rows[name].schema.with_metadata(_NOTE)) as stream:
            stream.write_table(rows[name])
    write_atomically(folder.shard(trial), lambda beside: beside.write_bytes(shard.getvalue()))


def read(folder: SweepFolder, schemas: Mapping[str, pa.Schema]) -> dict[int, Rows]:
    """Trial -> its rows, for every trial that has a shard, in the order of their numbers.

    Args:
        folder: the sweep's.
        schemas: table -> its columns.

    Raises:
        UserError: a shard is of another schema version, or damaged.
    """
    found = {}
    for path in sorted(folder.pending.glob("trial-*.arrow")):
        rows = _streams(path, schemas)
        trial = rows["trials"]["trial"][0].as_py()
        if path != folder.shard(trial):
            raise damaged(path, f"it holds trial {trial}")
        found[trial] = rows
    return found


def discard(folder: SweepFolder, trials: Iterable[int]) -> None:
    """Remove the shards of these trials. Raises StorageError."""
    remove(folder.shard(trial) for trial in trials)


def _streams(path: Path, schemas: Mapping[str, pa.Schema]) -> Rows:
    """The rows of a shard, validated, because the file may come from elsewhere."""
    rows = {}
    try:
        source = pa.BufferReader(path.read_bytes())
        for name in TABLES:
            rows[name] = pa.ipc.open_stream(source).read_all()
            rows[name].validate(full=True)
        if source.tell() != source.size():
            raise ValueError("unexpected bytes after the last stream")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, str(error)) from None
    for name in TABLES:
        check_version(path, rows[name].schema.metadata or {})
        if not rows[name].schema.equals(schemas[name]):
            raise damaged(path, f"its columns are not those of {name}")
    holds = [pc.unique(rows[name]["trial"]).to_pylist() for name in TABLES]
    if rows["trials"].num_rows != 1 or holds[0] == [None] or any(each not in ([], holds[0]) for each in holds):
        raise damaged(path, "it does not hold one trial")
    return rows
