"""Triton kernels for stacked models on a GPU: whether they serve, and how they are launched.

Importing this module needs no Triton; the modules beside it hold the kernels and do. A machine without Triton, or one
where it cannot compile (it needs a C compiler), trains with torch's operations instead, more slowly.
"""

import warnings
from collections import Counter
from typing import Any

import torch

enabled = True
"""Set to False to do without: for comparisons."""

devices = {"cuda"}
"""Where kernels run; tests add the CPU, where Triton's interpreter runs them."""

launches: Counter[str] = Counter()
"""How often each kernel was launched from Python. Replays of a captured graph do not count."""

_works: dict[str, bool] = {}


def serve(tensor: torch.Tensor) -> bool:
    """Whether the kernels can work on this tensor: float32, on a GPU, and Triton compiles there."""
    kind = tensor.device.type
    return enabled and kind in devices and tensor.dtype == torch.float32 and _try(tensor.device)


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """Launch a kernel: its runtime arguments by place, its compile-time constants by name."""
    launches[kernel.fn.__name__] += 1
    kernel[grid](*arguments, **constants)


def _try(device: torch.device) -> bool:
    """Compile and run the smallest kernel there once; the reason why not is one warning."""
    if device.type not in _works:
        _works[device.type] = False
        try:
            from sweeper.training.ops.triton import tally  # noqa: PLC0415  # Triton may be missing

            sums = torch.zeros(1, 1, dtype=torch.float64, device=device)
            tally.add(sums, [torch.ones(1, 1, device=device)], torch.ones(1, 1, device=device))
            _works[device.type] = True
        # Compilers fail in many ways, and none of them is a reason not to train.
        except Exception as error:  # noqa: BLE001
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            warnings.warn(f"training goes on without Triton's kernels, more slowly: {reason}", stacklevel=3)
    return _works[device.type]


def warps(width: int) -> int:
    """Warps of a program that sums tiles of that width: twice as many where the sums would not fit into registers."""
    return 4 if width <= 128 else 8


def padded(size: int, least: int = 1) -> int:
    """The next power of two: tiles have such sides, and those of a matrix product are 16 or more."""
    return max(least, 1 << (size - 1).bit_length())


def tiles(count: int, side: int) -> int:
    """How many tiles cover that many rows."""
    return -(-count // side)
