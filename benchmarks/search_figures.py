"""Tables and a picture of what `search.py` measured: `python -m benchmarks.search_figures`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend that needs no screen

FIGURES = Path(__file__).parent / "figures"
BUDGET = 100
"""Average configurations, trained to their end, whose steps a sweep may spend."""
RATIOS = ("random", "OptunaSearch + ASHA")
_RESAMPLES = 4000
_COLOURS = {
    "random": "#000000",
    "OptunaSearch": "#B8860B",
    "OptunaSearch + ASHA": "#E69F00",
    "OptunaSearch + ASHA, late": "#CC79A7",
    "sweeper, no cap": "#999999",
    "sweeper, cap": "#009E73",
    "sweeper, race": "#D55E00",
    "sweeper, thaw, a new trial as one seed": "#56B4E9",
    "sweeper, gp, cap": "#F0E442",
    "sweeper, thaw": "#0072B2",
}
"""Okabe and Ito's palette and a grey, which colour-blind people can tell apart; the tuners that are drawn."""
CURVES = ("modular-23", "synthetic")
"""Tables whose curves of regret are drawn."""
BEFORE = "sweeper, thaw, a new trial as one seed"
CELLS = (
    *("random", "OptunaSearch + ASHA", "sweeper, cap", "sweeper, gp, cap", "sweeper, race"),
    BEFORE,
    "sweeper, thaw",
)
"""Tuners that are compared on all tables."""
FEW = 10
"""Sweeps below which a median is not drawn."""
Row = dict[str, Any]
Numbers = npt.NDArray[np.float64]


def read(path: Path) -> list[Row]:
    """Raw figures: a sweep a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def summary(rows: Sequence[Row]) -> str:
    """Markdown: for every table and parallelism a line a tuner, medians with 95 % bootstrap intervals."""
    parts = []
    for table in dict.fromkeys(row["table"] for row in rows):
        for at_once in sorted({row["at_once"] for row in rows}):
            mine = [row for row in rows if row["table"] == table and row["at_once"] == at_once]
            if mine:
                parts.append("\n".join([f"\n### {table}, {at_once} at once\n", *_lines(mine)]))
    return "\n".join(parts)


def cells(rows: Sequence[Row]) -> str:
    """Markdown: a line for every table and parallelism, steps to 5 % of every tuner that is compared on all of them."""
    lines = [_line(("table", "at once", *CELLS)), _line("---" for _ in range(len(CELLS) + 2))]
    for table, at_once in _cells(rows):
        found = [_found(_of(rows, table, at_once, tuner)) for tuner in CELLS]
        most = max(map(len, found))
        sweeps = ["" if len(each) == most else f", {len(each)} sweeps" for each in found]
        texts = [_median(each) + few if len(each) else "" for each, few in zip(found, sweeps, strict=True)]
        lines.append(_line((f"{table}, {most} sweeps", str(at_once), *texts)))
    return "\n".join(lines)


def _cells(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Table and parallelism, in the order of the tables."""
    order = {table: i for i, table in enumerate(dict.fromkeys(row["table"] for row in rows))}
    return sorted({(row["table"], row["at_once"]) for row in rows}, key=lambda cell: (order[cell[0]], cell[1]))


def _of(rows: Sequence[Row], table: str, at_once: int, tuner: str) -> list[Row]:
    return [row for row in rows if (row["table"], row["at_once"], row["tuner"]) == (table, at_once, tuner)]


def _lines(rows: Sequence[Row]) -> list[str]:
    by_tuner = {
        tuner: [row for row in rows if row["tuner"] == tuner] for tuner in dict.fromkeys(r["tuner"] for r in rows)
    }
    found = {tuner: _found(mine) for tuner, mine in by_tuner.items()}
    others = [other for other in RATIOS if other in found]
    heads = (
        "tuner",
        "steps to 5 %",
        "never",
        *(f"x {other}" for other in others),
        "regret at 10",
        "at 30",
        "best killed",
    )
    lines = [_line((*heads, "trials", "ms a trial")), _line("---" for _ in range(len(heads) + 2))]
    for tuner, mine in by_tuner.items():
        killed = f"{sum(row['best_killed'] for row in mine)} of {sum(row['best_tried'] for row in mine)}"
        lines.append(
            _line(
                (
                    tuner,
                    _median(found[tuner]),
                    f"{sum(row['found'] is None for row in mine)} of {len(mine)}",
                    *(_ratio(found[tuner], found[other]) for other in others),
                    *(_percent(np.array([regret_at(row, spent) for row in mine])) for spent in (10, 30)),
                    killed,
                    f"{np.median([row['trials'] for row in mine]):.0f}",
                    f"{np.median([row['overhead'] for row in mine]):.0f}",
                )
            )
        )
    return lines


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def regret_at(row: Row, spent: float) -> float:
    """How much slower than the best the incumbent is after so many steps; infinite while there is none."""
    return min((regret for at, regret in row["curve"] if at <= spent), default=np.inf)


def _found(rows: Sequence[Row]) -> Numbers:
    """Steps until near the best; infinite where the budget ended first."""
    return np.array([np.inf if row["found"] is None else row["found"] for row in rows])


def _middle(values: Numbers, axis: int | None = None) -> Any:
    """The median; of an even number the lower one, so that infinity never enters a mean."""
    return np.quantile(values, 0.5, axis=axis, method="lower")


