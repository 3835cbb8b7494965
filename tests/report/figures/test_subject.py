"""Which trials figures are about."""

from pathlib import Path

from sweeper.report.figures.subject import Contender, Subject, listed
from tests.fakes.sweeps import Sweep
from tests.fakes.training import fails
from tests.report.figures.looking import SHAPES, about, launched


def test_the_best_and_the_first_baseline_on_fresh_seeds(shapes: Subject) -> None:
    found = shapes
    assert [(row["trial"], row["name"], row["rmst"]) for row in found.trials] == [
        (0, "published", 85.0),
        (1, "", 35.0),
        (2, "", 25.0),
        (3, "", 55.0),
        (4, "", 45.0),
        (5, "", 100.0),
        (6, "", 95.0),
    ]
    assert [row["trial"] for row in found.seen] == [2, 1, 4, 3, 0, 6, 5]
    assert [(row["trial"], row["name"]) for row in found.confirmations] == [(7, "2"), (8, "0")]
    assert found.contenders == (
        Contender("trial 2", 7, baseline=False, fresh=True),
        Contender("published", 8, baseline=True, fresh=True),
    )
    assert (found.clock, found.limit) == ("steps", 100.0)


def test_without_confirmations_on_the_seeds_of_the_search(tmp_path: Path) -> None:
    found = about(launched(tmp_path, {**SHAPES, "confirm": None, "baselines": {}, "budget": {"trials": 6}}))
    assert found.contenders == (Contender("trial 1", 1, baseline=False, fresh=False),)


def test_baselines_alone_are_compared_with_each_other(tmp_path: Path) -> None:
    baselines = {"slow": {"batch.max": 128}, "quick": {"batch.max": 64}}
    found = about(launched(tmp_path, {**SHAPES, "search": {}, "baselines": baselines, "confirm": None}))
    assert [each.label for each in found.contenders] == ["slow", "quick"]


def test_a_trial_that_failed_is_not_looked_at(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {**SHAPES, "budget": {"trials": 2}})
    sweep.launch(fails)
    found = about(sweep)
    assert [row["state"] for row in found.trials] == ["failed", "failed"]
    assert (found.seen, found.contenders) == ((), ())


def test_words() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
