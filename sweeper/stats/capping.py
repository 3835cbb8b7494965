"""Stop a trial as soon as its result can no longer matter, without changing the search.

Who looks at the values of finished trials? The user, who wants the best one; the confirmations, which take the best
few; and TPE, which splits trials into a good side and a bad side and looks at nothing but the side (Bergstra et al.
2011, "Algorithms for hyper-parameter optimization"; Optuna's `_split_trials`). Let m, the `places`, be at least as
many as any of them ever takes. The m-th best value, the cap, can only fall as trials finish. So a trial whose lower
bound exceeds the cap now is beyond the m best for good: neither the incumbent, nor a finalist, nor ever on the good
side. Its real value does not matter, as long as the value reported in its place exceeds the cap too.
"""

import bisect
import math

_MOST = 25
_UNKNOWN = 1000
"""Trials that a sweep without a budget of trials is taken to have; with more of them the good side stays as it is."""


def good_side(finished: int, places: int) -> int:
    """How many of the finished trials TPE calls good: a tenth, as Optuna does, but at most `places`."""
    return min(math.ceil(finished / 10), places)


def places_that_matter(trials: int | None, finalists: int) -> int:
    """m for a sweep of that many trials (None: not known), of which so many finalists are confirmed.

    A third of the root of the trials, at most 25. Optuna's own good side, a tenth, grows so fast that a cap which
    respects it could stop hardly anything; Bergstra et al.'s, a quarter of the root, is small while it matters most.
    """
    return max(min(math.ceil(math.sqrt(_UNKNOWN if trials is None else trials) / 3), _MOST), finalists, 1)


class Cap:
    """The value past which a trial can no longer matter: that of the m-th best trial so far."""

    def __init__(self, places: int):
        self.places = places
        self._best: list[float] = []

    def add(self, value: float) -> None:
        """Take in the value of a finished trial."""
        bisect.insort(self._best, value)
        del self._best[self.places :]

    @property
    def value(self) -> float:
        """The cap; infinite while fewer than m trials have finished."""
        return self._best[-1] if len(self._best) == self.places else math.inf

    def excludes(self, bound: float) -> bool:
        """Whether a trial whose value is at least `bound` can no longer matter; one that equals the cap still can."""
        return bound > self.value
