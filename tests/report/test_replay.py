"""Recorded sweeps under other rules for stopping: steps worked out by hand, and the director's own decisions again."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from rich.console import Console

from sweeper.config.loading import load
from sweeper.config.model import Race
from sweeper.errors import UserError
from sweeper.report.replay import (
    RULES,
    Replay,
    Replayed,
    RuleName,
    question,
    recorded_trials,
    render,
    replay,
    simulated_rule,
)
from sweeper.search import simulation
from sweeper.stats.capping import places_that_matter
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import EVERY, chunk_of, curve
from tests.fakes.sweeps import QUESTION, Sweep
from tests.fakes.training import always, diverges, fails, follows, learns

HORIZON = 400
"""Looked at every 100 steps, which is 10 evaluations. ASHA's rungs are at 6, 24, 96 and 384 steps."""
LOOK = 100 // EVERY
LONG: dict[str, Any] = {
    "objective": {"horizon": HORIZON, "evaluate_every": EVERY, "replicates": 2},
    "search": {"depth": {"int": [1, 9]}},
    "budget": {"trials": 4},
}
STEPS = {1: 150, 2: 350, 3: 90, 4: None}
"""Depth -> when both of a trial's runs get there."""
WHOLE = 2 * (150 + 350 + 90 + 400)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path, dict(LONG))


def by_depth(assignment: Assignment, replicate: int) -> int | None:
    return STEPS[assignment.settings.depth]


def printed(found: Replay) -> str:
    console = Console(width=120, file=StringIO())
    console.print(render(found))
    assert isinstance(console.file, StringIO)
    return "\n" + "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def by_rule(found: Replay) -> dict[str, Replayed]:
    return {each.rule: each for each in found.results}


def test_steps_by_hand(sweep: Sweep) -> None:
    sweep.launch(learns(by_depth))
    found = replay(sweep.folder)
    # cap: trial 1 is behind 150 when it is looked at at step 200, trial 3 behind 90 at step 100.
    # race, slack 0.5: trial 1's first run is within 225 at 200, and behind it at 300; trial 3's is within 135 at 100,
    # and behind it at 200.
    # asha and the median see 0.1 everywhere, and stop nothing that is level.
    assert found == Replay(
        trials=4,
        cut=0,
        at_once=1,
        winner=2,
        results=(
            Replayed("none", WHOLE, 0, False, 2),
            Replayed("cap", 2 * (150 + 200 + 90 + 100), 2, False, 2),
            Replayed("race", 2 * 150 + 300 + 2 * 90 + 200, 2, False, 2),
            Replayed("asha", WHOLE, 0, False, 2),
            Replayed("median", WHOLE, 0, False, 2),
        ),
    )
    assert printed(found) == dedent("""
    4 trials, one at a time; trial 2 is the best
    rule    steps  of none  stopped  winner
    none    1,980     100%   0 of 4  kept
    cap     1,080      55%   2 of 4  kept
    race      980      49%   2 of 4  kept
    asha    1,980     100%   0 of 4  kept
    median  1,980     100%   0 of 4  kept
    """)


def test_the_rules_asked_for_in_their_order(sweep: Sweep) -> None:
    sweep.launch(learns(by_depth))
    assert [each.rule for each in replay(sweep.folder, ["race", "cap"]).results] == ["race", "cap"]
    assert printed(replay(sweep.folder, ["cap"])) == dedent("""
    4 trials, one at a time; trial 2 is the best
    rule  steps  of none  stopped  winner
    cap   1,080            2 of 4  kept
    """)


def test_several_at_once_start_before_the_first_has_ended(sweep: Sweep) -> None:
    """All four are under way when trial 2 arrives at step 90, so that all others are behind when first looked at."""
    sweep.launch(learns(by_depth))
    assert printed(replay(sweep.folder, ["none", "cap"], at_once=4)) == dedent("""
    4 trials, 4 at once; trial 2 is the best
    rule  steps  of none  stopped  winner
    none  1,980     100%   0 of 4  kept
    cap     780      39%   3 of 4  kept
    """)
    two = by_rule(replay(sweep.folder, ["cap"], at_once=2))
    assert two["cap"] == Replayed("cap", 2 * (150 + 200 + 90 + 100), 2, False, 2)


HEIGHTS = {1: [0.5] * 14 + [1.0], 2: [0.6] * 15 + [1.0], 3: [0.1] * 11 + [1.0], 4: [0.2] * 40}
"""Depth -> accuracies. The third is the lowest at step 100, and the first to get there."""


