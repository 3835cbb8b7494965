"""Provenance of results: commit and uncommitted diff, versions, host, command."""

import getpass
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sweeper import __version__
from sweeper.errors import UserError, damaged
from sweeper.folder.layout import SweepFolder

PACKAGES = ("torch", "ray", "optuna", "numpy", "pandas", "pyarrow", "duckdb", "pydantic")
"""Other packages that results depend on, by their names on registries."""
_LONGEST_DIFF = 1_000_000
_PACKAGE = Path(__file__).parent.parent
_FOLDERS = ("space", "stats", "tasks", "training")
"""Folders of the package in which everything lies that decides how a configuration trains, what is made of its curve
and which value the sampler gets; beside them only trial.py. docs/decisions/0016-folders-that-decide.md has the reasons.
"""

_IMPORTED: dict[type, str] = {}
"""Class of a user's own task -> hash of its file when a launch of this process first looked at it."""


def collect(space: Path, own: type) -> dict[str, Any]:
    """Facts about this launch, as plain data.

    Args:
        space: its space.yaml.
        own: the class of its task.

    `sweeper` and `space` tell the commit, the uncommitted diff of tracked files and the untracked files of the
    repository that holds the package and of the one that holds the space.yaml; null outside a git checkout.
    """
    return {
        "launched": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "host": platform.node(),
        "user": _user(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "code": code(own),
        "sweeper": _git(_PACKAGE),
        "space": _git(space.resolve().parent),
    }


def launches(folder: SweepFolder) -> list[dict[str, Any]]:
    """The records of all launches of a sweep, in order.

    Raises:
        UserError: the file is damaged.
    """
    if not folder.provenance.exists():
        return []
    try:
        found = json.loads(folder.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder.provenance, error) from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise damaged(folder.provenance, "not a list of launches")
    return found


def versions() -> dict[str, str | None]:
    """Versions of sweeper and of every package that results depend on; null for one that is not installed."""
    return {"sweeper": __version__} | {name: _version(name) for name in PACKAGES}


def code(own: type) -> dict[str, str]:
    """The code that outcomes depend on: file -> hash of its content, and torch's version.

    Of a user's own task it is the file of its class, and none of those that this one imports.

    Raises:
        UserError: that file has changed since an earlier launch of this process, which still runs what it imported.
    """
    inside = (path for folder in _FOLDERS for path in sorted((_PACKAGE / folder).rglob("*")))
    files = [*(path for path in inside if path.suffix in (".py", ".c")), _PACKAGE / "trial.py"]
    hashes = {path.relative_to(_PACKAGE).as_posix(): _hash(path) for path in files}
    file = getattr(sys.modules.get(own.__module__), "__file__", None)
    if file is not None and not own.__module__.startswith("sweeper."):
        hashes[own.__module__] = _imported(own, Path(file))
    return {**hashes, "torch": _version("torch") or ""}


def older_layout(recorded: Mapping[str, Any]) -> bool:
    """Whether recorded hashes are of a version whose modules lay elsewhere, so that `code` names other files.

    Such a version had modules that decide outcomes, `seeds.py` for one, beside `trial.py`.
    """
    return any(name.endswith(".py") and "/" not in name and name != "trial.py" for name in recorded)


def _imported(own: type, file: Path) -> str:
    """The hash of the file that a class was imported from. Raises UserError where the file has another by now."""
    now = _hash(file)
    if _IMPORTED.setdefault(own, now) != now:
        raise UserError(
            f"{file}: has changed since this process imported it, and its old code would train; restart the process "
            f"(the notebook's kernel), or importlib.reload({own.__module__})"
        )
    return now


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    commit = _run(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _run(folder, "diff", "HEAD") or ""
    return {
        "commit": commit.strip(),
        "diff": diff[:_LONGEST_DIFF],
        "diff_cut": len(diff) > _LONGEST_DIFF,
        "untracked": (_run(folder, "ls-files", "--others", "--exclude-standard") or "").splitlines()[:1000],
    }


def _run(folder: Path, *arguments: str) -> str | None:
    """The output of git; None without git or a repository."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
