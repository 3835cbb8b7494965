"""What was predicted of trials before their end, against what became of them: of sweeps that pause trials."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.subject import Subject, numbered
from sweeper.results.decisions import Decisions, predicted
from sweeper.results.query import frame
from sweeper.stats.events import Clock
from sweeper.stats.survival import success_rate

_ASIDE = 0.01
"""How far the points of one trial are spread to both sides, as a share of its outcome."""
_PARTS = ((0.0, 0.15, "up to 15 %"), (0.15, 0.4, "15 to 40 %"), (0.4, 9.9, "beyond 40 %"))
"""Shares of the horizon that the first seed had trained by then, and their name."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of trials that have finished since.

    Attributes:
        clock: of all times.
        trial, share: [predictions], whose, and the share of the horizon that its slowest run had trained.
        time, low, high: [predictions], the prediction and its interval of 80 %.
        outcome: [predictions], the geometric mean of the trial's times.
    """

    clock: Clock
    trial: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]
    time: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.float64]

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """[predictions], whether the outcome lay in the interval."""
        slack = 1 + 1e-9
        return (self.low <= self.outcome * slack) & (self.outcome <= self.high * slack)


def read(subject: Subject) -> Predictions | None:
    """Every prediction of a trial that has all its seeds by now, made while its first seed trained."""
    decisions = Decisions(subject.folder).read() if subject.spec.stop == "thaw" else []
    outcomes = _outcomes(subject)
    found = [
        (each.trial, each.step / subject.spec.objective.horizon, predicted(each.expected, subject.limit))
        for each in decisions
        if each.kind == "seen" and each.expected is not None and each.seeds == 1 and each.trial in outcomes
    ]
    if not found:
        return None
    return Predictions(
        subject.clock,
        np.array([trial for trial, *_ in found]),
        np.array([share for _, share, _ in found]),
        np.array([each.time for *_, each in found]),
        np.array([each.low for *_, each in found]),
        np.array([each.high for *_, each in found]),
        np.array([outcomes[trial] for trial, *_ in found if trial is not None]),
    )


def _outcomes(subject: Subject) -> dict[int | None, float]:
    """Trial -> the geometric mean of its runs' times, of those that have finished."""
    whole = [row["trial"] for row in subject.trials if row["state"] == "finished"]
    at, limit = f"sustained_{subject.clock}", subject.limit
    rows = frame(
        subject.folder,
        f"""
        SELECT trial, exp(avg(ln(greatest(least(coalesce({at}, {limit}), {limit}), 1e-9)))) AS time
        FROM runs WHERE trial IN ({numbered(whole)}) GROUP BY trial
        """,
    )
    return {int(trial): float(time) for trial, time in zip(rows["trial"], rows["time"], strict=True)}


@canvas.styled
def draw(found: Predictions) -> Drawing:
    """Predictions with their intervals over outcomes, and the diagonal."""
    sheet = canvas.sheet(4.2)
    axes = sheet.subplots()
    entries = {}
    aside = found.outcome * (1 + _ASIDE * _centred(found.trial))
    for (least, most, name), look in zip(_PARTS, canvas.LOOKS, strict=False):
        mine = (found.share > least) & (found.share <= most)
        if not mine.any():
            continue
        x = aside[mine]
        axes.vlines(x, found.low[mine], found.high[mine], color=look.colour, linewidth=0.8, alpha=0.5)
        canvas.scatter(axes, x, found.time[mine], look, s=14)
        entries[f"{name} trained: {_covered(found.inside[mine])}"] = canvas.Look(look.colour, "", look.marker)
    ends = np.concatenate([found.low, found.high, found.outcome])
    low, high = ends.min() / 1.1, ends.max() * 1.1
    axes.plot([low, high], [low, high], color=canvas.BLACK, linewidth=0.9, linestyle=":")
    margin = found.outcome.min() / 1.2, found.outcome.max() * 1.2
    axes.set(xscale="log", yscale="log", xlim=margin, ylim=(low, high))
    axes.set(xlabel=f"outcome, {found.clock}", ylabel=f"predicted {found.clock}")
    canvas.numbers(axes.xaxis, log=True)
    canvas.numbers(axes.yaxis, log=True)
    canvas.legend(sheet, entries)
    trials = plural(len(np.unique(found.trial)), "trial")
    return Drawing(
        "prediction",
        "What was predicted, and what came",
        "Each point is what was predicted of a trial when its first seed passed a mark, with an interval that should "
        "hold the outcome in 80 % of cases; on the dotted line a prediction was right. The outcome is the geometric "
        "mean of the trial's times, all seeds. Only trials that have finished are shown, which are those that were "
        "promising. Points of one trial stand a little beside each other; they are not independent.",
        f"{plural(len(found.time), 'prediction')} of {trials}: the interval of 80 % holds {_covered(found.inside)}.",
        sheet,
    )


def _centred(trial: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """[predictions], from -1 to 1 over those of each trial, in their order."""
    found = np.zeros(len(trial))
    for each in np.unique(trial):
        mine = np.flatnonzero(trial == each)
        found[mine] = np.linspace(-1, 1, len(mine)) if len(mine) > 1 else 0.0
    return found


def _covered(inside: npt.NDArray[np.bool_]) -> str:
    """Of some intervals, how many held the outcome, with Wilson's interval."""
    share = success_rate(int(inside.sum()), len(inside))
    return f"{inside.sum()} of {len(inside)} ({100 * share.low:.0f} to {100 * share.high:.0f} %)"
