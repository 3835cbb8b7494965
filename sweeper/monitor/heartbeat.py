"""What the launch that runs a sweep is doing, as its heartbeat says it: status.json, written anew every two seconds.

A heartbeat is for people who watch. The sweep never reads it, and a disk that refuses it does no harm.
"""

import json
import os
import platform
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import from_json

from sweeper.folder.layout import SweepFolder, write_briefly

EVERY = 2.0
"""Seconds between two heartbeats, and between two looks for a request to stop."""
_LONGEST = 2**22
"""Bytes: no heartbeat is longer."""
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, le=10**15)]
_Amount = Annotated[float, Field(ge=0, le=1e12)]


@with_config(_STRICT)
@dataclass(frozen=True)
class Training:
    """A trial in training.

    Attributes:
        number: the trial's.
        phase: baseline, search or confirm.
        role: what a trial with a name is for, such as `confirm 23`; empty for the others.
        step: how far it is.
        metric: the event's metric at its last evaluation, mean over the runs; None before the first.
    """

    number: _Count
    phase: str
    role: str
    step: _Count
    metric: float | None


@with_config(_STRICT)
@dataclass(frozen=True)
class Standing:
    """How far a sweep is.

    Attributes:
        name: the sweep's.
        metric: what the event is about.
        horizon: the steps after which a run is censored.
        gone, left: seconds since the launch began, and a guess at those to come; None without one.
        finished, asked: trials of the search that have ended, those of earlier launches included, and how many are
            asked for.
        confirmed: confirmations that have ended, likewise.
        runs: outcome -> runs of this launch that ended so.
        rate: model steps a second, since the launch began.
        best: the best trial of this launch in a line; empty before there is one.
        running: trials in training, by number.
        notice: the last thing that a user should know; empty for none.
        stopping: why nothing more is started; empty while that is not so.
    """

    name: str
    metric: str = ""
    horizon: _Count = 0
    gone: _Amount = 0.0
    left: _Amount | None = None
    finished: _Count = 0
    asked: _Count | None = None
    confirmed: _Count = 0
    runs: dict[str, _Count] = field(default_factory=dict)
    rate: _Amount = 0.0
    best: str = ""
    running: tuple[Training, ...] = ()
    notice: str = ""
    stopping: str = ""


@with_config(_STRICT)
@dataclass(frozen=True)
class Heartbeat:
    """A sign of life.

    Attributes:
        launch: names the launch.
        host, pid: where it runs.
        at: when it wrote this, by its own clock.
        every: seconds after which the next one is there to read.
        standing: how far the sweep is.
        ended: how the launch ended, in words; empty while it runs.
    """

    launch: str
    host: str
    pid: _Count
    at: AwareDatetime
    every: Annotated[float, Field(gt=0, le=1e6)]
    standing: Standing
    ended: str = ""

    def text(self) -> bytes:
        """As JSON."""
        return _HEARTBEAT.dump_json(self, indent=1)

    @classmethod
    def parse(cls, content: bytes) -> "Heartbeat | None":
        """From JSON; None where it is damaged, or of another version. Control characters become question marks."""
        try:
            return _HEARTBEAT.validate_python(_printable(from_json(content, allow_inf_nan=False)))
        except (ValidationError, ValueError, RecursionError):
            return None


_HEARTBEAT = TypeAdapter(Heartbeat)
Look = Callable[[], Standing]
"""Says how far the sweep is; called from another thread."""


def read(folder: SweepFolder) -> Heartbeat | None:
    """The last sign of life of a sweep; None where there is none that can be read."""
    content = _content(folder.status)
    return None if content is None else Heartbeat.parse(content)


def request(launch: str) -> bytes:
    """What a launch stops for when it finds it in its folder; it names the launch, so that no later one does."""
    return json.dumps({"launch": launch}).encode()


class Pulse:
    """Writes the heartbeat of one launch, in a thread of its own, and looks for a request to stop.

    Args:
        folder: the sweep's, whose lock this process holds.
        look: returns how far the sweep is; called from another thread.
        stop: is called when a user requests a stop.
        every: seconds between two beats for those who read them: more than ours where they are carried to a store.
    """

    def __init__(self, folder: SweepFolder, look: Look, stop: Callable[[], object], every: float = EVERY):
        self._folder, self._look, self._stop = folder, look, stop
        now = datetime.now(UTC)
        self._last = Heartbeat(secrets.token_hex(8), platform.node(), os.getpid(), now, every, look())
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)

    def __enter__(self) -> "Pulse":
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._beat()
        ended = _ending(error, self._last.standing)
        standing = replace(self._last.standing, running=(), left=0.0, stopping="")
        self._last = replace(self._last, standing=standing, ended=ended)
        self._write()

    def _live(self) -> None:
        while not self._done.wait(EVERY):
            self._beat()

    def _beat(self) -> None:
        self._look_for_request()
        with suppress(Exception):  # whatever it is, the sweep is none the worse
            self._last = replace(self._last, standing=self._look())
        self._write()

    def _write(self) -> None:
        self._last = replace(self._last, at=datetime.now(UTC))
        with suppress(OSError):
            write_briefly(self._folder.status, self._last.text())

    def _look_for_request(self) -> None:
        """Remove a request to stop, and follow it where it is for this launch."""
        content = _content(self._folder.stop_request)
        if content is not None:
            with suppress(OSError):
                self._folder.stop_request.unlink()
            if content.strip() == request(self._last.launch):
                self._stop()


def _ending(error: BaseException | None, standing: Standing) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if error is not None:
        return f"failed: {str(error).strip().partition(chr(10))[0][:500] or type(error).__name__}"
    return f"stopped: {standing.stopping}" if standing.stopping else "finished"


def _content(path: Path) -> bytes | None:
    """What a small file holds; None where there is none. A pipe is not waited on, a link not followed."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return None


def _printable(data: Any) -> Any:
    """The same without what a terminal would obey."""
    match data:
        case str():
            return "".join(each if each.isprintable() else "?" for each in data)
        case list():
            return [_printable(each) for each in data]
        case dict():
            return {_printable(key): _printable(value) for key, value in data.items()}
    return data
