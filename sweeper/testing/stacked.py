"""Rules for tasks whose runs train stacked."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import torch

from sweeper.config.model import Objective
from sweeper.space.batch_schedules import BatchSchedule
from sweeper.space.hyperparameters import Hyperparameters, canonical_form
from sweeper.tasks.task import LOSS, Task
from sweeper.testing.violation import raised, violated
from sweeper.training.checkpoint import pack, unpack
from sweeper.training.cohort import Cohort
from sweeper.training.learners.learner import Equipment, Learner, Run, Scores, StackProblem
from sweeper.training.ops.matmul import exact
from sweeper.training.parameters import Flat, Parameters
from sweeper.trial import Columns, seeds_of

_CPU = torch.device("cpu")
_EQUIPMENT = Equipment(_CPU, torch.float64, exact)
_EXAMPLES, _EVALUATE_EVERY = 6, 5
_TOLERANCE = 1e-8
"""Relative and absolute, in float64: sums in another order stay far below it, and mistakes far above."""
_COLUMNS = frozenset(
    {"operation", "replicate", "step", "examples", "seconds", "batch_size", "learning_rate", "weight_norm_blocks"}
)
_NO_STATE = "no layer may be random or keep what it has seen: no Dropout, no BatchNorm"


def check(learner: Learner, settings: Hyperparameters, horizon: int) -> None:
    """Check a learner. Raises AssertionError."""
    for runs in _stacks(learner, settings, horizon):
        with raised(learner.task, "problem"):
            problem = learner.problem(runs, _EQUIPMENT)
        _check_parameters(learner, runs, problem)
        _check_rows(learner.task, runs, problem)
        _check_scores(learner.task, problem)
        objective = Objective(horizon=horizon, evaluate_every=_EVALUATE_EVERY, until=f"val_{LOSS} < -1e30")
        _check_training(learner, runs, objective)
        _check_going_on(learner, runs, objective)


def _stacks(learner: Learner, settings: Hyperparameters, horizon: int) -> list[list[Run]]:
    """Three replicates of every operation, those that can share a stack together.

    The second one has smaller batches and steps, so that it is padded where it is stacked with the others.
    """
    smaller = settings.model_copy(
        update={
            "batch": BatchSchedule(max=max(1, settings.batch.max * 2 // 3)),
            "learning_rate": settings.learning_rate / 2,
        }
    )
    kinds = [settings, canonical_form(smaller, horizon), settings]
    stacks: dict[Hashable, list[Run]] = {}
    with raised(learner.task, "alike"):
        for operation in learner.task.operations:
            mine = [Run(operation, replicate, kind, seeds_of(replicate)) for replicate, kind in enumerate(kinds)]
            if learner.alike(mine[0]) != learner.alike(mine[2]):
                remedy = "leave seeds and replicates out of it: otherwise nothing is stacked"
                raise violated(learner.task, "alike", "unequal values for two replicates", "equal ones", remedy)
            for run in mine:
                stacks.setdefault(learner.alike(run), []).append(run)
    return list(stacks.values())


def _check_parameters(learner: Learner, runs: list[Run], problem: StackProblem) -> None:
    """Initial parameters fit the shapes, and are a function of the run's seed alone."""
    task, where = learner.task, "initial"

    def of(some: list[Run]) -> torch.Tensor:
        with raised(task, where):
            return learner.problem(some, _EQUIPMENT).initial()

    found, size = of(runs), sum(math.prod(shape) for shape in problem.shapes.values())
    if found.dtype != torch.float32 or list(found.shape) != [len(runs), size] or not found.isfinite().all():
        got = f"{found.dtype} {list(found.shape)}" if found.isfinite().all() else "numbers that are not finite"
        remedy = "lay every run's parameters end to end, in the order of `shapes`"
        raise violated(task, where, got, f"torch.float32 [{len(runs)}, {size}]", remedy)
    if not torch.equal(found, of(runs)):
        remedy = "draw them with a torch.Generator that is seeded by run.seeds.init"
        raise violated(task, where, "other parameters the second time", "the same", remedy)
    for row, run in enumerate(runs):
        alone = replace(run, seeds=replace(run.seeds, data=run.seeds.data + 1, order=run.seeds.order + 1))
        if not torch.equal(found[row], of([alone])[0]):
            remedy = "draw each run's from run.seeds.init, and nothing else"
            got = f"other parameters for replicate {run.replicate} without its neighbours and with other data"
            raise violated(task, where, got, "the same", remedy)
    for (row, one), (other, two) in pairwise(enumerate(runs)):
        if one.seeds.init != two.seeds.init and torch.equal(found[row], found[other]):
            got = f"the same parameters for replicates {one.replicate} and {two.replicate}"
            raise violated(task, where, got, "others", "draw them from run.seeds.init")


