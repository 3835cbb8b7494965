"""One table on disk: a folder of Parquet parts that only grow, so that readers never see half a trial.

Every trial lies in one part. New trials are added to the newest part by writing that part afresh beside itself and
renaming it over the old one. Parts are never deleted, so a reader that lists the folder and opens what it found always
sees whole, consistent files, whenever it looks. docs/decisions/0003-parts-rewritten-in-place.md has the reasons.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from sweeper.errors import UserError, damaged
from sweeper.folder.layout import TABLES, SweepFolder, write_atomically
from sweeper.results.schema import SCHEMA_VERSION, known, never_null
from sweeper.results.values import numbers

if TYPE_CHECKING:
    from pyarrow import dataset

# Importing pyarrow.dataset, and making an Arrow array of Python values, imports pandas: half a second.

METADATA = b"sweeper"
"""The key of what the writer notes in the metadata of a file: at least the schema version, as JSON."""


_SMALL, _KEPT = 32_000_000, 1_000_000
"""Bytes on disk up to which a table is read as a whole, and kept until its parts change."""


class Parts:
    """The parts of one table, open for writing.

    Args:
        folder: where they lie.
        schema: of the table, with the metadata for what is written from now on.
        trials_per_part: with this many a part is full, and the next one begins.

    Raises:
        UserError: a part is of another schema version, or damaged.
    """

    def __init__(self, folder: Path, schema: pa.Schema, trials_per_part: int):
        self._folder, self._schema, self._trials_per_part = folder, schema, trials_per_part
        self._trials: dict[int, set[int]] = {}
        self._cached: tuple[int, pa.Table] | None = None
        for path in _paths(folder):
            found = _schema(path)
            check_version(path, found.metadata or {})
            if not found.equals(schema):
                raise damaged(path, f"its columns are not those of {folder.name}")
            self._trials[int(path.stem.removeprefix("part-"))] = set(_read(path, ["trial"])["trial"].to_pylist())

    def put(self, trials: Mapping[int, pa.Table]) -> None:
        """Add the rows of some trials, or replace them; without rows, take away what there was.

        Raises:
            StorageError: a part could not be written; those before it were, and the whole may be repeated.
        """
        for part, group in self._places(trials).items():
            self._rewrite(part, group)

    def _places(self, trials: Mapping[int, pa.Table]) -> dict[int, dict[int, pa.Table]]:
        """Part -> which of the trials go there: where they lie already, else the newest part that has room."""
        places: dict[int, dict[int, pa.Table]] = {}
        newest = max(self._trials, default=0)
        taken = len(self._trials.get(newest, ()))
        for trial, rows in trials.items():
            part = next((number for number, held in self._trials.items() if trial in held), None)
            if part is None:
                if rows.num_rows == 0:
                    continue
                if taken >= self._trials_per_part:
                    newest, taken = newest + 1, 0
                part, taken = newest, taken + 1
            places.setdefault(part, {})[trial] = rows
        return places

    def _rewrite(self, part: int, group: Mapping[int, pa.Table]) -> None:
        held = self._trials.get(part, set())
        old = self._load(part)
        replaced = held & group.keys()
        from pyarrow import compute as pc  # noqa: PLC0415  # 40 ms, which readers need not spend

        kept = old.filter(pc.invert(pc.is_in(old["trial"], pa.array(sorted(replaced))))) if replaced else old
        content = pa.concat_tables([kept, *group.values()]).combine_chunks()
        if not content.equals(old):
            path = self._path(part)
            write_atomically(path, lambda beside: _write(content, beside))
        # Only now: a write that failed has changed nothing, and may be repeated.
        self._trials[part] = held - replaced | {trial for trial, rows in group.items() if rows.num_rows}
        if part == max(self._trials):
            self._cached = (part, content)

    def _load(self, part: int) -> pa.Table:
        """The rows of a part, with this launch's schema metadata."""
        if self._cached is not None and self._cached[0] == part:
            return self._cached[1]
        return _read(self._path(part)).cast(self._schema) if part in self._trials else self._schema.empty_table()

    def _path(self, part: int) -> Path:
        return self._folder / f"part-{part:05d}.parquet"


