"""A race of stages that is worked out by hand, and what is seen of races."""

from typing import Any

from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment
from tests.fakes.sweeps import HORIZON, QUESTION, Sweep

RACE: dict[str, Any] = {
    "search": {"depth": {"int": [1, 9]}},
    "objective": {**QUESTION["objective"], "replicates": 3},
    "stop": "cap",
    "race": {"first": 1, "slack": 0},
}
"""Stages of 1, 2 and 3 replicates; one place matters in a sweep of up to 9 trials; depths in order."""


STEPS = {1: (20, 40, 60), 2: (40, 20, 20), 3: (20, 60, 30), 4: (10, 40, 90), 5: (20, 20, 20), 6: (10, 40, 60)}
"""Depth -> when each replicate gets there, in a race that is worked out by hand."""


def raced(assignment: Assignment, replicate: int) -> int:
    return STEPS[assignment.settings.depth][replicate % CONFIRMATION_REPLICATES]


def late(best: float = 0.1) -> float:
    """What a run that did not arrive counts, whose best accuracy that was."""
    distance = (0.99 - best) / 0.99
    return HORIZON * (1.001 + 0.008 * distance / (1 + distance))


def stages_of(sweep: Sweep) -> list[tuple[int, tuple[int, ...]]]:
    """Trial and replicates of every assignment, in order."""
    return [(each.number, each.replicates) for each in sweep.trained]


def ends(sweep: Sweep, trial: int) -> list[tuple[int, str, int, str]]:
    """What became of a trial's runs: replicate, outcome, step and why."""
    return [
        (row["replicate"], row["outcome"], row["outcome_step"], row["why"])
        for row in sweep.rows("runs")
        if row["trial"] == trial
    ]
