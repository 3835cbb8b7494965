"""The batch of an update in one kernel: draws equal to the bit to `sweeper.training.rng`'s, and what examples weigh."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, tiles

_BLOCK = 128
_GOLDEN = tl.constexpr(0x9E3779B97F4A7C15)
_LOW_62 = tl.constexpr(2**62 - 1)


@triton.jit
def _mix(x):
    """SplitMix64's finaliser, of uint64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)


@triton.jit
def _drawn(seeds, steps, table, below, run, column, examples, stream, streams):
    """Entries of the run's row of a table."""
    place = tl.load(steps + run) * streams + stream + 1
    key = _mix(tl.load(seeds + run).to(tl.uint64) * _GOLDEN + place.to(tl.uint64))
    word = _mix(key + (column + 1).to(tl.uint64) * _GOLDEN) & _LOW_62
    index = (word % tl.load(below + run).to(tl.uint64)).to(tl.int64)
    return tl.load(table + run * examples + index)


@triton.jit(do_not_specialize=["columns", "examples", "stream", "streams"])
def _draw(seeds, steps, table, below, drawn, columns, examples, stream, streams, BLOCK: tl.constexpr):
    run = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    found = _drawn(seeds, steps, table, below, run, column, examples, stream, streams)
    tl.store(drawn + run * columns + column, found, column < columns)


@triton.jit(do_not_specialize=["columns", "examples", "window", "stream", "streams"])
def _batch(
    seeds, steps, table, below, cursor, sizes, rates, decays, drawn, counts, weights, rate, decay,
    columns, examples, window, stream, streams, BLOCK: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    now = run * window + tl.load(cursor)
    size = tl.load(sizes + now)
    count = (column < size).to(tl.float32)
    at, real = run * columns + column, column < columns
    found = _drawn(seeds, steps, table, below, run, column, examples, stream, streams)
    tl.store(drawn + at, found, real)
    tl.store(counts + at, count, real)
    tl.store(weights + at, count / size.to(tl.float32), real)
    if tl.program_id(0) == 0:
        tl.store(rate + run, tl.load(rates + now))
        tl.store(decay + run, tl.load(decays + now))


@dataclass(frozen=True)
class Source:
    """The examples to draw from.

    Attributes:
        seeds: int64 [R].
        stream, streams: number of the stream, and how many there are.
        steps: int64 [R], the update of each run that the draws are for.
        table: int64 [R, N], contiguous.
        below: int64 [R, 1], how many entries of each row count.
    """

    seeds: torch.Tensor
    stream: int
    streams: int
    steps: torch.Tensor
    table: torch.Tensor
    below: torch.Tensor


def draw(source: Source, columns: int) -> torch.Tensor:
    """Entries of each run's row of the table, int64 [R, columns], drawn as `sweeper.training.rng.draw` draws."""
    s, runs = source, len(source.seeds)
    drawn = s.table.new_empty(runs, columns)
    launch(
        _draw, (tiles(columns, _BLOCK), runs),
        *(s.seeds, s.steps.contiguous(), s.table, s.below, drawn, columns, s.table.shape[1], s.stream, s.streams),
        BLOCK=_BLOCK,
    )  # fmt: skip
    return drawn


def batch(
    source: Source, cursor: torch.Tensor, sizes: torch.Tensor, rates: torch.Tensor, decays: torch.Tensor, columns: int
) -> tuple[torch.Tensor, ...]:
    """The same; which of the examples count, 1 or 0, and their weights [R, columns]; the rate and the decay [R, 1].

    Args:
        source: of the examples.
        cursor: int64 [1], the column of the update in the tables.
        sizes: int64 [R, W], contiguous, examples that the next updates of a run ask for.
        rates, decays: float32 [R, W], contiguous.
        columns: width of the padded batch.
    """
    s, (runs, window) = source, sizes.shape
    drawn = s.table.new_empty(runs, columns)
    counts, weights = (rates.new_empty(runs, columns) for _ in range(2))
    rate, decay = (rates.new_empty(runs, 1) for _ in range(2))
    launch(
        _batch, (tiles(columns, _BLOCK), runs),
        *(s.seeds, s.steps.contiguous(), s.table, s.below, cursor, sizes, rates, decays),
        *(drawn, counts, weights, rate, decay, columns, s.table.shape[1], window, s.stream, s.streams), BLOCK=_BLOCK,
    )  # fmt: skip
    return drawn, counts, weights, rate, decay
