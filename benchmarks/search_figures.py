"""Tables and pictures of what `search.py` measured: `python -m benchmarks.search_figures`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FIGURES = Path(__file__).parent / "figures"
_RESAMPLES = 2000


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """One line a tuner, table and parallelism: medians with 95 % bootstrap intervals."""
    lines = []
    for table in dict.fromkeys(row["table"] for row in rows):
        for at_once in sorted({row["at_once"] for row in rows}):
            mine = [row for row in rows if row["table"] == table and row["at_once"] == at_once]
            if mine:
                lines += [f"\n{table}, {at_once} at once", *_lines(mine)]
    return "\n".join(lines)


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    found = {t: _found([row for row in rows if row["tuner"] == t]) for t in dict.fromkeys(row["tuner"] for row in rows)}
    lines = []
    for tuner, steps in found.items():
        mine = [row for row in rows if row["tuner"] == tuner]
        ratios = [
            f"{_ratio(steps, found[other])}" if other in found else "-" for other in ("random", "OptunaSearch + ASHA")
        ]
        median = f"{np.median(steps):6.2f} [{_interval(steps)}]"
        killed = f"{sum(row['best_killed'] for row in mine)}/{sum(row['best_tried'] for row in mine)}"
        missed = sum(row["found"] is None for row in mine)
        trials, overhead = np.median([row["trials"] for row in mine]), np.median([row["overhead"] for row in mine])
        lines.append(
            f"{tuner:28s} {median:24s} missed {missed:3d}  x random {ratios[0]:22s} x ASHA {ratios[1]:22s} "
            f"killed {killed:7s} trials {trials:5.0f}  {overhead:5.1f} ms"
        )
    return lines


def _found(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Steps until near the best; infinite where the budget ended first."""
    return np.array([np.inf if row["found"] is None else row["found"] for row in rows])


def _resampled(values: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.quantile(values[rng.integers(0, len(values), (_RESAMPLES, len(values)))], 0.5, axis=1, method="lower")


def _interval(values: np.ndarray) -> str:
    low, high = np.quantile(_resampled(values, 0), [0.025, 0.975], method="nearest")
    return f"{low:.2f}, {high:.2f}"


def _ratio(mine: np.ndarray, theirs: np.ndarray) -> str:
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(_resampled(mine, 1) / _resampled(theirs, 2), [0.025, 0.975], method="nearest")
    return f"{np.median(mine) / np.median(theirs):.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    print(summary(json.loads((FIGURES / "search.json").read_text())["sweeps"]))
