"""Notifies a person, by a command or a webhook, when a sweep ends or makes no progress."""

import json
import os
import platform
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sweeper.config.model import Notify, SweepSpec
from sweeper.errors import Interrupted, UserError, plural
from sweeper.folder.background import Background
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.scoreboard import Scoreboard

TEXT = "{text}"
"""In an argument of `notify.command`: the message."""
_PATIENCE_S = 10.0
_MINUTE_S = 60.0
_LONGEST_LOOK_S = 5.0
Say = Callable[[str], object]


@contextmanager
def notifying(spec: SweepSpec, address: str, board: Scoreboard, broadcast: Broadcast, say: Say) -> Iterator[None]:
    """Within the block a sweep runs; when training has begun, its end is notified, and every time that it stalls.

    A notification that fails is reported to the user and harms nothing.

    Args:
        spec: the sweep; nothing happens without `notify`.
        address: of its results.
        board, broadcast: of the launch.
        say: prints a line at the end.

    Raises:
        UserError: the command is not installed, or the variable of the webhook holds no URL.
    """
    if spec.notify is None:
        yield
        return
    check(spec.notify)
    sender, done = _Sender(spec.notify, spec.name, address, board), threading.Event()
    watch = Background(_watch, sender, broadcast.notice, done, name="notify")
    watch.start()
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        done.set()
        watch.join()
        if board.begun:
            sender.send("ended", _how(error, broadcast.stopping), say)


def check(notify: Notify) -> None:
    """Check, before a sweep starts, that notifications can be sent.

    Raises:
        UserError: the command is not installed, or the variable of the webhook holds no URL.
    """
    if notify.command and shutil.which(notify.command[0]) is None:
        raise UserError(
            f"notify.command: {notify.command[0]} is not installed here; give a program on PATH, or its path"
        )
    if notify.webhook is not None:
        url = os.environ.get(notify.webhook)
        if url is None or not url.startswith(("https://", "http://")):
            got = "is not set" if url is None else "holds no URL"
            raise UserError(
                f"notify.webhook: the environment variable {notify.webhook} {got}; give it one that begins with https://"
            )


def send(notify: Notify, message: dict[str, Any]) -> list[str]:
    """Send a message. Returns a sentence about each way that failed; the URL is in none."""
    problems = []
    if notify.command:
        problems.append(_run(notify.command, message))
    if notify.webhook is not None:
        problems.append(_post(notify.webhook, message))
    return [f"notify.{problem}; the sweep is not affected" for problem in problems if problem]


def _run(command: list[str], message: dict[str, Any]) -> str:
    """Run the command with the message as JSON on its standard input. Returns why that failed."""
    arguments = [each.replace(TEXT, message["text"]) for each in command]
    try:
        done = subprocess.run(
            arguments,
            input=json.dumps(message),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"command: {command[0]} took more than {_PATIENCE_S:g} seconds and was ended"
    except (OSError, ValueError) as error:
        return f"command: {command[0]} could not be run ({error})"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"command: {command[0]} ended with exit code {done.returncode}" + (f": {said[-1][:200]}" if said else "")


def _post(variable: str, message: dict[str, Any]) -> str:
    """Post the message as JSON. Returns why that failed."""
    headers = {"Content-Type": "application/json", "User-Agent": "sweeper"}
    try:
        request = urllib.request.Request(os.environ.get(variable, ""), json.dumps(message).encode(), headers)
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"webhook: the server of {variable} answered {error.code}"
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        return f"webhook: the server of {variable} was not reached ({why})"


@dataclass(frozen=True)
class _Sender:
    """Sends messages about one launch."""

    notify: Notify
    name: str
    address: str
    board: Scoreboard

    def send(self, event: str, what: str, complain: Say) -> None:
        """Send what has happened; `complain` takes a sentence about each way that failed."""
        for problem in send(self.notify, _message(event, what, self.name, self.address, self.board)):
            complain(problem)


def _watch(sender: _Sender, complain: Say, done: threading.Event) -> None:
    """Notify once every time that trials train, and no evaluation has come for `stalls_after` minutes."""
    minutes, board = sender.notify.stalls_after, sender.board
    patience = minutes * _MINUTE_S
    seen, since, notified = -1, time.monotonic(), False
    while not done.wait(min(_LONGEST_LOOK_S, patience / 4)):
        steps = board.steps_trained
        if steps != seen or not board.live:
            seen, since, notified = steps, time.monotonic(), False
        elif not notified and time.monotonic() - since >= patience:
            notified = True
            sender.send("stalled", f"stalled: no evaluation for {minutes:g} min", complain)


def _how(error: BaseException | None, stopping: str) -> str:
    """How a launch ended, in words."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return f"stopped: {stopping or 'interrupted'}"
    if error is not None:
        return f"failed: {str(error).strip().partition(chr(10))[0][:300] or type(error).__name__}"
    return f"stopped: {stopping}" if stopping else "finished"


def _message(event: str, what: str, name: str, address: str, board: Scoreboard) -> dict[str, Any]:
    """A message as plain data; `text` says all of it in a sentence."""
    tally, best = board.tally, board.totals.best
    found = f"; the best of the sweep is trial {best.number}, mean {best.mean:,.0f}" if best else ""
    return {
        "text": f"{name}: {what}; {plural(tally.trials, 'trial')} in this launch{found}; results in {address}",
        "event": event,
        "sweep": name,
        "what": what,
        "trials": tally.trials,
        "failed": tally.failed,
        "best": None if best is None else best.number,
        "results": address,
        "host": platform.node(),
    }
