"""The batch size that the gradient noise calls for: B = c tr(Σ) / |G|^2, measured while training.

McCandlish, Kaplan, Amodei et al., "An empirical model of large-batch training", 2018, arXiv:1812.06162, appendix A.1:
the squared norms of the gradient on a batch and on its halves give unbiased estimates of |G|^2 and tr(Σ), which are
averaged over time before their ratio is taken.
"""

from dataclasses import dataclass

from sweeper.space.batch_schedules import BatchSchedule


@dataclass
class NoiseScale:
    """The adaptive schedule of one run.

    Attributes:
        schedule: bounds, the multiple c and the memory of the averages.
        signal: moving average of the estimate of |G|^2.
        noise: moving average of the estimate of tr(Σ).
        weight: sum of the weights in the averages, which corrects their start at 0.
    """

    schedule: BatchSchedule
    signal: float = 0.0
    noise: float = 0.0
    weight: float = 0.0

    def measure(self, batch: int, whole: float, half: float) -> None:
        """Take in one measurement.

        Args:
            batch: examples in the whole batch; even.
            whole: squared norm of the gradient on it.
            half: mean of the squared norms of the gradients on its two halves.
        """
        small = batch / 2
        signal = (batch * whole - small * half) / (batch - small)
        noise = (half - whole) / (1 / small - 1 / batch)
        memory = self.schedule.noise_memory
        self.signal = memory * self.signal + (1 - memory) * signal
        self.noise = memory * self.noise + (1 - memory) * noise
        self.weight = memory * self.weight + (1 - memory)

    @property
    def scale(self) -> float:
        """The gradient noise scale tr(Σ) / |G|^2 in examples; infinite where the signal drowns in the noise."""
        return self.noise / self.signal if self.signal > 0 else float("inf")

    @property
    def batch(self) -> int:
        """The batch size, within the schedule's bounds; even, so that the next measurement can halve it."""
        wanted = self.schedule.noise_fraction * self.scale if self.weight else self.schedule.low
        low, high = self.schedule.low, self.schedule.max
        size = int(min(max(wanted, low), high))
        even = size - size % 2
        return even if even >= low else even + 2
