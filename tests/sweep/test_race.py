"""`race` in whole sweeps: stages, what a trial that is out is worth, stops and starts between stages."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.runners.protocol import WAIT
from sweeper.stats.events import (
    FINISHED,
    Ending,
)
from sweeper.trial import Assignment, Chunk
from tests.fakes.races import RACE, ends, late, raced, stages_of
from tests.fakes.sweeps import HORIZON, QUESTION, Sweep
from tests.fakes.training import always, fails, learns


def test_in_a_race_later_replicates_train_only_where_the_first_ones_keep_up(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 6}}
    sweep.launch(learns(raced, evaluations=1))
    assert stages_of(sweep) == [
        *((0, (0,)), (0, (1,)), (0, (2,))),
        (1, (0,)),  # at step 30 it is behind the 20 of trial 0's first replicate
        *((2, (0,)), (2, (1,))),  # level after one, but at step 50 its mean of two is behind the 30 of trial 0
        *((3, (0,)), (3, (1,)), (3, (2,))),  # level after two; at step 80 its mean of three is behind the 40 of trial 0
        *((4, (0,)), (4, (1,)), (4, (2,))),  # the new best: 20 in every stage
        *((5, (0,)), (5, (1,))),  # the first replicate is ahead; at step 40 the mean of two is 25
    ]
    assert [(row["trial"], row["state"], row["runs"], row["reached"]) for row in sweep.rows()] == [
        (0, "finished", 3, 3),
        (1, "lost", 1, 0),
        (2, "lost", 2, 1),
        (3, "capped", 3, 2),
        (4, "finished", 3, 3),
        (5, "lost", 2, 2),
    ]
    assert [ends(sweep, trial) for trial in (1, 2, 3, 5)] == [
        [(0, "censored", 30, "race")],
        [(0, "reached", 20, ""), (1, "censored", 50, "race")],
        [(0, "reached", 10, ""), (1, "reached", 40, ""), (2, "censored", 80, "cap")],
        [(0, "reached", 10, ""), (1, "reached", 40, "")],
    ]
    assert [row["steps_trained"] for row in sweep.rows()] == [120, 30, 70, 130, 60, 50]
    curves = Counter((row["trial"], row["replicate"]) for row in sweep.rows("curves"))
    assert curves == {
        **{(0, 0): 2, (0, 1): 4, (0, 2): 6, (1, 0): 3, (2, 0): 2, (2, 1): 5},
        **{(3, 0): 1, (3, 1): 4, (3, 2): 8, (4, 0): 2, (4, 1): 2, (4, 2): 2, (5, 0): 1, (5, 1): 4},
    }
    seeds = {(row["replicate"], row["init_seed"]) for row in sweep.rows("runs")}
    assert len(seeds) == 3, "common to all trials"


def test_a_trial_that_is_out_says_with_how_many_replicates_and_is_told_as_far_behind_as_it_was(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 5}}
    sweep.launch(learns(raced, evaluations=1))
    rows = sweep.rows()
    assert [row["why"] for row in rows] == [
        "",
        (
            f"with 1 of 3 replicates its value is at least {math.log(30):.4f}; "
            f"the leader's and the slack are {math.log(20):.4f}"
        ),
        (
            f"with 2 of 3 replicates its value is at least {math.log(35):.4f}; "
            f"the leader's and the slack are {math.log(30):.4f}"
        ),
        f"its value is at least {math.log(130 / 3):.4f}; place 1 is at {math.log(40):.4f}",
        "",
    ]
    assert [row["value"] for row in rows] == [
        pytest.approx(math.log(40)),
        pytest.approx(math.log(40) + math.log(late() / 20)),
        pytest.approx(math.log(40) + math.log((20 + late()) / 2 / 30)),
        pytest.approx(math.log((10 + 40 + late()) / 3)),
        pytest.approx(math.log(20)),
    ]
    assert [row["bound"] for row in rows] == [
        None,
        *(pytest.approx(math.log(mean)) for mean in (30, 35, 130 / 3)),
        None,
    ]
    assert sweep.study().values() == {row["trial"]: row["value"] for row in rows}


def test_a_race_forgives_a_lag_within_its_slack(sweep: Sweep) -> None:
    sweep.changes = RACE | {"race": {"first": 2, "slack": 0.6}, "budget": {"trials": 3}}
    steps = {1: (20, 20, 20), 2: (30, 30, 20), 3: (30, 40, 20)}
    sweep.launch(learns(lambda assignment, replicate: steps[assignment.settings.depth][replicate], evaluations=1))
    assert stages_of(sweep) == [(0, (0, 1)), (0, (2,)), (1, (0, 1)), (1, (2,)), (2, (0, 1))]
    assert sweep.states() == {0: "finished", 1: "capped", 2: "lost"}
    said = sweep.rows()[2]["why"]
    assert said == (
        f"with 2 of 3 replicates its value is at least {math.log(35):.4f}; "
        f"the leader's and the slack are {math.log(32):.4f}"
    )


def test_the_stages_of_a_race_double(sweep: Sweep) -> None:
    sweep.changes = RACE | {
        "objective": {**QUESTION["objective"], "replicates": 7},
        "race": {"first": 2},
        "budget": {"trials": 1},
    }
    sweep.launch(learns(always(10)))
    assert stages_of(sweep) == [(0, (0, 1)), (0, (2, 3)), (0, (4, 5, 6))]
    assert sorted(row["replicate"] for row in sweep.rows("runs")) == list(range(7))


def test_baselines_and_confirmations_do_not_race(sweep: Sweep) -> None:
    sweep.changes = RACE | {
        "baselines": {"published": {"depth": 6}, "slow": {"depth": 2}},
        "confirm": {"top": 1, "replicates": 2},
        "budget": {"trials": 5},
    }
    sweep.launch(learns(raced, evaluations=1))
    # The leader is the slow baseline: 40, 30 and 27 after one, two and three replicates.
    assert stages_of(sweep) == [
        *((0, (0, 1, 2)), (1, (0, 1, 2))),
        *((2, (0,)), (2, (1,)), (2, (2,))),
        *((3, (0,)), (3, (1,))),
        *((4, (0,)), (4, (1,)), (4, (2,))),
        *((5, (1000, 1001)), (6, (1000, 1001)), (7, (1000, 1001))),
    ]
    assert [(row["phase"], row["name"], row["state"]) for row in sweep.rows()] == [
        ("baseline", "published", "finished"),
        ("baseline", "slow", "finished"),
        ("search", "", "finished"),
        ("search", "", "lost"),
        ("search", "", "capped"),
        ("confirm", "2", "finished"),
        ("confirm", "0", "finished"),
        ("confirm", "1", "finished"),
    ]


def test_finalists_are_whole_trials_whatever_the_others_were_told(sweep: Sweep) -> None:
    """The one that lost is told 25 % behind the leader, and so ahead of the second best whole trial."""
    steps = {1: (40, 40, 40), 2: (40, 40, 100), 3: (50, 50, 50)}
    sweep.changes = RACE | {
        "baselines": {"slow": {"depth": 2}},
        "confirm": {"top": 2, "replicates": 1},
        "budget": {"trials": 3},
    }
    sweep.launch(learns(lambda assignment, replicate: steps[assignment.settings.depth][replicate % 1000]))
    rows = sweep.rows()
    assert [(row["phase"], row["depth"], row["state"]) for row in rows[:3]] == [
        ("baseline", 2, "finished"),
        ("search", 1, "finished"),
        ("search", 3, "lost"),
    ]
    assert [row["value"] for row in rows[:3]] == pytest.approx([math.log(60), math.log(40), math.log(50)])
    assert [(row["phase"], row["name"]) for row in rows[3:]] == [("confirm", "1"), ("confirm", "0")]


def test_a_stop_while_a_stage_ends_keeps_what_was_trained_and_the_next_launch_goes_on_with_the_next_stage(
    sweep: Sweep,
) -> None:
    sweep.changes = RACE | {"budget": {"trials": 2}}
    director = sweep.open()

    def stopped_after_the_first_stage_of_the_second(assignment: Assignment) -> Iterator[Chunk]:
        yield from learns(always(20), evaluations=1)(assignment)
        if assignment.number == 1:
            director.broadcast.stop("Ctrl-C")

    sweep.run(stopped_after_the_first_stage_of_the_second, director)
    assert stages_of(sweep) == [(0, (0,)), (0, (1,)), (0, (2,)), (1, (0,))]
    assert sweep.states() == {0: "finished", 1: "stopped"}
    assert sweep.rows()[1]["why"] == "Ctrl-C"
    assert ends(sweep, 1) == [(0, "reached", 20, "")]
    assert [each.number for each in sweep.study().unfinished()] == [1]

    sweep.launch(learns(always(20), evaluations=1))
    assert stages_of(sweep)[4:] == [(1, (1,)), (1, (2,))]
    assert sweep.states() == {0: "finished", 1: "finished"}
    assert [row["step"] for row in sweep.rows("curves") if row["trial"] == 1] == [10, 20] * 3


def test_a_stop_between_two_stages_leaves_the_rest_to_the_next_launch(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 2}}
    director = sweep.open()
    first = director.next_trial()
    assert isinstance(first, Assignment)
    for each in learns(always(20))(first):
        director.report(0, each)
    director.end(0, FINISHED)
    assert sweep.rows() == []
    director.broadcast.stop("the machine is needed")
    assert director.next_trial() is None
    assert (sweep.rows(), len(director.board.ended)) == ([], 0)
    sweep.launch(learns(always(20)))
    assert stages_of(sweep)[:2] == [(0, (1,)), (0, (2,))]
    assert ends(sweep, 0) == [(replicate, "reached", 20, "") for replicate in range(3)]


def test_a_stop_within_a_later_stage_keeps_the_earlier_ones(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 1}}
    director = sweep.open()

    def stopped(assignment: Assignment) -> Iterator[Chunk]:
        for i, each in enumerate(learns(always(40), evaluations=1)(assignment)):
            if assignment.replicates == (1,) and i == 1:
                director.broadcast.stop("Ctrl-C")
            yield each

    sweep.run(stopped, director)
    assert ends(sweep, 0) == [(0, "reached", 40, ""), (1, "censored", 20, "stopped")]


def test_a_trial_that_starts_again_in_a_later_stage_starts_with_that_stage(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 1}}
    director = sweep.open()
    for replicates in ((0,), (1,)):
        assignment = director.next_trial()
        assert isinstance(assignment, Assignment)
        assert assignment.replicates == replicates
        for each in learns(always(20), evaluations=1)(assignment):
            director.report(0, each)
        if replicates == (0,):
            director.end(0, FINISHED)
    director.requeue(0, "there was no room")
    assert sweep.rows() == []
    sweep.run(learns(always(30)), director)
    assert stages_of(sweep) == [(0, (1,)), (0, (2,))]
    assert sweep.states() == {0: "finished"}
    assert [row["step"] for row in sweep.rows("curves")] == [10, 20] + [10, 20, 30] * 2
    assert sweep.rows()[0]["retries"] == ["there was no room"]


def test_a_trial_that_fails_in_a_later_stage_fails_in_all_replicates_to_come(sweep: Sweep) -> None:
    """Two of its three replicates must not count as the whole of it."""
    sweep.changes = RACE | {"budget": {"trials": 2}}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        fast = learns(always(10))
        return (fails if assignment.number == 0 and assignment.replicates == (1,) else fast)(assignment)

    sweep.launch(train)
    assert ends(sweep, 0) == [(0, "reached", 10, ""), (1, "failed", 0, "error"), (2, "failed", 0, "error")]
    row = sweep.rows()[0]
    assert (row["state"], row["runs"], row["failed"]) == ("failed", 3, 2)
    assert row["value"] == pytest.approx(math.log((10 + 2 * 1.01 * HORIZON) / 3))
    assert sweep.states()[1] == "finished"


@pytest.mark.slow
def test_the_next_launch_of_a_race_knows_the_caps_from_the_tables(tmp_path: Path) -> None:
    """Interrupted at any trial and continued, it decides as if it had not been."""
    kept = ("trial", "state", "why", "value", "bound", "runs", "steps_trained", "identity")
    train = learns(raced, evaluations=1)

    def rows_of(name: str, interrupted: int | None = None) -> list[dict[str, Any]]:
        (tmp_path / name).mkdir()
        sweep = Sweep(tmp_path / name, RACE | {"budget": {"trials": 6}})
        if interrupted is not None:
            director = sweep.open()

            def stops(assignment: Assignment) -> Iterator[Chunk]:
                if assignment.number == interrupted:
                    director.broadcast.stop("Ctrl-C")
                yield from train(assignment)

            sweep.run(stops, director)
            assert sweep.states()[interrupted] == "stopped"
        sweep.launch(train)
        return [{name: row[name] for name in kept} for row in sweep.rows()]

    whole = rows_of("whole")
    for trial in (1, 3, 4, 5):  # each of another ending, and of another number of stages
        assert rows_of(f"broken-{trial}", trial) == whole, trial


def test_several_trials_at_once_race_each_at_its_own_stage(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 2}}
    director = sweep.open()

    def begin(number: int, replicates: tuple[int, ...]) -> Assignment:
        assignment = director.next_trial()
        assert isinstance(assignment, Assignment)
        assert (assignment.number, assignment.replicates) == (number, replicates)
        return assignment

    def train(assignment: Assignment, step: int) -> Ending | None:
        for each in learns(always(step), evaluations=1)(assignment):
            ending = director.report(assignment.number, each)
            if ending is not None:
                director.end(assignment.number, ending)
                return ending
        director.end(assignment.number, FINISHED)
        return None

    slow, fast = begin(0, (0,)), begin(1, (0,))
    assert director.next_trial() == WAIT
    train(slow, 40)
    slow = begin(0, (1,))  # its next stage comes before anything new
    assert director.next_trial() == WAIT
    for replicates in ((1,), (2,), ()):
        train(fast, 20)
        if replicates:
            fast = begin(1, replicates)
    assert sweep.states() == {1: "finished"}
    ending = train(slow, 40)  # behind what the other one did meanwhile
    assert ending is not None
    assert ending.kind == "lost"
    assert director.next_trial() is None
    assert sweep.states() == {0: "lost", 1: "finished"}
    assert ends(sweep, 0) == [(0, "reached", 40, ""), (1, "censored", 10, "race")]
