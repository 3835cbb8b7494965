"""Places that runs leave are taken by others: nothing is captured anew, and no bit of any run changes."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from sweeper.training import cohort, engine, train, turns
from sweeper.training.cohort import Cohort
from sweeper.training.engine import StackedEngine
from sweeper.training.learners.learner import HoldsExamples
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.training.techniques import Techniques
from sweeper.trial import Assignment, Chunk
from tests.fakes.recorder import addresses, recorded
from tests.fakes.runs import CPU, make_run, objective, task
from tests.training.test_engine import assignment, content, run

PLACES = Techniques(merge=False, places=True)
SHORT = objective(horizon=20, evaluate_every=5)
LEARNER = ModularArithmeticLearner(task())


@pytest.fixture(autouse=True)
def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in captures, chunks come at every evaluation, and one thread, so that nothing else differs."""
    monkeypatch.setattr(cohort, "Graphs", recorded)
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    torch.set_num_threads(1)


def stack(trial: int, *replicates: int, operation: str = "x_plus_y", **settings: Any) -> Cohort:
    runs = [make_run(each, operation, **({"depth": 1, "batch.max": 12} | settings)) for each in replicates]
    return Cohort(LEARNER, runs, SHORT, CPU, techniques=PLACES, trial=trial)


def losses(found: list[dict[str, Any]], *replicates: int) -> list[list[float]]:
    """Of these replicates at each evaluation that has all of them."""
    rows = [[each["val_loss"][each["replicate"] == one] for one in replicates] for each in found]
    return [[float(one[0]) for one in each] for each in rows if all(map(len, each))]


def test_a_trial_takes_the_places_that_another_has_left_and_nothing_is_captured_anew() -> None:
    alone = [list(stack(0, *replicates).train()) for replicates in ((0, 1), (4, 5), (6,))]
    together = stack(0, 0, 1)
    together.join(stack(1, 2, 3))
    found = [together.evaluate()]
    captures, where = together.captures, addresses(together._stack, together._buffers)
    together.leave(1)
    together.join(stack(2, 4, 5, learning_rate=3e-3, betas=(0.9, 0.98)))
    found.append(together.evaluate())
    together.leave(2)
    together.join(stack(3, 6))
    assert together.trials == [0, 0, 3]
    found += together.train()
    assert losses(found, 0, 1) == losses(alone[0], 0, 1)
    assert losses(found, 4, 5) == losses(alone[1], 4, 5)[:1]
    assert losses(found, 6) == losses(alone[2], 6)
    assert together.captures.count - captures.count == 2, "one update and one validation, for the last one alone"
    assert addresses(*together._places.kept[4]) == where


def test_of_a_stack_that_shrinks_and_grows_every_size_is_captured_once() -> None:
    together = stack(0, 0, 1)
    together.join(stack(1, 2, 3))
    sizes, counts, evaluations = [], [], []
    for trial in range(2, 4):
        for leaves in (True, False):
            evaluations.append(together.evaluate())
            sizes.append(len(together.parameters.values))
            counts.append(together.captures.count)
            if leaves:
                together.leave(trial - 1)
        together.join(stack(trial, 2 * trial, 2 * trial + 1))
    assert sizes == [4, 2, 4, 2]
    assert counts == [2, 4, 4, 4]
    assert losses(evaluations, 0, 1) == losses(list(stack(0, 0, 1).train()), 0, 1)


def test_a_stack_that_trials_come_to_one_by_one_grows_in_few_steps() -> None:
    together, sizes = stack(0, 0), set()
    for trial in range(1, 12):
        together.join(stack(trial, trial))
        sizes.add(len(together.parameters.values))
    assert sizes == {2, 3, 4, 6, 8, 12}


