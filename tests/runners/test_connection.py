"""Who can reach a Ray that is started here, and which clusters are refused. Real ones, started with `ray start`."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.conftest import EARLY
from tests.fakes.nodes import Nodes, free_port


def family(pid: int) -> dict[int, str]:
    """The names of a process and all that descend from it."""
    parents = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (each / "stat").read_text().partition("(")[2].rpartition(")")
            parents[int(each.name)] = int(rest.split()[1]), name
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {pid: "driver"}
    while more := {each: name for each, (parent, name) in parents.items() if parent in found and each not in found}:
        found |= more
    return found


def listening() -> dict[str, str]:
    """Socket -> the address at which it takes connections."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":  # LISTEN
                words = bytes.fromhex(fields[1].partition(":")[0])
                address = ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4)))
                found[f"socket:[{fields[9]}]"] = str(getattr(address, "ipv4_mapped", None) or address)
    return found


def sockets(pid: int) -> set[str]:
    found = set()
    for each in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(each))
    return found


@pytest.mark.usefixtures("local_ray")
def test_a_ray_that_is_started_here_listens_on_this_machine_alone_and_demands_a_token_all_the_same() -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Worker:
        def pid(self) -> int:
            return os.getpid()

    worker = Worker.remote()
    pid = ray.get(worker.pid.remote())
    processes, addresses = family(os.getpid()), listening()
    found = {(name, addresses[each]) for pid, name in processes.items() for each in sockets(pid) & set(addresses)}
    assert {address for _, address in found} == {"127.0.0.1"}
    assert {name for name, _ in found} >= {"driver", "gcs_server", "raylet", "ray::RuntimeEnv", "ray::Worker"}

    environment = dict(each.split("=", 1) for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if each)
    token = Path(environment["RAY_AUTH_TOKEN_PATH"])
    assert environment["RAY_AUTH_MODE"] == "token"
    assert (stat.S_IMODE(token.stat().st_mode), len(token.read_text())) == (0o600, 64)


@pytest.mark.usefixtures("local_ray")
def test_workers_of_a_ray_that_is_started_here_have_imported_what_trials_need_from_where_the_launch_does() -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Worker:
        def found(self) -> tuple[bool, list[str]]:
            return EARLY in sys.modules, os.environ["PYTHONPATH"].split(os.pathsep)

    imported, folders = ray.get(Worker.remote().found.remote())
    assert imported
    assert folders[: len(sys.path)] == [each or os.getcwd() for each in sys.path]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Nodes, Nodes]]:
    """One that demands a token, one that does not, and one that does not but cannot be reached by others."""
    from concurrent.futures import ThreadPoolExecutor

    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        options = ({"token": True}, {"token": False}, {"token": False, "loopback": True})
        head = ("--num-cpus=3", "--include-dashboard=false")
        made = [Nodes(tmp_path_factory.mktemp("n"), head_options=head, **each) for each in options]
        first, second, third = threads.map(stack.enter_context, made)
        yield first, second, third


