"""Looks at sweeps from outside: whether one runs, where, how far it is; and asks it to stop.

What a launch says of itself is in its heartbeat. Whether it lives shows in the folder's lock, on its own machine, and
everywhere in whether the heartbeat changes: clocks of two machines may disagree, so that one which seems dead by its
clock is looked at for a while.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweeper.errors import UserError
from sweeper.folder.address import in_store
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import ask_to_stop, is_running
from sweeper.monitor import heartbeat, panel
from sweeper.monitor.heartbeat import Heartbeat

if TYPE_CHECKING:
    from sweeper.report.live import Board

State = Literal["running here", "running elsewhere", "dead", "ended", "not running"]
Say = Callable[[str], object]
SILENT = 15.0
"""Seconds without a heartbeat after which a launch is taken for dead; more where heartbeats come seldom."""
_SLOW = 3.0
"""Heartbeats that may fail to come."""
_EVERY, _EVERY_IN_STORE = 0.5, 2.0
_QUIET = 60.0


@dataclass(frozen=True)
class Status:
    """What can be seen of a sweep from outside.

    Attributes:
        sweep: what it was called by.
        folder: the sweep's, or that of a local copy.
        state: `not running` where no launch has said anything.
        silent: seconds since the last sign of life; None without one.
        heartbeat: that sign.
    """

    sweep: str
    folder: Path
    state: State
    silent: float | None
    heartbeat: Heartbeat | None

    @property
    def running(self) -> bool:
        """Whether a launch runs it."""
        return self.state in ("running here", "running elsewhere")


class Watcher:
    """Looks at one sweep again and again.

    Args:
        called: the sweep's name, folder or address.
    """

    def __init__(self, called: str):
        self._called = called
        self._last: Heartbeat | None = None
        self._heard: float | None = None

    def look(self) -> Status:
        """Look once.

        Raises:
            UserError: there is no such sweep, or it cannot be read.
        """
        folder = find_sweep(self._called)
        found = heartbeat.read(folder)
        now = time.monotonic()
        if found is None:
            silent = None
        elif self._last is not None and (found.launch, found.at) != (self._last.launch, self._last.at):
            self._heard, silent = now, 0.0
        elif self._heard is not None:
            silent = now - self._heard
        else:
            silent = abs((datetime.now(UTC) - found.at).total_seconds())
        self._last = found
        return Status(self._called, folder.root, _state(folder, found, silent or 0.0), silent, found)

    def judge(self) -> Status:
        """Look, and for a while longer at one on another machine that seems dead."""
        found = self.look()
        beat = found.heartbeat
        if found.state == "dead" and beat is not None and beat.host != platform.node():
            until = time.monotonic() + 2 * beat.every
            while found.state == "dead" and time.monotonic() < until:
                time.sleep(_EVERY)
                found = self.look()
        return found

    def pause(self) -> None:
        """Wait until it is worth while to look again."""
        time.sleep(_EVERY_IN_STORE if in_store(self._called) else _EVERY)


def status(called: str) -> Status:
    """What can be seen of a sweep from outside.

    Args:
        called: its name in `results/`, its folder, or its address in an object store.

    Raises:
        UserError: there is no such sweep, or it cannot be read.
    """
    return Watcher(called).judge()


def watch(called: str, console: Console) -> None:
    """Show a running sweep until it ends, or until Ctrl-C, which leaves it alone; in plain lines when piped.

    Raises:
        UserError: there is no such sweep, or it cannot be read.
    """
    try:
        if console.is_terminal:
            _watch_live(Watcher(called), console)
        else:
            _watch_in_lines(Watcher(called), console)
    except KeyboardInterrupt:
        _print(console, f"the sweep goes on; sweeper stop {called} stops it")


def stop(called: str, *, wait: bool = True, say: Say = print) -> Status:
    """Ask the launch that runs a sweep to stop gracefully, as its first Ctrl-C does; it may be on another machine.

    Args:
        called: the sweep's name, folder or address.
        wait: whether to return only when it has ended.
        say: is told what happens.

    Raises:
        UserError: no launch runs it, or it cannot be asked.
    """
    watcher = Watcher(called)
    found = watcher.judge()
    beat = found.heartbeat
    if not found.running:
        raise UserError(f"there is nothing to stop: {sentence(found)}")
    if beat is None or beat.ended:
        raise UserError(f"{called}: its launch is only just beginning; ask again in a few seconds")
    ask_to_stop(called if in_store(called) else str(found.folder), heartbeat.request(beat.launch))
    say(f"asked the launch on {beat.host} (process {beat.pid}) to stop")
    if not wait:
        return found
    training = -1
    while found.running and found.heartbeat is not None and found.heartbeat.launch == beat.launch:
        if len(found.heartbeat.standing.running) != training and not found.heartbeat.ended:
            training = len(found.heartbeat.standing.running)
            say(f"{training} in training" if training else "putting everything in order")
        watcher.pause()
        found = watcher.look()
    say(sentence(found))
    return found


def sentence(found: Status) -> str:
    """Whether a sweep runs, where, and what to do when it does not."""
    beat, goes_on = found.heartbeat, f"sweeper resume {found.sweep} continues it"
    if beat is None:
        return f"{found.sweep}: {found.state}" if found.running else f"{found.sweep}: not running; {goes_on}"
    who, ago = f"process {beat.pid}", f"last heard of {panel.duration(found.silent)} ago"
    match found.state:
        case "running here":
            return f"{found.sweep}: running here ({who})"
        case "running elsewhere":
            return f"{found.sweep}: running on {beat.host} ({who}), {ago}"
        case "dead":
            return f"{found.sweep}: dead, its launch on {beat.host} ({who}) was {ago} and said no goodbye; {goes_on}"
    more = "" if beat.ended == "finished" else f"; {goes_on}"
    return f"{found.sweep}: ended {beat.at:%Y-%m-%d %H:%M} UTC on {beat.host}, {beat.ended}{more}"


def render(found: Status) -> RenderableType:
    """The sentence and how far the sweep is, for people."""
    standing = [] if found.heartbeat is None else [panel.render(found.heartbeat.standing)]
    return Group(Text(sentence(found)), *standing)


def _state(folder: SweepFolder, beat: Heartbeat | None, silent: float) -> State:
    here = platform.node()
    fresh = beat is not None and not beat.ended and silent <= max(SILENT, _SLOW * beat.every)
    if is_running(folder):
        return "running elsewhere" if fresh and beat is not None and beat.host != here else "running here"
    if beat is None:
        return "not running"
    if beat.ended:
        return "ended"
    if not fresh or (beat.host == here and not _exists(beat.pid)):
        return "dead"
    return "running here" if beat.host == here else "running elsewhere"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _board() -> "Board":
    from sweeper.report.live import Board  # noqa: PLC0415  # scipy takes seconds to import, and a status needs none

    return Board()


def _watch_live(watcher: Watcher, console: Console) -> None:
    board = _board()
    found = watcher.judge()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Group(render(found), Text(), board.render(SweepFolder(found.folder), console)), refresh=True)
            if not found.running:
                return
            watcher.pause()
            found = watcher.look()


def _watch_in_lines(watcher: Watcher, console: Console) -> None:
    found = watcher.judge()
    told, quiet_since = "", 0.0
    while found.running:
        if found.heartbeat is not None and not found.heartbeat.ended:
            standing = found.heartbeat.standing
            if panel.counted(standing) != told or time.monotonic() - quiet_since > _QUIET:
                _print(console, panel.line(standing))
                told, quiet_since = panel.counted(standing), time.monotonic()
        watcher.pause()
        found = watcher.look()
    console.print(render(found), soft_wrap=True)
    console.print(_board().render(SweepFolder(found.folder), console))


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
