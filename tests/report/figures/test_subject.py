"""Which trials figures are about."""

from pathlib import Path

from sweeper.report.document import _answer
from sweeper.report.explorer import explorer
from sweeper.report.figures.groups import grouped
from sweeper.report.figures.subject import Contender, Subject, label, listed
from sweeper.report.leaderboard import leaderboard
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


def test_without_a_search_the_baselines_are_its_trials_and_the_best_is_compared_with_the_first(tmp_path: Path) -> None:
    sizes = (128, 64, 32, 48, 40, 56, 60, 62, 50)
    baselines = {f"{size}-examples": {"batch.max": size} for size in sizes}
    changes = {**SHAPES, "search": {}, "baselines": baselines, "confirm": None, "budget": {"trials": 9}}
    found = about(launched(tmp_path, changes))
    assert [each.label for each in found.contenders] == ["64-examples", "128-examples"]
    # 32 is the slowest of the others: a figure tells seven apart, and the first is drawn as a baseline
    drawn = [(f"{size}-examples", size == 128) for size in sizes if size != 32]
    assert [(label(row), as_one) for row, as_one in found.baselines] == drawn
    groups = grouped(found)
    assert (groups.by, [(each.label, each.baseline) for each in groups.groups]) == ("baseline", drawn)
    page, _ = _answer(found.folder, found.spec, leaderboard(found.folder, found.spec, 9))
    assert page[0].startswith("64-examples and 128-examples are not separated")
    assert page[1] == "The best so far is 64-examples, with a mean of 25 steps."
    varied = explorer(found.folder, found.spec)
    assert varied["dimensions"] == [{"key": "batch.max", "log": False, "words": None}]
    assert varied["trials"]["values"]["batch.max"] == [
        baselines[name]["batch.max"] for name in varied["trials"]["label"]
    ]


def test_a_trial_that_failed_is_not_looked_at(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {**SHAPES, "budget": {"trials": 2}})
    sweep.launch(fails)
    found = about(sweep)
    assert [row["state"] for row in found.trials] == ["failed", "failed"]
    assert (found.seen, found.contenders) == ((), ())


def test_words() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
