"""The stopping rules across launches."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sweeps import Sweep
from tests.fakes.training import follows

HEIGHTS = {1: [0.5], 2: [0.6], 3: [0.2], 4: [0.55], 5: [0.9], 6: [0.3]}
"""Depth -> accuracy, which stays."""


@pytest.mark.parametrize("first", [2, 4])
def test_asha_decides_after_a_relaunch_as_it_would_have_without(tmp_path: Path, first: int) -> None:
    """Its rungs are rebuilt from the curves in the tables."""
    found: list[list[tuple[Any, ...]]] = []
    for name, budgets in (("whole", [6]), ("broken", [first, 6])):
        (tmp_path / name).mkdir()
        sweep = Sweep(tmp_path / name, {"search": {"depth": {"int": [1, 6]}}, "stop": "asha"})
        for trials in budgets:
            sweep.changes |= {"budget": {"trials": trials}}
            sweep.launch(follows(lambda assignment, _: HEIGHTS[assignment.settings.depth]))
        found.append([(row["trial"], row["state"], row["why"], row["steps_trained"]) for row in sweep.rows()])
    assert found[0] == found[1]
    assert [state for _, state, *_ in found[0]] == ["finished", "finished", "pruned", "pruned", "finished", "pruned"]
