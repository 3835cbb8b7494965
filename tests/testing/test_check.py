"""Every kind of task passes `check_task`, and whoever breaks a rule is told which."""

import itertools
import re
from collections.abc import Generator, Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from pydantic import Field
from torch import nn

from sweeper import Examples, PlainRun, check_task
from sweeper.space.hyperparameters import fields
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task
from sweeper.training.learners.learner import Run, Scores
from sweeper.training.parameters import Parameters
from tests.fakes.tasks import Line, Lines, Rings, RingsApart, Rule, named, points

SMALL = {"batch.max": 12, "warmup_steps": 2}
HEIGHTS = {"groups": ((9, 4, 2), (9, 4, 3)), "train_codes": 30, "validation_codes": 30}


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", ["whole", "sampled"])
def test_modular_arithmetic_keeps_to_every_rule(evaluation: str) -> None:
    operations = ("x_plus_y", "x_div_y", "permutation")
    task = ModularArithmetic(
        name="modular_arithmetic", operation=operations, modulus=5, degree=3, evaluation=evaluation
    )
    check_task(task, **SMALL, width=8, heads=2, depth=1)


@pytest.mark.slow
@pytest.mark.parametrize("violation", [0.0, 2.0])
def test_m_height_keeps_to_every_rule(violation: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path))
    check_task(MHeight(name="m_height", **HEIGHTS), **SMALL, width=4, depth=1, **{"model.violation": violation})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Rings, RingsApart, Rule, Line])
def test_a_task_of_ones_own_keeps_to_every_rule(kind: type[Task]) -> None:
    check_task(named(kind), **SMALL)


@pytest.mark.slow
def test_schedules_and_models_are_checked_with_what_is_given() -> None:
    growing = {"batch.shape": "linear", "batch.min": 3, "batch.max": 20, "batch.every": 1, "batch.period": 15}
    check_task(named(Rings), **growing, **{"model.hidden": 3, "model.activation": "relu"})


def test_the_threads_are_as_many_as_before() -> None:
    torch.set_num_threads(2)
    check_task(named(Line), **SMALL)
    assert torch.get_num_threads() == 2


# ---- what it is called, and what it says of itself


class Excluded(Line):
    hidden: int = Field(3, exclude=True)


class WithoutLoss(Line):
    @property
    def scores(self) -> Mapping[str, str]:
        return {"absolute": "Mean absolute error."}


class OddDefaults(Line):
    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"betas": {0.9, 0.99}}


class UnknownDefault(Line):
    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"dpeth": 3}


class IllegalDefault(Line):
    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"weight_decay": -1.0}


class Mistaken(Line):
    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield "name", "it is no good name"


class OddTitle(Line):
    @property
    def title(self) -> str:
        return 5  # type: ignore[return-value]


class Untyped(Rings):
    def model(self, hidden=8) -> nn.Module:  # type: ignore[no-untyped-def, override]
        return super().model(hidden)


class WithoutDefault(Rings):
    def model(self, hidden: int) -> nn.Module:  # type: ignore[override]
        return super().model(hidden)


class BelowItsRange(Rings):
    def model(self, hidden: Annotated[int, Field(ge=16)] = 8) -> nn.Module:  # type: ignore[override]
        return super().model(hidden)


class Optional(Rings):
    def model(self, hidden: int | None = 8) -> nn.Module:  # type: ignore[override]
        return super().model(hidden or 8)


class Neither(Task):
    """Describes itself, and cannot train."""


HERE = __name__
THERE = Line.__module__
KEYS = ", ".join(key for key in fields() if key not in ("depth", "width", "heads", "feedforward"))


