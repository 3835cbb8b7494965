"""The mean time of each trial: exact, restricted at the limit, or only a lower bound."""

import math
from dataclasses import dataclass
from typing import Literal

from sweeper.report.figures.subject import Row, Subject, cut_short
from sweeper.space.hyperparameters import Value

Kind = Literal["reached", "restricted", "at least"]


@dataclass(frozen=True)
class Point:
    """One trial.

    Attributes:
        trial: its number.
        time: restricted mean on the objective's clock; of a trial that was ended early the least that it could have
            become.
        kind: whether all runs reached the event, some of them did not and count at the limit, or the trial was ended
            early.
        baseline: its name, empty for a trial of the search.
        values: of the searched parameters that apply to it.
    """

    trial: int
    time: float
    kind: Kind
    baseline: str
    values: dict[str, Value]


def points(subject: Subject) -> tuple[Point, ...]:
    """Every trial that did not fail, the best first."""
    found = (_point(row, subject.values(row)) for row in subject.seen)
    return tuple(sorted(found, key=lambda point: (point.time, point.trial)))


def _point(row: Row, values: dict[str, Value]) -> Point:
    name = row["name"] if row["phase"] == "baseline" else ""
    # Runs of a trial that was ended early count in `rmst` as if they never reached the event; `bound` is what is known.
    if cut_short(row) and row["reached"] < row["runs"] and row["bound"] is not None:
        return Point(row["trial"], min(math.exp(row["bound"]), row["rmst"]), "at least", name, values)
    kind: Kind = "reached" if row["reached"] == row["runs"] else "restricted"
    return Point(row["trial"], row["rmst"], kind, name, values)
