"""Launches killed at random instants, among torn files; benchmarks/chaos.py does it at length."""

import random
from pathlib import Path

import pytest

from benchmarks.chaos import QUESTION, Fire, Sweep, differences, disagreements, run_to_the_end, under_fire

SHORT = QUESTION.replace("choice: [16, 24, 32]", "choice: [16]").replace("trials: 7", "trials: 3")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The sweep as it runs when nobody does anything to it."""
    sweep = Sweep(tmp_path_factory.mktemp("calm") / "s", "here", question=SHORT)
    run_to_the_end(sweep)
    assert sorted(sweep.finished()) == [0, 1, 2, 3, 4]
    return sweep


def check(fire: Fire, sweep: Sweep, undisturbed: Sweep) -> None:
    fire.changed, fire.leftovers = differences(sweep, undisturbed) + disagreements(sweep), sweep.leftovers()
    assert fire.clean, (fire, sweep.log.read_text()[-3000:])


@pytest.mark.long
@pytest.mark.slow
def test_a_driver_killed_at_random_instants_loses_and_repeats_nothing(tmp_path: Path, undisturbed: Sweep) -> None:
    sweep = Sweep(tmp_path / "s", "here", question=SHORT)
    fire = under_fire(sweep, ["driver"] * 2, 7.0, random.Random(1))
    assert fire.launches > 1
    check(fire, sweep, undisturbed)


@pytest.mark.long
@pytest.mark.slow
def test_under_tune_a_killed_worker_and_a_killed_raylet_change_nothing(tmp_path: Path, undisturbed: Sweep) -> None:
    sweep = Sweep(tmp_path / "s", question=SHORT)
    fire = under_fire(sweep, ["worker", "raylet"], 9.0, random.Random(3))
    check(fire, sweep, undisturbed)
