"""Schedules of a stack of runs: the batch size, learning rate and decay of every update."""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.space.batch_schedules import batch_sizes
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.training.noise_scale import NoiseScale


class Course:
    """The course of R runs over a horizon of H updates.

    Attributes:
        sizes: int64 [R, H], examples in each update's batch.
        rates: float64 [R, H], learning rate of each update.
        decays: float64 [R, H], share of the parameters removed by each update.
    """

    def __init__(self, runs: Sequence[Hyperparameters], horizon: int):
        self._runs = list(runs)
        self._adaptive = [NoiseScale(run.batch) if run.batch.shape == "noise_scale" else None for run in runs]
        self.sizes = np.stack([batch_sizes(run.batch, horizon) for run in runs])
        self.rates = np.empty(self.sizes.shape)
        self.decays = np.empty(self.sizes.shape)
        for row, adaptive in enumerate(self._adaptive):
            if adaptive is not None:
                self.sizes[row] = adaptive.batch
            self._set_rates(row, 0)

    def window(self, first: npt.NDArray[np.int64], updates: int) -> tuple[npt.NDArray[Any], ...]:
        """Sizes, rates and decays [R, updates] from each run's update `first` [R] on."""
        rows, columns = np.arange(len(first))[:, None], first[:, None] + np.arange(updates)
        return self.sizes[rows, columns], self.rates[rows, columns], self.decays[rows, columns]

    def measures(self, updates: npt.NDArray[np.int64]) -> bool:
        """Whether some run is to measure its gradient noise at its update [R]."""
        return any(a is not None and u % a.schedule.every == 0 for a, u in zip(self._adaptive, updates, strict=True))

    def measured(
        self, updates: npt.NDArray[np.int64], whole: npt.NDArray[np.float64], half: npt.NDArray[np.float64]
    ) -> None:
        """Set the batch sizes after each run's update [R] from squared gradient norms [R], on batches and on halves."""
        for row, (adaptive, update) in enumerate(zip(self._adaptive, updates.tolist(), strict=True)):
            due = adaptive is not None and update % adaptive.schedule.every == 0
            if adaptive is not None and due and np.isfinite(whole[row]) and np.isfinite(half[row]):
                adaptive.measure(int(self.sizes[row, update]), float(whole[row]), float(half[row]))
                self.sizes[row, update + 1 :] = adaptive.batch
                self._set_rates(row, update + 1)

    def take(self, rows: Sequence[int]) -> "Course":
        """A course of copies of the runs in `rows`."""
        taken = copy(self)
        taken._runs = [self._runs[row] for row in rows]
        taken._adaptive = [deepcopy(self._adaptive[row]) for row in rows]
        taken.sizes = self.sizes[list(rows)]
        taken.rates, taken.decays = self.rates[list(rows)], self.decays[list(rows)]
        return taken

    def put(self, rows: Sequence[int], other: "Course", others: Sequence[int]) -> None:
        """Overwrite the runs in `rows` by those in the rows `others` of another course over the same horizon."""
        for row, place in zip(rows, others, strict=True):
            self._runs[row], self._adaptive[row] = other._runs[place], deepcopy(other._adaptive[place])
            self.sizes[row], self.rates[row] = other.sizes[place], other.rates[place]
            self.decays[row] = other.decays[place]

    def rest(self, rows: Sequence[int]) -> None:
        """Let these runs change nothing and measure nothing from now on, with the smallest of batches."""
        for row in rows:
            self._adaptive[row] = None
            self.sizes[row], self.rates[row], self.decays[row] = 1, 0.0, 0.0

    def state(self) -> list[dict[str, Any] | None]:
        """The state of adaptive runs: of each its moving averages and its batch sizes.

        Sizes are a tensor: lists of a horizon's length take seconds to pack and to unpack.
        """
        return [
            None
            if adaptive is None
            else {"averages": [adaptive.signal, adaptive.noise, adaptive.weight], "sizes": torch.from_numpy(sizes)}
            for adaptive, sizes in zip(self._adaptive, self.sizes, strict=True)
        ]

    def restore(self, state: Sequence[Mapping[str, Any] | None]) -> None:
        """Go on from what `state` gave of the same runs. Raises LookupError, TypeError or ValueError for others."""
        for row, (adaptive, kept) in enumerate(zip(self._adaptive, state, strict=True)):
            if (adaptive is None) != (kept is None):
                raise ValueError("measurements are kept of adaptive runs, and of no others")
            if adaptive is not None and kept is not None:
                adaptive.signal, adaptive.noise, adaptive.weight = map(float, kept["averages"])
                self.sizes[row] = np.asarray(kept["sizes"], dtype=np.int64)
                self._set_rates(row, 0)

    def _set_rates(self, row: int, first: int) -> None:
        """Learning rates and decays from update `first` on: warm-up times the coupling to the batch size."""
        run, sizes = self._runs[row], self.sizes[row, first:]
        updates = np.arange(first, self.sizes.shape[1])
        warm = np.minimum(updates / run.warmup_steps, 1.0) if run.warmup_steps else np.ones(len(updates))
        ratio = sizes / run.reference_batch
        factor = {"none": np.ones(len(updates)), "linear": ratio, "sqrt": np.sqrt(ratio)}[run.coupling]
        uncoupled = run.learning_rate * warm
        self.rates[row, first:] = uncoupled * factor
        self.decays[row, first:] = (uncoupled if run.hold_decay else uncoupled * factor) * run.weight_decay
