"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) and the squares of the gradient, in one pass over memory."""

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, tiles

_BLOCK = 1024


@triton.jit
def _power(base, exponent):
    """base^exponent in float64, by squaring: 1 - 0.999^t cancels, and float32 would lose three digits of it."""
    found = tl.full((), 1.0, tl.float64)
    square = base.to(tl.float64)
    while exponent > 0:
        found = tl.where(exponent % 2 == 1, found * square, found)
        square *= square
        exponent = exponent // 2
    return found


@triton.jit
def _adamw(
    parameters, first, second, gradients, squares, betas, epsilons, rates, decays, updates,
    parameter_stride, moment_stride, gradient_stride,
    SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    real = column < SIZE
    beta1, beta2 = tl.load(betas + 2 * run), tl.load(betas + 2 * run + 1)
    count = tl.load(updates + run)
    rate = tl.load(rates + run) / (1.0 - _power(beta1, count)).to(tl.float32)
    root = 1.0 / tl.sqrt((1.0 - _power(beta2, count)).to(tl.float32))
    g = tl.load(gradients + run * gradient_stride + column, real, 0.0)
    m = tl.load(first + run * moment_stride + column, real, 0.0)
    v = tl.load(second + run * moment_stride + column, real, 0.0)
    p = tl.load(parameters + run * parameter_stride + column, real, 0.0)
    m += (g - m) * (1.0 - beta1)
    v = v * beta2 + g * g * (1.0 - beta2)
    p = p * (1.0 - tl.load(decays + run)) - rate * m / (tl.sqrt(v) * root + tl.load(epsilons + run))
    tl.store(first + run * moment_stride + column, m, real)
    tl.store(second + run * moment_stride + column, v, real)
    tl.store(parameters + run * parameter_stride + column, p, real)
    tl.store(squares + run * tl.num_programs(0) + tl.program_id(0), tl.sum(g * g, 0))


def step(
    parameters: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradients: torch.Tensor,
    betas: torch.Tensor,
    epsilons: torch.Tensor,
    rates: torch.Tensor,
    decays: torch.Tensor,
    updates: torch.Tensor,
) -> torch.Tensor:
    """Update parameters and moments in place.

    Args:
        parameters, first, second, gradients: [R, P]; rows may lie further apart, both moments alike.
        betas: [R, 2].
        epsilons, rates, decays: [R, 1].
        updates: int64 [R, 1], the number of each run's update, from 1.

    Returns:
        [R, parts], partial sums of the squares of each gradient.
    """
    runs, size = parameters.shape
    count = tiles(size, _BLOCK)
    squares = parameters.new_empty(runs, count)
    launch(
        _adamw, (count, runs),
        *(parameters, first, second, gradients, squares, betas, epsilons, rates, decays, updates),
        *(parameters.stride(0), first.stride(0), gradients.stride(0)), SIZE=size, BLOCK=_BLOCK,
    )  # fmt: skip
    return squares