def complaint(task: Task, **hyperparameters: Any) -> str:
    """What check_task says, but for numbers with a point in them, and what vmap says."""
    with pytest.raises(AssertionError) as raised:
        check_task(task, **({**SMALL, **hyperparameters}))
    said = re.sub(r"(?<=RuntimeError: )(Batch norm got|vmap: called) .*?(?=; expected)", r"\1 #", str(raised.value))
    return re.sub(r"-?\d+\.\d+(e[+-]?\d+)?", "#", said)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (
            Line(name="lines"),
            "lines: name: got 'lines'; allowed: modular_arithmetic, m_height, or your own as package.module:Class",
        ),
        (
            Line(name=f"{THERE}:Rings"),
            f"{THERE}:Rings: name: got a name that means {THERE}:Rings; expected {THERE}:Line; "
            f'write name="{THERE}:Line"',
        ),
        (
            named(Excluded, hidden=4),
            f"{HERE}:Excluded: keys: got Excluded(name='{HERE}:Excluded', hidden=3) once they have been text; expected "
            f"Excluded(name='{HERE}:Excluded', hidden=4); let every field be what a space.yaml can say: flags, "
            "numbers, words and lists of them",
        ),
        (
            named(WithoutLoss),
            f"{HERE}:WithoutLoss: description: got ValueError: scores: got absolute; loss is missing; expected no "
            "exception; see the traceback above",
        ),
        (
            named(OddDefaults),
            f"{HERE}:OddDefaults: description: got TypeError: Object of type set is not JSON serializable; expected "
            "no exception; see the traceback above",
        ),
        (
            named(UnknownDefault),
            f"{HERE}:UnknownDefault: defaults: got dpeth; expected one of {KEYS}; drop it, or take it from `without`",
        ),
        (
            named(IllegalDefault),
            f"{HERE}:IllegalDefault: weight_decay: got # (Input should be greater than or equal to 0); expected a "
            "legal value; correct the default or what you give",
        ),
        (named(Mistaken), f"{HERE}:Mistaken: name: it is no good name"),
        (
            named(OddTitle),
            f"{HERE}:OddTitle: title: got '5' read back from its description; expected 5; keep to plain values",
        ),
        (
            named(Untyped),
            f"{HERE}:Untyped: description: got TypeError: Untyped.model: hidden needs a type and a default, as in "
            "width: int = 64; expected no exception; see the traceback above",
        ),
        (
            named(WithoutDefault),
            f"{HERE}:WithoutDefault: description: got TypeError: WithoutDefault.model: hidden needs a type and a "
            "default, as in width: int = 64; expected no exception; see the traceback above",
        ),
        (
            named(BelowItsRange),
            f"{HERE}:BelowItsRange: description: got ValueError: model.hidden: its default 8 is not legal (Input "
            "should be greater than or equal to 16); expected no exception; see the traceback above",
        ),
        (
            named(Optional),
            f"{HERE}:Optional: description: got ValueError: model.hidden: got the type int | None; allowed: bool, "
            "int, float, str, or a Literal; expected no exception; see the traceback above",
        ),
        (
            named(Neither),
            f"{HERE}:Neither: training: got TypeError: {HERE}:Neither: a task derives from ModuleTask, StackedTask or "
            "LoopTask (docs/tasks.md); expected no exception; derive it from one of these",
        ),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Task) else "",
)
def test_a_task_says_what_it_is(task: Task, expected: str) -> None:
    assert complaint(task) == expected


def test_hyperparameters_are_those_of_the_task_legal_and_fit_together() -> None:
    rings, arithmetic = named(Rings), ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",))
    assert complaint(rings, **{"model.hiden": 3}) == (
        f"{THERE}:Rings: hyperparameters: got model.hiden (did you mean 'model.hidden'?); expected one of {KEYS}, "
        "model.hidden, model.activation; correct it"
    )
    assert complaint(rings, **{"model.hidden": 0}) == (
        f"{THERE}:Rings: model.hidden: got 0 (Input should be greater than or equal to 1); expected a legal value; "
        "correct the default or what you give"
    )
    assert complaint(arithmetic, width=16, heads=3) == (
        "modular_arithmetic: heads: got 3 heads do not divide width 16; the nearest that do: [1, 2, 4, 8]; expected "
        "settings that fit together; give check_task others"
    )


# ---- problems written by hand


class Unlike(Line):
    def alike(self, run: Run) -> Hashable:
        return run.seeds


