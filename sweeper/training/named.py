"""Our training function for processes that only pass it on: torch, seconds to import, is imported where it trains."""

from collections.abc import Iterator

from sweeper.trial import Assignment, Chunk


def train(assignment: Assignment) -> Iterator[Chunk]:
    """See `sweeper.training.train.train`."""
    from sweeper.training.train import train as ours  # noqa: PLC0415

    yield from ours(assignment)
