"""The Python API: sweeps as objects that display themselves, with pandas frames, Arrow tables and SQL."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType
from rich.jupyter import JupyterMixin

from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.folder import find
from sweeper.folder.address import in_store
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import local_folder
from sweeper.monitor import listing
from sweeper.report import compare, leaderboard_table, show
from sweeper.report import leaderboard as boards
from sweeper.report.leaderboard import Leaderboard
from sweeper.report.select import choose
from sweeper.results import models
from sweeper.results.query import Answer, Connection, Sweeps, connect, frame, query
from sweeper.stats.events import Clock
from sweeper.sweep import launch as launching
from sweeper.sweep.options import LaunchOptions
from sweeper.trial import Assignment

if TYPE_CHECKING:
    from sweeper.report.figures.canvas import Figure
    from sweeper.training.kept import Module

_WIDTH = 160
"""Columns of printed output."""
Data = TypeVar("Data")


class Displayed(JupyterMixin):
    """Displays itself: with colours in a notebook, as text with `print`."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self._render(console)

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _render(self, console: Console) -> RenderableType:
        raise NotImplementedError


class View(Displayed, Generic[Data]):
    """Data that displays itself.

    Attributes:
        data: the record that is displayed.
    """

    def __init__(self, data: Data, render: Callable[[Data, Console], RenderableType]):
        self.data, self._renderer = data, render

    def __repr__(self) -> str:
        return repr(self.data)

    def _render(self, console: Console) -> RenderableType:
        return self._renderer(self.data, console)


class Tables:
    """The three tables of a sweep, or of several with a column `sweep`; every use reads them anew."""

    def __init__(self, sweeps: Sweeps):
        self._sweeps = sweeps

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial; docs/results.md documents the columns."""
        return self.query("SELECT * FROM trials ORDER BY ALL")

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run: a replicate of an operation."""
        return self.query("SELECT * FROM runs ORDER BY ALL")

    @property
    def curves(self) -> pd.DataFrame:
        """One row per evaluation of a run. This reads the whole table; for a large sweep prefer `query`."""
        return self.query("SELECT * FROM curves ORDER BY ALL")

    def query(self, sql: str) -> pd.DataFrame:
        """The result of one SELECT over `trials`, `runs` and `curves`.

        Raises:
            UserError: the query is not valid.
        """
        return frame(self._sweeps, sql)

    def arrow(self, sql: str) -> Answer:
        """The result of a query as an Arrow table; `FROM runs` is a query too. Raises UserError."""
        return query(self._sweeps, sql)

    def duckdb(self) -> Connection:
        """A DuckDB connection with the three tables and without access to files."""
        return connect(self._sweeps)


class Sweep(Displayed, Tables):
    """One sweep: displays its leaderboard.

    Attributes:
        folder: its folder.
        spec: its space.yaml.
    """

    def __init__(self, folder: SweepFolder, address: str | None = None):
        super().__init__(folder)
        self._folder, self._address = folder, address or str(folder.root)
        self.folder: Path = folder.root
        self.spec: SweepSpec = saved_spec(folder)

    def __repr__(self) -> str:
        return f"load({str(self.folder)!r})"

    def leaderboard(self, top: int = 10, clock: Clock | None = None) -> View[Leaderboard]:
        """The best trials.

        Args:
            top: number of trials.
            clock: steps, examples or seconds; by default `objective.minimize`.
        """
        return View(boards.leaderboard(self._folder, self.spec, top, clock), leaderboard_table.render)

    def trial(self, trial: int | str) -> View[show.TrialPage]:
        """Everything about one trial, by its number or a baseline's name. Raises UserError."""
        return View(show.trial_page(choose(f"{self.folder}:{trial}")), lambda page, _: show.render(page))

    def compare(self, a: int | str, b: int | str, clock: Clock | None = None) -> View[compare.TrialComparison]:
        """Compare two trials, paired on equal seeds. Raises UserError."""
        first, second = (choose(f"{self.folder}:{each}") for each in (a, b))
        return View(compare.compare_trials(first, second, clock), lambda found, _: compare.render(found))

    def figure(self, name: str) -> "Figure":
        """A figure of the report, such as `survival`, drawn anew: a notebook shows it; `svg` and `png` are its files.

        Raises:
            UserError: there is none of this name; the message lists the names.
        """
        from sweeper.report.figures import canvas, gallery  # noqa: PLC0415  # matplotlib takes half a second to import

        return canvas.rendered(gallery.pick(gallery.drawings(self._folder, self.spec), name))

    def model(self, trial: int | str, replicate: int = 0, operation: str | None = None) -> "Module":
        """The trained model of a run that `keep` has kept: an `nn.Module` on the CPU that predicts.

        Args:
            trial: its number, or a baseline's name.
            replicate: of the run.
            operation: of the run; needed if the task has several.

        Raises:
            UserError: it was not kept, or the task's code has changed.
        """
        from sweeper.training import kept  # noqa: PLC0415  # torch takes seconds to import

        found = self._kept(trial, replicate, operation)
        return kept.module_of(Assignment.from_json(found.assignment), found.run)

    def validate(self, trial: int | str, replicate: int = 0, operation: str | None = None) -> Mapping[str, float]:
        """The validation scores of a kept model, computed anew; those in `curves` at the step where it was kept.

        Raises:
            UserError: as `model`; the task is a LoopTask, whose loop evaluates.
        """
        from sweeper.training import kept  # noqa: PLC0415

        found = self._kept(trial, replicate, operation)
        return kept.validate(Assignment.from_json(found.assignment), found.run)

    def _kept(self, trial: int | str, replicate: int, operation: str | None) -> models.KeptRun:
        number = int(choose(f"{self.folder}:{trial}").row["trial"])
        local_folder(self._address, models=True)
        return models.find(self._folder, self.spec, number, replicate, operation)

    def _render(self, console: Console) -> RenderableType:
        return leaderboard_table.render(boards.leaderboard(self._folder, self.spec, 10), console)


class Folder(Displayed, Tables, Mapping[str, Sweep]):
    """Several sweeps by name: displays the progress of each; its tables hold the rows of all."""

    def __init__(self, folders: Mapping[str, SweepFolder], address: str = ""):
        super().__init__(folders)
        self._folders, self._address = folders, address.rstrip("/")

    def __getitem__(self, name: str) -> Sweep:
        return Sweep(self._folders[name], f"{self._address}/{name}" if in_store(self._address) else None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._folders)})"

    def _render(self, console: Console) -> RenderableType:
        return listing.render(listing.list_sweeps({name: str(each.root) for name, each in self._folders.items()}))


def load(sweep: str | Path = find.RESULTS) -> Sweep | Folder:
    """Load a sweep by its name in results/, its folder or its s3:// address, or all sweeps in a folder.

    Warns of each sweep of several that cannot be read, and is left out.

    Raises:
        UserError: there is none.
    """
    found = find.find(str(sweep), lambda problem: warnings.warn(problem, stacklevel=3))
    stored = str(sweep) if in_store(str(sweep)) else ""
    return Sweep(found, stored or None) if isinstance(found, SweepFolder) else Folder(found, stored)


def launch(space: str | Path, overrides: list[str] | None = None, **settings: Any) -> Sweep:
    """Run a sweep, or continue it where it stopped; `settings` are the fields of `sweeper.sweep.options.LaunchOptions`.

    Raises:
        UserError, StorageError, SweepFailed, Interrupted: see `sweeper.sweep.launch.launch`.
    """
    return Sweep(launching.launch(Path(space), overrides, LaunchOptions(**settings)))
