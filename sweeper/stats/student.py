"""Quantiles of Student's t distribution, for whole degrees of freedom.

`scipy.stats` has them too, but takes over a second to import, which every look at a leaderboard would spend.
"""

import math
from functools import cache
from statistics import NormalDist

import numpy as np

_CLOSE = 1e-13


@cache
def quantile(probability: float, freedom: int) -> float:
    """The value that Student's t does not exceed with a probability.

    Args:
        probability: from 0.5 to below 1.
        freedom: degrees of freedom, at least 1.

    Raises:
        ValueError: one of them is not.
    """
    if not (0.5 <= probability < 1 and freedom >= 1):
        raise ValueError(
            f"got probability {probability} and {freedom} degrees of freedom; give 0.5 to 1, and at least 1"
        )
    # Newton's method: right of 0 the distribution function is concave, and the normal quantile is below the root, so
    # that the values rise to it, until rounding stops them.
    value = NormalDist().inv_cdf(probability)
    while True:
        step = (probability - cdf(value, freedom)) / _density(value, freedom)
        value += step
        if step <= _CLOSE * max(value, 1.0):
            return value


def cdf(value: float, freedom: int) -> float:
    """The probability that Student's t does not exceed a value of at least 0.

    Abramowitz and Stegun (1964), equations 26.7.3 and 26.7.4: finite sums, for whole degrees of freedom.
    """
    angle = math.atan2(value, math.sqrt(freedom))
    sine, squared = math.sin(angle), math.cos(angle) ** 2
    first = 1 + freedom % 2  # the terms grow by (first/(first + 1)) cos², then (first + 2)/(first + 3) cos², ...
    numerators = np.arange(first, freedom - 2, 2.0)
    terms = np.cumprod(numerators / (numerators + 1) * squared)
    total = 1 + float(terms.sum())
    if freedom % 2 == 0:
        within = sine * total
    else:
        within = 2 / math.pi * (angle + (sine * math.cos(angle) * total if freedom > 1 else 0.0))
    return (1 + within) / 2


def _density(value: float, freedom: int) -> float:
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    return math.exp(scale - (freedom + 1) / 2 * math.log1p(value**2 / freedom))
