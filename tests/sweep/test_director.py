"""What a launch writes, tells the study and leaves to the next one, when trials end, fail or are stopped."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sweeper.errors import StorageError
from sweeper.folder.layout import TABLES
from sweeper.results.readback import trial_outcomes
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.sweeps import PUBLISHED, Sweep
from tests.fakes.training import always, by_depth, diverges, fails, fails_half_way, follows, learns


def test_a_stop_ends_the_launch_and_the_next_takes_the_trial_up_first_under_its_number(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 4}, "confirm": {"top": 1, "replicates": 1}}
    director = sweep.open()

    def stopped_in_the_third(assignment: Assignment) -> Iterator[Chunk]:
        for i, each in enumerate(learns(by_depth, evaluations=1)(assignment)):
            if assignment.number == 2 and i == 1:
                director.broadcast.stop("Ctrl-C")
                director.broadcast.stop("another reason, too late")
            yield each

    sweep.run(stopped_in_the_third, director)
    assert director.stopping == "Ctrl-C"
    assert sweep.states() == {0: "finished", 1: "finished", 2: "stopped"}
    assert set(trial_outcomes(sweep.folder, "steps")) == {0, 1}
    assert [row["why"] for row in sweep.rows()] == ["", "", "Ctrl-C"]
    assert set(sweep.study().values()) == {0, 1}
    assert [each.number for each in sweep.study().unfinished()] == [2]

    again = sweep.launch(learns(by_depth))
    assert again.board.earlier == 2
    assert sweep.numbers() == [0, 1, 2, 2, 3, 4]
    assert sweep.trained[2] == sweep.trained[3]
    assert sweep.states() == dict.fromkeys(range(5), "finished")
    assert Counter(row["trial"] for row in sweep.rows("runs")) == {0: 2, 1: 2, 2: 2, 3: 2, 4: 1}


def test_nothing_more_begins_after_a_stop(sweep: Sweep) -> None:
    director = sweep.open()
    director.broadcast.stop("Ctrl-C")
    assert director.next_trial() is None


@pytest.mark.parametrize("name", TABLES)
def test_what_could_not_be_written_is_not_told_and_trains_again(sweep: Sweep, name: str) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.open()
    in_the_way = sweep.folder.table(name) / ".part-00000.parquet.partial"

    def the_disk_is_full_for_the_second(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 1:
            in_the_way.mkdir()
        yield from learns(by_depth)(assignment)

    with pytest.raises(StorageError, match="part-00000"):
        sweep.run(the_disk_is_full_for_the_second, director)
    assert set(sweep.study().values()) == {0}
    assert [each.number for each in sweep.study().unfinished()] == [1]
    in_the_way.rmdir()

    sweep.launch(learns(by_depth))
    assert sweep.numbers() == [0, 1, 1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "finished")
    assert Counter(row["trial"] for row in sweep.rows("runs")) == dict.fromkeys(range(3), 2)
    assert Counter(row["trial"] for row in sweep.rows("curves")) == dict.fromkeys(range(3), 4)
    assert set(sweep.study().values()) == {0, 1, 2}


@pytest.mark.parametrize("ending", ["finished", "capped", "lost", "pruned", "failed"])
def test_what_was_written_but_not_told_is_told_without_training(sweep: Sweep, ending: str) -> None:
    """A crash between tables and study: the journal without its last record."""
    rule: dict[str, Any] = {"lost": {"race": {}}, "pruned": {"stop": "asha"}}.get(ending, {})
    sweep.changes = {"budget": {"trials": 2}, "stop": "cap", **rule}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        second = {"finished": learns(always(10)), "failed": fails}.get(ending, learns(always(90)))
        return (second if assignment.number == 1 else follows(lambda *_: [0.2, 1.0]))(assignment)

    sweep.launch(train)
    assert sweep.states() == {0: "finished", 1: ending}
    trained, values, rows = sweep.numbers(), sweep.study().values(), {name: sweep.rows(name) for name in TABLES}
    lines = sweep.folder.journal.read_bytes().splitlines(keepends=True)
    told = [
        i for i, line in enumerate(lines) if json.loads(line).get("state") == 1 and json.loads(line)["trial_id"] == 1
    ]
    sweep.folder.journal.write_bytes(b"".join(lines[: told[0]]))
    assert set(sweep.study().values()) == {0}

    director = sweep.launch(train)
    assert sweep.numbers() == trained, "nothing was trained again"
    assert sweep.study().values() == values
    assert sweep.study().unfinished() == []
    assert {name: sweep.rows(name) for name in TABLES} == rows
    assert not director.board.ended
    assert director.board.earlier == 2


def test_failing_and_diverging_trials_become_outcomes_and_the_sweep_goes_on(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 6}}
    kinds: list[Train] = [fails, fails, diverges, fails_half_way, learns(always(None)), learns(by_depth)]
    director = sweep.launch(lambda assignment: kinds[assignment.number](assignment))
    counts = ("state", "why", "reached", "censored", "diverged", "failed", "steps_trained")
    assert [tuple(row[name] for name in counts) for row in sweep.rows()] == [
        ("failed", "error", 0, 0, 0, 2, 0),
        ("failed", "error", 0, 0, 0, 2, 0),
        ("finished", "", 0, 0, 2, 0, 40),
        ("failed", "out of memory", 0, 0, 0, 2, 40),
        ("finished", "", 0, 2, 0, 0, 200),
        ("finished", "", 2, 0, 0, 0, 60),
    ]
    assert director.stopping == ""
    details = [row["detail"] for row in sweep.rows()]
    assert details[0].startswith("Traceback (most recent call last):")
    assert details[0].endswith("ValueError: trial 0 cannot be trained\n")
    assert details[2] == ""
    values = sweep.study().values()
    assert all(math.isfinite(value) for value in values.values())
    assert min(values, key=values.__getitem__) == 5
    assert sorted(values, key=values.__getitem__)[:2] == [5, 3], "then those that came nearest"


def test_when_the_first_three_trials_all_fail_the_sweep_stops(sweep: Sweep) -> None:
    sweep.changes = {"confirm": {"top": 1}, "baselines": {"published": PUBLISHED}}
    director = sweep.launch(fails)
    assert director.stopping == "every one of the first 3 trials failed"
    assert sweep.numbers() == [0, 1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "failed")


@pytest.mark.parametrize("sound", [0, 1, 2, 3])
def test_one_sound_trial_among_the_first_three_keeps_the_sweep_going(sweep: Sweep, sound: int) -> None:
    sweep.changes = {"budget": {"trials": 5}}
    director = sweep.launch(lambda a: (learns(by_depth) if a.number == sound else fails)(a))
    assert len(sweep.trained) == (3 if sound == 3 else 5)
    assert bool(director.stopping) == (sound == 3)