def _check_rows(task: Task, runs: list[Run], problem: StackProblem) -> None:
    """Each run has examples that train and others that validate; names lead to parameters."""
    for side, rows in (("train", problem.train), ("validation", problem.validation)):
        forms = [f"{each.dtype} {list(each.shape)}" for each in rows if each.dtype != torch.int64 or each.dim() != 1]
        if len(rows) != len(runs) or forms or not all(map(len, rows)):
            got = forms[0] if forms else f"{', '.join(str(len(each)) for each in rows)} rows for {len(runs)} runs"
            raise violated(task, side, got, "row numbers of each run, torch.int64 [n], n above 0", "split otherwise")
    for run, train, validation in zip(runs, problem.train, problem.validation, strict=True):
        shared = int(torch.isin(train, validation).sum())
        if shared:
            got = f"{shared} examples of replicate {run.replicate} that train and validate"
            raise violated(task, "validation", got, "none", "split the examples in two")
    for what, prefixes in (("norms", problem.norms.values()), ("blocks", problem.blocks)):
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in problem.shapes):
                raise violated(task, what, repr(prefix), f"how one of {', '.join(problem.shapes)} begins", "correct it")
    if problem.last_layer not in problem.shapes:
        raise violated(
            task, "last_layer", repr(problem.last_layer), f"one of {', '.join(problem.shapes)}", "correct it"
        )


