"""Make the decisions of a `stop: thaw` sweep again, from its tables and its record of what was compared when."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.results.decisions import Decision, Decisions
from sweeper.results.prior import prior_seeds
from sweeper.results.query import frame
from sweeper.search import dimensions
from sweeper.search.candidates import NEAR, Candidates
from sweeper.search.evidence import Evidence, KnownRun
from sweeper.search.thaw import Replicate, Thaw
from sweeper.space import hyperparameters
from sweeper.space.space import Coordinates
from sweeper.stats.events import COLUMN
from sweeper.stats.trial_watch import TrialWatch

_CLOSE = 1e-6
"""Two cells or predictions that differ by less are the same: machines round differently."""


@dataclass(frozen=True)
class Remade:
    """A search made again.

    Attributes:
        decisions: how many were recorded.
        same: how many come out the same.
        unknown: how many cannot be made again, because the tables lack a trial that had begun.
    """

    decisions: int
    same: int
    unknown: int

    def __str__(self) -> str:
        lacking = f"; {self.unknown} wait for trials that the tables lack" if self.unknown else ""
        return f"Made again from the tables, {self.same} of its {self.decisions} decisions are the same{lacking}"


def remake(folder: SweepFolder, spec: SweepSpec) -> Remade | None:
    """Make every recorded decision again; None where the sweep has none."""
    records = Decisions(folder).read() if spec.stop == "thaw" else []
    if not any(each.kind == "chosen" for each in records):
        return None
    search = _Search(folder, spec, records)
    made = [search.follow(each) for each in records]
    return Remade(sum(each.kind == "chosen" for each in records), made.count("same"), made.count("unknown"))


class _Search:
    """The search as it was after each record."""

    def __init__(self, folder: SweepFolder, spec: SweepSpec, records: list[Decision]):
        self._spec, self._evidence = spec, Evidence(spec)
        self._candidates = Candidates(spec.space, spec.sampler.seed)
        self._thaw = Thaw(
            self._candidates.places, spec.objective.replicates, spec.sampler.startup, prior=prior_seeds(spec)
        )
        self._cells = {each.trial: _array(each.cells) for each in records if each.cells}
        trials = frame(folder, "SELECT trial, identity FROM trials WHERE phase <> 'confirm'")
        self._identities = dict(zip(trials["trial"].tolist(), trials["identity"].tolist(), strict=True))
        wanted = ("train_loss", "val_loss", spec.objective.event.metric, *self._evidence.signals)
        columns = ", ".join(f'"{name}"' for name in dict.fromkeys((*COLUMN.values(), *wanted)))
        curves = frame(folder, f"SELECT trial, operation, replicate, {columns} FROM curves ORDER BY trial, step")
        self._curves: dict[int, pd.DataFrame] = {int(str(n)): rows for n, rows in curves.groupby("trial")}

    def follow(self, record: Decision) -> str | None:
        """Take in a record; of a decision `same`, `different` or `unknown`."""
        if record.kind == "chosen":
            return self._choose(record)
        if record.trial is None:
            return None
        if record.kind == "trains" and record.cells:
            self._thaw.open(record.trial, _array(record.cells))
        elif record.kind == "seen" and record.trial in self._thaw.begun:
            self._thaw.see(record.trial, self._replicates(record.trial, record.evaluations))
        if record.expected is not None and record.trial in self._thaw.begun:
            self._thaw.expected([record.trial])  # what was fitted for it is used later
        return None

    def _choose(self, record: Decision) -> str:
        opened = record.opened
        waiting = [number for number in record.waiting if number in self._thaw.begun]
        if waiting != list(record.waiting) or any(number not in self._identities for number in range(opened)):
            return "unknown"
        known = {self._identities[number] for number in range(opened)}

        def unseen(drawn: Iterable[Coordinates]) -> list[Coordinates]:
            parameters, found = self._spec.space.parameters, dict[str, Coordinates]()
            for each in drawn:
                rounded = {key: dimensions.rounded(parameter, each[key]) for key, parameter in parameters.items()}
                settings = self._spec.space.settings(self._spec.space.decode(rounded))
                found.setdefault(hyperparameters.identity(settings, self._spec.space.horizon), rounded)
            return [each for name, each in found.items() if name not in known]

        fresh = self._candidates.fresh(unseen, opened, self._thaw.best(NEAR)) if record.new else []
        cells = self._candidates.cells(fresh)
        chosen = self._thaw.choose(waiting, record.training, cells)
        if chosen is None:
            return "same" if record.chosen == min(record.waiting, default=None) else "different"
        if chosen < len(waiting):
            return "same" if record.chosen == waiting[chosen] else "different"
        if record.chosen != opened:
            return "different"
        begun = self._cells.get(opened)  # with several places another one may have opened it
        mine = cells[chosen - len(waiting)]
        alike = begun is None or record.trial is not None or np.allclose(begun, mine, atol=_CLOSE, equal_nan=True)
        return "same" if alike else "different"

    def _replicates(self, number: int, evaluations: tuple[int, ...]) -> list[Replicate]:
        """What the trial had shown after so many evaluations of each run."""
        operations, objective = self._spec.task.operations, self._spec.objective
        if not evaluations or number not in self._curves:
            return []
        replicates = range(len(evaluations) // len(operations))
        pairs = [(operation, replicate) for operation in operations for replicate in replicates]
        rows = self._curves[number]
        kept = [
            rows[(rows["operation"] == operation) & (rows["replicate"] == replicate)].head(count)
            for (operation, replicate), count in zip(pairs, evaluations, strict=True)
        ]
        columns: dict[str, npt.NDArray[Any]] = {str(name): each.to_numpy() for name, each in pd.concat(kept).items()}
        watch = TrialWatch(operations, replicates, objective.watch, objective.minimize)
        watch.see(columns)
        runs = {
            pair: KnownRun(run.known, run.time if run.reached is not None else None)
            for pair in pairs
            for run in [watch.run(*pair)]
        }
        return self._evidence.replicates(number, columns, runs)


def _array(cells: tuple[float | None, ...]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if each is None else each for each in cells])
