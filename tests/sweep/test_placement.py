"""Which trials share an engine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.loading import load
from sweeper.sweep.placement import place
from sweeper.training import probe
from sweeper.training.engine import open_engine
from sweeper.trial import OpenEngine
from tests.fakes import small


@dataclass
class Runner:
    """A runner that notes what it is set to; a GPU for four trials."""

    slots: int = 4
    most_on_a_gpu: int = 4
    share: float = 0.0
    engine: OpenEngine | None = None
    measured: list[Any] = field(default_factory=list)

    def run(self, *_: object) -> None: ...

    def on_a_gpu(self, function: Any) -> probe.Probe:
        self.measured.append(function.func)
        alone, two = probe.Company(1, 100.0, 2**30), probe.Company(2, 190.0, 2**30)
        return probe.Probe((alone, two) if self.slots == 4 else (alone,), "enough")

    def share_gpus(self, share: float) -> None:
        self.share = share

    def train_together(self, engine: OpenEngine) -> None:
        self.engine = engine


@pytest.mark.parametrize(
    ("engine", "gpu", "slots", "together", "last"),
    [
        ("off", "0.25", 4, False, None),
        ("on", "0", 4, True, None),
        ("auto", "0", 4, False, "off, no trials share a GPU"),
        ("auto", "1", 4, False, "off, no trials share a GPU"),
        ("auto", "0.25", 4, True, "on, the trials on a GPU train in one process there"),
        ("auto", "auto", 4, True, "on, the trials on a GPU train in one process there"),
        ("auto", "auto", 1, False, "off, no trials share a GPU"),
    ],
)
def test_an_engine_is_where_it_was_asked_for_and_under_auto_where_trials_share_a_gpu(
    tmp_path: Path, *, engine: str, gpu: str, slots: int, together: bool, last: str | None
) -> None:
    said: list[str] = []
    runner = Runner(slots=slots)
    loaded = load(small.write(tmp_path), [f"resources.engine={engine}", f"resources.gpu={gpu}"])
    place(runner, loaded, None, said.append)
    assert runner.engine is (open_engine if together else None)
    assert [line for line in said if line.startswith("engine")] == ([f"engine: auto: {last}"] if last else [])
    assert runner.measured == ([probe.probe_together] if gpu == "auto" else [])
