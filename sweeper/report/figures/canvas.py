"""Where figures are drawn: one look for all of them, as SVG and as PNG. The only importer of matplotlib.

Every colour is of Okabe and Ito's palette, which colour-blind people can distinguish, and comes with a line style and a
marker of its own for those who see or print it in grey. The same drawing always gives the same bytes.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from textwrap import fill
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure as Sheet
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

__all__ = ["Axes", "Drawing", "Figure", "Look", "Sheet"]

WIDTH = 7.0
"""Of every figure, in inches."""
_DPI = 160
MANY = 500
"""Marks above which a figure holds them as an image: as shapes they would make a large file."""
_LOOK: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that text has the same outlines everywhere
    "font.size": 10,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "sweeper",
    "text.parse_math": False,  # a baseline may be called $x$
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}
styled = style.context(["default", _LOOK])
"""Decorates every function that draws: what somebody has in a matplotlibrc changes nothing."""


@dataclass(frozen=True)
class Figure:
    """One finished figure.

    Attributes:
        name: of its file and its anchor, such as `survival`.
        title: in plain words.
        caption: what is shown, what to look for, units, what bands and marks mean.
        alt: what a reader who cannot see it must know: the finding in numbers.
        svg: an `<svg>` that needs nothing besides, as wide as what holds it; its ids begin with the name.
        png: the same as an image.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str = field(repr=False)
    png: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.png


@dataclass(frozen=True)
class Drawing:
    """A figure with its artists, before it is rendered; the texts are those of `Figure`."""

    name: str
    title: str
    caption: str
    alt: str
    sheet: Sheet


Dash: TypeAlias = Literal["-", "--", ":", ""] | tuple[float, tuple[float, ...]]
"""A style of lines as matplotlib knows it; empty for none."""


@dataclass(frozen=True)
class Look:
    """Colour, dash and marker of one of several things."""

    colour: str
    dash: Dash
    marker: str


BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    *("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777"),
)
BEST = Look(BLUE, "-", "o")
LOOKS = (
    BEST,
    Look(VERMILION, (0, (6.0, 1.5)), "s"),
    Look(GREEN, (0, (3.0, 1.2)), "^"),
    Look(PURPLE, (0, (6.0, 1.5, 1.2, 1.5)), "v"),
    Look(ORANGE, (0, (1.2, 1.2)), "P"),
    Look(SKY, (0, (8.0, 1.5, 1.2, 1.5, 1.2, 1.5)), "X"),
    Look(GREY, (0, (3.0, 1.2, 1.2, 1.2)), "h"),
)
"""Looks of searched trials: one figure distinguishes at most this many."""
BASELINES = (Look(BLACK, "-", "D"), Look(BLACK, (0, (1.0, 1.6)), "d"), Look(BLACK, (0, (5.0, 2.0)), "*"))


def looks(baselines: Sequence[bool]) -> list[Look]:
    """A look for each of several things, of which some are baselines; after the last look the first is reused."""
    found, counts = [], {True: 0, False: 0}
    for is_baseline in baselines:
        of = BASELINES if is_baseline else LOOKS
        found.append(of[counts[is_baseline] % len(of)])
        counts[is_baseline] += 1
    return found


def sheet(height: float) -> Sheet:
    """An empty sheet, its height in inches; artists are placed so that no labels overlap."""
    return Sheet(figsize=(WIDTH, height), layout="constrained")


def legend(sheet: Sheet, entries: Mapping[str, Look], hollow: Sequence[str] = ()) -> None:
    """A legend above everything, for which the sheet grows: label -> look; the signs of some are hollow."""
    handles = [sign(look, label) for label, look in entries.items()]
    for handle in handles:
        if handle.get_label() in hollow:
            handle.set_markerfacecolor("none")
    signs(sheet, handles)


def sign(look: Look, label: str) -> Line2D:
    """A legend's sign for lines or points."""
    return Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=5, label=label)


