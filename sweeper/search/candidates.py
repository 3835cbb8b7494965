"""New configurations that freeze-thaw compares with the trials that wait, and configurations as points of its process.

What is drawn follows from the seed and the number of trials alone: a resumed or replayed search draws the same.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from sweeper.search import dimensions
from sweeper.search.encoding import Encoding
from sweeper.search.event_gp import Numbers, Places
from sweeper.space.space import Coordinates, Space

NEAR = 16
"""Of the best trials, how many have neighbours among the candidates, and how many neighbours each has."""
_DRAWN = 256
"""Configurations drawn anywhere."""
_LISTED = 1000
"""Configurations up to which a space is listed instead."""


class Candidates:
    """The configurations of a space.

    Args:
        space: where they lie.
        seed: of the draws.
    """

    def __init__(self, space: Space, seed: int):
        self._space, self._seed = space, seed
        drawn = {key: dimensions.stepped(each) for key, each in space.parameters.items()}
        words = [key for key, each in drawn.items() if not hasattr(each, "low")]
        several = {key: each for key, each in drawn.items() if not each.single()}
        self._encoding = Encoding(several, list(space.conditions), words)
        self._single = {key: dimensions.first(each) for key, each in space.parameters.items()}

    def fresh(
        self, unseen: Callable[[Iterable[Coordinates]], list[Coordinates]], trials: int, best: Numbers
    ) -> list[Coordinates]:
        """All of a small space that have not been run; of a large one some drawn anywhere, and some near the best.

        Args:
            unseen: those of some coordinates that have not been run.
            trials: how many have been opened.
            best: [up to `NEAR`, D], cells of the best trials.
        """
        if self._listed is not None:
            return unseen(self._listed)
        rng = np.random.default_rng([self._seed, trials])
        cells = self._encoding.draw(rng, _DRAWN)
        if len(best):
            cells = np.vstack([cells, self._encoding.near(rng, np.repeat(best, NEAR, axis=0))])
        return unseen(self._single | self._encoding.configuration(row) for row in cells)

    def cells(self, coordinates: Sequence[Coordinates]) -> Numbers:
        """[n, D]; a parameter that does not apply is absent."""
        applying = []
        for each in coordinates:
            there = self._space.decode(each)
            applying.append({key: each[key] for key in self._encoding.keys if key in there})
        return self._encoding.cells(applying).reshape(len(coordinates), len(self._encoding.keys))

    def places(self, cells: Numbers) -> Places:
        """Cells as points whose distances a kernel may use."""
        return self._encoding.places(cells)

    @cached_property
    def _listed(self) -> list[Coordinates] | None:
        grid = self._space.grid(_LISTED)
        return None if grid is None else [each for values in grid if (each := self._space.encode(values)) is not None]
