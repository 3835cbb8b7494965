"""Random indices as a pure function of (seed, step, column): no generator, no state.

A counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes a run's draws
depend on its own seed alone: not on how many runs share the stack, nor on the padded width of the batch, nor on the
device; and a run continued from step t draws what it would have drawn. The mixer is the finaliser of SplitMix64
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), applied once for the
(seed, stream, step) key and once for each column.
"""

import torch

TRAIN, VALIDATION = 0, 1
"""Streams: draws for one purpose never meet the draws for another."""

STREAMS = 2
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64
_LOW_62 = 2**62 - 1


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser; int64 arithmetic wraps as it should."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def draw(seeds: torch.Tensor, stream: int, step: int | torch.Tensor, columns: int, below: torch.Tensor) -> torch.Tensor:
    """Indices drawn uniformly with replacement.

    Args:
        seeds: int64 [R], one a run.
        stream: `TRAIN` or `VALIDATION`.
        step: the update that the draws are for; a number, or an int64 tensor [1] or, for each run its own, [R].
        columns: draws for each run; the first k columns do not depend on it.
        below: int64 [R, 1], each run's number of examples.

    Returns:
        int64 [R, columns], row r in [0, below[r]). The modulo's bias is under below / 2^62.
    """
    keys = _mix(seeds * _GOLDEN + (step * STREAMS + stream + 1))
    column = torch.arange(1, columns + 1, device=seeds.device) * _GOLDEN
    return (_mix(keys[:, None] + column) & _LOW_62) % below