def signs(sheet: Sheet, handles: Sequence[Line2D | Rectangle]) -> None:
    """A legend of given signs, in as many columns as their labels leave room for."""
    labels = [str(handle.get_label()) for handle in handles]
    longest = max(map(len, labels))
    columns, width = next((each for each in _COLUMNS if longest <= each[1]), _COLUMNS[-1])
    rows = -(-len(handles) // columns)
    columns = -(-len(handles) // rows)
    wrapped = [fill(label, width) for label in labels]
    lines = rows * max(text.count("\n") + 1 for text in wrapped)
    sheet.set_figheight(sheet.get_figheight() + 0.1 + 0.2 * lines)
    sheet.legend(handles=handles, labels=wrapped, loc="outside upper left", ncols=columns)


_COLUMNS = ((4, 14), (3, 21), (2, 35), (1, 80))
"""Columns of a legend, and how many letters a label may have with as many."""


def beside(label: str) -> str:
    """A name for the side of an axis, on two lines where it is long; the legend has even longer ones whole."""
    kept = label if len(label) <= 2 * _SIDE else f"{label[: _SIDE - 1]}…{label[-_SIDE + 2 :]}"
    return fill(kept, _SIDE)


_SIDE = 20
"""Letters that fit beside an axis."""


def plain(value: float) -> str:
    """A number as people write it: 7,500, 0.125, 1.2 M."""
    if abs(value) >= 1e6 or (abs(value) >= 1e5 and value % 1e4 == 0):
        return f"{value / 1e6:,.3g} M" if abs(value) < 1e9 else f"{value / 1e6:,.0f} M"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def numbers(axis: Axis, log: bool = False, most: int = 6) -> None:
    """Plain numbers on an axis that has its limits already, a few of them."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())
    if log:
        low, high = sorted(axis.get_view_interval())
        axis.set_major_locator(FixedLocator(_round_between(low, high, most)))
        axis.set_minor_locator(LogLocator(subs="all"))
    else:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def _round_between(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two bounds above 0, evenly on a logarithmic axis: 1 2 5 10, or 1 10 100."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for leading in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**d for d in decades for m in leading if low <= m * 10.0**d <= high]
        if len(found) <= most:
            break
    every = -(-len(found) // most)
    return found[::every] if len(found) > 1 else [low, high]


def scatter(
    axes: Axes, x: Any, y: Any, look: Look, *, s: float = 18.0, alpha: float = 1.0, hollow: bool = False
) -> None:
    """Points, `s` their area; so many that they would make a large file become an image inside the figure."""
    face = "none" if hollow else look.colour
    many = len(x) > MANY
    axes.scatter(
        x,
        y,
        s,
        marker=look.marker,
        facecolors=face,
        edgecolors=look.colour,
        linewidths=0.8,
        alpha=alpha,
        rasterized=many,
    )


def polylines(axes: Axes, x: Sequence[float], lines: npt.NDArray[np.float64], values: Any, label: str) -> None:
    """Lines, [lines, points], coloured by values from dark (low) to light (high), drawn as an image; with a scale."""
    segments = [np.column_stack([x, line]) for line in lines]
    drawn = LineCollection(segments, cmap="cividis", linewidths=0.9, alpha=0.75, rasterized=True)
    drawn.set_array(np.asarray(values, dtype=np.float64))
    axes.add_collection(drawn)
    figure = axes.get_figure(root=True)
    assert figure is not None  # axes come from a sheet
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30, shrink=0.9)
    bar.set_label(label)
    numbers(bar.ax.yaxis)


def bars(axes: Axes, left: Any, bottom: Any, width: Any, look: tuple[str, str | None]) -> None:
    """Rectangles of one lane each, in a colour and with a hatch where they are few enough to see it."""
    many = len(left) > MANY
    right, low, high = left + width, bottom + 0.08, bottom + 0.92
    corners = np.stack([left, low, right, low, right, high, left, high], axis=1).reshape(-1, 4, 2)
    axes.add_collection(
        PolyCollection(
            list(corners),
            facecolor=look[0],
            edgecolor="none" if many else "white",
            linewidth=0.4,
            hatch=None if many else look[1],
            rasterized=many,
        )
    )


def box(colour: str, hatch: str | None, label: str) -> Rectangle:
    """A legend's sign for bars."""
    return Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor="white", hatch=hatch, label=label)


@styled
def rendered(drawing: Drawing) -> Figure:
    """A drawing as SVG and PNG."""
    vector, image = BytesIO(), BytesIO()
    nobody = {"Date": None, "Creator": None, "Format": None, "Type": None}
    # `savefig` would draw everything four times: twice to find its place, and then for each format.
    sheet, raster = drawing.sheet, FigureCanvasAgg(drawing.sheet)
    sheet.set_dpi(_DPI)
    engine = sheet.get_layout_engine()
    assert engine is not None  # `sheet` gives every sheet one
    engine.execute(sheet)
    sheet.set_layout_engine("none")  # everything has found its place
    FigureCanvasSVG(sheet).print_svg(vector, metadata=nobody)  # type: ignore[no-untyped-call]
    sheet.set_canvas(raster)
    raster.print_png(image, metadata={"Software": None})  # type: ignore[no-untyped-call]
    svg = _embeddable(vector.getvalue().decode(), drawing.name, drawing.alt)
    return Figure(drawing.name, drawing.title, drawing.caption, drawing.alt, svg, image.getvalue())


def _embeddable(svg: str, name: str, alt: str) -> str:
    """An SVG for the inside of a page: as wide as what holds it, and sharing no id with another figure's."""
    body = svg[svg.index("<svg") :].strip()
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(?:width|height|version)="[^"]*"', "", head)
    rest = re.sub(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->", "", rest, flags=re.DOTALL)
    # The rule that matplotlib puts into every SVG would hold in the whole page.
    rest = re.sub(r"\s*<style[^>]*>.*?</style>", "", rest, flags=re.DOTALL)
    # A hundredth of a point is finer than any screen; six decimals make a page a tenth larger.
    rest = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), rest)
    rest = re.sub(r'(\bid=")', rf"\g<1>{name}-", rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", rest)
    lines = "stroke-linejoin:round;stroke-linecap:butt"
    return f'{head} role="img" aria-label="{html.escape(alt)}" style="{lines}">{rest}'
