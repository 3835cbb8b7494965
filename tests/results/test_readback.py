"""What is read back of tables that the real writer wrote."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results.readback import TrialOutcome, curves, trial_outcomes
from sweeper.results.summary import trial_row
from sweeper.results.writer import Writer
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.stats.events import FINISHED, Clock, Ending
from sweeper.stats.objective import Observation, value
from sweeper.trial import Assignment, join
from tests.fakes.curves import BATCH, Columns, assignment_of, chunk_of, curve, summary_of
from tests.fakes.tables import MODULAR, TASK
from tests.fakes.written import RUNS, curves_of, straight
from tests.fakes.written import put as put_search

LIMIT = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


def put(
    folder: SweepFolder,
    trial: int,
    assignment: Assignment,
    runs: Sequence[Columns],
    ending: Ending = FINISHED,
    *,
    phase: str = "search",
    name: str = "",
) -> float:
    """Write a trial as the director does. Returns its value."""
    summary = summary_of(replace(assignment, number=trial), runs, ending, LIMIT)
    row = trial_row(
        summary,
        phase=phase,
        name=name,
        identity=f"id {trial}",
        settings=Hyperparameters(),
        known=TASK.hyperparameters,
    )
    Writer(folder, {}, MODULAR).put(join([chunk_of(*runs)]) if runs else {}, [run.row for run in summary.runs], row)
    return summary.value


def test_outcomes_are_of_all_that_are_over_for_good(folder: SweepFolder) -> None:
    assert trial_outcomes(folder, "steps") == {}
    writer = Writer(folder, {}, MODULAR, straight)
    arrived = {"x_plus_y": (Observation(40.0, True, 1.0),) * RUNS}
    whole = {0: put_search(writer, 0), 2: put_search(writer, 2, ending=Ending("capped", "its value is at least 4"))}
    failed = put_search(writer, 3, [], Ending("failed", "error"))
    put_search(writer, 1, ending=Ending("stopped", "Ctrl-C"))
    put_search(writer, 4, [], Ending("failed", "node lost"))
    found = trial_outcomes(folder, "steps")
    assert set(found) == {0, 2, 3}
    assert found[0] == TrialOutcome(whole[0], "finished", None, arrived)
    assert found[2] == TrialOutcome(whole[2], "capped", math.log(40), arrived)
    assert (found[3].value, found[3].state, found[3].bound) == (failed, "failed", None)
    assert [(each.time, each.reached, math.isnan(each.best)) for each in found[3].observations["x_plus_y"]] == [
        (0.0, False, True)
    ] * RUNS

    stopped = put_search(writer, 1)
    assert trial_outcomes(folder, "steps")[1] == TrialOutcome(stopped, "finished", None, arrived)


@pytest.mark.parametrize(("clock", "scale"), [("steps", 1), ("examples", BATCH), ("seconds", 0.01)])
def test_the_times_of_runs_are_on_the_clock_asked_for(folder: SweepFolder, clock: Clock, scale: float) -> None:
    runs = [curve([0.1, 1.0, 1.0], 1), curve([0.1, 0.1, 0.1, 0.5, 0.1], 0)]
    put(folder, 0, assignment_of((0, 1), sustained=2, minimize=clock, horizon_seconds=9.0), runs, Ending("capped"))
    (found,) = trial_outcomes(folder, clock).values()
    late, early = found.observations["x_plus_y"]
    assert (late.time, late.reached, late.best) == (0.0, False, 0.5)
    assert (early.time, early.reached, early.best) == (pytest.approx(20 * scale), True, 1.0)


def test_several_operations_are_told_apart_and_replicates_are_in_order(folder: SweepFolder) -> None:
    operations = ("x_plus_y", "x_minus_y")
    runs = [
        curve([0.1] * evaluations + [1.0], replicate, operation)
        for operation, steps in zip(operations, ((3, 1, 2), (5, 4, 3)), strict=True)
        for replicate, evaluations in enumerate(steps)
    ]
    put(folder, 0, assignment_of((0, 1, 2), operations), runs[::-1])
    (found,) = trial_outcomes(folder, "steps").values()
    times = {name: [each.time for each in seen] for name, seen in found.observations.items()}
    assert times == {"x_plus_y": [40.0, 20.0, 30.0], "x_minus_y": [60.0, 50.0, 40.0]}


def test_what_is_read_back_gives_the_value_that_was_told(folder: SweepFolder) -> None:
    """Of a trial that was not cut short, and of its first replicates too: the caps of a race are made from it."""
    nan = math.nan
    assignment = assignment_of((0, 1, 2))
    runs = [
        curve([0.1, 0.1, 1.0], 0),
        curve([0.1, 0.7, 0.1, 0.1, 0.1, 0.3], 1),
        curve([0.2, 0.1], 2, train_loss=[1.0, nan], val_loss=[2.0, nan]),
    ]
    told = put(folder, 0, assignment, runs)
    (found,) = trial_outcomes(folder, "steps").values()
    assert value(found.observations, assignment.objective.event, LIMIT) == told == found.value
    for replicates in (1, 2):
        part = assignment_of(range(replicates))
        first = {name: seen[:replicates] for name, seen in found.observations.items()}
        alone = summary_of(part, runs[:replicates], limit=LIMIT).value
        assert value(first, part.objective.event, LIMIT) == alone


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


@pytest.mark.slow
def test_curves_are_those_of_the_baselines_and_the_search(folder: SweepFolder) -> None:
    one = assignment_of()
    put(folder, 4, one, [curve([0.1, 1.0])], phase="baseline", name="2")
    put(folder, 1, one, [curve([0.1, 0.2, 1.0])])
    put(folder, 2, one, [curve([0.3])], Ending("capped", "too late"))
    put(folder, 3, one, [curve([0.3, 0.4])], Ending("stopped", "Ctrl-C"))
    put(folder, 5, one, [curve([0.5])], Ending("failed", "error"))
    put(folder, 6, one, [], Ending("failed", "error"))
    put(folder, 7, assignment_of((1000,)), [curve([0.1, 1.0], 1000)], phase="confirm", name="1")
    found = curves(folder, "steps", "val_accuracy")
    assert set(found) >= {"trial", "phase", "state", "operation", "replicate", "step", "clock", "metric"}
    assert rows(found.round(6), "trial", "phase", "state", "step", "clock", "metric") == [
        (1, "search", "finished", 10, 10.0, 0.1),
        (1, "search", "finished", 20, 20.0, 0.2),
        (1, "search", "finished", 30, 30.0, 1.0),
        (2, "search", "capped", 10, 10.0, 0.3),
        (3, "search", "stopped", 10, 10.0, 0.3),
        (3, "search", "stopped", 20, 20.0, 0.4),
        (4, "baseline", "finished", 10, 10.0, 0.1),
        (4, "baseline", "finished", 20, 20.0, 1.0),
    ]


def test_curves_of_a_trial_that_was_taken_up_again_are_those_of_the_new_one(folder: SweepFolder) -> None:
    one = assignment_of()
    put(folder, 0, one, [curve([0.1, 1.0])])
    put(folder, 1, one, [curve([0.3])], Ending("capped", "too late"))
    put(folder, 2, one, [curve([0.3, 1.0])], name="1")
    assert rows(curves(folder, "steps", "val_accuracy"), "trial", "step") == [(0, 10), (0, 20), (2, 10), (2, 20)]


@pytest.mark.parametrize(("clock", "scale"), [("steps", 1), ("examples", BATCH), ("seconds", 0.01)])
@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_curves_have_the_clock_and_the_metric_asked_for(
    folder: SweepFolder, clock: Clock, scale: float, metric: str
) -> None:
    operations = ("x_plus_y", "x_minus_y")
    runs = [
        curve([0.25, 0.5], replicate, operation, val_loss=[4.0, 2.0])
        for operation in operations
        for replicate in (1, 0)
    ]
    put(folder, 0, assignment_of((0, 1), operations), runs)
    found = curves(folder, clock, metric)
    seen = [0.25, 0.5] if metric == "val_accuracy" else [4.0, 2.0]
    assert rows(found, "operation", "replicate", "step", "metric") == [
        (operation, replicate, step, level)
        for operation in sorted(operations)
        for replicate in (0, 1)
        for step, level in zip((10, 20), seen, strict=True)
    ]
    assert found["clock"].tolist() == pytest.approx([10 * scale, 20 * scale] * 4)


@pytest.mark.parametrize("clock", ["steps", "examples", "seconds"])
def test_without_tables_there_are_no_curves(folder: SweepFolder, clock: Clock) -> None:
    found = curves(folder, clock, "val_accuracy")
    assert len(found) == 0
    assert {"trial", "phase", "state", "operation", "replicate", "step", "clock", "metric"} <= set(found)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("damage", ["cut short", "empty", "other text"])
def test_a_damaged_part_is_named(folder: SweepFolder, name: str, damage: str) -> None:
    writer = Writer(folder, {}, MODULAR, straight)
    for trial in range(3):
        put_search(writer, trial, curves_of(trial))
    part = folder.table(name) / "part-00000.parquet"
    content = part.read_bytes()
    part.write_bytes({"cut short": content[: len(content) // 2], "empty": b"", "other text": b"a,b\n1,2\n"}[damage])
    readers = {
        "trials": [lambda: trial_outcomes(folder, "steps"), lambda: curves(folder, "steps", "val_accuracy")],
        "runs": [lambda: trial_outcomes(folder, "steps")],
        "curves": [lambda: curves(folder, "steps", "val_accuracy")],
    }
    for read in readers[name]:
        with pytest.raises(UserError) as caught:
            read()
        assert str(caught.value).startswith(f"{part}: damaged")
        assert "move it away" in str(caught.value)
