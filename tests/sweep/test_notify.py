"""Who is notified of the end of a sweep, and of a stall: by a program, and by a server on loopback."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.config.loading import load
from sweeper.config.model import Notify
from sweeper.errors import SpecError, SweepFailed, UserError
from sweeper.sweep import notify
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.launches import wait_for
from tests.fakes.sweeps import QUESTION
from tests.fakes.training import always, fails, learns

SECRET = "T024-secret"


class Server(HTTPServer):
    """Keeps what is posted to it, and answers with a status."""

    posted: list[tuple[str, dict[str, Any]]]
    status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.server.posted.append((self.path, json.loads(content)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, whose address is in SWEEPER_WEBHOOK."""
    with Server(("127.0.0.1", 0), _Handler) as made:
        made.posted = []
        threading.Thread(target=made.serve_forever, daemon=True).start()
        monkeypatch.setenv("SWEEPER_WEBHOOK", f"http://127.0.0.1:{made.server_port}/{SECRET}")
        yield made
        made.shutdown()


def run(root: Path, section: dict[str, Any], train: Train) -> str:
    """Launch a sweep of two trials. Returns what it printed."""
    space, printed = root / "space.yaml", StringIO()
    changes = {"notify": section, "results": str(root / "results"), "budget": {"trials": 2}}
    space.write_text(json.dumps(QUESTION | changes))
    console = Console(file=printed, width=300)
    try:
        launch(space, None, LaunchOptions(where="here", console=console, train=train))
    finally:
        assert SECRET not in printed.getvalue()
        for file in (root / "results" / "made-up").glob("*.*"):
            assert SECRET.encode() not in (file.read_bytes() if file.is_file() else b"")
    return printed.getvalue()


def test_the_end_is_posted_with_the_best_trial_and_given_to_the_command(server: Server, tmp_path: Path) -> None:
    note = tmp_path / "note"
    program = "import sys; open(sys.argv[1], 'w').write(sys.argv[2] + '\\n' + sys.stdin.read())"
    command = [sys.executable, "-c", program, str(note), "sweep: {text}"]
    run(tmp_path, {"webhook": "SWEEPER_WEBHOOK", "command": command}, learns(always(20)))
    ((path, message),) = server.posted
    results = tmp_path / "results" / "made-up"
    text = (
        f"made-up: finished; 2 trials in this launch; the best of the sweep is trial 0, mean 20; results in {results}"
    )
    assert path == f"/{SECRET}"
    assert message["text"] == text
    assert {name: message[name] for name in ("event", "sweep", "what", "trials", "failed", "best")} == {
        "event": "ended",
        "sweep": "made-up",
        "what": "finished",
        "trials": 2,
        "failed": 0,
        "best": 0,
    }
    first, second = note.read_text().splitlines()
    assert first == f"sweep: {text}" and json.loads(second) == message


def test_a_failure_and_a_stop_are_ends_too(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SweepFailed):
        run(tmp_path, {"webhook": "SWEEPER_WEBHOOK"}, fails)
    assert server.posted[0][1]["what"].startswith("failed: every trial failed")

    def interrupted(assignment: Assignment) -> Iterator[Chunk]:
        yield from learns(always(20))(assignment)
        raise KeyboardInterrupt

    (tmp_path / "second").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "second", {"webhook": "SWEEPER_WEBHOOK"}, interrupted)
    assert server.posted[1][1]["what"] == "stopped: interrupted"


def test_a_stall_is_notified_once_and_again_after_progress(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_MINUTE_S", 0.1)
    board, done = Scoreboard(), threading.Event()
    sender = notify._Sender(Notify(webhook="SWEEPER_WEBHOOK", stalls_after=1), "made-up", "results/made-up", board)
    watch = threading.Thread(target=notify._watch, args=(sender, pytest.fail, done))
    watch.start()
    try:
        time.sleep(0.3)
        assert server.posted == [], "nothing trains yet"
        board.live[0] = None  # type: ignore[assignment]  # any trial
        for count in (1, 2):
            wait_for(lambda count=count: len(server.posted) == count)
            time.sleep(0.3)
            assert len(server.posted) == count, "once"
            board.steps_trained += 10
        wait_for(lambda: len(server.posted) == 3)
        board.steps_trained += 10
        del board.live[0]
        time.sleep(0.3)
    finally:
        done.set()
        watch.join()
    assert {message["event"] for _, message in server.posted[:3]} == {"stalled"}
    assert server.posted[0][1]["text"] == (
        "made-up: stalled: no evaluation for 1 min; 0 trials in this launch; results in results/made-up"
    )


def test_what_cannot_be_sent_is_said_without_the_address_and_harms_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 500
    command = [sys.executable, "-c", "import sys; sys.exit('no display')"]
    printed = run(tmp_path, {"webhook": "SWEEPER_WEBHOOK", "command": command}, learns(always(20)))
    said = f"notify.command: {sys.executable} ended with exit code 1: no display; the sweep is not affected"
    assert said in printed
    assert "notify.webhook: the server of SWEEPER_WEBHOOK answered 500; the sweep is not affected" in printed
    monkeypatch.setenv("SWEEPER_WEBHOOK", f"http://127.0.0.1:9/{SECRET}")
    (problem,) = notify.send(Notify(webhook="SWEEPER_WEBHOOK"), {"text": ""})
    assert "the server of SWEEPER_WEBHOOK was not reached" in problem and SECRET not in problem
    monkeypatch.setattr(notify, "_PATIENCE_S", 0.2)
    (problem,) = notify.send(Notify(command=[sys.executable, "-c", "import time; time.sleep(9)"]), {"text": ""})
    assert "took more than 0.2 seconds and was ended" in problem


def test_what_cannot_be_sent_ever_is_refused_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWEEPER_WEBHOOK", raising=False)
    for section, said in (
        ({"webhook": "SWEEPER_WEBHOOK"}, "the environment variable SWEEPER_WEBHOOK is not set"),
        ({"command": ["no-such-program-here"]}, "no-such-program-here is not installed here"),
    ):
        with pytest.raises(UserError, match=said):
            run(tmp_path, section, fails)
    monkeypatch.setenv("SWEEPER_WEBHOOK", "file:///etc/passwd")
    with pytest.raises(UserError, match="holds no URL"):
        run(tmp_path, {"webhook": "SWEEPER_WEBHOOK"}, fails)
    space = tmp_path / "space.yaml"
    for section, said in (
        ({"webhook": f"https://hooks.example/{SECRET}"}, "not the name of an environment variable"),
        ({}, "give command, webhook or both"),
    ):
        space.write_text(json.dumps(QUESTION | {"notify": section}))
        with pytest.raises(SpecError) as refused:
            load(space)
        assert said in str(refused.value) and SECRET not in str(refused.value)


def test_a_launch_that_never_trained_notifies_nobody(server: Server, tmp_path: Path) -> None:
    run(tmp_path, {"webhook": "SWEEPER_WEBHOOK"}, learns(always(20)))
    space = tmp_path / "space.yaml"
    space.write_text(space.read_text().replace('"horizon": 100', '"horizon": 90'))
    with pytest.raises(UserError, match="is not what"):
        launch(space, None, LaunchOptions(where="here", console=Console(file=StringIO()), train=fails))
    assert len(server.posted) == 1
