"""How many cores and GPUs a process may use."""

import os
from pathlib import Path

import pytest

from sweeper.environment import machine


def system(root: Path, groups: str, **files: str) -> Path:
    """A /proc and a /sys with these control groups; `files` are named with __ for / and _dot_ for a dot."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        ("0::/", {"cpu_dot_max": "max 100000\n"}, []),
        ("0::/", {"cpu_dot_max": "250000 100000\n"}, [2]),
        ("0::/job/step", {"job__cpu_dot_max": "400000 100000", "job__step__cpu_dot_max": "max 100000"}, [4]),
        (
            "4:memory:/\n3:cpu,cpuacct:/a\n",
            {"cpu__a__cpu_dot_cfs_quota_us": "150000", "cpu__a__cpu_dot_cfs_period_us": "50000"},
            [3],
        ),
        ("3:cpu:/\n", {"cpu__cpu_dot_cfs_quota_us": "-1", "cpu__cpu_dot_cfs_period_us": "100000"}, []),
        ("nonsense\n", {}, []),
    ],
)
def test_quotas_of_control_groups(groups: str, files: dict[str, str], quotas: list[int], tmp_path: Path) -> None:
    assert machine._quotas(system(tmp_path, groups, **files)) == quotas


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert machine._quotas(tmp_path) == []


@pytest.mark.parametrize(
    ("environment", "allotted"),
    [
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "16"}, [4]),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "16"}, [16]),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "many"}, []),
        ({"SLURM_CPUS_PER_TASK": "4"}, []),
    ],
)
def test_what_slurm_allots(environment: dict[str, str], allotted: list[int]) -> None:
    assert machine._allotted(environment) == allotted


def test_the_smallest_limit_counts_and_one_core_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for allotted, cores in (("1", 1), ("0", 1)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", allotted)
        assert machine.cores() == machine.look().cores == cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100000")
    assert machine.cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("visible", "present", "count"),
    [
        ("", 4, 0),
        ("-1", 4, 0),
        ("0", 4, 1),
        ("2,0", 4, 2),
        ("0,-1,1", 4, 1),
        ("0,7,1", 4, 1),
        (" 0 , 1 ", 4, 2),
        ("GPU-8a3f,GPU-77c1", 4, 2),
        ("MIG-11ab,MIG-22cd,MIG-33ef", 1, 3),
        ("NoDevFiles", 4, 0),
    ],
)
def test_visible_devices_in_every_form(visible: str, present: int, count: int) -> None:
    assert machine.count_visible(visible, present) == count


def test_a_process_without_a_home_gets_the_name_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "/before")
    machine.have_a_home()
    assert os.environ["HOME"] == "/before"
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    machine.have_a_home()
    assert os.environ["HOME"] == "/nonexistent"
