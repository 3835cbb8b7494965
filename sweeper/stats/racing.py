"""Give a trial its later replicates only while its first ones keep it in the race.

Replicates are common seeds, so a trial's first k can be compared with the leader's first k (as in F-Race, Birattari et
al. 2002, and ROAR, Hutter et al. 2011). With all replicates the lossless cap decides (`sweeper.stats.capping`). Before
that it is a wager: a trial that is unlucky with its first seeds is lost, so it may be behind by some slack.
"""

import math
from collections.abc import Mapping

from sweeper.stats.capping import Cap


def stages(first: int, replicates: int) -> tuple[int, ...]:
    """How many replicates a trial has trained after each stage: `first`, twice as many, and so on, and all."""
    doubled = [first * 2**i for i in range(replicates) if first * 2**i < replicates]
    return (*doubled, replicates)


class StagedCap:
    """The cap on a trial's value after each stage: the leader's value there, with some slack.

    Args:
        stages: numbers of replicates, the last of them all; a single stage is the lossless cap alone.
        places: how many of the best trials can still matter.
        slack: how much slower than the leader, relative, an incomplete trial may be.
    """

    def __init__(self, stages: tuple[int, ...], places: int, slack: float = 0.0):
        self.stages = stages
        self._cap = Cap(places)
        self._slack = math.log1p(slack)
        self._leader = dict.fromkeys(stages, math.inf)

    @property
    def places(self) -> int:
        """How many of the best trials can still matter."""
        return self._cap.places

    def finished(self, values: Mapping[int, float]) -> None:
        """Take in a trial that ran all replicates: its value after each stage."""
        everything = self.stages[-1]
        self._cap.add(values[everything])
        if values[everything] < self._leader[everything]:
            self._leader = dict(values)

    def cap(self, stage: int) -> float:
        """The value past which a trial with that many replicates is out."""
        return self._cap.value if stage == self.stages[-1] else self._leader[stage] + self._slack

    def excludes(self, bound: float, stage: int) -> bool:
        """Whether a trial whose value of that many replicates is at least `bound` is out."""
        return bound > self.cap(stage)

    def reported_value(self, value: float, stage: int) -> float:
        """The value reported to the sampler for a trial that was out after some stage: as far behind as it was then.

        A value of fewer replicates is not comparable with one of all; the difference to the leader's, on common seeds,
        is.
        """
        if stage == self.stages[-1]:
            return value
        return self._leader[self.stages[-1]] + value - self._leader[stage]
