"""The leaderboard as printed, whole, for small sweeps on real tables."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from rich.console import Console

from sweeper.config.loading import load
from sweeper.report.leaderboard import Leaderboard, leaderboard
from sweeper.report.leaderboard_table import render
from sweeper.stats.events import CLOCKS, Clock
from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import chunk_of, curve
from tests.fakes.sweeps import PUBLISHED, QUESTION, Sweep
from tests.fakes.training import BATCHES, by_batch, diverges, fails, follows, learns

TOP = 10


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def board_of(sweep: Sweep, top: int = TOP, clock: Clock | None = None) -> Leaderboard:
    return leaderboard(sweep.folder, load(sweep.root / "space.yaml").spec, top, clock)


def printed(sweep: Sweep, width: int = 116, top: int = TOP, clock: Clock | None = None) -> str:
    """What a console of that width shows, without the spaces at the ends of lines."""
    console = Console(width=width, file=StringIO())
    console.print(render(board_of(sweep, top, clock), console))
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


@pytest.mark.slow
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
             trial     reached  mean steps   ±  median  vs baseline  depth  weight_decay  batch_min
    1            2         2/2          30  10      20       ≤ 0.30      1         0.125          -
    1            3         2/2          30  10      20       ≤ 0.30      1        0.0333          -
    3    1 shallow         2/2          50  10      40       ≤ 0.50      2           0.5          -
    4            6         2/2          70  10      60       ≤ 0.70      3         0.125          -
    4            7         2/2          70  10      60       ≤ 0.70      3        0.0333          -
    6            8         2/2          90  10      80       ≤ 0.90      4         0.125          -
       0 published         0/2       ≥ 100       > 100                   6           0.5          -
                 5         0/2       ≥ 100       > 100                   2        0.0333          -
                 4  0/2 failed                                           2         0.125          -

    confirmed on fresh seeds
             trial            reached  mean steps   ±  median  vs baseline  depth  weight_decay  batch_min
    1            2  2/2 (34 to 100 %)          50  10      40       ≤ 0.50      1         0.125          -
    1            3  2/2 (34 to 100 %)          50  10      40       ≤ 0.50      1        0.0333          -
    3    1 shallow  2/2 (34 to 100 %)          70  10      60       ≤ 0.70      2           0.5          -
       0 published    0/2 (0 to 66 %)       ≥ 100       > 100                   6           0.5          -

    trial 2 and shallow are not separated (trial 2 takes 0.71 times as long, 95 % interval 0.35 to 1.48), p = 1.00
      (Holm), 2 replicates; 2 pairs cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 2 and published are not separated (trial 2 takes 0.50 times as long, 95 % interval 0.04 to 6.35), p = 1.00
      (Holm), 2 replicates; 2 pairs cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 3 and shallow are not separated (trial 3 takes 0.71 times as long, 95 % interval 0.35 to 1.48), p = 1.00
      (Holm), 2 replicates; 2 pairs cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 3 and published are not separated (trial 3 takes 0.50 times as long, 95 % interval 0.04 to 6.35), p = 1.00
      (Holm), 2 replicates; 2 pairs cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 2 and trial 3 are not separated (trial 2 takes 1.00 times as long, 95 % interval 1.00 to 1.00), p = 1.00
      (Holm), 2 replicates; 2 pairs cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    """)
    assert printed(sweep, width=74, top=3) == text("""
    steps until val_accuracy > 0.99
           trial  reached  mean steps   ±  median  vs baseline
    1          2      2/2          30  10      20       ≤ 0.30
    1          3      2/2          30  10      20       ≤ 0.30
    3  1 shallow      2/2          50  10      40       ≤ 0.50
    trial 2: depth=1 weight_decay=0.125
    trial 3: depth=1 weight_decay=0.0333
    trial 1: depth=2 weight_decay=0.5

    confirmed on fresh seeds
             trial            reached  mean steps   ±  median  vs baseline
    1            2  2/2 (34 to 100 %)          50  10      40       ≤ 0.50
    1            3  2/2 (34 to 100 %)          50  10      40       ≤ 0.50
    3    1 shallow  2/2 (34 to 100 %)          70  10      60       ≤ 0.70
       0 published    0/2 (0 to 66 %)       ≥ 100       > 100
    trial 0: depth=6 weight_decay=0.5

    trial 2 and shallow are not separated (trial 2 takes 0.71 times as long,
      95 % interval 0.35 to 1.48), p = 1.00 (Holm), 2 replicates; 2 pairs
      cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 2 and published are not separated (trial 2 takes 0.50 times as long,
      95 % interval 0.04 to 6.35), p = 1.00 (Holm), 2 replicates; 2 pairs
      cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 3 and shallow are not separated (trial 3 takes 0.71 times as long,
      95 % interval 0.35 to 1.48), p = 1.00 (Holm), 2 replicates; 2 pairs
      cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 3 and published are not separated (trial 3 takes 0.50 times as long,
      95 % interval 0.04 to 6.35), p = 1.00 (Holm), 2 replicates; 2 pairs
      cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    trial 2 and trial 3 are not separated (trial 2 takes 1.00 times as long,
      95 % interval 1.00 to 1.00), p = 1.00 (Holm), 2 replicates; 2 pairs
      cannot give p < 0.05 in 5 comparisons; at least 8 are needed.
    """)
    narrow = printed(sweep, width=50)
    assert "…" not in narrow and "2/2 (34 to 100 %)" in narrow
    assert "no room here for: vs baseline, median, ±\n" in narrow


