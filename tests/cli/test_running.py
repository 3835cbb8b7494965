"""The commands that look at a running sweep and stop it: what they print, and their exit codes."""

import json
import os
import re
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.cli import terminal
from sweeper.cli.main import run
from sweeper.monitor import heartbeat
from tests.fakes.ctrl_c import ctrl_c
from tests.fakes.launches import in_training, launched


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.1)


def test_status_says_it_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with launched(tmp_path) as running:
        in_training(running)
        assert run(["status", running.address]) == 0
        words = capsys.readouterr().out
        assert run(["status", running.address, "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
    assert words.startswith(f"{running.address}: running here (process {os.getpid()})\nmade-up  1/3 trials finished")
    assert data["state"] == "running here"
    assert data["heartbeat"]["progress"]["running"][0]["number"] == 1
    assert data["heartbeat"]["ended"] == ""


@pytest.mark.slow
def test_stop_waits_for_the_end_and_the_launch_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with launched(tmp_path) as running:
        in_training(running)
        assert run(["stop", running.address]) == 0
        running.join()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("sent a stop request to the launch on ")
    assert said[-1].endswith(f"stopped: sweeper stop; sweeper resume {running.address} continues it")
    assert run(["stop", running.address]) == 2
    assert "nothing to stop: " in capsys.readouterr().err


@pytest.mark.slow
def test_watch_web_serves_the_page_until_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, pages = StringIO(), list[str]()
    monkeypatch.setattr(terminal, "out", Console(file=said, width=300))

    def looked_at() -> bool:
        url = re.match(r"http://127\.0\.0\.1:(\d+)/ shows ", said.getvalue())
        if url is not None:
            asking = HTTPConnection("127.0.0.1", int(url[1]), timeout=20)
            asking.request("GET", "/")
            pages.append(asking.getresponse().read().decode())
            asking.close()
        return url is not None

    with launched(tmp_path) as running:
        in_training(running)
        with ctrl_c(looked_at):
            assert run(["watch", running.address, "--web"]) == 0
        assert "1/3 trials finished" in pages[0]
        assert said.getvalue().splitlines()[-1] == "the page is closed; the sweep was not stopped"
        assert run(["status", running.address]) == 0
    running.join()
