"""Which device a trial trains on, with how many threads, and how its matrix units round."""

import math
import platform

import torch

from sweeper.spec.model import Precision
from sweeper.training import kernels


def prepare(cpu: float, precision: Precision = "float32") -> torch.device:
    """The GPU that this process was given, or the CPU; threads set to the trial's whole cores, at least one.

    tf32 is a mode of a GPU's matrix units that rounds their factors to 10 bits; a CPU has none, and stays float32.
    """
    threads = max(1, math.floor(cpu))
    torch.set_num_threads(threads)
    kernels.use_threads(threads)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


def name_of(device: torch.device) -> str:
    """The device in words, such as `NVIDIA H100` or `cpu (x86_64)`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