@pytest.mark.slow
def test_without_baselines_there_is_nothing_to_compare_with(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(learns(reach))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps   ±  median  depth  heads
    1      0      2/2          30  10      20      1      1
    1      1      2/2          30  10      20      1      2
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """)


def test_a_parameter_that_does_not_vary_is_said_once_where_there_is_no_room_for_its_column(sweep: Sweep) -> None:
    sweep.changes = {
        "search": {"depth": {"choice": [1, 2]}, "weight_decay": {"choice": [0.5]}, "batch.max": {"choice": [64]}},
        "budget": {"trials": 2},
    }
    sweep.launch(learns(reach))
    wide, narrow, lines = (printed(sweep, width) for width in (78, 60, 40))
    assert "depth  weight_decay  batch_max\n" in wide
    assert narrow == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps   ±  median  depth
    1      0      2/2          30  10      20      1
    2      1      2/2          50  10      40      2
    all trials here: weight_decay=0.5 batch_max=64
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """).replace("confirm: {", "confirm:\n{")
    assert "trial 1: depth=2\nall trials here:" in lines


def test_a_confirmation_that_was_stopped_is_no_result(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "confirm": {"top": 1, "replicates": 3}}
    director = sweep.open()

    def train(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 2:
            director.broadcast.stop("Ctrl-C")
        yield from learns(reach, evaluations=1)(assignment)

    sweep.run(train, director)
    board = board_of(sweep)
    assert (board.confirmed, board.unfinished) == ([], 1)
    assert "\n1 confirmation not finished yet; the same command continues the sweep.\n" in printed(sweep)


@pytest.mark.slow
def test_a_single_replicate_has_no_error(sweep: Sweep) -> None:
    sweep.changes = {
        "budget": {"trials": 1},
        "objective": {**QUESTION["objective"], "replicates": 1, "minimize": "examples"},
    }
    sweep.launch(learns(reach))
    assert printed(sweep) == text("""
    examples until val_accuracy > 0.99
       trial  reached  mean examples  ±  median  depth  heads
    1      0      1/1          1,280      1,280      1      1
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """)


@pytest.mark.slow
def test_capped_and_stopped_trials_say_so(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "budget": {"trials": 3}, "search": {"depth": {"choice": [1, 4, 3]}}}
    director = sweep.open()

    def train(assignment: Assignment) -> Any:
        for each in learns(reach, evaluations=1)(assignment):
            if assignment.number == 2:
                director.broadcast.stop("Ctrl-C")
            yield each

    sweep.run(train, director)
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial      reached  mean steps   ±  median  depth
    1      0          2/2          30  10      20      1
           1   0/2 capped                    > 40      4
           2  0/2 stopped                    > 10      3
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """)


@pytest.mark.slow
def test_trials_that_were_out_of_the_race_or_pruned_say_so(sweep: Sweep, tmp_path: Path) -> None:
    sweep.changes = {"stop": "cap", "race": {}, "search": {"depth": {"choice": [1, 4, 2]}}}
    sweep.launch(learns(reach, evaluations=2))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial   reached  mean steps   ±  median  depth
    1      0       2/2          30  10      20      1
    2      2  1/1 lost          40          40      2
           1  0/1 lost                    > 40      4
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """)
    pruned = Sweep(tmp_path / "asha", {"stop": "asha", "search": {"depth": {"choice": [1, 2]}}})
    pruned.root.mkdir()
    pruned.launch(follows(lambda assignment, _: [0.5 / assignment.settings.depth]))
    assert printed(pruned, width=200).replace(str(pruned.folder.space), "SPACE") == text("""
    steps until val_accuracy > 0.99
      trial     reached  mean steps  ±  median  depth
          0         0/2       ≥ 100      > 100      1
          1  0/2 pruned                   > 10      2
    No run reached val_accuracy > 0.99: widen the space, or raise the horizon:
    sweeper launch SPACE \\
      --set name=made-up-longer --set objective.horizon=200
    """)


