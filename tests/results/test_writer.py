"""The tables: what is put is what is read, whatever else happens at the same time, kill -9 included."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from sweeper.errors import StorageError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results import writer as writer_module
from sweeper.results.rows import columns
from sweeper.results.schema import SCHEMA_VERSION
from sweeper.results.summary import trial_row
from sweeper.results.writer import Writer
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.stats.events import Ending
from sweeper.trial import join
from tests.fakes.curves import assignment_of, chunk_of, curve, summary_of
from tests.fakes.tables import MEANINGS, MODULAR, SCHEMAS, TASK
from tests.fakes.written import (
    CLOCKS,
    PROVENANCE,
    ROWS,
    RUNS,
    curves_of,
    left_in,
    pending,
    per_trial,
    put,
    read,
)


def parts(folder: SweepFolder, name: str) -> dict[str, list[int]]:
    """Part -> its trials."""
    paths = sorted(folder.table(name).glob("part-*.parquet"))
    return {path.name: sorted(set(pq.read_table(path)["trial"].to_pylist())) for path in paths}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


@pytest.fixture(params=CLOCKS)
def clock(request: pytest.FixtureRequest) -> Callable[[], float]:
    return CLOCKS[request.param]()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", {"trials": 5, "runs": 4, "curves": 3})


def test_what_is_put_is_read_back_with_the_types_of_the_schema(folder: SweepFolder, clock: Callable[[], float]) -> None:
    curves = [
        curve([0.1, 0.2, 1.0], 0),
        curve([0.1, 0.2, 0.3], 1, val_loss=[2.0, 1.0, float("inf")]),
        curve([0.1], 2, train_loss=[float("nan")]),
    ]
    logged = join([chunk_of(*curves)])
    summary = summary_of(assignment_of(range(3), operations=("x_plus_y", "x_minus_y"), number=5), curves)
    settings = Hyperparameters(betas=(0.9, 0.95))
    runs = [run.row for run in summary.runs]
    row = trial_row(
        summary,
        phase="baseline",
        name="published",
        identity="an identity",
        settings=settings,
        known=TASK.hyperparameters,
    )
    writer = Writer(folder, PROVENANCE, MODULAR, clock)
    writer.put(logged, runs, row)
    writer.close()

    for name in TABLES:
        assert read(folder, name).schema.equals(SCHEMAS[name])
    (got,) = read(folder, "trials").to_pylist()
    assert got == columns(row) | {"betas": [0.9, 0.95], "retries": [], "rmst_by_operation": list(row.rmst_by_operation)}
    got_runs = read(folder, "runs").to_pylist()
    expected_runs = [{**dict.fromkeys(SCHEMAS["runs"].names), **columns(each)} for each in runs]
    pd.testing.assert_frame_equal(pd.DataFrame(got_runs), pd.DataFrame(expected_runs))
    got_curves = read(folder, "curves")
    assert got_curves["trial"].to_pylist() == [5] * 7
    assert got_curves["weight_norm_blocks"].to_pylist() == [[0.25, 0.25]] * 7
    for name in set(SCHEMAS["curves"].names) - {"trial", "weight_norm_blocks"}:
        kind = SCHEMAS["curves"].field(name).type
        expected = logged[name] if pa.types.is_string(kind) else logged[name].astype(kind.to_pandas_dtype())
        np.testing.assert_array_equal(got_curves[name].to_numpy(), expected, err_msg=name)


def test_pandas_and_duckdb_read_the_same(folder: SweepFolder) -> None:
    writer = Writer(folder, PROVENANCE, MODULAR)
    for trial in range(3):
        put(writer, trial)
    writer.close()
    for name in TABLES:
        arrow = read(folder, name)
        assert len(pd.read_parquet(folder.table(name))) == arrow.num_rows == 3 * ROWS[name]
        pattern = f"{folder.table(name)}/part-*.parquet"
        with duckdb.connect() as connection:
            assert connection.read_parquet(pattern).to_arrow_table().to_pylist() == arrow.to_pylist()


def test_putting_a_trial_again_replaces_it(folder: SweepFolder, clock: Callable[[], float]) -> None:
    writer = Writer(folder, {}, MODULAR, clock)
    for trial in range(4):
        put(writer, trial)
    writer.close()
    before = {name: sorted(map(repr, read(folder, name).to_pylist())) for name in TABLES}
    put(writer, 2)
    writer.close()
    again = {name: sorted(map(repr, read(folder, name).to_pylist())) for name in TABLES}
    assert again == before

    put(writer, 1, curves_of(1, evaluations=2))
    writer.close()
    assert per_trial(folder, "curves") == {0: 12, 1: 6, 2: 12, 3: 12}
    assert per_trial(folder, "runs") == dict.fromkeys(range(4), RUNS)
    assert per_trial(folder, "trials") == dict.fromkeys(range(4), 1)
    assert [row["steps_trained"] for row in read(folder, "trials").to_pylist() if row["trial"] == 1] == [RUNS * 20]


def test_a_trial_put_again_without_curves_has_none_left(folder: SweepFolder, clock: Callable[[], float]) -> None:
    """Stopped half-way, taken up by the next launch, and failed before its first evaluation."""
    writer = Writer(folder, {}, MODULAR, clock)
    put(writer, 0)
    put(writer, 1, ending=Ending("stopped", "Ctrl-C"))
    put(writer, 1, [], Ending("failed", "out of memory", "Traceback ..."))
    writer.close()
    assert [(row["outcome"], row["final_step"]) for row in read(folder, "runs").to_pylist() if row["trial"] == 1] == [
        ("failed", None)
    ] * RUNS
    assert per_trial(folder, "curves") == {0: ROWS["curves"]}


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_parts_roll_over_and_a_trial_lies_in_one_part(folder: SweepFolder, clock: Callable[[], float]) -> None:
    writer = Writer(folder, {}, MODULAR, clock)
    for trial in range(8):
        put(writer, trial)
    for trial in (0, 3, 7, 4):
        put(writer, trial)
    writer.close()
    assert parts(folder, "trials") == {"part-00000.parquet": [0, 1, 2, 3, 4], "part-00001.parquet": [5, 6, 7]}
    assert parts(folder, "runs") == {"part-00000.parquet": [0, 1, 2, 3], "part-00001.parquet": [4, 5, 6, 7]}
    assert parts(folder, "curves") == {
        "part-00000.parquet": [0, 1, 2],
        "part-00001.parquet": [3, 4, 5],
        "part-00002.parquet": [6, 7],
    }
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys(range(8), ROWS[name])


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_a_reopened_folder_continues_where_it_was(folder: SweepFolder) -> None:
    for trial in range(11):
        put(Writer(folder, {"launch": trial}, MODULAR), trial)
    put(Writer(folder, {}, MODULAR), 4)
    assert parts(folder, "curves") == {
        "part-00000.parquet": [0, 1, 2],
        "part-00001.parquet": [3, 4, 5],
        "part-00002.parquet": [6, 7, 8],
        "part-00003.parquet": [9, 10],
    }
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys(range(11), ROWS[name])


@pytest.mark.usefixtures("small_parts")
def test_trials_may_come_in_any_order_and_with_gaps(folder: SweepFolder, clock: Callable[[], float]) -> None:
    order = [40, 2, 17, 3, 39, 0, 18]
    for half in (order[:4], order[4:]):
        writer = Writer(folder, {}, MODULAR, clock)
        for trial in half:
            put(writer, trial)
        writer.close()
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys(order, ROWS[name])


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("moved", [0, 1])
def test_new_trials_overwrite_nothing_after_a_part_was_moved_away(
    folder: SweepFolder, tmp_path: Path, moved: int
) -> None:
    """The advice given for a damaged part: move it away to continue without it."""
    writer = Writer(folder, {}, MODULAR)
    for trial in range(9):
        put(writer, trial)
    writer.close()
    (folder.table("curves") / f"part-0000{moved}.parquet").rename(tmp_path / "damaged.parquet")
    left = [trial for trial in range(9) if trial // 3 != moved]
    writer = Writer(folder, {}, MODULAR)
    for trial in (9, 10, 11, 12):
        put(writer, trial)
    writer.close()
    assert per_trial(folder, "curves") == dict.fromkeys([*left, 9, 10, 11, 12], ROWS["curves"])


@pytest.mark.usefixtures("small_parts")
def test_trials_can_be_replaced_after_a_part_was_moved_away(folder: SweepFolder, tmp_path: Path) -> None:
    writer = Writer(folder, {}, MODULAR)
    for trial in range(8):
        put(writer, trial)
    writer.close()
    (folder.table("curves") / "part-00001.parquet").rename(tmp_path / "damaged.parquet")
    writer = Writer(folder, {}, MODULAR)
    for trial in (7, 1, 4):
        put(writer, trial)
    writer.close()
    assert per_trial(folder, "curves") == dict.fromkeys([0, 1, 2, 4, 6, 7], ROWS["curves"])


def test_a_put_that_failed_can_be_repeated(folder: SweepFolder, clock: Callable[[], float]) -> None:
    writer = Writer(folder, {}, MODULAR, clock)
    put(writer, 0)
    in_the_way = [
        folder.table("curves") / ".part-00000.parquet.partial",
        folder.pending / ".trial-00000001.arrow.partial",
    ]
    for path in in_the_way:
        path.mkdir(parents=True)
    with pytest.raises(
        StorageError, match=r"(part-00000.parquet|trial-00000001.arrow): could not be written: Is a dir"
    ):
        put(writer, 1)
    for path in in_the_way:
        path.rmdir()
    put(writer, 1)
    put(writer, 2)
    writer.close()
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys(range(3), ROWS[name])


def test_a_fold_that_failed_can_be_repeated(folder: SweepFolder) -> None:
    writer = Writer(folder, {}, MODULAR, CLOCKS["pending"]())
    for trial in range(3):
        put(writer, trial)
    in_the_way = folder.table("runs") / ".part-00000.parquet.partial"
    in_the_way.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"part-00000.parquet: could not be written: Is a directory"):
        writer.close()
    in_the_way.rmdir()
    put(writer, 1, curves_of(1, evaluations=2))
    writer.close()
    assert per_trial(folder, "curves") == {0: 12, 1: 6, 2: 12}
    for name in ("runs", "trials"):
        assert per_trial(folder, name) == dict.fromkeys(range(3), ROWS[name])
    assert left_in(folder) == ["curves/part-00000.parquet", "runs/part-00000.parquet", "trials/part-00000.parquet"]


def test_nothing_but_parts_is_left(folder: SweepFolder, clock: Callable[[], float]) -> None:
    writer = Writer(folder, {}, MODULAR, clock)
    for trial in range(3):
        put(writer, trial)
    writer.close()
    assert left_in(folder) == ["curves/part-00000.parquet", "runs/part-00000.parquet", "trials/part-00000.parquet"]


def test_a_trial_that_failed_at_once_has_runs_but_no_curves(folder: SweepFolder) -> None:
    put(Writer(folder, {}, MODULAR), 0, [], Ending("failed", "error", "Traceback ..."))
    assert {name: per_trial(folder, name) for name in TABLES} == {"trials": {0: 1}, "runs": {0: RUNS}, "curves": {}}


def test_provenance_and_schema_version_are_in_every_part(folder: SweepFolder) -> None:
    put(Writer(folder, PROVENANCE, MODULAR), 0)
    for name in TABLES:
        metadata = pq.read_schema(folder.table(name) / "part-00000.parquet").metadata
        expected = {"schema_version": SCHEMA_VERSION, "provenance": PROVENANCE, "columns": MEANINGS[name]}
        assert json.loads(metadata[b"sweeper"]) == expected
    put(Writer(folder, {"host": "there"}, MODULAR), 1)
    metadata = pq.read_schema(folder.table("trials") / "part-00000.parquet").metadata
    assert json.loads(metadata[b"sweeper"])["provenance"] == {"host": "there"}


def test_folding_takes_a_fiftieth_of_the_time(folder: SweepFolder) -> None:
    """What the clock shows at every look: a fold that takes 2 seconds, and the next one 100 seconds after it."""
    looks = iter([0.0, 10.0, 10.0, 12.0, 12.5, 111.9, 111.9, 112.0, 112.0, 112.5, 137.4, 137.5, 137.5, 137.6])
    writer = Writer(folder, {}, MODULAR, looks.__next__)
    put(writer, 0)
    assert (per_trial(folder, "trials"), pending(folder)) == ({0: 1}, [])
    put(writer, 1)
    writer.fold_when_due()
    put(writer, 2)
    assert (per_trial(folder, "trials"), pending(folder)) == ({0: 1}, [1, 2])
    writer.fold_when_due()
    assert (per_trial(folder, "trials"), pending(folder)) == ({0: 1, 1: 1, 2: 1}, [])
    put(writer, 3)
    assert pending(folder) == [3]
    put(writer, 4)
    assert (per_trial(folder, "trials"), pending(folder)) == (dict.fromkeys(range(5), 1), [])
    assert list(looks) == []


@pytest.mark.usefixtures("small_parts")
def test_no_more_are_pending_than_a_part_of_curves_holds(folder: SweepFolder) -> None:
    writer = Writer(folder, {}, MODULAR, CLOCKS["pending"]())
    seen = []
    for trial in range(4):
        put(writer, trial)
        seen.append((len(per_trial(folder, "trials")), pending(folder)))
    assert seen == [(0, [0]), (0, [0, 1]), (0, [0, 1, 2]), (4, [])]
    assert parts(folder, "curves") == {"part-00000.parquet": [0, 1, 2], "part-00001.parquet": [3]}


def test_what_is_pending_is_folded_by_the_next_launch(folder: SweepFolder) -> None:
    writer = Writer(folder, {}, MODULAR, CLOCKS["pending"]())
    for trial in (7, 2, 9):
        put(writer, trial)
    assert left_in(folder) == [f"pending/trial-0000000{trial}.arrow" for trial in (2, 7, 9)]
    Writer(folder, {}, MODULAR)
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys((2, 7, 9), ROWS[name])
    assert left_in(folder) == ["curves/part-00000.parquet", "runs/part-00000.parquet", "trials/part-00000.parquet"]


@pytest.mark.parametrize("end", ["closed", "killed", "due"])
def test_the_latest_rows_of_a_trial_win_whatever_road_they_take(folder: SweepFolder, end: str) -> None:
    """In a part, then pending, then pending again, then at once into the part while a shard of before lies there."""
    writer = Writer(folder, {}, MODULAR, iter([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 90.0, 90.0, 91.0]).__next__)
    for evaluations in (1, 2, 3):
        put(writer, 5, curves_of(5, evaluations))
    assert (per_trial(folder, "curves"), pending(folder)) == ({5: RUNS}, [5])
    if end == "due":
        put(writer, 5, curves_of(5, evaluations := 4))
    elif end == "closed":
        writer.close()
    else:
        Writer(folder, {}, MODULAR)
    assert (per_trial(folder, "curves"), pending(folder)) == ({5: evaluations * RUNS}, [])
    assert [row["steps_trained"] for row in read(folder, "trials").to_pylist()] == [evaluations * 10 * RUNS]


def test_what_a_killed_launch_left_half_written_is_removed(folder: SweepFolder) -> None:
    put(Writer(folder, {}, MODULAR), 0)
    before = left_in(folder)
    folder.pending.mkdir()
    for left in (folder.root / ".space.yaml.partial", folder.pending / ".trial-00000001.arrow.partial"):
        left.write_bytes(b"half")
    (folder.table("curves") / ".part-00000.parquet.partial").write_bytes(b"PAR1")
    Writer(folder, {}, MODULAR)
    assert left_in(folder) == before


def _again_if_replaced(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """DuckDB opens a file once to plan and once to read, so a query may meet two versions of it and says so."""
    for _ in range(3):
        with contextlib.suppress(duckdb.Error):
            return connection.sql(sql).to_arrow_table()
    return connection.sql(sql).to_arrow_table()


MAPS = ["rmst_by_operation"]
"""Columns that pandas reads but cannot turn back into Arrow."""


class _Reader:
    """Reads the tables in every way that users do, until told to stop, and notes what should never be seen."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder, self._done = folder, threading.Event()
        self.wrong: Counter[str] = Counter()
        self.rounds = 0
        self._most: Counter[tuple[str, str]] = Counter()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> "_Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        with duckdb.connect() as connection:
            ways: dict[str, Callable[[Path], pa.Table]] = {
                "pandas": lambda path: pa.Table.from_pandas(pd.read_parquet(path).drop(columns=MAPS, errors="ignore")),
                "pyarrow": lambda path: pyarrow.dataset.dataset(path).to_table(),
                "duckdb": lambda path: _again_if_replaced(connection, f"FROM read_parquet('{path}/part-*.parquet')"),
            }
            while not self._done.wait(0.2):  # leaves the cores to the writer
                for way, whole in ways.items():
                    self._look(way, whole)
                self.rounds += 1

    def _look(self, way: str, whole: Callable[[Path], pa.Table]) -> None:
        """Look at all three, as a join does: what is in trials must be in the two others, which are read later."""
        seen: dict[str, set[int]] = {}
        for name in TABLES:
            if not any(self._folder.table(name).glob("part-*.parquet")):
                return
            try:
                counts = Counter(whole(self._folder.table(name))["trial"].to_pylist())
            except Exception as error:  # noqa: BLE001  # whatever a reader meets is the finding
                self.wrong[f"{way}: {error!r}"] += 1
                return
            self.wrong[f"{way}: part of a trial, or a trial twice"] += set(counts.values()) != {ROWS[name]}
            self.wrong[f"{way}: fewer trials than before"] += len(counts) < self._most[way, name]
            self._most[way, name] = len(counts)
            seen[name] = set(counts)
        self.wrong[f"{way}: a trial without its runs or curves"] += not seen["trials"] <= seen["runs"] <= seen["curves"]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "trials"), [("straight", 40), ("in groups", 200)])
def test_readers_never_see_half_a_trial_while_many_are_written(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, how: str, trials: int
) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", {"trials": 25, "runs": 25, "curves": 20})
    with _Reader(folder) as reader:
        writer = Writer(folder, PROVENANCE, MODULAR, CLOCKS[how]())
        written = 0
        # On a busy machine readers are slow: they are to look three times while there is writing.
        while written < trials or (reader.rounds < 3 and written < 20 * trials):
            put(writer, written)
            if written % 20 == 19:
                put(writer, written - 5)
            written += 1
        writer.close()
    assert +reader.wrong == Counter()
    assert reader.rounds >= 3
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys(range(written), ROWS[name])
