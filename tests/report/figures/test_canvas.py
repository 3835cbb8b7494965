"""The look that all figures share."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import BASELINES, LOOKS, Drawing, looks, plain, rendered


@canvas.styled
def drawing(name: str = "one", alt: str = "An alternative.") -> Drawing:
    sheet = canvas.sheet(3)
    axes = sheet.subplots()
    canvas.scatter(axes, np.arange(10), np.arange(10) ** 2, LOOKS[0])
    axes.fill_between([0, 5], [0, 50])
    axes.set_xlabel("the $x axis")
    return Drawing(name, "A title", "A caption.", alt, sheet)


@pytest.mark.slow
def test_an_svg_that_can_stand_in_a_page_beside_others() -> None:
    found = [rendered(drawing(name)).svg for name in ("one", "two")]
    ids = [re.findall(r'\bid="([^"]+)"', svg) for svg in found]
    assert set(ids[0]).isdisjoint(ids[1])
    for svg, mine in zip(found, ids, strict=True):
        used = {*re.findall(r'href="#([^"]+)"', svg), *re.findall(r"url\(#([^)]+)\)", svg)}
        assert used and used <= set(mine)
        root = ElementTree.fromstring(svg)
        assert (root.get("width"), root.get("height")) == (None, None)
        assert root.get("viewBox") == "0 0 504 216"
        assert not re.search(r"<style|<metadata|<text|<script|http://(?!www\.w3\.org)|<!", svg)


def test_what_a_reader_hears_is_escaped() -> None:
    svg = rendered(drawing(alt='a < b & "c"')).svg
    assert ElementTree.fromstring(svg).get("aria-label") == 'a < b & "c"'


@pytest.mark.slow
def test_nobody_elses_settings_change_a_figure() -> None:
    before = rendered(drawing())
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.facecolor": "red"}):
        assert rendered(drawing()) == before


def test_looks_differ_in_colour_and_in_grey() -> None:
    everyone = [*LOOKS, *BASELINES]
    assert len({look.marker for look in everyone}) == len(everyone)
    assert len({(look.colour, look.dash) for look in everyone}) == len(everyone)
    assert len({look.dash for look in LOOKS}) == len(LOOKS)
    assert looks([False, True, False, True]) == [LOOKS[0], BASELINES[0], LOOKS[1], BASELINES[1]]
    assert len(looks([False] * 20)) == 20


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (7500, "7,500"),
        (1234.5, "1,234"),
        (97.5, "97.5"),
        (0.12345, "0.123"),
        (1e-4, "0.0001"),
        (500_000, "0.5 M"),
        (123_456, "123,456"),
        (1_250_000, "1.25 M"),
        (3_840_000_000, "3,840 M"),
        (-20, "-20"),
    ],
)
def test_numbers_as_people_write_them(value: float, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(("low", "high"), [(0.01, 1.0), (16, 256), (700, 900), (1, 1e9), (52, 53.5)])
@canvas.styled
def test_a_logarithmic_axis_has_a_few_round_numbers(low: float, high: float) -> None:
    axes = canvas.sheet(2).subplots()
    axes.set(xscale="log", xlim=(low, high))
    canvas.numbers(axes.xaxis, log=True)
    ticks = axes.get_xticks()
    assert 2 <= len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)
