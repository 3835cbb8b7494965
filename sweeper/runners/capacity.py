"""How many trials fit at once, and how large a share of a GPU each gets."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.stats.events import CROWDED, OUT_OF_MEMORY, Ending

Nodes = Sequence[Mapping[str, float]]
"""The resources of each node, as in `{"CPU": 8.0, "GPU": 2.0}`."""


@dataclass
class Capacity:
    """The resources of the nodes, and those of one trial.

    Attributes:
        nodes: returns those there are at the moment: nodes join and leave.
        cpu: cores for each trial.
        gpu: GPUs for each trial that is started from now on; a fraction shares a device.
        growing: whether `gpu` grows when memory runs out.
    """

    nodes: Callable[[], Nodes]
    cpu: float
    gpu: float
    growing: bool = False

    @property
    def slots(self) -> int:
        """How many trials fit at once: a fraction of a GPU never spans two, and a trial never spans two nodes.

        While trials with a smaller share still run, fewer trials than slots still mean that one with the present share
        fits: a full device holds at least as many trials as it has slots.
        """
        return sum(self._on(node, self.gpu) for node in self.nodes())

    @property
    def most_on_a_gpu(self) -> int:
        """The most trials that one GPU's part of the cores is enough for; 0 if no node fits a trial."""
        fitting = [node for node in self.nodes() if self._on(node, 1)]
        return max((max(math.floor(self._by_cpu(node) / math.floor(node["GPU"])), 1) for node in fitting), default=0)

    def grant_more_memory(self, had: float, ending: Ending) -> bool:
        """Double the share of a GPU if a trial ran out of memory. Returns whether the trial must train again.

        Several trials that run out of memory together double the share once.

        Args:
            had: the trial's share of a GPU.
            ending: how it ended.
        """
        if not self.growing or not 0 < had < 1 or ending.why not in (OUT_OF_MEMORY, CROWDED):
            return False
        self.gpu = max(self.gpu, min(2 * had, 1.0))
        return True

    def _on(self, node: Mapping[str, float], gpu: float) -> int:
        by_cpu = self._by_cpu(node)
        if gpu == 0:
            return by_cpu
        devices = node.get("GPU", 0)
        by_gpu = math.floor(devices) * math.floor(1 / gpu + 1e-6) if gpu <= 1 else math.floor(devices / gpu)
        return min(by_cpu, by_gpu)

    def _by_cpu(self, node: Mapping[str, float]) -> int:
        return math.floor(node.get("CPU", 0) / self.cpu + 1e-6)
