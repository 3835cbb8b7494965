"""Exact m-heights of real linear codes, from their vertices.

A code has the generator G = [I | P], k x n. With the entries of a codeword sorted by size, |c|(0) >= ... >= |c|(n-1),
its m-height is |c|(0) / |c|(m); a code's is the largest that any codeword but zero has. It is finite for m below the
minimum distance. There it is the best of many linear programs, "maximise c_a while |c_j| <= 1 for all j outside a set
of m columns with a in it", and each has its optimum in a vertex: a codeword that is 1 or -1 on k columns K with
G_K invertible. So h_m is the largest entry of all vertices that have at most m entries above 1, and one pass over
every K and every choice of signs gives the whole profile.

On the way the codewords that are 1 on one column of K and 0 on the others are needed. By Cramer's rule their entries
are ratios of k x k minors of G, and those are expanded row by row, for many codes at once. Arrays have the codes as
their last axis, along which memory runs.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

TOLERANCE = 1e-9
"""A matrix is singular when its smallest singular value is at most this times the largest entry of G."""
_TIE = 1e-10
"""An entry that exceeds 1 by this much or less is a 1 that was rounded."""
_BATCH = 512
"""Codes whose minors are computed at once."""
_AT_ONCE = 2**18
"""Entries of vertices that are in memory at once: 2 MiB, which caches hold."""


def profiles(P: Reals) -> Reals:
    """The height profiles of codes.

    Args:
        P: float64 [N, k, n-k], the redundant part of each generator; finite, entries up to about 1e6.

    Returns:
        float64 [N, n-1]: h_1, ..., h_(n-1), infinite from the minimum distance on. Relative errors are about 1e-10.
    """
    count, k, redundancy = P.shape
    found = np.full((count, k + redundancy - 1), np.inf)
    for first in range(0, count, _BATCH):
        batch = P[first : first + _BATCH]
        G = np.concatenate([np.broadcast_to(np.eye(k), (len(batch), k, k)), batch], axis=2)
        minors = _minors(G)
        singular = _singular(G, minors)
        finite = np.arange(1, redundancy + 1) < _distances(G, np.flatnonzero(singular.any(axis=0)))[:, None]
        # A vertex of a singular K is no codeword; as zeros its entries count for nothing.
        heights = _heights(minors, np.where(singular, np.inf, minors), k, k + redundancy)
        found[first : first + _BATCH, :redundancy] = np.where(finite, heights, np.inf)
    return found


@dataclass(frozen=True)
class _Exchanges:
    """The k-subsets K of n columns, and where each leads when one of its columns is exchanged for one outside.

    Attributes:
        sets: [C(n,k), k], columns in rising order.
        target: [k, n-k, C(n,k)], the row in `sets` that K becomes when its i-th column gives way to the j-th outside.
        sign: float64, of the same shape: -1 where sorting the columns afterwards takes an odd number of swaps.
    """

    sets: Indices
    target: Indices
    sign: Reals


@cache
def _exchanges(k: int, n: int) -> _Exchanges:
    sets = list(combinations(range(n), k))
    number = {each: i for i, each in enumerate(sets)}
    target, sign = np.empty((k, n - k, len(sets)), dtype=np.intp), np.empty((k, n - k, len(sets)))
    for place, columns in enumerate(sets):
        for j, new in enumerate(sorted(set(range(n)).difference(columns))):
            for i in range(k):
                exchanged = tuple(sorted((*columns[:i], *columns[i + 1 :], new)))
                target[i, j, place] = number[exchanged]
                sign[i, j, place] = (-1) ** (exchanged.index(new) - i)
    return _Exchanges(np.array(sets), target, sign)


@cache
def _expansion(size: int, n: int) -> tuple[Indices, Indices]:
    """How minors of `size` rows come from those of one row less: the column taken out, and what remains.

    Both are [size, C(n, size)]; the second indexes the subsets of size - 1, in the order of `combinations`.
    """
    smaller = {each: i for i, each in enumerate(combinations(range(n), size - 1))}
    larger = list(combinations(range(n), size))
    remains = [[smaller[each[:i] + each[i + 1 :]] for each in larger] for i in range(size)]
    return np.array(larger).T, np.array(remains)


def _minors(G: Reals) -> Reals:
    """All k x k minors of G [N, k, n]: [C(n,k), N], by Laplace's expansion along the last row."""
    k, n = G.shape[1:]
    rows = np.ascontiguousarray(np.moveaxis(G, 0, -1))
    minors: Reals = rows[0]
    for size in range(2, k + 1):
        columns, remains = _expansion(size, n)
        expanded = np.zeros((columns.shape[1], len(G)))
        for i in range(size):
            term = np.take(rows[size - 1], columns[i], axis=0) * np.take(minors, remains[i], axis=0)
            expanded += term if (size - 1 - i) % 2 == 0 else -term
        minors = expanded
    return minors


