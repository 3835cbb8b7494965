"""The heartbeat of a launch: status.json, rewritten every two seconds, with the progress of its sweep.

Heartbeats are for people who watch. The sweep never reads them, and goes on if they cannot be written.
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
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import from_json

from sweeper.folder.background import Background
from sweeper.folder.layout import SweepFolder, write_briefly

EVERY = 2.0
"""Seconds between two heartbeats, and between two checks for a stop request."""
_LONGEST = 2**22
"""Maximum size of a heartbeat in bytes."""
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, le=10**15)]
_Amount = Annotated[float, Field(ge=0, le=1e12)]


@with_config(_STRICT)
@dataclass(frozen=True)
class RunningTrial:
    """A trial in training.

    Attributes:
        number: the trial's.
        phase: baseline, search or confirm.
        role: the purpose of a trial that has a name, such as `confirm 23`; empty for other trials.
        step: the last evaluated step.
        metric: the event's metric at the last evaluation, mean over the runs; None before the first one.
    """

    number: _Count
    phase: str
    role: str
    step: _Count
    metric: float | None


@with_config(_STRICT)
@dataclass(frozen=True)
class PromisingTrial:
    """A paused trial.

    Attributes:
        number: the trial's.
        step: the last evaluated step of its slowest run.
        predicted: its time and an interval, in words; empty where nothing is predicted.
    """

    number: _Count
    step: _Count
    predicted: str


@with_config(_STRICT)
@dataclass(frozen=True)
class Progress:
    """The progress of a sweep.

    Attributes:
        name: the sweep's name.
        metric: the event's metric.
        horizon: steps after which a run is censored.
        elapsed: seconds since the launch began.
        remaining: estimated seconds until it ends; None without an estimate.
        least, most: a 90 % interval around `remaining`.
        finished: trials of the search that are over, of all launches.
        endings: ending -> how many of those ended otherwise than `finished`: capped, failed and so on.
        budget: `budget.trials`; None without that limit.
        confirmed: trials with a finished confirmation, of all launches.
        runs: outcome -> number of runs of trials that are over, of all launches.
        rate: model steps per second since the launch began.
        captures, capture_seconds: CUDA graphs that trials have captured, and how long they took.
        best: the best trial of all launches in one line; empty before any run has reached the event.
        running: trials in training, by number.
        paused: how many trials wait with their checkpoints.
        promising: the most promising of them, best first.
        notice: the last message for the user; empty if there is none.
        stopping: why no more trials are started; empty if they are.
        limit: what ended the search before its number of trials; empty if nothing did.
    """

    name: str
    metric: str = ""
    horizon: _Count = 0
    elapsed: _Amount = 0.0
    remaining: _Amount | None = None
    least: _Amount | None = None
    most: _Amount | None = None
    finished: _Count = 0
    endings: dict[str, _Count] = field(default_factory=dict)
    budget: _Count | None = None
    confirmed: _Count = 0
    runs: dict[str, _Count] = field(default_factory=dict)
    rate: _Amount = 0.0
    captures: _Count = 0
    capture_seconds: _Amount = 0.0
    best: str = ""
    running: tuple[RunningTrial, ...] = ()
    paused: _Count = 0
    promising: tuple[PromisingTrial, ...] = ()
    notice: str = ""
    stopping: str = ""
    limit: str = ""


@with_config(_STRICT)
@dataclass(frozen=True)
class Heartbeat:
    """One heartbeat.

    Attributes:
        launch: identifies the launch.
        host, pid: its machine and process.
        at: when it was written, by the clock of that machine.
        every: seconds until readers can see the next one.
        progress: of the sweep.
        ended: how the launch ended, in words; empty while it runs.
    """

    launch: str
    host: str
    pid: _Count
    at: AwareDatetime
    every: Annotated[float, Field(gt=0, le=1e6)]
    progress: Progress
    ended: str = ""

    def text(self) -> bytes:
        """As JSON."""
        return _adapter().dump_json(self, indent=1)

    @classmethod
    def parse(cls, content: bytes) -> "Heartbeat | None":
        """From JSON; None if it is damaged or of another version. Control characters become question marks."""
        try:
            return _adapter().validate_python(_printable(from_json(content, allow_inf_nan=False)))
        except (ValidationError, ValueError, RecursionError):
            return None


@cache
def _adapter() -> TypeAdapter[Heartbeat]:
    return TypeAdapter(Heartbeat)


Look = Callable[[], Progress]
"""Returns the progress of a sweep; called from another thread."""


def read(folder: SweepFolder) -> Heartbeat | None:
    """The last heartbeat of a sweep; None if there is none that can be read."""
    content = _content(folder.status)
    return None if content is None else Heartbeat.parse(content)


def request(launch: str) -> bytes:
    """The content of a stop request. It names the launch, so that it cannot stop a later one."""
    return json.dumps({"launch": launch}).encode()


class Pulse:
    """A background thread that writes the heartbeats of one launch and reads stop requests.

    Args:
        folder: the sweep's folder, whose lock this process holds.
        look: returns the progress of the sweep; called from another thread.
        stop: called when a user requests a stop.
        every: seconds between two heartbeats as readers see them: more than `EVERY` if they are copied to a store.
    """

    def __init__(self, folder: SweepFolder, look: Look, stop: Callable[[], object], every: float = EVERY):
        self._folder, self._look, self._stop = folder, look, stop
        now = datetime.now(UTC)
        self._last = Heartbeat(secrets.token_hex(8), platform.node(), os.getpid(), now, every, look())
        self._done = threading.Event()
        self._thread = Background(self._live, name="heartbeat")

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
        ended = _ending(error, self._last.progress)
        progress = replace(self._last.progress, running=(), remaining=None, least=None, most=None, stopping="")
        self._last = replace(self._last, progress=progress, ended=ended)
        self._write()

    def _live(self) -> None:
        while not self._done.wait(EVERY):
            self._beat()

    def _beat(self) -> None:
        self._take_request()
        with suppress(Exception):  # a failed report must not harm the sweep
            self._last = replace(self._last, progress=self._look())
        self._write()

    def _write(self) -> None:
        self._last = replace(self._last, at=datetime.now(UTC))
        with suppress(OSError):
            write_briefly(self._folder.status, self._last.text())

    def _take_request(self) -> None:
        """Remove a stop request, and obey it if it names this launch."""
        content = _content(self._folder.stop_request)
        if content is not None:
            with suppress(OSError):
                self._folder.stop_request.unlink()
            if content.strip() == request(self._last.launch):
                self._stop()


def _ending(error: BaseException | None, progress: Progress) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"stopped: {progress.stopping or 'interrupted'}"
    if error is not None:
        return f"failed: {str(error).strip().partition(chr(10))[0][:500] or type(error).__name__}"
    if progress.stopping:
        return f"stopped: {progress.stopping}"
    return f"finished: {progress.limit}" if progress.limit else "finished"


def _content(path: Path) -> bytes | None:
    """The content of a small file; None if there is none. Pipes do not block, links are not followed."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return None


def _printable(data: Any) -> Any:
    """Replace characters that could control a terminal."""
    match data:
        case str():
            return "".join(each if each.isprintable() else "?" for each in data)
        case list():
            return [_printable(each) for each in data]
        case dict():
            return {_printable(key): _printable(value) for key, value in data.items()}
    return data
