"""The documentation as a site: it builds without a warning, from every page, with the API reference and the gallery."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.html"))


@pytest.mark.slow
def test_the_site_has_every_page_the_reference_and_the_gallery_and_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, re.findall(r"^(?:WARNING|ERROR).*", done.stderr, re.MULTILINE)) == (0, []), done.stderr
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for page in map(Path, listed.splitlines()):
        name = "index.html" if page.name == "README.md" else f"{page.stem}.html"
        assert (tmp_path / page.parent / name).is_file(), page
    for page in GALLERY:
        assert (tmp_path / page.relative_to(ROOT)).read_bytes() == page.read_bytes()
    reference = (tmp_path / "docs" / "api.html").read_text(encoding="utf-8")
    assert "Run a sweep, or continue it where it stopped" in reference
    assert {"sweeper.api.launch", "sweeper.api.Sweep.compare", "sweeper.errors.SpecError"} <= set(
        re.findall(r'id="(sweeper[\w.]+)"', reference)
    )


def test_the_gallery_says_what_made_each_page_and_all_are_small() -> None:
    text = (ROOT / "docs" / "gallery" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(([\w-]+\.html)\)", text) == [
        "quickstart.html",
        "m-height-small.html",
        "schedules-small.html",
    ]
    assert sum(page.stat().st_size for page in GALLERY) < 5_000_000
    for page in GALLERY:
        content = page.read_text(encoding="utf-8")
        assert f"<title>{page.stem}" in content
        space = ROOT / "search_spaces" / f"{page.stem.replace('-', '_')}.yaml"
        assert f"$ sweeper launch search_spaces/{space.name} --here\n" in text
        assert not re.search(r"/(?:home|root|tmp|usr|Users|work)/", content)
    assert [page.name for page in GALLERY] == ["m-height-small.html", "quickstart.html", "schedules-small.html"]
