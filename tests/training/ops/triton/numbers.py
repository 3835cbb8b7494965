"""Numbers for kernels, and how close what they find has to be to the same in float64."""

from collections.abc import Callable

import pytest
import torch

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="Triton's interpreter cuts bfloat16 off, and multiplies its bits"
)

TOLERANCE = 2e-6
"""Of the largest entry of the exact result, or of 1."""


def normal(seed: int, device: torch.device) -> Callable[..., torch.Tensor]:
    """Makes float32 tensors of normally distributed numbers."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator).to(device)


def flat(seed: int, device: torch.device, runs: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """Parameters [R, *shape] as views of one tensor [R, P], as a stack has them."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    whole = normal(seed, device)(runs, sum(sizes) + 5)
    pieces = torch.split(whole[:, :-5], sizes, dim=1)
    return [piece.unflatten(1, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest, by the scale of the exact result."""
    assert found.shape == exact.shape
    return ((found.double() - exact.double()).abs().max() / max(1.0, exact.abs().max().item())).item()


def assert_close(found: torch.Tensor, exact: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert error(found, exact) <= tolerance
