"""Trials written to tables as the director does, and what a sweep's folder then holds."""

import itertools
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.folder.layout import SweepFolder
from sweeper.results.summary import trial_row
from sweeper.results.writer import Writer
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.stats.events import FINISHED, Ending
from sweeper.trial import join
from tests.fakes.curves import Columns, assignment_of, chunk_of, curve, summary_of
from tests.fakes.tables import TASK

RUNS, EVALUATIONS = 3, 4
ROWS = {"trials": 1, "runs": RUNS, "curves": RUNS * EVALUATIONS}
"""Rows that a trial has in each table."""

PROVENANCE = {"host": "here", "sweeper": {"commit": "abc", "diff": "+ é"}}

CLOCKS: dict[str, Callable[[], Callable[[], float]]] = {
    "straight": lambda: itertools.repeat(0.0).__next__,  # stands still: folding costs nothing and is always due
    "pending": lambda: itertools.count(0, -1).__next__,  # runs backwards: folding is never due
    "in groups": lambda: itertools.count().__next__,  # a second at each look: every twentieth put folds
}
"""What the clock shows decides which road a trial takes."""


def straight() -> float:
    """A clock by which every trial goes straight into the parts."""
    return 0.0


def curves_of(trial: int, evaluations: int = EVALUATIONS) -> list[Columns]:
    """A different curve for each trial."""
    accuracy = [(trial % 7) / 10] * (evaluations - 1) + [1.0]
    return [curve(accuracy, replicate) for replicate in range(RUNS)]


def put(writer: Writer, trial: int, curves: list[Columns] | None = None, ending: Ending = FINISHED) -> float:
    """Write a trial as the director does. Returns its value."""
    curves = curves_of(trial) if curves is None else curves
    summary = summary_of(assignment_of(range(RUNS), number=trial), curves, ending)
    row = trial_row(
        summary,
        phase="search",
        name="",
        identity=f"id {trial}",
        settings=Hyperparameters(),
        known=TASK.hyperparameters,
    )
    writer.put(join([chunk_of(*curves)]) if curves else {}, [run.row for run in summary.runs], row)
    return summary.value


def read(folder: SweepFolder, name: str) -> pa.Table:
    return pq.read_table(folder.table(name))


def per_trial(folder: SweepFolder, name: str) -> dict[int, int]:
    """Trial -> number of rows."""
    return dict(Counter(read(folder, name)["trial"].to_pylist())) if any(folder.table(name).glob("*.parquet")) else {}


def left_in(folder: SweepFolder) -> list[str]:
    """Every file in a sweep's folder."""
    return sorted(str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file())


def pending(folder: SweepFolder) -> list[int]:
    """The trials that are not in the parts yet."""
    return [int(path.stem.removeprefix("trial-")) for path in sorted(folder.pending.glob("*.arrow"))]
