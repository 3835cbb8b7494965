"""All figures of a sweep, in reading order."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

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
from sweeper.report.figures.groups import Grouping, grouped
from sweeper.report.figures.subject import Subject, subject

Named = TypeVar("Named", Drawing, Figure)

_READ_AND_DRAWN: tuple[tuple[Callable[[Subject, Grouping], Any], Callable[[Any], Drawing]], ...] = (
    (survival.read, survival.draw),
    (lambda about, _: survival.read_confirmed(about), survival.draw),
    (lambda about, _: learning.read(about), learning.draw),
    (learning.read_groups, learning.draw),
    (lambda about, _: importance.read(about), importance.draw),
    (lambda about, _: slices.read(about), slices.draw),
    (lambda about, _: parallel.read(about), parallel.draw),
    (lambda about, _: schedules.read(about), schedules.draw),
    (lambda about, _: pareto.read(about), pareto.draw),
    (phases.read, phases.draw),
    (lambda about, _: jump.read(about), jump.draw),
    (lambda about, _: timeline.read(about), timeline.draw),
    (lambda about, _: allocation.read(about), allocation.draw),
    (lambda about, _: prediction.read(about), prediction.draw),
)
"""What is read for each figure, and how that is drawn, in reading order."""
PLACES = range(len(_READ_AND_DRAWN))


def draw_all(folder: SweepFolder, spec: SweepSpec) -> Iterator[Figure]:
    """Draw a sweep's figures one after another; one that has nothing to show is left out.

    Args:
        folder: the sweep's folder.
        spec: its space.yaml.

    Raises:
        UserError: the folder is not a sweep's, or a part is damaged.
    """
    yield from (each for each in draw_some(folder, spec, PLACES) if each is not None)


def draw_some(folder: SweepFolder, spec: SweepSpec, places: Iterable[int]) -> Iterator[Figure | None]:
    """The figures in some places of the reading order; None for one that has nothing to show. Raises UserError."""
    for drawing in _some(folder, spec, places):
        yield None if drawing is None else rendered(drawing)


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
    """All figures before they are rendered."""
    yield from (each for each in _some(folder, spec, PLACES) if each is not None)


def _some(folder: SweepFolder, spec: SweepSpec, places: Iterable[int]) -> Iterator[Drawing | None]:
    about = subject(folder, spec)
    if not about.seen:
        yield from (None for _ in places)
        return
    groups = grouped(about)
    for place in places:
        read, draw = _READ_AND_DRAWN[place]
        data = read(about, groups)
        yield None if data is None else draw(data)
