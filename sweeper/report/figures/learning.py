"""Learning curves: of the best trial against the baseline, and of the search by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeper.config.saved import reference_values
from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.groups import BASELINE, Grouping
from sweeper.report.figures.subject import Subject, listed, numbered
from sweeper.results.query import frame, records
from sweeper.stats.events import COLUMN, Clock, Event

PLACES = 300
"""Points of a curve, at most."""
_SAMPLE = 60
"""Trials of a group whose curves are read, at most."""
_PANELS = 2
"""Scores that are shown: the first ones of the task, and the event's besides."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """The mean over runs of one metric, a run that has ended counting with its last value.

    Attributes:
        mean: [places], NaN before any run's first evaluation.
        error: [places], its standard error; NaN for a single run.
        runs: how many.
        end: the place at which the last of them ended.
    """

    mean: Floats
    error: Floats
    runs: int
    end: int


@dataclass(frozen=True)
class MeanCurves:
    """Mean learning curves.

    Attributes:
        clock: of `x`.
        event: the objective's event.
        x: [places], on the clock.
        by: the parameter that defines the groups; empty for contenders.
        labels: label -> whether it is a baseline.
        fresh: whether the runs are on fresh seeds.
        sampled: number of trials of the groups that were not read.
        curves: operation -> label -> metric -> curve.
        panels: title -> metrics.
        references: metric -> name -> a baseline value to compare the metric with, such as a constant prediction.
    """

    clock: Clock
    event: Event
    x: Floats
    by: str
    labels: Mapping[str, bool]
    fresh: bool
    sampled: int
    curves: dict[str, dict[str, dict[str, Mean]]]
    panels: dict[str, tuple[str, ...]]
    references: dict[str, dict[str, float]]


def read(subject: Subject) -> MeanCurves | None:
    """Curves of the best trial and the baseline."""
    event, scores = subject.spec.objective.event, list(subject.spec.task.scores)
    panels: dict[str, tuple[str, ...]] = {name: (f"train_{name}", f"val_{name}") for name in scores}
    own = next((name for name, metrics in panels.items() if event.metric in metrics), None)
    shown = {name: panels[name] for name in scores if name in [*scores[:_PANELS], own]}
    if own is None:
        shown[event.metric] = (event.metric,)
    who = subject.contenders
    labels = {each.label: each.baseline for each in who}
    return _read(subject, {each.label: (each.trial,) for each in who}, shown, labels=labels)


def read_groups(subject: Subject, grouping: Grouping) -> MeanCurves | None:
    """Curves of the event's metric, by group; of a sample of the trials where they are many."""
    if len(grouping.groups) < 2:
        return None
    picked = {group.label: group.trials[:: -(-len(group.trials) // _SAMPLE)] for group in grouping.groups}
    sampled = sum(len(group.trials) - len(picked[group.label]) for group in grouping.groups)
    labels = {group.label: group.baseline for group in grouping.groups}
    metric = subject.spec.objective.event.metric
    return _read(subject, picked, {metric: (metric,)}, labels=labels, by=grouping.by, sampled=sampled)


def _read(
    subject: Subject,
    trials: Mapping[str, Sequence[int]],
    panels: dict[str, tuple[str, ...]],
    *,
    labels: Mapping[str, bool],
    by: str = "",
    sampled: int = 0,
) -> MeanCurves | None:
    everyone = [trial for group in trials.values() for trial in group]
    metrics = tuple(dict.fromkeys(metric for panel in panels.values() for metric in panel))
    width, places = _bins(subject, everyone)
    if not places:
        return None
    rows = _binned(subject, everyone, metrics, width, places)
    spec = subject.spec
    curves: dict[str, dict[str, dict[str, Mean]]] = {}
    for operation in spec.task.operations:
        mine = rows[rows["operation"] == operation]
        parts = {who: mine[mine["trial"].isin(group)] for who, group in trials.items()}
        curves[operation] = {
            who: {metric: _mean(part, metric, places) for metric in metrics} for who, part in parts.items() if len(part)
        }
    x: Floats = width * np.arange(1, places + 1, dtype=np.float64)
    fresh = bool(subject.contenders) and subject.contenders[0].fresh and not by
    beside = {metric: reference_values(subject.folder, metric) for metric in metrics}
    return MeanCurves(subject.clock, spec.objective.event, x, by, labels, fresh, sampled, curves, panels, beside)


def _bins(subject: Subject, trials: Sequence[int]) -> tuple[float, int]:
    """Width and number of the intervals in which curves are read: the last value in each stands for it."""
    column = COLUMN[subject.clock]
    (last,) = records(subject.folder, f"SELECT max({column}) AS last FROM curves WHERE trial IN ({numbered(trials)})")
    if not last["last"]:
        return 1.0, 0
    every = subject.spec.objective.evaluate_every
    if subject.clock == "steps":
        width = float(every * -(-int(last["last"]) // (every * PLACES)))
    else:
        width = float(last["last"]) / PLACES
    return width, int(np.ceil(float(last["last"]) / width - 1e-9))


def _binned(subject: Subject, trials: Sequence[int], metrics: Sequence[str], width: float, places: int) -> pd.DataFrame:
    """Operation, trial, replicate, place and the last value of each metric there."""
    column = COLUMN[subject.clock]
    values = ", ".join(f"arg_max({metric}, step)::DOUBLE AS {metric}" for metric in metrics)
    return frame(
        subject.folder,
        f"""
        SELECT operation, trial, replicate,
            greatest(least(ceil({column} / {width!r} - 1e-9)::BIGINT - 1, {places - 1}), 0) AS place, {values}
        FROM curves WHERE trial IN ({numbered(trials)}) GROUP BY ALL ORDER BY operation, trial, replicate, place
        """,
    )


def _mean(rows: pd.DataFrame, metric: str, places: int) -> Mean:
    wide = rows.pivot(index=["trial", "replicate"], columns="place", values=metric)
    # On a clock of examples or seconds evaluations may lie further apart than places.
    between = wide.reindex(columns=range(places)).interpolate(axis=1, limit_area="inside")
    values = between.ffill(axis=1).to_numpy(dtype=np.float64)
    end = int(rows["place"].max())
    seen = np.isfinite(values)
    runs = seen.sum(0)
    filled = np.where(seen, values, 0.0)
    mean = np.divide(filled.sum(0), runs, out=np.full(places, np.nan), where=runs > 0)
    squares = np.where(seen, (values - mean) ** 2, 0.0).sum(0)
    variance = np.divide(squares, runs - 1, out=np.full(places, np.nan), where=runs > 1)
    return Mean(mean, np.sqrt(variance / np.maximum(runs, 1)), len(values), end)


@canvas.styled
def draw(learning: MeanCurves) -> Drawing:
    """Scores in training and validation, an operation a row."""
    return _draw_groups(learning) if learning.by else _draw_contenders(learning)


def _draw_contenders(learning: MeanCurves) -> Drawing:
    shown = {operation: who for operation, who in learning.curves.items() if who}
    looks = {
        label: canvas.BASELINES[0] if baseline else canvas.BEST
        for label, baseline in _drawn_as_baselines(learning).items()
    }
    sheet = canvas.sheet(2.5 * len(shown))
    entries = {
        f"{label}, {what}": canvas.Look(look.colour, dash, "")
        for label, look in looks.items()
        for what, dash in (("training", _DASHED), ("validation", "-"))
    }
    canvas.legend(sheet, entries)
    grid = sheet.subplots(len(shown), len(learning.panels), squeeze=False, sharex=True)
    for row, (operation, who) in enumerate(shown.items()):
        for column, (name, metrics) in enumerate(learning.panels.items()):
            axes = grid[row, column]
            for label, curves in reversed(who.items()):
                for metric in metrics:
                    dash = _DASHED if metric.startswith("train_") else "-"
                    _line(axes, learning.x, curves[metric], looks[label].colour, dash)
            _finish(axes, learning, metrics)
            axes.set_title(f"{operation}: {name}" if len(shown) > 1 else name, loc="left")
            if row == len(shown) - 1:
                axes.set_xlabel(learning.clock)
    seeds = "fresh seeds, not used for selection" if learning.fresh else "the search's own seeds"
    return Drawing(
        "learning",
        "Learning curves of the best trial",
        f"Mean over runs with its standard error (band), on {seeds}. After its event a run counts in the mean "
        "with its last value; a dot marks where the last of them ended. The thin line is the threshold of "
        f"{_event(learning.event)}.{_beside(learning)} Axes of shares run from 0 to "
        "1, others are logarithmic; with values below 0 an axis is linear and covers the values after a tenth of the "
        "time.",
        _alt(learning),
        sheet,
    )


def _draw_groups(learning: MeanCurves) -> Drawing:
    shown = {operation: who for operation, who in learning.curves.items() if who}
    looks = dict(zip(learning.labels, canvas.looks(list(learning.labels.values())), strict=True))
    sheet = canvas.sheet(2.7 * len(shown))
    canvas.legend(sheet, {label: canvas.Look(look.colour, look.dash, "") for label, look in looks.items()})
    metric = learning.event.metric
    for axes, (operation, who) in zip(sheet.subplots(len(shown), squeeze=False)[:, 0], shown.items(), strict=True):
        for label, curves in who.items():
            _line(axes, learning.x, curves[metric], looks[label].colour, looks[label].dash)
        _finish(axes, learning, (metric,))
        axes.set(xlabel=learning.clock, ylabel=metric)
        if len(shown) > 1:
            axes.set_title(operation, loc="left")
    sample = f" {plural(learning.sampled, 'trial')} more, evenly spaced, are not included." if learning.sampled else ""
    runs = f"the search by {learning.by} with its standard error (band), and of the baselines"
    chosen = " The sampler tries more of what works, so groups are not random samples."
    if learning.by == BASELINE:
        runs, chosen = "each baseline with its standard error (band)", ""
    return Drawing(
        "learning-by-group",
        f"Learning curves by {learning.by}",
        f"{metric}, mean over the runs of {runs}. After its event a run counts in the mean with its last value; a dot "
        f"marks where the last of them ended. The thin line is the threshold of {_event(learning.event)}."
        f"{_beside(learning)}{chosen}{sample}",
        _alt(learning),
        sheet,
    )


_DASHED: canvas.Dash = (0, (2.5, 1.2))
_DOTTED: canvas.Dash = (0, (1.0, 1.5))
_NONE: Floats = np.array([])


def _drawn_as_baselines(learning: MeanCurves) -> dict[str, bool]:
    """Label -> whether to draw it as a baseline; if all are baselines, the first is drawn as the best trial is."""
    if len(learning.labels) > 1 and all(learning.labels.values()):
        return {label: place > 0 for place, label in enumerate(learning.labels)}
    return dict(learning.labels)


def _line(axes: canvas.Axes, x: Floats, curve: Mean, colour: str, dash: canvas.Dash) -> None:
    axes.plot(x, curve.mean, color=colour, linestyle=dash)
    if curve.end < len(x) - 1:
        axes.plot(x[curve.end], curve.mean[curve.end], color=colour, marker="o", markersize=4, linestyle="")
    if np.isfinite(curve.error).any():
        low, high = curve.mean - curve.error, curve.mean + curve.error
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _finish(axes: canvas.Axes, learning: MeanCurves, metrics: Sequence[str]) -> None:
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()] or [_NONE])
    if learning.event.metric in metrics:
        axes.axhline(learning.event.threshold, color=canvas.GREY, linewidth=0.9)
    for name, value in _references(learning, metrics).items():
        axes.axhline(value, color=canvas.GREY, linewidth=0.9, linestyle=_DOTTED)
        axes.annotate(name, (1, value), (-3, 2), ("axes fraction", "data"), "offset points", ha="right", fontsize=8)
    axes.set_xlim(0, learning.x[-1])
    if metrics[0].endswith("accuracy"):
        axes.set_ylim(-0.03, 1.03)
    elif (drawn < 0).any():
        _begin_late(axes, learning.x)
    elif (drawn > 0).any():
        axes.set_yscale("log", nonpositive="mask")
        canvas.numbers(axes.yaxis, log=True)
    canvas.numbers(axes.xaxis, most=4 if len(metrics) > 1 else 6)


def _begin_late(axes: canvas.Axes, x: Floats) -> None:
    """Leave out how low the first tenth of the curves is: an R2 begins at minus ten, and all else would be a line."""
    lines = [np.asarray(line.get_xydata(), dtype=np.float64) for line in axes.get_lines()]
    later = np.concatenate([line[:, 1] if len(line) == 2 else line[line[:, 0] > x[-1] / 10, 1] for line in lines])
    low, high = np.nanmin(later), np.nanmax(later)
    margin = 0.08 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)


def _references(learning: MeanCurves, metrics: Sequence[str]) -> dict[str, float]:
    """Name -> value of every baseline value of these metrics."""
    return {name: value for metric in metrics for name, value in learning.references[metric].items()}


def _beside(learning: MeanCurves) -> str:
    """A sentence on the dotted lines, with a space before it; empty where there are none."""
    found = {metric: named for metric, named in learning.references.items() if named}
    parts = [f"{metric} of {name} {value:.3g}" for metric, named in found.items() for name, value in named.items()]
    return f" Dotted, the value of a prediction by means alone: {listed(parts)}." if parts else ""


def _event(event: Event) -> str:
    return f"{event.metric} {event.comparison} {event.threshold:g}"


def _alt(learning: MeanCurves) -> str:
    metric = learning.event.metric
    parts = []
    for operation, who in learning.curves.items():
        ends = []
        for label, curves in who.items():
            mean = curves[metric].mean
            past = np.flatnonzero(learning.event.holds(mean))
            when = f"passes the threshold at {canvas.plain(learning.x[past[0]])} {learning.clock}" if len(past) else ""
            ends.append(f"{label} ({plural(curves[metric].runs, 'run')}) {when or f'ends at {mean[-1]:.3g}'}")
        if ends:
            of = f" for {operation}" if len(learning.curves) > 1 else ""
            parts.append(f"Mean {metric}{of}: {listed(ends)}.")
    return " ".join(parts)
