"""Training that was interrupted and goes on is, to the last bit, training that was never interrupted."""

import io
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.config.model import Objective, Precision
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training import checkpoint, engine
from sweeper.training.checkpoint import SHARE, Pace, pack, unpack
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk, UnusableStateError, join


@pytest.fixture
def at_every_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk for each evaluation, and a state in each chunk."""
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def assignment(
    settings: dict[str, object] | None = None,
    task: dict[str, object] | None = None,
    objective: dict[str, object] | None = None,
    precision: Precision = "float32",
) -> Assignment:
    """Three runs of 24 updates and 8 evaluations, with those changes."""
    flat = {"width": 16, "heads": 2, "depth": 1, "batch.max": 24, "learning_rate": 5e-3, "warmup_steps": 3}
    plain: dict[str, Any] = {"name": "modular_arithmetic", "operation": ("x_plus_y",), "modulus": 7}
    asked = Objective(**({"horizon": 24, "evaluate_every": 3, "until": "train_accuracy > 2"} | (objective or {})))
    return Assignment(
        number=3,
        settings=hyperparameters.canonical_form(hyperparameters.from_flat(flat | (settings or {})), asked.horizon),
        task=ModularArithmetic(**(plain | (task or {}))),
        objective=asked,
        replicates=(0, 1, 4),
        cpu=1.0,
        precision=precision,
    )


LEAVES = {"until": "train_accuracy > 0.3", "horizon": 60, "evaluate_every": 5}
ADAPTIVE = {"batch.shape": "noise_scale", "batch.min": 8, "batch.max": 64, "batch.every": 4, "coupling": "sqrt"}
STAY = {
    "one operation": assignment(),
    "two stacks": assignment(task={"operation": ("x_plus_y", "permutation"), "degree": 3}, objective={"horizon": 12}),
    "growing batches": assignment(
        {"batch.shape": "linear", "batch.min": 3, "batch.max": 40, "batch.every": 1, "batch.period": 20}
    ),
    "sampled evaluation": assignment(task={"evaluation": "sampled"}),
    "bfloat16": assignment(objective={"horizon": 12}, precision="bfloat16"),
}
"""Trials whose runs all train to the horizon."""
LEAVE = {
    "events": assignment(objective=LEAVES),
    "two stacks and their events": assignment(
        task={"operation": ("permutation", "x_plus_y"), "degree": 3}, objective=LEAVES
    ),
    "streaks and tails": assignment(objective=LEAVES | {"sustained": 2, "tail": 20, "horizon": 80}),
    "divergence": assignment(
        {"learning_rate": 100.0, "weight_decay": 0.1}, objective={"until": "train_accuracy > 0.23", "evaluate_every": 1}
    ),
    "adaptive batches": assignment(ADAPTIVE, objective=LEAVES),
}
"""Trials whose runs leave their stack one by one."""


def content(chunks: list[Chunk]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every bit of the columns, but for the time that they took."""
    columns = join(chunks)
    return {name: (each.dtype.str, each.shape, each.tobytes()) for name, each in columns.items() if name != "seconds"}


def resumed(of: Assignment, state: bytes | None) -> list[Chunk]:
    assert state is not None
    return list(train(replace(of, state=state)))


def spread(chunks: list[Chunk], count: int = 3) -> list[int]:
    """That many places in a trial, its first and its last among them, and the last one of each stack."""
    stacks = [unpack(each.state or b"")["stack"] for each in chunks]
    lasts = {len(stacks) - 1 - stacks[::-1].index(each) for each in set(stacks)}
    return sorted({round(i * (len(chunks) - 1) / (count - 1)) for i in range(count)} | lasts)


@pytest.mark.slow
@pytest.mark.usefixtures("at_every_evaluation")
@pytest.mark.parametrize("name", STAY | LEAVE)
def test_from_any_state_training_goes_on_as_if_nothing_had_happened(name: str) -> None:
    case = (STAY | LEAVE)[name]
    whole = list(train(case))
    sizes = {len(each) for each in whole}
    assert sizes == {3} if name in STAY else len(sizes) > 1
    assert bool(np.isfinite(join(whole)["val_loss"]).all()) == (name != "divergence")
    for place in spread(whole):
        assert content(resumed(case, whole[place].state)) == content(whole[place + 1 :]), place


@pytest.mark.slow
@pytest.mark.usefixtures("at_every_evaluation")
@pytest.mark.parametrize("name", ["two stacks and their events", "adaptive batches"])
def test_training_may_be_interrupted_again_and_again(name: str) -> None:
    case = LEAVE[name]
    whole = list(train(case))
    seen, state = [], None
    for _ in whole:
        chunk = next(train(replace(case, state=state)))
        seen.append(chunk)
        state = chunk.state
    assert content(seen) == content(whole)
    assert resumed(case, state) == [], "nothing is left"


