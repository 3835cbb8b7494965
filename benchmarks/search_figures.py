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
    "OptunaSearch": "#56B4E9",
    "OptunaSearch + ASHA": "#E69F00",
    "OptunaSearch + ASHA, late": "#CC79A7",
    "sweeper, no cap": "#0072B2",
    "sweeper, cap": "#009E73",
    "sweeper, race": "#D55E00",
}
"""Okabe and Ito's palette, which colour-blind people can tell apart; the tuners that are drawn."""
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


def _median(values: Numbers) -> str:
    low, high = np.quantile(_resampled(values, 0), [0.025, 0.975], method="nearest")
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


def main() -> None:
    """Print the tables and draw the picture of committed figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", type=Path, default=[FIGURES / "search.jsonl"])
    asked = parser.parse_args()
    rows = [row for path in asked.figures for row in read(path)]
    print(summary(rows))
    draw(rows, FIGURES / "search.png")


if __name__ == "__main__":
    main()
