"""What the README says a user can type works, on a sweep of the size that it speaks of."""

import re
import shlex
from pathlib import Path

import pytest

import sweeper
from sweeper.cli import main as cli
from sweeper.config.loading import load
from sweeper.errors import SpecError
from tests.fakes.sweeps import PUBLISHED, Sweep, train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINES = [
    shlex.split(line.removeprefix("$ "), comments=True)
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
    if line.startswith("$ ")
]
COMMANDS = [words[1:] for words in LINES if words[0] == "sweeper"]
TRAINS = {"launch", "resume"}
"""Tested elsewhere, at length."""
PROGRAMS = [block for language, block in BLOCKS if language == "python"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 24 trials in results/quickstart, and a space.yaml."""
    sweep = Sweep(tmp_path)
    sweep.changes = {
        "search": {"depth": {"int": [1, 4]}, "heads": {"choice": [1, 2, 4]}, "weight_decay": {"choice": [0.5, 1.0]}},
        "baselines": {"constant-128": PUBLISHED},
        "confirm": {"top": 2, "replicates": 6},
        "budget": {"trials": 24},
    }
    sweep.launch(train)
    sweep.folder.root.rename(tmp_path / "results" / "quickstart")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_is_a_front_page() -> None:
    assert len(README.splitlines()) <= 120


def test_the_example_of_the_key_reference_is_valid_and_its_mistakes_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "search_spaces" / "README.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    space = Path("space.yaml")
    space.write_text(example)
    assert load(space).spec.budget.trials == 200
    space.write_text(example.replace("replicates: 3}", "replicats: 3}").replace("[0.01, 0.1]", "[1e-2, 0.1]"))
    (printed,) = re.findall(r"^\$ sweeper check space.yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    with pytest.raises(SpecError) as refused:
        load(space)
    for shown, line in zip(printed.splitlines(), str(refused.value).splitlines(), strict=True):
        assert line.startswith(shown.removesuffix(" ..."))


def test_every_command_of_the_readme_is_one_of_ours() -> None:
    wheels = {name for words in LINES for name in words if name.endswith(".whl")}
    assert wheels == {f"dist/grokking_sweeper-{sweeper.__version__}-py3-none-any.whl"}
    assert {words[0] for words in COMMANDS} <= set(cli.COMMANDS)
    assert {words[0] for words in LINES} == {
        "sweeper",
        "make",
        "pip",
        "uvx",
    }


@pytest.mark.slow
def test_commands_that_read_and_check_do_what_the_readme_says(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (home / "space.yaml").unlink()
    for words in COMMANDS:
        if words[0] not in TRAINS:
            expected = 2 if "NAME" in words else 0
            assert cli.run([*words]) == expected, (words, capfd.readouterr())
    assert cli.run(["top", "quickstart"]) == 0
    shown = capfd.readouterr().out.splitlines()
    (heading,) = {
        " ".join(line.split()[:8]) for line in README.splitlines() if line.split()[:2] == ["trial", "reached"]
    }
    assert [line for line in shown if " ".join(line.split()[:8]) == heading], (heading, shown)


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_the_programs_of_the_readme_run() -> None:
    assert PROGRAMS
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), {})
