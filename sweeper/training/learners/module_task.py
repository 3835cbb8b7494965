"""Tasks of one's own that train stacked: of an nn.Module and tensors, or whole problems. docs/tasks.md is the guide."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, get_type_hints

import torch
from pydantic.fields import FieldInfo
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from sweeper.config.model import Precision
from sweeper.space.hyperparameters import MODEL
from sweeper.tasks.task import References, Task
from sweeper.training.learners.learner import Equipment, Progress, Run, Scores, StackProblem
from sweeper.training.parameters import Parameters


class StackedTask(Task, ABC):
    """A task whose runs train stacked: both halves in one class. See `sweeper.training.learners.learner`."""

    @property
    def task(self) -> "StackedTask":
        """Itself."""
        return self

    @abstractmethod
    def alike(self, run: Run) -> Hashable:
        """A key that two runs must share to be stacked."""

    @abstractmethod
    def problem(self, runs: Sequence[Run], equipment: Equipment) -> StackProblem:
        """The problem of runs that are alike."""

    def module(self, run: Run, precision: Precision) -> torch.nn.Module:
        """A module that predicts as a run's model does, for `keep`, its parameters named as the problem's shapes."""
        raise NotImplementedError(f"{self.name}: {self.unkeepable()}")

    def unkeepable(self) -> str:
        """That `module` is missing, where it is."""
        if type(self).module is not StackedTask.module:
            return ""
        return f"{self.name} has no method `module`, which a StackedTask needs for it (docs/models.md); or remove keep"

    def prepare(self, progress: Progress) -> References:
        """Nothing, unless it is said what; `prepares` has to be true as well."""
        return {}


@dataclass(frozen=True)
class Examples:
    """The data of one run; the first axis of every tensor counts examples.

    Raises:
        ValueError: there are more inputs than targets, or fewer, or none.
    """

    train_inputs: torch.Tensor
    train_targets: torch.Tensor
    validation_inputs: torch.Tensor
    validation_targets: torch.Tensor

    def __post_init__(self) -> None:
        for side in ("train", "validation"):
            inputs, targets = len(getattr(self, f"{side}_inputs")), len(getattr(self, f"{side}_targets"))
            if inputs != targets or not inputs:
                raise ValueError(
                    f"Examples: got {inputs} {side}_inputs and {targets} {side}_targets; give as many, above 0"
                )


class ModuleTask(StackedTask):
    """A task of tensors, an nn.Module and a loss.

    The replicates are stacked by `torch.func.vmap` over the module's parameters. Layers whose state changes as they
    run, and random ones, do not go with that: no BatchNorm, no Dropout. The keyword arguments of `model`, each with a
    type and a default, are the hyperparameters `model.NAME`.

    Attributes:
        stacked: False calls the module once for each run, for modules that vmap cannot take. Slower.
    """

    stacked: ClassVar[bool] = True

    @abstractmethod
    def data(self, seed: int) -> Examples:
        """The examples of a run, on the CPU; equal seeds mean equal examples, and one object may be returned twice."""

    @abstractmethod
    def model(self) -> torch.nn.Module:
        """A new model with random parameters; a subclass adds keyword arguments."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of each example: of outputs [B, ...] and targets [B, ...] a tensor [B]."""

    def measures(self, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Every other score of `scores`: name -> [B]."""
        return {}

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        """The keyword arguments of `model`."""
        hints = get_type_hints(self.model, include_extras=True)
        found = {}
        for name, each in inspect.signature(self.model).parameters.items():
            if each.default is inspect.Parameter.empty or name not in hints:
                raise TypeError(
                    f"{type(self).__name__}.model: {name} needs a type and a default, as in width: int = 64"
                )
            found[f"{MODEL}{name}"] = FieldInfo.from_annotated_attribute(hints[name], each.default)
        return found

    def untrainable(self) -> str:
        """Name a layer of the default model that cannot train here."""
        defaults = {name.removeprefix(MODEL): self.all_defaults[name] for name in self.models}
        try:
            with torch.random.fork_rng(devices=[]):
                return _unsupported_layer(self.model(**defaults))
        except Exception:  # noqa: BLE001  # only the search may give values that this model can be made with
            return ""

    def alike(self, run: Run) -> Hashable:
        """The hyperparameters of their models."""
        return run.settings.model

    def problem(self, runs: Sequence[Run], equipment: Equipment) -> StackProblem:
        """The examples and modules of the runs."""
        return _Modules(self, runs, equipment)

    def module(self, run: Run, precision: Precision = "float32") -> torch.nn.Module:
        """The run's model as it begins; a seed means the same parameters wherever and beside whomever it trains."""
        return seeded(run.seeds.init, lambda: self.model(**dict(run.settings.model)))


def seeded(seed: int, make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A module that a function makes from this seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class _Modules:
    """R modules and their examples: see `sweeper.training.learners.learner`."""

    norms: ClassVar[dict[str, str]] = {}
    repeats = False

    def __init__(self, task: ModuleTask, runs: Sequence[Run], equipment: Equipment):
        self._task, self._equipment = task, equipment
        made = [task.module(run) for run in runs]
        self._refuse(made)
        self._initial = torch.stack(
            [torch.cat([each.detach().flatten() for each in one.parameters()]) for one in made]
        ).float()
        self._module = made[0].to(equipment.device, equipment.dtype)
        named = dict(self._module.named_parameters())
        self.shapes = {name: tuple(each.shape) for name, each in named.items()}
        self.blocks = list(dict.fromkeys(_layer_of(name) for name in named))
        matrices = [name for name, shape in self.shapes.items() if len(shape) > 1]
        self.last_layer = (matrices or list(self.shapes))[-1]
        self._rows: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._load_examples(runs)
        self.train = [self._rows[run.seeds.data][0] for run in runs]
        self.validation = [self._rows[run.seeds.data][1] for run in runs]

    def examples_of(self, runs: Sequence[Run]) -> tuple[list[torch.Tensor], list[torch.Tensor]] | None:
        """See `HoldsExamples`: those of seeds that the stack began with."""
        found = [self._rows.get(run.seeds.data) for run in runs]
        known = [each for each in found if each is not None]
        return ([each[0] for each in known], [each[1] for each in known]) if len(known) == len(found) else None

    def initial(self) -> torch.Tensor:
        """See `StackProblem`."""
        return self._initial.clone()

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        """See `StackProblem`."""
        inputs, targets = self._inputs[rows], self._targets[rows].flatten(0, 1)
        outputs = self._outputs(parameters, inputs).flatten(0, 1)
        losses = self._each("loss", self._task.loss(outputs, targets), rows)
        others = self._task.measures(outputs.detach(), targets)
        return Scores(losses, {name: self._each(name, each, rows).to(losses.dtype) for name, each in others.items()})

    def _each(self, name: str, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """A score of every example, [R, B]."""
        if values.shape != (rows.numel(),):
            raise ValueError(
                f"{self._task.name}: {name} of {rows.numel()} examples has the shape {list(values.shape)}; give one "
                f"number for each example, [{rows.numel()}], as PyTorch's losses do with reduction='none'"
            )
        return values.view(rows.shape)

    def _refuse(self, made: Sequence[torch.nn.Module]) -> None:
        """Raise ValueError for what would silently train as something else: frozen weights, buffers of a run's own."""
        if unsupported := _unsupported_layer(made[0]):
            raise ValueError(f"{self._task.name}: {unsupported}")
        frozen = [name for name, each in made[0].named_parameters() if not each.requires_grad]
        if frozen:
            raise ValueError(
                f"{self._task.name}: model: {frozen[0]} is frozen, and every parameter is trained; make it a buffer"
            )
        for other in made[1:]:
            for (name, mine), theirs in zip(made[0].named_buffers(), other.buffers(), strict=True):
                if not torch.equal(mine, theirs):
                    raise ValueError(
                        f"{self._task.name}: model: the buffer {name} is another with every seed, and runs that are "
                        "stacked share it; draw it with a torch.Generator of your own, or make it a parameter"
                    )

    def _outputs(self, parameters: Parameters, inputs: torch.Tensor) -> torch.Tensor:
        """[R, B, ...]."""

        def output(mine: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = functional_call(self._module, mine, (x,))
            return found

        mine = dict(parameters)
        if self._task.stacked:
            # On a CPU vmap knows no faster kernel of attention: it would warn, and take the runs one by one.
            with sdpa_kernel(SDPBackend.MATH) if inputs.device.type == "cpu" else nullcontext():
                stacked: torch.Tensor = vmap(output)(mine, inputs)
            return stacked
        apart = [output({name: each[row] for name, each in mine.items()}, x) for row, x in enumerate(inputs)]
        return torch.stack(apart)

    def _load_examples(self, runs: Sequence[Run]) -> None:
        """Put every run's examples on the device, those that several runs share once."""
        device, dtype = self._equipment.device, self._equipment.dtype
        by_seed: dict[int, Examples] = {}
        for run in runs:
            seed = run.seeds.data
            by_seed[seed] = by_seed[seed] if seed in by_seed else self._task.data(seed)
        # Several seeds may mean one object.
        tables = {id(mine): mine for mine in by_seed.values()}
        lengths = [len(mine.train_targets) + len(mine.validation_targets) for mine in tables.values()]
        starts = dict(zip(tables, accumulate(lengths[:-1], initial=0), strict=True))
        for seed, mine in by_seed.items():
            trained, validated = len(mine.train_targets), len(mine.validation_targets)
            rows = torch.arange(trained + validated) + starts[id(mine)]
            self._rows[seed] = rows[:trained], rows[trained:]
        inputs = [each for mine in tables.values() for each in (mine.train_inputs, mine.validation_inputs)]
        targets = [each for mine in tables.values() for each in (mine.train_targets, mine.validation_targets)]
        self._inputs, self._targets = (_moved(torch.cat(each), device, dtype) for each in (inputs, targets))


_ACROSS = "which looks across examples: use LayerNorm or GroupNorm instead"
_RANDOM = "which is random: put noise into the data, use weight decay, or write a LoopTask"


def _unsupported_layer(model: torch.nn.Module) -> str:
    """A sentence about the first layer that no stack of runs can train; empty without one."""
    for name, layer in model.named_modules():
        across = isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)
        random = isinstance(layer, torch.nn.modules.dropout._DropoutNd) and layer.p > 0
        if across or random:
            reason = _ACROSS if across else _RANDOM
            return f"model: the layer {name or 'itself'} is a {type(layer).__name__}, {reason} (docs/tasks.md, Limits)"
    return ""


def _moved(values: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return values.to(device, dtype if values.is_floating_point() else values.dtype)


def _layer_of(name: str) -> str:
    """The prefix of a parameter's layer: `body.0.` of `body.0.weight`."""
    layer = name.rpartition(".")[0]
    return f"{layer}." if layer else name
