"""A Ray to run on: one on this machine that nobody else can reach, or a cluster that demands a token.

Anybody who can send commands to a Ray cluster can run code on its machines. In Ray 2.60 `ray.init` listens on every
network, behind a token; `ray start` demands a token only if it finds one; and a client waits for minutes where nothing
answers. Hence the checks here, before a connection.
"""

import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import ray
from ray._private import services
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient  # type: ignore[attr-defined]  # compiled
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]  # generated

from sweeper.environment import machine
from sweeper.errors import RunnerError, UserError
from sweeper.runners import ray_internals as internals
from sweeper.runners import scratch
from sweeper.runners.lost_ray import Health

_Mode = Literal["token", "disabled"]
_OBJECT_STORE_BYTES = 200 * 2**20
_PATIENCE_S = 10
_MOST_WARM = 32
"""Cores, and so workers of some 200 MB each, up to which all workers import training at once."""
_NO_CLUSTER = "0" * 56
"""A cluster id that none has: a call with it says whether the token is right, and does nothing else."""


class _Users:
    """Launches of this process that use its Ray; the last one to leave ends a Ray that the first one started."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.files: Path | None = None
        self.health = Health()


_users = _Users()


def join(
    address: str | None, insecure: bool, logical: dict[str, Any], threads: int, imports: Sequence[str] = ()
) -> Health:
    """Use this process's Ray: the one that runs, or one that is started here, or the cluster at an address.

    Args:
        address: of the cluster; None for this machine.
        insecure: see `connect`.
        logical, threads, imports: see `start_here`.

    Returns:
        Whether that Ray lives.

    Raises:
        UserError: see `connect`.
        RunnerError: see `start_here`.
    """
    with _users.lock:
        if _users.count or not ray.is_initialized():
            if not ray.is_initialized():
                _users.files = scratch.make()
                _users.health = Health(_users.files)
                try:
                    _users.health.follow()
                    if address is None:
                        with _users.health.in_words(), _users.health.starting(_users.files / "driver.err"):
                            start_here(_users.files, logical, threads, imports)
                    else:
                        connect(address, insecure)
                except BaseException as error:
                    _shut_down(failed=isinstance(error, Exception))
                    raise
            _users.count += 1
        return _users.health


def leave() -> None:
    """Stop using this process's Ray; it ends with its last user if `join` started it."""
    with _users.lock:
        if _users.count:
            _users.count -= 1
            if not _users.count:
                _shut_down(failed=False)


def _shut_down(failed: bool) -> None:
    if failed or _users.health.lost:
        _users.health.end_processes()
    else:
        _users.health.close()
    ray.shutdown()
    _users.health.close()
    _users.health = Health()
    if _users.files is not None:
        scratch.remove(_users.files)
        _users.files = None


def start_here(scratch: Path, logical: dict[str, Any], threads: int, imports: Sequence[str] = ()) -> None:
    """Start Ray on this machine, reachable from this machine alone; with a token, because other users may log in here.

    Args:
        scratch: the folder for Ray's files; short, because paths of sockets are limited to 107 bytes.
        logical: `num_cpus` and `num_gpus` to pretend to have; by default the cores that this process may use.
        threads: those of numerical libraries in a worker; Ray sets their number itself, but after `imports`.
        imports: modules that workers import as they start. Ray starts a worker for each core at once, so that trials
            find them imported; on a machine of many cores workers without a trial would take too much memory.

    Raises:
        RunnerError: it does not start.
    """
    resources = {"num_cpus": machine.cores(), **logical}
    early = {"preload_python_modules": list(imports)} if resources["num_cpus"] <= _MOST_WARM else {}
    logging.getLogger("ray").setLevel(logging.ERROR)
    with (
        internals.loopback(),
        internals.nothing_packed(),
        internals.no_idle_processes(),
        internals.signals_left_alone(),
        internals.out_of_our_process_group(),
        # Not the token of a cluster.
        internals.environment("RAY_AUTH_TOKEN_PATH", str(internals.token_file())),
        # Workers import modules as they start, before Ray gives them this process's path.
        internals.environment("PYTHONPATH", os.pathsep.join(folder or os.getcwd() for folder in sys.path)),
        internals.environment("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(threads))),
    ):
        _authenticate("token")
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(scratch / "ray"),
                _system_config=early,
                **resources,
            )
        except Exception as error:
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            raise RunnerError(f"Ray does not start on this machine ({said})", _users.health.log()) from error


