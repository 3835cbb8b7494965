"""Attention over a few tokens, whose keys and values are rows of a table that readers share, and its gradient.

A reader has one query and up to L sources. All of a tile's keys are loaded at once, [readers, L, heads, dim]: softmax
and sums run over that little block in registers. The gradient of a row that several readers read is a product with the
one-hot matrix of who reads it (`_gather`): no atomics, no sorting, the same sum every time.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles, warps

_ENTRIES = 4096
"""Of a tile: readers times sources times padded width."""
_SIDE, _DEPTH = 64, 32


@dataclass(frozen=True)
class Readers:
    """The readers of a table [R, rows, ...], with the rows that each reads; see `arrange`.

    Attributes:
        index: int32 [R, all, L padded], the row read at each position, -1 at none.
        own: int32 [R, all], the row of the reader's own position.
        first: readers before it are left out.
        regions: int32 [L, 6], see `arrange`.
        longest: rows of the longest region of the table.
        length: L.
    """

    index: torch.Tensor
    own: torch.Tensor
    first: int
    regions: torch.Tensor
    longest: int
    length: int

    @property
    def count(self) -> int:
        """Readers of each run."""
        return self.own.shape[1] - self.first


@triton.jit
def _shares(
    qkv, index, own, run, reader, live, everyone, rows,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, HEADS_2: tl.constexpr, DIM_2: tl.constexpr,
    SOURCES: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    """Query, keys, values, shares [readers, L, heads], and the masks of what is real, for a tile of readers."""
    head, entry = tl.arange(0, HEADS_2)[:, None], tl.arange(0, DIM_2)[None, :]
    column = head * DIM + entry
    real = (head < HEADS) & (entry < DIM)
    place = run * everyone + reader
    source = tl.load(index + place[:, None] * SOURCES + tl.arange(0, SOURCES)[None, :], live[:, None], -1)
    seen = source >= 0
    at = ((run * rows + source) * 3 * WIDTH)[:, :, None, None] + column[None, None, :, :]
    mask = seen[:, :, None, None] & real[None, None, :, :]
    query_at = (run * rows + tl.load(own + place, live, 0)) * 3 * WIDTH
    query = tl.load(qkv + query_at[:, None, None] + column[None, :, :], live[:, None, None] & real[None, :, :], 0.0)
    key = tl.load(qkv + WIDTH + at, mask, 0.0)
    value = tl.load(qkv + 2 * WIDTH + at, mask, 0.0)
    score = tl.sum(query[:, None, :, :] * key, 3) * SCALE
    # Padded readers see everything, so that no row of the softmax is empty.
    score = tl.where((seen | (live == 0)[:, None])[:, :, None], score, float("-inf"))
    power = tl.exp(score - tl.max(score, 1)[:, None, :])
    return query, key, value, power / tl.sum(power, 1)[:, None, :], column, real


@triton.jit(do_not_specialize=["everyone", "first", "rows"])
def _attend(
    qkv, index, own, mixed, everyone, first, rows,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, HEADS_2: tl.constexpr, DIM_2: tl.constexpr,
    SOURCES: tl.constexpr, SCALE: tl.constexpr, READERS: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    reader = first + tl.program_id(0) * READERS + tl.arange(0, READERS)
    live = reader < everyone
    _, _, value, share, column, real = _shares(
        qkv, index, own, run, reader, live, everyone, rows, WIDTH, HEADS, DIM, HEADS_2, DIM_2, SOURCES, SCALE
    )
    found = tl.sum(share[:, :, :, None] * value, 1)
    line = (run * (everyone - first) + reader - first) * WIDTH
    tl.store(mixed + line[:, None, None] + column[None, :, :], found, live[:, None, None] & real[None, :, :])


@triton.jit(do_not_specialize=["everyone", "first", "rows"])
def _attend_backward(
    qkv, index, own, dmixed, dqueries, shares, dscores, everyone, first, rows,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, HEADS_2: tl.constexpr, DIM_2: tl.constexpr,
    SOURCES: tl.constexpr, SCALE: tl.constexpr, READERS: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    reader = first + tl.program_id(0) * READERS + tl.arange(0, READERS)
    live = reader < everyone
    _, key, value, share, column, real = _shares(
        qkv, index, own, run, reader, live, everyone, rows, WIDTH, HEADS, DIM, HEADS_2, DIM_2, SOURCES, SCALE
    )
    place = run * (everyone - first) + reader - first
    line = (place * WIDTH)[:, None, None] + column[None, :, :]
    mask = live[:, None, None] & real[None, :, :]
    slope = tl.load(dmixed + line, mask, 0.0).to(tl.float32)
    dshare = tl.sum(slope[:, None, :, :] * value, 3)
    dscore = share * (dshare - tl.sum(share * dshare, 1)[:, None, :]) * SCALE
    tl.store(dqueries + line, tl.sum(dscore[:, :, :, None] * key, 1), mask)
    head, source = tl.arange(0, HEADS_2)[None, None, :], tl.arange(0, SOURCES)[None, :, None]
    at = (place[:, None, None] * SOURCES + source) * HEADS + head
    mask = live[:, None, None] & (head < HEADS)
    tl.store(shares + at, share, mask)
    tl.store(dscores + at, dscore, mask)


@triton.jit(do_not_specialize=["everyone", "first", "rows"])
def _gather(
    qkv, index, own, regions, dmixed, dqueries, drest, shares, dscores, dqkv, dx, everyone, first, rows,
    WIDTH: tl.constexpr, WIDTH_2: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, SOURCES: tl.constexpr,
    LENGTH: tl.constexpr, ROWS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile of the table's rows: 0 queries, 1 keys, 2 values, 3 what goes around the attention."""
    run = tl.program_id(2).to(tl.int64)
    part, position = tl.program_id(1) % 4, tl.program_id(1) // 4
    start = tl.load(regions + position * 6)
    count = tl.load(regions + position * 6 + 1)
    shared = tl.load(regions + position * 6 + 2)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    if tl.program_id(0) * ROWS >= count:
        return
    column = tl.arange(0, WIDTH_2)
    head, real = tl.minimum(column // DIM, HEADS - 1)[None, :], (column < WIDTH)[None, :]
    total = tl.zeros((ROWS, WIDTH_2), tl.float32)
    # Positions before do not read this one; queries and what goes around are read by the position itself alone.
    to = tl.where((part == 0) | (part == 3), position + 1, LENGTH)
    for other in range(position, to):
        readers = tl.load(regions + other * 6 + 3)
        ended = readers + tl.load(regions + other * 6 + 4)
        # Where rows are not shared, reader e reads row e: one step, whose matrix would be the identity.
        begin = tl.where(shared == 0, readers + tl.program_id(0) * ROWS, readers)
        end = tl.where(shared == 0, tl.minimum(begin + ROWS, ended), ended)
        if readers >= first:
            for step in range(begin, end, DEPTH):
                reader = step + tl.arange(0, DEPTH)
                live = reader < end
                place = run * (everyone - first) + reader - first
                line = place[:, None] * WIDTH + column[None, :]
                mask = live[:, None] & real
                if part == 0:
                    given = tl.load(dqueries + line, mask, 0.0)
                elif part == 3:
                    given = tl.load(drest + line, mask, 0.0)
                else:
                    scalar = (place[:, None] * SOURCES + position) * HEADS + head
                    if part == 1:
                        query_at = (run * rows + tl.load(own + run * everyone + reader, live, 0)) * 3 * WIDTH
                        given = tl.load(qkv + query_at[:, None] + column[None, :], mask, 0.0)
                        given *= tl.load(dscores + scalar, mask, 0.0)
                    else:
                        given = tl.load(dmixed + line, mask, 0.0).to(tl.float32)
                        given *= tl.load(shares + scalar, mask, 0.0)
                read = tl.load(index + (run * everyone + reader) * SOURCES + position, live, -1)
                # 1 where this row is read by this reader, else 0: exact in any precision.
                one_hot = ((start + row)[:, None] == read[None, :]).to(tl.float32)
                total = tl.dot(one_hot, given, total, input_precision="tf32x3")
    line = (run * rows + start + row)[:, None]
    mask = (row < count)[:, None] & real
    if part == 3:
        tl.store(dx + line * WIDTH + column[None, :], total, mask)
    else:
        tl.store(dqkv + line * 3 * WIDTH + part * WIDTH + column[None, :], total, mask)


def _shape(width: int, heads: int, length: int) -> dict[str, int | float]:
    dim = width // heads
    sides = padded(length), padded(heads), padded(dim)
    return {
        "WIDTH": width, "HEADS": heads, "DIM": dim, "SOURCES": sides[0], "HEADS_2": sides[1], "DIM_2": sides[2],
        "SCALE": dim**-0.5, "READERS": max(1, _ENTRIES // (sides[0] * sides[1] * sides[2])),
    }  # fmt: skip


def attend(qkv: torch.Tensor, readers: Readers, mixed: torch.Tensor, heads: int) -> None:
    """Write the attention of each reader over its sources to mixed [R, readers, width]; qkv is [R, rows, 3 width]."""
    shape = _shape(mixed.shape[2], heads, readers.length)
    launch(
        _attend, (tiles(readers.count, int(shape["READERS"])), len(qkv)),
        *(qkv, readers.index, readers.own, mixed, readers.own.shape[1], readers.first, qkv.shape[1]), **shape,
    )  # fmt: skip


def backward(
    qkv: torch.Tensor, readers: Readers, dmixed: torch.Tensor, drest: torch.Tensor, dqkv: torch.Tensor,
    dx: torch.Tensor, heads: int,
) -> None:  # fmt: skip
    """Write the gradient of qkv, and what goes around the attention, gathered for each row.

    Args:
        qkv: [R, rows, 3 width].
        readers: as in `attend`.
        dmixed: [R, readers, width], gradient of `attend`'s result.
        drest: float32 [R, readers, width], gradient of the readers' own rows, which the residual connection carries.
        dqkv: [R, rows, 3 width], is written.
        dx: float32 [R, rows, width], is written: the sum of `drest` over the readers whose own row it is.
        heads: attention heads.
    """
    runs, rows, _ = qkv.shape
    width, count = dmixed.shape[2], readers.count
    shape = _shape(width, heads, readers.length)
    dqueries = qkv.new_empty(runs, count, width)
    shares, dscores = (qkv.new_empty(runs, count, int(shape["SOURCES"]), heads) for _ in range(2))
    ends = (readers.own.shape[1], readers.first, rows)
    launch(
        _attend_backward, (tiles(count, int(shape["READERS"])), runs),
        *(qkv, readers.index, readers.own, dmixed, dqueries, shares, dscores, *ends), **shape,
    )  # fmt: skip
    launch(
        _gather, (tiles(readers.longest, _SIDE), 4 * readers.length, runs),
        *(qkv, readers.index, readers.own, readers.regions, dmixed, dqueries, drest, shares, dscores, dqkv, dx, *ends),
        WIDTH=width, WIDTH_2=padded(width, 16), HEADS=heads, DIM=width // heads, SOURCES=shape["SOURCES"],
        LENGTH=readers.length, ROWS=_SIDE, DEPTH=_DEPTH, num_warps=warps(width),
    )  # fmt: skip