def test_a_late_bloomer_is_kept_by_the_cap_and_stopped_by_asha(sweep: Sweep) -> None:
    sweep.launch(follows(lambda assignment, _: HEIGHTS[assignment.settings.depth]))
    found = replay(sweep.folder)
    assert found.winner == 2
    results = by_rule(found)
    assert results["cap"] == Replayed("cap", 2 * (150 + 160 + 120 + 200), 1, False, 2)
    assert printed(found) == dedent("""
    4 trials, one at a time; trial 2 is the best
    rule    steps  of none  stopped  winner
    none    1,660     100%   0 of 4  kept
    cap     1,260      76%   1 of 4  kept
    race    1,060      64%   1 of 4  kept
    asha    1,020      61%   2 of 4  stopped; trial 0 would have won
    median  1,660     100%   0 of 4  kept
    """)


@pytest.mark.slow
def test_the_median_rule_stops_what_is_below_the_median_of_five(sweep: Sweep) -> None:
    sweep.changes["budget"] = {"trials": 7}
    heights = {depth: [depth / 10] * 12 + [1.0] for depth in range(1, 6)} | {6: [0.25] * 10 + [1.0], 7: [0.35] * 40}
    sweep.launch(follows(lambda assignment, _: heights[assignment.settings.depth]))
    (median,) = replay(sweep.folder, ["median"]).results
    assert median == Replayed("median", 2 * (5 * 130 + 100 + 400), 1, True, 0)


def test_one_trial_and_no_winner_in_words() -> None:
    nobody = Replay(1, 1, 1, 0, (Replayed("asha", 200, 1, True, None),))
    assert printed(nobody) == dedent("""
    1 trial, one at a time; trial 0 is the best
    rule  steps  of none  stopped  winner
    asha    200            1 of 1  stopped; every trial was
    Not replayed: 1 trial stopped early, without whole curves.
    """)


@pytest.mark.parametrize("rule", RULES)
def test_baselines_train_to_their_end(sweep: Sweep, rule: RuleName) -> None:
    """They are in the space here, so that the search is compared with them."""
    sweep.changes |= {"baselines": {"fast": {"depth": 1}, "never": {"depth": 4}}, "budget": {"trials": 2}}
    heights = {1: [0.9] * 8 + [1.0], 4: [0.0] * 40}
    sweep.launch(follows(lambda assignment, _: heights[assignment.settings.depth]))
    assert replay(sweep.folder, [rule]).results == (Replayed(rule, 2 * (90 + 400), 0, False, 0),)


def test_what_was_cut_short_is_left_out_and_counted(sweep: Sweep) -> None:
    sweep.changes |= {"stop": "cap", "confirm": {"top": 1, "replicates": 1}}
    sweep.launch(learns(by_depth, LOOK))
    assert list(sweep.states().values()) == ["finished", "capped", "finished", "capped", "finished"]
    assert printed(replay(sweep.folder)) == dedent("""
    2 trials, one at a time; trial 2 is the best
    rule    steps  of none  stopped  winner
    none      480     100%   0 of 2  kept
    cap       480     100%   0 of 2  kept
    race      480     100%   0 of 2  kept
    asha      480     100%   0 of 2  kept
    median    480     100%   0 of 2  kept
    Not replayed: 2 trials stopped early, without whole curves.
    """)


@pytest.mark.slow
def test_a_race_and_asha_leave_trials_without_whole_curves_too(tmp_path: Path) -> None:
    for name, rule in (("race", {"stop": "cap", "race": {}}), ("asha", {"stop": "asha"})):
        (tmp_path / name).mkdir()
        sweep = Sweep(tmp_path / name, {**LONG, **rule})
        sweep.launch(follows(lambda assignment, _: HEIGHTS[assignment.settings.depth], LOOK))
        cut = {number for number, state in sweep.states().items() if state != "finished"}
        found = replay(sweep.folder)
        assert (found.trials, found.cut) == (4 - len(cut), len(cut))
        assert len(cut) == {"race": 1, "asha": 2}[name]


