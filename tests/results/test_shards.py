"""Shards: what is written is read back, and what nobody could have written is refused by name."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results import shards
from sweeper.results.schema import SCHEMA_VERSION
from sweeper.results.writer import Writer
from tests.fakes.tables import MODULAR, SCHEMAS
from tests.fakes.written import CLOCKS, left_in, per_trial, put


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep with trial 3 in the parts, and 4 and 5 pending."""
    folder = SweepFolder(tmp_path / "sweep")
    put(Writer(folder, {}, MODULAR), 3)
    writer = Writer(folder, {}, MODULAR, CLOCKS["pending"]())
    for trial in (5, 4):
        put(writer, trial)
    return folder


def streams(tables: list[pa.Table], version: object = SCHEMA_VERSION) -> bytes:
    """The bytes of a shard."""
    sink = pa.BufferOutputStream()
    for table in tables:
        schema = table.schema.with_metadata({"sweeper": json.dumps({"schema_version": version})})
        with pa.ipc.new_stream(sink, schema) as stream:
            stream.write_table(table)
    return bytes(sink.getvalue())


def refused(folder: SweepFolder, path: Path) -> str:
    """What a launch says of a shard. It has changed nothing, and goes on without the shard."""
    before = {name: (folder.root / name).read_bytes() for name in left_in(folder)}
    with pytest.raises(UserError) as caught:
        Writer(folder, {}, MODULAR)
    assert {name: (folder.root / name).read_bytes() for name in left_in(folder)} == before
    path.unlink()
    Writer(folder, {}, MODULAR)
    assert per_trial(folder, "trials") == {3: 1, 5: 1}
    assert left_in(folder) == ["curves/part-00000.parquet", "runs/part-00000.parquet", "trials/part-00000.parquet"]
    return str(caught.value)


def test_what_is_written_is_read_back_by_number(folder: SweepFolder) -> None:
    found = shards.read(folder, SCHEMAS)
    assert list(found) == [4, 5]
    for rows in found.values():
        shards.write(folder, 7, rows)
    shards.discard(folder, [4, 7, 99])
    (again,) = shards.read(folder, SCHEMAS).values()
    for name in TABLES:
        assert again[name].equals(found[5][name])
        assert again[name].schema.equals(SCHEMAS[name])


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "other text": lambda content: b"a,b\n1,2\n",
    "a stream too few": lambda content: content[: content.rindex(b"\xff\xff\xff\xff\x00\x00\x00\x00", 0, -8) + 8],
    "more behind": lambda content: content + b"\x00" * 8,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named(folder: SweepFolder, damage: str) -> None:
    path = folder.shard(4)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    said = refused(folder, path)
    assert said.startswith(f"{path}: damaged (")
    assert said.endswith("; move it away to continue without it")


@pytest.mark.parametrize("name", ["trial-00000006.arrow", "trial-4.arrow", "trial-four.arrow"])
def test_a_shard_of_another_name_is_refused(folder: SweepFolder, name: str) -> None:
    path = folder.shard(4).rename(folder.pending / name)
    assert refused(folder, path) == (f"{path}: damaged (it holds trial 4); move it away to continue without it")


def test_a_shard_of_anything_but_one_trial_is_refused(folder: SweepFolder) -> None:
    rows = shards.read(folder, SCHEMAS)
    whole = list(rows[4].values())
    nobody = SCHEMAS["trials"].empty_table()
    unnumbered = pa.Table.from_pylist([{}], schema=SCHEMAS["trials"])
    for tables in (
        [pa.concat_tables([whole[0], whole[0]]), *whole[1:]],
        [nobody, *whole[1:]],
        [unnumbered, *whole[1:]],
        [whole[0], rows[5]["runs"], whole[2]],
        [*whole[:2], pa.concat_tables([whole[2], rows[5]["curves"]])],
    ):
        folder.shard(4).write_bytes(streams(tables))
        with pytest.raises(UserError, match="it does not hold one trial"):
            Writer(folder, {}, MODULAR)
    folder.shard(4).write_bytes(streams(whole))
    Writer(folder, {}, MODULAR)
    assert per_trial(folder, "trials") == {3: 1, 4: 1, 5: 1}


def test_a_shard_with_other_columns_is_refused(folder: SweepFolder) -> None:
    trials, runs, curves = shards.read(folder, SCHEMAS)[4].values()
    folder.shard(4).write_bytes(streams([trials, runs.drop_columns(["label"]), curves]))
    assert refused(folder, folder.shard(4)) == (
        f"{folder.shard(4)}: damaged (its columns are not those of runs); move it away to continue without it"
    )


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, None])
def test_a_shard_of_another_schema_version_is_refused(folder: SweepFolder, version: int | None) -> None:
    folder.shard(4).write_bytes(streams(list(shards.read(folder, SCHEMAS)[4].values()), version))
    assert refused(folder, folder.shard(4)) == (
        f"{folder.shard(4)}: got schema version {version}; this sweeper writes version {SCHEMA_VERSION}; "
        "use another sweep name, or the sweeper that wrote it"
    )


@pytest.mark.slow
def test_whatever_a_shard_holds_it_is_read_or_refused_by_name(folder: SweepFolder) -> None:
    chance = random.Random(0)
    path, content, refusals = folder.shard(4), folder.shard(4).read_bytes(), 0
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 3))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            shards.read(folder, SCHEMAS)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  # not every change can be noticed
            refusals += 1
    assert refusals > 50
