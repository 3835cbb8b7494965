"""SQL over a sweep's tables: what it answers, and everything that it refuses."""

import os
import threading
from collections import Counter
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results import query as querying
from sweeper.results import writer as writer_module
from sweeper.results.query import connect, frame, query, write
from sweeper.results.schema import known, tables
from sweeper.results.writer import Writer
from sweeper.tasks.m_height import MHeight
from tests.fakes.curves import curve
from tests.fakes.tables import MODULAR, SCHEMAS
from tests.fakes.written import ROWS, put, straight


def begun(root: Path) -> SweepFolder:
    """A sweep's folder before its first trial."""
    root.mkdir(parents=True)
    folder = SweepFolder(root)
    folder.space.write_text("name: a sweep\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep of 3 trials."""
    folder = begun(tmp_path / "sweep")
    writer = Writer(folder, {}, MODULAR, straight)
    for trial in range(3):
        put(writer, trial)
    return folder


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_tables_are_there_by_name(folder: SweepFolder) -> None:
    for name in TABLES:
        got = query(folder, f"SELECT * FROM {name}")
        assert got.cast(SCHEMAS[name]).to_pylist() == pq.read_table(folder.table(name)).to_pylist()
        assert Counter(got["trial"].to_pylist()) == dict.fromkeys(range(3), ROWS[name])


@pytest.mark.parametrize("name", TABLES)
def test_others_read_the_tables_without_us(folder: SweepFolder, name: str) -> None:
    parts = folder.table(name)
    expected = query(folder, f"SELECT * FROM {name}").to_pylist()
    columns = SCHEMAS[name].names
    with duckdb.connect() as plain:
        by_duckdb = plain.sql(f"SELECT * FROM '{parts}/*.parquet'").to_arrow_table()
    by_pandas = pd.read_parquet(parts)
    assert list(by_pandas.columns) == by_duckdb.column_names == columns
    trials = [row["trial"] for row in expected]
    assert list(by_pandas["trial"]) == by_duckdb["trial"].to_pylist() == trials


@pytest.mark.slow
def test_sweeps_of_two_tasks_are_read_as_one_with_nulls_where_a_task_has_no_such_column(
    folder: SweepFolder, tmp_path: Path
) -> None:
    other = begun(tmp_path / "heights")
    put(Writer(other, {}, tables(MHeight(name="m_height"))), 7)
    sweeps = {"sums": folder, "heights": other}
    found = query(sweeps, "SELECT sweep, count(heads) AS heads, count(*) AS n FROM trials GROUP BY sweep ORDER BY n")
    assert found.to_pylist() == [{"sweep": "heights", "heads": 0, "n": 1}, {"sweep": "sums", "heads": 3, "n": 3}]
    for name in TABLES:
        columns = query(sweeps, f"SELECT * FROM {name} LIMIT 0").column_names
        assert sorted(columns) == sorted(
            {"sweep", *SCHEMAS[name].names, *tables(MHeight(name="m_height")).schemas[name].names}
        )


@pytest.mark.slow
def test_tables_can_be_joined_counted_and_described(folder: SweepFolder) -> None:
    sql = """
        WITH late AS (SELECT trial, max(step) AS last FROM curves GROUP BY trial)
        SELECT t.trial, t.reached, late.last, count(*) AS runs
        FROM trials t JOIN runs USING (trial) JOIN late USING (trial)
        GROUP BY ALL ORDER BY t.trial DESC;  -- a comment
    """
    assert query(folder, sql).to_pylist() == [
        {"trial": trial, "reached": 3, "last": 40, "runs": 3} for trial in (2, 1, 0)
    ]
    expected = pd.DataFrame({"trial": [0, 1, 2]})
    pd.testing.assert_frame_equal(frame(folder, "SELECT trial FROM trials ORDER BY trial"), expected)
    assert query(folder, "FROM trials").num_rows == 3


@pytest.mark.parametrize("name", TABLES)
def test_before_anything_was_written_tables_have_no_rows(tmp_path: Path, name: str) -> None:
    folder = begun(tmp_path / "sweep")
    got = query(folder, f"SELECT * FROM {name}")
    assert (got.schema.names, got.to_pylist()) == (known()[name].names, [])
    assert query(folder, f"SELECT count(*) AS n FROM {name}").to_pylist() == [{"n": 0}]


def test_a_table_that_has_no_part_yet_can_be_joined_with_one_that_has(tmp_path: Path) -> None:
    folder = begun(tmp_path / "sweep")
    put(Writer(folder, {}, MODULAR), 0, [])
    sql = "SELECT trials.trial, step FROM trials LEFT JOIN curves USING (trial)"
    assert query(folder, sql).to_pylist() == [{"trial": 0, "step": None}]


def test_parts_are_read_as_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", {"trials": 2, "runs": 2, "curves": 2})
    folder = begun(tmp_path / "sweep")
    writer = Writer(folder, {}, MODULAR, straight)
    for trial in range(5):
        put(writer, trial)
    assert query(folder, "SELECT sum(trial) AS s, count(*) AS n FROM curves").to_pylist() == [
        {"s": 10 * ROWS["curves"], "n": 5 * ROWS["curves"]}
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("with space", "with"),
        ("it's", "its"),
        ('say "so"', "say so"),
        ("a]b", "ab"),
        ("[ab]", "a"),
        ("star*", "starry"),
        ("who?", "whom"),
        ("{a,b}", "a"),
        ("50%", "50"),
        ("semi;colon", "semi"),
        ("émile", "emile"),
    ],
)
def test_a_folder_of_any_name_is_that_folder(tmp_path: Path, name: str, other: str) -> None:
    folder, another = begun(tmp_path / name / "sweep"), begun(tmp_path / other / "sweep")
    put(Writer(another, {}, MODULAR), 5)
    assert query(folder, "SELECT trial FROM trials").num_rows == 0
    put(Writer(folder, {}, MODULAR), 1)
    assert query(folder, "SELECT trial FROM trials").to_pylist() == [{"trial": 1}]
    assert query(folder, "SELECT DISTINCT trial FROM curves").to_pylist() == [{"trial": 1}]


