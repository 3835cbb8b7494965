"""How many trials fit at once, and what happens to a trial that runs out of memory because it shares a GPU."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.stats.events import CROWDED, OUT_OF_MEMORY, Ending

Nodes = Sequence[Mapping[str, float]]
"""What each node has, as in `{"CPU": 8.0, "GPU": 2.0}`."""


@dataclass
class Capacity:
    """What nodes have and what one trial takes of it.

    Attributes:
        nodes: says what there is at the moment: nodes join and leave.
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

        Where trials with a smaller share still run, fewer of them than slots are enough to know that a trial with the
        present share fits: a full device has at least as many trials on it as it has slots.
        """
        return sum(self._on(node, self.gpu) for node in self.nodes())

    @property
    def most_on_a_gpu(self) -> int:
        """The most trials that one GPU's part of the cores is enough for; 0 where no trial finds a GPU and cores."""
        fitting = [node for node in self.nodes() if self._on(node, 1)]
        return max((max(math.floor(self._by_cpu(node) / math.floor(node["GPU"])), 1) for node in fitting), default=0)

    def grant_more_memory(self, had: float, ending: Ending) -> bool:
        """Whether a trial with a share that ended so is to be trained again; new trials then get twice that share.

        Trials that ran out of memory together raise the share once.
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
