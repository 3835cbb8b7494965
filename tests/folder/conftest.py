"""What tests of sweeps in an object store share: a sweep's place there, two machines, and the cable between."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.folder.layout import SweepFolder
from sweeper.folder.object_store import Store


@pytest.fixture
def address(bucket: str) -> str:
    return f"{bucket}/results/small"


@pytest.fixture
def store(address: str) -> Store:
    return Store(address)


@pytest.fixture
def here(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "here")


@pytest.fixture
def elsewhere(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "elsewhere")


class Cable:
    """Leads to the server, and can be pulled."""

    def __init__(self, server: str):
        self._to = int(server.rpartition(":")[2])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port = self._listening.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.plug()

    def plug(self) -> None:
        if self._listening.fileno() < 0:
            self._listening = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._lead, args=(self._listening,), daemon=True).start()

    def pull(self) -> None:
        with self._lock:
            for end in (self._listening, *self._ends):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._ends.clear()

    def _lead(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                with self._lock:
                    if listening.fileno() < 0:  # pulled since
                        near.close()
                        return
                    far = socket.create_connection(("127.0.0.1", self._to))
                    self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := one.recv(65536):
                other.sendall(received)
            other.shutdown(socket.SHUT_WR)


@pytest.fixture
def cable(s3_server: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    cable = Cable(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cable.endpoint)
    yield cable
    cable.pull()
