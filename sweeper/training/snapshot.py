"""The parameters of a run as they are at one of its evaluations, to be kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import At
from sweeper.stats.watch import Watch

_NUMPY_HAS_THEM = {torch.float64, torch.float32, torch.float16, *(torch.int64, torch.int32, torch.int16, torch.int8)}
_NUMPY_HAS_THEM |= {torch.uint8, torch.bool, torch.complex64}


def due(watch: Watch, at: At) -> bool:
    """Whether the parameters with which a run was evaluated last are the ones to keep."""
    if at == "event" and watch.sustained is not None:
        return watch.sustained == watch.step
    return not watch.trains


def arrays_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Copies of tensors on the CPU; what NumPy has no type for, such as bfloat16, becomes float32."""
    found = {}
    for name, each in tensors.items():
        plain = each.detach() if each.dtype in _NUMPY_HAS_THEM else each.detach().float()
        found[name] = np.array(plain.cpu().numpy(), order="C", copy=True)
    return found