@pytest.mark.slow
def test_of_a_trial_that_was_taken_up_again_the_new_one_counts_and_is_no_baseline(sweep: Sweep) -> None:
    sweep.changes = {"stop": "cap", "search": {"depth": {"choice": [1, 2]}}, "budget": {"trials": 9}}
    sweep.launch(learns(reach, evaluations=1))
    assert [row["state"] for row in sweep.rows()] == ["finished", "capped"]
    sweep.changes |= {"confirm": {"top": 2, "replicates": 2}}
    sweep.launch(learns(reach, evaluations=1))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps   ±  median  depth
    1      0      2/2          30  10      20      1
    2      2      2/2          50  10      40      2

    confirmed on fresh seeds
       trial            reached  mean steps   ±  median  depth
    1      0  2/2 (34 to 100 %)          50  10      40      1
    2      2  2/2 (34 to 100 %)          70  10      60      2

    trial 0 and trial 2 are not separated (trial 0 takes 0.71 times as long, 95 % interval 0.35 to 1.48), p = 0.50, 2
      replicates; 2 pairs cannot give p < 0.05; at least 6 are needed.
    """)


@pytest.mark.slow
def test_nothing_reached(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "baselines": {"published": PUBLISHED}}
    sweep.launch(learns(lambda *_: None))
    assert printed(sweep, width=200).replace(str(sweep.folder.space), "SPACE") == text("""
    steps until val_accuracy > 0.99
            trial  reached  mean steps  ±  median  depth  heads
      0 published      0/2       ≥ 100      > 100      6      8
                1      0/2       ≥ 100      > 100      1      1
    No run reached val_accuracy > 0.99: widen the space, or raise the horizon:
    sweeper launch SPACE \\
      --set name=made-up-longer --set objective.horizon=200
    """)


@pytest.mark.slow
def test_nothing_there_yet(sweep: Sweep) -> None:
    sweep.open()
    for clock in CLOCKS:
        assert printed(sweep, clock=clock) == "\nNo trial has finished yet.\n"


@pytest.mark.slow
def test_ties_share_a_rank_in_the_order_in_which_trials_began(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 5}}
    sweep.launch(learns(lambda assignment, _: 60 if assignment.number == 0 else 50))
    for clock in ("steps", "examples"):
        ranks = [(row["rank"], row["trial"]) for row in board_of(sweep, clock=clock).rows]
        assert ranks == [(1, 1), (1, 2), (1, 3), (1, 4), (5, 0)]


@pytest.mark.slow
def test_the_best_trial_stands_out_on_a_terminal_only_if_it_reached(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(learns(lambda assignment, _: 50 if assignment.number else None))
    board = board_of(sweep, TOP)
    console = Console(width=120, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(render(board, console))
    assert isinstance(console.file, StringIO)
    bold_green = [line for line in console.file.getvalue().splitlines() if "\x1b[1;32m" in line]
    assert len(bold_green) == 1
    assert "2/2" in bold_green[0]


@pytest.mark.slow
def test_the_board_as_data(sweep: Sweep) -> None:
    sweep.changes = {
        "search": {"depth": {"int": [1, 4]}, "batch.max": {"choice": [64, 128]}},
        "budget": {"trials": 4},
        "baselines": {"published": {"depth": 6}},
        "confirm": {"top": 1},
    }
    sweep.launch(lambda assignment: (fails if assignment.number == 2 else learns(reach))(assignment))
    board = board_of(sweep, 2)
    assert (board.clock, board.until, board.parameters) == ("steps", "val_accuracy > 0.99", ("depth", "batch_max"))
    shown = ("trial", "mean", "error", "median", "beyond", "ratio")
    assert [tuple(row[name] for name in shown) for row in board.rows] == [
        (1, 30.0, 10.0, 20.0, 40.0, 0.3),
        (3, 50.0, 10.0, 40.0, 60.0, 0.5),
    ]
    assert [(row["trial"], row["of"], row["name"], row["baseline"]) for row in board.confirmed] == [
        (4, 1, "1", ""),
        (5, 0, "0", "published"),
    ]
    assert [(row["runs"], row["reached"], row["success"].rate) for row in board.confirmed] == [(10, 4, 0.4), (10, 0, 0)]
    (verdict,) = board.verdicts
    assert (verdict.faster, verdict.other, verdict.comparison.replicates) == ("trial 1", "published", 10)
    assert not board.unconfirmed


def steady(assignment: Assignment, replicate: int) -> int:
    """20, 40, ... by depth, and a third of the replicates 10 later."""
    return 20 * assignment.settings.depth + 10 * (replicate % 3 == 0)


CONFIRMED: dict[str, Any] = {
    "search": {"depth": {"choice": [1, 2, 3]}},
    "baselines": {"published": {"depth": 4, "heads": 2}},
    "budget": {"trials": 4},
    "confirm": {"top": 2, "replicates": 8},
}


@pytest.mark.slow
def test_who_is_faster_in_sentences(sweep: Sweep) -> None:
    sweep.changes = CONFIRMED
    sweep.launch(learns(steady))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
             trial  reached  mean steps  ±  median  vs baseline  depth
    1            1      2/2          25  5      20         0.29      1
    2            2      2/2          45  5      40         0.53      2
    3            3      2/2          65  5      60         0.76      3
    4  0 published      2/2          85  5      80         1.00      4

    confirmed on fresh seeds
             trial            reached  mean steps    ±  median  vs baseline  depth
    1            1  8/8 (68 to 100 %)          22  1.6      20         0.27      1
    2            2  8/8 (68 to 100 %)          42  1.6      40         0.52      2
    3  0 published  8/8 (68 to 100 %)          82  1.6      80         1.00      4

    trial 1 is faster than published by 73 % (95 % interval 69 to 76 %), p = 0.023 (Holm), 8 replicates.
    trial 2 is faster than published by 48 % (95 % interval 46 to 51 %), p = 0.023 (Holm), 8 replicates.
    trial 1 is faster than trial 2 by 47 % (95 % interval 43 to 51 %), p = 0.023 (Holm), 8 replicates.
    """)
    assert printed(sweep, width=80, top=1) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps  ±  median  vs baseline  depth
    1      1      2/2          25  5      20         0.29      1

    confirmed on fresh seeds
             trial            reached  mean steps    ±  median  vs baseline  depth
    1            1  8/8 (68 to 100 %)          22  1.6      20         0.27      1
    2            2  8/8 (68 to 100 %)          42  1.6      40         0.52      2
    3  0 published  8/8 (68 to 100 %)          82  1.6      80         1.00      4

    trial 1 is faster than published by 73 % (95 % interval 69 to 76 %), p = 0.023
      (Holm), 8 replicates.
    trial 2 is faster than published by 48 % (95 % interval 46 to 51 %), p = 0.023
      (Holm), 8 replicates.
    trial 1 is faster than trial 2 by 47 % (95 % interval 43 to 51 %), p = 0.023
      (Holm), 8 replicates.
    """)


@pytest.mark.slow
def test_a_single_comparison_is_not_adjusted(sweep: Sweep) -> None:
    sweep.changes = CONFIRMED | {"confirm": {"top": 1, "replicates": 8}}
    sweep.launch(learns(steady))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
             trial  reached  mean steps  ±  median  vs baseline  depth
    1            1      2/2          25  5      20         0.29      1
    2            2      2/2          45  5      40         0.53      2
    3            3      2/2          65  5      60         0.76      3
    4  0 published      2/2          85  5      80         1.00      4

    confirmed on fresh seeds
             trial            reached  mean steps    ±  median  vs baseline  depth
    1            1  8/8 (68 to 100 %)          22  1.6      20         0.27      1
    2  0 published  8/8 (68 to 100 %)          82  1.6      80         1.00      4

    trial 1 is faster than published by 73 % (95 % interval 69 to 76 %), p = 0.008, 8 replicates.
    """)


