"""Whether one configuration is faster than another, from runs on the same seeds."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.stats.significance import LEVEL, fewest, plural, too_few
from sweeper.stats.student import quantile

Floats = npt.NDArray[np.float64]

POWER = 0.8
MOST_MORE = 10_000
MOST_EXACT = 16  # replicates: 2^16 swaps
RANDOM_SWAPS = 100_000
BATCH = 2_000  # swaps held in memory at a time
ROUNDING = 1e-12  # of a log-ratio


@dataclass(frozen=True)
class Comparison:
    """How long configuration a takes, relative to b.

    Attributes:
        ratio: geometric mean over operations of the ratio of restricted mean times; below 1, a is faster.
        low, high: its 95 % interval; 0 and infinity for a single replicate.
        p: two-sided p-value of the paired permutation test.
        replicates: pairs of runs that were compared, for each operation.
        needed: replicates *more* that would separate them with 80 % power if the ratio is what was estimated. None when
            they are separated already, the ratio is 1, more than 10,000 would be needed, or a single replicate says
            nothing of the spread.
    """

    ratio: float
    low: float
    high: float
    p: float
    replicates: int
    needed: int | None

    @property
    def separated(self) -> bool:
        """Whether the p-value is below 0.05."""
        return self.p < LEVEL


def compare(a: npt.ArrayLike, b: npt.ArrayLike) -> Comparison:
    """Compare restricted times by the mean over operations of log(mean of a / mean of b).

    The interval is by the delta method, with Student's t: each replicate's influence on the statistic is the mean over
    operations of a/mean(a) - b/mean(b).

    Args:
        a, b: [operations, replicates], above 0, on one clock: min(T, limit), which is the limit for a run that did not
            reach the event. Column r of both is from runs with the same seed.

    Raises:
        ValueError: the shapes differ, there is no operation or no replicate, or a time is not finite and above 0.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise ValueError(f"got shapes {a.shape} and {b.shape}; give two arrays [operations, replicates] of one shape")
    if not all(np.all(np.isfinite(times) & (times > 0)) for times in (a, b)):
        raise ValueError("times have to be finite and above 0")
    replicates = a.shape[1]
    means_a, means_b = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
    statistic = float(np.log(means_a / means_b).mean())
    p = _permutation_p(a, b, statistic)
    if replicates == 1:
        return Comparison(math.exp(statistic), 0.0, math.inf, p, replicates, None)
    spread = float((a / means_a - b / means_b).mean(axis=0).std(ddof=1))
    margin = quantile(1 - LEVEL / 2, replicates - 1) * spread / math.sqrt(replicates)
    return Comparison(
        ratio=math.exp(statistic),
        low=math.exp(statistic - margin),
        high=math.exp(statistic + margin),
        p=p,
        replicates=replicates,
        needed=None if p < LEVEL else _needed(statistic, spread, replicates),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for having made all these tests, in the order given.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6:65-70.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in adjusted]


def verdict(name_a: str, name_b: str, comparison: Comparison, p: float | None = None, comparisons: int = 1) -> str:
    """One sentence on which is faster; a `p` adjusted by `holm` decides in place of the comparison's own.

    Args:
        name_a, name_b: of the configurations.
        comparison: of the two.
        p: adjusted for the number of comparisons.
        comparisons: that number.
    """
    decisive = comparison.p if p is None else p
    evidence = _p_words(decisive) + ("" if p is None else " (Holm)")
    runs = plural(comparison.replicates, "replicate")
    if decisive < LEVEL:
        return f"{name_a} is {_effect_words(comparison, name_b)}, {evidence}, {runs}"
    ratio, low, high = (_ratio_words(x) for x in (comparison.ratio, comparison.low, comparison.high))
    sentence = (
        f"{name_a} and {name_b} are not separated"
        f" ({name_a} takes {ratio} times as long, 95 % interval {low} to {high}), {evidence}, {runs}"
    )
    if few := too_few(comparison.replicates, comparisons):
        sentence += f"; {few}"
    if comparison.needed is None or (few and comparison.replicates + comparison.needed <= fewest(comparisons)):
        return sentence
    more = plural(comparison.needed, "more replicate")
    return f"{sentence}; about {more} would be needed to tell them apart, if the difference is real"


