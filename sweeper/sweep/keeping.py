"""Which trained parameters stay: those of the best trials that have finished, as the sweep goes.

Parameters are written before the trial's rows, and those that fell out of the best are removed after them: whenever a
launch is killed, the best trials of the tables have theirs, and the next launch removes what is left over.
"""

from collections.abc import Mapping

from sweeper.config.model import At, Keep
from sweeper.results.models import Models
from sweeper.results.summary import TrialSummary
from sweeper.stats.events import FINISHED
from sweeper.sweep.live import LiveTrial


class Keeper:
    """Keeps the parameters of the best trials of the baselines and the search.

    Args:
        models: where they are kept.
        keep: how many, and where; None keeps none, and leaves those of earlier launches alone.
        values: number -> value of the trials that earlier launches finished.
    """

    def __init__(self, models: Models, keep: Keep | None, values: Mapping[int, float]):
        self._models, self._keep = models, keep
        self._best = dict(values)
        self._saved = models.trials if keep else set()
        self._forget()

    def at(self, phase: str) -> At | None:
        """Where trials of a phase keep the parameters of their runs; None for nowhere."""
        return None if self._keep is None or phase == "confirm" else self._keep.at

    def save(self, live: LiveTrial, summary: TrialSummary) -> None:
        """Keep a trial's parameters if it is among the best now; call before it is recorded. Raises StorageError."""
        if self.at(live.proposal.phase) is None or summary.ending != FINISHED:
            return
        self._best[live.number] = summary.value
        self._shorten()
        if live.number in self._best:
            self._models.save(live.number, live.parameters, live.whole.to_json())
            self._saved.add(live.number)

    def recorded(self) -> None:
        """Remove what fell out of the best; call after a trial is recorded. Raises StorageError."""
        if self._saved - self._best.keys():
            self._forget()

    def _shorten(self) -> None:
        if self._keep is not None:
            ranked = sorted(self._best.items(), key=lambda each: (each[1], each[0]))
            self._best = dict(ranked[: self._keep.best])

    def _forget(self) -> None:
        self._shorten()
        if self._keep is not None:
            self._models.keep(self._best)
            self._saved &= self._best.keys()
