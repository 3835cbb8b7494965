"""Nodes come and go while a sweep runs. Real nodes: see tests/fakes/nodes.py."""

import os
import shutil
from pathlib import Path

import pytest

from tests.fakes.driver import Driver, driving
from tests.fakes.nodes import Nodes

MAY_HAVE_NETWORKS = os.geteuid() == 0 and shutil.which("ip") is not None


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sockets lie below it, and their paths are limited to 107 bytes."""
    return tmp_path_factory.mktemp("n")


def nodes_of(driver: Driver, nodes: Nodes) -> dict[int, int]:
    """Trial -> the number of the node that it was seen on."""
    processes = {pid: number for number, node in enumerate(nodes.nodes) for pid in node.processes()}
    return {
        each["trial"]: processes[each["process"]] for each in driver.events("trains") if each["process"] in processes
    }


def endings(driver: Driver) -> dict[int, tuple[str, str]]:
    return {each["trial"]: (each["kind"], each["why"]) for each in driver.events("ended")}


@pytest.mark.slow
def test_a_lost_node_takes_its_trials_along_and_no_others_and_one_that_joins_gets_trials(short: Path) -> None:
    """It is cut off where nodes can have networks of their own, and killed elsewhere."""
    runner = {"cpu": 1, "gpu": 0}
    with (
        Nodes(short, apart=MAY_HAVE_NETWORKS, workers=(1, 1)) as nodes,
        driving(
            short, nodes.environment, "until", runner | {"address": nodes.address}, prefix=nodes.head.prefix
        ) as driver,
    ):
        driver.wait_for("trains", 2)
        seen = nodes_of(driver, nodes)
        assert set(seen.values()) == {1, 2}
        (lost,) = [trial for trial, node in seen.items() if node == 2]
        if MAY_HAVE_NETWORKS:
            nodes.cut(nodes.nodes[2])
        else:
            nodes.nodes[2].kill()
        (ended,) = driver.wait_for("ended", 1)
        # One core was lost and two are new: more trials at once than when the run began.
        nodes.join(2)
        driver.wait_for("trains", 4)
        seen |= nodes_of(driver, nodes)
        driver.stop()
    assert "its node has died" in ended["detail"]
    assert seen == {1 - lost: 1, lost: 2, 2: 3, 3: 3}
    finished = ("finished", "")
    assert endings(driver) == {lost: ("failed", "node lost"), 1 - lost: finished, 2: finished, 3: finished}
