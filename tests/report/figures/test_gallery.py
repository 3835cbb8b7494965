"""All figures of sweeps of every kind: what is drawn, in which order, and that nothing breaks or lies outside."""

import pickle
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from sweeper.config.loading import load
from sweeper.errors import UserError
from sweeper.report.figures import beside
from sweeper.report.figures.gallery import draw_all, drawings, pick
from sweeper.report.figures.subject import Subject
from tests.fakes.sweeps import Sweep
from tests.fakes.training import always, diverges, fails
from tests.report.figures.looking import SHAPES, by_shape, fitting, launched

EVERYTHING = [
    *("survival", "survival-confirmed", "learning", "learning-by-group", "slices", "parallel"),
    *("schedules", "pareto", "phases", "jump", "timeline"),
]
ONE = {"search": {}, "baselines": {"only": {"depth": 1}}, "budget": {"trials": 1}}


def drawn(sweep: Sweep) -> list[str]:
    spec = load(sweep.root / "space.yaml").spec
    found = list(drawings(sweep.folder, spec))
    for each in found:
        fitting(each)
    return [each.name for each in found]


@pytest.mark.slow
def test_a_whole_sweep_in_reading_order_and_the_same_bytes_twice(shapes: Subject) -> None:
    first = list(draw_all(shapes.folder, shapes.spec))
    assert [figure.name for figure in first] == EVERYTHING
    assert list(beside.drawn(shapes.folder, shapes.spec)) == first
    assert pick(iter(first), "learning") is first[EVERYTHING.index("learning")]
    with pytest.raises(UserError, match=rf"^learned: no such figure; there are {', '.join(EVERYTHING)}$"):
        pick(iter(first), "learned")


def test_a_process_that_dies_delivers_no_more_figures() -> None:
    delivered: SimpleQueue[Any] = SimpleQueue()
    beside._receive(BytesIO(pickle.dumps("a figure") + pickle.dumps(None) + pickle.dumps("half")[:-3]), delivered)
    assert [delivered.get() for _ in range(3)] == ["a figure", None, beside._Later.NEVER]


@pytest.mark.slow
def test_what_a_process_that_died_did_not_draw_this_one_does(shapes: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dies(beside._Another):
        def take(self, *, wait: bool) -> Any:
            self.end()
            return super().take(wait=True)

    monkeypatch.setattr(beside, "_Another", Dies)
    assert [figure.name for figure in beside.drawn(shapes.folder, shapes.spec)] == EVERYTHING


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "reach", "left_out"),
    [
        (ONE, always(30), {"survival-confirmed", "learning-by-group", "slices", "parallel", "schedules", "pareto"}),
        (SHAPES, always(None), {"survival-confirmed", "pareto", "jump"}),
        ({**SHAPES, "baselines": {}, "confirm": None}, by_shape, {"survival-confirmed"}),
        (
            {
                **SHAPES,
                "budget": {"trials": 15},
                "baselines": {f"one-{i}-with-a-long-name": {"batch.max": 100 + i} for i in range(9)},
            },
            by_shape,
            set(),
        ),
    ],
    ids=["one trial", "nobody arrives", "no baseline", "baselines with long names"],
)
def test_a_figure_that_has_nothing_to_show_is_left_out(
    tmp_path: Path, changes: dict[str, Any], reach: Any, left_out: set[str]
) -> None:
    assert drawn(launched(tmp_path, changes, reach)) == [name for name in EVERYTHING if name not in left_out]


@pytest.mark.slow
def test_a_sweep_whose_runs_all_diverge(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, SHAPES)
    sweep.launch(diverges)
    assert drawn(sweep) == [name for name in EVERYTHING if name not in ("pareto", "jump", "survival-confirmed")]


def test_a_sweep_whose_trials_all_fail_or_that_has_none_has_no_figures(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {**SHAPES, "budget": {"trials": 2}})
    sweep.open()
    assert drawn(sweep) == []
    sweep.launch(fails)
    assert drawn(sweep) == []
