"""Sweeps as objects: frames, SQL, and what they display."""

from pathlib import Path

import pandas as pd
import pytest

import sweeper
from sweeper.api import Folder, Sweep, launch, load
from sweeper.errors import UserError
from tests.fakes.sweeps import made_up


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds one sweep."""
    return made_up(tmp_path_factory.mktemp("home")).folder.root.parent


def test_a_sweep_gives_frames_tables_and_sql(home: Path) -> None:
    sweep = load(home / "made-up")
    assert isinstance(sweep, Sweep)
    assert [len(frame) for frame in (sweep.trials, sweep.runs, sweep.curves)] == [9, 33, 146]
    assert sweep.query("SELECT count(*) AS n FROM trials WHERE state = 'failed'")["n"].tolist() == [1]
    assert sweep.arrow("FROM runs").num_rows == 33
    assert sweep.duckdb().sql("SELECT max(trial) FROM curves").fetchall() == [(8,)]
    assert repr(sweep) == f"load({str(home / 'made-up')!r})"


def test_plain_pandas_reads_the_same(home: Path) -> None:
    sweep = load(home / "made-up")
    plain = pd.read_parquet(home / "made-up" / "runs").sort_values(["trial", "operation", "replicate"])
    pd.testing.assert_frame_equal(plain.reset_index(drop=True), sweep.runs, check_dtype=False)


def test_a_folder_of_sweeps_is_one_set_of_tables_and_a_mapping(home: Path) -> None:
    sweeps = load(home)
    assert isinstance(sweeps, Folder)
    assert (list(sweeps), len(sweeps), repr(sweeps)) == (["made-up"], 1, "Folder(['made-up'])")
    assert sweeps.trials["sweep"].unique().tolist() == ["made-up"]
    assert repr(sweeps["made-up"]) == repr(load(home / "made-up"))
    assert "made-up" in str(sweeps)


@pytest.mark.slow
def test_everything_displays_itself_as_text_and_in_a_notebook(home: Path) -> None:
    sweep = load(home / "made-up")
    assert isinstance(sweep, Sweep)
    shown = [sweep, sweep.leaderboard(top=3), sweep.trial("published"), sweep.compare(1, "published")]
    expected = [
        "confirmed on fresh seeds",
        "vs baseline",
        "published, baseline: finished",
        "trial 1 is faster than published",
    ]
    for each, words in zip(shown, expected, strict=True):
        assert words in str(each)
        bundle = each._repr_mimebundle_([], [])
        assert words in bundle["text/plain"]
        assert "<pre" in bundle["text/html"]
    assert sweep.leaderboard(top=3).data.rows[0]["trial"] == 1


def test_a_name_is_looked_up_in_results(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    assert isinstance(load("made-up"), Sweep)
    assert isinstance(load(), Folder)
    with pytest.raises(UserError, match="nothing-here: no sweep here"):
        load("nothing-here")


def test_the_package_gives_both() -> None:
    assert (sweeper.launch, sweeper.load) == (launch, load)
    with pytest.raises(AttributeError, match="has no attribute 'lunch'"):
        sweeper.lunch  # noqa: B018