class Float64Start(Lines):
    def initial(self) -> torch.Tensor:
        return super().initial().double()


class LongStart(Lines):
    def initial(self) -> torch.Tensor:
        return torch.cat([super().initial()] * 2, dim=1)


class InfiniteStart(Lines):
    def initial(self) -> torch.Tensor:
        return super().initial() / 0


class UnseededStart(Lines):
    def initial(self) -> torch.Tensor:
        return torch.randn(len(self.seeds), 4)


class StartByPlace(Lines):
    def initial(self) -> torch.Tensor:
        self.seeds = [replace(each, init=place) for place, each in enumerate(self.seeds)]
        return super().initial()


class StartByData(Lines):
    def initial(self) -> torch.Tensor:
        self.seeds = [replace(each, init=each.data) for each in self.seeds]
        return super().initial()


class OneStart(Lines):
    def initial(self) -> torch.Tensor:
        return torch.ones(len(self.seeds), 4)


class ShortRows(Lines):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.train = [each.int() for each in self.train]


class NoValidation(Lines):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.validation = [each[:0] for each in self.validation]


class Shared(Lines):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.validation = [torch.arange(40) for _ in self.seeds]


class OddNorm(Lines):
    norms: ClassVar = {"weight_norm_slope": "slopes."}


class OddBlocks(Lines):
    blocks: ClassVar = ["block0."]


class OddLast(Lines):
    last_layer = "head"


class Raises(Lines):
    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        raise RuntimeError("no idea\nat all")


class Changed(Lines):
    """Changes what is scored."""

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        return self.changed(super().score(parameters, rows))

    def changed(self, found: Scores) -> Scores:
        raise NotImplementedError


class FewerScores(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, others={})


class MoreDiagnostics(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, diagnostics={**found.diagnostics, "near": found.losses.detach()})


class Attached(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, others={"absolute": found.losses})


class Averaged(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, diagnostics={"far": found.diagnostics["far"].mean(1)})


class AveragedLoss(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses.mean(1))


class Float32Loss(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses.float())


class InfiniteLoss(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses / 0)


class Detached(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses.detach())


class Noisy(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses + torch.rand(1))


class AcrossRuns(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses - found.losses.mean(0))


class AcrossExamples(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, others={"absolute": found.others["absolute"] / found.others["absolute"].mean(1)[:, None]})


class OneByOne(Changed):
    """Goes wrong where there is a single example."""

    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses if found.losses.shape[1] > 1 else found.losses.squeeze())


class Unused(Lines):
    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        return super().score({**parameters, "offset": parameters["offset"].detach()}, rows)


class SecretNorm(Lines):
    norms: ClassVar = {"weight_norm_slope": "slope.", "weight_norm_offset": "offset"}


class Crowded(Lines):
    """Gives a run more examples where it is beside others."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.train = [each[: 20 + len(self.seeds)] for each in self.train]


class Exponential(Changed):
    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=(found.losses / 3).exp())


class Older(Changed):
    """Scores otherwise from the twentieth time on."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.calls = itertools.count()

    def changed(self, found: Scores) -> Scores:
        return replace(found, losses=found.losses * (1 if next(self.calls) < 20 else 2))


class ByHand(Line):
    """Line, with another problem."""


