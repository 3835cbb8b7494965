"""The leaderboard as printed, whole, for small sweeps on real tables."""

from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from rich.console import Console

from sweeper.report.leaderboard import leaderboard, render
from sweeper.spec.loading import load
from sweeper.trial import Assignment
from tests.test_director import CONFIRMATION_REPLICATES, PUBLISHED, QUESTION, Sweep, diverges, fails, learns

TOP = 10


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def printed(sweep: Sweep, width: int = 120, top: int = TOP) -> str:
    """What a console of that width shows, without the spaces at the ends of lines."""
    spec = load(sweep.root / "space.yaml").spec
    console = Console(width=width, file=StringIO())
    board = leaderboard(sweep.folder, spec.objective.minimize, spec.objective.until, list(spec.search), top)
    console.print(render(board, console))
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return "\n" + "\n".join(line.rstrip() for line in lines) + "\n"


def text(expected: str) -> str:
    return dedent(expected)


def reach(assignment: Assignment, replicate: int) -> int | None:
    """20, 40, ... by depth, the second replicate 20 later; never within the horizon beyond depth 5."""
    if replicate >= CONFIRMATION_REPLICATES:
        replicate -= CONFIRMATION_REPLICATES - 1
    step = 20 * assignment.settings.depth + 20 * replicate
    return step if step <= 100 else None


def kinds(assignment: Assignment) -> Any:
    """Trial 4 fails, trial 5 diverges, the others learn."""
    return ({4: fails, 5: diverges}.get(assignment.number) or learns(reach))(assignment)


def test_a_whole_sweep(sweep: Sweep) -> None:
    sweep.changes = {
        "search": {
            "depth": {"int": [1, 5]},
            "weight_decay": {"choice": [0.125, 0.0333333]},
            "batch.min": {"choice": [32], "when": "batch.shape != constant"},
        },
        "fixed": {"heads": 4},
        "baselines": {"published": PUBLISHED, "shallow": {"depth": 2, "heads": 4, "weight_decay": 0.5}},
        "budget": {"trials": 9},
        "confirm": {"top": 2, "replicates": 2},
    }
    sweep.launch(kinds)
    assert printed(sweep) == text("""
    """)
    assert printed(sweep, width=70, top=3) == text("""
    """)


def test_without_baselines_there_is_nothing_to_compare_with(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(learns(reach))
    assert printed(sweep) == text("""
    """)


def test_a_single_replicate_has_no_error(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}, "objective": {**QUESTION["objective"], "replicates": 1, "minimize": "examples"}}
    sweep.launch(learns(reach))
    assert printed(sweep) == text("""
    """)


def test_capped_and_stopped_trials_say_so(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "budget": {"trials": 3}, "search": {"depth": {"choice": [1, 4, 3]}}}
    director = sweep.open()

    def train(assignment: Assignment) -> Any:
        for each in learns(reach, evaluations=1)(assignment):
            if assignment.number == 2:
                director.stop("Ctrl-C")
            yield each

    sweep.run(train, director)
    assert printed(sweep) == text("""
    """)


def test_nothing_reached(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "baselines": {"published": PUBLISHED}}
    sweep.launch(learns(lambda *_: None))
    assert printed(sweep) == text("""
    """)


def test_nothing_there_yet(sweep: Sweep) -> None:
    sweep.open()
    assert printed(sweep) == "\nNo trial has finished yet.\n"


def test_names_that_look_like_markup_are_printed_as_they_are(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "objective": {**QUESTION["objective"], "until": "val_accuracy > .99"}}
    sweep.launch(learns(reach))
    assert "steps until val_accuracy > .99" in printed(sweep)
