"""The report as one self-contained HTML page, and as Markdown for a write-up."""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from sweeper.errors import UserError
from sweeper.report.as_json import plain
from sweeper.report.document import ReportData
from sweeper.report.table import TextTable, in_markdown

if TYPE_CHECKING:
    from sweeper.report.figures.canvas import Figure  # it imports matplotlib

_FIGURES = "figures"
_VIEWS = ("state", "trial", "parallel", "slices", "curves", "table", "controls", "main")
"""The scripts of the interactive part, in the order in which they need each other."""


@dataclass(frozen=True)
class Written:
    """The files of a report."""

    page: Path
    notes: Path
    figures: tuple[Path, ...]


def html(found: ReportData) -> str:
    """The report as HTML."""
    data = packed(found.explorer)
    return _rendered(found, data, _scripts() if data else ())


def live_html(found: ReportData, now: str, stamp: str) -> str:
    """The page of a sweep that runs: its state, which the page keeps up to date, and the interactive figures.

    Args:
        found: the report, without still figures.
        now: the state as HTML.
        stamp: of the tables that the report was read from.
    """
    data = packed(found.explorer)
    return _rendered(found, data, (*(_scripts() if data else ()), _file("live.js")), live=Markup(now), stamp=stamp)


def _rendered(found: ReportData, data: str, scripts: Sequence[str], **more: str) -> str:
    style = Markup(_file("explorer.css")) if data else ""
    return _template().render({"live": "", "stamp": ""} | more, report=found, data=data, scripts=scripts, style=style)


def markdown(found: ReportData) -> str:
    """The report as Markdown; figures are files next to it."""
    parts = [
        f"# {found.name}",
        found.question,
        *([found.labels] if found.labels else []),
        "## Verdict",
        *map(_capital, found.verdict),
        *(f"*{_capital(caution)}.*" for caution in found.cautions),
        found.counts,
    ]
    for grid in found.grids:
        parts += [f"## {_capital(grid.title)}", in_markdown(grid)]
    for figure in found.figures:
        parts += [f"## {figure.title}", f"![{figure.alt}]({_FIGURES}/{figure.name}.png)", figure.caption]
    parts += ["## The question", f"```yaml\n{found.space.strip()}\n```"]
    parts += [f"## {_capital(found.launches.title)}", in_markdown(found.launches)]
    return "\n\n".join(parts) + "\n"


def write(found: ReportData, folder: Path) -> Written:
    """Write index.html, notes.md and the figures as PNG and SVG.

    Raises:
        UserError: the folder cannot be written.
    """
    page, notes, figures = folder / "index.html", folder / "notes.md", folder / _FIGURES
    drawn = []
    try:
        figures.mkdir(parents=True, exist_ok=True)
        page.write_text(html(found), encoding="utf-8")
        notes.write_text(markdown(found), encoding="utf-8")
        for figure in found.figures:
            for ending, content in (("svg", figure.svg.encode()), ("png", figure.png)):
                path = figures / f"{figure.name}.{ending}"
                path.write_bytes(content)
                drawn.append(path)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); give another --output") from None
    return Written(page, notes, tuple(drawn))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweeper.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"source": _source, "capital": _capital, "anchor": _anchor, "digest": _digest}
    return environment.get_template("page.html")


def packed(data: Mapping[str, Any] | None) -> str:
    """The data as gzipped JSON in base64: a sixth of its size as text, and never markup; empty for none."""
    if not data:
        return ""
    text = json.dumps(plain(data), separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@cache
def _scripts() -> tuple[str, str]:
    """D3, and ours."""
    return _file("d3.min.js"), "\n".join(_file(f"{view}.js") for view in _VIEWS)


def _file(name: str) -> str:
    return resources.files("sweeper.report").joinpath("explorer", name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The digest with which the page's content security policy allows this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _source(figure: "Figure") -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg.encode()).decode()}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _anchor(grid: TextTable) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in grid.title)
