"""The notebook in examples/: the same cells as the script beside it, and each of them runs and shows something."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeper.api import Displayed
from sweeper.report.figures.canvas import Figure

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
SOURCES = ["".join(cell["source"]) for cell in CELLS]
MADE = "run the commands of CONTRIBUTING.md for the notebook"


def test_the_notebook_has_the_cells_of_the_script() -> None:
    script = NOTEBOOK.with_suffix(".py").read_text(encoding="utf-8")
    _, *cells = re.split(r"^# %%(?: \[(markdown)\])?\n", script, flags=re.MULTILINE)
    expected = [
        (kind or "code", re.sub("^# ?", "", text, flags=re.MULTILINE) if kind else text)
        for kind, text in zip(cells[::2], cells[1::2], strict=True)
    ]
    found = [(cell["cell_type"], source) for cell, source in zip(CELLS, SOURCES, strict=True)]
    assert found == [(kind, text.strip()) for kind, text in expected], MADE


def test_the_notebook_was_run_without_a_warning_and_names_no_folder_of_a_machine() -> None:
    ran = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1)), MADE
    outputs = [output for cell in ran for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"display_data", "execute_result"}
    assert sum("image/png" in output["data"] for output in outputs) == 2
    texts = [json.dumps({**output["data"], "image/png": ""}) for output in outputs]
    assert [text for text in texts if re.search(r"/(?:home|root|tmp|usr|opt|Users|work)/|site-packages", text)] == []
    assert NOTEBOOK.stat().st_size < 400_000


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, on a smaller task and with fewer steps than it asks for."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    monkeypatch.chdir(tmp_path / "examples")
    names: dict[str, Any] = {}
    shown = []
    for cell, source in zip(CELLS, SOURCES, strict=True):
        for asked, less in (("modulus=23", "modulus=7"), ("horizon=1000", "horizon=30"), ("trials=4", "trials=2")):
            assert asked in SOURCES[1]
            source = source.replace(asked, less)  # noqa: PLW2901
        if cell["cell_type"] == "code":
            *statements, last = ast.parse(source).body
            if not isinstance(last, ast.Expr):
                statements.append(last)
            exec(compile(ast.Module(statements, []), str(NOTEBOOK), "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names))
    leaderboard, survival, learning, *views, trials, outcomes, curve, sweeps = shown
    assert "steps until val_accuracy > 0.99" in str(leaderboard)
    for figure in (survival, learning):
        assert isinstance(figure, Figure)
        assert figure._repr_png_().startswith(b"\x89PNG")
    assert [isinstance(view, Displayed) for view in views] == [True, True]
    assert all(isinstance(frame, pd.DataFrame | pd.Series) and len(frame) for frame in (trials, outcomes, curve))
    assert sweeps["sweep"].tolist() == ["example"]
