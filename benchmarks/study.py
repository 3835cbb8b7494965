"""What the study of batch-size schedules found: `python -m benchmarks.study results/study/x-plus-y-*`.

Reads the finished cells of its sweeps, compares each with constant batch 512 on equal seeds, and writes a table in
Markdown, the survival curves and the Parquet that is published. A cell is a baseline of one of search_spaces/study/
"""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend that needs no screen

import sweeper
from sweeper.folder.layout import SweepFolder
from sweeper.results.query import query
from sweeper.stats.comparison import Comparison, compare, holm
from sweeper.stats.survival import kaplan_meier

CONTROL = "constant-512"
CLOCKS = ("steps", "examples")
THINNED = 50
"""Published curves hold each fiftieth step, the evaluations around the event, and the last."""
AROUND = 100
"""Steps before and after the event that are published whole."""
_PUBLISHED = ("trials", "runs", "curves")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One configuration.

    Attributes:
        name: of the baseline.
        decay: weight decay.
        reached: [replicates], whether each run reached the event.
        times: clock -> [replicates], time of the event, or the time at which the run was last seen without it.
    """

    name: str
    decay: float
    reached: npt.NDArray[np.bool_]
    times: Mapping[str, Floats]


def cells(folders: Sequence[Path]) -> Iterator[Cell]:
    """The cells that trained to their end, in the order of their sweeps."""
    for folder in folders:
        sweep = sweeper.load(folder)
        ended = sweep.query(
            """
            SELECT t.name, t.weight_decay, r.trial, replicate, sustained_steps IS NOT NULL AS reached,
                   coalesce(sustained_steps, last.step) AS steps,
                   coalesce(sustained_examples, last.examples) AS examples
            FROM runs r JOIN trials t USING (trial)
            JOIN (SELECT trial, replicate, max(step) AS step, max(examples) AS examples FROM curves GROUP BY ALL) last
            USING (trial, replicate)
            WHERE t.state = 'finished' ORDER BY trial, replicate
            """
        )
        for _, rows in ended.groupby("trial", sort=True):
            yield Cell(
                str(rows["name"].iloc[0]),
                float(rows["weight_decay"].iloc[0]),
                rows["reached"].to_numpy(dtype=bool),
                {clock: rows[clock].to_numpy(dtype=np.float64) for clock in CLOCKS},
            )


def against(control: Cell, cell: Cell, clock: str) -> Comparison | None:
    """The cell against the control, paired on seeds; None if runs of either were censored at different times."""
    if clock != "steps" and not (control.reached.all() and cell.reached.all()):
        return None
    return compare(cell.times[clock][None], control.times[clock][None])


def table(found: Sequence[Cell]) -> str:
    """Markdown: for each cell how many arrived, when, and the ratio to the control on both clocks, p by Holm."""
    control = next(cell for cell in found if cell.name == CONTROL)
    others = [cell for cell in found if cell is not control]
    ratios = {clock: {cell.name: against(control, cell, clock) for cell in others} for clock in CLOCKS}
    adjusted = {clock: _adjusted(known) for clock, known in ratios.items()}
    lines = [
        f"| cell | decay | reached | mean steps | median | steps / {CONTROL} (95 %) | p (Holm) "
        f"| mean examples | examples / {CONTROL} (95 %) | p (Holm) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in found:
        bound = "" if cell.reached.all() else "≥ "
        row = [
            cell.name,
            f"{cell.decay:g}",
            f"{cell.reached.sum()} of {len(cell.reached)}",
            f"{bound}{cell.times['steps'].mean():,.0f}",
            _median(cell),
        ]
        for clock in CLOCKS:
            if clock == "examples":
                row.append(f"{bound}{cell.times[clock].mean():,.0f}")
            known = ratios[clock].get(cell.name)
            row += ["", ""] if known is None else [_ratio(known), f"{adjusted[clock][cell.name]:.3f}"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _adjusted(known: Mapping[str, Comparison | None]) -> dict[str, float]:
    tested = {name: each.p for name, each in known.items() if each is not None}
    return dict(zip(tested, holm(list(tested.values())), strict=True))


def _median(cell: Cell) -> str:
    times = np.where(cell.reached, cell.times["steps"], np.inf)
    middle = float(np.median(times))
    return f"{middle:,.0f}" if np.isfinite(middle) else "not reached"


def _ratio(known: Comparison) -> str:
    return f"{known.ratio:.2f} ({known.low:.2f} to {known.high:.2f})"


def draw(found: Sequence[Cell], file: Path) -> None:
    """Kaplan-Meier curves of all cells, on steps and on examples side by side."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.8), sharey=True, layout="constrained")
    colours = mpl.colormaps["tab20"]
    for axes, clock in zip(panels, CLOCKS, strict=True):
        for place, cell in enumerate(found):
            curve = kaplan_meier(cell.times[clock], cell.reached)
            axes.step(
                curve.times,
                curve.survival,
                where="post",
                label=cell.name,
                color="black" if cell.name == CONTROL else colours(place % 20),
                linestyle=("-", "--", ":")[place % 3],
                linewidth=2.2 if cell.name == CONTROL else 1.4,
            )
        axes.set(xlabel=clock, ylim=(-0.02, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of runs that have not reached 99 %")
    panels[1].set_xscale("log")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    figure.savefig(file)
    plt.close(figure)


def publish(folders: Sequence[Path], into: Path) -> list[str]:
    """Write the tables of all sweeps as one Parquet file each, curves thinned; returns lines `sha256  file`."""
    into.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in _PUBLISHED:
        parts = []
        for folder in folders:
            wanted = f"SELECT '{folder.name}' AS sweep, each.* FROM {name} AS each"
            over = "trial IN (SELECT trial FROM trials WHERE state = 'finished')"
            if name == "curves":
                near = f"abs(step - first_steps) <= {AROUND} OR step = outcome_step"
                wanted += " JOIN runs USING (trial, operation, replicate)"
                over += f" AND (step % {THINNED} = 0 OR {near})"
            parts.append(query(SweepFolder(folder), f"{wanted} WHERE {over} ORDER BY ALL"))
        file = into / f"{name}.parquet"
        pq.write_table(pa.concat_tables(parts, promote_options="default"), file, compression="zstd")
        lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}")
    return lines


def main() -> None:
    """Print the table; with --publish write the data, with --figure the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--publish", type=Path, help="folder for the Parquet files")
    parser.add_argument("--figure", type=Path, help="file for the survival curves")
    options = parser.parse_args()
    found = list(cells(options.folders))
    print(table(found))
    if options.figure:
        draw(found, options.figure)
    if options.publish:
        print(*publish(options.folders, options.publish), sep="\n")


if __name__ == "__main__":
    main()
