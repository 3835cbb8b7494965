"""What tests share, one of each for the session: a local Ray with logical GPUs, PostgreSQL, a server that speaks S3.

Which tests are slow, and how the workers of `pytest -n 2` share the tests.
"""

import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyarrow import fs

from tests.fakes import postgres as servers
from tests.fakes import s3

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

# Test processes share the cores already: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Kernels are made for the interpreter or for a GPU when their module is imported, by whichever test comes first.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Ray's workers would run at niceness 15, and starve beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")
# A shell's `&` and nohup ignore these for all that they start, tests of them included.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A killed process loses nothing that it has written, synced or not, and no test cuts the power: syncs would only wait
# for the disk, for half of the time of a made-up sweep. Tests of what a power cut does replace this by their own.
os.fsync = lambda file: None

SLOW_FIXTURES = {"local_ray", "postgres", "s3_server"}
"""A test that uses one of these is marked slow by itself."""
EARLY = "wave"
"""A module that nothing else imports."""

FIRST = (
    *("tests/test_chaos.py", "tests/runners/", "tests/sweep/test_launch.py", "tests/training/", "tests/trackers/"),
    *("tests/test_packaging.py", "tests/folder/", "tests/report/", "tests/search/"),
)
"""After what starts Ray, the files that take longest: none of them is left to one worker at the end."""
RAY = re.compile(r"(?<![a-z])ray(?![a-z])")
"""What the name of a test that starts Ray has in it, so that a single worker runs them all."""


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray with 8 logical cores and 2 logical GPUs on whatever this machine has; its workers import EARLY."""
    from sweeper.runners import ray_tune  # sets Ray's environment before Ray is imported

    assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "1"
    with ray_tune.RayTune(1, 0.25, logical={"num_cpus": 8, "num_gpus": 2}, imports=[EARLY]):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """A real PostgreSQL server."""
    programs = servers.binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here")
    with servers.running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a server that speaks S3, in a process of its own on this machine."""
    with s3.running() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new bucket, an environment that leads there, a cache of its own and a quick beat."""
    settings = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
        "SWEEPER_CACHE": str(tmp_path / "cache"),
        "SWEEPER_LAG": "0.2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    fs.S3FileSystem(endpoint_override=s3_server, allow_bucket_creation=True).create_dir(name)
    return f"s3://{name}"


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what servers and Ray make slow, check that a test that starts Ray says so, and order the longest first."""
    for each in items:
        if SLOW_FIXTURES & set(getattr(each, "fixturenames", ())):
            each.add_marker("slow")
    found = [each.nodeid for each in items if "local_ray" in getattr(each, "fixturenames", ())]
    silent = [nodeid for nodeid in found if not RAY.search(nodeid)]
    items.sort(key=_place)
    if silent:
        raise pytest.UsageError(f"tests that start Ray have ray in their names; not so {', '.join(silent)}")


def _place(item: pytest.Item) -> int:
    """Where a test stands in the order in which workers take files."""
    if RAY.search(item.nodeid):
        return 0
    return next((at for at, path in enumerate(FIRST, 1) if item.nodeid.startswith(path)), len(FIRST) + 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """A worker takes a file at a time, whose fixtures are then made once; one of them takes what starts Ray, from all
    files: two Rays would only wait for each other's processes.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneRay(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "ray" if RAY.search(nodeid) else nodeid.split("::", maxsplit=1)[0]

    config.option.loadscopereorder = False  # by the number of tests, which says little about how long they take
    return OneRay(config, log)
