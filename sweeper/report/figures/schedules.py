"""Batch size at every step, of the best trial of each shape and of the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.subject import Row, Subject, label, listed, numbered
from sweeper.results.query import frame
from sweeper.space.batch_schedules import BatchSchedule, batch_sizes

_MOST = 7
_STEEP = 8.0
_READ = 2000
"""Points of a schedule that was measured, about."""


@dataclass(frozen=True)
class TrialSchedule:
    """One trial's batches.

    Attributes:
        label: shape and trial, or the baseline's name.
        baseline: whether it is drawn as one.
        steps: [k] updates from which a batch size holds, ascending, the first 0.
        sizes: [k] these batch sizes, in examples.
        events: updates at which its runs reached the event, ascending.
    """

    label: str
    baseline: bool
    steps: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    events: tuple[int, ...]


@dataclass(frozen=True)
class Courses:
    """Batch sizes of several trials until the horizon."""

    horizon: int
    until: str
    courses: tuple[TrialSchedule, ...]


def read(subject: Subject) -> Courses | None:
    """The best trial of each shape and the baselines; None where every batch has the same size."""
    best: dict[str, Row] = {}
    for row in subject.searched:
        best.setdefault(row["batch_shape"], row)
    chosen = [*((row, False) for row in list(best.values())[:_MOST]), *subject.baselines]
    events = _events(subject, [row["trial"] for row, _ in chosen])
    courses = tuple(_course(subject, row, drawn, events.get(row["trial"], ())) for row, drawn in chosen)
    if len({int(size) for course in courses for size in course.sizes}) < 2:
        return None
    return Courses(subject.spec.objective.horizon, subject.spec.objective.until, courses)


def _events(subject: Subject, trials: Sequence[int]) -> dict[int, tuple[int, ...]]:
    rows = frame(
        subject.folder,
        f"""
        SELECT trial, list(sustained_steps ORDER BY sustained_steps) AS events FROM runs
        WHERE trial IN ({numbered(trials)}) AND sustained_steps IS NOT NULL GROUP BY trial
        """,
    )
    return {int(trial): tuple(map(int, found)) for trial, found in zip(rows["trial"], rows["events"], strict=True)}


def _course(subject: Subject, row: Row, baseline: bool, events: tuple[int, ...]) -> TrialSchedule:
    horizon, every = subject.spec.objective.horizon, subject.spec.objective.evaluate_every
    name = label(row) if row["phase"] == "baseline" else f"{row['batch_shape']} (trial {row['trial']})"
    if row["batch_shape"] == "noise_scale":
        apart = every * -(-horizon // (every * _READ))
        seen = frame(
            subject.folder,
            f"""
            SELECT step, avg(batch_size)::BIGINT AS size FROM curves
            WHERE trial = {row["trial"]} AND step % {apart} = 0 GROUP BY step ORDER BY step
            """,
        )
        steps, sizes = seen["step"].to_numpy(np.int64), seen["size"].to_numpy(np.int64)
    else:
        given = {key.removeprefix("batch_"): each for key, each in row.items() if key.startswith("batch_")}
        known = {key: each for key, each in given.items() if each is not None and key in BatchSchedule.model_fields}
        sizes = batch_sizes(BatchSchedule(**known), horizon)
        steps = np.arange(horizon)
    changes = np.flatnonzero(np.diff(sizes, prepend=0))
    return TrialSchedule(name, baseline, steps[changes], sizes[changes], events)


@canvas.styled
def draw(found: Courses) -> Drawing:
    """One line a trial, with a mark where each of its runs reached the event."""
    looks = canvas.looks([course.baseline for course in found.courses])
    sheet = canvas.sheet(3.4)
    canvas.legend(sheet, {course.label: look for course, look in zip(found.courses, looks, strict=True)})
    axes = sheet.subplots()
    for course, look in zip(found.courses, looks, strict=True):
        if not len(course.steps):
            continue
        x, y = np.append(course.steps, found.horizon), np.append(course.sizes, course.sizes[-1])
        axes.step(x, y, where="post", color=look.colour, linestyle=look.dash)
        if course.events:
            at = course.sizes[np.maximum(np.searchsorted(course.steps, course.events, side="right") - 1, 0)]
            axes.plot(
                course.events,
                at,
                linestyle="",
                marker=look.marker,
                color=look.colour,
                markersize=7,
                markeredgecolor="white",
                markeredgewidth=0.7,
                zorder=3,
            )
    sizes = np.concatenate([course.sizes for course in found.courses])
    axes.set(xlim=(0, found.horizon), xlabel="steps", ylabel="batch size")
    if sizes.max() / sizes.min() > _STEEP:
        axes.set_yscale("log")
        axes.set_ylim(0.85 * sizes.min(), 1.2 * sizes.max())
        canvas.numbers(axes.yaxis, log=True, most=8)
    else:
        axes.set_ylim(0, 1.08 * sizes.max())
        canvas.numbers(axes.yaxis)
    canvas.numbers(axes.xaxis)
    return Drawing(
        "schedules",
        "Batch sizes over training",
        f"Batch size in examples against steps, of the fastest trial of each shape and of the baselines; lines go on "
        f"to the horizon, training ends at the event. Marks show where each run reached {found.until}. A "
        "schedule on the gradient noise scale is shown as measured, mean over its runs.",
        listed([_described(course) for course in found.courses]) + ".",
        sheet,
    )


def _described(course: TrialSchedule) -> str:
    if not len(course.sizes):
        return f"{course.label}: no batches"
    low, high = int(course.sizes.min()), int(course.sizes.max())
    batches = f"batch {low:,}" if low == high else f"batch {int(course.sizes[0]):,}, between {low:,} and {high:,}"
    if not course.events:
        return f"{course.label} ({batches}): no run reached the event"
    first, last = course.events[0], course.events[-1]
    return f"{course.label} ({batches}): reached at {first:,}" + (f" to {last:,} steps" if last > first else " steps")
