"""The leaderboard of a sweep whose tables change while it is looked at."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.folder.layout import SweepFolder, write_text
from sweeper.report.live import Board, stamp_of
from tests.fakes.sweeps import made_up


def shown(board: Board, folder: SweepFolder) -> str:
    console = Console(file=StringIO(), width=160)
    console.print(board.render(folder, console))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_tables_have_a_stamp_that_changes_with_them(tmp_path: Path) -> None:
    still = SweepFolder(tmp_path)
    assert stamp_of(still) == ()
    write_text(still.table("trials") / "part-00000.parquet", "one")
    first = stamp_of(still)
    assert [(name, size) for name, size, _ in first] == [("trials/part-00000.parquet", 3)]
    assert stamp_of(still) == first
    write_text(still.table("trials") / "part-00000.parquet", "two")
    assert stamp_of(still) != first


@pytest.mark.slow
def test_a_part_that_cannot_be_read_just_now_leaves_the_board_of_before(tmp_path: Path) -> None:
    folder = made_up(tmp_path).folder
    board = Board()
    before = shown(board, folder)
    assert "steps until val_accuracy > 0.99" in before
    (part,) = folder.table("trials").glob("*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    assert shown(board, folder) == before
    assert shown(Board(), folder) == "\n"
    part.write_bytes(whole)
    assert shown(board, folder) == before