BY_HAND: list[tuple[type[Lines], str]] = [
    (
        Float64Start,
        "initial: got torch.float64 [3, 4]; expected torch.float32 [3, 4]; lay every run's parameters end to end, in "
        "the order of `shapes`",
    ),
    (
        LongStart,
        "initial: got torch.float32 [3, 8]; expected torch.float32 [3, 4]; lay every run's parameters end to end, in "
        "the order of `shapes`",
    ),
    (
        InfiniteStart,
        "initial: got numbers that are not finite; expected torch.float32 [3, 4]; lay every run's parameters end to "
        "end, in the order of `shapes`",
    ),
    (
        UnseededStart,
        "initial: got other parameters the second time; expected the same; draw them with a torch.Generator that is "
        "seeded by run.seeds.init",
    ),
    (
        StartByPlace,
        "initial: got other parameters for replicate 1 without its neighbours and with other data; expected the same; "
        "draw each run's from run.seeds.init, and nothing else",
    ),
    (
        StartByData,
        "initial: got other parameters for replicate 0 without its neighbours and with other data; expected the same; "
        "draw each run's from run.seeds.init, and nothing else",
    ),
    (
        OneStart,
        "initial: got the same parameters for replicates 0 and 1; expected others; draw them from run.seeds.init",
    ),
    (
        ShortRows,
        "train: got torch.int32 [25]; expected row numbers of each run, torch.int64 [n], n above 0; split otherwise",
    ),
    (
        NoValidation,
        "validation: got 0, 0, 0 rows for 3 runs; expected row numbers of each run, torch.int64 [n], n above 0; split "
        "otherwise",
    ),
    (
        Shared,
        "validation: got 25 examples of replicate 0 that train and validate; expected none; split the examples in two",
    ),
    (OddNorm, "norms: got 'slopes.'; expected how one of slope.weight, offset begins; correct it"),
    (OddBlocks, "blocks: got 'block0.'; expected how one of slope.weight, offset begins; correct it"),
    (OddLast, "last_layer: got 'head'; expected one of slope.weight, offset; correct it"),
    (
        Raises,
        "score of 3 runs and 6 examples: got RuntimeError: no idea; expected no exception; no layer may be random or "
        "keep what it has seen: no Dropout, no BatchNorm; where vmap cannot take a module, set stacked = False",
    ),
    (
        FewerScores,
        "score, others: got none; expected what `scores` announces: absolute; give all that is announced, and nothing "
        "else",
    ),
    (
        MoreDiagnostics,
        "score, diagnostics: got far, near; expected what `diagnostics` announces: far; give all that is announced, "
        "and nothing else",
    ),
    (
        Attached,
        "score, absolute: got gradients; expected a number without gradient for each of [3, 6] examples; average over "
        "nothing, and detach it",
    ),
    (
        Averaged,
        "score, far: got the shape [3]; expected a number without gradient for each of [3, 6] examples; average over "
        "nothing, and detach it",
    ),
    (
        AveragedLoss,
        "score: got losses torch.float64 [3]; expected torch.float64 [3, 6], as Equipment.dtype and the rows are, and "
        "finite; give one loss for each example, and cast to no type of your own",
    ),
    (
        Float32Loss,
        "score: got losses torch.float32 [3, 6]; expected torch.float64 [3, 6], as Equipment.dtype and the rows are, "
        "and finite; give one loss for each example, and cast to no type of your own",
    ),
    (
        InfiniteLoss,
        "score: got losses that are not finite; expected torch.float64 [3, 6], as Equipment.dtype and the rows are, "
        "and finite; give one loss for each example, and cast to no type of your own",
    ),
    (
        Detached,
        "score: got losses without gradients; expected the graph's end; detach nothing on the way",
    ),
    (
        Unused,
        "score, offset: got no gradient; expected one of every parameter; use it for the loss, or drop it",
    ),
    (
        Noisy,
        "score, loss: got other numbers for the same examples again; expected the same; no layer may be random or "
        "keep what it has seen: no Dropout, no BatchNorm",
    ),
    (
        AcrossRuns,
        "score, loss: got other numbers for runs whose neighbour has left; expected the same; score a run by its own "
        "parameters and rows: others leave the stack before it",
    ),
    (
        AcrossExamples,
        "score, absolute: got other numbers for examples in a batch of 3 instead of 6; expected the same; no layer "
        "may look across examples: LayerNorm or GroupNorm instead of BatchNorm",
    ),
    (
        OneByOne,
        "score: got losses torch.float64 [3]; expected torch.float64 [3, 1], as Equipment.dtype and the rows are, and "
        "finite; give one loss for each example, and cast to no type of your own",
    ),
    (
        SecretNorm,
        "columns: got weight_norm_offset, too many or missing; expected the announced ones; announce all",
    ),
    (
        Crowded,
        "training, ByHand, replicate 0: got train_loss # beside others after 5 updates; expected #, as alone; let a "
        "run's examples, parameters and scores depend on nothing but itself",
    ),
    (
        Older,
        "training: got another train_loss after 20 updates, interrupted after 10; expected the same to the bit; no "
        "layer may be random or keep what it has seen: no Dropout, no BatchNorm",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "expected"), BY_HAND, ids=[lines.__name__ for lines, _ in BY_HAND])
