"""What a notebook works with: sweeps as objects that display themselves, and give frames, Arrow tables and SQL."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType
from rich.jupyter import JupyterMixin

from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.folder import find
from sweeper.folder.layout import SweepFolder
from sweeper.report import compare as pairs
from sweeper.report import leaderboard as boards
from sweeper.report import listing, show
from sweeper.report.leaderboard import Leaderboard
from sweeper.report.select import choose
from sweeper.results.query import Answer, Connection, Sweeps, connect, frame, query
from sweeper.stats.events import Clock
from sweeper.sweep import launch as launching

_WIDTH = 160
"""Columns of what `print` shows."""
Data = TypeVar("Data")


class Displayed(JupyterMixin):
    """Displays itself: in a notebook with colours, by `print` as text."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self._shown(console)

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _shown(self, console: Console) -> RenderableType:
        raise NotImplementedError


class View(Displayed, Generic[Data]):
    """Data that displays itself.

    Attributes:
        data: the record behind it, for further work.
    """

    def __init__(self, data: Data, shown: Callable[[Data, Console], RenderableType]):
        self.data, self._show = data, shown

    def __repr__(self) -> str:
        return repr(self.data)

    def _shown(self, console: Console) -> RenderableType:
        return self._show(self.data, console)


class Tables:
    """The three tables of a sweep, or of several with a column `sweep`; read afresh at each use: a sweep may run."""

    def __init__(self, sweeps: Sweeps):
        self._sweeps = sweeps

    @property
    def trials(self) -> pd.DataFrame:
        """One row a configuration; docs/results.md says what the columns mean."""
        return self.query("SELECT * FROM trials ORDER BY ALL")

    @property
    def runs(self) -> pd.DataFrame:
        """One row a replicate of an operation."""
        return self.query("SELECT * FROM runs ORDER BY ALL")

    @property
    def curves(self) -> pd.DataFrame:
        """One row an evaluation of a run. Of a large sweep better asked by `query`: this reads all of it."""
        return self.query("SELECT * FROM curves ORDER BY ALL")

    def query(self, sql: str) -> pd.DataFrame:
        """The answer to one SELECT over `trials`, `runs` and `curves`.

        Raises:
            UserError: DuckDB does not accept the query.
        """
        return frame(self._sweeps, sql)

    def arrow(self, sql: str) -> Answer:
        """The same as an Arrow table; `FROM runs` is a query too. Raises UserError."""
        return query(self._sweeps, sql)

    def duckdb(self) -> Connection:
        """A DuckDB connection that sees the three tables and no file."""
        return connect(self._sweeps)


class Sweep(Displayed, Tables):
    """One sweep: displays its leaderboard.

    Attributes:
        folder: where it lies.
        spec: its space.yaml.
    """

    def __init__(self, folder: SweepFolder):
        super().__init__(folder)
        self._folder = folder
        self.folder: Path = folder.root
        self.spec: SweepSpec = saved_spec(folder)

    def __repr__(self) -> str:
        return f"load({str(self.folder)!r})"

    def leaderboard(self, top: int = 10, clock: Clock | None = None) -> View[Leaderboard]:
        """The best trials.

        Args:
            top: how many.
            clock: steps, examples or seconds; by default the one that was asked for.
        """
        return View(boards.leaderboard(self._folder, self.spec, top, clock), boards.render)

    def trial(self, trial: int | str) -> View[show.Sheet]:
        """Everything about one trial, by its number or a baseline's name. Raises UserError."""
        return View(show.sheet(choose(f"{self.folder}:{trial}")), show.render)

    def compare(self, a: int | str, b: int | str, clock: Clock | None = None) -> View[pairs.Pair]:
        """Which of two trials is faster, paired on equal seeds. Raises UserError."""
        first, second = (choose(f"{self.folder}:{each}") for each in (a, b))
        return View(pairs.pair(first, second, clock), lambda found, _: pairs.render(found))

    def _shown(self, console: Console) -> RenderableType:
        return boards.render(boards.leaderboard(self._folder, self.spec, 10), console)


class Folder(Displayed, Tables, Mapping[str, Sweep]):
    """Several sweeps, by name: displays how far each is; its tables are those of all of them."""

    def __init__(self, folders: Mapping[str, SweepFolder]):
        super().__init__(folders)
        self._folders = folders

    def __getitem__(self, name: str) -> Sweep:
        return Sweep(self._folders[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._folders)})"

    def _shown(self, console: Console) -> RenderableType:
        return listing.render(listing.catalogue({name: str(each.root) for name, each in self._folders.items()}))


def load(sweep: str | Path = find.RESULTS) -> Sweep | Folder:
    """A sweep, by its name in results/, its folder or its s3:// address; or all sweeps in a folder.

    Warns of each sweep of several that cannot be read, and is left out.

    Raises:
        UserError: there is none.
    """
    found = find.find(str(sweep), lambda problem: warnings.warn(problem, stacklevel=3))
    return Sweep(found) if isinstance(found, SweepFolder) else Folder(found)


def launch(space: str | Path, overrides: list[str] | None = None, **settings: Any) -> Sweep:
    """Run a sweep, or continue it where it stopped: `sweeper.sweep.launch.launch`, whose result can be looked at.

    Raises:
        UserError, StorageError, SweepFailed, Interrupted: as there.
    """
    return Sweep(launching.launch(Path(space), overrides, **settings))