def _resampled(values: Numbers, seed: int) -> Numbers:
    rng = np.random.default_rng(seed)
    medians: Numbers = _middle(values[rng.integers(0, len(values), (_RESAMPLES, len(values)))], axis=1)
    return medians


def _number(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:.1f}"


def _interval(values: Numbers) -> tuple[float, float]:
    """95 %, of the median."""
    low, high = np.quantile(_resampled(values, 0), [0.025, 0.975], method="nearest")
    return float(low), float(high)


def _median(values: Numbers) -> str:
    low, high = _interval(values)
    return f"{_number(_middle(values))} ({_number(low)} to {_number(high)})"


def _percent(regrets: Numbers) -> str:
    middle = _middle(regrets)
    return "none yet" if np.isinf(middle) else f"{100 * middle:.0f} %"


def _ratio(mine: Numbers, theirs: Numbers) -> str:
    """Ratio of medians and its bootstrap interval; where theirs is never, the ratio to the budget, which is more."""
    if mine is theirs:
        return "1"
    if np.isinf(_middle(mine)):
        return "-"
    within = np.minimum(theirs, BUDGET)
    low, high = np.quantile(_resampled(mine, 1) / _resampled(within, 2), [0.025, 0.975], method="nearest")
    ratio = f"{_middle(mine) / _middle(within):.2f} ({low:.2f} to {'∞' if np.isinf(high) else f'{high:.2f}'})"
    return f"< {ratio}" if np.isinf(_middle(theirs)) else ratio


def draw(rows: Sequence[Row], path: Path) -> None:
    """Median regret against steps, with the middle half of the sweeps, for every table and parallelism."""
    names = list(dict.fromkeys(row["table"] for row in rows))
    parallel = sorted({row["at_once"] for row in rows})
    figure, axes = plt.subplots(
        len(names), len(parallel), figsize=(5.4 * len(parallel), 4 * len(names)), squeeze=False, sharey="row"
    )
    spent = np.linspace(0.5, 30, 240)
    for i, name in enumerate(names):
        for j, at_once in enumerate(parallel):
            panel = axes[i][j]
            if not any((row["table"], row["at_once"]) == (name, at_once) for row in rows):
                panel.axis("off")
                continue
            for tuner, colour in _COLOURS.items():
                mine = [r for r in rows if (r["table"], r["at_once"], r["tuner"]) == (name, at_once, tuner)]
                if not mine:
                    continue
                regrets = np.array([[regret_at(row, each) for each in spent] for row in mine])
                low, middle, high = 100 * np.quantile(regrets, [0.25, 0.5, 0.75], axis=0, method="lower")
                style = "--" if "ASHA" in tuner else ":" if tuner == "random" else "-"
                panel.plot(spent, middle, style, color=colour, label=tuner, linewidth=1.8)
                panel.fill_between(spent, low, high, color=colour, alpha=0.08, linewidth=0)
            panel.axhline(5, color="grey", linewidth=0.8)
            panel.set(xlim=(0, 30), ylim=(0, 100), title=f"{name}, {at_once} at once")
            panel.set_xlabel("training steps spent, in average configurations trained to their end")
            if j == 0:
                panel.set_ylabel("incumbent slower than the best by (%)")
    axes[0][-1].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_cells(rows: Sequence[Row], path: Path) -> None:
    """Medians and their intervals, a row for every table and parallelism; never is at the right edge."""
    compared = [row for row in rows if row["tuner"] in CELLS]
    shown = [cell for cell in _cells(rows) if any(len(_of(compared, *cell, tuner)) >= FEW for tuner in CELLS)]
    figure, axes = plt.subplots(figsize=(8.6, 0.42 * len(shown) + 1.6))
    for i, tuner in enumerate(CELLS):
        for row, (table, at_once) in enumerate(shown):
            found = _found(_of(rows, table, at_once, tuner))
            if len(found) < FEW:
                continue
            place = row + 0.13 * (i - len(CELLS) // 2)
            middle, (low, high) = min(float(_middle(found)), BUDGET), _interval(found)
            axes.plot([low, min(high, BUDGET)], [place, place], color=_COLOURS[tuner], linewidth=2)
            axes.plot(
                middle,
                place,
                ">" if np.isinf(_middle(found)) else "o",
                color=_COLOURS[tuner],
                markeredgecolor="black",
                markeredgewidth=0.5,
                label=tuner if row == 0 else None,
            )
    axes.set(xscale="log", xlim=(2, 1.08 * BUDGET), ylim=(len(shown) - 0.5, -0.5))
    axes.set_xticks([2, 4, 6, 10, 20, 40, 100], ["2", "4", "6", "10", "20", "40", "never"])
    axes.minorticks_off()
    axes.set_yticks(range(len(shown)), [f"{table}, {at_once} at once" for table, at_once in shown])
    axes.set_xlabel("training steps until within 5 % of the best, in average configurations (median, 95 %)")
    axes.grid(axis="x", linewidth=0.4)
    figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=3, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Print the tables and draw the picture of committed figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", type=Path, default=[FIGURES / "search.jsonl"])
    asked = parser.parse_args()
    rows = [row for path in asked.figures for row in read(path)]
    print(summary(rows))
    print(cells(rows))
    draw([row for row in rows if row["table"] in CURVES], FIGURES / "search.png")
    draw_cells(rows, FIGURES / "search-cells.png")


if __name__ == "__main__":
    main()
