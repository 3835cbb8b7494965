"""Modules of a user's own, written to a folder that Python looks into."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

IMPORTS = "from sweeper import Examples, LoopTask, ModuleTask, StackedTask\n"
DOTS = '''\
"""Dots: which half of a line a number lies on."""

from pathlib import Path

import torch
from torch import nn

from sweeper import Examples, ModuleTask

with Path(__file__).with_suffix(".imported").open("a") as file:
    file.write("again\\n")


class Dots(ModuleTask):
    count: int = 40

    @property
    def scores(self):
        return {"accuracy": "Share of right answers.", "loss": "Mean cross-entropy."}

    @property
    def diagnostics(self):
        return {}

    @property
    def defaults(self):
        return {"weight_decay": 0.0}

    def mistakes(self):
        if self.count % 2:
            yield "count", f"got {self.count}; it has to be even"

    def data(self, seed):
        x = torch.rand(self.count, 1, generator=torch.Generator().manual_seed(seed)) - 0.5
        y = (x[:, 0] > 0).long()
        half = self.count // 2
        return Examples(x[:half], y[:half], x[half:], y[half:])

    def model(self, hidden: int = 4):
        return nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def measures(self, outputs, targets):
        return {"accuracy": outputs.argmax(1) == targets}
'''
SPACE = """\
name: dots
task: {name: NAME}
objective: {until: val_accuracy > 0.9, horizon: 40, evaluate_every: 10, replicates: 2}
search:
  model.hidden: {choice: [2, 4]}
fixed: {batch.max: 8, learning_rate: 0.05, warmup_steps: 0}
sampler: {name: grid}
budget: {trials: 2}
"""


class Folder:
    """A folder of modules and spaces."""

    def __init__(self, path: Path):
        self.path = path

    def module(self, name: str, text: str) -> Path:
        """Write a module, with what it imports of sweeper."""
        file = self.path / f"{name}.py"
        file.write_text(text if text == DOTS else IMPORTS + dedent(text))
        return file

    def space(self, task: str, text: str = SPACE) -> Path:
        """Write space.yaml for a task."""
        file = self.path / "space.yaml"
        file.write_text(text.replace("NAME", task) + f"results: {self.path / 'results'}\n")
        return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """An empty one that Python looks into; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield Folder(tmp_path)
    forget(tmp_path)


def forget(path: Path) -> None:
    """Let Python forget the modules of a folder."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(path)):
            del sys.modules[name]
