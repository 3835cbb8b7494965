"""The price of speed: mean steps, examples and seconds of each trial, two at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing, Look
from sweeper.report.figures.subject import Subject, cut_short, listed, numbered
from sweeper.results.query import frame
from sweeper.stats.events import CLOCKS, Clock

PAIRS: tuple[tuple[Clock, Clock], ...] = (("steps", "examples"), ("steps", "seconds"), ("examples", "seconds"))
_STEEP = 8.0


@dataclass(frozen=True)
class Prices:
    """Mean times to the event of the trials whose runs all reached it.

    Attributes:
        until: the event.
        trials: their numbers, ascending.
        baselines: name of each that is a baseline, else empty.
        means: clock -> [trials], mean over runs; with several operations the geometric mean of theirs.
        fronts: a pair of clocks -> trials that no other beats on both, by the first clock.
        left_out: trials that did not fail, of which some run did not reach the event.
    """

    until: str
    trials: tuple[int, ...]
    baselines: tuple[str, ...]
    means: dict[Clock, npt.NDArray[np.float64]]
    fronts: dict[tuple[Clock, Clock], tuple[int, ...]]
    left_out: int


def read(subject: Subject) -> Prices | None:
    """Mean times of all trials that finished; None for fewer than two."""
    whole = {row["trial"]: row for row in subject.seen if not cut_short(row)}
    complete = [trial for trial, row in whole.items() if row["reached"] == row["runs"]]
    means = ", ".join(f"exp(avg(ln(greatest({clock}, 1e-9)))) AS {clock}" for clock in CLOCKS)
    each = ", ".join(f"avg(sustained_{clock}) AS {clock}" for clock in CLOCKS)
    rows = frame(
        subject.folder,
        f"""
        SELECT trial, {means} FROM (
            SELECT trial, operation, {each} FROM runs WHERE trial IN ({numbered(complete)}) GROUP BY ALL
        ) GROUP BY trial ORDER BY trial
        """,
    )
    if len(rows) < 2:
        return None
    trials = tuple(int(trial) for trial in rows["trial"])
    found = {clock: rows[clock].to_numpy(np.float64) for clock in CLOCKS}
    return Prices(
        subject.spec.objective.until,
        trials,
        tuple(whole[trial]["name"] if whole[trial]["phase"] == "baseline" else "" for trial in trials),
        found,
        {pair: tuple(trials[place] for place in front(found[pair[0]], found[pair[1]])) for pair in PAIRS},
        len(subject.seen) - len(trials),
    )


def front(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> list[int]:
    """Places of the points that no other point is below and left of, by x."""
    found: list[int] = []
    for place in np.lexsort((y, x)):
        if not found or y[place] < y[found[-1]]:
            found.append(int(place))
    return found


@canvas.styled
def draw(prices: Prices) -> Drawing:
    """Three panels, with the front of each."""
    sheet = canvas.sheet(3.0)
    entries = {"trial": _TRIAL, "Pareto front": _FRONT}
    canvas.legend(sheet, entries | ({"baseline": _BASELINE} if any(prices.baselines) else {}))
    place = {trial: i for i, trial in enumerate(prices.trials)}
    named = np.array([bool(name) for name in prices.baselines])
    for axes, (first, second) in zip(sheet.subplots(1, len(PAIRS)), PAIRS, strict=True):
        x, y = prices.means[first], prices.means[second]
        canvas.scatter(axes, x[~named], y[~named], _TRIAL, s=14.0, alpha=1.0 if len(x) < 300 else 0.35)
        best = [place[trial] for trial in prices.fronts[first, second]]
        axes.step(x[best], y[best], where="post", color=_FRONT.colour, linestyle=_FRONT.dash, linewidth=1.2)
        canvas.scatter(axes, x[best], y[best], _FRONT, s=24.0)
        if named.any():
            canvas.scatter(axes, x[named], y[named], _BASELINE, s=26.0)
        for axis, values, set_scale, set_limits in (
            (axes.xaxis, x, axes.set_xscale, axes.set_xlim),
            (axes.yaxis, y, axes.set_yscale, axes.set_ylim),
        ):
            log = values.min() > 0 and values.max() / values.min() > _STEEP
            set_scale("log" if log else "linear")
            if log:
                set_limits(0.8 * values.min(), 1.25 * values.max())
            else:
                set_limits(0, 1.08 * values.max())
            canvas.numbers(axis, log=log, most=3 if log else 4)
        axes.set(xlabel=first, ylabel=second)
    left = f" {plural(prices.left_out, 'trial')} with runs that did not reach it left out." if prices.left_out else ""
    return Drawing(
        "pareto",
        "Steps against examples against seconds",
        f"Mean time to {prices.until} on two clocks at a time, of every trial whose runs all reached it; below and "
        "left is better on both. The line joins the trials that no other one beats on both clocks. Seconds "
        f"depend on the machine and on what else trained at the time.{left}",
        _alt(prices, place),
        sheet,
    )


_TRIAL = Look(canvas.GREY, "", "o")
_FRONT = Look(canvas.VERMILION, "-", "s")
_BASELINE = Look(canvas.BLACK, "", "D")


def _alt(prices: Prices, place: dict[int, int]) -> str:
    parts = [f"{plural(len(prices.trials), 'trial')}."]
    for pair in PAIRS:
        found = [_pair(prices, pair, trial, place[trial]) for trial in _ends(prices.fronts[pair])]
        parts.append(f"Pareto front of {pair[0]} and {pair[1]}: {listed(found)}.")
    return " ".join(parts)


def _ends(trials: Sequence[int]) -> list[int]:
    """The two ends of a front, or the only one."""
    return list(dict.fromkeys([trials[0], trials[-1]]))


def _pair(prices: Prices, pair: tuple[Clock, Clock], trial: int, place: int) -> str:
    values = " and ".join(f"{canvas.plain(prices.means[clock][place])} {clock}" for clock in pair)
    return f"{prices.baselines[place] or f'trial {trial}'} ({values})"
