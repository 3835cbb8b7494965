"""The parameters of the best trials, while a sweep runs, is killed and goes on."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.api import Sweep as Loaded
from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
from sweeper.results import models
from sweeper.results.models import Models
from sweeper.trial import Assignment, Chunk, RunParameters
from tests.fakes.sweeps import PUBLISHED, Sweep
from tests.fakes.training import learns

REACHED = {0: 60, 1: 40, 2: 50, 3: 40, 4: 90, 5: 20}
"""Trial -> when its runs get there: the best two are 0; 0, 1; 1, 2; 1, 3; the same; 5, 1."""
BEST = [{0}, {0, 1}, {1, 2}, {1, 3}, {1, 3}, {1, 5}]
KEEP: dict[str, Any] = {"keep": {"best": 2}, "budget": {"trials": 6}}


def train(assignment: Assignment) -> Iterator[Chunk]:
    """As it is recorded, with parameters that name their run; each chunk is a state to go on from."""
    assert assignment.keep in ("event", None)
    begun = 0 if assignment.state is None else int(assignment.state)
    chunks = list(learns(lambda trial, _: REACHED[trial.number % 100], evaluations=1)(assignment))
    for number, each in enumerate(chunks[begun:], begun + 1):
        over = number == len(chunks) and assignment.keep is not None
        runs = tuple(parameters(assignment, replicate) for replicate in assignment.replicates) if over else ()
        yield replace(each, state=str(number).encode(), parameters=runs)


def parameters(assignment: Assignment, replicate: int) -> RunParameters:
    step, named = REACHED[assignment.number], np.array([assignment.number, replicate])
    return RunParameters("x_plus_y", replicate, step, {"weight": named})


def test_what_falls_out_of_the_best_is_removed(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, KEEP)
    director, seen = sweep.open(), []

    def noting(assignment: Assignment) -> Iterator[Chunk]:
        seen.append(Models(sweep.folder).trials)
        yield from train(assignment)

    sweep.run(noting, director)
    assert [*seen[1:], Models(sweep.folder).trials] == BEST
    found = Models(sweep.folder).load(5, "x_plus_y", 1)
    assert found is not None and found.run.arrays["weight"].tolist() == [5, 1]
    assert Assignment.from_json(found.assignment) == sweep.trained[5]
    assert (found.run.operation, found.run.replicate, found.run.step) == ("x_plus_y", 1, 20)


@pytest.mark.slow
@pytest.mark.parametrize("write", [17, 26, 30, 39])
def test_a_launch_that_is_killed_at_any_write_loses_none_of_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """The best of the tables have their parameters, and the next launch comes to the same end.

    Killed between two runs of trial 1; before those of trial 2, which takes the place of trial 0; before its row of
    `trials`; and after that of trial 3, before those of trial 2 are removed.
    """
    sweep = Sweep(tmp_path, {**KEEP, "budget": {"trials": 4}})
    rename, left = os.replace, iter(range(write))

    class Killed(BaseException):
        pass

    def killed(before: Path, after: Path) -> None:
        if next(left, None) is None:
            if write % 2:
                rename(before, after)
            raise Killed
        rename(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            sweep.launch(train)
    finished = sweep.open().board.earlier
    assert Models(sweep.folder).trials == BEST[finished - 1]
    sweep.launch(train)
    assert Models(sweep.folder).runs == [(number, "x_plus_y", replicate) for number in (1, 3) for replicate in (0, 1)]


def test_runs_of_earlier_stages_are_kept_with_those_of_the_last(tmp_path: Path) -> None:
    """Each replicate trains in a stage of its own, and a launch is killed between two of them."""
    sweep = Sweep(tmp_path, {**KEEP, "stop": "cap", "race": {"first": 1}, "budget": {"trials": 1}})

    class Killed(BaseException):
        pass

    def killed(assignment: Assignment) -> Iterator[Chunk]:
        if assignment.replicates == (1,):
            raise Killed
        yield from train(assignment)

    with pytest.raises(Killed):
        sweep.launch(killed)
    assert Models(sweep.folder).runs == []
    sweep.launch(train)
    assert [assignment.replicates for assignment in sweep.trained] == [(0,), (1,), (1,)]
    assert Models(sweep.folder).runs == [(0, "x_plus_y", 0), (0, "x_plus_y", 1)]


def test_failed_stopped_and_confirming_trials_are_not_kept(tmp_path: Path) -> None:
    baselines = {"baselines": {"published": PUBLISHED}, "confirm": {"top": 1, "replicates": 3}, "budget": {"trials": 3}}
    sweep = Sweep(tmp_path, {**KEEP, **baselines, "keep": {"best": 9}})

    def fails_at_first(assignment: Assignment) -> Iterator[Chunk]:
        chunks = train(assignment)
        yield next(chunks)
        if assignment.number == 1:
            raise ValueError
        yield from chunks

    sweep.launch(fails_at_first)
    assert set(sweep.states()) == {0, 1, 2, 3, 4} and Models(sweep.folder).trials == {0, 2}


@pytest.mark.slow
def test_a_section_that_comes_later_or_goes_takes_nothing_away(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {**KEEP, "budget": {"trials": 2}})
    sweep.launch(train)
    sweep.changes = {"budget": {"trials": 3}}
    sweep.launch(train)
    assert Models(sweep.folder).trials == {0, 1}, "without the section, they stay"
    sweep.changes = {**KEEP, "keep": {"best": 3}, "budget": {"trials": 4}}
    sweep.launch(train)
    assert Models(sweep.folder).trials == {1, 3}, "0 is no longer among the best three, and 2 was not kept"


@pytest.mark.slow
def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {**KEEP, "budget": {"trials": 2}})
    sweep.launch(train)
    loaded, spec = Loaded(sweep.folder), saved_spec(sweep.folder)
    for arguments, words in (
        ((1, 7, None), "trial 1 these runs are kept: x_plus_y 0, x_plus_y 1; `sweeper train made-up:1` trains"),
        ((1, 0, "y"), "operation: got 'y'; give one of x_plus_y"),
    ):
        with pytest.raises(UserError, match=words):
            loaded.model(*arguments)
    Models(sweep.folder).keep({1})
    with pytest.raises(
        UserError, match=r"made-up:0, x_plus_y, replicate 0: its .* are not kept; kept are those of trials 1;"
    ):
        loaded.validate(0)
    Models(sweep.folder).keep(())
    with pytest.raises(UserError, match=r"none are; keep: {best: 3} in the space.yaml"):
        loaded.model(1)
    (sweep.folder.models / "trial-00000001.x_plus_y.0.safetensors").write_bytes(b"1234567")
    with pytest.raises(UserError, match="damaged"):
        models.find(sweep.folder, spec, 1, 0, "x_plus_y")
