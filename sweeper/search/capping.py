"""Stop a trial as soon as its result can no longer matter, without changing the search.

TPE splits finished trials into the gamma(n) best and the rest (Optuna: gamma(n) = min(ceil(n / 10), 25)), and looks
at nothing but which side a trial is on. Let m be at least the largest gamma the sweep will use and the number of
finalists. The m-th best value can only fall as trials finish, so a trial whose lower bound exceeds it now is beyond
the m best for good: it is neither the incumbent, nor a finalist, nor ever on the good side. What it would have scored
does not matter.
"""

import heapq
import math
from collections.abc import Iterable


def places_that_matter(trials: int | None, finalists: int) -> int:
    """How many of the best trials can still matter: m for a sweep of that many trials (None: unknown)."""
    gamma = 25 if trials is None else min(math.ceil(trials / 10), 25)
    return max(gamma, finalists, 1)


def cap(values: Iterable[float], places: int) -> float:
    """The value past which a trial can no longer matter; infinite while fewer than `places` trials have finished."""
    best = heapq.nsmallest(places, values)
    return best[-1] if len(best) == places else math.inf
