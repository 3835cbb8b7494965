"""A small sweep with an outcome of every kind, on real tables."""

from collections.abc import Iterator
from pathlib import Path

from sweeper.trial import Assignment, Chunk
from tests.sweep.test_director import PUBLISHED, Sweep, fails, learns


def reach(assignment: Assignment, replicate: int) -> int | None:
    """20 to 50 by depth, later ones of three seeds 10 later each; of the baseline every second seed, 70 to 90."""
    depth = assignment.settings.depth
    return 10 + 10 * depth + 10 * (replicate % 3) if depth < 5 or replicate % 2 else None


def train(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 4 fails."""
    return ({4: fails}.get(assignment.number) or learns(reach))(assignment)


def made_up(root: Path) -> Sweep:
    """A baseline, five trials of the search of which one fails, and three confirmations."""
    sweep = Sweep(root)
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 2, "replicates": 7},
        "budget": {"trials": 6},
    }
    sweep.launch(train)
    return sweep
