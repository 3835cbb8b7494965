"""Which trial trained when, how far it came, where it paused and where it went on: of sweeps that pause trials."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.subject import Subject
from sweeper.results.decisions import Decision, Decisions

_MANY = 60
"""Trials above which lanes have no number beside them."""
_UNITS = ((3 * 86400.0, 86400.0, "days"), (3 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"))
_ENDS = {"finished": canvas.Look(canvas.BLUE, "", "o"), "dropped": canvas.Look(canvas.VERMILION, "", "X")} | {
    "paused": canvas.Look(canvas.ORANGE, "", "d")
}
"""How a trial stands at the end -> its sign."""


@dataclass(frozen=True)
class TrainingSlice:
    """Training without a pause.

    Attributes:
        time: [points], seconds since the first trial began.
        share: [points], of the horizon that the slowest run has come to.
        first: whether the first seed trains alone.
    """

    time: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    first: bool


@dataclass(frozen=True)
class Allocation:
    """What a sweep has spent its time on.

    Attributes:
        trials: trial -> its slices, in the order in which they began.
        ends: trial -> `finished`, `dropped` before its end, `paused`, or `trains`; and since when, in seconds.
        whole: seconds from the first record to the last.
    """

    trials: dict[int, tuple[TrainingSlice, ...]]
    ends: dict[int, tuple[str, float]]
    whole: float

    @property
    def pauses(self) -> int:
        """How often a trial waited in the middle of its training or between its seeds, and went on."""
        return sum(len(slices) - 1 for slices in self.trials.values())


def read(subject: Subject) -> Allocation | None:
    """The slices of all trials."""
    decisions = Decisions(subject.folder).read() if subject.spec.stop == "thaw" else []
    if not any(each.kind == "trains" for each in decisions):
        return None
    began = decisions[0].at
    replicates, horizon = subject.spec.objective.replicates, subject.spec.objective.horizon
    slices: dict[int, list[TrainingSlice]] = {}
    open_: dict[int, list[Decision]] = {}
    ends: dict[int, tuple[str, float]] = {}
    states = {row["trial"]: row["state"] for row in subject.trials}
    for each in decisions:
        if each.trial is None:
            continue
        if each.kind == "trains":
            if each.trial in open_:  # a launch was killed, and the next one went on
                slices.setdefault(each.trial, []).append(_slice(open_[each.trial], began, horizon, replicates))
            open_[each.trial], ends[each.trial] = [each], ("trains", each.at - began)
        elif each.trial in open_ and each.kind in ("seen", "paused", "over"):
            open_[each.trial].append(each)
        if each.kind in ("paused", "over"):
            known = open_.pop(each.trial, [])
            if known:
                slices.setdefault(each.trial, []).append(_slice(known, began, horizon, replicates))
            state = states.get(each.trial)
            over = "finished" if state == "finished" else "trains" if state in (None, "stopped") else "dropped"
            ends[each.trial] = "paused" if each.kind == "paused" else over, each.at - began
    for trial, known in open_.items():  # still in training, or the launch was killed
        slices.setdefault(trial, []).append(_slice(known, began, horizon, replicates))
    ordered = dict(sorted(slices.items(), key=lambda each: each[1][0].time[0]))
    return Allocation({trial: tuple(each) for trial, each in ordered.items()}, ends, decisions[-1].at - began)


def _slice(known: list[Decision], began: float, horizon: int, replicates: int) -> TrainingSlice:
    """From the records of one: where it began, the marks it passed, and its end, which counts no steps."""
    points = [each for each in known if each.kind != "over"]
    time = np.array([each.at - began for each in (*points, known[-1])])
    share = np.array([each.step / horizon for each in (*points, points[-1])])
    return TrainingSlice(time, np.maximum.accumulate(share), points[0].seeds < replicates)


@canvas.styled
def draw(found: Allocation) -> Drawing:
    """A lane a trial, in which its progress rises while it trains and rests while it waits."""
    whole = found.whole or 1.0
    unit, name = next(((size, name) for least, size, name in _UNITS if whole >= least), (1.0, "seconds"))
    count = len(found.trials)
    sheet = canvas.sheet(min(max(0.24 * count, 1.2), 7.0) + 0.6)
    axes = sheet.subplots()
    for lane, (trial, slices) in enumerate(found.trials.items()):
        floor = count - 1 - lane
        for before, after in pairwise(slices):
            axes.plot(
                [before.time[-1] / unit, after.time[0] / unit], [floor + 0.05] * 2, color=canvas.GREY, linewidth=0.7
            )
        for each in slices:
            colour = canvas.SKY if each.first else canvas.BLUE
            axes.fill_between(
                each.time / unit, floor, floor + 0.08 + 0.8 * each.share, color=colour, linewidth=0, zorder=2
            )
        kind, since = found.ends[trial]
        if kind in _ENDS:
            until = found.whole if kind == "paused" else since
            axes.plot([slices[-1].time[-1] / unit, until / unit], [floor + 0.05] * 2, color=canvas.GREY, linewidth=0.7)
            canvas.scatter(axes, [since / unit], [floor + 0.4], _ENDS[kind], s=16)
    axes.set(
        xlim=(0, whole / unit * 1.01), ylim=(-0.1, count), xlabel=f"{name} since the first trial began", ylabel="trial"
    )
    if count <= _MANY:
        axes.set_yticks([count - 1 - lane + 0.4 for lane in range(count)], [str(trial) for trial in found.trials])
        axes.tick_params(axis="y", length=0, labelsize=7)
    else:
        axes.set_yticks([])
    axes.grid(visible=False)
    canvas.numbers(axes.xaxis)
    here = {kind: [each for each, _ in found.ends.values()].count(kind) for kind in (*_ENDS, "trains")}
    handles = [canvas.box(canvas.SKY, None, "first seed"), canvas.box(canvas.BLUE, None, "the other seeds")]
    ends = [canvas.sign(sign, f"{kind} ({here[kind]})") for kind, sign in _ENDS.items() if here[kind]]
    canvas.signs(sheet, [*handles, *ends])
    how = ", ".join(f"{count} {kind}" for kind, count in here.items() if count and kind != "trains")
    return Drawing(
        "allocation",
        "Which trial trained when, and how far",
        "A lane a trial, in the order in which they began. The height of a block is the share of the horizon that the "
        "slowest run of the trial has come to; a line at its foot is a trial that waits with its checkpoint. A trial "
        "that is dropped could not become the best any more.",
        f"{plural(count, 'trial')} in {canvas.plain(whole / unit)} {name}: {how or 'none over'}; "
        f"{plural(found.pauses, 'time')} a trial waited and went on.",
        sheet,
    )
