"""What tests share: one local Ray for the session, with logical GPUs, and one PostgreSQL server."""

import os
from collections.abc import Iterator

import pytest

from tests import postgres as servers

# Test processes share the cores already: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray with 8 logical cores and 2 logical GPUs on whatever this machine has."""
    from sweeper.runners import ray_tune  # sets Ray's environment before Ray is imported

    assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "1"
    with ray_tune.RayTune(1, 0.25, logical={"num_cpus": 8, "num_gpus": 2}):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """A real PostgreSQL server."""
    programs = servers.binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here")
    with servers.running(programs) as server:
        yield server
