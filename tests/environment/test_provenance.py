"""What is recorded of the code that trains."""

import importlib
import sys
from pathlib import Path

import pytest

from sweeper.environment import provenance
from sweeper.errors import UserError


def test_a_file_that_changed_since_it_was_imported_is_refused_until_it_is_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "edited_task.py"
    file.write_text("class Mine: pass\n")
    module = importlib.import_module("edited_task")
    first = provenance.code(module.Mine)["edited_task"]
    assert provenance.code(module.Mine)["edited_task"] == first
    file.write_text("class Mine: changed = True\n")
    with pytest.raises(UserError) as caught:
        provenance.code(module.Mine)
    assert str(caught.value) == (
        f"{file}: has changed since this process imported it, and its old code would train; restart the process "
        "(the notebook's kernel), or importlib.reload(edited_task)"
    )
    assert provenance.code(importlib.reload(module).Mine)["edited_task"] != first
    del sys.modules["edited_task"]
