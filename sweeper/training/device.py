"""Which device a trial trains on, and with how many threads."""

import math
import platform

import torch


def prepare(cpu: float) -> torch.device:
    """The GPU that this process was given, or the CPU; threads set to the trial's whole cores, at least one."""
    torch.set_num_threads(max(1, math.floor(cpu)))
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


def name_of(device: torch.device) -> str:
    """The device in words, such as `NVIDIA H100` or `cpu (x86_64)`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
