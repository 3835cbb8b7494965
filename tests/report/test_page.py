"""The page and the write-up: their words, and how a real browser shows them."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.report import page
from sweeper.report.document import ReportData, figures_of, report_data
from tests.fakes.browser import DESKTOP, PHONE, browser, console, needs_browser, picture, show
from tests.fakes.reports import FIGURE, MADE_UP
from tests.fakes.sweeps import Sweep


class Elements(HTMLParser):
    """Every element of a page, in order, with its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


@pytest.fixture(scope="module")
def real(made_up_sweep: Sweep) -> ReportData:
    """The report of a sweep with a baseline, failures and confirmations."""
    return report_data(made_up_sweep.folder, figures_of(made_up_sweep.folder))


def test_what_is_written_is_text_and_never_markup() -> None:
    text = page.html(MADE_UP)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert 'alt="Half of the runs arrive by step 20 &amp; the rest by 30."' in text


@pytest.mark.slow
def test_the_verdict_comes_first(real: ReportData) -> None:
    assert real.verdict[0] == (
        "trial 1 is faster than published by 67 % (95 % interval 58 to 74 %), p = 0.047 (Holm), 7 replicates."
    )
    text = page.html(real)
    first = f"T{real.verdict[0][1:]}"
    assert text.index(first) < text.index("<table>") < text.index("<figure>")
    notes = page.markdown(real)
    assert notes.index(first) < notes.index("| trial |") < notes.index("![")


@pytest.mark.slow
def test_nothing_is_fetched_and_everything_has_words(real: ReportData) -> None:
    elements = Elements(page.html(real))
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") for image in elements.all("img"))
    assert all(len(image["alt"] or "") > 20 for image in elements.all("img"))
    assert len(elements.all("img")) == len(real.figures) > 3
    assert {cell["scope"] for cell in elements.all("th")} == {"col"}
    assert [link.get("href") for link in elements.all("link")] == ["data:,"]
    scripts = elements.all("script")
    assert len(scripts) == 3 and not any("src" in script for script in scripts)
    policy = next(each["content"] or "" for each in elements.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; ") and policy.count("'sha256-") == 2
    anchors = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    assert {(link["href"] or "").removeprefix("#") for link in elements.all("a")} <= set(anchors)
    assert elements.all("html") == [{"lang": "en"}]


def test_the_write_up_says_the_same_in_markdown() -> None:
    assert page.markdown(MADE_UP) == (
        "# made-up\n\nWhich configuration is the fastest?\n\n## Verdict\n\n"
        "Trial 1 is faster than published by 67 %.\n\nTrial 2 is not.\n\n*Race is inexact.*\n\n9 trials of 33 runs.\n\n"
        "## Steps until x > 1\n\n|  | trial | why |\n| ---: | ---: | :--- |\n| 1 | 7 a\\|b | <b> |\n| 2 | 8 |  |\n\n"
        "## Time to the event\n\n![Half of the runs arrive by step 20 & the rest by 30.](figures/survival.png)\n\n"
        "Lower is <faster>.\n\n## The question\n\n```yaml\nname: made-up  # <script>alert(1)</script>\n```\n\n"
        "## Where it comes from\n\n| launched |\n| ---: |\n| 2026-01-01 |\n"
    )


def test_the_files_of_a_report(tmp_path: Path) -> None:
    written = page.write(MADE_UP, tmp_path / "report")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "report/figures/survival.png",
        "report/figures/survival.svg",
        "report/index.html",
        "report/notes.md",
    ]
    assert written.page.read_text() == page.html(MADE_UP)
    assert (tmp_path / "report" / "figures" / "survival.svg").read_text() == FIGURE.svg


def test_a_folder_that_cannot_be_written_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(UserError, match=r"report: cannot be written .*; give another --output"):
        page.write(MADE_UP, tmp_path / "report")


@pytest.mark.slow
def test_a_sweep_that_has_not_begun_has_a_report_too(sweep: Sweep) -> None:
    sweep.open()
    found = report_data(sweep.folder, figures_of(sweep.folder))
    assert (found.verdict, found.counts) == (("No trial has finished yet.",), "No trial has finished yet.")
    assert "No trial has finished yet." in page.html(found)


@needs_browser
def test_a_browser_shows_it_on_a_desk_and_on_a_phone_without_a_complaint(real: ReportData, tmp_path: Path) -> None:
    written = page.write(replace(real, launches=MADE_UP.launches), tmp_path / "report")
    with browser(tmp_path / "profile") as driver:
        for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            show(driver, written.page.as_uri(), size)
            sizes = driver.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth,"
                " [...document.images].map(i => i.complete && i.naturalWidth > 0)]"
            )
            assert sizes[0] <= sizes[1] == size[0], f"{name}: the page is wider than the window"
            assert sizes[2] == [True] * len(real.figures)
            first = driver.execute_script("return document.querySelector('.verdict p').getBoundingClientRect().bottom")
            assert first <= size[1], f"{name}: the verdict is not on the first screen"
            picture(driver, tmp_path / f"{name}.png")
            assert (tmp_path / f"{name}.png").stat().st_size > 20_000
        assert console(driver) == []
