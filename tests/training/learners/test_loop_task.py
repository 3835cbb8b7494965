"""What training makes of a loop of one's own: rows, chunks, and when a run is over."""

import math
from collections.abc import Generator, Mapping
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sweeper import LoopTask, PlainRun
from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.training.device import name_of
from sweeper.training.schedules import Course
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk, join, seeds_of
from tests.fakes.tasks import Rule, named

NAN, INF = math.nan, math.inf


class Clock:
    """Goes on when a loop has trained."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", CLOCK)
    Told.closed.clear()
    Told.runs.clear()


class Told(LoopTask):
    """Yields the validation losses that it is told, and takes so many seconds for each."""

    losses: tuple[float | None, ...] = ()
    takes: float = 0.0
    runs: ClassVar[list[PlainRun]] = []
    closed: ClassVar[list[tuple[str, int]]] = []

    @property
    def scores(self) -> Mapping[str, str]:
        return {"loss": "Mean loss.", "mood": "How it goes."}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        return {"light": "How bright it is."}

    @property
    def operations(self) -> tuple[str, ...]:
        return "up", "down"

    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        self.runs.append(run)
        try:
            for loss in self.losses:
                CLOCK.now += self.takes
                yield self.reported_value(INF if loss is None else loss, run)
        finally:
            self.closed.append((run.operation, run.replicate))

    def reported_value(self, loss: float, run: PlainRun) -> Mapping[str, float]:
        return {"val_loss": loss, "train_loss": 2 * loss, "light": run.replicate}


class Surprising(Told):
    def reported_value(self, loss: float, run: PlainRun) -> Mapping[str, float]:
        return {"val_loss": loss, "val_rain": 1.0, "wind": 2.0}


def assignment(task: LoopTask, replicates: tuple[int, ...] = (0,), **asked: Any) -> Assignment:
    flat = {"batch.max": 8, "learning_rate": 0.5, "warmup_steps": 20, "weight_decay": 0.1, **task.all_defaults}
    objective = Objective(**({"until": "val_loss < 0.5", "horizon": 40} | asked))
    settings = hyperparameters.canonical_form(hyperparameters.from_flat(flat), objective.horizon)
    return Assignment(7, settings, task, objective, replicates, 1.0)


def chunks(losses: tuple[float | None, ...], takes: float = 0.0, **asked: Any) -> list[Chunk]:
    return list(train(assignment(named(Told, losses=losses, takes=takes), **asked)))


def steps(losses: tuple[float | None, ...], takes: float = 0.0, **asked: Any) -> list[int]:
    """Those of the evaluations of the first operation's run."""
    columns = join(chunks(losses, takes, **asked))
    return [int(each) for each in columns["step"][columns["operation"] == "up"]]


def test_every_evaluation_is_a_row_replicate_by_replicate_and_operation_by_operation() -> None:
    found = chunks((0.9, 0.8, 0.7, 0.6), takes=0.2, replicates=(0, 3))
    assert [each.device for each in found] == [name_of(torch.device("cpu"))] * len(found)
    assert [(each.state, each.last) for each in found] == [(None, False)] * len(found)
    columns = {name: each.tolist() for name, each in join(found).items()}
    seconds = columns.pop("seconds")
    assert seconds == pytest.approx([0.2, 0.4, 0.6, 0.8] * 4)
    mood = [columns.pop(f"{side}_mood") for side in ("val", "train")]
    assert np.isnan(mood).all()
    assert columns == {
        "operation": ["up"] * 8 + ["down"] * 8,
        "replicate": [0, 0, 0, 0, 3, 3, 3, 3] * 2,
        "step": [10, 20, 30, 40] * 4,
        "examples": [80, 160, 240, 320] * 4,
        "val_loss": [0.9, 0.8, 0.7, 0.6] * 4,
        "train_loss": [1.8, 1.6, 1.4, 1.2] * 4,
        "light": [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0] * 2,
        "batch_size": [8] * 16,
        "learning_rate": pytest.approx([0.5 * 9 / 20, 0.5 * 19 / 20, 0.5, 0.5] * 4),
    }


def test_a_chunk_is_a_second_of_one_run() -> None:
    found = chunks((0.9, 0.8, 0.7, 0.6), takes=0.5)
    assert [each.columns["step"].tolist() for each in found] == [[10, 20], [30, 40]] * 2
    found = chunks((0.9, 0.8, 0.7, 0.6), takes=0.4)
    assert [each.columns["step"].tolist() for each in found] == [[10, 20, 30], [40]] * 2