def _singular(G: Reals, minors: Reals) -> Flags:
    """Which G_K are singular: [C(n,k), N].

    Singular values are computed only where the minor leaves it open. G_K is [I X; 0 Y] up to order, with Y r x r and
    entries of at most s: if it has a singular value t <= 1/2, then Y has one of at most 2t (1 + ks), and none above rs.
    """
    k, n = G.shape[1:]
    sets = _exchanges(k, n).sets
    r = (sets >= k).sum(axis=1)[:, None]
    scale = np.abs(G).max(axis=(1, 2))
    bound = 2 * TOLERANCE * scale * (1 + k * scale) * (r * scale) ** np.maximum(r - 1, 0)
    found: Flags = (np.abs(minors) <= bound) & (r > 0)
    which, code = np.nonzero(found)
    matrices = np.swapaxes(G[code[:, None], :, sets[which]], 1, 2)
    found[which, code] = _smallest_singular_value(matrices) <= TOLERANCE * scale[code]
    return found


def _distances(G: Reals, special: Indices) -> Indices:
    """Minimum distances [N]: n-k+1, but for special codes the fewest columns without which the rank is below k."""
    k, n = G.shape[1:]
    found = np.full(len(G), n - k + 1)
    smallest = TOLERANCE * np.abs(G[special]).max(axis=(1, 2), initial=0)
    for deleted in range(n - k, 0, -1):
        kept = np.array(list(combinations(range(n), n - deleted)))
        values = _smallest_singular_value(np.moveaxis(G[special][:, :, kept], 2, 1))
        found[special[(values <= smallest[:, None]).any(axis=1)]] = deleted
    return found


def _smallest_singular_value(matrices: Reals) -> Reals:
    return np.asarray(np.linalg.svd(matrices, compute_uv=False)[..., -1])


def _heights(minors: Reals, pivots: Reals, k: int, n: int) -> Reals:
    """For m = 1 to n-k the largest entry of all vertices with at most m entries above 1: [N, n-k].

    Args:
        minors: [C(n,k), N].
        pivots: the same, infinite where K is to be left out.
    """
    exchanges = _exchanges(k, n)
    codes = minors.shape[1]
    found = np.empty((codes, n - k))
    width = max(1, _AT_ONCE // (exchanges.target[0].size << (k - 1)))
    for first in range(0, codes, width):
        few = slice(first, first + width)
        # Several times as fast as minors[exchanges.target, few].
        entries = np.take(np.ascontiguousarray(minors[:, few]), exchanges.target, axis=0)
        entries *= exchanges.sign[..., None]
        entries /= pivots[:, few]
        largest, above = _vertices(entries.reshape(k, n - k, -1))
        for m in range(1, n - k + 1):
            best = (largest * (above <= m)).max(axis=0)
            found[few, m - 1] = best.reshape(len(exchanges.sets), -1).max(axis=0)
    return np.maximum(found, 1.0)


def _vertices(entries: Reals) -> tuple[Reals, npt.NDArray[np.int8]]:
    """The largest entry of each vertex outside K, and how many of its entries are above 1: both [2^(k-1), L].

    Args:
        entries: [k, n-k, L]: outside K, the entries of the codewords that are 1 on one column of K and 0 on the others.
    """
    k, outside, count = entries.shape
    # The first sign stays +: c and -c are one vertex. Each further column of K doubles what there is.
    vertices = np.empty((1 << (k - 1), outside, count))
    vertices[0] = entries[0]
    for i in range(1, k):
        half = 1 << (i - 1)
        np.subtract(vertices[:half], entries[i], out=vertices[half : 2 * half])
        vertices[:half] += entries[i]
    np.abs(vertices, out=vertices)
    above = (vertices > 1 + _TIE).view(np.int8).sum(axis=1, dtype=np.int8)
    return np.asarray(vertices.max(axis=1)), above
