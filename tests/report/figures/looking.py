"""What tests of figures share: made-up sweeps, what can be read in a drawing, and whether it fits its sheet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from sweeper.config.loading import load
from sweeper.report.figures.canvas import Drawing, Figure, rendered
from sweeper.report.figures.subject import Subject, subject
from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment
from tests.fakes.sweeps import QUESTION, Sweep
from tests.fakes.training import learns

TWO = {"task": {**QUESTION["task"], "operation": ["x_plus_y", "permutation"]}}
SHAPES: dict[str, Any] = {
    "search": {
        "batch.shape": {"choice": ["constant", "linear", "doubling"]},
        "batch.max": {"choice": [32, 64]},
    },
    "fixed": {"width": 32, "batch.min": 8, "batch.doubling_steps": 20},
    "baselines": {"published": {"batch.max": 128}},
    "budget": {"trials": 7},
    "confirm": {"top": 1, "replicates": 3},
}
FIRST = {"constant": 20, "linear": 40, "doubling": 90}


def by_shape(assignment: Assignment, replicate: int) -> int | None:
    """20, 40 or 90 by shape, the smaller batch 10 later, each replicate 10 later; the baseline at 80."""
    batch, seed = assignment.settings.batch, replicate % CONFIRMATION_REPLICATES
    step = 80 if batch.max == 128 else FIRST[batch.shape] + 10 * (batch.max == 32)
    return step + 10 * seed if step + 10 * seed <= 100 else None


def launched(root: Path, changes: dict[str, Any], reach: Any = by_shape) -> Sweep:
    """A sweep that ran to its end."""
    sweep = Sweep(root, changes)
    sweep.launch(learns(reach))
    return sweep


def about(sweep: Sweep) -> Subject:
    return subject(sweep.folder, load(sweep.root / "space.yaml").spec)


def look(drawing: Drawing, *expected: str) -> Figure:
    """Check that a drawing fits and says what it should. Returns it finished."""
    read = [each.get_text() for each in fitting(drawing)]
    assert [each for each in expected if each not in read] == []
    figure = rendered(drawing)
    assert figure.svg.startswith("<svg ") and figure.svg.endswith("</svg>") and figure.png.startswith(b"\x89PNG")
    assert all((figure.title, figure.caption, figure.alt))
    return figure


def fitting(drawing: Drawing) -> Sequence[Text]:
    """Every text that can be read; checks that all are wholly on the sheet, and tick labels beside each other."""
    found = _visible(drawing)
    assert _outside(drawing, found) == []
    assert _crossing(drawing) == []
    return found


def _outside(drawing: Drawing, found: Sequence[Text]) -> list[str]:
    whole = drawing.sheet.bbox.padded(1)
    boxes = [(each.get_text(), each.get_window_extent()) for each in found]
    return [text for text, box in boxes if not (whole.contains(*box.min) and whole.contains(*box.max))]


def _crossing(drawing: Drawing) -> list[tuple[str, str]]:
    found = []
    for axes in drawing.sheet.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            shown = [each for each in labels if each.get_visible() and each.get_text() and not each.get_rotation()]
            boxes = [each.get_window_extent() for each in shown]
            found += [
                (shown[i].get_text(), shown[i + 1].get_text())
                for i in range(len(shown) - 1)
                if axes.get_visible() and boxes[i].overlaps(boxes[i + 1])
            ]
    return found


def _visible(drawing: Drawing) -> Sequence[Text]:
    FigureCanvasAgg(drawing.sheet).draw()
    hidden = {text for axes in drawing.sheet.axes if not axes.get_visible() for text in _texts(axes)}
    offstage = {text for axes in drawing.sheet.axes for text in _beyond(axes)}
    return [each for each in _texts(drawing.sheet) if each not in hidden and each not in offstage]


def _texts(artist: Any) -> Iterator[Text]:
    for each in artist.findobj(Text):
        if each.get_visible() and each.get_text():
            yield each


def _beyond(axes: Any) -> Iterator[Text]:
    """Labels of ticks past the ends of an axis, and of those that are switched off: matplotlib keeps but hides them."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            for label in (tick.label1, tick.label2):
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9 or not label.get_visible():
                    yield label
