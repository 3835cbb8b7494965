"""What is kept of a run: the parameters of the right evaluation, as a module that predicts as they did."""

from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sweeper import LoopTask, PlainRun, check_task
from sweeper.errors import UserError
from sweeper.results import models
from sweeper.space import hyperparameters
from sweeper.stats.watch import Watch
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task
from sweeper.training import checkpoint, engine, kept
from sweeper.training.learners.m_height.learner import MHeightLearner as Heights
from sweeper.training.learners.modular_arithmetic import build_table, split
from sweeper.training.learners.module_task import StackedTask
from sweeper.training.models.modules import Transformer
from sweeper.training.snapshot import arrays_of, due
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk, RunParameters, join, seeds_of
from tests.fakes.runs import CPU, objective
from tests.fakes.tasks import Line, Rings, Rule, named, points

MODULAR = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y", "permutation"), modulus=11, degree=3)


def assignment(
    task: Task = MODULAR, keep: Any = "end", replicates: tuple[int, ...] = (0, 1), **more: Any
) -> Assignment:
    flat = {"batch.max": 12, "learning_rate": 0.01, "warmup_steps": 3}
    flat |= {} if "width" in task.without else {"width": 16, "depth": 1}
    flat |= {} if "heads" in task.without else {"heads": 2}
    asked = objective(**({"horizon": 10, "evaluate_every": 5, "until": "val_loss < -1.0"} | more))
    settings = hyperparameters.canonical_form(hyperparameters.from_flat({**task.all_defaults, **flat}), asked.horizon)
    return Assignment(0, settings, task, asked, replicates, 1, keep=keep)


def trained(of: Assignment) -> tuple[dict[str, Any], list[RunParameters]]:
    """Its curves, and what is kept, through a file."""
    chunks = list(train(of))
    runs = [models.unpack(models.pack(run)) for chunk in chunks for run in chunk.parameters]
    return join(chunks), runs


def recorded(columns: Mapping[str, Any], run: RunParameters) -> dict[str, float]:
    """The validation scores in the curves at the evaluation where a run was kept."""
    rows = (columns["operation"] == run.operation) & (columns["replicate"] == run.replicate)
    rows &= columns["step"] == run.step
    return {name: float(each[rows].item()) for name, each in columns.items() if name.startswith("val_")}


@pytest.mark.slow
@pytest.mark.parametrize("evaluation", ["whole", "sampled"])  # the first one makes the operations' kernels
def test_a_transformer_scores_as_it_did_in_training(evaluation: str) -> None:
    asked = assignment(MODULAR.model_copy(update={"evaluation": evaluation}))
    columns, runs = trained(asked)
    assert [(run.operation, run.replicate, run.step) for run in runs] == [
        (operation, replicate, 10) for operation in MODULAR.operation for replicate in (0, 1)
    ]
    for run in runs:
        assert kept.validate(asked, run) == recorded(columns, run)
        model = kept.module_of(Assignment.from_json(asked.to_json()), run)
        assert isinstance(model, Transformer) and not model.training
        table = build_table(MODULAR, run.operation)
        rows = split(table, MODULAR.train_fraction, seeds_of(run.replicate).data).validation
        right = (model(table.tokens[rows]).argmax(1) == table.targets[rows]).double().mean().item()
        if evaluation == "whole":
            assert right == recorded(columns, run)["val_accuracy"]


def test_an_m_height_network_predicts_what_it_was_scored_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path))
    task = MHeight(name="m_height", groups=((4, 2, 1), (5, 2, 2)), train_codes=20, validation_codes=20)
    asked = assignment(task, replicates=(3,))
    columns, (run,) = trained(asked)
    assert kept.validate(asked, run) == recorded(columns, run)
    learner = Heights(task)
    rows = learner.split(seeds_of(3).data)[1]
    codes = learner.codes
    nkm = torch.tensor([[group.n, group.k, group.m] for group in codes.groups])[torch.from_numpy(codes.group)[rows]]
    matrices, targets = (torch.from_numpy(each).float()[rows] for each in (codes.matrices, codes.target))
    error = (kept.module_of(asked, run)(matrices, nkm) - targets).square().mean().item()
    assert error == pytest.approx(recorded(columns, run)["val_mse"], rel=1e-6)


def test_tasks_of_ones_own_give_back_their_modules() -> None:
    for kind in (Rings, Line, Rule):
        asked = assignment(named(kind))
        columns, runs = trained(asked)
        run = runs[1]
        assert run.replicate == 1
        model = kept.module_of(asked, run)
        if kind is Rule:
            x, inside = points(seeds_of(1).data, 60)
            found = (model(x[30:]).argmax(1) == inside[30:]).float().mean().item()
            assert found == recorded(columns, run)["val_accuracy"]
            with pytest.raises(UserError, match="its loop evaluates it"):
                kept.validate(asked, run)
            continue
        assert kept.validate(asked, run) == recorded(columns, run)
        if isinstance(asked.task, Rings):
            data = asked.task.data(seeds_of(1).data)
            found = (model(data.validation_inputs).argmax(1) == data.validation_targets).double().mean().item()
            assert found == recorded(columns, run)["val_accuracy"]


