"""Trials that train together: each comes out as if it had trained alone, whoever comes and goes beside it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.runners.protocol import ending_of
from sweeper.space import hyperparameters
from sweeper.stats.events import BESIDE_OTHERS, ERROR, OUT_OF_MEMORY
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training import checkpoint, engine
from sweeper.training.cohort import Cohort
from sweeper.training.engine import StackedEngine
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.training.train import train
from sweeper.trial import Assignment, BesideOthersError, Chunk, UnusableStateError, join
from tests.fakes.fragile import RAISES, Fragile
from tests.fakes.runs import CPU, make_run, objective, task
from tests.fakes.tasks import named

HORIZON = 30
RISING = {"batch.shape": "linear", "batch.min": 4, "batch.max": 12, "batch.every": 1, "batch.period": 15}


@pytest.fixture(autouse=True)
def at_every_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk for each evaluation, a state in each chunk, and one thread, so that nothing else differs."""
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    torch.set_num_threads(1)


def assignment(number: int, horizon: int = HORIZON, replicates: tuple[int, ...] = (0, 1), **changes: Any) -> Assignment:
    flat = {"width": 16, "heads": 2, "depth": 1, "batch.max": 12, "learning_rate": 5e-3, "warmup_steps": 3} | changes
    operations = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=23)
    asked = objective(horizon=horizon, evaluate_every=5)
    return Assignment(
        number,
        hyperparameters.canonical_form(hyperparameters.from_flat(flat), horizon),
        operations,
        asked,
        replicates,
        1,
    )


TRIALS = [
    assignment(0),
    assignment(1, learning_rate=2e-2, weight_decay=2.0, replicates=(0, 3)),
    assignment(2, betas=(0.8, 0.9), warmup_steps=0, replicates=(2,)),
]


def content(chunks: list[Chunk]) -> dict[str, bytes]:
    """Every bit of the columns, but for the time that they took."""
    return {name: each.tobytes() for name, each in join(chunks).items() if name != "seconds"}


def alone(trial: Assignment) -> dict[str, bytes]:
    return content(list(train(trial)))


def run(of: StackedEngine, chunks: dict[int, list[Any]], steps: int = 1000) -> dict[int, list[Any]]:
    """That many steps, or up to the end."""
    for _ in range(steps):
        for number, event in of.step():
            chunks.setdefault(number, []).append(event)
    return chunks


@pytest.mark.slow
def test_trials_that_come_at_any_time_share_a_stack_and_no_bit_of_any_changes() -> None:
    together, chunks = StackedEngine(CPU), dict[int, list[Any]]()
    for trial in TRIALS:
        together.admit(trial)
        assert together.stacks == [{each.number for each in TRIALS[: trial.number + 1]}]
        run(together, chunks, 2)
    run(together, chunks)
    assert len(together) == 0 and together.stacks == []
    for trial in TRIALS:
        assert chunks[trial.number][-1].last
        assert content(chunks[trial.number]) == alone(trial), trial.number


@pytest.mark.slow
def test_a_place_goes_to_the_next_trial_when_one_is_over_or_removed() -> None:
    together, chunks = StackedEngine(CPU), dict[int, list[Any]]()
    together.admit(replace(TRIALS[0], objective=objective(horizon=HORIZON, evaluate_every=5, until="val_loss > 0")))
    together.admit(TRIALS[1])
    run(together, chunks, 2)
    together.remove(1)
    together.remove(1)
    together.admit(TRIALS[2])
    run(together, chunks)
    assert [len(chunks[number]) for number in (0, 1)] == [1, 1]
    assert content(chunks[2]) == alone(TRIALS[2])


@pytest.mark.slow
def test_on_a_cpu_what_would_round_otherwise_trains_apart() -> None:
    """Batches whose width changes, that are worth merging, or a last piece that is shorter."""
    apart = [assignment(3, **RISING), assignment(4, **{"batch.max": 64}), assignment(5, horizon=27)]
    together = StackedEngine(CPU)
    for trial in (*TRIALS, *apart):
        together.admit(trial)
    assert together.stacks == [{0, 1, 2}, {3}, {4}, {5}]
    chunks = run(together, {})
    for trial in (*TRIALS[:1], *apart):
        assert content(chunks[trial.number]) == alone(trial), trial.number


def test_a_stack_holds_as_many_runs_as_it_may() -> None:
    together = StackedEngine(CPU, runs=3)
    for trial in TRIALS:
        together.admit(trial)
    assert together.stacks == [{0, 2}, {1}]


def test_stacks_take_turns_so_that_each_trial_gets_its_share() -> None:
    together, chunks = StackedEngine(CPU), dict[int, list[Any]]()
    for trial in (TRIALS[0], assignment(1, width=32), assignment(2, depth=2)):
        together.admit(trial)
    while len(chunks) < 3:
        run(together, chunks, 1)
    assert all(not each.last for found in chunks.values() for each in found)


def test_a_trial_that_diverges_leaves_its_neighbours_as_they_are() -> None:
    wild = assignment(3, learning_rate=100.0, replicates=(0,))
    together = StackedEngine(CPU)
    for trial in (wild, TRIALS[1]):
        together.admit(trial)
    assert together.stacks == [{1, 3}]
    chunks = run(together, {})
    assert len(chunks[3]) < len(chunks[1]) and not np.isfinite(join(chunks[3])["val_loss"][-1])
    assert content(chunks[1]) == alone(TRIALS[1])


