"""Files for other programs, read back by other programs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sweeper.errors import UserError
from sweeper.report import export
from sweeper.report.export import finished_trials
from sweeper.report.select import choose
from tests.fakes.sweeps import PUBLISHED, Sweep, train


@pytest.mark.parametrize("table", ["trials", "runs", "curves"])
def test_every_ending_holds_the_same_table(table: str, made_up_sweep: Sweep, tmp_path: Path) -> None:
    for form in ("csv", "json", "parquet"):
        output = tmp_path / f"{table}.{form}"
        export.export(made_up_sweep.folder, table, export.format_of(output), output)
    csv, parquet = pd.read_csv(tmp_path / f"{table}.csv"), pd.read_parquet(tmp_path / f"{table}.parquet")
    rows = json.loads((tmp_path / f"{table}.json").read_text())
    assert len(csv) == len(parquet) == len(rows) == len(made_up_sweep.rows(table)) > 0
    assert list(csv.columns) == list(parquet.columns) == list(rows[0])
    assert [row["trial"] for row in rows] == sorted(row["trial"] for row in made_up_sweep.rows(table))


def test_several_sweeps_are_one_table_with_their_names(made_up_sweep: Sweep, tmp_path: Path) -> None:
    output = tmp_path / "both.csv"
    export.export({"a": made_up_sweep.folder, "b": made_up_sweep.folder}, "trials", "csv", output)
    assert pd.read_csv(output).groupby("sweep")["trial"].count().to_dict() == {"a": 9, "b": 9}


def test_another_ending_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UserError, match=r"trials.xlsx: unsupported extension '.xlsx'; use .csv, .json or .parquet"):
        export.format_of(Path("trials.xlsx"))


def test_final_info_has_the_shape_of_the_published_experiment(made_up_sweep: Sweep, tmp_path: Path) -> None:
    output = tmp_path / "final_info.json"
    export.write_final_info(choose(f"{made_up_sweep.folder.root}:published"), output)
    found = json.loads(output.read_text())
    assert list(found) == ["x_plus_y"]
    assert list(found["x_plus_y"]) == ["means", "stderrs", "final_info_dict"]
    values = found["x_plus_y"]["final_info_dict"]
    assert list(values) == ["final_train_loss", "final_val_loss", "final_train_acc", "final_val_acc", "step_val_acc_99"]
    assert values["step_val_acc_99"] == [100, 80]  # the first never got there: the horizon
    assert found["x_plus_y"]["means"]["step_val_acc_99_mean"] == 90
    assert found["x_plus_y"]["stderrs"]["step_val_acc_99_stderr"] == 10  # 14.14 / sqrt 2


def test_a_trial_that_failed_has_no_values(made_up_sweep: Sweep) -> None:
    found = export.final_info(choose(f"{made_up_sweep.folder.root}:4"))["x_plus_y"]
    assert found["final_info_dict"]["final_val_loss"] == [None, None]


def test_a_file_that_cannot_be_written_is_a_mistake_of_the_user(made_up_sweep: Sweep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        export.write_final_info(choose(str(made_up_sweep.folder.root)), tmp_path / "missing" / "x.json")


@pytest.mark.slow
def test_trials_of_the_tables_are_those_that_trackers_received_while_the_sweep_ran(tmp_path: Path) -> None:
    from sweeper.config.saved import saved_spec
    from sweeper.trackers.protocol import FinishedTrial

    sweep, live = Sweep(tmp_path), list[FinishedTrial]()
    sweep.changes = {
        "search": {"batch.shape": {"choice": ["step", "linear"]}, "depth": {"int": [1, 4]}},
        "fixed": {"batch.stages": [[0, 16], [20, 64]], "batch.min": 8, "batch.max": 64, "width": 32},
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 1, "replicates": 2},
        "budget": {"trials": 6},
    }
    director = sweep.open()
    director._recorder._track = live.append  # what a launch gives it
    sweep.run(train, director)
    again = list(finished_trials(sweep.folder, saved_spec(sweep.folder)))
    assert len(again) == len(live) == 8 and {each.state for each in live} == {"finished", "failed"}
    for mine, theirs in zip(again, sorted(live, key=lambda each: each.number), strict=True):
        for name in ("number", "phase", "name", "state", "configuration", "outcome", "started", "finished"):
            assert getattr(mine, name) == getattr(theirs, name), (mine.number, name)
        points = {step: pytest.approx(values, rel=1e-6) for step, values in theirs.points()}  # float32 in the tables
        assert dict(mine.points()) == points
