"""The batch of an update: which examples every run draws, how often each counts, and what it weighs."""

from dataclasses import dataclass

import torch

from sweeper.training import rng
from sweeper.training.buffers import Buffers
from sweeper.training.ops import triton
from sweeper.training.ops.dedup import merge
from sweeper.training.stack import Stack


@dataclass(frozen=True)
class Batch:
    """One update of a stack.

    Attributes:
        rows: int64 [R, B], numbers of examples.
        counts: [R, B], how often each counts; 0 beyond the run's batch size.
        weights: [R, B], counts over the run's batch size.
        rate, decay: [R, 1], learning rate, and share of the parameters that is removed.
    """

    rows: torch.Tensor
    counts: torch.Tensor
    weights: torch.Tensor
    rate: torch.Tensor
    decay: torch.Tensor


def next_batch(stack: Stack, buffers: Buffers, width: int, once: bool) -> Batch:
    """The batch that the buffers' cursor is at, padded to `width`; `once` computes an example once that recurs."""
    updates, column = stack.optimiser.updates[:, 0], buffers.cursor
    if not once and triton.serve(stack.parameters.values):
        from sweeper.training.ops.triton import draws  # noqa: PLC0415  # Triton may be missing

        source = draws.Source(stack.seeds, rng.TRAIN, rng.STREAMS, updates, stack.train.rows, stack.train.counts)
        return Batch(*draws.batch(source, column, buffers.sizes, buffers.rates, buffers.decays, width))
    wanted = buffers.sizes.index_select(1, column)
    rate, decay = buffers.rates.index_select(1, column), buffers.decays.index_select(1, column)
    rows = stack.train.rows.gather(1, rng.draw(stack.seeds, rng.TRAIN, updates, width, stack.train.counts))
    counts: torch.Tensor = torch.arange(width, device=rows.device) < wanted
    if once:
        rows, counts = merge(rows, counts)
    return Batch(rows, counts, counts / wanted.to(rate.dtype), rate, decay)


def validation_draws(stack: Stack, columns: int) -> torch.Tensor:
    """Validation examples of every run for a sampled evaluation, int64 [R, columns]."""
    updates, validation = stack.optimiser.updates[:, 0], stack.validation
    if triton.serve(stack.parameters.values):
        from sweeper.training.ops.triton import draws  # noqa: PLC0415

        source = draws.Source(stack.seeds, rng.VALIDATION, rng.STREAMS, updates, validation.rows, validation.counts)
        return draws.draw(source, columns)
    return validation.rows.gather(1, rng.draw(stack.seeds, rng.VALIDATION, updates, columns, validation.counts))