def test_a_problem_keeps_to_its_protocol(lines: type[Lines], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByHand, "lines", lines)
    assert complaint(named(ByHand)) == f"{HERE}:ByHand: {expected}"


def test_replicates_can_be_stacked() -> None:
    assert complaint(named(Unlike)) == (
        f"{HERE}:Unlike: alike: got unequal values for two replicates; expected equal ones; leave seeds and "
        "replicates out of it: otherwise nothing is stacked"
    )


def test_the_short_training_does_not_diverge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByHand, "lines", Exponential)
    assert complaint(named(ByHand), learning_rate=100.0) == (
        f"{HERE}:ByHand: training: got a loss that is not finite after 5 updates; expected finite ones; check it with "
        "a smaller learning_rate"
    )


# ---- modules


class Normed(Rings):
    def model(self) -> nn.Module:  # type: ignore[override]
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))


class NormedApart(Normed):
    stacked = False


class Dropping(Rings):
    def model(self) -> nn.Module:  # type: ignore[override]
        return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 2))


class DroppingApart(Dropping):
    stacked = False


class Frozen(Rings):
    def model(self) -> nn.Module:  # type: ignore[override]
        found = nn.Linear(2, 2)
        found.bias.requires_grad_(False)
        return found


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 2)
        self.register_buffer("directions", torch.randn(2, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last((x @ self.directions).cos())
        return found


class RandomFeatures(Rings):
    def model(self) -> nn.Module:  # type: ignore[override]
        return Features()


class MeanLoss(Rings):
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().loss(outputs, targets).mean()


class MeanAccuracy(Rings):
    def measures(self, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return {"accuracy": (outputs.argmax(1) == targets).float().mean()}


class Unseeded(Rings):
    def data(self, seed: int) -> Examples:
        x, y = points(int(torch.randint(10**6, ())), 60)
        return Examples(x[:30], y[:30], x[30:], y[30:])


class Uneven(Rings):
    def data(self, seed: int) -> Examples:
        x, y = points(seed, 60)
        return Examples(x[:30], y[:29], x[30:], y[30:])


NO_MODULE = (
    "expected no exception; no layer may be random or keep what it has seen: no Dropout, no BatchNorm; where vmap "
    "cannot take a module, set stacked = False"
)
SEEN = "(docs/tasks.md, Limits); expected no exception; see the traceback above"
ACROSS = "model: the layer 1 is a BatchNorm1d, which looks across examples: use LayerNorm or GroupNorm instead " + SEEN
RANDOM = (
    "model: the layer 1 is a Dropout, which is random: put noise into the data, use weight decay, or write a LoopTask "
    + SEEN
)
ONE_NUMBER = "for each example, [18], as PyTorch's losses do with reduction='none'"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, f"problem: got ValueError: {HERE}:{kind.__name__}: {ACROSS}") for kind in (Normed, NormedApart)),
        *((kind, f"problem: got ValueError: {HERE}:{kind.__name__}: {RANDOM}") for kind in (Dropping, DroppingApart)),
        (
            Frozen,
            f"problem: got ValueError: {HERE}:Frozen: model: bias is frozen, and every parameter is trained; make it "
            "a buffer; expected no exception; see the traceback above",
        ),
        (
            RandomFeatures,
            f"problem: got ValueError: {HERE}:RandomFeatures: model: the buffer directions is another with every "
            "seed, and runs that are stacked share it; draw it with a torch.Generator of your own, or make it a "
            "parameter; expected no exception; see the traceback above",
        ),
        (
            MeanLoss,
            f"score of 3 runs and 6 examples: got ValueError: {HERE}:MeanLoss: loss of 18 examples has the shape []; "
            f"give one number {ONE_NUMBER}; {NO_MODULE}",
        ),
        (
            MeanAccuracy,
            f"score of 3 runs and 6 examples: got ValueError: {HERE}:MeanAccuracy: accuracy of 18 examples has the "
            f"shape []; give one number {ONE_NUMBER}; {NO_MODULE}",
        ),
        (
            Unseeded,
            "training, Unseeded, replicate 0: got train_loss # beside others after 5 updates; expected #, as alone; "
            "let a run's examples, parameters and scores depend on nothing but itself",
        ),
        (
            Uneven,
            "problem: got ValueError: Examples: got 30 train_inputs and 29 train_targets; give as many, above 0; "
            "expected no exception; see the traceback above",
        ),
    ],
)
def test_a_module_keeps_to_its_rules(kind: type[Rings], expected: str) -> None:
    assert complaint(named(kind)) == f"{HERE}:{kind.__name__}: {expected}"


