"""Small tasks of a user's own, one of each kind; broken ones derive from them."""

from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from sweeper import Examples, LoopTask, ModuleTask, PlainRun, StackedTask
from sweeper.config.model import Precision
from sweeper.tasks.task import Task
from sweeper.training.learners.learner import Equipment, Run, Scores, StackProblem
from sweeper.training.parameters import Parameters


def named(kind: type[Task], **keys: object) -> Task:
    """A task as its space.yaml would name it."""
    return kind(name=f"{kind.__module__}:{kind.__qualname__}", **keys)


def points(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the plane [count, 2], and whether each lies within a circle, int64 [count]."""
    found = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return found, (found.square().sum(1) < 0.6).long()


class Rings(ModuleTask):
    """Points within a circle, told by a perceptron."""

    count: int = 60

    @property
    def scores(self) -> Mapping[str, str]:
        return {"accuracy": "Share of points on the right side.", "loss": "Mean cross-entropy, in nats."}

    def data(self, seed: int) -> Examples:
        x, y = points(seed, self.count)
        half = self.count // 2
        return Examples(x[:half], y[:half], x[half:], y[half:])

    def model(self, hidden: Annotated[int, Field(ge=1)] = 8, activation: str = "tanh") -> nn.Module:
        middle = {"tanh": nn.Tanh(), "relu": nn.ReLU()}[activation]
        return nn.Sequential(nn.Linear(2, hidden), middle, nn.Linear(hidden, 2))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def measures(self, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return {"accuracy": outputs.argmax(1) == targets}


class RingsApart(Rings):
    """The same without vmap."""

    stacked = False


class Rule(LoopTask):
    """The same by a loop of its own: plain gradient descent on all that a linear layer gets wrong."""

    @property
    def scores(self) -> Mapping[str, str]:
        return {"accuracy": "Share of points on the right side.", "loss": "Mean cross-entropy, in nats."}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        return {"bias": "The layer's first bias."}

    @property
    def operations(self) -> tuple[str, ...]:
        return "inside", "outside"

    def module(self, run: PlainRun) -> nn.Linear:
        return nn.Linear(2, 2)

    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        model = run.module
        assert isinstance(model, nn.Linear)
        x, inside = points(run.seeds.data, 60)
        y = inside if run.operation == "inside" else 1 - inside
        order = torch.Generator().manual_seed(run.seeds.order)
        for update, (size, rate) in enumerate(zip(run.batch_sizes, run.learning_rates, strict=True), 1):
            rows = torch.randint(30, (int(size),), generator=order)
            loss = F.cross_entropy(model(x[rows]), y[rows])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for mine, gradient in zip(model.parameters(), gradients, strict=True):
                    mine.sub_(float(rate) * gradient)
            if run.evaluates(update):
                with torch.no_grad():
                    outputs = model(x[30:])
                yield {
                    "train_loss": loss.item(),
                    "val_loss": F.cross_entropy(outputs, y[30:]).item(),
                    "val_accuracy": (outputs.argmax(1) == y[30:]).float().mean().item(),
                    "bias": model.bias[0].item(),
                }


class Lines:
    """Planes through points, as a problem written by hand."""

    blocks: ClassVar[Sequence[str]] = ["slope."]
    norms: ClassVar[Mapping[str, str]] = {"weight_norm_slope": "slope."}
    last_layer = "slope.weight"
    repeats = True

    def __init__(self, runs: Sequence[Run], equipment: Equipment):
        self.shapes = {"slope.weight": (3,), "offset": ()}
        self.seeds = [run.seeds for run in runs]
        x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        self.x = x.to(equipment.device, equipment.dtype)
        self.y = self.x @ torch.arange(3).to(self.x) + 0.5
        orders = [torch.randperm(40, generator=torch.Generator().manual_seed(each.data)) for each in self.seeds]
        self.train: list[torch.Tensor] = [order[:25] for order in orders]
        self.validation: list[torch.Tensor] = [order[25:] for order in orders]

    def initial(self) -> torch.Tensor:
        return torch.stack([torch.randn(4, generator=torch.Generator().manual_seed(each.init)) for each in self.seeds])

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        found = (self.x[rows] * parameters["slope.weight"][:, None]).sum(-1) + parameters["offset"][:, None]
        errors = found - self.y[rows]
        off = errors.detach().abs()
        return Scores(errors.square(), {"absolute": off}, {"far": (off > 1).to(off.dtype)})


class Plane(nn.Module):
    """One of them."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Linear(3, 1, bias=False)
        self.slope.weight = nn.Parameter(torch.zeros(3))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.slope.weight + self.offset


class Line(StackedTask):
    """Planes through points, stacked by hand."""

    lines: ClassVar[type[Lines]] = Lines

    @property
    def scores(self) -> Mapping[str, str]:
        return {"loss": "Mean squared error.", "absolute": "Mean absolute error."}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        return {"weight_norm_slope": "L2 norm of the slope.", "far": "Share of the last batch that is off by 1."}

    def alike(self, run: Run) -> Hashable:
        return ()

    def module(self, run: Run, precision: Precision) -> nn.Module:
        return Plane()

    def problem(self, runs: Sequence[Run], equipment: Equipment) -> StackProblem:
        return self.lines(runs, equipment)
