"""What commands print where a terminal or a log file is not UTF-8."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sweeper
from sweeper.cli.encoding import replace_unencodable
from tests.fakes.sweeps import made_up

ROOT = Path(sweeper.__file__).parents[1]


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("ascii", b"+- 3 <= x, inf ? \n"), ("latin-1", b"\xb1 3 <= x, inf ? \n"), ("utf-8", "± 3 ≤ x, ∞ ? \n".encode())],
)
def test_what_a_stream_cannot_encode_is_replaced(encoding: str, written: bytes) -> None:
    """A half of a character, as a file's name may have, cannot be encoded in UTF-8 either."""
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding=encoding)
    replace_unencodable(stream)
    print("± 3 ≤ x, ∞ \udcff ", file=stream, flush=True)
    assert content.getvalue() == written


def test_a_stream_that_cannot_be_changed_is_left_alone() -> None:
    replace_unencodable(io.StringIO())


@pytest.mark.slow
def test_a_leaderboard_and_a_trial_are_printed_in_ascii(tmp_path: Path) -> None:
    root = made_up(tmp_path).folder.root
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    both = "import sys; from sweeper.cli.main import run; [run([each, sys.argv[1]]) for each in ('top', 'show')]"
    done = subprocess.run(
        [sys.executable, "-c", both, str(root)],
        env=environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("ascii")