@pytest.mark.slow
def test_finalists_that_are_as_good_as_each_other(sweep: Sweep) -> None:
    """One of them is ahead with the odd replicates, the other one with the even ones."""

    def level(assignment: Assignment, replicate: int) -> int:
        return 40 + 20 * ((assignment.settings.depth + replicate) % 2) + 10 * (replicate == 1000)

    sweep.changes = CONFIRMED | {"search": {"depth": {"choice": [1, 2]}}, "baselines": {}}
    sweep.launch(learns(level))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps   ±  median  depth
    1      0      2/2          50  10      40      1
    1      1      2/2          50  10      40      2

    confirmed on fresh seeds
       trial            reached  mean steps    ±  median  depth
    1      0  8/8 (68 to 100 %)          51  4.4      40      1
    1      1  8/8 (68 to 100 %)          51  3.5      50      2

    trial 0 and trial 1 are not separated (trial 0 takes 1.00 times as long, 95 % interval 0.71 to 1.42), p = 1.00, 8
      replicates.
    """)


@pytest.mark.slow
def test_when_everything_diverged_nobody_is_faster(sweep: Sweep) -> None:
    sweep.changes = CONFIRMED
    sweep.launch(diverges)
    assert board_of(sweep).verdicts == []
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
            trial  reached  mean steps  ±  median  depth
      0 published      0/2       ≥ 100      > 100      4
                1      0/2       ≥ 100      > 100      1
                2      0/2       ≥ 100      > 100      2
                3      0/2       ≥ 100      > 100      3
    No run reached val_accuracy > 0.99: all of them diverged or failed.
    """)