@pytest.mark.parametrize("kind", [named(Line), named(Rule)], ids=["stacked", "loop"])
def test_the_event_comes_before_the_end_of_the_tail(kind: Task) -> None:
    more = {"until": "val_loss > 0", "sustained": 2, "tail": 5}
    assert {run.step for run in trained(assignment(kind, keep="event", horizon=30, **more))[1]} == {10}
    assert {run.step for run in trained(assignment(kind, keep="end", horizon=30, **more))[1]} == {15}
    never = assignment(kind, keep="event")
    assert {run.step for run in trained(never)[1]} == {10}
    assert trained(replace(never, keep=None))[1] == []


def test_a_run_is_kept_once_and_a_diverged_one_at_its_end() -> None:
    watch = objective(until="val_loss > 0", horizon=100, evaluate_every=10, tail=20).watch()
    assert [_seen(watch, step, 1.0) for step in (10, 20, 30)] == [(True, False), (False, False), (False, True)]
    watch = objective(until="val_loss > 0", horizon=100, evaluate_every=10).watch()
    assert _seen(watch, 10, -1.0) == (False, False)
    watch.see(20, -1.0, False, 0.0)
    assert (due(watch, "event"), due(watch, "end")) == (True, True)


def _seen(watch: Watch, step: int, value: float) -> tuple[bool, bool]:
    watch.see(step, value, True, 0.0)
    return due(watch, "event"), due(watch, "end")


@pytest.mark.slow
def test_what_is_kept_before_an_interruption_is_not_lost_and_not_kept_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run 1 is over early; a trial that goes on from a later state sends run 0 alone: an earlier chunk had run 1."""
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    asked = assignment(replace_operations(MODULAR, "x_plus_y"), until="train_loss < 2.3", horizon=60)
    chunks = list(train(asked))
    whole = [(run.replicate, run.step) for chunk in chunks for run in chunk.parameters]
    assert sorted(replicate for replicate, _ in whole) == [0, 1] and len({step for _, step in whole}) == 2
    place = next(i for i, chunk in enumerate(chunks) if chunk.parameters)
    assert chunks[place].state is not None
    later = list(train(replace(asked, state=chunks[place].state)))
    assert _digest(chunks[: place + 1] + later) == _digest(chunks)


def _digest(chunks: list[Chunk]) -> list[tuple[int, int, bytes]]:
    return [
        (run.replicate, run.step, b"".join(each.tobytes() for each in run.arrays.values()))
        for chunk in chunks
        for run in chunk.parameters
    ]


def replace_operations(task: ModularArithmetic, *operations: str) -> ModularArithmetic:
    return task.model_copy(update={"operation": operations})


class Forgetful(LoopTask):
    """Trains a module of its own instead of the one that it was given."""

    def module(self, run: PlainRun) -> nn.Module:
        return nn.Linear(1, 1)

    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        torch.manual_seed(run.seeds.init)
        x = torch.rand(1).item()
        for update in range(1, len(run.batch_sizes) + 1):
            if run.evaluates(update):
                yield {"train_loss": x / update, "val_loss": x / update}


def test_a_loop_that_trains_another_module_is_found() -> None:
    with pytest.raises(AssertionError, match=r"module, Forgetful, replicate 0.*parameters that it began with"):
        check_task(named(Forgetful), **{"batch.max": 12})


class Bare(StackedTask):
    alike, problem = Line.alike, Line.problem


class Loop(LoopTask):
    train = Rule.train


@pytest.mark.parametrize(("kind", "base"), [(Bare, "StackedTask"), (Loop, "LoopTask")])
def test_a_task_without_a_module_says_so(kind: type[Task], base: str) -> None:
    task = named(kind)
    assert f"has no method `module`, which a {base} needs" in task.unkeepable()
    run = RunParameters(task.operations[0], 0, 5, {})
    with pytest.raises(UserError, match="has no method `module`"):
        kept.module_of(assignment(task), run)


def test_a_module_that_has_changed_since_is_refused() -> None:
    asked = assignment(named(Rings))
    run = trained(asked)[1][0]
    for arrays, name in (
        ({**run.arrays, "2.weight": np.zeros((2, 5), np.float32)}, "2.weight"),
        ({key: each for key, each in run.arrays.items() if key != "0.bias"}, "0.bias"),
        ({**run.arrays, "4.bias": np.zeros(2, np.float32)}, "4.bias"),
    ):
        with pytest.raises(UserError, match=rf"other parameters than those that were kept \({name}\)"):
            kept.module_of(asked, replace(run, arrays=arrays))


def test_every_type_of_a_state_becomes_one_of_numpys() -> None:
    given = {
        "half": torch.tensor([1.5, 2.0], dtype=torch.bfloat16),
        "count": torch.tensor(3),
        "flags": torch.tensor([True]),
        "turned": torch.arange(6.0).view(2, 3).T,
    }
    run = models.unpack(models.pack(RunParameters("é", 0, 1, arrays_of(given))))
    assert run.operation == "é"
    for name, each in given.items():
        expected = each.float() if each.dtype == torch.bfloat16 else each
        assert torch.equal(torch.from_numpy(run.arrays[name]), expected), name
    assert expected.device == CPU
