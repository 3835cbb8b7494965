"""Mean time against each searched parameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np

from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing, Look
from sweeper.report.figures.groups import value_of
from sweeper.report.figures.points import Point, points
from sweeper.report.figures.subject import Subject, listed
from sweeper.space.hyperparameters import normalize
from sweeper.space.parameters import Choice, Float
from sweeper.stats.events import Clock

_KINDS = {
    "reached": "all runs reached it",
    "restricted": "some did not: counted at the limit",
    "at least": "ended early: at least this",
}
_FEW = 6
"""Whole numbers up to which each is shown like the value of a choice."""
_STEEP = 8.0
"""A range of times whose ends differ by this factor gets a logarithmic axis."""


@dataclass(frozen=True)
class Slice:
    """One parameter.

    Attributes:
        key: its name.
        categories: a choice's values, or a few whole numbers, as text in their order; otherwise empty.
        log: whether the axis is logarithmic.
        x: of every trial that has it the value, or the place of the value among the categories.
        points: these trials.
        medians: category -> median time of its trials, without baselines; of trials that were ended early the least
            that they could have.
    """

    key: str
    categories: tuple[str, ...]
    log: bool
    x: tuple[float, ...]
    points: tuple[Point, ...]
    medians: dict[str, float]


@dataclass(frozen=True)
class Slices:
    """Every searched parameter that has several values; `limit` as in `Subject`."""

    clock: Clock
    until: str
    limit: float
    parameters: tuple[Slice, ...]


def read(subject: Subject) -> Slices | None:
    """Slices of the parameters in the order of the space.yaml."""
    everyone = points(subject)
    found = [_slice(subject, key, everyone) for key in subject.spec.search]
    several = tuple(each for each in found if len(set(each.x)) > 1)
    if not several:
        return None
    return Slices(subject.clock, subject.spec.objective.until, subject.limit, several)


def _slice(subject: Subject, key: str, everyone: Sequence[Point]) -> Slice:
    parameter = subject.spec.search[key]
    mine = tuple(point for point in everyone if key in point.values)
    few = not isinstance(parameter, Float) and len(parameter.every()) <= _FEW
    if not isinstance(parameter, Choice) and not few:
        return Slice(key, (), parameter.log, tuple(float(point.values[key]) for point in mine), mine, {})
    values = parameter.every() or ()
    known = dict.fromkeys(value_of(normalize(key, each)) for each in values)
    # A schedule that never moves is `constant`, and a baseline may have a value that the search has not.
    texts = [value_of(point.values[key]) for point in mine]
    categories = tuple(each for each in (known | dict.fromkeys(texts)) if each in texts)
    x = tuple(float(categories.index(each)) for each in texts)
    times: dict[str, list[float]] = {}
    for point, text in zip(mine, texts, strict=True):
        if not point.baseline:
            times.setdefault(text, []).append(point.time)
    medians = {each: float(np.median(times[each])) for each in categories if each in times}
    return Slice(key, categories, False, x, mine, medians)


@canvas.styled
def draw(slices: Slices) -> Drawing:
    """A panel a parameter, on one axis of time."""
    columns = 2 if len(slices.parameters) <= 8 else 3
    rows = -(-len(slices.parameters) // columns)
    sheet = canvas.sheet(0.2 + 2.2 * rows)
    present = dict.fromkeys(
        kind
        for kind in _KINDS
        if any(point.kind == kind and not point.baseline for each in slices.parameters for point in each.points)
    )
    named = any(point.baseline for each in slices.parameters for point in each.points)
    looks = {_KINDS[kind]: _LOOKS[kind] for kind in present} | ({"baseline": _BASELINE} if named else {})
    canvas.legend(sheet, looks, hollow=(_KINDS["at least"],))
    grid = sheet.subplots(rows, columns, squeeze=False, sharey=True)
    times = [point.time for each in slices.parameters for point in each.points]
    for axes, each in zip(grid.flat, slices.parameters, strict=False):
        _draw_slice(axes, each)
    for axes in grid.flat[len(slices.parameters) :]:
        axes.set_visible(False)
    axes = grid[0, 0]
    positive = [time for time in times if time > 0]
    if positive and len(positive) == len(times) and max(times) / min(times) > _STEEP:
        axes.set_yscale("log")
        axes.set_ylim(0.85 * min(times), 1.2 * max(times))
        canvas.numbers(axes.yaxis, log=True)
    else:
        axes.set_ylim(0, 1.08 * max(times))
        canvas.numbers(axes.yaxis)
    for row in grid:
        row[0].set_ylabel(f"mean {slices.clock}")
    return Drawing(
        "slices",
        "Time against each parameter",
        f"Restricted mean {slices.clock} until {slices.until} of every trial, lower is better. Hollow triangles are "
        "trials that were ended early: their time is at least that. Squares have runs that never reached the event and "
        f"count at the limit ({canvas.plain(slices.limit)}). Bars are medians of the values of a choice. A sampler "
        "tries good values more often, and the other parameters differ as well.",
        _alt(slices),
        sheet,
    )


_LOOKS = {
    "reached": Look(canvas.BLUE, "", "o"),
    "restricted": Look(canvas.VERMILION, "", "s"),
    "at least": Look(canvas.GREY, "", "^"),
}
_BASELINE = Look(canvas.BLACK, "", "D")


def _draw_slice(axes: canvas.Axes, each: Slice) -> None:
    spread = np.zeros(len(each.x))
    if each.categories:  # side by side by trial number, so that they do not overlap
        spread = np.array(
            [0 if point.baseline else ((point.trial * 0.618034) % 1 - 0.5) * 0.5 for point in each.points]
        )
    x, y = np.array(each.x) + spread, np.array([point.time for point in each.points])
    crowd = 1.0 if len(x) < 300 else 0.35
    for kind, look in _LOOKS.items():
        mine = np.array([point.kind == kind and not point.baseline for point in each.points])
        if mine.any():
            canvas.scatter(axes, x[mine], y[mine], look, hollow=kind == "at least", alpha=crowd)
    named = np.array([bool(point.baseline) for point in each.points])
    if named.any():
        canvas.scatter(axes, x[named], y[named], _BASELINE, s=30.0)
    if each.categories:
        at = np.array([each.categories.index(category) for category in each.medians])
        axes.hlines(list(each.medians.values()), at - 0.35, at + 0.35, "black")
        axes.set_xlim(-0.6, len(each.categories) - 0.4)
        names = [fill(name, 12) for name in each.categories]
        slanted = sum(max(map(len, name.split("\n"))) for name in names) > 34
        axes.set_xticks(range(len(names)), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")
    else:
        if each.log:
            axes.set_xscale("log")
        canvas.numbers(axes.xaxis, log=each.log, most=5)
    axes.set_title(each.key, loc="left")


def _alt(slices: Slices) -> str:
    parts = []
    for each in slices.parameters:
        if each.categories:
            medians = [f"{category} {canvas.plain(median)}" for category, median in each.medians.items()]
            parts.append(f"Median {slices.clock} by {each.key}: {listed(medians)}.")
        else:
            best = [x for x, point in zip(each.x, each.points, strict=True) if point.kind != "at least"][:5]
            near = f"{canvas.plain(min(best))} to {canvas.plain(max(best))}" if best else "none"
            parts.append(f"The best five trials have {each.key} from {near}.")
    return " ".join(parts)