@pytest.mark.slow
def test_from_a_state_a_trial_goes_on_beside_others_as_if_nothing_had_happened() -> None:
    whole = list(train(TRIALS[1]))
    half = len(whole) // 2
    together, chunks = StackedEngine(CPU), dict[int, list[Any]]()
    together.admit(TRIALS[0])
    run(together, chunks, 3)
    together.admit(replace(TRIALS[1], state=whole[half].state))
    assert together.stacks == [{0, 1}]
    run(together, chunks)
    assert content(chunks[1]) == content(whole[half + 1 :])
    state = chunks[0][3].state
    assert content(list(train(replace(TRIALS[0], state=state)))) == content(chunks[0][4:])


def test_a_state_of_a_trial_that_was_over_gives_its_end_alone() -> None:
    together = StackedEngine(CPU)
    together.admit(replace(TRIALS[0], state=list(train(TRIALS[0]))[-1].state))
    assert run(together, {}) == {0: [None]}


def test_a_trial_that_cannot_begin_is_not_there_and_the_others_are() -> None:
    together = StackedEngine(CPU)
    together.admit(TRIALS[0])
    with pytest.raises(UnusableStateError):
        together.admit(replace(TRIALS[1], state=b"none"))
    with pytest.raises(UnusableStateError, match="stack: got 7"):
        together.admit(replace(TRIALS[1], state=checkpoint.pack({"stack": 7, "cohort": {}})))
    assert 1 not in together
    assert content(run(together, {})[0]) == alone(TRIALS[0])


@pytest.mark.slow
def test_a_join_that_fails_takes_the_newcomer_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    together = StackedEngine(CPU)
    together.admit(TRIALS[0])
    with monkeypatch.context() as patch:
        patch.setattr("sweeper.training.stack.Stack.take", out_of_memory)
        with pytest.raises(BesideOthersError) as raised:
            together.admit(TRIALS[1])
    assert isinstance(raised.value.__cause__, torch.OutOfMemoryError)
    assert together.stacks == [{0}]
    assert content(run(together, {})[0]) == alone(TRIALS[0])


def out_of_memory(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.")


@pytest.mark.slow
def test_what_a_stack_raises_ends_its_trials_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    other = assignment(3, width=32)
    together, chunks = StackedEngine(CPU), dict[int, list[Any]]()
    for trial in (*TRIALS[:2], other):
        together.admit(trial)
    with monkeypatch.context() as patch:
        patch.setattr("sweeper.training.cohort.Cohort._advance", out_of_memory)
        run(together, chunks, 1)
    assert [(number, type(event.__cause__)) for number in chunks for event in chunks[number]] == [
        (0, torch.OutOfMemoryError),
        (1, torch.OutOfMemoryError),
    ]
    run(together, chunks)
    assert content(chunks[3]) == alone(other)


def test_of_trials_that_raised_together_the_guilty_one_alone_raises_again() -> None:
    def fragile(number: int, rate: float, **changes: Any) -> Assignment:
        settings = hyperparameters.from_flat({"batch.max": 8, "warmup_steps": 0, "learning_rate": rate})
        asked = objective(horizon=20, evaluate_every=5, until="val_loss < 0")
        task = named(Fragile, most=4)
        return Assignment(number, hyperparameters.canonical_form(settings, 20), task, asked, (0, 1), 1, **changes)

    trials, together = [fragile(0, RAISES), fragile(1, 0.01)], StackedEngine(CPU)
    for trial in trials:
        together.admit(trial)
    assert together.stacks == [{0, 1}]
    assert [
        (number, ending_of(event).why) for number, event in together.step() if isinstance(event, BaseException)
    ] == [
        (0, BESIDE_OTHERS),
        (1, BESIDE_OTHERS),
    ]
    for trial in trials:
        together.admit(replace(trial, alone="stack"))
    assert together.stacks == [{0}, {1}]
    chunks = run(together, {})
    assert [ending_of(event).why for event in chunks[0]] == [ERROR]
    assert content(chunks[1]) == alone(trials[1])
    for trial in (fragile(number, 0.01) for number in range(3)):
        together.admit(trial)
    assert {ending_of(event).why for _, event in together.step() if isinstance(event, BaseException)} == {OUT_OF_MEMORY}


@pytest.mark.slow
def test_joined_cohorts_of_any_batches_differ_by_rounding_alone() -> None:
    """As on a GPU, where batches of all sizes are padded to one width."""
    learner, asked = ModularArithmeticLearner(task()), objective(horizon=15, evaluate_every=5)

    def cohort(trial: int, **settings: Any) -> Cohort:
        return Cohort(learner, [make_run(trial, **settings)], asked, CPU, dtype=torch.float64, trial=trial)

    settings: list[dict[str, Any]] = [
        {"batch.max": 9},
        {"batch.shape": "linear", "batch.min": 5, "batch.max": 40, "batch.every": 1, "batch.period": 30},
        {"batch.shape": "noise_scale", "batch.min": 8, "batch.max": 64, "batch.every": 5},
    ]
    expected = {trial: list(cohort(trial, **each).train()) for trial, each in enumerate(settings)}
    together, found = cohort(0, **settings[0]), dict[int, list[dict[str, Any]]]()
    for trial in range(1, 9):
        if trial < len(settings):
            together.join(cohort(trial, **settings[trial]))
        if together.training:
            columns = together.evaluate()
            for row, owner in enumerate(together.trials):
                found.setdefault(owner, []).append({name: each[row] for name, each in columns.items()})
    for trial, curve in expected.items():
        for one, other in zip(found[trial], curve, strict=True):
            for name in set(other) - {"seconds", "operation"}:
                np.testing.assert_allclose(one[name], other[name][0], rtol=1e-6, atol=1e-9, err_msg=name)
