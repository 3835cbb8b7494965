"""Modules trained stacked are what the same modules are in a plain loop, and examples are kept once."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pytest
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from sweeper import Examples, ModuleTask
from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import batch_sizes
from sweeper.training import rng
from sweeper.training.cohort import Cohort
from sweeper.training.learners.learner import Equipment, Run
from sweeper.training.ops.matmul import exact
from sweeper.trial import Seeds, seeds_of
from tests.fakes.tasks import Rings, RingsApart, named

CPU = torch.device("cpu")
EQUIPMENT = Equipment(CPU, torch.float64, exact)
HORIZON = 30


class Words(nn.Module):
    """Tells a word's successor, with one matrix for words that come in and words that go out."""

    def __init__(self, width: int):
        super().__init__()
        self.incoming = nn.Embedding(7, width)
        self.middle = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.GELU())
        self.outgoing = nn.Linear(width, 7)
        self.outgoing.weight = self.incoming.weight
        self.register_buffer("scale", torch.full((width,), 0.5))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.outgoing(self.middle(self.incoming(words) * self.scale))
        return found


class Successors(ModuleTask):
    """Sequences of words, each of which is to tell the next one."""

    def data(self, seed: int) -> Examples:
        x = torch.randint(7, (50, 4), generator=torch.Generator().manual_seed(seed))
        y = (x + 1) % 7
        return Examples(x[:30], y[:30], x[30:], y[30:])

    def model(self, width: int = 6) -> nn.Module:
        return Words(width)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs.mT, targets, reduction="none").mean(1)


class SuccessorsApart(Successors):
    stacked = False


class Attending(Successors):
    """With PyTorch's own transformer block."""

    def model(self, width: int = 6) -> nn.Module:
        block = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        return nn.Sequential(nn.Embedding(7, width), block, nn.Linear(width, 7))


def make_run(task: ModuleTask, replicate: int = 0, **settings: object) -> Run:
    flat = {"batch.max": 24, "learning_rate": 3e-3, "warmup_steps": 3, **task.all_defaults, **settings}
    plain = hyperparameters.canonical_form(hyperparameters.from_flat(flat), HORIZON)
    return Run(task.operations[0], replicate, plain, seeds_of(replicate))


def cohort(task: ModuleTask, runs: list[Run]) -> Cohort:
    return Cohort(task, runs, Objective(horizon=HORIZON), CPU, dtype=torch.float64)


def begun(task: ModuleTask, run: Run) -> nn.Module:
    """The model of a run as its seed makes it."""
    torch.manual_seed(run.seeds.init)
    return task.model(**dict(run.settings.model))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def train_plainly(task: ModuleTask, run: Run, updates: int) -> nn.Module:
    """The same run with torch.optim.AdamW and nothing stacked."""
    s, examples = run.settings, task.data(run.seeds.data)
    model = begun(task, run).double()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=s.learning_rate, betas=s.betas, eps=s.epsilon, weight_decay=s.weight_decay
    )
    x = examples.train_inputs.double() if examples.train_inputs.is_floating_point() else examples.train_inputs
    seeds, count = torch.tensor([run.seeds.order]), torch.tensor([[len(x)]])
    for update, size in enumerate(batch_sizes(s.batch, HORIZON)[:updates]):
        optimiser.param_groups[0]["lr"] = s.learning_rate * min(update / s.warmup_steps, 1)
        rows = rng.draw(seeds, rng.TRAIN, update, int(size), count)[0]
        optimiser.zero_grad()
        task.loss(model(x[rows]), examples.train_targets[rows]).mean().backward()
        optimiser.step()
    return model


