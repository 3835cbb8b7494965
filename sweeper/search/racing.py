"""Give a trial its later replicates only while its first ones keep it in the race.

Replicates are common seeds, so a trial's first k can be compared with the first k of every trial that ran all of them
(as in F-Race, Birattari et al. 2002, and ROAR, Hutter et al. 2011). Every number of replicates at which the race looks
has a cap of its own (`sweeper.search.capping`). With all replicates it is the lossless cap. Before that it is a wager:
a trial that is unlucky with its first seeds is lost, so a lead of `slack` is asked for.
"""

import math
from collections.abc import Mapping

from sweeper.search.capping import Cap


def stages(first: int, replicates: int) -> tuple[int, ...]:
    """How many replicates a trial has trained after each stage: `first`, twice as many, and so on, and all."""
    doubled = [first * 2**i for i in range(replicates) if first * 2**i < replicates]
    return (*doubled, replicates)


class Race:
    """The caps of a race.

    Args:
        stages: numbers of replicates, the last of them all; a single stage is the lossless cap alone.
        places: how many of the best trials can still matter.
        slack: by how much, relative, an incomplete trial may be behind.
    """

    def __init__(self, stages: tuple[int, ...], places: int, slack: float = 0.0):
        self.stages = stages
        self.places = places
        self._slack = math.log1p(slack)
        self._caps = {stage: Cap(places) for stage in stages}

    def finished(self, values: Mapping[int, float]) -> None:
        """Take in a trial that ran all replicates: its value after each stage."""
        for stage, cap in self._caps.items():
            cap.add(values[stage])

    def cap(self, stage: int) -> float:
        """The value past which a trial with that many replicates is out."""
        cap = self._caps[stage].value
        return cap if stage == self.stages[-1] else cap + self._slack

    def told(self, value: float, stage: int) -> float:
        """What the sampler is told of a trial that was out after some stage: as far behind as it was then.

        A value of fewer replicates is not comparable with one of all; the difference to the cap, on common seeds, is.
        """
        if stage == self.stages[-1]:
            return value
        return self._caps[self.stages[-1]].value + value - self._caps[stage].value
