"""Freeze-thaw weighs an improvement against its seeds, completes one trial in a dozen, and models as many as it can."""

import numpy as np
import pytest

from sweeper.search.curves import Curve
from sweeper.search.event_gp import Places
from sweeper.search.thaw import MODELLED, Replicate, Thaw

NOTHING = Curve(0, np.zeros((0, 0)), np.zeros(0))


def known(replicates: int, times: list[float], *, over: bool = True) -> Thaw:
    """Trials along a line whose first seed took so long, or has trained so long."""
    thaw = Thaw(lambda cells: Places(cells, np.arange(1)), replicates)
    for number, each in enumerate(times):
        thaw.open(number, np.array([number / max(len(times) - 1, 1)]))
        thaw.see(number, [Replicate(over, float(np.log(each)), NOTHING)])
    return thaw


@pytest.mark.parametrize(("replicates", "chosen"), [(2, 0), (40, 1)])
def test_one_more_seed_of_the_best_is_worth_more_than_a_new_configuration_but_many_are_not(
    replicates: int, chosen: int
) -> None:
    thaw = known(replicates, [100, 200, 300, 400, 500, 600, 700, 800])
    assert thaw.choose([0], [], np.array([[-0.05]])) == chosen


def test_of_many_trials_the_fastest_are_modelled_and_paused_ones_still_go_on() -> None:
    rng = np.random.default_rng(0)
    thaw = known(2, [100.0, *rng.uniform(1000, 2000, 3 * MODELLED)])
    assert thaw.choose([0], [], np.zeros((0, 1))) == 0
    slowest = int(np.argmax([mean for mean, _ in thaw.expected(range(3 * MODELLED))]))
    assert thaw.choose([slowest, 0], [], np.zeros((0, 1))) == 1
    assert len(thaw.expected(range(3 * MODELLED))) == 3 * MODELLED
    assert thaw.choose(range(3 * MODELLED), [], np.zeros((0, 1))) == 0


@pytest.mark.parametrize(("trials", "whole", "named"), [(11, 0, False), (12, 0, True), (23, 1, False), (24, 1, True)])
def test_of_every_twelve_trials_with_one_of_three_seeds_the_most_promising_gets_the_others(
    trials: int, whole: int, named: bool
) -> None:
    """However much new configurations promise, there is a complete trial to name."""
    thaw = known(3, [*np.geomspace(100, 40, trials)])
    beyond = np.array([[1.3]])  # of a line that falls
    for number in range(whole):
        thaw.see(number, [Replicate(True, float(np.log(45)), NOTHING)] * 3)
    waiting = list(range(whole, trials))
    assert thaw.choose(waiting, [], beyond) == (waiting.index(trials - 1) if named else len(waiting))
    assert thaw.choose(waiting[:-1], [trials - 1], beyond) == len(waiting) - 1  # it trains already