def test_a_folder_named_from_where_one_stands(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.root)
    assert query(SweepFolder(Path(".")), "SELECT trial FROM trials").num_rows == 3
    monkeypatch.chdir(folder.root.parent)
    assert query(SweepFolder(Path("sweep")), "SELECT trial FROM trials").num_rows == 3


def test_a_folder_behind_a_link(folder: SweepFolder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder.root)
    assert query(SweepFolder(tmp_path / "link"), "SELECT trial FROM trials").num_rows == 3


REFUSED = {
    "insert": "INSERT INTO trials SELECT * FROM trials",
    "update": "UPDATE trials SET value = 0",
    "delete": "DELETE FROM trials",
    "create table": "CREATE TABLE mine AS SELECT * FROM trials",
    "create view": "CREATE OR REPLACE VIEW trials AS SELECT 1 AS trial",
    "create macro": "CREATE MACRO f() AS 1",
    "drop": "DROP VIEW trials",
    "attach": "ATTACH '{outside}/x.duckdb' AS x",
    "attach inside": "ATTACH '{root}/x.duckdb' AS x",
    "copy out": "COPY trials TO '{outside}/out.csv'",
    "copy out inside": "COPY trials TO '{root}/out.csv'",
    "copy a query": "COPY (SELECT * FROM trials) TO '{root}/trials/part-00001.parquet' (FORMAT parquet)",
    "copy in": "COPY trials FROM '{outside}/secret.csv'",
    "export": "EXPORT DATABASE '{root}/all'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET threads = 1",
    "set access": "SET enable_external_access = true",
    "set lock": "SET lock_configuration = false",
    "reset": "RESET enable_external_access",
    "pragma": "PRAGMA database_list",
    "pragma with a value": "PRAGMA threads = 1",
    "call": "CALL duckdb_settings()",
    "use": "USE memory",
    "checkpoint": "CHECKPOINT",
    "vacuum": "VACUUM",
    "begin": "BEGIN TRANSACTION",
    "explain": "EXPLAIN ANALYZE SELECT * FROM trials",
    "prepare": "PREPARE p AS SELECT 1",
    "two selects": "SELECT 1; SELECT 2",
    "a select and more": "SELECT 1; COPY trials TO '{root}/out.csv'",
    "more before a select": "COPY trials TO '{root}/out.csv'; SELECT 1",
    "insert with": "WITH x AS (SELECT 1) INSERT INTO trials SELECT * FROM x",
    "nothing": "",
    "only a comment": "-- SELECT 1",
    "only a semicolon": ";",
    "no sql": "the best trial, please",
    "read_csv": "SELECT * FROM read_csv('/etc/passwd')",
    "read_csv with options": "SELECT * FROM read_csv('/etc/passwd', delim = ':', header = false)",
    "read_text": "SELECT * FROM read_text('/etc/passwd')",
    "read_blob": "SELECT * FROM read_blob('/etc/passwd')",
    "read_json": "SELECT * FROM read_json('{outside}/secret.json')",
    "read_parquet": "SELECT * FROM read_parquet('{outside}/secret.parquet')",
    "parquet by its path": "SELECT * FROM '{outside}/secret.parquet'",
    "parquet beside": "SELECT * FROM '{root}/../outside/secret.parquet'",
    "parquet of a like-named folder": "SELECT * FROM '{root}-2/secret.parquet'",
    "parquet among others": "FROM read_parquet(['{root}/trials/part-00000.parquet', '{outside}/secret.parquet'])",
    "parquet metadata": "SELECT * FROM parquet_metadata('{outside}/secret.parquet')",
    "csv by its path": "SELECT * FROM '{outside}/secret.csv'",
    "list a folder": "SELECT * FROM glob('{outside}/*')",
    "list everything": "SELECT * FROM glob('/etc/*')",
    "the network": "SELECT * FROM 'https://example.invalid/x.parquet'",
    "a file in a subquery": "SELECT (SELECT count(*) FROM read_text('/etc/passwd'))",
    "a file in query()": "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "a function of an extension": "SELECT st_point(1, 2)",
    "a table of an extension": "SELECT * FROM sqlite_scan('{outside}/x.db', 'x')",
    "unknown table": "SELECT * FROM trails",
    "unknown column": "SELECT no_such_column FROM trials",
    "a division that fails": "SELECT CAST('x' AS INTEGER)",
}


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep beside a folder of things that no query may see, and one whose name begins with the sweep's."""
    root = tmp_path_factory.mktemp("neighbours")
    writer = Writer(begun(root / "sweep"), {}, MODULAR, straight)
    for trial in range(3):
        put(writer, trial)
    for name in ("outside", "sweep-2"):
        (root / name).mkdir()
        pq.write_table(pa.table({"secret": [42]}), root / name / "secret.parquet")
    (root / "outside" / "secret.csv").write_text("secret\n42\n")
    (root / "outside" / "secret.json").write_text('[{"secret": 42}]')
    return root


