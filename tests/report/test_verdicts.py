"""Who is compared with whom, and what is said of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sweeper.report.summaries import TrialRuns
from sweeper.report.verdicts import verdicts
from sweeper.stats.comparison import compare, holm

LIMIT = 100.0
EIGHT = tuple(range(1000, 1008))


def row(trial: int, of: int, baseline: str = "", state: str = "finished") -> dict[str, Any]:
    return {"trial": trial, "of": of, "baseline": baseline, "state": state}


def runs(times: float | Sequence[float], replicates: tuple[int, ...] = EIGHT, operations: int = 1) -> TrialRuns:
    """Some runs around a time, or at these times; from the limit on they have not arrived."""
    if isinstance(times, int | float):
        times = [times + i % 3 if times < LIMIT else LIMIT for i in range(len(replicates))]
    stacked = np.array([times] * operations, dtype=np.float64)
    return TrialRuns(replicates, stacked, stacked < LIMIT, LIMIT)


def pairs(confirmed: list[dict[str, Any]], found: dict[int, TrialRuns]) -> list[tuple[str, str]]:
    return [(each.faster, each.other) for each in verdicts(confirmed, found)]


def test_finalists_against_baselines_and_the_first_choice_against_the_other_finalists() -> None:
    """The first choice is the search's, though another one did better on the fresh seeds."""
    confirmed = [row(10, 3), row(11, 7), row(12, 5), row(13, 0, "published"), row(14, 1, "plain")]
    found = {10: runs(30), 11: runs(20), 12: runs(40), 13: runs(50), 14: runs(60)}
    assert pairs(confirmed, found) == [
        ("trial 3", "published"),
        ("trial 3", "plain"),
        ("trial 7", "published"),
        ("trial 7", "plain"),
        ("trial 5", "published"),
        ("trial 5", "plain"),
        ("trial 3", "trial 7"),
        ("trial 3", "trial 5"),
    ]


def test_several_comparisons_are_adjusted_by_holm() -> None:
    confirmed, found = [row(10, 3), row(11, 7), row(12, 0, "published")], {10: runs(20), 11: runs(21), 12: runs(60)}
    made = verdicts(confirmed, found)
    assert [each.p for each in made] == holm([each.comparison.p for each in made])
    assert made[0].p == 3 * made[0].comparison.p
    assert all("(Holm)" in each.sentence for each in made)
    assert made[0].comparison == compare(found[10].restricted, found[12].restricted)


def test_a_single_comparison_needs_no_adjustment() -> None:
    (only,) = verdicts([row(10, 3), row(11, 0, "published")], {10: runs(20), 11: runs(60)})
    assert only.p == only.comparison.p == pytest.approx(2 / 2**8)
    assert only.sentence == (
        "trial 3 is faster than published by 66 % (95 % interval 65 to 66 %), p = 0.008, 8 replicates"
    )


def test_a_single_finalist_and_no_baseline() -> None:
    assert pairs([row(10, 3)], {10: runs(20)}) == []
    assert pairs([row(10, 0, "published"), row(11, 1, "plain")], {10: runs(20), 11: runs(30)}) == []
    assert verdicts([], {}) == []


def test_finalists_without_a_baseline() -> None:
    assert pairs([row(10, 3), row(11, 7)], {10: runs(20), 11: runs(30)}) == [("trial 3", "trial 7")]


def test_a_baseline_that_is_a_finalist_is_a_baseline() -> None:
    """It is confirmed once, even where it is the search's first choice."""
    confirmed, found = [row(10, 0, "published"), row(11, 3), row(12, 7)], {10: runs(20), 11: runs(30), 12: runs(40)}
    assert pairs(confirmed, found) == [("trial 3", "published"), ("trial 7", "published"), ("trial 3", "trial 7")]
    assert "slower" in verdicts(confirmed, found)[0].sentence


@pytest.mark.parametrize("state", ["stopped", "failed", "capped"])
def test_trials_without_whole_runs_are_left_out(state: str) -> None:
    confirmed = [row(10, 3, state=state), row(11, 7), row(12, 5), row(13, 0, "published")]
    found = {10: runs(20), 11: runs(30), 12: runs(40), 13: runs(50)}
    assert pairs(confirmed, found) == [("trial 7", "published"), ("trial 5", "published"), ("trial 7", "trial 5")]
    assert pairs([row(10, 3), row(11, 0, "published", state)], found) == []


def test_pairs_of_which_no_run_arrived_are_left_out() -> None:
    confirmed = [row(10, 3), row(11, 7), row(12, 0, "published")]
    never = {10: runs(20), 11: runs(LIMIT), 12: runs(LIMIT)}
    assert pairs(confirmed, never) == [("trial 3", "published"), ("trial 3", "trial 7")]
    assert pairs(confirmed, dict.fromkeys((10, 11, 12), runs(LIMIT))) == []


def test_trials_are_compared_on_the_seeds_that_both_have() -> None:
    """After `confirm.replicates` was changed, some have more than others."""
    confirmed = [row(10, 3), row(11, 7), row(12, 0, "published")]
    found = {10: runs(20), 11: runs(30, EIGHT[:5]), 12: runs(50)}
    sides = [("trial 3", "published"), ("trial 7", "published"), ("trial 3", "trial 7")]
    assert pairs(confirmed, found) == sides
    assert [each.comparison.replicates for each in verdicts(confirmed, found)] == [8, 5, 5]
    assert pairs(confirmed, found | {12: runs(50, tuple(range(8)))}) == [("trial 3", "trial 7")]


def test_trials_without_runs_are_left_out() -> None:
    assert pairs([row(10, 3), row(11, 0, "published")], {10: runs(20)}) == []


def test_runs_that_did_not_arrive_count_at_the_limit() -> None:
    half = [20.0, LIMIT] * 4
    (only,) = verdicts([row(10, 3), row(11, 7)], {10: runs(20), 11: runs(half)})
    assert only.comparison == compare(runs(20).restricted, [half])


def test_several_operations() -> None:
    found = {10: runs(20, operations=2), 11: runs(60, operations=2)}
    (only,) = verdicts([row(10, 3), row(11, 7)], found)
    assert only.comparison.ratio == pytest.approx(found[10].restricted.mean() / found[11].restricted.mean())


@pytest.mark.parametrize("count", [1, 2])
def test_few_replicates_separate_nobody(count: int) -> None:
    few = EIGHT[:count]
    (only,) = verdicts([row(10, 3), row(11, 7)], {10: runs(20, few), 11: runs(60, few)})
    assert only.sentence.startswith("trial 3 and trial 7 are not separated")
