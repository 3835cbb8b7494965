"""What docs/tasks.md tells its readers to write works as it stands, and is as short as it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sweeper import check_task
from tests.fakes.modules import forget

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "tasks.md").read_text()
FILES: dict[str, str] = dict(
    re.findall(r"\*\*([\w.]+)\*\*[^*`]*:\n\n```(?:python|yaml)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The guide's files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *words: str) -> str:
    """What `python -m` prints, in a process that stands in the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guide_has_these_files() -> None:
    assert list(FILES) == ["my_task.py", "space.yaml", "test_my_task.py", "my_loop.py", "my_stack.py"]


def test_a_sweep_of_ones_own_takes_less_than_sixty_lines() -> None:
    assert sum(FILES[name].count("\n") for name in ("my_task.py", "space.yaml")) < 60


@pytest.mark.slow
def test_following_the_guide_gives_a_sweep(folder: Path) -> None:
    run(folder, "sweeper", "launch", "space.yaml", "--here", "--set", "budget.trials=3")
    trials = pd.read_parquet(folder / "results" / "spirals" / "trials").set_index("trial").sort_index()
    assert trials["name"].tolist() == ["plain", "", ""]
    assert trials["reached"][0] == 3, "the baseline of the guide gets there"
    assert trials["model_hidden"].between(8, 64).all()
    assert "1 passed" in run(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_my_task.py")


@pytest.mark.parametrize("name", ["my_loop:Descent", "my_stack:Line"])
def test_the_other_tasks_of_the_guide_are_some(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweeper.tasks.registry import task_type

    monkeypatch.syspath_prepend(folder)
    try:
        check_task(task_type(name)(name=name), **{"batch.max": 16})
    finally:
        forget(folder)
