"""`stop: thaw` in sweeps without training: what pauses, what goes on, what is dropped, and what a crash changes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.sweep import thawing
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import EVERY, chunk_of, curve
from tests.fakes.sweeps import Sweep

LONG, CHUNK = 800, 5
THAW: dict[str, Any] = {
    "stop": "thaw",
    "objective": {"until": "val_accuracy > 0.99", "horizon": LONG, "evaluate_every": EVERY, "replicates": 3},
    "search": {"depth": {"int": [1, 4]}, "weight_decay": {"choice": [0.01, 0.03, 0.1, 0.3]}},
    "fixed": {"heads": 1},
    "sampler": {"name": "gp", "startup_trials": 8},
    "budget": {"trials": 14},
}


def time_of(assignment: Assignment, replicate: int) -> int:
    """Best, 200, at depth 3 and decay 0.1; seeds differ by a tenth."""
    settings = assignment.settings
    slower = abs(settings.depth - 3) + 2 * abs([0.01, 0.03, 0.1, 0.3].index(settings.weight_decay) - 2)
    return round((200 + 100 * slower) * (1 + 0.1 * (replicate % 3)) / EVERY) * EVERY


def trains(telling: Callable[[float], float], trained: list[tuple[int, int]], kill: int = 0) -> Any:
    """A training function that can be paused, whose accuracy until the event is what `telling` makes of its time.

    It notes (trial, replicates of the stage) at each chunk, and dies after so many.
    """

    def train(assignment: Assignment) -> Iterator[Chunk]:
        first = 0 if assignment.state is None else json.loads(assignment.state)
        for place in range(first, LONG // EVERY, CHUNK):
            curves = []
            for replicate in assignment.replicates:
                there = time_of(assignment, replicate)
                steps = [EVERY * (place + 1 + i) for i in range(CHUNK) if EVERY * (place + 1 + i) <= there]
                if steps:
                    curves.append(
                        curve([1.0 if step == there else telling(there) for step in steps], replicate, first=place + 1)
                    )
            if not curves:
                return
            trained.append((assignment.number, len(assignment.replicates)))
            if len(trained) == kill:
                raise KeyboardInterrupt
            yield replace(chunk_of(*curves), state=json.dumps(place + CHUNK).encode())

    return train


def speaks(there: float) -> float:
    return 0.9 - there / 2000


def silent(there: float) -> float:
    return 0.1


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setattr(thawing, "_SHARE", 1e9)  # starting again costs nothing here
    return Sweep(tmp_path, THAW)


def best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return min((row for row in rows if row["state"] == "finished"), key=lambda row: row["value"])


def check_whole(rows: list[dict[str, Any]]) -> None:
    """The best was found, every trial has an ending, and what was dropped could not have been the best."""
    assert len(rows) == 14
    assert (best(rows)["depth"], best(rows)["weight_decay"]) == (3, 0.1)
    assert {row["state"] for row in rows} <= {"finished", "lost", "capped"}
    assert {row["runs"] for row in rows if row["state"] == "lost"} == {1}


def pauses(trained: list[tuple[int, int]]) -> int:
    """How often a trial stopped in the middle of a stage and went on later."""
    runs = [each for i, each in enumerate(trained) if i == 0 or trained[i - 1] != each]
    return len(runs) - len(set(runs))


def test_silent_curves_pause_nothing(sweep: Sweep) -> None:
    trained: list[tuple[int, int]] = []
    sweep.launch(trains(silent, trained))
    check_whole(sweep.rows())
    assert pauses(trained) == 0


def test_trials_pause_where_curves_speak_and_a_killed_sweep_goes_on_from_its_checkpoints(sweep: Sweep) -> None:
    trained: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        sweep.launch(trains(speaks, trained, kill=60))
    sweep.launch(trains(speaks, trained))
    check_whole(sweep.rows())
    assert pauses(trained) > 0
    steps = {
        number: sum(CHUNK * EVERY for each, size in trained if each == number and size == 1) for number, _ in trained
    }
    assert max(steps.values()) <= LONG + CHUNK * EVERY  # no training was lost but a chunk that the kill cut off
