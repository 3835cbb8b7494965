"""Checkpoints: a trial that was cut off goes on from its last state, wherever a launch was killed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.results.checkpoints import Checkpoints
from sweeper.stats.events import (
    FINISHED,
    NODE_LOST,
    Ending,
)
from sweeper.trial import Assignment, Chunk, Train, UnusableStateError
from tests.fakes.interrupted import Killed, begin, hand_in, kept, killed_after, noted, resumes, tables
from tests.fakes.races import RACE, raced, stages_of
from tests.fakes.sweeps import PUBLISHED, Sweep
from tests.fakes.training import always, by_depth, diverges, fails_half_way, follows, learns


@pytest.mark.parametrize(("every", "chunks", "state"), [(1, 4, b"4"), (3, 4, b"3"), (3, 2, None), (2, 0, None)])
def test_a_trial_that_was_cut_off_goes_on_from_its_last_state(
    sweep: Sweep, every: int, chunks: int, state: bytes | None
) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train = resumes(learns(always(70), evaluations=1), every)
    with pytest.raises(Killed):
        sweep.launch(killed_after(chunks, train))
    assert sweep.rows() == []
    assert kept(sweep) == (["trial-00000000.npz"] if state else [])

    director = sweep.open()
    assignment = begin(director)
    assert assignment == replace(sweep.trained[0], state=state)
    (running,) = director.board.running()
    assert running.step == 10 * int(state or 0), "its curve so far"
    hand_in(director, assignment, train)
    director.end(0, FINISHED)
    assert director.board.steps_trained == 2 * (70 - 10 * int(state or 0)), "what this launch has trained"
    assert [row["step"] for row in sweep.rows("curves")] == [*range(10, 71, 10)] * 2
    assert (sweep.states(), sweep.rows()[0]["retries"]) == ({0: "finished"}, [])
    assert kept(sweep) == []


UNDISTURBED: dict[str, tuple[dict[str, Any], Train]] = {
    "confirmations": (
        {"baselines": {"published": PUBLISHED}, "budget": {"trials": 2}, "confirm": {"top": 1, "replicates": 2}},
        learns(by_depth, evaluations=2),
    ),
    "race": (RACE | {"budget": {"trials": 4}}, learns(raced, evaluations=1)),
    "failures": (
        {"budget": {"trials": 3}},
        lambda each: (diverges, fails_half_way, learns(always(30), evaluations=1))[each.number](each),
    ),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], int]]:
    """Of each sweep above, its tables and how many chunks it takes."""
    found = {}
    for name, (changes, train) in UNDISTURBED.items():
        sweep, seen = Sweep(tmp_path_factory.mktemp("undisturbed"), changes), list[Chunk]()
        sweep.launch(noted(seen, train))
        found[name] = tables(sweep), len(seen)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.35, 0.95])
@pytest.mark.parametrize("name", UNDISTURBED)
def test_a_sweep_that_was_cut_off_comes_to_the_tables_of_one_that_was_not(
    sweep: Sweep, undisturbed: dict[str, tuple[dict[str, Any], int]], name: str, place: float
) -> None:
    expected, chunks = undisturbed[name]
    sweep.changes, train = UNDISTURBED[name]
    cut = round(place * (chunks - 1))
    with pytest.raises(Killed):
        sweep.launch(killed_after(cut, resumes(train)))
    sweep.launch(killed_after(chunks - cut, resumes(train)))  # and no chunk is trained twice
    assert tables(sweep) == expected
    capped = [number for number, state in sweep.states().items() if state == "capped"]
    assert set(kept(sweep)) <= {f"trial-{number:08d}.npz" for number in capped}, "a larger budget may continue these"


@pytest.mark.slow
@pytest.mark.parametrize("write", [1, 3, 4, 9, 14, 15, 16, 17])
def test_a_launch_may_be_killed_at_any_write(
    sweep: Sweep, undisturbed: dict[str, tuple[dict[str, Any], int]], monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """Before a file is put in its place, or after: of 18 the first is the question, and the last are the tables."""
    sweep.changes, train = UNDISTURBED["race"]
    sweep.changes = sweep.changes | {"budget": {"trials": 1}}
    rename, left = os.replace, iter(range(write))

    def killed(before: Path, after: Path) -> None:
        if next(left, None) is None:
            if write % 2:
                rename(before, after)
            raise Killed
        rename(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            sweep.launch(resumes(train))
    sweep.launch(resumes(train))
    expected, _ = undisturbed["race"]
    assert tables(sweep) == {name: [row for row in rows if row["trial"] == "0"] for name, rows in expected.items()}
    assert kept(sweep) == []


@pytest.mark.parametrize("ending", ["finished", "capped", "lost", "pruned", "failed", "stopped"])
def test_a_checkpoint_goes_when_its_trial_is_over_for_good(sweep: Sweep, ending: str) -> None:
    rule: dict[str, Any] = {"lost": {"race": {}}, "pruned": {"stop": "asha"}}.get(ending, {})
    sweep.changes = {"budget": {"trials": 2}, "stop": "cap", **rule}
    director = sweep.open()
    during: list[list[str]] = []

    def train(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.number == 0:
            yield from follows(lambda *_: [0.2, 1.0])(assignment)
            return
        for each in resumes(learns(always(20 if ending == "finished" else 90), evaluations=1))(assignment):
            yield each
            during.append(kept(sweep))
            if ending == "failed":
                raise ValueError
            if ending == "stopped":
                director.broadcast.stop("Ctrl-C")

    sweep.run(train, director)
    assert sweep.states() == {0: "finished", 1: ending}
    # The states of a trial that is stopped by its first chunk are seen by nobody but the director.
    assert during or ending == "pruned"
    assert all(each == ["trial-00000001.npz"] for each in during)
    assert kept(sweep) == (["trial-00000001.npz"] if ending in ("stopped", "capped") else [])


def test_checkpoints_of_trials_that_are_over_go_at_the_next_launch(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the study was told, and before the file was removed."""
    sweep.changes = {"budget": {"trials": 3}}

    def crash(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove", crash)
        with pytest.raises(Killed):
            sweep.launch(resumes(learns(by_depth)))
    assert (kept(sweep), set(sweep.study().values())) == (["trial-00000000.npz"], {0})
    sweep.open()
    assert kept(sweep) == []


def test_a_checkpoint_of_another_question_is_of_no_use(sweep: Sweep) -> None:
    """More replicates are asked of a confirmation that is in training."""
    sweep.changes = {"budget": {"trials": 1}, "confirm": {"top": 1, "replicates": 1}}
    train = resumes(learns(always(60), evaluations=1))
    with pytest.raises(Killed):
        sweep.launch(killed_after(6 + 3, train))
    assert kept(sweep) == ["trial-00000001.npz"]
    sweep.changes |= {"confirm": {"top": 1, "replicates": 2}}
    sweep.launch(train)
    assert [(each.number, each.replicates, each.state) for each in sweep.trained[1:]] == [
        (1, (1000,), None),
        (1, (1000, 1001), None),
    ]
    assert [row["step"] for row in sweep.rows("curves") if row["trial"] == 1] == [*range(10, 61, 10)] * 2


def test_a_checkpoint_is_of_use_to_a_larger_budget_and_on_other_resources(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train = resumes(learns(always(60), evaluations=1))
    with pytest.raises(Killed):
        sweep.launch(killed_after(3, train))
    sweep.changes = {"budget": {"trials": 2, "hours": 1}, "resources": {"cpu": 2}, "confirm": {"top": 1}}
    assignment = begin(sweep.open())
    assert (assignment.number, assignment.cpu, assignment.state) == (0, 2, b"3")


@pytest.mark.parametrize("when", ["at the next launch", "in a launch"])
def test_a_trial_with_a_damaged_checkpoint_starts_from_the_beginning(sweep: Sweep, when: str) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train = resumes(learns(always(60), evaluations=1))
    director = sweep.open()
    hand_in(director, begin(director), train, 3)
    path = sweep.folder.checkpoints / "trial-00000000.npz"
    path.write_bytes(path.read_bytes()[:-1])
    if when == "in a launch":
        director.end(0, Ending("failed", NODE_LOST))
    else:
        director = sweep.open()
    assignment = begin(director)
    assert assignment.state is None
    notice, *others = director.broadcast.notices
    assert notice.startswith(f"trial 0 starts from the beginning: its checkpoint cannot be read ({path}: ")
    assert others == (["trial 0 starts again: node lost"] if when == "in a launch" else [])
    hand_in(director, assignment, train)
    director.end(0, FINISHED)
    assert [row["step"] for row in sweep.rows("curves")] == [*range(10, 61, 10)] * 2
    assert sweep.rows()[0]["retries"] == (["node lost"] if when == "in a launch" else [])


def test_a_state_that_training_cannot_take_up_is_one_to_start_without(sweep: Sweep) -> None:
    sweep.changes = RACE | {"budget": {"trials": 1}}
    whole = learns(always(30), evaluations=1)

    def of_another_version(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.state is not None:
            raise UnusableStateError("KeyError: 'parameters'")
        yield from resumes(whole)(assignment)

    with pytest.raises(Killed):
        sweep.launch(killed_after(3 + 2, of_another_version))  # in the second replicate
    director = sweep.launch(of_another_version)
    assert stages_of(sweep) == [(0, (0,)), (0, (1,)), (0, (1,)), (0, (0,)), (0, (1,)), (0, (2,))]
    assert [each.state for each in sweep.trained] == [None, None, b"2", None, None, None]
    assert director.broadcast.notices == ["trial 0 starts again: unusable checkpoint"]
    assert [row["step"] for row in sweep.rows("curves")] == [10, 20, 30] * 3
    assert (sweep.states(), sweep.rows()[0]["retries"]) == ({0: "finished"}, ["unusable checkpoint"])
