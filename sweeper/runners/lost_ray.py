"""The end of a run whose Ray is lost: its GCS or the raylet of this machine died, and no call to it will ever return.

Ray 2.60 ends its driver from C++ then, 60 seconds after the GCS and some ten after the raylet, and shows the last lines
of their logs before. Whether they live is looked at more often than that, and the run ends in words. The GCS of a
cluster may come back, and is given nearly as long as Ray gives it.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray._private import ray_constants, services, worker

from sweeper.errors import RunnerError
from sweeper.folder.background import Background

_CONTINUES = "the same command continues the sweep"
_LAST_WORDS = f"""
while read line; do
    test "$line" = ended && exit
    rays="$line"
done
for pid in $rays; do
    case $(sed -n 's/^State:.\\(.\\).*/\\1/p' /proc/$pid/status 2>/dev/null) in
    ''|Z|X) exec echo 'Ray was lost: a process of its own was killed; {_CONTINUES}' >&2 ;;
    esac
done
"""
"""For sh: when this process has ended without `ended`, and one of Ray's before it, say so.

A call that is under way when the raylet dies ends this process from C++, without a word.
"""
_KINDS = {ray_constants.PROCESS_TYPE_GCS_SERVER: "GCS", ray_constants.PROCESS_TYPE_RAYLET: "raylet"}
_LOOK_EVERY_S = 0.5
_CLUSTER_PATIENCE_S = 40.0
_UNWIND_S = 8.0
"""Seconds after a loss until a run that still waits for an answer is ended with its process, before Ray does that."""
_LINES = 60
"""How much of each log is kept."""
_LOGS = ("gcs_server.*", "raylet.*", "python-core-driver-*.log", "driver.err")


class LostRay(BaseException):
    """Raised in Tune's loop, which takes an Exception for a failed trial's."""


class Health:
    """Whether Ray's own processes live, looked at in a thread from `follow` to `close`.

    Args:
        folder: where those that are started here keep their files.

    Attributes:
        lost: what died, in words; empty while nothing has.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self.lost = ""
        self._silent_since: float | None = None
        self._messages: deque[str] = deque(maxlen=_LINES)
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._stderr = -1
        self._last_words: subprocess.Popen[bytes] | None = None
        self._done = threading.Event()
        self._thread = Background(self._follow, name="ray-health")
        self._print = worker.print_to_stdstream

    @property
    def started_here(self) -> bool:
        """Whether this process has started Ray, whose workers then have its environment."""
        return bool(self._started)

    def follow(self) -> None:
        """Begin to look, and keep what Ray would print."""
        worker.print_to_stdstream = self._keep
        self._stderr = os.dup(2)
        self._last_words = subprocess.Popen(["sh", "-c", _LAST_WORDS], stdin=subprocess.PIPE, start_new_session=True)
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        worker.print_to_stdstream = self._print
        self._tell("ended")
        if self._last_words is not None:
            self._last_words.communicate()
            self._last_words = None
            os.close(self._stderr)

    @contextmanager
    def starting(self, said: Path) -> Iterator[None]:
        """Take note of the processes that Ray starts in this block, where it may wait for one that died already.

        Args:
            said: the file that gets what this process itself writes to stderr meanwhile, from C++.
        """
        start = services.start_ray_process

        def noted(command: Any, process_type: str, *arguments: Any, **named: Any) -> Any:
            info = start(command, process_type, *arguments, **named)
            self._started.append((process_type, info.process))
            self._tell(" ".join(str(process.pid) for kind, process in self._started if kind in _KINDS))
            return info

        services.start_ray_process = noted
        with said.open("wb") as file:
            os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(self._stderr, 2)
            services.start_ray_process = start

    def end_processes(self) -> None:
        """Kill what Ray started here: the processes that are left still report the loss of the others."""
        for _, process in self._started:
            process.kill()

    def check(self) -> None:
        """Raise LostRay if it is lost."""
        if self.look():
            raise LostRay

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Raise RunnerError for whatever the block raises once Ray is lost."""
        try:
            yield
        except (LostRay, Exception) as error:
            if not self.look():
                raise
            raise RunnerError(self._sentence, self.log()) from error

    def log(self) -> str:
        """The last lines that Ray's processes wrote."""
        found = ""
        for name in _LOGS:
            for file in sorted(self._folder.rglob(name) if self._folder else ()):
                lines = file.read_text(errors="replace").splitlines()[-_LINES:]
                found += "".join(f"{line}\n" for line in (f"== {file.name}", *lines)) if lines else ""
        return found + "\n".join(self._messages)

    @property
    def _sentence(self) -> str:
        return f"Ray was lost: {self.lost}"

    def look(self) -> str:
        """What has died, in words; empty if nothing has."""
        for kind, process in [] if self.lost else list(self._started):
            code = process.poll() if kind in _KINDS else None
            if code is not None:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                self.lost = f"its {_KINDS[kind]} {how}"
        return self.lost

    def _tell(self, line: str) -> None:
        if self._last_words is not None and self._last_words.stdin is not None:
            with suppress(OSError):
                self._last_words.stdin.write(f"{line}\n".encode())
                self._last_words.stdin.flush()

    def _unreachable(self) -> str:
        """Which process of a Ray that was started elsewhere does not answer."""
        node = worker._global_node
        if node is None or self._started:
            return ""
        if not _answers(node.node_ip_address, node.node_manager_port):
            return "the raylet of this machine has ended"
        host, _, port = node.gcs_address.rpartition(":")
        if _answers(host.strip("[]"), int(port)):
            self._silent_since = None
            return ""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        silent = now - self._silent_since
        return "" if silent < _CLUSTER_PATIENCE_S else f"the GCS of the cluster has not answered for {silent:.0f} s"

    def _follow(self) -> None:
        while not self.look():
            if self._done.wait(_LOOK_EVERY_S):
                return
            self.lost = self.lost or self._unreachable()
        if not self._done.wait(_UNWIND_S):
            self.end_processes()
            self._tell("ended")
            os.write(self._stderr, f"{self._sentence}; {_CONTINUES}\n".encode())
            os._exit(RunnerError.exit_code)

    def _keep(self, data: dict[str, list[str]], ignore_prefix: bool) -> None:
        """Take what Ray's processes report to a driver: for a trial that they cost there is a notice of our own."""
        self._messages.extend(data["lines"])


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_LOOK_EVERY_S).close()
    except ConnectionRefusedError:
        return False
    except OSError:  # it is busy, or the network is
        return True
    return True
