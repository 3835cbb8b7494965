"""The distribution: what a wheel holds, that it works without the repository, and under which name it is installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import sweeper
from sweeper.environment import provenance

ROOT = Path(__file__).parent.parent
NAME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
SESSION = """
import json, sys
import sweeper
from sweeper.cli.main import run
print(sweeper.__file__)
assert [run(words) for words in json.loads(sys.argv[1])] == [0] * 4
"""
TINY = (  # the baseline alone
    "task.modulus=7",
    "objective.horizon=20",
    "search={}",
    "require=[]",
    "confirm=null",
)


def texts() -> list[Path]:
    """Every text of the repository, as git knows them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    suffixes = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cff", ""}
    found = [path for path in map(ROOT.joinpath, listed.splitlines()) if path.suffix in suffixes and path.is_file()]
    assert len(found) > 300
    return found


def build(kind: str, source: Path, out: Path) -> Path:
    """An sdist or a wheel of a source folder, as `python -m build` makes it."""
    before = set(out.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{kind}", str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = set(out.iterdir()) - before
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist: what is missing in either is missing here."""
    home = tmp_path_factory.mktemp("build")
    source = home / "source"
    shutil.copytree(ROOT / "sweeper", source / "sweeper", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.unpack_archive(build("sdist", source, home), home / "unpacked")
    (unpacked,) = (home / "unpacked").iterdir()
    return build("wheel", unpacked, home)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_the_licences(wheel: Path) -> None:
    package = ROOT / "sweeper"
    files = {
        path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
    assert {name for name in held if name.startswith("sweeper/")} == files
    assert wheel.name == f"{NAME.replace('-', '_')}-{sweeper.__version__}-py3-none-any.whl"
    licences = {name.split("/licenses/")[1] for name in held if "/licenses/" in name}
    assert licences == {"LICENSE", "sweeper/report/explorer/d3.LICENSE"}


@pytest.mark.slow
def test_the_wheel_does_the_main_job_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    venv.create(fresh, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", str(fresh), "--disable-pip-version-check", "install"]
    subprocess.run([*install, "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    (site,) = fresh.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    python, command = str(fresh / "bin" / "python"), str(fresh / "bin" / "sweeper")
    assert run(command, "--version") == f"sweeper {sweeper.__version__}\n"
    settings = [word for setting in TINY for word in ("--set", setting)]
    launch = ["launch", "space.yaml", "--here", *settings]
    commands = [["init", "space.yaml"], ["check", "space.yaml"], launch, ["report", "my-sweep"]]
    said = run(python, "-c", SESSION, json.dumps(commands))
    assert Path(said.splitlines()[0]).is_relative_to(fresh)
    assert "30, one of them a baseline" in said
    assert "my-sweep" in (tmp_path / "results" / "my-sweep" / "report" / "index.html").read_text()


def test_no_text_names_the_package_of_others_as_ours() -> None:
    stranger = re.compile(
        r"(?:pip|uv|pipx)\b[^\n`]*?\binstall\b[^\n`]*?(?<![\w./~-])sweeper(?![\w./-])|(?<![\w/-])sweeper\[\w"
    )
    allowed = {'--editable ~/"sweeper[cluster]"'}  # a path
    for path in texts():
        text = path.read_text(encoding="utf-8")
        for phrase in allowed:
            text = text.replace(phrase, "")
        assert path == Path(__file__) or stranger.search(text) is None, (path, stranger.search(text))


def test_the_extras_that_texts_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for path in texts() for extra in re.findall(rf"{NAME}\[(\w+)\]", path.read_text(encoding="utf-8"))}
    assert {"postgres", "dashboard", "tensorboard"} <= named <= set(extras)


def test_version_is_one() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    releases = re.findall(r"^## \[(\d[\d.]*)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert releases[0] == (sweeper.__version__, str(citation["date-released"]))
    assert citation["version"] == sweeper.__version__
    assert citation["license"] == "Apache-2.0"
    assert provenance.versions()["sweeper"] == sweeper.__version__


def test_pre_commit_runs_what_make_lint_runs() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [hook["entry"] for hook in local["hooks"]] == re.findall(r"\$\(BIN\)/(.*)", recipe)
