"""The heaviest trial of a space: what a measurement of memory has to stand for."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.loading import Loaded, load
from sweeper.space.batch_schedules import BatchSchedule
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.sweep.workload import largest_settings, largest_trial

QUESTION: dict[str, Any] = {
    "name": "heavy",
    "task": {"name": "modular_arithmetic", "operation": "x_plus_y", "modulus": 31},
    "objective": {"horizon": 100, "replicates": 4},
    "budget": {"trials": 2},
    "resources": {"cpu": 2},
}


def loaded(folder: Path, **sections: Any) -> Loaded:
    path = folder / "space.yaml"
    path.write_text(json.dumps(QUESTION | sections))
    return load(path)


def settings(folder: Path, **sections: Any) -> Hyperparameters:
    sweep = loaded(folder, **sections)
    return largest_settings(sweep.spec, sweep.space)


def of_size(**sizes: int) -> Hyperparameters:
    batch = sizes.pop("batch", BatchSchedule().max)
    return Hyperparameters(**sizes, batch=BatchSchedule(max=batch))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        # Upper ends, whatever the order; what has no weight has its default.
        (
            {
                "search": {
                    "depth": {"int": [1, 4]},
                    "width": {"choice": [256, 64]},
                    "heads": {"choice": [1, 2, 4, 8]},
                    "batch.max": {"int": [64, 1024], "log": True},
                    "learning_rate": {"float": [0.001, 0.1], "log": True},
                }
            },
            of_size(depth=4, width=256, heads=8, batch=1024),
        ),
        # A batch that grows is at its largest from the first step.
        (
            {
                "search": {"batch.min": {"int": [8, 16]}, "depth": {"choice": [3, 1]}},
                "fixed": {"batch.shape": "geometric", "batch.max": 96},
            },
            of_size(depth=3, batch=96),
        ),
        # Requirements hold between sizes.
        (
            {
                "search": {"depth": {"int": [1, 8]}, "width": {"choice": [64, 128, 256, 512]}},
                "require": ["depth * width <= 1024"],
            },
            of_size(depth=8, width=128),
        ),
        # A baseline may be larger than anything under search, and the only thing to run.
        (
            {"search": {"depth": {"int": [1, 2]}}, "baselines": {"a": {}, "b": {"depth": 6, "batch.max": 700}}},
            of_size(depth=6, batch=700),
        ),
        ({"baselines": {"a": {"width": 64}, "b": {"feedforward": 8}}}, of_size(feedforward=8)),
    ],
)
def test_the_heaviest_settings(tmp_path: Path, sections: dict[str, Any], expected: Hyperparameters) -> None:
    assert settings(tmp_path, **sections) == expected


def test_the_heaviest_trial_has_every_replicate_and_never_reaches_its_event(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, search={"depth": {"int": [1, 2]}})
    trial = largest_trial(sweep.spec, sweep.space)
    assert (trial.replicates, trial.cpu, trial.task) == ((0, 1, 2, 3), 2, sweep.spec.task)
    assert not trial.objective.event.holds([0.0, 1.0]).any()
    assert trial.objective == sweep.spec.objective.model_copy(update={"until": trial.objective.until})


def test_the_largest_batch_may_be_that_of_a_stage(tmp_path: Path) -> None:
    stages = {"batch.shape": "step", "batch.stages": [[0, 8], [50, 2048]]}
    assert loaded(tmp_path, baselines={"a": stages}).spec.largest_batch == 2048


def test_the_limit_is_on_the_clock_of_the_objective_unless_another_is_asked_for(tmp_path: Path) -> None:
    objective = QUESTION["objective"] | {"minimize": "examples", "horizon_seconds": 60}
    spec = loaded(tmp_path, objective=objective, baselines={"a": {"batch.max": 1024}}).spec
    assert (spec.limit(), spec.limit("steps"), spec.limit("seconds")) == (102400.0, 100.0, 60.0)