def table(folder: SweepFolder, name: str) -> "pa.Table | dataset.Dataset":
    """One table over the parts there are now; without any, an empty one. In memory, or as a dataset where it is large.

    Raises:
        UserError: a part is damaged.
    """
    parts = {part: part.stat() for part in _paths(folder.table(name))}
    size = sum(each.st_size for each in parts.values())
    if size <= _KEPT:
        return _kept(folder, name, tuple((part, each.st_ino, each.st_mtime_ns) for part, each in parts.items()))
    if size <= _SMALL:
        return whole(folder, name)
    from pyarrow import dataset  # noqa: PLC0415

    readable = _readable(folder, name)
    return dataset.dataset([str(part) for part in readable], schema=_common(readable, name), format=_layout())


@lru_cache(maxsize=8)
def _kept(folder: SweepFolder, name: str, stamp: tuple[tuple[Path, int, int], ...]) -> pa.Table:
    """A small table, read once by a command that asks several questions; `stamp` changes with the parts."""
    del stamp
    return whole(folder, name)


def whole(
    folder: SweepFolder, name: str, columns: Sequence[str] | None = None, trials: Collection[int] | None = None
) -> pa.Table:
    """One table in memory, or some columns of it. Columns that a part does not have are null in its rows.

    Args:
        folder: the sweep's.
        name: the table's.
        columns: those to read; all by default.
        trials: those whose rows to read; all by default. The columns have to include `trial`.

    Raises:
        UserError: a part is damaged, or the table has no such column.
    """
    kept = () if name == "curves" and columns is not None else tuple(never_null(name))
    read, schemas = [], {}
    for part in _paths(folder.table(name)):
        file = _opened(part)
        schemas[part] = file.schema_arrow.remove_metadata()
        wanted = None if columns is None else [*dict.fromkeys((*columns, *kept))]
        found = _content(file, part, wanted, _groups(file, trials))
        _complete(found, part, [each for each in never_null(name) if each in kept or each in (columns or ())])
        found = found if trials is None else _of(found, trials)
        read.append(found.replace_schema_metadata())
    schema = _common(schemas, name)
    if columns is not None:
        lacking = [each for each in columns if each not in schema.names]
        if lacking:
            raise damaged(folder.table(name), f"no column {', '.join(lacking)}")
        schema = pa.schema([schema.field(each) for each in columns])
    if not read:
        return schema.empty_table()
    try:
        found = pa.concat_tables(read, promote_options="permissive").select(schema.names)
        found = found if found.schema.equals(schema) else found.cast(schema)
        found.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise damaged(folder.table(name), error) from None
    return found


def joined(folders: Mapping[str, SweepFolder], name: str) -> "dataset.Dataset":
    """One table of several sweeps as one dataset, with the name that each has here in the column `sweep`, the first.

    Columns that a sweep's task does not have are null in its rows.

    Raises:
        UserError: a part is damaged, or a column has types in two sweeps that do not go together.
    """
    from pyarrow import dataset  # noqa: PLC0415

    here, layout = LocalFileSystem(), _layout()
    parts = {sweep: _readable(folder, name) for sweep, folder in folders.items()}
    fragments = [
        layout.make_fragment(str(part), here, partition_expression=dataset.field("sweep") == sweep)
        for sweep, mine in parts.items()
        for part in mine
    ]
    everything = {part: schema for mine in parts.values() for part, schema in mine.items()}
    schema = pa.schema([pa.field("sweep", pa.string()), *_common(everything, name)])
    return dataset.FileSystemDataset(fragments, schema, layout, here)


@cache
def _layout() -> Any:
    """Parquet whose pages are checked as they are read."""
    from pyarrow import dataset  # noqa: PLC0415

    checked = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
    return dataset.ParquetFileFormat(default_fragment_scan_options=checked)


def _readable(folder: SweepFolder, name: str) -> dict[Path, pa.Schema]:
    """The parts of a table. Raises UserError where one is damaged; curves are long, and checked as they are read."""
    parts = _paths(folder.table(name))
    if name != "curves":
        for part in parts:
            _complete(_read(part, never_null(name)), part, never_null(name))
    return {part: _schema(part).remove_metadata() for part in parts}


