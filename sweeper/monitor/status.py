"""Observe sweeps from another process: whether one runs, where, its progress; and request that it stops.

On the machine of the launch, the folder's lock tells whether it runs; elsewhere, only a changing heartbeat does. The
clocks of two machines may disagree, so a launch that seems dead by its clock is observed for a while.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweeper.errors import UserError, plural
from sweeper.folder.address import in_store
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import is_running, request_stop
from sweeper.monitor import heartbeat, panel
from sweeper.monitor.heartbeat import Heartbeat, Progress
from sweeper.monitor.tables import Tables
from sweeper.report.lines import say as say_on

if TYPE_CHECKING:
    from sweeper.report.live import Board

State = Literal["running here", "running elsewhere", "dead", "ended", "not running"]
Word = Literal["running", "finished", "stopped", "failed", "dead", "not finished"]
"""How a sweep is, in one word or two."""
Say = Callable[[str], object]
SILENT = 15.0
"""Seconds without a heartbeat after which a launch counts as dead; more if heartbeats are rare."""
_SLOW = 3.0
"""Heartbeats that may be missed."""
_EVERY, _EVERY_IN_STORE = 0.5, 2.0
_QUIET = 60.0


@dataclass(frozen=True)
class Status:
    """The state of a sweep as another process sees it.

    Attributes:
        sweep: the name, folder or address given by the user.
        folder: the sweep's folder, or a local copy.
        state: `not running` if there is no heartbeat.
        silent: seconds since the last heartbeat; None if there is none.
        heartbeat: the last one.
        progress: that of the heartbeat, unless the tables know better; None if neither can be read.
        done: whether nothing is left to train, by the tables.
        unreadable: what is wrong with the heartbeat's file, if there is one that cannot be read; otherwise empty.
    """

    sweep: str
    folder: Path
    state: State
    silent: float | None
    heartbeat: Heartbeat | None
    progress: Progress | None = None
    done: bool = False
    unreadable: str = ""

    @property
    def running(self) -> bool:
        """Whether a launch is running the sweep."""
        return self.state in ("running here", "running elsewhere")

    @property
    def word(self) -> Word:
        """The state as lists show it."""
        return word_of(self.state, self.heartbeat, self.done)


class Watcher:
    """Observes one sweep over time.

    Args:
        sweep: its name, folder or address.
    """

    def __init__(self, sweep: str):
        self._sweep = sweep
        self._last: Heartbeat | None = None
        self._tables = Tables()
        self._changed_at: float | None = None

    def look(self) -> Status:
        """Observe once.

        Raises:
            UserError: there is no such sweep, or it cannot be read.
        """
        folder = find_sweep(self._sweep)
        found = heartbeat.read(folder)
        now = time.monotonic()
        if found is None:
            silent = None
        elif self._last is not None and (found.launch, found.at) != (self._last.launch, self._last.at):
            self._changed_at, silent = now, 0.0
        elif self._changed_at is not None:
            silent = now - self._changed_at
        else:
            silent = _by_our_clock(found)
        self._last = found
        state = _state(folder, found, silent or 0.0)
        progress, done = self._progress(folder, found, state)
        unreadable = ""
        if found is None and os.path.lexists(folder.status):
            unreadable = f"{folder.status} cannot be read; the next launch writes it anew"
        return Status(self._sweep, folder.root, state, silent, found, progress, done, unreadable)

    def _progress(self, folder: SweepFolder, found: Heartbeat | None, state: State) -> tuple[Progress | None, bool]:
        """The progress, and whether nothing is left to train."""
        told = None if found is None else replace(found.progress, name=folder.root.name)
        if told is not None and state in ("running here", "running elsewhere"):
            return told, False
        if told is not None:
            told = replace(told, running=(), remaining=None, least=None, most=None)
        try:
            found_there = self._tables.read(folder)
        except UserError:
            return told, False
        kept, done = found_there.progress, found_there.done
        # A killed launch may have shown trials that its tables lack until the next launch puts them there.
        if told is None or kept.finished + kept.confirmed >= told.finished + told.confirmed:
            return kept if told is None else replace(kept, notice=told.notice), done
        return told, done

    def judge(self) -> Status:
        """Observe once, or for a while if a launch on another machine seems dead."""
        found = self.look()
        beat = found.heartbeat
        if found.state == "dead" and beat is not None and beat.host != platform.node():
            until = time.monotonic() + 2 * beat.every
            while found.state == "dead" and time.monotonic() < until:
                time.sleep(_EVERY)
                found = self.look()
        return found

    def pause(self) -> None:
        """Wait until the next observation is due."""
        time.sleep(_EVERY_IN_STORE if in_store(self._sweep) else _EVERY)


def status(sweep: str) -> Status:
    """The state of a sweep.

    Args:
        sweep: its name in `results/`, its folder, or its address in an object store.

    Raises:
        UserError: there is no such sweep, or it cannot be read.
    """
    return Watcher(sweep).judge()


def watch(sweep: str, console: Console) -> None:
    """Show a running sweep until it ends or until Ctrl-C, which does not stop it; in plain lines when piped.

    Raises:
        UserError: there is no such sweep, or it cannot be read.
    """
    try:
        if console.is_terminal:
            _watch_live(Watcher(sweep), console)
        else:
            _watch_in_lines(Watcher(sweep), console)
    except KeyboardInterrupt:
        say_on(console, f"the sweep goes on; sweeper stop {sweep} stops it")


def stop(sweep: str, *, wait: bool = True, say: Say = print) -> Status:
    """Request that a sweep stops gracefully, as the first Ctrl-C does; its launch may be on another machine.

    Args:
        sweep: its name, folder or address.
        wait: whether to return only when the launch has ended.
        say: receives messages for the user.

    Raises:
        UserError: no launch runs it, or the request cannot be written.
    """
    watcher = Watcher(sweep)
    found = watcher.judge()
    beat = found.heartbeat
    if not found.running:
        raise UserError(f"nothing to stop: {sentence(found)}")
    if beat is None or beat.ended:
        raise UserError(f"{sweep}: its launch is starting; try again in a few seconds")
    request_stop(sweep if in_store(sweep) else str(found.folder), heartbeat.request(beat.launch))
    say(f"sent a stop request to the launch on {beat.host} (process {beat.pid})")
    if not wait:
        return found
    training = -1
    while found.running and found.heartbeat is not None and found.heartbeat.launch == beat.launch:
        if len(found.heartbeat.progress.running) != training and not found.heartbeat.ended:
            training = len(found.heartbeat.progress.running)
            say(f"{plural(training, 'trial')} in training" if training else "writing final results")
        watcher.pause()
        found = watcher.look()
    say(sentence(found))
    return found


def sentence(found: Status) -> str:
    """The state of a sweep in words, with the command that continues it if it has not finished."""
    beat, resume = found.heartbeat, f"; sweeper resume {found.sweep} continues it"
    if beat is None:
        rest = "" if found.running else ", finished" if found.done else resume
        return f"{found.sweep}: {found.state}{rest}"
    process, ago = f"process {beat.pid}", f"last heartbeat {panel.duration(found.silent)} ago"
    match found.state:
        case "running here":
            return f"{found.sweep}: running here ({process})"
        case "running elsewhere":
            return f"{found.sweep}: running on {beat.host} ({process}), {ago}"
        case "dead":
            launch = f"the launch on {beat.host} ({process})"
            return f"{found.sweep}: dead: {launch} ended without reporting, {ago}{resume}"
    more = "" if beat.ended.startswith("finished") else resume
    return f"{found.sweep}: ended {beat.at:%Y-%m-%d %H:%M} UTC on {beat.host}, {beat.ended}{more}"


def render(found: Status) -> RenderableType:
    """The sentence and the progress, for people."""
    parts: list[RenderableType] = [Text(sentence(found))]
    if found.unreadable:
        parts.append(Text(found.unreadable, style="yellow"))
    if found.progress is not None:
        parts.append(panel.render(found.progress, runs_now=found.running))
    return Group(*parts)


def state_of(folder: SweepFolder) -> tuple[State, Heartbeat | None]:
    """The state of a sweep at one look, by the clock of this machine, and its last heartbeat."""
    beat = heartbeat.read(folder)
    return _state(folder, beat, 0.0 if beat is None else _by_our_clock(beat)), beat


def word_of(state: State, beat: Heartbeat | None, done: bool) -> Word:
    """The state as lists show it; `done` says whether nothing is left to train."""
    ended = "" if beat is None else beat.ended.partition(":")[0]
    if state in ("running here", "running elsewhere"):
        return "running"
    if state == "dead":
        return "dead"
    if ended == "failed":
        return "failed"
    if ended == "finished" or done:
        return "finished"
    return "stopped" if ended == "stopped" else "not finished"


def _by_our_clock(beat: Heartbeat) -> float:
    return abs((datetime.now(UTC) - beat.at).total_seconds())


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
    from sweeper.report.live import Board  # noqa: PLC0415  # it imports DuckDB; status needs none

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
    printed, printed_at = "", 0.0
    while found.running:
        if found.heartbeat is not None and not found.heartbeat.ended:
            progress = found.heartbeat.progress
            if panel.counts(progress) != printed or time.monotonic() - printed_at > _QUIET:
                say_on(console, panel.line(progress))
                printed, printed_at = panel.counts(progress), time.monotonic()
        watcher.pause()
        found = watcher.look()
    console.print(render(found), soft_wrap=True)
    console.print(_board().render(SweepFolder(found.folder), console))
