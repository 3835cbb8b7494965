"""Launches that are cut off: training that keeps states, a kill at any chunk, and what is left behind."""

from collections.abc import Iterator
from dataclasses import replace

from sweeper.folder.layout import TABLES
from sweeper.sweep.director import SweepDirector
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.sweeps import Sweep


def resumes(train: Train, every: int = 1) -> Train:
    """The same, keeping a state in one of so many chunks: how many came before the next."""

    def resumable(assignment: Assignment) -> Iterator[Chunk]:
        done = int(assignment.state or 0)
        for count, each in enumerate(train(replace(assignment, state=None)), 1):
            if count > done:
                yield replace(each, state=str(count).encode()) if count % every == 0 else each

    return resumable


class Killed(BaseException):
    """Ends a launch wherever it is, as kill -9 would."""


def killed_after(chunks: int, train: Train) -> Train:
    """The same, until so many chunks have been handed in, over all trials."""
    left = iter(range(chunks))

    def train_until(assignment: Assignment) -> Iterator[Chunk]:
        for each in train(assignment):
            if next(left, None) is None:
                raise Killed
            yield each

    return train_until


def noted(seen: list[Chunk], train: Train) -> Train:
    """The same, with a note of every chunk that is handed in."""

    def train_and_note(assignment: Assignment) -> Iterator[Chunk]:
        for each in train(assignment):
            seen.append(each)
            yield each

    return train_and_note


def kept(sweep: Sweep) -> list[str]:
    """The files of checkpoints."""
    return sorted(path.name for path in sweep.folder.checkpoints.glob("*"))


def tables(sweep: Sweep) -> dict[str, list[dict[str, str]]]:
    """All rows in words, but for when a trial trained, and the lines of code that its traceback names."""
    apart = {"trials": ("seconds", "started", "finished", "detail")}
    return {
        table: [
            {name: str(value) for name, value in row.items() if name not in apart.get(table, ())}
            for row in sweep.rows(table)
        ]
        for table in TABLES
    }


def begin(director: SweepDirector) -> Assignment:
    assignment = director.next_trial()
    assert isinstance(assignment, Assignment)
    return assignment


def hand_in(director: SweepDirector, assignment: Assignment, train: Train, chunks: int | None = None) -> None:
    for each in list(train(assignment))[:chunks]:
        assert director.report(assignment.number, each) is None