@pytest.mark.slow
def test_a_trial_that_was_taken_up_again_counts_once(sweep: Sweep) -> None:
    """Capped at 100 beside the 90 of one place; of two places it is one."""
    sweep.changes |= {"stop": "cap", "search": {"depth": {"int": [1, 2]}}, "budget": {"trials": 2}}
    train = learns(lambda assignment, _: 90 if assignment.settings.depth == 1 else 150, LOOK)
    sweep.launch(train)
    assert (replay(sweep.folder).trials, replay(sweep.folder).cut) == (1, 1)
    sweep.changes["confirm"] = {"top": 2, "replicates": 1}
    sweep.launch(train)
    found = replay(sweep.folder, ["none"])
    assert (found.trials, found.cut, found.winner) == (2, 0, 0)
    assert found.results == (Replayed("none", 2 * (90 + 150), 0, False, 0),)


def test_without_a_whole_trial_there_is_nothing_to_replay(sweep: Sweep) -> None:
    message = f"{sweep.folder.root}: no trial has whole curves to replay; record some with stop: none"
    sweep.open()
    for train in (None, fails):
        if train is not None:
            sweep.launch(train)
        with pytest.raises(UserError) as raised:
            replay(sweep.folder)
        assert str(raised.value) == message


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("rule", RULES)
def test_a_single_trial_is_never_stopped(sweep: Sweep, rule: RuleName, at_once: int) -> None:
    sweep.changes["budget"] = {"trials": 1}
    sweep.launch(learns(always(250)))
    assert replay(sweep.folder, [rule], at_once) == Replay(1, 0, at_once, 0, (Replayed(rule, 500, 0, False, 0),))