def test_a_loop_is_told_all_that_is_asked_of_its_run() -> None:
    task = named(Told, losses=(0.9,) * 4)
    asked = assignment(task, replicates=(5,))
    list(train(asked))
    first, second = Told.runs
    course = Course([asked.settings], 40)
    expected = PlainRun(
        operation="up",
        replicate=5,
        settings=asked.settings,
        model={},
        seeds=seeds_of(5),
        batch_sizes=course.sizes[0],
        learning_rates=course.rates[0],
        weight_decays=np.full(40, 0.1),
        evaluate_every=10,
        device=torch.device("cpu"),
    )
    for field in fields(PlainRun):
        mine, told = getattr(first, field.name), getattr(expected, field.name)
        if field.name == "weight_decays":  # a product of two, divided by one of them
            np.testing.assert_allclose(mine, told, rtol=1e-15)
        else:
            np.testing.assert_equal(mine, told, field.name)
    assert second.operation == "down"


# ---- when a run is over


def test_the_event_ends_a_run_and_closes_its_loop() -> None:
    assert steps((0.9, 0.4, 0.3, 0.2)) == [10, 20]
    assert Told.closed == [("up", 0), ("down", 0)]


def test_an_event_may_have_to_be_sustained() -> None:
    assert steps((0.4, 0.9, 0.4, 0.4), sustained=2) == [10, 20, 30, 40]
    assert steps((0.4, 0.4, 0.9, 0.9), sustained=2) == [10, 20]


def test_a_tail_is_trained_after_the_event() -> None:
    assert steps((0.4, 0.9, 0.9, 0.9), tail=15) == [10, 20, 30]
    assert steps((0.9, 0.9, 0.9, 0.4), tail=15) == [10, 20, 30, 40]


def test_the_horizon_ends_a_run_though_it_is_no_multiple_of_the_evaluations() -> None:
    assert steps((0.9,) * 9) == [10, 20, 30, 40]
    assert steps((0.9,) * 9, horizon=25) == [10, 20, 25]
    assert steps((0.9,) * 2, horizon=25) == [10, 20], "a loop need not evaluate after its last five updates"


def test_a_loop_is_told_after_which_updates_to_evaluate_the_horizon_among_them() -> None:
    list(train(assignment(named(Told, losses=(0.9,) * 3), horizon=25)))
    assert [update for update in range(1, 26) if Told.runs[0].evaluates(update)] == [10, 20, 25]


def test_seconds_end_each_run() -> None:
    asked = {"horizon_seconds": 2.5, "replicates": (0, 1)}
    assert steps((0.9,) * 4, takes=1.0, **asked) == [10, 20, 30, 10, 20, 30]


@pytest.mark.parametrize("loss", [None, NAN, -INF])
def test_a_loss_that_is_not_finite_ends_a_run(loss: float | None) -> None:
    told = named(Told).model_copy(update={"losses": (0.9, loss, 0.8, 0.7)})
    columns = join(list(train(assignment(told))))
    assert columns["step"].tolist() == [10, 20] * 2
    assert np.isfinite(columns["val_loss"]).tolist() == [True, False] * 2


def test_a_run_that_is_no_longer_asked_for_is_closed() -> None:
    running = train(assignment(named(Told, losses=(0.9,) * 4, takes=2.0)))
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert Told.closed == [("up", 0)]


# ---- loops that go wrong


def complaint(task: LoopTask) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  # the whole text is compared
        list(train(assignment(task)))
    return str(raised.value)


def test_a_loop_goes_on_to_the_horizon() -> None:
    task = named(Told, losses=(0.9, 0.8))
    assert complaint(task) == f"{__name__}:Told: train ended after 20 updates; the horizon is 40"
    assert complaint(named(Told)) == f"{__name__}:Told: train ended after 0 updates; the horizon is 40"


def test_a_loop_yields_known_metrics_and_both_losses() -> None:
    assert complaint(named(Surprising, losses=(0.9,))) == (
        f"{__name__}:Surprising: train yielded ['val_loss', 'val_rain', 'wind'] (unknown: val_rain, wind; missing: "
        "train_loss); known: ['val_loss', 'train_loss', 'val_mood', 'train_mood', 'light']"
    )


def test_what_a_loop_learns_is_the_same_whatever_is_trained_before_it() -> None:
    both = join(list(train(assignment(named(Rule), (0, 1), until="val_loss < 0"))))
    alone = join(list(train(assignment(named(Rule), (1,), until="val_loss < 0"))))
    mine = both["replicate"] == 1
    for name in ("val_loss", "train_loss", "val_accuracy", "bias"):
        assert both[name][mine].tolist() == alone[name].tolist()
