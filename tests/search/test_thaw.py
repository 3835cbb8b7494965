"""Freeze-thaw weighs an improvement against the seeds that it takes; many trials cost no more time than some."""

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
    assert thaw.choose([0], [], np.array([[0.05]])) == chosen


def test_of_many_trials_the_fastest_are_modelled_and_paused_ones_still_go_on() -> None:
    rng = np.random.default_rng(0)
    thaw = known(2, [100.0, *rng.uniform(1000, 2000, 3 * MODELLED)])
    assert thaw.choose([0], [], np.zeros((0, 1))) == 0
    slowest = int(np.argmax([mean for mean, _ in thaw.expected(range(3 * MODELLED))]))
    assert thaw.choose([slowest, 0], [], np.zeros((0, 1))) == 1
    assert len(thaw.expected(range(3 * MODELLED))) == 3 * MODELLED
    assert thaw.choose(range(3 * MODELLED), [], np.zeros((0, 1))) == 0
