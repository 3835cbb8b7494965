"""Norms of weights and gradients before and after a run reaches its event."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.subject import Subject, listed, numbered
from sweeper.results.query import frame

NORMS = ("weight_norm", "last_layer_norm", "gradient_norm")
_PLACES = 120

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Aligned:
    """The runs of one contender that reached the event, aligned at it.

    Attributes:
        label: of the contender.
        baseline: whether it is one.
        runs: how many.
        means, errors: metric -> [places], mean over runs and its standard error; NaN where no run (for the error: a
            single run) has an evaluation.
    """

    label: str
    baseline: bool
    runs: int
    means: Mapping[str, Floats]
    errors: Mapping[str, Floats]


@dataclass(frozen=True)
class Jump:
    """The event's metric and the norms around the event.

    Attributes:
        until: the event.
        threshold: of it.
        metrics: the event's metric, then the norms.
        steps: [places], steps since the event.
        contenders: the best trial and the baseline, those whose runs reached it.
    """

    until: str
    threshold: float
    metrics: tuple[str, ...]
    steps: Floats
    contenders: tuple[Aligned, ...]


def read(subject: Subject) -> Jump | None:
    """Runs of all operations together; None where none reached the event."""
    objective, contenders = subject.spec.objective, subject.contenders
    metrics = tuple(dict.fromkeys((objective.event.metric, *NORMS)))
    trials = numbered(each.trial for each in contenders)
    events = frame(
        subject.folder,
        f"""
        SELECT sustained_steps AS event, final_step AS last FROM runs
        WHERE trial IN ({trials}) AND sustained_steps IS NOT NULL
        """,
    )
    if events.empty:
        return None
    every = objective.evaluate_every
    before = float(events["event"].median())
    after = float((events["last"] - events["event"]).max())
    width = every * max(1, int(np.ceil((before + after) / every / _PLACES)))
    first, last = -int(before // width), int(after // width)
    means = ", ".join(f"avg({metric})::DOUBLE AS {metric}" for metric in metrics)
    rows = frame(
        subject.folder,
        f"""
        SELECT trial, operation, replicate, floor((step - sustained_steps) / {width})::BIGINT AS place, {means}
        FROM curves JOIN runs USING (trial, operation, replicate)
        WHERE curves.trial IN ({trials}) AND sustained_steps IS NOT NULL
            AND step - sustained_steps >= {first * width}
        GROUP BY ALL ORDER BY ALL
        """,
    )
    places = range(first, last + 1)
    found = [
        _aligned(each.label, each.baseline, rows[rows["trial"] == each.trial], metrics, places) for each in contenders
    ]
    kept = tuple(each for each in found if each.runs)
    steps = width * np.array(places, dtype=np.float64)
    return Jump(objective.until, objective.event.threshold, metrics, steps, kept)


def _aligned(label: str, baseline: bool, rows: pd.DataFrame, metrics: tuple[str, ...], places: range) -> Aligned:
    means: dict[str, Floats] = {}
    errors: dict[str, Floats] = {}
    runs = len(rows[["operation", "replicate"]].drop_duplicates())
    for metric in metrics:
        by_place = rows.groupby("place")[metric]
        means[metric] = np.asarray(by_place.mean().reindex(places), dtype=np.float64)
        errors[metric] = np.asarray(by_place.sem().reindex(places), dtype=np.float64)
    return Aligned(label, baseline, runs, means, errors)


@canvas.styled
def draw(jump: Jump) -> Drawing:
    """A panel a metric, the event at 0."""
    rows = -(-len(jump.metrics) // 2)
    sheet = canvas.sheet(0.2 + 2.0 * rows)
    baselines = [each.baseline for each in jump.contenders]
    if len(baselines) > 1 and all(baselines):
        baselines[0] = False
    looks = dict(zip([each.label for each in jump.contenders], canvas.looks(baselines), strict=True))
    canvas.legend(sheet, {label: canvas.Look(look.colour, look.dash, "") for label, look in looks.items()})
    grid = sheet.subplots(rows, 2, squeeze=False, sharex=True)
    for axes, metric in zip(grid.flat, jump.metrics, strict=False):
        for each in jump.contenders:
            mean, error, look = each.means[metric], each.errors[metric], looks[each.label]
            axes.plot(jump.steps, mean, color=look.colour, linestyle=look.dash)
            axes.fill_between(jump.steps, mean - error, mean + error, color=look.colour, alpha=0.15, linewidth=0)
        axes.axvline(0, color=canvas.GREY, linewidth=0.9)
        axes.set_title(metric, loc="left")
        lowest = min(np.nanmin(each.means[metric], initial=np.inf) for each in jump.contenders)
        if metric == "gradient_norm" and 0 < lowest < np.inf:
            axes.set_yscale("log")
            canvas.numbers(axes.yaxis, log=True, most=5)
        else:
            canvas.numbers(axes.yaxis, most=5)
        canvas.numbers(axes.xaxis, most=5)
    for axes in grid.flat[len(jump.metrics) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("steps since the event")
    runs = listed([f"{each.label} ({plural(each.runs, 'run')})" for each in jump.contenders])
    return Drawing(
        "jump",
        "Norms around the event",
        f"The event's metric and L2 norms of all weights, of the output layer and of the gradient (logarithmic), mean "
        f"over the runs that reached {jump.until}, each shifted so that it does at 0: {runs}. Bands are standard "
        "errors. Runs end at the event unless objective.tail lets them go on.",
        " ".join(_change(each, metric, jump.steps) for metric in jump.metrics[1:] for each in jump.contenders),
        sheet,
    )


def _change(each: Aligned, metric: str, steps: Floats) -> str:
    known = np.flatnonzero(np.isfinite(each.means[metric]) & (steps <= 0))
    if not len(known):
        return f"{each.label}: no {metric}."
    first, last = known[0], known[-1]
    values = each.means[metric]
    return (
        f"{each.label}: {metric} from {values[first]:.3g} at {canvas.plain(-steps[first])} steps before to "
        f"{values[last]:.3g} at the event."
    )