# ---- loops


class NoGenerator(Rule):
    def train(self, run: PlainRun) -> Any:
        return list(super().train(run))


class Endless(Rule):
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        for each in super().train(run):
            try:
                yield each
            except GeneratorExit:
                yield each


class TooShort(Rule):
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        yield from itertools.islice(super().train(run), 2)


class Surprising(Rule):
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        for each in super().train(run):
            yield {**each, "val_mood": 1.0}


COUNT = itertools.count()


class UnseededLoop(Rule):
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        for each in super().train(run):
            yield {**each, "bias": float(next(COUNT))} if run.operation == "outside" else each


class SeedlessLoop(Rule):
    def module(self, run: PlainRun) -> nn.Linear:
        torch.manual_seed(1)
        return nn.Linear(2, 2)

    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        yield from super().train(replace(run, seeds=type(run.seeds)(1, 2, 3)))


class DivergingLoop(Rule):
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        for number, each in enumerate(super().train(run)):
            yield {**each, "train_loss": each["train_loss"] / (number < 2) if number < 2 else float("inf")}


class RaisingLoop(Rule):
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        yield next(super().train(run))
        raise KeyError("width")


SEES = "expected no exception; see the traceback above"
KNOWN = "['val_accuracy', 'train_accuracy', 'val_loss', 'train_loss', 'bias']"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (NoGenerator, "train: got a list; expected a generator; yield the metrics"),
        (
            Endless,
            "train, closed after its first evaluation: got RuntimeError: generator ignored GeneratorExit; expected no "
            "exception; let GeneratorExit pass",
        ),
        (
            TooShort,
            f"train: got ValueError: {HERE}:TooShort: train ended after 10 updates; the horizon is 20; {SEES}",
        ),
        (
            Surprising,
            f"train: got ValueError: {HERE}:Surprising: train yielded ['bias', 'train_loss', 'val_accuracy', "
            f"'val_loss', 'val_mood'] (unknown: val_mood); known: {KNOWN}; {SEES}",
        ),
        (
            UnseededLoop,
            "train, outside, replicate 0: got other metrics the second time; expected the same; draw parameters, data "
            "and batches from run.seeds alone",
        ),
        (
            SeedlessLoop,
            "train, inside, replicate 1: got the metrics of replicate 0; expected others; draw parameters, data and "
            "batches from run.seeds",
        ),
        (
            DivergingLoop,
            "train, inside, replicate 0: got a loss that is not finite after 15 updates; expected finite ones; check "
            "it with a smaller learning_rate",
        ),
        (RaisingLoop, f"train: got KeyError: 'width'; {SEES}"),
    ],
)
def test_a_loop_keeps_to_its_rules(kind: type[Rule], expected: str) -> None:
    assert complaint(named(kind)) == f"{HERE}:{kind.__name__}: {expected}"


def test_what_a_task_raised_is_kept() -> None:
    with pytest.raises(AssertionError) as raised:
        check_task(named(RaisingLoop), **SMALL)
    assert isinstance(raised.value.__cause__, KeyError)
