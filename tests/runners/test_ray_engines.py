"""Trials on Ray that train in one engine process a device."""

from dataclasses import replace

import pytest

from sweeper.space import hyperparameters
from sweeper.stats.events import FINISHED, Ending
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk, join
from tests.fakes import engines
from tests.fakes.directors import Recording
from tests.fakes.runs import objective


def assignment(number: int, **changes: object) -> Assignment:
    flat = {"width": 16, "heads": 2, "depth": 1, "batch.max": 12, "learning_rate": 1e-3 * (number + 1)}
    settings = hyperparameters.canonical_form(hyperparameters.from_flat(flat), 40)
    task = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=23)
    given = Assignment(number, settings, task, objective(horizon=40), (0, 1), 1, keep="end")
    return replace(given, **changes)  # type: ignore[arg-type]  # whatever they are


def curves(chunks: list[Chunk]) -> dict[str, list[object]]:
    return {name: each.tolist() for name, each in join(chunks).items() if name != "seconds"}


def kept(chunks: list[Chunk]) -> list[tuple[int, int, list[object]]]:
    runs = [run for chunk in chunks for run in chunk.parameters]
    return [(run.replicate, run.step, [each.tolist() for each in run.arrays.values()]) for run in runs]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_trials_come_out_as_if_each_had_trained_in_a_process_of_its_own() -> None:
    from sweeper.runners.ray_tune import RayTune

    director = Recording(trials=5, make=assignment, cap={1: 2})
    with RayTune(cpu=1, gpu=0.5) as runner:
        runner.train_together(engines.eager)
        runner.run(engines.never, director)
    capped = {1: [Ending("capped", "enough")]}
    assert director.endings == {number: [FINISHED] for number in range(6)} | capped
    assert len(director.chunks[1]) == 2, "its place went to another"
    for number in (0, 5):
        alone = list(train(assignment(number)))
        assert curves(director.chunks[number]) == curves(alone)
        assert kept(director.chunks[number]) == kept(alone) != []
