"""Kinds of learning by group."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.report.figures import phases
from sweeper.report.figures.groups import grouped
from sweeper.trial import Assignment, Chunk
from tests.fakes.curves import chunk_of, curve
from tests.fakes.sweeps import Sweep
from tests.report.figures.looking import SHAPES, about, look

KINDS = {
    "constant": ([0.1, 1.0], [0.9, 1.0]),
    "linear": ([0.1] * 9 + [1.0], [1.0] * 10),
    "doubling": ([0.1] * 10, [1.0] * 10),
}
"""Shape -> accuracy in validation and in training."""


def kinds(assignment: Assignment) -> Iterator[Chunk]:
    """The first replicate of each shape learns as above, the others not at all."""
    validation, training = KINDS[assignment.settings.batch.shape]
    yield chunk_of(
        curve(validation, assignment.replicates[0], train_accuracy=training),
        *(curve([0.1] * 10, each) for each in assignment.replicates[1:]),
    )


@pytest.mark.slow
def test_runs_are_counted_by_kind(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {**SHAPES, "confirm": None})
    sweep.launch(kinds)
    found = phases.read(about(sweep), grouped(about(sweep)))
    assert found is not None
    assert found.labels == {
        "constant": {"comprehension": 2, "confusion": 2},
        "linear": {"grokking": 2, "confusion": 2},
        "doubling": {"memorisation": 2, "confusion": 2},
        "published": {"comprehension": 1, "confusion": 1},
    }
    assert found.spikes == {"constant": 0.0, "linear": 0.0, "doubling": 0.0, "published": 0.0}
    figure = look(phases.draw(found), "grokking", "confusion", "linear", "share of runs", "2")
    assert figure.alt.startswith("constant, 4 runs: 2 comprehension and 2 confusion; 0 spikes per 1,000 steps. linear")


@pytest.mark.slow
def test_spikes_are_counted_by_steps_trained(tmp_path: Path) -> None:
    def train(assignment: Assignment) -> Iterator[Chunk]:
        loss = [1.0] * 30 + [9.0] + [1.0] * 9
        yield chunk_of(*(curve([0.1] * 40, each, train_loss=loss) for each in assignment.replicates))

    objective = {"horizon": 400, "evaluate_every": 10, "replicates": 2}
    sweep = Sweep(tmp_path, {**SHAPES, "objective": objective, "confirm": None})
    sweep.launch(train)
    found = phases.read(about(sweep), grouped(about(sweep)))
    assert found is not None
    assert list(found.spikes.values()) == pytest.approx([2.5] * 4)
    look(phases.draw(found), "loss spikes\nper 1,000 steps")
