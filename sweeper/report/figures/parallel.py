"""Parallel coordinates: every trial a line through its parameters to its mean time."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.groups import value_of
from sweeper.report.figures.points import Point, points
from sweeper.report.figures.subject import Subject, listed
from sweeper.space.hyperparameters import normalize
from sweeper.space.parameters import Choice, Float, Int
from sweeper.stats.events import Clock

MOST = 500
_ABSENT = -0.14
"""The height at which lines pass a parameter that their trial does not have."""


@dataclass(frozen=True)
class Axis:
    """One parameter.

    Attributes:
        key: its name.
        marks: height between 0 and 1 -> what it stands for.
        heights: of every line; below 0 for a trial that does not have it.
    """

    key: str
    marks: dict[float, str]
    heights: tuple[float, ...]


@dataclass(frozen=True)
class Lines:
    """Trials as lines, the slowest first.

    Attributes:
        clock: of the times.
        axes: the parameters.
        times: restricted means; of trials that were ended early the least that they can be.
        trials: their numbers.
        others: how many trials are not drawn.
    """

    clock: Clock
    axes: tuple[Axis, ...]
    times: tuple[float, ...]
    trials: tuple[int, ...]
    others: int


def read(subject: Subject) -> Lines | None:
    """Lines of the trials of the search: the best tenth of `MOST`, and of the others as many as fit, evenly spread."""
    everyone = [point for point in points(subject) if not point.baseline]
    if len(everyone) < 2 or len(subject.spec.search) < 2:
        return None
    shown = everyone
    if len(everyone) > MOST:
        best, rest = everyone[: MOST // 10], everyone[MOST // 10 :]
        places = np.linspace(0, len(rest) - 1, MOST - len(best)).round().astype(int)
        shown = [*best, *(rest[place] for place in places)]
    shown = shown[::-1]
    axes = tuple(_axis(key, parameter, shown) for key, parameter in subject.spec.search.items())
    times, trials = tuple(point.time for point in shown), tuple(point.trial for point in shown)
    return Lines(subject.clock, axes, times, trials, len(everyone) - len(shown))


def _axis(key: str, parameter: Choice | Int | Float, shown: Sequence[Point]) -> Axis:
    values = [point.values.get(key) for point in shown]
    if isinstance(parameter, Choice):
        known = dict.fromkeys(value_of(normalize(key, each)) for each in parameter.choice)
        texts = list(known | dict.fromkeys(value_of(each) for each in values if each is not None))
        top = max(len(texts) - 1, 1)
        heights = tuple(_ABSENT if each is None else texts.index(value_of(each)) / top for each in values)
        return Axis(key, {place / top: text for place, text in enumerate(texts)}, heights)
    low, high = (float(bound) for bound in parameter.bounds)
    scale = np.log if parameter.log else np.asarray
    width = float(scale(high) - scale(low)) or 1.0
    heights = tuple(_ABSENT if each is None else float(scale(each) - scale(low)) / width for each in values)
    return Axis(key, {0.0: canvas.plain(low), 1.0: canvas.plain(high)}, heights)


@canvas.styled
def draw(lines: Lines) -> Drawing:
    """An upright axis a parameter; the best trials are drawn last, on top."""
    sheet = canvas.sheet(4.2)
    axes = sheet.subplots()
    heights = np.array([axis.heights for axis in lines.axes]).T
    places = range(len(lines.axes))
    canvas.polylines(axes, places, heights, lines.times, f"mean {lines.clock}")
    for place, axis in enumerate(lines.axes):
        axes.axvline(place, color="black", linewidth=0.8)
        shown = dict(list(axis.marks.items())[:: -(-len(axis.marks) // 10)])
        for height, text in shown.items():
            axes.annotate(
                fill(text, 11),
                (place, height),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
            )
    absent = bool((heights < 0).any())
    if absent:
        axes.annotate(
            "not used", (0, _ABSENT), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=9
        )
    axes.set(xlim=(-0.08, len(places) - 0.4), ylim=(_ABSENT - 0.04 if absent else -0.05, 1.05), yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(bottom=False, length=0)
    axes.set_xticks(places, [axis.key for axis in lines.axes], rotation=30, ha="right")
    some = f" Another {plural(lines.others, 'trial')} are not drawn." if lines.others else ""
    best = lines.trials[-5:][::-1]
    return Drawing(
        "parallel",
        "Trials through their parameters",
        f"Every trial of the search is a line; dark ones are fast (few {lines.clock}), and lie on top. Where dark "
        "lines meet on an axis, that value goes with fast trials. Lines pass below the axis of a parameter that "
        f"their trial does not have. Trials that were ended early have at least their colour's time.{some}",
        f"The fastest of {plural(len(lines.trials), 'trial')} are {listed([f'trial {each}' for each in best])}, with "
        f"{canvas.plain(lines.times[-1])} mean {lines.clock}; the slowest has at least {canvas.plain(lines.times[0])}.",
        sheet,
    )
