"""Which files the site has: every page of the repository, and what these link to, at their paths. A hook of MkDocs."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\(([^)#:\s]+)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by those of the site: README.md becomes its front page, and docs/ one folder of it."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    ours = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in sorted(set(_paths()))]
    return Files([*theme, *ours])


def _paths() -> Iterator[str]:
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    for page in subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        yield page
        for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            target = (ROOT / page).parent.joinpath(link).resolve()
            if target.is_file():
                yield target.relative_to(ROOT).as_posix()