def _common(parts: Mapping[Path, pa.Schema], name: str) -> pa.Schema:
    """The columns that any of the parts has. Raises UserError where two differ in a column's type."""
    try:
        return pa.unify_schemas(list(parts.values()) or [known()[name]], promote_options="permissive")
    except pa.ArrowException as error:
        first = next(iter(parts)).parent.parent
        raise UserError(f"{first}: its {name} do not go together with the others' ({error})") from None


def _complete(found: pa.Table, path: Path, columns: Iterable[str]) -> None:
    """Raise UserError for rows without a value there: a damaged footer, which has no checksum, may give such rows."""
    for column in columns:
        if column not in found.column_names or found[column].null_count:
            raise damaged(path, f"rows without {column}")


def check_version(path: Path, metadata: Mapping[bytes, bytes]) -> None:
    """Raise UserError unless a file with this metadata is of the schema version that this sweeper writes."""
    try:
        version = json.loads(metadata.get(METADATA, b"{}")).get("schema_version")
    except (ValueError, AttributeError):
        version = None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: got schema version {version}; this sweeper writes version {SCHEMA_VERSION}; "
            "use another sweep name, or the sweeper that wrote it"
        )


def _write(content: pa.Table, path: Path) -> None:
    # Measurements hardly repeat: a dictionary of them is built, found too long and dropped, at four times the cost.
    repeats = [
        each.name for each in content.schema if not (pa.types.is_floating(each.type) or pa.types.is_nested(each.type))
    ]
    pq.write_table(content, path, compression="zstd", use_dictionary=repeats, write_page_checksum=True)


def _paths(folder: Path) -> list[Path]:
    """The parts of a table. Raises UserError where another table lies among them, such as a copy of a part: programs
    that read the folder would count its trials twice.
    """
    found = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    for path in found:
        if not re.fullmatch(r"part-[0-9]{5,}\.parquet", path.name):
            raise UserError(f"{path}: no part of a sweep has this name; move it away to continue")
    return found


def fingerprint(folder: SweepFolder) -> frozenset[tuple[str, int, int]]:
    """Which files the tables are made of: name, inode and time of each part. Another one means that parts changed."""
    found = (path for name in TABLES for path in folder.table(name).glob("part-*.parquet"))
    stats = ((str(path), path.stat()) for path in found)
    return frozenset((path, each.st_ino, each.st_mtime_ns) for path, each in stats)


def _schema(path: Path) -> pa.Schema:
    return _opened(path).schema_arrow


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    return _content(_opened(path), path, columns)


def _opened(path: Path) -> pq.ParquetFile:
    """A part whose pages are checked as they are read."""
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise damaged(path, error) from None


def _content(file: pq.ParquetFile, path: Path, columns: list[str] | None, groups: list[int] | None = None) -> pa.Table:
    try:
        return file.read(columns) if groups is None else file.read_row_groups(groups, columns)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise damaged(path, error) from None


def _groups(file: pq.ParquetFile, trials: Collection[int] | None) -> list[int] | None:
    """The row groups of a part that may have rows of these trials; None for all of them."""
    if trials is None or "trial" not in file.schema.names:
        return None
    column, found = file.schema.names.index("trial"), []
    for group in range(file.num_row_groups):
        held = file.metadata.row_group(group).column(column).statistics
        if held is None or not held.has_min_max or any(held.min <= each <= held.max for each in trials):
            found.append(group)
    return found


def _of(found: pa.Table, trials: Collection[int]) -> pa.Table:
    """The rows of these trials, by slices: Arrow's own filter would import pyarrow.compute, 40 ms."""
    theirs = np.isin(numbers(found["trial"]), list(trials))
    edges = np.flatnonzero(np.diff(theirs, prepend=False, append=False)).reshape(-1, 2).tolist()
    return pa.concat_tables([found.slice(0, 0), *(found.slice(first, end - first) for first, end in edges)])