def test_examples_that_are_not_on_the_device_are_brought_there_and_graphs_are_captured_anew() -> None:
    other = partial(stack, 1, 5, operation="x_minus_y")
    alone = [losses(list(stack(0, 0, 1).train()), 0, 1), losses(list(other().train()), 5)]
    together = stack(0, 0, 1)
    problem = together._evaluation.problem
    assert isinstance(problem, HoldsExamples)
    assert problem.examples_of([make_run(0, "x_minus_y")]) is None
    found = [together.evaluate()]
    together.join(other())
    found += together.train()
    assert [losses(found, 0, 1), losses(found, 5)] == alone
    together = stack(0, 0, 1)
    problem = together._evaluation.problem
    assert isinstance(problem, HoldsExamples)
    found_there, expected = problem.examples_of([make_run(7)]), stack(0, 7)._evaluation.problem
    assert found_there is not None
    assert [each[0].tolist() for each in found_there] == [expected.train[0].tolist(), expected.validation[0].tolist()]


def trained(of: StackedEngine, trial: Assignment) -> tuple[int, dict[str, bytes]]:
    """Captures for a trial that nothing trains beside, and every bit of its curve."""
    of.admit(trial)
    chunks: list[Chunk] = run(of, {})[trial.number]
    count, seconds = sum(each.captures for each in chunks), sum(each.capture_seconds for each in chunks)
    assert (seconds > 0) == (count > 0)
    return count, content(chunks)


def test_what_is_captured_for_trials_that_share_a_stack_is_reported_once() -> None:
    of = StackedEngine(CPU, techniques=PLACES)
    for number in (0, 1):
        of.admit(assignment(number, 10))
    assert of.stacks == [{0, 1}]
    chunks = run(of, {})
    assert [sum(each.captures for each in chunks[number]) for number in (0, 1)] == [2, 0]


def test_one_trial_after_another_goes_on_with_the_captures_of_its_architecture() -> None:
    of = StackedEngine(CPU, techniques=PLACES)
    trials = [
        (assignment(0, 10), 2),
        (assignment(1, 10, learning_rate=2e-2, replicates=(7, 8)), 0),
        (assignment(2, 10, depth=2), 2),
        (assignment(3, 10, **{"batch.max": 10}), 1),
        (assignment(4, 10, replicates=(0, 1, 2)), 2),
        (assignment(5, 10, depth=2, weight_decay=0.5), 0),
        (assignment(6, 10), 0),
    ]
    for trial, captures in trials:
        assert trained(of, trial) == (captures, trained(StackedEngine(CPU), trial)[1]), trial.number
    assert (of.stacks, of.waiting, len(of)) == ([], 2, 0)


def test_nothing_is_kept_for_the_next_trial_on_a_cpu_by_itself_of_trials_that_must_be_alone_or_without_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, of = StackedEngine(CPU), StackedEngine(CPU, techniques=PLACES)
    trained(plain, assignment(0))
    trained(of, replace(assignment(0), alone="stack"))
    assert plain.waiting == of.waiting == 0
    trained(of, assignment(0))
    trained(of, assignment(1))
    assert of.waiting == 1
    monkeypatch.setattr(turns, "is_roomy", lambda device: False)
    assert trained(of, assignment(2, depth=2))[0] == 2
    assert of.waiting == 1
    assert trained(of, assignment(3))[0] == 2


def test_an_engine_of_a_process_is_kept_for_its_next_trial_also_if_the_last_was_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train, "StackedEngine", partial(StackedEngine, techniques=PLACES))
    monkeypatch.setattr(train, "_waiting", {})
    stopped = train.train(assignment(0))
    assert next(stopped).captures == 2
    beside = train.train(assignment(1))
    assert next(beside).captures == 2, "the engine is in use, and this is another one"
    stopped.close()
    chunks = list(train.train(assignment(2, weight_decay=0.5)))
    assert sum(each.captures for each in chunks) == 0
    assert content(chunks) == trained(StackedEngine(CPU), assignment(2, weight_decay=0.5))[1]
    beside.close()
    assert [each.waiting for each in train._waiting[CPU, "float32"]] == [1, 1]
