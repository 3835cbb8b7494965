"""Kaplan and Meier's curves of the time to the event: of the search by group, and of the finalists on fresh seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing, Look
from sweeper.report.figures.groups import BASELINE, Grouping, TrialGroup
from sweeper.report.figures.subject import Subject, cut_short, label, listed, numbered
from sweeper.results.query import frame
from sweeper.stats.events import COLUMN, Clock
from sweeper.stats.survival import Survival, kaplan_meier, restricted_mean

_FINALISTS = 7
_APART = 800
"""Times that can be distinguished along an axis."""


@dataclass(frozen=True)
class SurvivalCurve:
    """The runs of one group that learn one operation.

    Attributes:
        label: of the group.
        baseline: whether it is one.
        survival: Kaplan and Meier's curve.
        runs, reached: how many there are, and how many reached the event.
        mean: restricted mean time to the event.
        at_risk: at the figure's ticks, how many runs had not reached the event and were still seen.
    """

    label: str
    baseline: bool
    survival: Survival
    runs: int
    reached: int
    mean: float
    at_risk: tuple[int, ...]


@dataclass(frozen=True)
class Waiting:
    """Time to the event of every group.

    Attributes:
        fresh: whether these are confirmations on fresh seeds; otherwise the search and the baselines.
        by: the parameter that defines the groups; empty for finalists.
        clock, until, limit: the clock, the event, and the time at which means are restricted.
        ticks: times at which the runs at risk are counted; the last is where the axis ends.
        note: what was left out.
        panels: operation -> curves.
    """

    fresh: bool
    by: str
    clock: Clock
    until: str
    limit: float
    ticks: tuple[float, ...]
    note: str
    panels: dict[str, tuple[SurvivalCurve, ...]]


def read(subject: Subject, grouping: Grouping) -> Waiting | None:
    """The runs of the search and the baselines."""
    return _waiting(subject, grouping.groups, False, grouping.by, grouping.note)


def read_confirmed(subject: Subject) -> Waiting | None:
    """The runs of the confirmations that were not cut short, the finalists in the order of the search."""
    repeats = {row["name"]: row for row in subject.confirmations if row["state"] == "finished"}
    rows = [row for row in subject.seen if str(row["trial"]) in repeats]
    rows.sort(key=lambda row: row["phase"] == "baseline")
    groups = [
        TrialGroup(label(row), (repeats[str(row["trial"])]["trial"],), baseline=row["phase"] == "baseline")
        for row in rows
    ]
    short = sum(cut_short(row) for row in subject.confirmations)
    note = f"Confirmations that were ended early: {short}; they are left out." if short else ""
    return _waiting(subject, groups[:_FINALISTS], True, "", note)


def _waiting(subject: Subject, groups: Sequence[TrialGroup], fresh: bool, by: str, note: str) -> Waiting | None:
    runs = times(subject, [trial for group in groups for trial in group.trials])
    if runs.empty:
        return None
    last = min(float(runs["time"].max()), subject.limit)
    ticks = _ticks(last)
    panels: dict[str, tuple[SurvivalCurve, ...]] = {}
    for operation in subject.spec.task.operations:
        mine = runs[runs["operation"] == operation]
        found = ((group, mine[mine["trial"].isin(group.trials)]) for group in groups)
        panels[operation] = tuple(_curve(group, rows, subject.limit, ticks) for group, rows in found if len(rows))
    objective = subject.spec.objective
    return Waiting(fresh, by, subject.clock, objective.until, subject.limit, ticks, note, panels)


def times(subject: Subject, trials: Sequence[int]) -> pd.DataFrame:
    """Runs of some trials: trial, operation, replicate, time on the objective's clock, reached.

    A run that did not reach the event has the time until which it was seen; one that diverged was given up for good,
    and counts as if it had been seen up to the limit.
    """
    clock, wanted = subject.clock, numbered(trials)
    last, join = "outcome_step", ""
    if clock != "steps":
        last = "last"
        join = f"""LEFT JOIN (
            SELECT trial, operation, replicate, max({COLUMN[clock]}) AS last FROM curves
            WHERE trial IN (SELECT trial FROM runs WHERE outcome = 'censored' AND trial IN ({wanted})) GROUP BY ALL
        ) USING (trial, operation, replicate)"""
    found = frame(
        subject.folder,
        f"""
        SELECT trial, operation, replicate, sustained_{clock} AS time, outcome, {last} AS last
        FROM runs {join} WHERE trial IN ({wanted}) ORDER BY trial, operation, replicate
        """,
    )
    reached = found["time"].notna()
    seen = np.where(found["outcome"] == "censored", found["last"].fillna(0.0), subject.limit)
    return pd.DataFrame(
        {
            "trial": found["trial"],
            "operation": found["operation"],
            "replicate": found["replicate"],
            "time": np.where(reached, found["time"].fillna(0.0), seen).astype(np.float64),
            "reached": reached.to_numpy(dtype=np.bool_),
        }
    )


def _curve(group: TrialGroup, rows: pd.DataFrame, limit: float, ticks: Sequence[float]) -> SurvivalCurve:
    waited, reached = rows["time"].to_numpy(), rows["reached"].to_numpy()
    curve = kaplan_meier(waited, reached)
    at_risk = tuple(int((waited >= tick).sum()) for tick in ticks)
    mean, _ = restricted_mean(curve, limit)
    return SurvivalCurve(group.label, group.baseline, curve, len(rows), int(reached.sum()), mean, at_risk)


def _ticks(last: float) -> tuple[float, ...]:
    """From 0 to just past the last time, at round numbers."""
    rough = max(last, 1e-6) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * (1 - 1e-9))
    return tuple(float(f"{i * step:.9g}") for i in range(math.ceil(last / step - 1e-9) + 1))


@canvas.styled
def draw(waiting: Waiting) -> Drawing:
    """For every operation the curves, and under them the number of runs at risk."""
    labels = {curve.label: curve.baseline for curves in waiting.panels.values() for curve in curves}
    looks = dict(zip(labels, canvas.looks(list(labels.values())), strict=True))
    shown = {operation: curves for operation, curves in waiting.panels.items() if curves}
    tall = 0.2 if all("\n" not in canvas.beside(label) for label in labels) else 0.44
    rows = [height for curves in shown.values() for height in (2.7, 0.25 + tall * len(curves))]
    sheet = canvas.sheet(sum(rows) + 0.2)
    canvas.legend(sheet, {name: Look(look.colour, look.dash, "") for name, look in looks.items()})
    grid = sheet.add_gridspec(len(rows), 1, height_ratios=rows)
    for place, (operation, curves) in enumerate(shown.items()):
        axes = sheet.add_subplot(grid[2 * place])
        for curve in sorted(curves, key=lambda curve: not curve.baseline):
            _draw_curve(axes, curve, looks[curve.label])
        axes.set(ylim=(-0.02, 1.02), xlim=(0, 1.005 * waiting.ticks[-1]), xticks=waiting.ticks, ylabel="not there yet")
        if len(shown) > 1:
            axes.set_title(operation, loc="left")
        axes.set_xlabel(waiting.clock)
        axes.set_xticklabels([canvas.plain(tick) for tick in waiting.ticks])
        _draw_at_risk(sheet.add_subplot(grid[2 * place + 1], sharex=axes), curves, looks, waiting.ticks)
    who = "the baselines" if waiting.by == BASELINE else f"the search by {waiting.by}"
    if waiting.fresh:
        who = "the finalists and the baselines on fresh seeds"
    caption = (
        f"Kaplan-Meier curves of {who}: the share of runs that have not reached {waiting.until}, against "
        f"{waiting.clock}. Lower is faster. Bands, from a group's first event on, are pointwise 95 % intervals "
        "that take runs as independent; upright strokes mark runs "
        "that were last seen then without the event (censored). Below: runs still waiting at that time. "
    )
    if not waiting.fresh and waiting.by != BASELINE:
        caption += "The sampler tries more of what works, so groups are not random samples. "
    name, title = ("survival-confirmed", "Finalists on fresh seeds") if waiting.fresh else ("survival", "Time to event")
    return Drawing(name, title, (caption + waiting.note).strip(), _alt(waiting), sheet)


def _draw_curve(axes: canvas.Axes, curve: SurvivalCurve, look: Look) -> None:
    known, kept = curve.survival, _apart(curve.survival.times)
    times, share, low, high = (each[kept] for each in (known.times, known.survival, known.low, known.high))
    axes.step(times, share, where="post", color=look.colour, linestyle=look.dash, label=curve.label)
    begun = share < 1  # before the first event the interval only says how many runs there are
    axes.fill_between(times[begun], low[begun], high[begun], step="post", color=look.colour, alpha=0.12, linewidth=0)
    if len(known.censored):
        at = known.censored[_apart(known.censored)]
        height = known.survival[np.searchsorted(known.times, at, side="right") - 1]
        axes.plot(
            at, height, color=look.colour, marker="|", markersize=11, markeredgewidth=1.8, linestyle="", clip_on=False
        )


def _apart(times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Places of ascending times that can be distinguished on paper: the last of those that cannot, and the first."""
    bins = np.floor(times / max(times[-1], 1e-9) * _APART)
    return np.flatnonzero(np.append(np.diff(bins) > 0, True) | (np.arange(len(times)) == 0))


