"""The parts of a table: found, checked, and read as one."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results import writer as writer_module
from sweeper.results.parts import whole
from sweeper.results.query import records
from sweeper.results.readback import rows_of, trial_outcomes
from sweeper.results.schema import SCHEMA_VERSION, known
from sweeper.results.writer import Writer
from tests.fakes.tables import MODULAR, SCHEMAS
from tests.fakes.written import ROWS, put


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, None])
def test_tables_of_another_schema_version_are_refused(folder: SweepFolder, name: str, version: int | None) -> None:
    put(Writer(folder, {}, MODULAR), 0)
    part = folder.table(name) / "part-00000.parquet"
    metadata = {} if version is None else {"sweeper": json.dumps({"schema_version": version})}
    pq.write_table(pq.read_table(part).replace_schema_metadata(metadata), part)
    before = part.read_bytes()
    with pytest.raises(UserError) as caught:
        Writer(folder, {}, MODULAR)
    assert str(caught.value) == (
        f"{part}: got schema version {version}; this sweeper writes version {SCHEMA_VERSION}; "
        "use another sweep name, or the sweeper that wrote it"
    )
    assert part.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("part", [0, -1])
@pytest.mark.parametrize("damage", ["cut short", "empty", "other text"])
def test_a_damaged_part_is_named(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, name: str, part: int, damage: str
) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", dict.fromkeys(TABLES, 3))
    writer = Writer(folder, {}, MODULAR)
    for trial in range(6):
        put(writer, trial)
    writer.close()
    path = sorted(folder.table(name).glob("part-*.parquet"))[part]
    content = path.read_bytes()
    path.write_bytes({"cut short": content[: len(content) // 2], "empty": b"", "other text": b"a,b\n1,2\n"}[damage])
    with pytest.raises(UserError) as caught:
        Writer(folder, {}, MODULAR)
    assert str(caught.value).startswith(f"{path}: damaged")
    assert "move it away" in str(caught.value)
    if name == "trials":
        with pytest.raises(UserError, match="damaged"):
            trial_outcomes(folder, "steps")


def test_a_part_of_another_table_is_named(folder: SweepFolder) -> None:
    put(Writer(folder, {}, MODULAR), 0)
    runs, curves = (folder.table(name) / "part-00000.parquet" for name in ("runs", "curves"))
    runs.write_bytes(curves.read_bytes())
    with pytest.raises(UserError) as caught:
        Writer(folder, {}, MODULAR)
    assert str(caught.value) == (
        f"{runs}: damaged (its columns are not those of runs); move it away to continue without it"
    )


@pytest.mark.parametrize("name", ["part-one.parquet", "part-1.parquet", "part-²0000.parquet"])
def test_what_is_no_part_is_named(folder: SweepFolder, name: str) -> None:
    put(Writer(folder, {}, MODULAR), 0)
    path = (folder.table("curves") / "part-00000.parquet").rename(folder.table("curves") / name)
    with pytest.raises(UserError) as caught:
        Writer(folder, {}, MODULAR)
    assert str(caught.value) == f"{path}: no part of a sweep has this name; move it away to continue"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_there_before_its_first_part_and_grows(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", dict.fromkeys(TABLES, 2))
    assert whole(folder, name).equals(known()[name].empty_table())
    writer = Writer(folder, {}, MODULAR)
    for trial in range(5):
        put(writer, trial)
    writer.close()
    found = whole(folder, name)
    assert found.schema.equals(SCHEMAS[name])
    assert Counter(found["trial"].to_pylist()) == dict.fromkeys(range(5), ROWS[name])


def test_a_part_that_lost_a_column_every_row_has_is_named(folder: SweepFolder) -> None:
    put(Writer(folder, {}, MODULAR), 0)
    part = folder.table("runs") / "part-00000.parquet"
    pq.write_table(pq.read_table(part).drop(["operation"]), part)
    with pytest.raises(UserError) as caught:
        whole(folder, "runs")
    assert str(caught.value) == (f"{part}: damaged (rows without operation); move it away to continue without it")


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_some_trials_are_those_that_sql_gives(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", dict.fromkeys(TABLES, 3))
    writer = Writer(folder, {}, MODULAR)
    for trial in (4, 0, 3, 7, 1):  # two parts
        put(writer, trial)
    writer.close()
    folder.space.write_text("name: sweep\n")
    for trials in ([4, 3], [1, 2, 7, 9], []):
        wanted = ", ".join(map(str, trials)) or "NULL"
        expected = records(folder, f"SELECT * FROM {name} WHERE trial IN ({wanted})")
        assert sorted(map(repr, rows_of(folder, name, trials=trials))) == sorted(map(repr, expected)), trials
        assert len(rows_of(folder, name, ["trial"], trials)) == len(expected)
    assert len(rows_of(folder, name)) == 5 * len(rows_of(folder, name, trials=[0])) > 0