GROWING = {"batch.shape": "linear", "batch.min": 5, "batch.max": 30, "batch.every": 1, "batch.period": 8}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Rings, RingsApart, Successors, SuccessorsApart, Attending])
def test_a_stack_of_modules_trains_as_plain_loops_do_in_float64(kind: type[ModuleTask]) -> None:
    task = named(kind)
    runs = [make_run(task), make_run(task, 1, **GROWING), make_run(task, 2, weight_decay=0.0, betas=(0.8, 0.9))]
    stacked = cohort(task, runs)
    stacked.update(10)
    for row, run in enumerate(runs):
        expected = flat(train_plainly(task, run, 10))
        torch.testing.assert_close(stacked.parameters.values[row], expected, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_an_evaluation_averages_over_the_validation_examples_of_each_run() -> None:
    task = named(Rings)
    runs = [make_run(task, replicate) for replicate in (3, 4)]
    *_, last = cohort(task, runs).train()
    for row, run in enumerate(runs):
        model, examples = train_plainly(task, run, HORIZON), task.data(run.seeds.data)
        with torch.no_grad():
            outputs = model(examples.validation_inputs.double())
        right = (outputs.argmax(1) == examples.validation_targets).double().mean()
        assert last["val_loss"][row] == pytest.approx(F.cross_entropy(outputs, examples.validation_targets).item())
        assert last["val_accuracy"][row] == pytest.approx(right.item())
        assert last["weight_norm"][row] == pytest.approx(flat(model).norm().item())
        assert last["last_layer_norm"][row] == pytest.approx(model[2].weight.norm().item())  # type: ignore[index]
        layers = [flat(model[place]).norm().item() for place in (0, 2)]  # type: ignore[index]
        assert last["weight_norm_blocks"][row].tolist() == pytest.approx(layers)


def test_a_model_begins_as_its_seed_makes_it_and_torchs_own_random_state_stays() -> None:
    task = named(Successors)
    runs = [make_run(task, replicate) for replicate in (0, 5)]
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    initial = task.problem(runs, EQUIPMENT).initial()
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(initial, torch.stack([flat(begun(task, run)) for run in runs]))
    assert initial.dtype == torch.float32


def test_shapes_are_those_of_the_parameters_a_tied_one_once() -> None:
    task = named(Successors)
    problem = task.problem([make_run(task)], EQUIPMENT)
    assert problem.shapes == {
        "incoming.weight": (7, 6),
        "middle.0.weight": (6, 6),
        "middle.0.bias": (6,),
        "middle.1.weight": (6,),
        "middle.1.bias": (6,),
        "outgoing.bias": (7,),
    }
    assert problem.blocks == ["incoming.", "middle.0.", "middle.1.", "outgoing."]
    assert problem.last_layer == "middle.0.weight"


# ---- examples


class Counted(Rings):
    """Counts how often its examples are made; with `shared` they are the same for every seed."""

    shared: bool = False
    made: ClassVar[list[int]] = []
    only: ClassVar[list[Examples]] = []

    def data(self, seed: int) -> Examples:
        self.made.append(seed)
        if not self.shared:
            return super().data(seed)
        if not self.only:
            self.only.append(super().data(0))
        return self.only[0]


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    Counted.made.clear()
    Counted.only.clear()


def on_device(task: ModuleTask, runs: list[Run]) -> int:
    """How many examples lie on the device."""
    return len(task.problem(runs, EQUIPMENT)._inputs)  # type: ignore[attr-defined]


def with_data(run: Run, seed: int) -> Run:
    return Run(run.operation, run.replicate, run.settings, Seeds(run.seeds.init, seed, run.seeds.order))


def test_examples_that_runs_share_lie_on_the_device_once() -> None:
    own, shared = named(Counted), named(Counted, shared=True)
    runs = [make_run(own, replicate) for replicate in range(3)]
    assert on_device(own, runs) == 180
    assert on_device(own, [with_data(run, 7) for run in runs]) == 60
    assert on_device(shared, runs) == 60


def test_examples_of_a_seed_are_made_once_for_a_stack() -> None:
    task = named(Counted)
    runs = [make_run(task, replicate) for replicate in range(3)]
    task.problem([with_data(run, seed) for run, seed in zip(runs, (7, 8, 7), strict=True)], EQUIPMENT)
    assert Counted.made == [7, 8]


def test_each_run_learns_from_its_own_examples() -> None:
    task = named(Rings)
    runs = [make_run(task, replicate) for replicate in range(2)]
    problem = task.problem(runs, EQUIPMENT)
    for run, train, validation in zip(runs, problem.train, problem.validation, strict=True):
        expected = task.data(run.seeds.data)
        assert torch.equal(problem._inputs[train], expected.train_inputs.double())  # type: ignore[attr-defined]
        assert torch.equal(problem._targets[train], expected.train_targets)  # type: ignore[attr-defined]
        assert torch.equal(problem._inputs[validation], expected.validation_inputs.double())  # type: ignore[attr-defined]
        assert torch.equal(problem._targets[validation], expected.validation_targets)  # type: ignore[attr-defined]


def test_numbers_that_count_stay_whole() -> None:
    task = named(Successors)
    problem = task.problem([make_run(task)], EQUIPMENT)
    assert problem._inputs.dtype == problem._targets.dtype == torch.int64  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 2, 1, 1), "Examples: got 3 train_inputs and 2 train_targets; give as many, above 0"),
        ((3, 3, 1, 2), "Examples: got 1 validation_inputs and 2 validation_targets; give as many, above 0"),
        ((3, 3, 0, 0), "Examples: got 0 validation_inputs and 0 validation_targets; give as many, above 0"),
    ],
)
def test_there_is_a_target_for_each_input(sizes: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  # the whole text is compared
        Examples(*map(torch.zeros, sizes))
    assert str(raised.value) == message


# ---- hyperparameters


class Many(Rings):
    def model(  # type: ignore[override]
        self,
        hidden: Annotated[int, Field(ge=1, le=64, description="Width of the middle.")] = 8,
        rate: Annotated[float, Field(ge=0)] = 0.1,
        gated: bool = False,
        activation: Literal["tanh", "relu"] = "relu",
    ) -> nn.Module:
        return super().model(hidden, activation)


def test_keyword_arguments_of_model_are_hyperparameters() -> None:
    task = named(Many)
    assert {key: (each.annotation, each.default, each.description) for key, each in task.models.items()} == {
        "model.hidden": (int, 8, "Width of the middle."),
        "model.rate": (float, 0.1, None),
        "model.gated": (bool, False, None),
        "model.activation": (Literal["tanh", "relu"], "relu", None),
    }
    assert task.choices("model.activation") == ("tanh", "relu")
    assert task.all_defaults == {
        "heads": 1,
        "feedforward": 1,
        "model.hidden": 8,
        "model.rate": 0.1,
        "model.gated": False,
        "model.activation": "relu",
    }
    legal: Mapping[str, object] = {"model.hidden": 64, "model.rate": 0.0, "model.gated": True}
    illegal: Mapping[str, object] = {"model.hidden": 65, "model.rate": -0.1, "model.gated": 1, "model.activation": "x"}
    for key, value in legal.items():
        assert task.adapter(key).validate_python(value) == value
    for key, value in illegal.items():
        with pytest.raises(ValueError, match="Input should be"):
            task.adapter(key).validate_python(value)


def test_runs_of_other_models_are_not_stacked() -> None:
    task = named(Rings)
    first, same, other = make_run(task), make_run(task, 1, learning_rate=0.1), make_run(task, **{"model.hidden": 3})
    assert task.alike(first) == task.alike(same) != task.alike(other)
    assert task.task is task
    assert task.prepare(lambda done, total: None) == {}
