"""What `torch.compile` costs and gains a `ModuleTask` on a CPU: one thread, three replicates, in turns.

    python -m benchmarks.compiling

Processor seconds of compiling, those of its compiler processes included, and of an update before and after, medians of
5 rounds. Decision 0029 reads them. Raw figures go to benchmarks/figures/.
"""

import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.learners.learner import Run
from sweeper.training.learners.module_task import Examples, ModuleTask
from sweeper.trial import seeds_of

ROUNDS, REPLICATES = 5, 3
FIGURES = Path(__file__).parent / "figures" / "compiling.json"


class Block(nn.Module):
    """A residual block of a perceptron with LayerNorm and GELU."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of x [B, width]."""
        return x + self.layers(x)


class Small(ModuleTask):
    """A product of two inputs, by a perceptron of two layers of 64."""

    def data(self, seed: int) -> Examples:
        """4,000 points of 32 dimensions."""
        x = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
        y = x[:, :1].sin() * x[:, 1:2]
        return Examples(x[:2000], y[:2000], x[2000:], y[2000:])

    def model(self) -> nn.Module:
        """The perceptron."""
        return nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Squares."""
        return (outputs - targets).square().mean(-1)


class Residual(Small):
    """The same, by three residual blocks of 128."""

    def model(self) -> nn.Module:
        """The blocks."""
        return nn.Sequential(nn.Linear(32, 128), *(Block(128) for _ in range(3)), nn.Linear(128, 1))


SHAPES: list[tuple[type[ModuleTask], int]] = [(Small, 32), (Small, 512), (Residual, 32), (Residual, 512)]


def cohort(kind: type[ModuleTask], batch: int, compiled: bool) -> Cohort:
    """Three replicates that never end."""
    settings = hyperparameters.from_flat({"batch.max": batch, "warmup_steps": 0, "learning_rate": 1e-3})
    canonical = hyperparameters.canonical_form(settings, 1000)
    task = kind(name=f"{kind.__module__}:{kind.__qualname__}")
    runs = [Run("", replicate, canonical, seeds_of(replicate)) for replicate in range(REPLICATES)]
    objective = Objective(until="val_loss < 0", horizon=1000, evaluate_every=10)
    found = Cohort(task, runs, objective, torch.device("cpu"))
    if compiled:
        problem: Any = found._evaluation.problem
        problem._outputs = torch.compile(problem._outputs, dynamic=False)
    return found


def processor(work: Callable[[], object]) -> float:
    """Processor seconds of this process and of those that it waited for."""

    def spent() -> float:
        found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in found)

    before = spent()
    work()
    return spent() - before


def measure(kind: type[ModuleTask], batch: int) -> dict[str, Any]:
    """One shape."""
    eager, compiled = (cohort(kind, batch, each) for each in (False, True))
    torch._dynamo.reset()
    eager.update(3)
    seconds = processor(lambda: compiled.update(3))
    apart = (eager.parameters.values - compiled.parameters.values).abs().max().item()
    updates = 10 if batch > 100 else 40
    found: dict[str, list[float]] = {"eager": [], "compiled": []}
    for _ in range(ROUNDS):
        for name, each in (("eager", eager), ("compiled", compiled)):
            began = time.process_time()
            each.update(updates)
            found[name].append((time.process_time() - began) / updates)
    return {"task": kind.__name__, "batch": batch, "compiling": seconds, "apart": apart, "updates": found}


def main() -> None:
    """Measure, show and write."""
    prepare(1)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        shapes = [measure(*shape) for shape in SHAPES]
    table = Table()
    for heading in ("task", "batch", "compiling, s", "eager, ms", "compiled, ms", "ratio", "updates that it takes"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for each in shapes:
        eager, compiled = (statistics.median(each["updates"][name]) for name in ("eager", "compiled"))
        pays = f"{each['compiling'] / (eager - compiled):,.0f}" if eager > compiled else "never"
        times = (f"{eager * 1e3:.1f}", f"{compiled * 1e3:.1f}", f"{eager / compiled:.2f}")
        table.add_row(each["task"], str(each["batch"]), f"{each['compiling']:.0f}", *times, pays)
    Console(width=120).print(table)
    about = {"cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}
    FIGURES.write_text(json.dumps(about | {"load": os.getloadavg(), "shapes": shapes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
