"""What is known of each trial's time, against its parameters."""

from sweeper.report.figures.points import Point, points
from sweeper.report.figures.subject import Subject


def known(found: tuple[Point, ...]) -> list[tuple[int, float, str]]:
    return [(point.trial, round(point.time, 6), point.kind) for point in found]


def test_of_trials_that_were_ended_early_the_least_that_they_could_have_become(capped: Subject) -> None:
    found = points(capped)
    assert known(found) == [
        (1, 25.0, "reached"),
        (2, 30.0, "at least"),
        (3, 30.0, "at least"),
        (4, 30.0, "at least"),
        (5, 30.0, "at least"),
        (0, 35.0, "reached"),
    ]


def test_of_whole_trials_their_restricted_mean(shapes: Subject) -> None:
    found = points(shapes)
    assert known(found) == [
        (2, 25.0, "reached"),
        (1, 35.0, "reached"),
        (4, 45.0, "reached"),
        (3, 55.0, "reached"),
        (0, 85.0, "reached"),
        (6, 95.0, "reached"),
        (5, 100.0, "restricted"),
    ]
    assert (found[4].baseline, found[4].values) == ("published", {"batch.shape": "constant", "batch.max": 128})