def answers(cases: list[tuple[str, bool, dict[str, str]]], home: Path) -> list[str]:
    """What a launch with each address, --insecure and environment comes to: places, or the error's text."""
    code = """
import json, os, sys
from sweeper.errors import UserError
from sweeper.runners.ray_tune import RayTune
for address, insecure, environment in json.load(sys.stdin):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    try:
        with RayTune(1, 0, address or None, insecure=insecure, logical={"num_cpus": 5}) as runner:
            print(json.dumps(f"{runner.slots} places, {os.environ['RAY_AUTH_MODE']}"), flush=True)
    except UserError as error:
        print(json.dumps(str(error)), flush=True)
"""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_cluster_is_used_with_its_token_and_without_one_only_where_nobody_else_reaches_it(
    clusters: tuple[Nodes, Nodes, Nodes], tmp_path: Path
) -> None:
    locked, unlocked, private = clusters
    token = {"RAY_AUTH_TOKEN_PATH": str(locked.token)}
    other = {"RAY_AUTH_TOKEN_PATH": str(unlocked.token)}
    port = locked.address.partition(":")[2]
    cases: list[tuple[str, bool, dict[str, str]]] = [
        (locked.address, False, token),
        (f"127.0.0.1:{port}", False, {"RAY_AUTH_TOKEN": locked.token.read_text()}),
        (locked.address, False, {}),
        (locked.address, False, {"RAY_AUTH_TOKEN_PATH": "/nowhere"}),
        (locked.address, True, other),
        (unlocked.address, False, token),
        (unlocked.address, False, {"RAY_AUTH_MODE": "disabled"}),
        (unlocked.address, True, token),
        (private.address, False, {}),
        (locked.address, False, token),
        ("", False, token),
        (f"127.0.0.1:{(nobody := free_port())}", False, {}),
        ("ray://127.0.0.1:10001", False, {}),
        ("local", False, {}),
        ("nonsense", False, {}),
    ]
    remedy = (
        "copy ~/.ray/auth_token of its head to this machine, for your eyes alone, or name it in RAY_AUTH_TOKEN_PATH"
    )
    demands = f"--address {locked.address}: the cluster demands a token, and"
    host = unlocked.address.partition(":")[0]
    refused = (
        f"--address {unlocked.address}: this cluster takes commands without a token: anybody who reaches {host} can "
        "run code and read files there; start it with one (`ray get-auth-token --generate`, the file on every "
        "node, RAY_AUTH_MODE=token for every `ray start`; docs/cluster.md), or continue with --insecure"
    )
    assert answers(cases, tmp_path) == [
        "3 places, token",
        "3 places, token",
        f"{demands} ~/.ray/auth_token holds none; {remedy}",
        f"{demands} /nowhere holds none; {remedy}",
        f"{demands} that in {unlocked.token} is another; {remedy}",
        refused,
        refused,
        "3 places, disabled",
        "3 places, disabled",
        "3 places, token",
        "5 places, token",
        f"--address 127.0.0.1:{nobody}: no Ray cluster answers at 127.0.0.1:{nobody} (Connection refused)",
        "--address ray://127.0.0.1:10001: Ray Client is not supported: a sweep would end with its connection; run it "
        "there: ray job submit --address http://HEAD:8265 -- sweeper launch SPACE --address auto (docs/cluster.md)",
        "--address local: give the host:port of a cluster, or leave --address out to run on this machine",
        "--address nonsense: no Ray cluster is there (Invalid address format: nonsense)",
    ]


@pytest.mark.usefixtures("local_ray")
def test_the_ray_of_a_process_outlives_the_launches_that_join_it() -> None:
    import ray

    from sweeper.runners.ray_tune import RayTune

    session = ray.get_runtime_context().get_job_id()
    with RayTune(1, 0), RayTune(1, 0):
        pass
    assert ray.is_initialized()
    assert ray.get_runtime_context().get_job_id() == session


@pytest.mark.slow
def test_two_launches_at_once_in_one_process_share_a_ray_which_ends_with_the_last(tmp_path: Path) -> None:
    """In a process of its own, without a home, with one core, and as `uv run` would start it."""
    script = tmp_path / "both.py"
    script.write_text(TWO)
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment |= {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[1, 1] [1.0, 1.0] False"]), done.stderr


TWO = """\
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

def run(name):
    with RayTune(1, 0) as runner:
        cores.append(ray.cluster_resources()["CPU"])
        met.wait(60)
        director = Recording(trials=1, cap={0: 1})
        runner.run(training_functions.mixed, director)
        return len(director.endings[0])

if __name__ == "__main__":
    import ray
    from sweeper.runners.ray_tune import RayTune
    from tests.fakes import training_functions
    from tests.fakes.directors import Recording
    met, cores = threading.Barrier(2), []
    with ThreadPoolExecutor(2) as pool:
        print(list(pool.map(run, "ab")), cores, ray.is_initialized())
"""
