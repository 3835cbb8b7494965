"""Choosing how many trials share a GPU: the choice on made-up measurements, the measuring on processes of this CPU."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from sweeper.config.model import Objective
from sweeper.space.hyperparameters import from_flat
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training import engine, probe
from sweeper.training.probe import Company, Probe, best, measure, measure_together, next_size, verdict
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk
from tests.fakes.training_functions import counted, dies_at_once, steady

MIB, GIB = 2**20, 2**30
ROOM = 80 * GIB


def companies(*rates: float, each: float = 2.0) -> tuple[Company, ...]:
    """Of 1, 2, 4, ... trials with these rates, every trial with so many GiB."""
    return tuple(Company(2**i, rate, int(2**i * each * GIB)) for i, rate in enumerate(rates))


# ---- the choice


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ((100,), 1),
        ((100, 104), 1),
        ((100, 106), 2),
        ((100, 180, 300, 310), 4),
        ((100, 180, 300, 250), 4),
        ((100, 200, 400, 800), 8),
    ],
)
def test_the_fastest_company_wins_if_it_gains_five_per_cent(rates: tuple[float, ...], chosen: int) -> None:
    assert best(companies(*rates)).trials == chosen


@pytest.mark.parametrize(
    ("rates", "each", "most", "expected"),
    [
        ((), 2, 16, 1),
        ((100,), 2, 16, 2),
        ((100, 180), 2, 16, 4),
        ((100, 180, 185), 2, 16, "4 at once gain less than 5%"),
        ((100, 90), 2, 16, "2 at once gain less than 5%"),
        ((100, 180), 2, 3, "there are cores for 3 at once"),
        ((100,), 2, 1, "there are cores for 1 at once"),
        ((100,), 36, 16, 2),
        ((100,), 36.5, 16, "2 at once need 73.0 GiB, and 80.0 GiB are free"),
        ((100, 180), 20, 16, "4 at once need 80.0 GiB, and 80.0 GiB are free"),
    ],
)
def test_companies_double_while_that_gains_and_memory_and_cores_allow(
    rates: tuple[float, ...], each: float, most: int, expected: int | str
) -> None:
    assert next_size(companies(*rates, each=each), ROOM, most) == expected


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (None, (0.0, "torch sees no GPU, so trials train on the CPU; sweeper doctor may say why")),
        (
            Probe((), "1 at once: OutOfMemoryError: CUDA out of memory."),
            (1.0, "not measured (1 at once: OutOfMemoryError: CUDA out of memory.), so trials do not share a GPU"),
        ),
        (
            Probe(companies(180, 185, each=1.9), "2 at once gain less than 5%"),
            (1.0, "measured 1 (180 model steps/s, 1.9 GiB; 2 at once gain less than 5%)"),
        ),
        (
            Probe(companies(1800, 2900, 4100, 4000, each=1.9), "8 at once gain less than 5%"),
            (
                0.25,
                "measured 0.25 (4 trials at once: 4,100 model steps/s against 1,800 alone, 1.9 GiB each; "
                "8 at once gain less than 5%)",
            ),
        ),
    ],
)
def test_the_verdict_says_what_was_measured(measured: Probe | None, expected: tuple[float, str]) -> None:
    assert verdict(measured) == expected


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert probe.probe(train, small(), 8) is None


# ---- the measuring, with real processes


def small() -> Assignment:
    settings = from_flat({"width": 16, "depth": 1, "heads": 1, "batch.max": 16})
    task = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y", modulus=5)
    objective = Objective(horizon=20, evaluate_every=5, until="val_accuracy > 2")
    return Assignment(0, settings, task, objective, (0, 1), 1.0)


def memory(folder: Path) -> Callable[[], int]:
    """Free bytes of a device on which every process takes 2 GiB."""
    return lambda: ROOM - len(list(folder.iterdir())) * 2 * GIB


@pytest.mark.slow
def test_processes_that_do_not_hinder_each_other_are_added_while_there_are_cores(tmp_path: Path) -> None:
    found = measure(partial(steady, tmp_path, 0.1), small(), 4, memory(tmp_path), 1.0)
    assert found.ended == "there are cores for 4 at once"
    assert [(each.trials, each.memory) for each in found.companies] == [(1, 2 * GIB), (2, 4 * GIB), (4, 8 * GIB)]
    assert best(found.companies).trials == 4
    # Ten chunks a second, with one evaluation of 5 updates each.
    assert found.companies[0].rate == pytest.approx(50, rel=0.4)
    assert [each.rate / found.companies[0].rate for each in found.companies] == pytest.approx([1, 2, 4], rel=0.4)
    assert not any(alive(int(process.name)) for process in tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "sizes", "ended"),
    [
        (0, [], "1 at once: MemoryError: CUDA out of memory."),
        (2, [1, 2], "4 at once: MemoryError: CUDA out of memory."),
    ],
)
def test_a_company_that_runs_out_of_memory_is_not_taken(
    tmp_path: Path, most: int, sizes: list[int], ended: str
) -> None:
    found = measure(partial(counted, tmp_path, most), small(), 8, memory(tmp_path), 0.5)
    assert ([each.trials for each in found.companies], found.ended) == (sizes, ended)
    assert not any(alive(int(process.name)) for process in tmp_path.iterdir())


@pytest.mark.slow
def test_a_process_that_dies_and_one_that_says_nothing_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measure(dies_at_once, small(), 8, memory(tmp_path), 0.5) == Probe((), "1 at once: a process died")
    monkeypatch.setattr(probe, "_PATIENCE", 1.0)
    silent = partial(steady, tmp_path, 60.0)
    assert measure(silent, small(), 8, memory(tmp_path), 0.5) == Probe((), "1 at once: not measured within 1 seconds")


@pytest.mark.slow
def test_the_public_training_function_is_measured_though_its_horizon_is_near() -> None:
    found = measure(train, small(), 1, lambda: ROOM, 0.5)
    assert found.ended == "there are cores for 1 at once"
    assert found.companies[0].rate > 0


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_companies_in_one_engine_are_measured_however_near_their_horizon_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    free = iter([1000 * MIB, 900 * MIB, 850 * MIB])
    measured = measure_together(engine.open_engine(1, "float32"), small(), 2, lambda: next(free), 0.05)
    assert [(each.trials, each.memory) for each in measured.companies] == [(1, 100 * MIB), (2, 150 * MIB)]
    assert all(each.rate > 0 for each in measured.companies)
    assert measured.ended in ("there are cores for 2 at once", "2 at once gain less than 5%")


def test_a_company_that_an_engine_cannot_train_ends_the_measurement_in_words() -> None:
    class Full:
        def __len__(self) -> int:
            return 0

        def admit(self, assignment: Assignment) -> None:
            raise MemoryError("no more")

        def remove(self, number: int) -> None:
            raise AssertionError

        def step(self) -> list[tuple[int, Chunk | BaseException | None]]:
            raise AssertionError

    assert measure_together(Full(), small(), 2, lambda: 2**30, 0.1) == Probe((), "1 at once: MemoryError: no more")


def test_a_verdict_of_an_engine_says_how_many_runs_a_stack_holds() -> None:
    probe = Probe((Company(1, 100.0, 2**30), Company(2, 190.0, 2**30), Company(4, 350.0, 2**31)), "enough")
    share, words = verdict(probe, runs=3)
    assert share == 0.25
    assert "in one engine, 12 runs in a stack: 350 model steps/s against 100 alone" in words