def _draw_at_risk(
    axes: canvas.Axes, curves: Sequence[SurvivalCurve], looks: dict[str, Look], ticks: Sequence[float]
) -> None:
    for place, curve in enumerate(curves):
        for tick, count in zip(ticks, curve.at_risk, strict=True):
            axes.text(tick, place, f"{count:,}", ha="center", va="center", fontsize=9, color=looks[curve.label].colour)
    axes.set(
        ylim=(len(curves) - 0.5, -0.5),
        yticks=range(len(curves)),
        yticklabels=[canvas.beside(curve.label) for curve in curves],
    )
    for text, curve in zip(axes.get_yticklabels(), curves, strict=True):
        text.set_color(looks[curve.label].colour)
    axes.set_title("runs still waiting", loc="left", fontsize=9)
    axes.tick_params(left=False, bottom=False, labelbottom=False, pad=16)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _alt(waiting: Waiting) -> str:
    parts = []
    for operation, curves in waiting.panels.items():
        found = [
            f"{curve.label} {_bound(curve, waiting.limit)}{canvas.plain(curve.mean)} "
            f"({curve.reached} of {curve.runs} runs reached it)"
            for curve in sorted(curves, key=lambda curve: curve.mean)
        ]
        if found:
            of = f" of {operation}" if len(waiting.panels) > 1 else ""
            parts.append(f"Restricted mean {waiting.clock}{of} to {waiting.until}: {listed(found)}.")
    return " ".join(parts)


def _bound(curve: SurvivalCurve, limit: float) -> str:
    """How the mean relates to the true one: where the last run was lost from sight before the limit, it is too long."""
    last = curve.survival
    return "at most " if last.survival[-1] > 0 and last.times[-1] < limit else ""