@pytest.mark.slow
def test_runs_that_diverged_and_trials_that_failed(sweep: Sweep) -> None:
    """A run that diverged stands still where it did; the other one trains on. Failed trials are not there."""

    def half_diverges(assignment: Assignment) -> Iterator[Chunk]:
        nan = [math.nan]
        yield chunk_of(curve([0.1], 0, train_loss=nan, val_loss=nan), curve([0.1] * (HORIZON // EVERY), 1))

    sweep.changes["budget"] = {"trials": 5}
    kinds = {1: diverges, 2: fails, 3: half_diverges}
    sweep.launch(lambda assignment: kinds.get(assignment.number, learns(always(120)))(assignment))
    assert sweep.states() == {0: "finished", 1: "finished", 2: "failed", 3: "finished", 4: "finished"}
    results = by_rule(replay(sweep.folder))
    assert replay(sweep.folder).trials == 4
    assert results["none"] == Replayed("none", 240 + 40 + (10 + 400) + 240, 0, False, 0)
    # Its runs are seen at 10 and 100, 200, 300: a mean of 155 is behind 120 at last.
    assert results["cap"] == Replayed("cap", 240 + 40 + (10 + 300) + 240, 1, False, 0)


def test_when_every_run_diverged_the_best_is_the_one_that_came_nearest(sweep: Sweep) -> None:
    sweep.launch(diverges)
    for each in replay(sweep.folder).results:
        assert each == Replayed(each.rule, 4 * 40, 0, False, 0)


def examples(assignment: Assignment) -> Iterator[Chunk]:
    """Step 150 in batches of 64, 350 in batches of 16, 90 and never in batches of 128."""
    step, batch = {64: (150, 64), 16: (350, 16), 128: (90, 128), 129: (None, 128)}[assignment.settings.batch.max]
    for each in learns(always(step))(assignment):
        yield replace(each, columns={**each.columns, "examples": each.columns["step"] * batch})


def test_the_examples_clock(sweep: Sweep) -> None:
    """9,600, 5,600, 11,520 and never: the second is the best, and 100 steps in a batch of 128 are behind it."""
    sweep.changes |= {
        "objective": {**LONG["objective"], "minimize": "examples"},
        "search": {"batch.max": {"choice": [64, 16, 128, 129]}},
    }
    sweep.launch(examples)
    found = replay(sweep.folder, ["none", "cap", "race"])
    assert found.winner == 1
    # The 90 steps of trial 2 are over when they are looked at; its first run is behind the winner's by more than 20 %.
    assert found.results == (
        Replayed("none", WHOLE, 0, False, 1),
        Replayed("cap", 2 * (150 + 350 + 90 + 100), 1, False, 1),
        Replayed("race", 2 * (150 + 350) + 90 + 100, 2, False, 1),
    )


def test_a_falling_metric_can_be_what_rules_look_at(sweep: Sweep) -> None:
    sweep.changes |= {"objective": {**LONG["objective"], "until": "val_loss < 0.5"}, "budget": {"trials": 2}}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        level = [3.0, 2.0][assignment.number]
        losses = [level] * 14 + [0.4]
        yield chunk_of(*(curve([0.1] * 15, each, val_loss=losses) for each in assignment.replicates))

    sweep.launch(train)
    assert [each.stopped for each in replay(sweep.folder).results] == [0] * len(RULES)
    sweep.root = sweep.root / "reversed"
    sweep.root.mkdir()
    sweep.launch(lambda assignment: train(replace(assignment, number=1 - assignment.number)))
    stopped = {each.rule: each.stopped for each in replay(sweep.folder).results}
    assert stopped == {"none": 0, "cap": 0, "race": 0, "asha": 1, "median": 0}


@pytest.mark.slow
def test_a_metric_that_is_never_a_number_stops_nothing(sweep: Sweep) -> None:
    sweep.changes |= {"objective": {**LONG["objective"], "until": "val_loss < 0.5"}, "budget": {"trials": 6}}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        yield chunk_of(*(curve([0.1] * 40, each, val_loss=[math.nan] * 40) for each in assignment.replicates))

    sweep.launch(train)
    for each in replay(sweep.folder).results:
        assert (each.stopped, each.chosen) == (0, 0), each.rule


CONFIGURATIONS = [(depth, heads) for depth in range(1, 5) for heads in (1, 2, 4)]


def made_up(seed: int, blips: bool) -> dict[tuple[int, int, int], list[float]]:
    """Curves of a dozen configurations that creep, each run at its own pace, and then jump; some never do.

    With blips they are past the threshold for one evaluation now and then, mostly when the sweep looks.
    """
    chance = random.Random(seed)
    found = {}
    for depth, heads in CONFIGURATIONS:
        typical = chance.choice([6, 9, 14, 20, 30, 50])
        for replicate in range(2):
            jump = max(typical + chance.randint(-3, 3), 1)
            creep = [round(chance.uniform(0.1, 0.2) + i / 100, 3) for i in range(HORIZON // EVERY)]
            for i in range(len(creep)) if blips else ():
                if chance.random() < (0.5 if i % LOOK == LOOK - 1 else 0.1):
                    creep[i] = 1.0
            found[depth, heads, replicate] = [*creep[:jump], 1.0] if jump < len(creep) else creep
    return found


SECTIONS: dict[str, dict[str, Any]] = {
    "none": {"stop": "none"},
    "cap": {"stop": "cap"},
    "race": {"stop": "cap", "race": {}},
    "asha": {"stop": "asha"},
}


@pytest.mark.slow
@pytest.mark.parametrize("sustained", [1, 3])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("rule", ["cap", "race", "asha"])
def test_the_replay_stops_the_trials_that_the_director_stops(
    tmp_path: Path, rule: RuleName, seed: int, sustained: int
) -> None:
    """At the same steps, and with the same values told."""
    heights = made_up(seed, blips=sustained > 1)

    def of(assignment: Assignment, replicate: int) -> Sequence[float]:
        return heights[assignment.settings.depth, assignment.settings.heads, replicate]

    sweeps = {}
    for stop in ("none", rule):
        (tmp_path / stop).mkdir()
        objective = {**LONG["objective"], "sustained": sustained}
        changes = {"objective": objective, "search": QUESTION["search"], **SECTIONS[stop]}
        sweeps[stop] = Sweep(tmp_path / stop, changes)
        sweeps[stop].launch(follows(of, LOOK))
    rows = sweeps[rule].rows()
    stopped = [row["trial"] for row in rows if row["state"] != "finished"]
    assert len(stopped) > 2

    (found,) = replay(sweeps["none"].folder, [rule]).results
    whole = {row["trial"]: row["value"] for row in rows if row["trial"] not in stopped}
    best = min(sweeps["none"].rows(), key=lambda row: row["value"])["trial"]
    steps = sum(row["steps_trained"] for row in rows)
    assert found == Replayed(rule, steps, len(stopped), best in stopped, min(whole, key=whole.__getitem__))

    spec = load(sweeps["none"].folder.space).spec
    trials, _ = recorded_trials(sweeps["none"].folder, spec)
    again = simulated_rule(rule, question(spec), places_that_matter(len(rows), 1), Race())
    ended = list(simulation.replay(partial(next, iter(trials), None), again, 1, LOOK))
    assert [(each.trial.number, each.stopped, each.spent) for each in ended] == [
        (row["trial"], row["trial"] in stopped, row["steps_trained"]) for row in rows
    ]
    assert [each.reported for each in ended] == pytest.approx([row["value"] for row in rows], rel=1e-6)
