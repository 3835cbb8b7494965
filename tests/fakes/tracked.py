"""Trials as trackers see them."""

from datetime import UTC, datetime

from sweeper.trackers.protocol import FinishedTrial
from sweeper.trial import join
from tests.fakes.curves import Columns, chunk_of, curve

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FINISHED = datetime(2026, 1, 2, 3, 4, 35, tzinfo=UTC)
CONFIGURATION = {"depth": 2, "learning_rate": 0.001, "betas": (0.9, 0.98), "hold_decay": False, "batch.shape": "cyclic"}
OUTCOME = {"value": 3.25, "rmst": 25.0, "reached": 2.0, "failed": 0.0}


def trial(number: int = 7, columns: Columns | None = None, state: str = "finished") -> FinishedTrial:
    """A trial of two runs, of which the first has three evaluations and the second two."""
    if columns is None:
        columns = join([chunk_of(curve([0.25, 0.5, 1.0], 0), curve([0.125, 1.0], 1))])
    return FinishedTrial(number, "search", "", state, CONFIGURATION, OUTCOME, columns, STARTED, FINISHED)


POINTS = {
    10: {"val_accuracy/x_plus_y/0": 0.25, "val_accuracy/x_plus_y/1": 0.125},
    20: {"val_accuracy/x_plus_y/0": 0.5, "val_accuracy/x_plus_y/1": 1.0},
    30: {"val_accuracy/x_plus_y/0": 1.0},
}
"""Step -> what is to be found of its validation accuracy."""
