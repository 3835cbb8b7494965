"""Room is arithmetic: how many trials fit, and when memory that ran out makes a share larger."""

import pytest

from sweeper.runners.capacity import Capacity
from sweeper.stats.events import CROWDED, FINISHED, NODE_LOST, OUT_OF_MEMORY, Ending

OUT = Ending("failed", OUT_OF_MEMORY)


@pytest.mark.parametrize(
    ("nodes", "cpu", "gpu", "slots"),
    [
        ([{"CPU": 8}], 1, 0, 8),
        ([{"CPU": 8}], 1, 0.5, 0),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 3, "GPU": 1}, {}], 1, 0.25, 8 + 3),
        ([{"CPU": 8, "GPU": 2}] * 2, 1, 0.3, 12),
        ([{"CPU": 8, "GPU": 3}], 1, 2, 1),
    ],
)
def test_slots(nodes: list[dict[str, float]], cpu: float, gpu: float, slots: int) -> None:
    assert Capacity(lambda: nodes, cpu, gpu).slots == slots


@pytest.mark.parametrize(
    ("nodes", "cpu", "most"),
    [
        ([{"CPU": 8}], 1, 0),
        ([{"CPU": 8, "GPU": 2}], 1, 4),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 16, "GPU": 1}], 1, 16),
        ([{"CPU": 2, "GPU": 4}], 1, 1),
        ([{"CPU": 2, "GPU": 1}, {"CPU": 64}], 4, 0),
        ([{"CPU": 2, "GPU": 1}], 0.25, 8),
    ],
)
def test_the_most_trials_on_one_gpu_are_those_that_its_part_of_the_cores_is_enough_for(
    nodes: list[dict[str, float]], cpu: float, most: int
) -> None:
    assert Capacity(lambda: nodes, cpu, 0).most_on_a_gpu == most


def test_slots_follow_the_nodes() -> None:
    nodes = [{"CPU": 2.0}]
    capacity = Capacity(lambda: nodes, 1, 0)
    assert capacity.slots == 2
    nodes.append({"CPU": 3.0})
    assert capacity.slots == 5
    nodes.clear()
    assert capacity.slots == 0


def test_trials_that_run_out_of_memory_together_raise_the_share_once_and_a_whole_gpu_is_the_end() -> None:
    capacity = Capacity(lambda: [{"CPU": 8, "GPU": 1}], 1, 0.25, growing=True)
    assert capacity.grant_more_memory(0.25, OUT) and capacity.gpu == 0.5
    assert capacity.grant_more_memory(0.25, Ending("failed", CROWDED)) and capacity.gpu == 0.5
    assert capacity.grant_more_memory(0.5, OUT) and (capacity.gpu, capacity.slots) == (1, 1)
    assert capacity.grant_more_memory(0.25, OUT) and capacity.gpu == 1
    assert not capacity.grant_more_memory(1, OUT)
    assert capacity.gpu == 1


@pytest.mark.parametrize("ending", [FINISHED, Ending("capped"), Ending("failed", "error"), Ending("failed", NODE_LOST)])
def test_other_endings_raise_nothing(ending: Ending) -> None:
    capacity = Capacity(list, 1, 0.25, growing=True)
    assert not capacity.grant_more_memory(0.25, ending)
    assert capacity.gpu == 0.25


@pytest.mark.parametrize(("had", "growing"), [(0, True), (0.25, False), (2, True)])
def test_a_share_that_was_asked_for_stays_and_so_does_none(had: float, growing: bool) -> None:
    capacity = Capacity(list, 1, had, growing)
    assert not capacity.grant_more_memory(had, OUT)
    assert capacity.gpu == had
