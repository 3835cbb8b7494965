"""Sweeps without training, on real journals and tables; one of them has an outcome of every kind."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sweeper.config.loading import Loaded, load
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.monitor.tables import trials_of
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.decisions import Decisions
from sweeper.results.models import Models
from sweeper.results.readback import curves, searched_seconds, trial_outcomes
from sweeper.results.writer import Writer
from sweeper.runners.in_process import InProcess
from sweeper.search.study import Study
from sweeper.stats.capping import places_that_matter
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.director import SweepDirector
from sweeper.sweep.opening import open_director
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.curves import EVERY
from tests.fakes.tables import MODULAR
from tests.fakes.training import fails, learns
from tests.fakes.written import straight

HORIZON = 100

QUESTION: dict[str, Any] = {
    "name": "made-up",
    "task": {"name": "modular_arithmetic", "operation": "x_plus_y", "modulus": 31},
    "objective": {"horizon": HORIZON, "evaluate_every": EVERY, "replicates": 2},
    "search": {"depth": {"int": [1, 4]}, "heads": {"choice": [1, 2, 4]}},
    "fixed": {"width": 32},
    "sampler": {"name": "grid"},
    "stop": "none",
    "budget": {"trials": 12},
}

PUBLISHED = {"depth": 6, "heads": 8}


@dataclass
class Sweep:
    """A sweep that can be launched again and again.

    Attributes:
        root: an empty folder.
        changes: sections that replace those of `QUESTION`.
        trained: every assignment that training was begun for, over all launches.
    """

    root: Path
    changes: dict[str, Any] = field(default_factory=dict)
    trained: list[Assignment] = field(default_factory=list)

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.root / "results" / "made-up")

    def open(self) -> SweepDirector:
        """A launch's director, put together as `sweeper.sweep.launch` does."""
        path = self.root / "space.yaml"
        path.write_text(json.dumps(QUESTION | self.changes))
        loaded = load(path)
        write_text(self.folder.space, path.read_text())
        writer = Writer(self.folder, {}, MODULAR, straight)
        study = self._study(loaded)
        known = trial_outcomes(self.folder, loaded.spec.objective.minimize)
        asked = loaded.spec.objective
        return open_director(
            loaded,
            study=study,
            writer=writer,
            checkpoints=Checkpoints(self.folder),
            models=Models(self.folder),
            outcomes=known,
            curves=partial(curves, self.folder, asked.minimize, asked.event.metric),
            decisions=Decisions(self.folder),
            board=Scoreboard(),
            broadcast=Broadcast(),
            track=lambda trial: None,
            ended=trials_of(self.folder, loaded.spec),
            searched_before=searched_seconds(self.folder, []),
        )

    def launch(self, train: Train) -> SweepDirector:
        """Run to the end."""
        director = self.open()
        self.run(train, director)
        return director

    def run(self, train: Train, director: SweepDirector) -> None:
        def noted(assignment: Assignment) -> Iterator[Chunk]:
            self.trained.append(assignment)
            yield from train(assignment)

        InProcess().run(noted, director)

    def study(self) -> Study:
        """The study as the next launch would find it."""
        return self._study(load(self.root / "space.yaml"))

    def _study(self, loaded: Loaded) -> Study:
        spec = loaded.spec
        places = places_that_matter(spec.budget.trials, spec.finalists)
        return Study(self.folder.journal, loaded.space, spec.sampler, places)

    def rows(self, name: str = "trials") -> list[dict[str, Any]]:
        """A table's rows, by trial and replicate."""
        if not any(self.folder.table(name).glob("*.parquet")):
            return []
        rows: list[dict[str, Any]] = pq.read_table(self.folder.table(name)).to_pylist()
        return sorted(rows, key=lambda row: (row["trial"], row.get("replicate", 0), row.get("step", 0)))

    def states(self) -> dict[int, str]:
        return {row["trial"]: row["state"] for row in self.rows()}

    def numbers(self) -> list[int]:
        """Trials in the order in which their training began."""
        return [assignment.number for assignment in self.trained]


def reach(assignment: Assignment, replicate: int) -> int | None:
    """20 to 50 by depth, later ones of three seeds 10 later each; of the baseline every second seed, 70 to 90."""
    depth = assignment.settings.depth
    return 10 + 10 * depth + 10 * (replicate % 3) if depth < 5 or replicate % 2 else None


def train(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 4 fails."""
    return ({4: fails}.get(assignment.number) or learns(reach))(assignment)


def made_up(root: Path) -> Sweep:
    """A baseline, five trials of the search of which one fails, and three confirmations."""
    sweep = Sweep(root)
    sweep.changes = {
        "baselines": {"published": PUBLISHED},
        "confirm": {"top": 2, "replicates": 7},
        "budget": {"trials": 6},
    }
    sweep.launch(train)
    return sweep
