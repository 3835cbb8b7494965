"""Two trials compared, as data and as printed."""

from io import StringIO
from textwrap import dedent

import pytest
from rich.console import Console

from sweeper.errors import UserError
from sweeper.report import compare
from sweeper.report.select import choose
from tests.fakes.sweeps import QUESTION, Sweep, train
from tests.fakes.training import learns


def printed(pair: compare.TrialComparison) -> str:
    console = Console(width=120, file=StringIO())
    console.print(compare.render(pair))
    assert isinstance(console.file, StringIO)
    return "\n" + "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


@pytest.mark.slow
def test_confirmed_trials_are_compared_on_their_fresh_seeds(made_up_sweep: Sweep) -> None:
    best = choose(str(made_up_sweep.folder.root))
    pair = compare.compare_trials(best, choose("published", among=best))
    assert (pair.a, pair.b, pair.trials, pair.caveats) == ("trial 1", "published", (6, 8), ())
    assert pair.runs[0] == {
        "operation": "x_plus_y",
        "replicate": 1000,
        "a": 30.0,
        "a_reached": True,
        "b": 100.0,
        "b_reached": False,
    }
    assert printed(pair) == dedent("""
        trial 1 is faster than published by 67 % (95 % interval 58 to 74 %), p = 0.016, 7 replicates.

        operation  seed  trial 1 (steps)  published (steps)  ratio
        x_plus_y   1000               30              > 100
        x_plus_y   1001               40                 90   0.44
        x_plus_y   1002               20              > 100
        x_plus_y   1003               30                 80   0.38
        x_plus_y   1004               40              > 100
        x_plus_y   1005               20                 70   0.29
        x_plus_y   1006               30              > 100
        """)


@pytest.mark.slow
def test_trials_of_the_search_are_compared_on_its_own_seeds_with_a_warning(made_up_sweep: Sweep) -> None:
    first = choose(f"{made_up_sweep.folder.root}:3")
    pair = compare.compare_trials(first, choose("0", among=first))
    assert (pair.trials, pair.comparison.replicates, [run["replicate"] for run in pair.runs]) == ((3, 0), 2, [0, 1])
    assert pair.sentence.endswith("2 replicates; 2 pairs cannot give p < 0.05; at least 6 are needed")
    assert pair.caveats == (
        "these are the search's own seeds: a trial that was chosen by them looks better than it is",
    )


@pytest.mark.slow
def test_trials_without_any_event_are_not_compared_in_words(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}, "baselines": {}, "confirm": None}
    sweep.launch(learns(lambda assignment, replicate: None))
    first = choose(f"{sweep.folder.root}:0")
    pair = compare.compare_trials(first, choose("1", among=first))
    assert pair.sentence == "no run of trial 0 or trial 1 reached the event: nothing to compare"


@pytest.mark.slow
def test_trials_of_two_sweeps_are_named_with_their_sweep(made_up_sweep: Sweep, sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(train)
    here, there = str(made_up_sweep.folder.root), str(sweep.folder.root)
    pair = compare.compare_trials(choose(f"{here}:1"), choose(f"{there}:1"))
    assert (pair.a, pair.b) == (f"trial 1 of {here}", f"trial 1 of {there}")


def test_sweeps_that_ask_something_else_are_not_compared(made_up_sweep: Sweep, sweep: Sweep) -> None:
    sweep.changes = {"objective": QUESTION["objective"] | {"horizon": 50}, "budget": {"trials": 1}}
    sweep.launch(train)
    with pytest.raises(UserError, match=r"objectives: objective.horizon is 100 in the first and 50 in the second"):
        compare.compare_trials(choose(str(made_up_sweep.folder.root)), choose(str(sweep.folder.root)))


@pytest.mark.slow
def test_trials_without_a_common_seed_are_not_compared(made_up_sweep: Sweep) -> None:
    first = choose(f"{made_up_sweep.folder.root}:3")
    with pytest.raises(UserError, match="share no replicate"):
        compare.compare_trials(first, choose("6", among=first))


def test_a_trial_is_not_compared_with_itself(made_up_sweep: Sweep) -> None:
    first = choose(f"{made_up_sweep.folder.root}:0")
    with pytest.raises(UserError, match="published cannot be compared with itself; give two trials"):
        compare.compare_trials(first, choose("published", among=first))