def _check_scores(task: Task, problem: StackProblem) -> None:
    """Scores have the announced names and shapes, and each is its run's and its example's own."""
    leaves = Flat(problem.shapes, problem.initial().double()).leaves
    rows, others = (
        torch.stack([each[torch.arange(_EXAMPLES) % len(each)] for each in side]).to(_CPU)
        for side in (problem.train, problem.validation)
    )
    scores = _scored(task, problem, leaves, rows)
    _check_gradients(task, leaves, scores.losses)
    with torch.no_grad():
        _scored(task, problem, leaves, others)
    _same(task, scores, _scored(task, problem, leaves, rows), "the same examples again", _NO_STATE)
    fewer = {name: each[1:].detach().requires_grad_() for name, each in leaves.items()}
    without = _scored(task, problem, fewer, rows[1:])
    remedy = "score a run by its own parameters and rows: others leave the stack before it"
    _same(task, _part(scores, runs=slice(1, None)), without, "runs whose neighbour has left", remedy)
    remedy = "no layer may look across examples: LayerNorm or GroupNorm instead of BatchNorm"
    for size in (_EXAMPLES // 2, 1):
        for first in range(0, _EXAMPLES, size):
            window = slice(first, first + size)
            apart = _scored(task, problem, leaves, rows[:, window])
            which = f"examples in a batch of {size} instead of {_EXAMPLES}"
            _same(task, _part(scores, examples=window), apart, which, remedy)


def _scored(task: Task, problem: StackProblem, parameters: Parameters, rows: torch.Tensor) -> Scores:
    """Scores, of the announced names and of the right form."""
    remedy = f"{_NO_STATE}; where vmap cannot take a module, set stacked = False"
    with raised(task, f"score of {rows.shape[0]} runs and {rows.shape[1]} examples", remedy):
        found = problem.score(parameters, rows)
    announced = {
        "others": [name for name in task.scores if name != LOSS],
        "diagnostics": [name for name in task.diagnostics if name not in problem.norms],
    }
    for what, names in announced.items():
        mine: Mapping[str, torch.Tensor] = getattr(found, what)
        if mine.keys() != set(names):
            expected = (
                f"what `{'scores' if what == 'others' else what}` announces: {', '.join(sorted(names)) or 'none'}"
            )
            got = ", ".join(sorted(mine)) or "none"
            raise violated(task, f"score, {what}", got, expected, "give all that is announced, and nothing else")
        for name, each in mine.items():
            if each.shape != rows.shape or each.requires_grad:
                got = "gradients" if each.shape == rows.shape else f"the shape {list(each.shape)}"
                expected = f"a number without gradient for each of [{rows.shape[0]}, {rows.shape[1]}] examples"
                raise violated(task, f"score, {name}", got, expected, "average over nothing, and detach it")
    losses = found.losses
    if losses.shape != rows.shape or losses.dtype != torch.float64 or not losses.isfinite().all():
        fits = losses.shape == rows.shape and losses.dtype == torch.float64
        got = "losses that are not finite" if fits else f"losses {losses.dtype} {list(losses.shape)}"
        expected = f"torch.float64 {list(rows.shape)}, as Equipment.dtype and the rows are, and finite"
        raise violated(task, "score", got, expected, "give one loss for each example, and cast to no type of your own")
    return found


def _check_gradients(task: Task, leaves: Parameters, losses: torch.Tensor) -> None:
    if not losses.requires_grad:
        raise violated(task, "score", "losses without gradients", "the graph's end", "detach nothing on the way")
    found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
    for name, each in zip(leaves, found, strict=True):
        if each is None or not each.isfinite().all():
            got = "no gradient" if each is None else "a gradient that is not finite"
            raise violated(task, f"score, {name}", got, "one of every parameter", "use it for the loss, or drop it")


def _check_training(learner: Learner, runs: list[Run], objective: Objective) -> None:
    """Training logs what is announced, and a run beside others is what it is alone."""
    together = _trained(learner, runs, objective, torch.float64)
    for columns in together:
        expected = _COLUMNS | set(learner.task.metrics)
        if columns.keys() != expected:
            got = ", ".join(sorted(columns.keys() ^ expected))
            raise violated(learner.task, "columns", f"{got}, too many or missing", "the announced ones", "announce all")
        if not np.isfinite([columns[f"train_{LOSS}"], columns[f"val_{LOSS}"]]).all():
            got = f"a loss that is not finite after {columns['step'][0]} updates"
            raise violated(learner.task, "training", got, "finite ones", "check it with a smaller learning_rate")
    for row, run in enumerate(runs):
        for beside, alone in zip(together, _trained(learner, [run], objective, torch.float64), strict=True):
            for name in alone:
                if name not in ("operation", "seconds") and not np.allclose(
                    beside[name][row], alone[name][0], _TOLERANCE, _TOLERANCE, equal_nan=True
                ):
                    where = f"training, {run.operation}, replicate {run.replicate}"
                    got = f"{name} {beside[name][row]} beside others after {alone['step'][0]} updates"
                    remedy = "let a run's examples, parameters and scores depend on nothing but itself"
                    raise violated(learner.task, where, got, f"{alone[name][0]}, as alone", remedy)


def _check_going_on(learner: Learner, runs: list[Run], objective: Objective) -> None:
    """From a state in the middle training goes on to the bit as if it had not been interrupted."""
    whole = _trained(learner, runs, objective, torch.float32)
    half = len(whole) // 2
    with raised(learner.task, "training"):
        interrupted, resumed = (Cohort(learner, runs, objective, _CPU) for _ in range(2))
        before = list(islice(interrupted.train(), half))
        resumed.restore(unpack(pack({"stack": 0, "cohort": interrupted.state()}))["cohort"])
        after = list(resumed.train())
    for found, expected in zip([*before, *after], whole, strict=True):
        for name in expected:
            if name != "seconds" and found[name].tobytes() != expected[name].tobytes():
                got = f"another {name} after {expected['step'][0]} updates, interrupted after {before[-1]['step'][0]}"
                raise violated(learner.task, "training", got, "the same to the bit", _NO_STATE)


def _trained(learner: Learner, runs: list[Run], objective: Objective, dtype: torch.dtype) -> list[Columns]:
    with raised(learner.task, "training"):
        return list(Cohort(learner, runs, objective, _CPU, dtype=dtype).train())


def _part(scores: Scores, runs: slice = slice(None), examples: slice = slice(None)) -> Scores:
    others, diagnostics = (
        {name: each[runs, examples] for name, each in found.items()} for found in (scores.others, scores.diagnostics)
    )
    return Scores(scores.losses[runs, examples], others, diagnostics)


def _same(task: Task, expected: Scores, found: Scores, which: str, remedy: str) -> None:
    for (name, one), (_, two) in zip(_named(expected), _named(found), strict=True):
        if not torch.allclose(one, two, _TOLERANCE, _TOLERANCE, equal_nan=True):
            raise violated(task, f"score, {name}", f"other numbers for {which}", "the same", remedy)


def _named(scores: Scores) -> Iterator[tuple[str, torch.Tensor]]:
    yield LOSS, scores.losses
    for found in (scores.others, scores.diagnostics):
        yield from sorted(found.items())
