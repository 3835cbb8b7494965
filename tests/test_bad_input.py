"""What a search is not made for: launches of made-up trials end with sensible words under every rule for stopping."""

import json
import math
import random
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sweeper.errors import SweepFailed
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.sweeps import QUESTION
from tests.fakes.training import always, diverges, fails, follows, learns

RULES: dict[str, dict[str, Any]] = {
    "none": {"stop": "none"},
    "cap": {"stop": "cap"},
    "race": {"stop": "cap", "race": {"first": 1}},
    "asha": {"stop": "asha"},
}
NOBODY = "No run reached val_accuracy > 0.99: widen the space, or raise the horizon:"


def run(folder: Path, train: Train, **changes: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """A launch in this process: its rows in `trials`, and the lines that it printed."""
    space = folder / "space.yaml"
    sections = {
        "search": {"depth": {"int": [1, 4]}, "weight_decay": {"float": [0.1, 1.0], "log": True}},
        "sampler": {"name": "tpe", "startup_trials": 3},
        "budget": {"trials": 7},
        "confirm": {"top": 2, "replicates": 2},
        "results": str(folder / "results"),
    }
    space.write_text(json.dumps(QUESTION | sections | changes))
    console = Console(file=StringIO(), width=160)
    kept = launch(space, options=LaunchOptions(where="here", console=console, train=train))
    assert isinstance(console.file, StringIO)
    rows = sorted(pq.read_table(kept.table("trials")).to_pylist(), key=lambda row: row["trial"])
    assert all(math.isfinite(row["value"]) for row in rows)
    return rows, console.file.getvalue().splitlines()


def wavers(assignment: Assignment, replicate: int) -> list[float]:
    """Rises and falls, past the threshold for two evaluations at most."""
    chance = random.Random(f"{assignment.number} {replicate}")
    return [chance.choice([0.0, 0.3, 0.6, 0.9, 1.0]) if i % 3 else 0.5 for i in range(10)]


def nowhere(assignment: Assignment, replicate: int) -> list[float]:
    return [0.1 * assignment.settings.depth]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["cap", "asha"])
def test_metrics_that_rise_and_fall(tmp_path: Path, rule: str) -> None:
    objective = {**QUESTION["objective"], "sustained": 3}
    rows, lines = run(tmp_path, follows(wavers), **RULES[rule], objective=objective)
    assert {row["phase"] for row in rows} == {"search"}, "nothing is confirmed where no run arrived"
    assert sum(row["reached"] for row in rows) == 0
    assert NOBODY in lines


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["none", "race", "asha"])
def test_a_threshold_that_nobody_reaches(tmp_path: Path, rule: str) -> None:
    rows, lines = run(tmp_path, follows(nowhere), **RULES[rule])
    assert NOBODY in lines
    assert sum(row["reached"] for row in rows) == 0
    search = [row for row in rows if row["phase"] == "search"]
    best = max(row["depth"] for row in search)
    assert min(search, key=lambda row: row["value"])["depth"] == best, "the nearest miss is the best"


@pytest.mark.slow
def test_a_threshold_beyond_the_metric(tmp_path: Path) -> None:
    objective = {**QUESTION["objective"], "until": "val_accuracy > 2"}
    rows, lines = run(tmp_path, learns(always(50)), **RULES["cap"], objective=objective)
    assert sum(row["reached"] for row in rows) == 0
    assert NOBODY.replace("0.99", "2") in lines


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "confirm"), [("race", {"top": 3, "replicates": 1}), ("asha", None)])
def test_a_single_trial(tmp_path: Path, rule: str, confirm: dict[str, int] | None) -> None:
    rows, lines = run(tmp_path, learns(always(50)), **RULES[rule], confirm=confirm, budget={"trials": 1})
    phases = ["search", "confirm"] if confirm else ["search"]
    assert [(row["phase"], row["state"], row["rmst"]) for row in rows] == [(each, "finished", 50.0) for each in phases]
    assert any(line.split()[:3] == ["1", "0", "2/2"] for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["race", "asha"])
def test_trials_that_all_diverge(tmp_path: Path, rule: str) -> None:
    rows, lines = run(tmp_path, diverges, **RULES[rule])
    assert {row["state"] for row in rows} == {"finished"}
    assert all(row["diverged"] == row["runs"] for row in rows)
    assert lines[-1] == "No run reached val_accuracy > 0.99: all of them diverged or failed."


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["race", "asha"])
def test_trials_that_all_fail_but_one(tmp_path: Path, rule: str) -> None:
    def train(assignment: Assignment) -> Iterator[Chunk]:
        # Not the first, so that a later one has failures alone to compare with; and its confirmation.
        sound = assignment.number == 1 or 1000 in assignment.replicates
        return (learns(always(50), evaluations=1) if sound else fails)(assignment)

    rows, lines = run(tmp_path, train, **RULES[rule])
    states = [(row["phase"], row["state"]) for row in rows]
    assert states[1] == ("search", "finished")
    assert {state for number, (phase, state) in enumerate(states) if phase == "search" and number != 1} == {"failed"}
    assert states[7:] == [("confirm", "finished")], "of the only trial that arrived"
    assert [row["runs"] for row in rows] == [2] * 8, "the replicates that were to come have failed too"
    assert any(line.split()[:3] == ["1", "1", "2/2"] for line in lines)
    assert lines[-1].startswith("6 trials failed; to see why: sweeper show ")


@pytest.mark.parametrize("rule", ["none", "race"])
def test_trials_that_all_fail(tmp_path: Path, rule: str) -> None:
    with pytest.raises(SweepFailed, match="every trial failed; above is the traceback of trial 0"):
        run(tmp_path, fails, **RULES[rule])


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["cap", "race", "asha"])
def test_a_search_in_which_every_trial_does_the_same(tmp_path: Path, rule: str) -> None:
    rows, _ = run(tmp_path, learns(always(50), evaluations=1), **RULES[rule])
    assert {(row["state"], row["rmst"]) for row in rows} == {("finished", 50.0)}, "nobody is behind"
    assert [row["name"] for row in rows[-2:]] == ["0", "1"]


@pytest.mark.slow
def test_a_space_that_ends_before_the_budget(tmp_path: Path) -> None:
    rows, lines = run(tmp_path, learns(always(50)), **RULES["race"], search={"depth": {"int": [1, 2]}})
    assert [row["phase"] for row in rows] == ["search", "search", "confirm", "confirm"]
    assert lines[-1] == "the search ended early: every configuration of the space has been run"
