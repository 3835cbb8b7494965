"""Draws the pictures of docs/concepts.md: `python -m docs.pictures.draw`. Their numbers are invented and fixed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import BEST, LOOKS, Drawing, Sheet
from sweeper.stats.survival import kaplan_meier

HERE = Path(__file__).parent
HORIZON = 7500
_ARROW = {"arrowstyle": "->"}


@canvas.styled
def times() -> Drawing:
    """Five runs, of which one is censored."""
    sheet = canvas.sheet(3.0)
    axes = sheet.subplots()
    step = np.arange(0, HORIZON + 1, 10)
    chance = np.random.default_rng(4)
    for look, jump in zip(LOOKS, (1900, 2500, 3300, 5200, 9500), strict=False):
        height = 0.01 + 0.99 / (1 + np.exp(-(step - jump) / 170)) + chance.normal(0, 0.006, len(step))
        crossed = np.flatnonzero(height > 0.99)
        last = crossed[0] if len(crossed) else len(step) - 1
        axes.plot(step[: last + 1], height[: last + 1], color=look.colour, linestyle=look.dash, linewidth=1.2)
        if len(crossed):
            axes.plot([step[last]], [height[last]], marker="o", color=look.colour)
            axes.vlines(step[last], 0, height[last], color=look.colour, linewidth=0.6)
        else:
            axes.plot([step[last]], [height[last]], marker="|", markersize=14, markeredgewidth=2, color=look.colour)
            axes.annotate("censored:\nmore than 7,500", (step[last], 0.03), (6050, 0.22), arrowprops=_ARROW)
    axes.axhline(0.99, color=canvas.GREY, linewidth=0.8)
    axes.annotate("the event: above 0.99", (100, 0.92))
    axes.axvline(HORIZON, color=canvas.BLACK, linewidth=0.8)
    axes.annotate("horizon", (HORIZON - 60, 0.6), rotation=90, ha="right")
    axes.set(xlabel="steps", ylabel="validation accuracy", xlim=(0, HORIZON + 50), ylim=(0, 1.05))
    canvas.numbers(axes.xaxis)
    return _drawing("times", sheet)


@canvas.styled
def survival() -> Drawing:
    """Two trials of eight runs; the shaded area is the restricted mean of one."""
    sheet = canvas.sheet(3.0)
    axes = sheet.subplots()
    fast = np.array([1900, 2100, 2300, 2400, 2700, 3000, 3300, 4200.0])
    slow = np.array([2900, 3500, 4300, 5000, 6100, 7500, 7500, 7500.0])
    for look, times, name in ((BEST, fast, "fast"), (LOOKS[1], slow, "slow")):
        curve = kaplan_meier(times, times < HORIZON)
        x, y = np.append(curve.times, HORIZON), np.append(curve.survival, curve.survival[-1])
        axes.step(
            x,
            y,
            where="post",
            color=look.colour,
            linestyle=look.dash,
            label=f"{name}: restricted mean {times.mean():,.0f}",
        )
        if name == "fast":
            axes.fill_between(x, y, step="post", color=look.colour, alpha=0.15, linewidth=0)
    axes.plot([HORIZON], [3 / 8], marker="|", markersize=14, markeredgewidth=2, color=LOOKS[1].colour)
    axes.annotate("3 runs censored here", (HORIZON, 3 / 8), (5250, 0.62), arrowprops=_ARROW)
    axes.annotate("this area is the mean time", (350, 0.45))
    axes.set(xlabel="steps", ylabel="share of runs still waiting", xlim=(0, HORIZON + 50), ylim=(0, 1.05))
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.02))
    canvas.numbers(axes.xaxis)
    return _drawing("survival", sheet)


@canvas.styled
def capping() -> Drawing:
    """Six trials one after the other: four arrive, two are stopped at the third best time so far."""
    sheet = canvas.sheet(3.2)
    axes = sheet.subplots()
    arrived: list[int] = []
    for place, mean in enumerate((2450, 3400, 2900, 5900, 2100, 4700), start=1):
        cap = sorted(arrived)[2] if len(arrived) > 2 else HORIZON
        spent = min(mean, cap)
        look = BEST if mean <= cap else LOOKS[1]
        axes.barh(place, spent, color=look.colour, height=0.55)
        if mean <= cap:
            arrived.append(mean)
            axes.annotate(f"arrives: {mean:,}", (spent + 90, place), va="center")
        else:
            axes.barh(place, mean - spent, left=spent, color=look.colour, height=0.55, alpha=0.25)
            axes.plot([spent], [place], marker="X", markersize=10, color=canvas.BLACK)
            axes.annotate(f"capped at {spent:,}, the third best so far", (mean + 90, place), va="center")
    axes.set(xlabel="mean steps of a trial's runs", xlim=(0, 10100), yticks=range(1, 7))
    axes.set_yticklabels([f"trial {place}" for place in range(1, 7)])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    canvas.numbers(axes.xaxis)
    return _drawing("capping", sheet)


def _drawing(name: str, sheet: Sheet) -> Drawing:
    return Drawing(name, "", "", "", sheet)


Picture = Callable[[], Drawing]
PICTURES: tuple[Picture, ...] = (times, survival, capping)


if __name__ == "__main__":
    for picture in PICTURES:
        figure = canvas.rendered(picture())
        (HERE / f"{figure.name}.svg").write_text(figure.svg + "\n")
