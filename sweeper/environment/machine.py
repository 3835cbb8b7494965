"""The resources of this machine, found without importing torch or ray."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Cores this process may use, memory in bytes, and NVIDIA GPUs that the driver shows it."""

    cores: int
    memory: int
    gpus: int


def look() -> Machine:
    """This machine, in about a millisecond."""
    return Machine(cores(), _memory(), _visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")))


def cores() -> int:
    """The cores that this process may use: by its affinity, its cgroups' quotas and SLURM's allotment; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min([affinity, *_quotas(Path("/")), *_allotted(os.environ)]), 1)


def _allotted(environment: Mapping[str, str]) -> list[int]:
    """The resources that SLURM allotted to this step; none outside of SLURM."""
    names = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE") if "SLURM_JOB_ID" in environment else ()
    found = [environment[name] for name in names if environment.get(name, "").isdecimal()]
    return [int(each) for each in found[:1]]


def _quotas(root: Path) -> list[int]:
    """Whole cores by the quota of every cgroup that this process is in, versions 1 and 2.

    Args:
        root: where /proc and /sys lie.
    """
    found = []
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for controllers, path in (line.split(":", 2)[1:] for line in groups if line.count(":") >= 2):
        base = root / "sys/fs/cgroup" / ("" if not controllers else "cpu")
        if controllers and "cpu" not in controllers.split(","):
            continue
        below = Path(path.lstrip("/"))
        for group in (below, *below.parents):
            found += [int(quota / period) for quota, period in _limit(base / group) if period > 0]
    return found


def _limit(group: Path) -> Iterator[tuple[float, float]]:
    """(quota, period) of a cgroup; nothing without a limit."""
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        yield float(quota), float(period)
    with suppress(OSError, ValueError):
        old = float((group / "cpu.cfs_quota_us").read_text())
        if old > 0:
            yield old, float((group / "cpu.cfs_period_us").read_text())


def have_a_home() -> None:
    """Set HOME to a folder that does not exist if there is none: Ray and torch need one when they are imported."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/nonexistent"


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs, from nvidia-smi; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _visible_gpus(visible: str | None) -> int:
    devices = Path("/proc/driver/nvidia/gpus")
    present = len(list(devices.iterdir())) if devices.is_dir() else len(list(Path("/dev").glob("nvidia[0-9]*")))
    return present if visible is None or not present else count_visible(visible, present)


def count_visible(visible: str, present: int) -> int:
    """How many devices CUDA shows to a process.

    Args:
        visible: CUDA_VISIBLE_DEVICES: indices, and names that begin with GPU- or MIG-, up to the first entry that is
            neither, such as -1.
        present: GPUs of the machine.
    """
    count = 0
    for name in (each.strip() for each in visible.split(",")):
        known = name.startswith(("GPU-", "MIG-")) or (name.isdecimal() and int(name) < present)
        if not known:
            break
        count += 1
    return count


def _memory() -> int:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
