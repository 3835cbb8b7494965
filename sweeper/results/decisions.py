"""The decisions of `stop: thaw`, one JSON record a line: which trial trained when, how far, and which one was chosen.

With the curves in the tables they give the search back: a launch goes on from the last one (`Thaw.recall`), and
`sweeper replay` makes each again. They also hold what was predicted of a trial before its end.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, with_config

from sweeper.errors import StorageError, UserError
from sweeper.folder.layout import SweepFolder

Kind = Literal["trains", "seen", "chosen", "paused", "over"]
_Number = Annotated[int, Field(ge=0, le=10**12)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


@with_config({"extra": "forbid"})
@dataclass(frozen=True)
class Decision:
    """One record; what does not belong to its kind is empty.

    `trains`: a trial begins, or goes on. `seen`: it has passed a mark or the end of a run. `chosen`: trials were
    compared. `paused`: it waits with its checkpoint. `over`: it trains no further in this launch, or at all.

    Attributes:
        at: seconds since 1970, UTC.
        trial: which; of `chosen` the trial at whose mark the choice was made, None if a slot was free.
        step: the last step of its slowest run that is not over; of one whose runs are over the last one's.
        cells: of `trains`, where a trial that lies in the space begins, its place there (`sweeper.search.encoding`).
        evaluations: of each run so far, operation by operation, replicate by replicate.
        seeds: replicates that have begun.
        expected: mean and standard deviation of what was predicted of the mean log time of all its seeds.
        waiting, training: the trials that were compared, and those in training.
        opened: trials that had been opened.
        new: whether new configurations were compared as well.
        chosen: the trial that trains next: number `opened` is a new one; none where there was no candidate.
        started: seconds from the beginning of the start to its first training.
        trained: seconds trained in this start.
        hyper, fitted, learned: see `sweeper.search.thaw.Memory`; where they have changed.
    """

    at: _Finite
    kind: Kind
    trial: _Number | None = None
    step: _Number = 0
    evaluations: tuple[_Number, ...] = ()
    seeds: _Number = 0
    expected: tuple[_Finite, _Finite] | None = None
    waiting: tuple[_Number, ...] = ()
    training: tuple[_Number, ...] = ()
    opened: _Number = 0
    new: bool = False
    chosen: _Number | None = None
    started: _Finite | None = None
    trained: _Finite | None = None
    hyper: tuple[_Finite, ...] = ()
    fitted: _Number = 0
    learned: tuple[tuple[_Number, _Number], ...] = ()
    cells: tuple[_Finite | None, ...] = ()


_DEFAULTS = {each.name: each.default for each in fields(Decision)}


@cache
def _adapter() -> TypeAdapter[Decision]:
    return TypeAdapter(Decision)


class Decisions:
    """The file of one sweep."""

    def __init__(self, folder: SweepFolder):
        self._path = folder.decisions

    def read(self) -> list[Decision]:
        """All records but one that a killed launch did not finish writing. Raises UserError where one is damaged."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read ({error.strerror})") from None
        return [_parsed(self._path, number, line) for number, line in enumerate(lines[:-1], 1)]

    def append(self, decision: Decision) -> None:
        """Add a record; after return it survives a crash. Raises StorageError."""
        kept = {name: value for name, value in asdict(decision).items() if value != _DEFAULTS[name]}
        try:
            with open(self._path, "ab") as file:
                file.write(json.dumps(kept, separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{self._path}: could not be written: {error.strerror}; make room on the disk, or make it writable, "
                "and the same command continues the sweep"
            ) from error

    def mend(self) -> None:
        """Remove a record that a killed launch did not finish writing. Raises StorageError."""
        try:
            with open(self._path, "rb+") as file:
                content = file.read()
                whole = content.rfind(b"\n") + 1
                if whole < len(content):
                    file.truncate(whole)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{self._path}: could not be mended: {error.strerror}") from error


@dataclass(frozen=True)
class PausedTrial:
    """A trial that waits with its checkpoint.

    Attributes:
        trial: its number.
        step: as far as its slowest run has come.
        seeds: replicates that have begun.
        expected: see `Decision`; None where nothing is known.
        since: seconds since 1970, UTC.
    """

    trial: int
    step: int
    seeds: int
    expected: tuple[float, float] | None
    since: float


def paused_trials(decisions: Sequence[Decision]) -> dict[int, PausedTrial]:
    """The trials that wait after some decisions, by number."""
    found: dict[int, PausedTrial] = {}
    for each in decisions:
        if each.trial is None:
            continue
        if each.kind == "paused":
            found[each.trial] = PausedTrial(each.trial, each.step, each.seeds, each.expected, each.at)
        elif each.kind in ("trains", "over"):
            found.pop(each.trial, None)
    return found


@dataclass(frozen=True)
class Predicted:
    """A time that is predicted, with its interval of 80 %."""

    time: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"about {rounded(self.time)}, 80 % interval {rounded(self.low)} to {rounded(self.high)}"


_TENTH = 1.2815515655446004
"""Standard deviations of a normal distribution beyond which a tenth lies."""


def predicted(expected: tuple[float, float], limit: float) -> Predicted:
    """A prediction in words of time: median and interval of a log normal, none beyond the limit of a run."""
    mean, deviation = expected
    logs = (mean, mean - _TENTH * deviation, mean + _TENTH * deviation)
    return Predicted(*(min(math.exp(min(each, 700.0)), limit) for each in logs))


def rounded(time: float) -> str:
    """With two figures that count, three from 100 on."""
    if time <= 0 or not math.isfinite(time):
        return f"{time:g}"
    digits = 2 - math.floor(math.log10(time)) if time >= 100 else 1 - math.floor(math.log10(time))
    return f"{round(time, digits):,.{max(digits, 0)}f}"


def _parsed(path: Path, number: int, line: bytes) -> Decision:
    try:
        return _adapter().validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}, line {number}: {where + ': ' if where else ''}{first['msg']}; remove the lines from there on: "
            "the search then goes on from what the tables and checkpoints hold"
        ) from None
