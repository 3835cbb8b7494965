"""docs/architecture.md agrees with the contract of the floors and describes every folder; `import sweeper` is light."""

import re
import subprocess
import sys

import pytest

from tests import architecture

PAGE = architecture.PAGE.read_text()


def test_the_picture_is_drawn_from_the_contract() -> None:
    assert architecture.drawn() in PAGE, "run python -m tests.architecture"


def test_every_folder_and_root_file_has_one_line_and_no_other_has_one() -> None:
    described = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(described) == sorted(architecture.rooms())


@pytest.mark.slow
def test_a_bare_import_of_the_package_is_light() -> None:
    slow = ("torch", "ray", "optuna", "numpy", "pandas", "duckdb")
    program = f"import sweeper, sys; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
