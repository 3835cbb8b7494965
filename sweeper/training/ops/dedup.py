"""Draws with replacement repeat themselves: an example drawn twice is computed once and counts twice.

Of n draws from N examples about N (1 - exp(-n / N)) are distinct: 485 of 512 from 4,704, and 2,734 of the 4,096 of the
published experiment's sampled evaluation from 4,705. How many there are is known only after the draw, so that it pays
where shapes are free to change from step to step: on a CPU, not in a CUDA graph.
"""

import torch


def merge(rows: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct rows of each run, and how often each was drawn.

    Args:
        rows: int64 [R, B].
        mask: bool [R, B], which draws count; the first of every run does.

    Returns:
        int64 [R, U] rows and int64 [R, U] counts; U is the largest number of distinct rows in a run, and runs with
        fewer are padded with rows that count 0.
    """
    drawn, order = torch.where(mask, rows, rows[:, :1]).sort(dim=1)
    starts = torch.ones_like(mask)
    starts[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    place = starts.cumsum(1) - 1
    width = int(place[:, -1].max()) + 1
    distinct = rows[:, :1].repeat(1, width).scatter_(1, place, drawn)
    counts = torch.zeros_like(distinct).scatter_add_(1, place, mask.gather(1, order).long())
    return distinct, counts