@pytest.mark.slow
@pytest.mark.parametrize("attempt", REFUSED)
def test_refused(neighbours: Path, attempt: str) -> None:
    folder, before = SweepFolder(neighbours / "sweep"), files(neighbours)
    with pytest.raises(UserError):
        query(folder, REFUSED[attempt].format(root=folder.root, outside=neighbours / "outside"))
    assert files(neighbours) == before


def test_refused_in_words(folder: SweepFolder) -> None:
    with pytest.raises(UserError) as caught:
        query(folder, " DROP VIEW trials ")
    assert str(caught.value) == "got 'DROP VIEW trials'; a query is one SELECT over trials, runs, curves"
    with pytest.raises(UserError, match=r"SQL error: .*trails.*"):
        query(folder, "SELECT * FROM trails")


def test_a_folder_where_one_stands_is_no_loophole(
    folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB also allows its folder for temporary files, by default `.tmp` where one stands."""
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "secret.csv").write_text("secret\n42\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        query(folder, f"SELECT * FROM '{tmp_path}/.tmp/secret.csv'")


secret_frame = pd.DataFrame({"secret": [42]})


def test_variables_of_the_program_are_no_tables(folder: SweepFolder) -> None:
    local_frame = secret_frame
    assert len(local_frame) == 1
    for name in ("secret_frame", "local_frame", "empty_trials"):
        with pytest.raises(UserError, match=name):
            query(folder, f"SELECT * FROM {name}")


def test_no_sweep_here(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        query(SweepFolder(tmp_path), "SELECT 1")
    assert str(caught.value) == f"{tmp_path}: no sweep here (a sweep's folder has a space.yaml)"


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_part_is_an_error_of_the_users_that_names_it(folder: SweepFolder, name: str) -> None:
    part = folder.table(name) / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(UserError, match="part-00000"):
        query(folder, f"SELECT * FROM {name}")


def test_an_answer_can_be_written_as_parquet(folder: SweepFolder, tmp_path: Path) -> None:
    answer = query(folder, "SELECT trial, rmst_by_operation, betas FROM trials ORDER BY trial")
    write(answer, tmp_path / "it's an answer.parquet")
    assert pq.read_table(tmp_path / "it's an answer.parquet").equals(answer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "pause"),
    [
        ("SELECT * FROM curves", 0.002),
        (
            "SELECT trial FROM curves JOIN (SELECT DISTINCT trial, step, replicate FROM curves) "
            "USING (trial, step, replicate)",
            0.05,
        ),
    ],
    ids=["a table once", "a table twice"],
)
def test_queries_are_answered_while_parts_are_replaced(folder: SweepFolder, sql: str, pause: float) -> None:
    """What the writer does all day, in fast motion: a part is renamed over, each time a trial longer."""
    part = folder.table("curves") / "part-00000.parquet"
    writer = Writer(folder, {}, MODULAR, straight)
    versions = []
    for trial in range(3, 12):
        put(writer, trial)
        versions.append(part.read_bytes())
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            for content in versions:
                beside = part.with_name(".beside")
                beside.write_bytes(content)
                os.replace(beside, part)
                done.wait(pause)

    replacing = threading.Thread(target=replace)
    replacing.start()
    wrong: Counter[str] = Counter()
    try:
        for _ in range(8):
            try:
                counts = Counter(query(folder, sql)["trial"].to_pylist())
            except UserError as error:
                wrong[str(error)] += 1
            else:
                wrong["part of a trial"] += set(counts.values()) != {ROWS["curves"]}
    finally:
        done.set()
        replacing.join()
    assert +wrong == Counter()


@pytest.mark.slow
def test_a_query_that_fails_is_run_again_only_where_a_part_has_changed(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(folder, {}, MODULAR, straight)
    answer, asked = querying._answer, []

    def interrupted(sweeps: querying.Sweeps, sql: str) -> querying.Answer:
        asked.append(sql)
        if len(asked) == 1:
            put(writer, 3)
            raise OSError("Page was smaller (54) than expected (59)")
        return answer(sweeps, sql)

    monkeypatch.setattr(querying, "_answer", interrupted)
    assert query(folder, "SELECT trial FROM trials").num_rows == 4
    assert len(asked) == 2
    with pytest.raises(UserError, match="does not exist"):
        query(folder, "SELECT trial FROM trails")
    assert len(asked) == 3


def test_a_copy_of_a_part_is_refused_by_readers_and_writer_alike(folder: SweepFolder) -> None:
    part = folder.table("trials") / "part-00000.parquet"
    copy = part.with_name("part-00000 (conflicted copy).parquet")
    copy.write_bytes(part.read_bytes())
    (part.parent / "._part-00000.parquet").write_bytes(b"what macOS leaves on other disks")
    message = f"{copy}: no part of a sweep has this name; move it away to continue"
    for attempt in (lambda: query(folder, "SELECT * FROM trials"), lambda: Writer(folder, {}, MODULAR)):
        with pytest.raises(UserError) as caught:
            attempt()
        assert str(caught.value) == message
    copy.unlink()
    assert query(folder, "SELECT * FROM trials").num_rows == 3


def test_every_column_comes_out_of_duckdb_as_python_objects(folder: SweepFolder) -> None:
    """Times among them, for which DuckDB needs pytz."""
    for name in TABLES:
        assert connect(folder).sql(f"FROM {name}").fetchall()
        assert duckdb.sql(f"FROM '{folder.table(name)}/*.parquet'").fetchall()


def test_what_is_not_a_number_is_null(folder: SweepFolder) -> None:
    """In SQL NaN is the largest number, and one of them makes every mean NaN."""
    nan = float("nan")
    put(Writer(folder, {}, MODULAR, straight), 3, [curve([nan, 0.5], each, val_loss=[1.0, nan]) for each in range(3)])
    (found,) = query(
        folder,
        "SELECT max(val_accuracy) AS top, max(val_loss) AS loss, count(*) - count(val_loss) AS missing FROM curves",
    ).to_pylist()
    assert (found["top"], found["missing"]) == (1.0, 3)
    assert found["loss"] < 10
    assert query(folder, "SELECT count(*) AS n FROM runs WHERE isnan(final_val_loss)")["n"].to_pylist() == [0]
