"""Real Ray nodes on one machine: a head without cores, and workers that join it and are lost.

Every node is a session of processes of its own, so that all of it can be killed at once, as when a machine loses its
power. With `apart` each node also has a network of its own, like a separate host; that needs root and `ip`.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType

QUICK = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""As in cluster.yaml: a lost node is noticed in seconds."""
_OBJECT_STORE_BYTES = 80 * 10**6  # Ray's least is 75 MB
_BRIDGE = "10.213.7"


@dataclass
class Node:
    """A node: its address, and the `ray start` that leads the session of its processes."""

    address: str
    start: subprocess.Popen[str]
    prefix: tuple[str, ...] = ()
    """What a command begins with to run on this node's network."""

    def processes(self) -> list[int]:
        """The pids of all its processes that still run, Ray's workers among them."""
        return [pid for pid in _pids() if _session(pid) == self.start.pid]

    def kill(self) -> None:
        """End everything at once, until nothing is left."""
        if self.start.returncode is not None:
            return
        deadline = time.monotonic() + 20
        while living := self.processes():
            if time.monotonic() > deadline:
                raise RuntimeError(f"cannot kill {living}")
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.start.wait()

    def started(self) -> None:
        """Wait until `ray start` has ended well.

        It stays a zombie until the node is killed: so its number, by which its session is known, goes to nobody else.
        """
        deadline = time.monotonic() + 90
        while (ended := os.waitid(os.P_PID, self.start.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.start.args} does not end")
            time.sleep(0.05)
        if ended.si_status != 0:
            raise RuntimeError(f"{self.start.args} failed; its output is in the nodes' folder")


class Nodes:
    """A head and its workers; a context manager that leaves nothing running.

    Args:
        folder: for Ray's files and the token; short, because sockets lie below it.
        apart: whether each node gets a network of its own.
        token: whether the cluster demands one.
        loopback: whether the head is out of reach for others; it then has no workers.
        head_options: for the head's `ray start`.
        workers: the cores of each worker that is started together with the head.
    """

    def __init__(
        self,
        folder: Path,
        *,
        apart: bool = False,
        token: bool = True,
        loopback: bool = False,
        head_options: tuple[str, ...] = ("--num-cpus=0", "--include-dashboard=false"),
        workers: tuple[int, ...] = (),
    ):
        self.folder, self._apart, self._head_options, self._first = folder, apart, head_options, workers
        self.token = folder / "token"
        self._mode, self._loopback = "token" if token else "disabled", loopback
        self._numbers = count(1)
        self._networks: list[str] = []
        self._links = f"sw{secrets.token_hex(2)}"
        self.nodes: list[Node] = []

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs that is to talk to the cluster."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
        ours = {"RAY_AUTH_MODE": self._mode, "RAY_AUTH_TOKEN_PATH": str(self.token), "RAY_USAGE_STATS_ENABLED": "0"}
        here = str(Path(__file__).parents[2])
        alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if self._loopback else {}
        return {**inherited, **ours, **QUICK, **alone, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}

    def __enter__(self) -> "Nodes":
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        try:
            if self._apart:
                _ip(f"link add {self._links} type bridge", f"addr add {_BRIDGE}.254/24 dev {self._links}")
                _ip(f"link set {self._links} up")
            port = free_port()
            options = (*self._head_options, f"--port={port}", "--head", "--disable-usage-stats", "--no-monitor")
            head = self._begin(options)
            self.address = f"{head.address}:{port}"
            for cpus in self._first:
                self._begin(self._worker(cpus))
            for node in self.nodes:
                node.started()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.kill()
        for network in self._networks:
            _ip(f"link delete {network}", f"netns delete {network}")
        if self._apart:
            _ip(f"link delete {self._links}")

    @property
    def head(self) -> Node:
        """The node that was started first."""
        return self.nodes[0]

    def join(self, cpus: int = 1) -> Node:
        """Start one more worker and wait until it has joined."""
        node = self._begin(self._worker(cpus))
        node.started()
        return node

    def cut(self, node: Node) -> None:
        """Part a node that has a network of its own from all others."""
        _ip(f"link set {node.prefix[-1]} down")

    def _worker(self, cpus: int) -> tuple[str, ...]:
        return (f"--address={self.address}", f"--num-cpus={cpus}")

    def _begin(self, options: tuple[str, ...]) -> Node:
        number = next(self._numbers)
        prefix, address = self._network(number) if self._apart else ((), self._own_address())
        command = (
            *(*prefix, sys.executable, "-m", "ray.scripts.scripts", "start", *options),
            *(f"--node-ip-address={address}", f"--temp-dir={self.folder}/{number}", "--include-log-monitor=false"),
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
        )
        log = self.folder / f"{number}.log"
        with log.open("w") as output:
            start = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=output, text=True, start_new_session=True
            )
        node = Node(address, start, prefix)
        self.nodes.append(node)
        return node

    def _own_address(self) -> str:
        if self._loopback:
            return "127.0.0.1"
        from ray._private.services import node_ip_address_from_perspective

        address: str = node_ip_address_from_perspective()
        return address

    def _network(self, number: int) -> tuple[tuple[str, ...], str]:
        """A network with one address, linked to the others by a bridge."""
        name, address = f"{self._links}n{number}", f"{_BRIDGE}.{number}"
        _ip(f"netns add {name}")
        self._networks.append(name)
        _ip(f"link add {name} type veth peer name eth0 netns {name}", f"link set {name} master {self._links} up")
        _ip(f"-n {name} addr add {address}/24 dev eth0", f"-n {name} link set eth0 up", f"-n {name} link set lo up")
        _ip(f"-n {name} route add default via {_BRIDGE}.254")
        return ("ip", "netns", "exec", name), address


def _pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _session(pid: int) -> int | None:
    """The session of a process; None of one that has ended, though nobody may have taken notice of that yet."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(session)


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port
