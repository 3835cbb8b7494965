"""A leaderboard for displays that refresh: it is read only when the tables have changed."""

from rich.console import Console, RenderableType
from rich.text import Text

from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.report import leaderboard, leaderboard_table

Stamp = tuple[tuple[str, int, int], ...]
_TOP = 10


class Board:
    """A sweep's leaderboard, cached until its tables change."""

    def __init__(self) -> None:
        self._stamp: Stamp | None = None
        self._board: leaderboard.Leaderboard | None = None

    def read(self, folder: SweepFolder) -> leaderboard.Leaderboard | None:
        """The leaderboard as last read successfully; None before."""
        stamp = stamp_of(folder)
        if stamp != self._stamp:
            try:
                self._board = leaderboard.leaderboard(folder, saved_spec(folder), _TOP)
                self._stamp = stamp
            except UserError:  # a part was replaced while it was being read
                pass
        return self._board

    def render(self, folder: SweepFolder, console: Console) -> RenderableType:
        """The leaderboard for people; empty before it can be read."""
        board = self.read(folder)
        return Text() if board is None else leaderboard_table.render(board, console)


def stamp_of(folder: SweepFolder) -> Stamp:
    """A value that changes whenever the tables change."""
    found = []
    for name in TABLES:
        for part in sorted(folder.table(name).glob("*.parquet")):
            try:
                about = part.stat()
            except OSError:
                continue
            found.append((f"{name}/{part.name}", about.st_size, about.st_mtime_ns))
    return tuple(found)
