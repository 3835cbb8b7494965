"""Which trials are put together."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.report.figures.groups import Grouping, TrialGroup, grouped
from sweeper.report.figures.subject import Subject
from sweeper.trial import Assignment
from tests.report.figures.looking import about, launched


def test_by_the_shape_of_the_batch_schedule(shapes: Subject) -> None:
    assert grouped(shapes) == Grouping(
        "batch.shape",
        (
            TrialGroup("constant", (1, 2)),
            TrialGroup("linear", (3, 4)),
            TrialGroup("doubling", (5, 6)),
            TrialGroup("published", (0,), baseline=True),
        ),
    )


DEPTHS: dict[str, Any] = {
    "search": {"heads": {"choice": [1, 2]}, "depth": {"int": [1, 12]}},
    "budget": {"trials": 24},
}


def two_heads(assignment: Assignment, replicate: int) -> int:
    return 20 if assignment.settings.heads == 2 else 60 + assignment.settings.depth


@pytest.mark.slow
def test_by_the_choice_that_matters_most(tmp_path: Path) -> None:
    found = grouped(about(launched(tmp_path, DEPTHS, two_heads)))
    assert (found.by, [group.label for group in found.groups]) == ("heads", ["heads 1", "heads 2"])


def test_with_no_choice_the_best_trials_by_themselves(tmp_path: Path) -> None:
    changes = {"search": {"depth": {"int": [1, 8]}}, "budget": {"trials": 8}}
    found = grouped(about(launched(tmp_path, changes, lambda trial, _: 10 * trial.settings.depth)))
    assert found == Grouping("trial", tuple(TrialGroup(f"trial {number}", (number,)) for number in range(5)))


def test_trials_that_were_cut_short_are_left_out_where_enough_are_whole(tmp_path: Path) -> None:
    changes = {
        "search": {"batch.shape": {"choice": ["constant", "linear"]}, "depth": {"int": [1, 4]}},
        "fixed": {"batch.min": 8, "width": 32},
        "stop": "cap",
        "budget": {"trials": 8},
    }

    def reach(assignment: Assignment, replicate: int) -> int | None:
        never = assignment.settings.batch.shape == "linear" or assignment.settings.depth == 4
        return None if never else 10 * assignment.settings.depth

    found = grouped(about(launched(tmp_path, changes, reach)))
    assert found.groups == (
        TrialGroup("constant", (0, 1, 2), left_out=1),
        TrialGroup("linear", (4, 5, 6, 7), cut_short=4),
    )
    assert found.note == (
        "1 trial that was ended early, because of slow runs so far, left out: they would have made their groups "
        "slower. Too few trials of linear trained to their end: theirs that were ended early count for as long as they "
        "were seen, which flatters them."
    )