def _permutation_p(a: Floats, b: Floats, statistic: float) -> float:
    """Share of the swaps of a and b within replicates that move the statistic at least as far from 0, either way.

    All operations of a replicate swap together. Random swaps count the observed one in, as Phipson and Smyth 2010
    (doi:10.2202/1544-6115.1585) say they have to, so that p is never 0.
    """
    far, replicates = 0, int(a.shape[1])
    for swapped in _swaps(replicates):
        kept = 1 - swapped
        # Sums of positive terms only: nothing cancels, however unequal a and b are.
        logs = np.log((kept @ a.T + swapped @ b.T) / (swapped @ a.T + kept @ b.T))
        far += int(np.count_nonzero(np.abs(logs.mean(axis=1)) >= abs(statistic) - ROUNDING * max(1, abs(statistic))))
    if replicates <= MOST_EXACT:
        return far / 2.0**replicates
    return (far + 1) / (RANDOM_SWAPS + 1)


def _swaps(replicates: int) -> Iterator[Floats]:
    """Batches [up to 2,000, replicates] of 1 where a replicate is swapped, else 0: every way to, or random ones."""
    exact = replicates <= MOST_EXACT
    total = 2**replicates if exact else RANDOM_SWAPS
    random = None if exact else np.random.default_rng(0)
    for start in range(0, total, BATCH):
        size = min(BATCH, total - start)
        if random is None:
            bits = np.arange(start, start + size)[:, None] >> np.arange(replicates) & 1
        else:
            bits = random.integers(0, 2, (size, replicates))
        yield bits.astype(np.float64)


def _needed(statistic: float, spread: float, replicates: int) -> int | None:
    """How many replicates more until (t_0.975 + t_0.8) spread/sqrt(n) is within the effect; None beyond 10,000.

    The usual sample size of a paired t-test (for example Julious 2004, doi:10.1002/sim.1783, with t for z).
    """
    if abs(statistic) <= ROUNDING:
        return None
    # The more replicates, the smaller the margin: the first number that is enough is found by halving.
    most = max(fewest(), replicates + MOST_MORE)
    sizes = range(fewest(), most + 1)
    enough = bisect_left(sizes, True, key=lambda n: _quantiles(n) * spread / math.sqrt(n) <= abs(statistic))
    return max(1, sizes[enough] - replicates) if enough < len(sizes) else None


def _quantiles(n: int) -> float:
    """t_0.975 + t_0.8 of n replicates."""
    return quantile(1 - LEVEL / 2, n - 1) + quantile(POWER, n - 1)


def _effect_words(comparison: Comparison, other: str) -> str:
    """`faster than B by 23 % (95 % interval 12 to 33 %)`; one decimal below 1 %."""
    percents = [(x - 1) * 100 for x in (comparison.ratio, comparison.low, comparison.high)]
    word = "slower"
    if comparison.ratio < 1:
        word, percents = "faster", [-percents[0], -percents[2], -percents[1]]
    digits = 0 if percents[0] >= 1 else 1
    # Adding 0 turns -0.0, which would print as -0, into 0.
    effect, low, high = (f"{round(x, digits) + 0.0:,.{digits}f}" for x in percents)
    return f"{word} than {other} by {effect} % (95 % interval {low} to {high} %)"


def _ratio_words(ratio: float) -> str:
    """Two decimals; past 1,000, which two or three replicates can give, only that."""
    if ratio == math.inf:
        return "∞"
    return f"{ratio:.2f}" if ratio <= 1000 else "over 1,000"


def _p_words(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
