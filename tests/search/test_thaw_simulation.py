"""Freeze-thaw on recorded curves: the best is never dropped, curves that say nothing change no decision."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from sweeper.search.event_gp import Numbers, Places
from sweeper.search.simulation import Ended, Question, RecordedTrial
from sweeper.search.thaw import Thaw
from sweeper.search.thaw_simulation import Candidate, replay
from sweeper.stats.events import Event

CONFIGURATIONS, EVALUATIONS, SEEDS = 24, 60, 3
QUESTION = Question(Event("accuracy", ">", 0.99), EVALUATIONS * 10.0, EVALUATIONS * 10, 10, SEEDS)


@cache
def landscape(seed: int) -> tuple[Numbers, Numbers]:
    """Cells, [n, 2], and the evaluation at which each seed is there, [n, SEEDS]."""
    rng = np.random.default_rng(seed)
    cells = rng.uniform(size=(CONFIGURATIONS, 2))
    logs = 2.2 + 2 * ((cells - rng.uniform(size=2)) ** 2).sum(1)[:, None] + rng.normal(0, 0.1, (CONFIGURATIONS, SEEDS))
    return cells, np.clip(np.exp(logs), 3, EVALUATIONS + 5).astype(int)


def candidates(seed: int, height: Callable[[Numbers], Numbers]) -> list[Candidate]:
    cells, times = landscape(seed)
    found = []
    for number, own in enumerate(times):
        last = np.minimum(own, EVALUATIONS) - 1
        at = np.minimum(np.arange(EVALUATIONS), last[:, None])
        steps = 10.0 * (at + 1)
        metric = np.where((at == last[:, None]) & (own <= EVALUATIONS)[:, None], 1.0, height(own)[:, None])
        reached = own <= EVALUATIONS
        trial = RecordedTrial(number, last[None], steps[None], steps[None], metric[None], reached[None])
        found.append(Candidate(trial, cells[number], metric[None, ..., None], (0,)))
    return found


def run(
    seed: int, height: Callable[[Numbers], Numbers], at_once: int, *, learn: bool = True
) -> tuple[Thaw, list[Ended]]:
    all_of_them = candidates(seed, height)
    thaw = Thaw(lambda cells: Places(cells, np.arange(2)), SEEDS, learn=learn)

    def fresh() -> list[Candidate]:
        return [each for each in all_of_them if each.trial.number not in thaw.begun]

    return thaw, list(replay(thaw, QUESTION, fresh, lambda: fresh()[0], at_once))


def silent(times: Numbers) -> Numbers:
    return np.full(len(times), 0.3)


def telling(times: Numbers) -> Numbers:
    return 0.9 - times / 100


def misleading(times: Numbers) -> Numbers:
    return np.where(times < 15, 0.2 + times / 100, 0.9 - times / 100)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "at_once"), [(silent, 8), (telling, 8), (misleading, 1)])
def test_the_best_is_never_dropped(height: Callable[[Numbers], Numbers], at_once: int) -> None:
    _, ended = run(0, height, at_once)
    assert len({each.trial.number for each in ended}) == len(ended) == CONFIGURATIONS
    whole = [each for each in ended if not each.stopped]
    truth = {each.trial.number: each.trial.value(QUESTION, 0, SEEDS, EVALUATIONS - 1) for each in ended}
    assert min(truth, key=truth.__getitem__) in {each.trial.number for each in whole}
    assert sum(each.spent for each in ended) == pytest.approx(ended[-1].total)
    assert len(whole) < CONFIGURATIONS / 2


@pytest.mark.slow
def test_constant_curves_change_no_decision() -> None:
    _, with_curves = run(1, silent, 1)
    _, without = run(1, silent, 1, learn=False)
    assert [(each.trial.number, each.at) for each in with_curves] == [(each.trial.number, each.at) for each in without]
