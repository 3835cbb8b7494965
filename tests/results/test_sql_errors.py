"""Queries that name a table or a column which is not there: what was meant, and what there is."""

import pytest

from sweeper.errors import UserError
from sweeper.report.leaderboard import Leaderboard
from sweeper.report.leaderboard_table import grids
from sweeper.results.query import query
from sweeper.results.sql_errors import HEADINGS
from tests.fakes.sweeps import Sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep that has not trained anything."""
    sweep = Sweep(tmp_path_factory.mktemp("empty"))
    sweep.open()
    return sweep


@pytest.mark.parametrize(
    ("sql", "columns_of", "meant"),
    [
        ('SELECT "mean steps" FROM trials', ["trials"], "mean steps is the column rmst of trials"),
        ("SELECT trial FROM trials ORDER BY mean_steps", ["trials"], "mean_steps is the column rmst of trials"),
        ("SELECT trial, seed FROM runs", ["runs"], "seed is the column replicate of runs and curves"),
        ("SELECT batch.max FROM trials", ["trials"], "batch.max is the column batch_max"),
        ('SELECT "batch.max" FROM trials t', ["trials"], "batch.max is the column batch_max"),
        ("SELECT t.depht FROM trials t JOIN runs USING (trial)", ["trials", "runs"], ""),
        (
            "SELECT 1 FROM trial",
            ["trials", "runs", "curves"],
            "the tables are trials, runs, curves (did you mean 'trials'?)",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(
    sweep: Sweep, sql: str, columns_of: list[str], meant: str
) -> None:
    with pytest.raises(UserError, match=r"^SQL error: (Binder|Catalog) Error: ") as caught:
        query(sweep.folder, sql)
    lines = str(caught.value).splitlines()
    assert [line.split()[2].rstrip(":") for line in lines if line.startswith("columns of")] == columns_of
    assert lines[-1] == meant or not meant
    assert max(map(len, lines[2:])) <= 78


@pytest.mark.parametrize("sql", ["SELEC", "SELECT meen(depth) FROM trials", "SELECT depth FROM trials GROUP BY heads"])
def test_of_another_mistake_duckdb_says_enough(sweep: Sweep, sql: str) -> None:
    with pytest.raises(UserError) as caught:
        query(sweep.folder, sql)
    assert "columns of" not in str(caught.value)


def test_every_heading_of_the_leaderboard_is_a_column_or_explained(sweep: Sweep) -> None:
    row = dict.fromkeys(("median", "error", "success", "depth"))
    row |= {"rank": 1, "trial": 0, "baseline": "", "reached": 1, "runs": 1, "phase": "search", "state": "finished"}
    row |= {"mean": 20.0, "beyond": 20.0, "ratio": 1.0, "ratio_bound": ""}
    (grid,) = grids(Leaderboard("steps", "steps", "val_accuracy > 0.99", ("depth",), [row], [], 0, [], False))
    columns = query(sweep.folder, "SELECT * FROM trials").column_names
    unknown = [heading.removesuffix(" steps") for heading in grid.headings if heading and heading not in columns]
    assert unknown and set(unknown) <= set(HEADINGS)
