"""Matrix products of stacked runs, in the chosen precision; everything else stays in the precision it is in.

`bfloat16` rounds both factors and the result to bfloat16, as matrix units do whose sums are float32 (Kalamkar et al.
2019, "A study of BFLOAT16 for deep learning training", arXiv:1905.12322); the gradient's products likewise. A CPU
without such units gets the same roundings around float32 products: the same experiment, no faster.
"""

from typing import Any, Protocol

import torch

from sweeper.training.ops import kernels


class Product(Protocol):
    """x W + bias for every run: [R, n, in], [R, in, out] and [R, out] -> [R, n, out]."""

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """The product, with the bias if there is one."""
        ...


def exact(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The product in the factors' own precision."""
    return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)


def native_bfloat16(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The product by units that multiply bfloat16."""
    return _biased(torch.bmm(x.bfloat16(), weight.bfloat16()).to(x.dtype), bias)


def rounded_bfloat16(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The same numbers where there are no such units, up to the order of summation."""
    return _biased(_Rounded.apply(x, weight), bias)  # type: ignore[no-untyped-call]


def _biased(product: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return product if bias is None else product + bias[:, None]


def product_for(precision: str, device: torch.device) -> Product:
    """How to multiply on a device. For tf32 see `sweeper.training.device.prepare`: it is a mode of the GPU."""
    if precision != "bfloat16":
        return exact
    return native_bfloat16 if device.type == "cuda" or _cpu_has_bfloat16() else rounded_bfloat16


def _cpu_has_bfloat16() -> bool:
    supported = [getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("avx512_bf16", "amx_tile")]
    return any(test() for test in supported)


def _round(x: torch.Tensor, into: torch.Tensor | None = None) -> torch.Tensor:
    """x rounded to the nearest bfloat16, in x's own type; `into` may be x itself."""
    if not kernels.serve(x):
        return x.bfloat16().to(x.dtype)
    x = x.contiguous()
    into = torch.empty_like(x) if into is None else into
    kernels.call("round_bfloat16", x, into, x.numel())
    return into


def _rounded_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    product = torch.bmm(x, y)
    return _round(product, into=product)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        x, weight = _round(x), _round(weight)
        ctx.save_for_backward(x, weight)
        return _rounded_product(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        dy = _round(dy)
        return _rounded_product(dy, weight.mT), _rounded_product(x.mT, dy)
