"""Three seeds for each replicate, so that configurations can be compared on common randomness."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """Seeds of a run: its initial parameters, its split into training and validation, the order of its examples."""

    init: int
    data: int
    order: int


def seeds_of(replicate: int) -> Seeds:
    """The seeds of a replicate number: the same in every trial and every sweep."""
    init, data, order = np.random.SeedSequence(replicate).generate_state(3, np.uint64) >> np.uint64(2)
    return Seeds(int(init), int(data), int(order))
