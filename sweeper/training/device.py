"""Which device a trial trains on, with how many threads, and how its matrix units round."""

import ctypes
import functools
import math
import platform
import sys

import torch

from sweeper.config.model import Precision
from sweeper.training.ops import kernels

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


def prepare(cpu: float, precision: Precision = "float32") -> torch.device:
    """The GPU that this process was given, or the CPU; threads set to the trial's whole cores, at least one.

    tf32 is a mode of a GPU's matrix units that rounds their factors to 10 bits; a CPU has none, and stays float32.
    """
    threads = max(1, math.floor(cpu))
    torch.set_num_threads(threads)
    kernels.use_threads(threads)
    _keep_freed_memory()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


@functools.cache
def _keep_freed_memory() -> None:
    """Let glibc keep up to 1 GiB that is freed; without glibc this does nothing.

    A step allocates tensors of megabytes that the next one allocates again. By default their pages go back to the
    system in between, which has to clear them each time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def is_roomy(device: torch.device) -> bool:
    """Whether at least half of a GPU's memory is free, for this process and others; of a CPU it is not asked."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    return 2 * free >= total


def name_of(device: torch.device) -> str:
    """The device in words, such as `NVIDIA H100` or `cpu (x86_64)`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
