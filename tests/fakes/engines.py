"""What trains the trials of a runner that has engines."""

from collections.abc import Iterator

from sweeper.config.model import Precision
from sweeper.trial import Assignment, Chunk, Engine


def never(assignment: Assignment) -> Iterator[Chunk]:
    """See above."""
    raise AssertionError(f"trial {assignment.number} trains in its own process")


def eager(cpu: float, precision: Precision) -> Engine:
    """An engine whose trials say something after every evaluation, with their state."""
    from sweeper.training import checkpoint, engine

    engine.CHUNK_SECONDS, checkpoint.FIRST_SECONDS, checkpoint.SHARE = 0.0, 0.0, float("inf")
    return engine.open_engine(cpu, precision)
