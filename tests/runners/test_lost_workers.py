"""Ray's memory monitor at work: a trial takes more memory than the machine may give."""

import os
from pathlib import Path

import pytest

from tests.fakes.driver import driving

GB = 10**9


def memory() -> tuple[float, float]:
    """Bytes that are in use, and all there are."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return 1024 * (kilobytes["MemTotal"] - kilobytes["MemAvailable"]), 1024 * kilobytes["MemTotal"]


@pytest.mark.slow
def test_a_trial_killed_for_its_memory_is_a_failed_trial_and_the_run_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("n")
    used, total = memory()
    if total - used < 6 * GB:
        pytest.skip("the trial that is to be killed takes 3 GB first")
    limit = {"RAY_memory_usage_threshold": str((used + 3 * GB) / total), "RAY_memory_monitor_refresh_ms": "50"}
    with driving(folder, os.environ | limit, "greedy", {"cpu": 1, "gpu": 0, "logical": {"num_cpus": 1}}) as driver:
        assert driver.process.wait() == 0, driver.output
    ended = driver.events("ended")
    assert [(each["trial"], each["kind"]) for each in ended] == [(0, "finished"), (1, "failed"), (2, "finished")]
    assert "killed due to the node running low on memory" in ended[1]["detail"]