@pytest.mark.slow
def test_with_several_operations_there_is_no_median(sweep: Sweep) -> None:
    def train(assignment: Assignment) -> Iterator[Chunk]:
        for operation, slower in (("x_plus_y", 1), ("x_div_y", 4)):
            evaluations = 2 * assignment.settings.depth * slower
            yield chunk_of(
                *(
                    curve([0.1] * (evaluations - 1) + [1.0], replicate, operation)
                    if evaluations <= 10
                    else curve([0.1] * 10, replicate, operation)
                    for replicate in assignment.replicates
                )
            )

    sweep.changes = {
        "task": {**QUESTION["task"], "operation": ["x_plus_y", "x_div_y"]},
        "search": {"depth": {"choice": [1, 2]}},
        "baselines": {"published": PUBLISHED},
        "budget": {"trials": 3},
        "confirm": {"top": 1, "replicates": 6},
    }
    sweep.launch(train)
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
             trial  reached  mean steps  ±  vs baseline  depth
    1            1      4/4          40  0       ≤ 0.40      1
    2            2      2/4        ≥ 63  0       ≤ 0.63      2
       0 published      0/4       ≥ 100                      6

    confirmed on fresh seeds
             trial              reached  mean steps  ±  vs baseline  depth
    1            1  12/12 (76 to 100 %)          40  0       ≤ 0.40      1
       0 published     0/12 (0 to 24 %)       ≥ 100                      6

    trial 1 is faster than published by 60 % (95 % interval 60 to 60 %), p = 0.031, 6 replicates.
    """)
    assert printed(sweep, clock="examples") == text("""
    examples until val_accuracy > 0.99
             trial  reached  mean examples  ±  vs baseline  depth
    1            1      4/4          2,560  0       ≤ 0.05      1
    2            2      2/4       ≥ 11,449  0       ≤ 0.22      2
       0 published      0/4       ≥ 51,200                      6

    confirmed on fresh seeds
             trial              reached  mean examples  ±  vs baseline  depth
    1            1  12/12 (76 to 100 %)          2,560  0       ≤ 0.05      1
       0 published     0/12 (0 to 24 %)       ≥ 51,200                      6

    trial 1 is faster than published by 95 % (95 % interval 95 to 95 %), p = 0.031, 6 replicates.
    """)


@pytest.mark.slow
def test_the_same_trials_on_every_clock(sweep: Sweep) -> None:
    """Where fewer steps take more examples, the order turns around; a run that never arrives waited less long."""
    sweep.changes = {"search": {"batch.max": {"choice": list(BATCHES)}}, "confirm": {"top": 2, "replicates": 6}}
    sweep.launch(by_batch)
    assert printed(sweep) == printed(sweep, clock="steps")
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial  reached  mean steps  ±  median  batch_max
    1      2      2/2          30  0      30        128
    2      0      2/2          50  0      50         64
    3      1      2/2          90  0      90         16
           3      0/2       ≥ 100      > 100         32

    confirmed on fresh seeds
       trial            reached  mean steps  ±  median  batch_max
    1      2  6/6 (61 to 100 %)          30  0      30        128
    2      0  6/6 (61 to 100 %)          50  0      50         64

    trial 2 is faster than trial 0 by 40 % (95 % interval 40 to 40 %), p = 0.031, 6 replicates.
    """)
    assert printed(sweep, clock="examples") == text("""
    examples until val_accuracy > 0.99
       trial  reached  mean examples  ±   median  batch_max
    1      1      2/2          1,440  0    1,440         16
    2      0      2/2          3,200  0    3,200         64
    3      2      2/2          3,840  0    3,840        128
           3      0/2       ≥ 12,800     > 3,200         32

    confirmed on fresh seeds
       trial            reached  mean examples  ±  median  batch_max
    1      0  6/6 (61 to 100 %)          3,200  0   3,200         64
    2      2  6/6 (61 to 100 %)          3,840  0   3,840        128

    trial 2 is slower than trial 0 by 20 % (95 % interval 20 to 20 %), p = 0.031, 6 replicates.
    """)
    assert printed(sweep, clock="seconds") == text("""
    seconds until val_accuracy > 0.99
       trial  reached  mean seconds  ±  median  batch_max
    1      2      2/2           0.3  0     0.3        128
    2      0      2/2           0.5  0     0.5         64
    3      1      2/2           0.9  0     0.9         16
           3      0/2           ≥ 1        > 1         32

    confirmed on fresh seeds
       trial            reached  mean seconds  ±  median  batch_max
    1      2  6/6 (61 to 100 %)           0.3  0     0.3        128
    2      0  6/6 (61 to 100 %)           0.5  0     0.5         64

    trial 2 is faster than trial 0 by 40 % (95 % interval 40 to 40 %), p = 0.031, 6 replicates.
    """)


@pytest.mark.slow
def test_capped_trials_on_another_clock(sweep: Sweep) -> None:
    """On the examples clock a run that was cut short leaves the others when it is last seen."""
    sweep.changes = {"stop": "cap", "budget": {"trials": 3}, "search": {"depth": {"choice": [1, 4, 2]}}}

    def uneven(assignment: Assignment, replicate: int) -> int | None:
        return {1: (20, 40), 4: (60, None), 2: (10, None)}[assignment.settings.depth][replicate]

    sweep.launch(learns(uneven, evaluations=1))
    assert printed(sweep) == text("""
    steps until val_accuracy > 0.99
       trial     reached  mean steps   ±  median  depth
    1      0         2/2          30  10      20      1
    2      2  1/2 capped        ≤ 55  45      10      2
           1  0/2 capped                    > 40      4
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """)
    assert printed(sweep, clock="examples") == text("""
    examples until val_accuracy > 0.99
       trial     reached  mean examples       ±   median  depth
    1      0         2/2          1,920     640    1,280      1
    2      2  1/2 capped       ≤ 25,920  25,280      640      2
           1  0/2 capped                         > 2,560      4
    Results on the search seeds favour the winner; confirm: {top: 2, replicates: 10} compares it on fresh seeds.
    """)
