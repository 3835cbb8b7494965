"""Where the rows of a batch lie whose examples share them: `sweeper.training.ops.prefixes`, for kernels.

A region is the rows of one position: a row for each distinct token or beginning there (shared), or one for each
example of the batch. Tables of regions are int32 [L, 6]: first row, rows and whether they are shared, of the table that
is read; first row, rows, and whether they are shared, of its readers.
"""

from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl

from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.ops.triton import launch, padded, tiles
from sweeper.training.ops.triton.attention import Readers

_ROWS = 128


@triton.jit(do_not_specialize=["batch", "examples", "everyone", "embedded"])
def _arrange(
    rows, tokens, token_kinds, prefix_kinds, token_examples, prefix_examples, regions, later_regions,
    embedded_tokens, first_index, first_own, later_index, later_own, batch, examples, everyone, embedded,
    LENGTH: tl.constexpr, SOURCES: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """For a tile of one position's rows: their tokens, and the rows that they read, in the first block and later."""
    run = tl.program_id(2).to(tl.int64)
    position = tl.program_id(1)
    e = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    # The rows of the embedding.
    start, count = tl.load(regions + position * 6), tl.load(regions + position * 6 + 1)
    live = e < count
    if tl.load(regions + position * 6 + 2) != 0:
        example = tl.load(token_examples + position * examples + e, live, 0)
    else:
        example = tl.load(rows + run * batch + e, live, 0).to(tl.int32)
    token = tl.load(tokens + example * LENGTH + position, live, 0)
    tl.store(embedded_tokens + run * embedded + start + e, token, live)
    # The rows of later blocks, which read them.
    start, count = tl.load(regions + position * 6 + 3), tl.load(regions + position * 6 + 4)
    live = e < count
    if tl.load(regions + position * 6 + 5) != 0:
        example = tl.load(prefix_examples + position * examples + e, live, 0)
    else:
        example = tl.load(rows + run * batch + e, live, 0).to(tl.int32)
    reader = run * everyone + start + e
    for source in tl.static_range(SOURCES):
        first = tl.full((ROWS,), -1, tl.int32)
        later = tl.full((ROWS,), -1, tl.int32)
        if source < LENGTH:  # noqa: SIM102  # one is a constant, the other is not
            if source <= position:
                kind = tl.load(token_kinds + example * LENGTH + source, live, 0)
                shared = tl.load(regions + source * 6 + 2) != 0
                first = tl.load(regions + source * 6) + tl.where(shared, kind, e)
                kind = tl.load(prefix_kinds + example * LENGTH + source, live, 0)
                shared = tl.load(later_regions + source * 6 + 2) != 0
                later = tl.load(later_regions + source * 6) + tl.where(shared, kind, e)
        if source == position:
            tl.store(first_own + reader, first, live)
            tl.store(later_own + reader, start + e, live)
            later = start + e
        tl.store(first_index + reader * SOURCES + source, first, live)
        tl.store(later_index + reader * SOURCES + source, later, live)


@dataclass(frozen=True)
class Arrangement:
    """The rows of a batch.

    Attributes:
        tokens: int32 [R, M], token of each row of the embedding.
        positions: int32 [M], its position.
        first: who reads those rows: all rows of later blocks.
        later: who reads the rows after the first block: the same rows.
        last: where the rows of the last position begin, one for each example.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    first: Readers
    later: Readers
    last: int

    def readers(self, block: int, depth: int) -> Readers:
        """The readers of a block: rows of all positions, and in the last block those of the last position alone."""
        readers = self.first if block == 0 else self.later
        return replace(readers, first=self.last) if block == depth - 1 else readers


@dataclass(frozen=True)
class _Plan:
    """The sizes that follow from a batch's size."""

    regions: torch.Tensor
    later_regions: torch.Tensor
    positions: torch.Tensor
    rows: tuple[int, int]
    longest: tuple[int, int]


class Arranger:
    """The distinct tokens and beginnings of examples, as tables on the device.

    Args:
        prefixes: of the examples.
    """

    def __init__(self, prefixes: Prefixes):
        self._share, self._tokens = prefixes.share, prefixes.tokens.int().contiguous()
        self._by_token, self._by_prefix = prefixes.by_token, prefixes.by_prefix
        self._tables = [
            torch.stack([kinds.of for kinds in each], 1).int() for each in (self._by_token, self._by_prefix)
        ]
        self._examples = [
            torch.nn.utils.rnn.pad_sequence(
                [kinds.examples for kinds in each] + [prefixes.tokens[:, 0] * 0], batch_first=True
            ).int().contiguous()
            for each in (self._by_token, self._by_prefix)
        ]  # fmt: skip
        self._plans: dict[int, _Plan] = {}

    def arrange(self, rows: torch.Tensor) -> Arrangement:
        """The rows of a batch: rows int64 [R, B], numbers of examples."""
        (runs, batch), (examples, length) = rows.shape, self._tokens.shape
        if batch not in self._plans:
            self._plans[batch] = self._plan(batch)
        plan = self._plans[batch]
        embedded, everyone = plan.rows
        sources = padded(length)
        tokens = self._tokens.new_empty(runs, embedded)
        # Each in memory of its own: whether it begins at a multiple of 16 bytes must not depend on the batch.
        index = [self._tokens.new_empty(runs, everyone, sources) for _ in range(2)]
        own = [self._tokens.new_empty(runs, everyone) for _ in range(2)]
        launch(
            _arrange, (tiles(max(plan.longest), _ROWS), length, runs),
            *(rows.contiguous(), self._tokens, *self._tables, *self._examples, plan.regions, plan.later_regions),
            *(tokens, index[0], own[0], index[1], own[1], batch, examples, everyone, embedded),
            LENGTH=length, SOURCES=sources, ROWS=_ROWS,
        )  # fmt: skip
        last = everyone - batch
        first = Readers(index[0], own[0], 0, plan.regions, plan.longest[0], length)
        later = Readers(index[1], own[1], 0, plan.later_regions, plan.longest[1], length)
        return Arrangement(tokens, plan.positions, first, later, last)

    def _plan(self, batch: int) -> _Plan:
        """The regions of a batch of that size: a position is shared where it has no more kinds than examples."""
        last = len(self._by_token) - 1
        by_token = [(kinds.count, self._share and kinds.count <= batch) for kinds in self._by_token]
        by_prefix = [
            (kinds.count, self._share and kinds.count <= batch and j < last) for j, kinds in enumerate(self._by_prefix)
        ]
        embedding, after = (self._regions(each, batch) for each in (by_token, by_prefix))
        device = self._tokens.device
        positions = [torch.full((count,), j) for j, (_, count, _) in enumerate(embedding)]
        regions, later_regions = (
            torch.tensor([[*one, *other] for one, other in zip(table, after, strict=True)], dtype=torch.int32).to(
                device
            )
            for table in (embedding, after)
        )
        return _Plan(
            regions=regions,
            later_regions=later_regions,
            positions=torch.cat(positions).int().to(device),
            rows=(sum(count for _, count, _ in embedding), sum(count for _, count, _ in after)),
            longest=(max(count for _, count, _ in embedding), max(count for _, count, _ in after)),
        )

    @staticmethod
    def _regions(kinds: list[tuple[int, bool]], batch: int) -> list[tuple[int, int, int]]:
        """First row, rows, and whether they are shared, of each position."""
        found, start = [], 0
        for count, shared in kinds:
            rows = count if shared else batch
            found.append((start, rows, int(shared)))
            start += rows
        return found
