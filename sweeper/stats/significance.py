"""How many pairs of runs a p-value below 0.05 takes."""

import math

LEVEL = 0.05


def fewest(comparisons: int = 1) -> int:
    """Replicates that p < 0.05 takes: the least p is 2/2^n, times the comparisons that Holm adjusts for."""
    return math.floor(math.log2(2 * comparisons / LEVEL)) + 1


def too_few(replicates: int, comparisons: int = 1) -> str:
    """`3 pairs cannot give p < 0.05; at least 6 are needed`; empty where they can."""
    if replicates >= fewest(comparisons):
        return ""
    many = f" in {comparisons} comparisons" if comparisons > 1 else ""
    return f"{plural(replicates, 'pair')} cannot give p < 0.05{many}; at least {fewest(comparisons)} are needed"


def plural(count: int, noun: str) -> str:
    """`1 pair`, `2,000 pairs`."""
    return f"{count:,} {noun}" + "s" * (count != 1)