def connect(address: str, insecure: bool) -> None:
    """Connect to a cluster that runs already, from one of its nodes.

    Raises:
        UserError: nothing answers there, the token is not the cluster's, this machine is not one of its nodes, or
            anybody who can reach it could send it commands and `insecure` is not set.
    """
    where = f"--address {address}"
    with internals.loopback(), internals.signals_left_alone():
        found = _resolved(address, where)
        mode: _Mode = "disabled" if _accepts(found, "disabled", where) else "token"
        if mode == "token":
            _check_token(found, where)
        nodes = GcsClient(address=found).get_all_node_info(
            timeout=_PATIENCE_S, state_filter=GcsNodeInfo.GcsNodeState.ALIVE
        )
        if mode == "disabled" and not insecure:
            _refuse_open_hosts(sorted({each.node_manager_address for each in nodes.values()}), where)
        if not {each.hex() for each in nodes} & services.find_node_ids():
            raise UserError(
                f"{where}: this machine is not a node of that cluster, and a sweep is directed from one; "
                f"run it there: {_AS_A_JOB}"
            )
        try:
            ray.init(address=found, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"{where}: Ray cannot connect ({error})") from None


_AS_A_JOB = "ray job submit --address http://HEAD:8265 -- sweeper launch SPACE --address auto (docs/cluster.md)"


def _resolved(address: str, where: str) -> str:
    """The host:port of the cluster. Raises UserError if nothing listens there."""
    if address.startswith("ray://"):
        raise UserError(
            f"{where}: Ray Client is not supported: a sweep would end with its connection; run it there: {_AS_A_JOB}"
        )
    try:
        found = services.canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"{where}: no Ray cluster is there ({error})") from None
    if found is None:
        raise UserError(f"{where}: give the host:port of a cluster, or leave --address out to run on this machine")
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except OSError as error:
        raise UserError(f"{where}: no Ray cluster answers at {found} ({error.strerror or error})") from None
    return found


def _accepts(address: str, mode: _Mode, where: str) -> bool:
    """Whether the cluster takes commands from a client in this mode."""
    _authenticate(mode)
    try:
        GcsClient(address=address, cluster_id=_NO_CLUSTER).get_all_node_info(timeout=_PATIENCE_S)
    except ray.exceptions.AuthenticationError as error:
        return "InvalidAuthToken" not in str(error)
    except ray.exceptions.RpcError as error:
        raise UserError(f"{where}: the server at {address} is not a Ray cluster ({error})") from None
    return True


def _check_token(address: str, where: str) -> None:
    remedy = (
        "copy ~/.ray/auth_token of its head to this machine, for your eyes alone, or name it in RAY_AUTH_TOKEN_PATH"
    )
    _authenticate("token")
    try:
        found = AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    except ray.exceptions.AuthenticationError:
        found = False
    if not found:
        raise UserError(f"{where}: the cluster demands a token, and {_token_source()} holds none; {remedy}")
    if not _accepts(address, "token", where):
        raise UserError(f"{where}: the cluster demands a token, and that in {_token_source()} is another; {remedy}")


def _token_source() -> str:
    """Where Ray takes the token from."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"


def _refuse_open_hosts(hosts: list[str], where: str) -> None:
    open_hosts = [host for host in hosts if not _is_loopback(host)]
    if open_hosts:
        raise UserError(
            f"{where}: this cluster takes commands without a token: anybody who reaches {', '.join(open_hosts)} can "
            "run code and read files there; start it with one (`ray get-auth-token --generate`, the file on every "
            "node, RAY_AUTH_MODE=token for every `ray start`; docs/cluster.md), or continue with --insecure"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _authenticate(mode: _Mode) -> None:
    """Use a token from now on, or none; Ray caches its settings and the token, so both are reset."""
    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
