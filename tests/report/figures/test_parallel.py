"""Trials as lines through their parameters."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.report.figures import parallel
from sweeper.report.figures.subject import Subject
from tests.report.figures.looking import about, launched, look


@pytest.mark.slow
def test_lines_of_the_search_the_fastest_last(shapes: Subject) -> None:
    found = parallel.read(shapes)
    assert found is not None
    assert (found.trials, found.times) == ((5, 6, 3, 4, 1, 2), (100.0, 95.0, 55.0, 45.0, 35.0, 25.0))
    shape, size = found.axes
    assert (shape.marks, shape.heights) == (
        {0.0: "constant", 0.5: "linear", 1.0: "doubling"},
        (1.0, 1.0, 0.5, 0.5, 0.0, 0.0),
    )
    assert (size.marks, size.heights) == ({0.0: "32", 1.0: "64"}, (0.0, 1.0, 0.0, 1.0, 0.0, 1.0))
    figure = look(parallel.draw(found), "batch.shape", "batch.max", "constant", "64", "mean steps")
    assert figure.alt == (
        "The fastest of 6 trials are trial 2, trial 1, trial 4, trial 3 and trial 6, with 25 mean steps; the slowest "
        "has at least 100."
    )


NUMBERS: dict[str, Any] = {
    "search": {
        "heads": {"choice": [1, 2]},
        "depth": {"int": [1, 9], "when": "heads == 2"},
        "weight_decay": {"float": [0.01, 1.0], "log": True},
    },
    "sampler": {"name": "random"},
    "budget": {"trials": 20},
}


@pytest.mark.slow
def test_numbers_by_their_place_in_the_range_and_absent_ones_below(tmp_path: Path) -> None:
    sweep = launched(tmp_path, NUMBERS, lambda trial, _: 10 * trial.settings.depth)
    found = parallel.read(about(sweep))
    assert found is not None
    rows = {row["trial"]: row for row in sweep.rows()}
    _, depth, decay = found.axes
    for trial, low, high in zip(found.trials, depth.heights, decay.heights, strict=True):
        row = rows[trial]
        assert low == (-0.14 if row["heads"] == 1 else pytest.approx((row["depth"] - 1) / 8))
        assert 0.01 * 100**high == pytest.approx(row["weight_decay"])
    assert decay.marks == {0.0: "0.01", 1.0: "1"}
    look(parallel.draw(found), "not used", "0.01")


@pytest.mark.slow
def test_of_many_trials_the_best_and_some_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MOST", 10)
    everyone = launched(tmp_path, NUMBERS, lambda trial, _: 10 * trial.settings.depth)
    found = parallel.read(about(everyone))
    assert found is not None
    ranked = [row["trial"] for row in sorted(everyone.rows(), key=lambda row: (row["rmst"], row["trial"]))]
    assert (len(found.trials), found.others) == (10, 10)
    assert (found.trials[-1], found.trials[-2], found.trials[0]) == (ranked[0], ranked[1], ranked[-1])
    assert "Another 10 trials are not drawn." in parallel.draw(found).caption


def test_one_parameter_needs_no_lines(tmp_path: Path) -> None:
    assert parallel.read(about(launched(tmp_path, {"search": {"depth": {"int": [1, 3]}}}))) is None
