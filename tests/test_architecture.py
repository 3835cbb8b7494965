"""The picture in docs/architecture.md is true to the code, and nothing is imported at the wrong place."""

import subprocess
import sys

from tests import architecture


def test_the_picture_is_the_one_that_the_code_draws() -> None:
    assert architecture.drawn() in architecture.PAGE.read_text(), "run python -m tests.architecture"


def test_every_module_stands_on_a_floor_and_imports_only_from_below() -> None:
    height = {module: -i for i, floor in enumerate(architecture.floors()) for module in floor}
    for upper, below in architecture.imports().items():
        assert all(height[lower] < height[upper] for lower in below), (upper, below)


def test_every_file_is_described_in_the_page() -> None:
    page = architecture.PAGE.read_text()
    package = architecture.ROOT / "sweeper"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.name != "__init__.py"}
    assert {file for file in files if f"`{file}`" not in page} == set()


def test_a_bare_import_of_the_package_is_light() -> None:
    program = "import sweeper, sys; print([m for m in ('torch', 'ray', 'optuna', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
