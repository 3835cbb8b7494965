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
from tests.test_director import CONFIRMATION_REPLICATES, PUBLISHED, QUESTION, Sweep, diverges, fails, follows, learns

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
    steps until val_accuracy > 0.99
             trial     reached  mean steps   ±  x baseline  depth  weight_decay  batch_min
    1            2         2/2          30  10        0.30      1         0.125          -
    2            3         2/2          30  10        0.30      1        0.0333          -
    3    1 shallow         2/2          50  10        0.50      2           0.5          -
    4            6         2/2          70  10        0.70      3         0.125          -
    5            7         2/2          70  10        0.70      3        0.0333          -
    6            8         2/2          90  10        0.90      4         0.125          -
    7  0 published         0/2       ≥ 100   0        1.00      6           0.5          -
    8            5         0/2       ≥ 100   0        1.00      2        0.0333          -
    9            4  0/2 failed       ≥ 100   0        1.00      2         0.125          -

    confirmed on fresh seeds
             trial  reached  mean steps   ±  x baseline  depth  weight_decay  batch_min
    1            2      2/2          50  10        0.50      1         0.125          -
    2            3      2/2          50  10        0.50      1        0.0333          -
    3    1 shallow      2/2          70  10        0.70      2           0.5          -
    4  0 published      0/2       ≥ 100   0        1.00      6           0.5          -
    """)
    assert printed(sweep, width=74, top=3) == text("""
    steps until val_accuracy > 0.99
           trial  reached  mean steps   ±  x baseline  configuration
    1          2      2/2          30  10        0.30  depth=1
                                                       weight_decay=0.125
    2          3      2/2          30  10        0.30  depth=1
                                                       weight_decay=0.0333
    3  1 shallow      2/2          50  10        0.50  depth=2
                                                       weight_decay=0.5

    confirmed on fresh seeds
             trial  reached  mean steps   ±  x baseline  configuration
    1            2      2/2          50  10        0.50  depth=1
                                                         weight_decay=0.125
    2            3      2/2          50  10        0.50  depth=1
                                                         weight_decay=0.0333
    3    1 shallow      2/2          70  10        0.70  depth=2
                                                         weight_decay=0.5
    4  0 published      0/2       ≥ 100   0        1.00  depth=6
                                                         weight_decay=0.5
    """)


def test_without_baselines_there_is_nothing_to_compare_with(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(learns(reach))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps   ±  x baseline  depth  heads
    1      0      2/2          30  10                  1      1
    2      1      2/2          30  10                  1      2
    """)


def test_a_single_replicate_has_no_error(sweep: Sweep) -> None:
    sweep.changes = {
        "budget": {"trials": 1},
        "objective": {**QUESTION["objective"], "replicates": 1, "minimize": "examples"},
    }
    sweep.launch(learns(reach))
    assert printed(sweep) == text("""
    examples until val_accuracy > 0.99
       trial  reached  mean examples  ±  x baseline  depth  heads
    1      0      1/1          1,280                     1      1
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
    steps until val_accuracy > 0.99
       trial      reached  mean steps   ±  x baseline  depth
    1      0          2/2          30  10                  1
    2      1   0/2 capped       ≤ 100   0                  4
    3      2  0/2 stopped       ≤ 100   0                  3
    """)


def test_trials_that_were_out_of_the_race_or_pruned_say_so(sweep: Sweep, tmp_path: Path) -> None:
    sweep.changes = {"stop": "cap", "race": {}, "search": {"depth": {"choice": [1, 4, 2]}}}
    sweep.launch(learns(reach, evaluations=2))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial   reached  mean steps   ±  x baseline  depth
    1      0       2/2          30  10                  1
    2      2  1/1 lost          40                      2
    3      1  0/1 lost       ≤ 100                      4
    """)
    pruned = Sweep(tmp_path / "asha", {"stop": "asha", "search": {"depth": {"choice": [1, 2]}}})
    pruned.root.mkdir()
    pruned.launch(follows(lambda assignment, _: [0.5 / assignment.settings.depth]))
    assert printed(pruned) == text("""
    steps until val_accuracy > 0.99
       trial     reached  mean steps  ±  x baseline  depth
    1      0         0/2       ≥ 100  0                  1
    2      1  0/2 pruned       ≤ 100  0                  2
    No run reached val_accuracy > 0.99: raise the horizon, or widen the space.
    """)


def test_of_a_trial_that_was_taken_up_again_the_new_one_counts_and_is_no_baseline(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "search": {"depth": {"choice": [1, 2]}}}
    sweep.launch(learns(reach, evaluations=1))
    assert [row["state"] for row in sweep.rows()] == ["finished", "capped"]
    sweep.changes |= {"confirm": {"top": 2, "replicates": 2}}
    sweep.launch(learns(reach, evaluations=1))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps   ±  x baseline  depth
    1      0      2/2          30  10                  1
    2      2      2/2          50  10                  2

    confirmed on fresh seeds
       trial  reached  mean steps   ±  x baseline  depth
    1      0      2/2          50  10                  1
    2      2      2/2          70  10                  2
    """)
    board = leaderboard(sweep.folder, "steps", "val_accuracy > 0.99", ["depth"], TOP)
    assert board.counts == {"finished": 2}


def test_nothing_reached(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "baselines": {"published": PUBLISHED}}
    sweep.launch(learns(lambda *_: None))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
             trial  reached  mean steps  ±  x baseline  depth  heads
    1  0 published      0/2       ≥ 100  0        1.00      6      8
    2            1      0/2       ≥ 100  0        1.00      1      1
    No run reached val_accuracy > 0.99: raise the horizon, or widen the space.
    """)


def test_nothing_there_yet(sweep: Sweep) -> None:
    sweep.open()
    assert printed(sweep) == "\nNo trial has finished yet.\n"


def test_ties_keep_the_order_in_which_trials_began(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 5}}
    sweep.launch(learns(lambda *_: 50))
    lines = printed(sweep, top=3).splitlines()
    assert [line.split()[:2] for line in lines[3:]] == [["1", "0"], ["2", "1"], ["3", "2"]]


def test_the_best_trial_stands_out_on_a_terminal_only_if_it_reached(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(learns(lambda assignment, _: 50 if assignment.number else None))
    board = leaderboard(sweep.folder, "steps", "val_accuracy > 0.99", ["depth", "heads"], TOP)
    console = Console(width=120, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(render(board, console))
    assert isinstance(console.file, StringIO)
    bold_green = [line for line in console.file.getvalue().splitlines() if "\x1b[1;32m" in line]
    assert len(bold_green) == 1
    assert "2/2" in bold_green[0]


def test_the_board_as_data(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 4}, "baselines": {"published": PUBLISHED}, "confirm": {"top": 1}}
    sweep.launch(lambda assignment: (fails if assignment.number == 2 else learns(reach))(assignment))
    board = leaderboard(sweep.folder, "steps", "val_accuracy > 0.99", ["depth", "batch.max"], 2)
    assert (board.clock, board.until, board.parameters) == ("steps", "val_accuracy > 0.99", ("depth", "batch_max"))
    assert [(row["trial"], row["rmst"], row["ratio"]) for row in board.rows] == [(1, 30.0, 0.3), (3, 30.0, 0.3)]
    assert [(row["trial"], row["of"], row["name"]) for row in board.confirmed] == [(4, 1, ""), (5, 0, "published")]
    assert [row["runs"] for row in board.confirmed] == [10, 10]
    assert board.counts == {"finished": 3, "failed": 1}