@pytest.mark.usefixtures("at_every_evaluation")
def test_the_clock_goes_on_from_where_it_stood() -> None:
    case = LEAVE["events"]
    whole = list(train(case))
    before = whole[: len(whole) // 2]
    seconds = join([*before, *resumed(case, before[-1].state)])["seconds"]
    assert (np.diff(seconds) >= 0).all()
    assert seconds[0] > 0


@pytest.mark.usefixtures("at_every_evaluation")
def test_time_between_two_starts_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit of a run is one on its own training."""
    case = assignment(objective={"horizon_seconds": 1000.0})
    first = next(train(case))
    now = engine.time.perf_counter
    monkeypatch.setattr("time.perf_counter", lambda: now() + 10_000)
    assert [int(each.columns["step"][0]) for each in resumed(case, first.state)] == list(range(6, 25, 3))


def test_a_trial_that_is_over_soon_keeps_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "FIRST_SECONDS", 1000.0)
    assert [each.state for each in train(assignment())] == [None] * 8


# ---- states that are of no use


@pytest.fixture(scope="module")
def kept() -> bytes:
    """A state of the adaptive trial, two of whose runs are still in the stack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CHUNK_SECONDS", 0.0)
        patch.setattr(checkpoint, "FIRST_SECONDS", 0.0)
        patch.setattr(checkpoint, "SHARE", float("inf"))
        found = next(each.state for each in train(LEAVE["adaptive batches"]) if 0 < len(each) < 3)
    assert found is not None
    return found


class Touches:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("length", [0, 1, 7, 500, 100_000])
def test_random_bytes_are_no_state(length: int) -> None:
    with pytest.raises(UnusableStateError):
        resumed(assignment(), random.Random(length).randbytes(length))


def test_half_a_state_is_none(kept: bytes) -> None:
    for length in range(0, len(kept), len(kept) // 25):
        with pytest.raises(UnusableStateError):
            unpack(kept[:length])


@pytest.mark.parametrize("dump", [pickle.dumps, saved], ids=["pickle", "torch"])
@pytest.mark.parametrize("where", ["alone", "inside"])
def test_no_code_in_a_state_is_run(dump: Callable[[object], bytes], where: str, tmp_path: Path) -> None:
    trap = Touches(tmp_path / "trap")
    hostile = dump(trap if where == "alone" else {"stack": 0, "cohort": {"step": trap}})
    with pytest.raises(UnusableStateError):
        resumed(assignment(), hostile)
    assert not trap.path.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists(), "unpickled carelessly, it would have"


@pytest.mark.parametrize("content", [None, 3, [], {}, {"stack": 0}, {"stack": 0, "cohort": []}, {"cohort": {}}])
def test_a_state_has_its_two_keys(content: object) -> None:
    with pytest.raises(UnusableStateError, match="a state has the keys stack, a whole number, and cohort"):
        resumed(assignment(), saved(content))


@pytest.mark.parametrize("stack", [-1, 1, 10**6, "0", 0.0, None])
def test_a_state_is_of_a_stack_that_the_trial_has(kept: bytes, stack: object) -> None:
    with pytest.raises(UnusableStateError, match="stack"):
        resumed(LEAVE["adaptive batches"], pack(unpack(kept) | {"stack": stack}))


KEYS = ["numbers", "steps", "seen", "watches", "parameters", "first", "second", "course"]


def test_a_state_is_of_these_keys(kept: bytes) -> None:
    assert list(unpack(kept)["cohort"]) == KEYS


@pytest.mark.parametrize("name", KEYS)
def test_a_state_with_a_missing_or_odd_key_is_of_no_use(kept: bytes, name: str) -> None:
    state = unpack(kept)
    whole = state["cohort"]
    missing = {key: value for key, value in whole.items() if key != name}
    odd: list[object] = [None, "x", [], [0.5, "x"], {}]
    odd.append(whole[name][:1])
    for cohort in (missing, *(whole | {name: each} for each in odd)):
        with pytest.raises(UnusableStateError):
            resumed(LEAVE["adaptive batches"], pack(state | {"cohort": cohort}))


@pytest.mark.parametrize(
    "other",
    [
        assignment(ADAPTIVE | {"width": 32}, objective=LEAVES),
        assignment(ADAPTIVE | {"depth": 2}, objective=LEAVES),
        assignment(ADAPTIVE, {"modulus": 11}, LEAVES),
        assignment(objective=LEAVES),
        assignment(ADAPTIVE, objective=LEAVES | {"horizon": 70}),
        replace(assignment(ADAPTIVE, objective=LEAVES), replicates=(0,)),
    ],
    ids=["width", "depth", "modulus", "batches", "horizon", "replicates"],
)
def test_a_state_of_another_trial_is_of_no_use(kept: bytes, other: Assignment) -> None:
    with pytest.raises(UnusableStateError):
        resumed(other, kept)


def test_a_device_that_fails_while_a_state_is_taken_up_says_nothing_about_the_state(
    kept: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.")

    monkeypatch.setattr("sweeper.training.stack.Stack.restore", full)
    with pytest.raises(torch.OutOfMemoryError):
        resumed(LEAVE["adaptive batches"], kept)


# ---- when a state is kept


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_state_is_due_after_two_seconds_of_training() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 1.99
    assert not pace.due
    pace.resume()  # a chunk without a state costs nothing
    clock.now += 0.01
    assert pace.due


def test_the_next_state_is_due_when_the_last_ones_cost_is_a_small_share() -> None:
    """The cost is all that happens until training goes on: a second of packing, and three of writing elsewhere."""
    clock = Clock()
    pace = Pace(clock)
    clock.now += 2
    pace.begin()
    clock.now += 1
    clock.now += 3
    pace.resume()
    clock.now += 4 / SHARE - 0.01
    pace.resume()
    assert not pace.due
    clock.now += 0.02
    assert pace.due


@pytest.mark.parametrize("cost", [0.0001, 0.02, 1.0, 4.0])
def test_of_an_hour_keeping_states_takes_a_hundredth_at_most(cost: float) -> None:
    clock, chance = Clock(), random.Random(0)
    pace = Pace(clock)
    states, spent = 0, 0.0
    while clock.now < 1000 + 3600:
        clock.now += chance.uniform(1.0, 1.2)
        if pace.due:
            pace.begin()
            taken = cost * chance.uniform(0.5, 1.0)
            clock.now += taken
            spent, states = spent + taken, states + 1
        pace.resume()
    assert spent < 1.05 * SHARE * 3600
    assert states > min(3600 / 1.2, SHARE * 3600 / cost) / 3, "and most of what is allowed is used"
