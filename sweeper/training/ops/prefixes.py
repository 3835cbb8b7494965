"""Parts that examples share: positions with few distinct tokens, and few distinct beginnings.

In a causal transformer a position's row depends only on the tokens up to it. Of the examples [a, ∘, b, =] of an
operation on p elements the first two positions have p distinct beginnings, however large the batch: they are computed
once for each beginning and looked up by every example that begins so. In the first block, queries, keys and values are
computed once for each distinct token at a position. The mathematics is the same; the work is not.

Where a batch has fewer examples than a position has distinct beginnings, looking up does not pay, and each example
computes its own row.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Place:
    """Where n readers find their rows in a tensor [R, rows, width].

    Attributes:
        start: the first row of the region read.
        count: n.
        index: int64 [R or 1, n], added to `start`; None where reader e reads row start + e, or all read one row.
        single: whether all read the row at `start`.
    """

    start: int
    count: int
    index: torch.Tensor | None = None
    single: bool = False


@dataclass(frozen=True)
class Layout:
    """The rows of a batch: those of the embedding, in the first block, and those of later blocks.

    Attributes:
        tokens: int64 [R or 1, M], token of each embedding row, position after position.
        positions: int64 [M], position of each embedding row.
        first: by position j and position i <= j, where the rows of j find those of i among the embedding rows.
        later: the same among the rows after the first block.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    first: list[list[Place]]
    later: list[list[Place]]


@dataclass(frozen=True)
class Kinds:
    """The distinct values at a position: how many, an example of each [count], and the kind of every example [N]."""

    count: int
    examples: torch.Tensor
    of: torch.Tensor


class Prefixes:
    """The distinct tokens and beginnings of examples.

    Args:
        tokens: int64 [N, L], on the device where they are used.
        share: whether examples may share rows at all; False is for comparisons.

    Attributes:
        tokens, share: the same.
        by_token, by_prefix: the distinct tokens at each position, and the distinct beginnings up to it.
    """

    def __init__(self, tokens: torch.Tensor, share: bool = True):
        self.tokens, self.share = tokens, share
        self._length = tokens.shape[1]
        known: list[Kinds] = []
        self.by_token = [_kinds(tokens[:, j : j + 1], known) for j in range(self._length)]
        self.by_prefix = [_kinds(tokens[:, : j + 1], known) for j in range(self._length)]

    def arrange(self, rows: torch.Tensor) -> Layout:
        """The layout of a batch: rows int64 [R, B], numbers of examples; the last position has a row for each."""
        batch, last = rows.shape[1], self._length - 1
        device = rows.device
        token_shared = [self.share and kinds.count <= batch for kinds in self.by_token]
        prefix_shared = [self.share and kinds.count <= batch and j < last for j, kinds in enumerate(self.by_prefix)]
        tokens, positions, token_start, prefix_start, m, n = [], [], [], [], 0, 0
        for j in range(self._length):
            token_start.append(m)
            prefix_start.append(n)
            chosen = self.by_token[j].examples[None] if token_shared[j] else rows
            tokens.append(self.tokens[:, j][chosen])
            positions.append(torch.full((chosen.shape[1],), j, device=device))
            m += chosen.shape[1]
            n += self.by_prefix[j].count if prefix_shared[j] else batch
        if any(not shared for shared in token_shared):
            tokens = [each.expand(len(rows), -1) for each in tokens]
        found: dict[int, torch.Tensor] = {}

        def place(kinds: Kinds, shared: bool, start: int, readers: torch.Tensor | None) -> Place:
            """Where readers (examples; None for those of the batch) find the rows of a position."""
            count = batch if readers is None else len(readers)
            if shared and kinds.count == 1:
                return Place(start, count, single=True)
            if not shared:
                return Place(start, count)
            if readers is not None:
                return Place(start, count, kinds.of[readers][None])
            # Positions often share their kinds, so that the lookup is done once.
            key = id(kinds.of)
            if key not in found:
                found[key] = kinds.of[rows]
            return Place(start, count, found[key])

        first, later = [], []
        for j in range(self._length):
            readers = self.by_prefix[j].examples if prefix_shared[j] else None
            first.append([place(self.by_token[i], token_shared[i], token_start[i], readers) for i in range(j + 1)])
            later.append([place(self.by_prefix[i], prefix_shared[i], prefix_start[i], readers) for i in range(j)])
            later[j].append(Place(prefix_start[j], first[j][0].count))
        return Layout(torch.cat(tokens, 1), torch.cat(positions), first, later)


def _kinds(tokens: torch.Tensor, known: list[Kinds]) -> Kinds:
    """The distinct rows of tokens [N, k]; one of the known partitions of the examples if it is the same."""
    distinct, of = torch.unique(tokens, dim=0, return_inverse=True)
    for kinds in known:
        if torch.equal(kinds.of, of):
            return kinds
    examples = torch.empty(len(distinct), dtype=torch.int64, device=tokens.device)
    numbers = torch.arange(len(tokens), device=tokens.device)
    known.append(Kinds(len(distinct), examples.scatter_reduce(0, of, numbers, "amin", include_self=False), of))
    return known[-1]
