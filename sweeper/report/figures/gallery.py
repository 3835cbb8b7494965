"""All figures of a sweep, in reading order."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from sweeper.config.model import SweepSpec
from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.report.figures import (
    allocation,
    importance,
    jump,
    learning,
    parallel,
    pareto,
    phases,
    prediction,
    schedules,
    slices,
    survival,
    timeline,
)
from sweeper.report.figures.canvas import Drawing, Figure, rendered
from sweeper.report.figures.groups import grouped
from sweeper.report.figures.subject import subject

Data = TypeVar("Data")
Named = TypeVar("Named", Drawing, Figure)


def draw_all(folder: SweepFolder, spec: SweepSpec) -> Iterator[Figure]:
    """Draw a sweep's figures one after another; one that has nothing to show is left out.

    Args:
        folder: the sweep's folder.
        spec: its space.yaml.

    Raises:
        UserError: the folder is not a sweep's, or a part is damaged.
    """
    for drawing in drawings(folder, spec):
        yield rendered(drawing)


def pick(found: Iterator[Named], name: str) -> Named:
    """The figure or drawing of this name; those after it are not drawn.

    Raises:
        UserError: there is none of this name.
    """
    others = []
    for each in found:
        if each.name == name:
            return each
        others.append(each.name)
    raise UserError(f"{name}: no such figure; there are {', '.join(others) or 'none yet'}")


def drawings(folder: SweepFolder, spec: SweepSpec) -> Iterator[Drawing]:
    """The same before they are rendered."""
    about = subject(folder, spec)
    if not about.seen:
        return
    groups = grouped(about)
    yield from _drawn(survival.read(about, groups), survival.draw)
    yield from _drawn(survival.read_confirmed(about), survival.draw)
    yield from _drawn(learning.read(about), learning.draw)
    yield from _drawn(learning.read_groups(about, groups), learning.draw)
    yield from _drawn(importance.read(about), importance.draw)
    yield from _drawn(slices.read(about), slices.draw)
    yield from _drawn(parallel.read(about), parallel.draw)
    yield from _drawn(schedules.read(about), schedules.draw)
    yield from _drawn(pareto.read(about), pareto.draw)
    yield from _drawn(phases.read(about, groups), phases.draw)
    yield from _drawn(jump.read(about), jump.draw)
    yield from _drawn(timeline.read(about), timeline.draw)
    yield from _drawn(allocation.read(about), allocation.draw)
    yield from _drawn(prediction.read(about), prediction.draw)


def _drawn(data: Data | None, draw: Callable[[Data], Drawing]) -> Iterator[Drawing]:
    if data is not None:
        yield draw(data)
