"""Colour: as the option says, then NO_COLOR, then FORCE_COLOR, then the terminal; a pipe has no live display."""

import sys

import pytest
from rich.text import Text

from sweeper.cli import main as cli
from sweeper.cli import terminal
from sweeper.cli.terminal import Color


@pytest.mark.parametrize(
    ("color", "set_to", "is_terminal", "colored"),
    [
        ("auto", {}, False, False),
        ("auto", {}, True, True),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour(
    color: Color,
    set_to: dict[str, str],
    *,
    is_terminal: bool,
    colored: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    console = terminal.console(color)
    console.print(Text("red", style="red"))
    assert ("\x1b[31m" in capsys.readouterr().out) == colored
    assert console.is_terminal == is_terminal, "a pipe in colour is no terminal: no live display in a log file"


def test_the_option_comes_before_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "out", terminal.out)
    monkeypatch.setattr(terminal, "err", terminal.err)
    assert cli.run(["--color", "always", "schema"]) == 0
    assert terminal.out.color_system == "256"
    assert cli.run(["--color", "blue", "schema"]) == 2
    assert "--color" in capsys.readouterr().err
