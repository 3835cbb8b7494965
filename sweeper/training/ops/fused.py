"""The parts of stacked models that are not matrix products: each as one operation with its gradient.

Every function has two forms of the same mathematics: torch's operations, for any device and precision, and a C kernel
(`kernels.c`) that passes over memory once, for float32 on the CPU. On a GPU norms and tallies have Triton's kernels,
and so has a whole transformer (`sweeper.training.models.transformer_kernels`). Parameters of a run are rows [R, width]
of the flat parameters, so they may be strided along the runs.
"""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F

from sweeper.training.ops import kernels, triton
from sweeper.training.ops.prefixes import Place

_EPSILON = 1e-5  # of PyTorch's LayerNorm


def gelu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """GELU(x + bias), exact (Hendrycks and Gimpel 2016, arXiv:1606.08415); x may be overwritten.

    Args:
        x: [R, n, width].
        bias: [R, width].
    """
    if kernels.serve(x):
        return _Gelu.apply(x, bias)  # type: ignore[no-any-return,no-untyped-call]
    return F.gelu(x + bias[:, None])


def add_norm(
    x: torch.Tensor, residual: torch.Tensor, bias: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """LayerNorm(x + residual + bias) * gain + shift; residual may be overwritten.

    Args:
        x, residual: [R, n, width].
        bias, gain, shift: [R, width].
    """
    if triton.serve(x) or kernels.serve(x):
        return _AddNorm.apply(x, residual, bias, gain, shift)  # type: ignore[no-any-return,no-untyped-call]
    normal = F.layer_norm(x + residual + bias[:, None], x.shape[-1:], eps=_EPSILON)
    return torch.addcmul(shift[:, None], normal, gain[:, None])


def norm(x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """LayerNorm(x) * gain + shift: x [R, n, width], gain and shift [R, width]."""
    if triton.serve(x) or kernels.serve(x):
        return _AddNorm.apply(x, None, None, gain, shift)  # type: ignore[no-any-return,no-untyped-call]
    return torch.addcmul(shift[:, None], F.layer_norm(x, x.shape[-1:], eps=_EPSILON), gain[:, None])


def spread(values: torch.Tensor, places: Sequence[Place]) -> torch.Tensor:
    """The rows that readers read, place after place: [R, rows, width] -> [R, sum of counts, width]."""
    if kernels.serve(values):
        return _Spread.apply(values, places)  # type: ignore[no-any-return,no-untyped-call]
    return torch.cat([_take(values, place) for place in places], dim=1)


def attend(
    queries: torch.Tensor,
    keys_values: torch.Tensor,
    askers: Sequence[Place],
    sources: Sequence[Sequence[Place]],
    heads: int,
) -> torch.Tensor:
    """Softmax attention of each reader over its sources, scaled by 1 / sqrt(width / heads).

    Sequences are a few tokens long: products and sums beat thousands of tiny matrix products.

    Args:
        queries: [R, rows, width].
        keys_values: [R, rows', 2 width], a row's key before its value.
        askers: for each group of readers, where their queries are.
        sources: for each group, where the keys and values are that they attend to.
        heads: attention heads; they divide width.

    Returns:
        [R, readers, width], group after group.
    """
    if kernels.serve(queries):
        return _Attend.apply(queries, keys_values, askers, sources, heads)  # type: ignore[no-any-return,no-untyped-call]
    dim = queries.shape[-1] // heads
    mixed = []
    for asker, places in zip(askers, sources, strict=True):
        query = _by_head(_take(queries, asker), heads, dim)
        pairs = [_by_head(_take(keys_values, place), 2, heads, dim).unbind(2) for place in places]
        scores = torch.stack([(query * key).sum(-1) for key, _ in pairs], dim=-1) / math.sqrt(dim)
        shares = scores.softmax(-1).unsqueeze(-2).unbind(-1)
        parts = [share * value for share, (_, value) in zip(shares, pairs, strict=True)]
        mixed.append(reduce(torch.add, parts).flatten(2))
    return torch.cat(mixed, dim=1)


@dataclass(frozen=True)
class ExampleScores:
    """Cross-entropy of each example, [R, B].

    Attributes:
        losses: -log softmax(logits)[target]; gradients flow through it.
        hits: 1 where the target scores highest, else 0.
        saturated: 1 where the softmax is exactly 1 at some class, else 0.
    """

    losses: torch.Tensor
    hits: torch.Tensor
    saturated: torch.Tensor


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> ExampleScores:
    """Cross-entropy of logits [R, B, classes] with targets int64 [R, B]; logits may be overwritten."""
    if kernels.serve(logits):
        return ExampleScores(*_CrossEntropy.apply(logits, targets))  # type: ignore[no-untyped-call]
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    fixed = logits.detach()
    saturated = fixed.softmax(-1).amax(-1) == 1
    return ExampleScores(losses, (fixed.argmax(-1) == targets).to(fixed.dtype), saturated.to(fixed.dtype))


def tally(sums: torch.Tensor, scores: Sequence[torch.Tensor], counts: torch.Tensor) -> None:
    """Add to sums float64 [S, R] those of S scores [R, B], times counts [R, B], over the examples."""
    if triton.serve(counts):
        from sweeper.training.ops.triton import tally as kernel  # noqa: PLC0415  # Triton may be missing

        kernel.add(sums, scores, counts)
        return
    for total, values in zip(sums, scores, strict=True):
        total.add_((values * counts).sum(1))


def _take(values: torch.Tensor, place: Place) -> torch.Tensor:
    """The rows that readers read, [R, count, width] (or a view that broadcasts to it)."""
    if place.single:
        return values[:, place.start : place.start + 1].expand(-1, place.count, -1)
    if place.index is None:
        return values[:, place.start : place.start + place.count]
    runs, rows, width = values.shape
    numbers = torch.arange(runs, device=values.device)[:, None] * rows + place.start + place.index
    return F.embedding(numbers, values.reshape(runs * rows, width))


def _by_head(x: torch.Tensor, *parts: int) -> torch.Tensor:
    """Its last axis divided into parts."""
    return x.reshape(*x.shape[:-1], *parts)


def _places(places: Sequence[Place]) -> ctypes.Array[kernels.PlaceStruct]:
    """An array of C structs; it borrows the indices' memory."""
    return (kernels.PlaceStruct * len(places))(*map(_struct, places))


def _starts(places: Sequence[Place]) -> list[int]:
    """The row at which each group of readers begins in the output, and then how many rows that has."""
    return [0, *accumulate(place.count for place in places)]


def _struct(place: Place) -> kernels.PlaceStruct:
    if place.index is None:
        return kernels.PlaceStruct(None, 0, place.start, 0 if place.single else 1)
    stride = place.index.stride(0) if len(place.index) > 1 else 0
    return kernels.PlaceStruct(place.index.data_ptr(), stride, place.start, 0)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        slope = x.detach() if any(ctx.needs_input_grad) else None
        y = x.detach() if slope is None else torch.empty_like(x)
        kernels.call("gelu", x, bias, bias.stride(0), y, slope, *x.shape)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        dy, slope = dy.contiguous(), ctx.slope
        runs, rows, width = slope.shape
        dbias = slope.new_empty(runs, width)
        # In place: the gradient comes fresh from a matrix product, and nothing else reads it.
        kernels.call("gelu_backward", dy, slope, dy, dbias, runs, rows, width)
        return dy, dbias


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  # autograd passes them so
        ctx: Any,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        bias: torch.Tensor | None,
        gain: torch.Tensor,
        shift: torch.Tensor,
    ) -> torch.Tensor:
        x, residual = x.contiguous(), None if residual is None else residual.contiguous()
        y = torch.empty_like(x)
        ctx.by_triton = triton.serve(x)
        if ctx.by_triton:
            from sweeper.training.ops.triton import norm  # noqa: PLC0415  # Triton may be missing

            normal, scale = norm.forward(x, residual, bias, gain, shift, y)
        else:
            scale = x.new_empty(x.shape[:2])
            normal = torch.empty_like(x) if residual is None else residual.detach()
            kernels.call("add_norm", x, residual, bias, gain, shift, gain.stride(0), y, normal, scale, *x.shape)
        ctx.save_for_backward(gain)
        ctx.normal, ctx.scale = normal, scale
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gain,) = ctx.saved_tensors
        dy, normal = dy.contiguous(), ctx.normal
        runs, rows, width = normal.shape
        if ctx.by_triton:
            from sweeper.training.ops.triton import norm  # noqa: PLC0415

            parts = dy.new_empty(runs, norm.parts(rows, width), 3 * width)
            dx = norm.backward(dy, normal, ctx.scale, gain, parts)
            dgain, dshift, dbias = torch.split(parts.sum(1), width, dim=1)
        else:
            dx, sums = torch.empty_like(normal), normal.new_empty(runs, 3, width)
            kernels.call("add_norm_backward", dy, normal, ctx.scale, gain, gain.stride(0), dx, sums, runs, rows, width)
            dgain, dshift, dbias = sums.unbind(1)
        added = ctx.needs_input_grad[1]
        return dx, dx if added else None, dbias if added else None, dgain, dshift


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, places: Sequence[Place]) -> torch.Tensor:
        values = values.contiguous()
        runs, rows, width = values.shape
        *starts, total = _starts(places)
        out = values.new_empty(runs, total, width)
        for place, start in zip(places, starts, strict=True):
            kernels.call("spread", values, rows, _places([place]), out, start, total, runs, place.count, width)
        ctx.places, ctx.rows = places, rows
        return out

    @staticmethod
    def backward(ctx: Any, dout: torch.Tensor) -> tuple[torch.Tensor, None]:
        dout = dout.contiguous()
        runs, _, width = dout.shape
        *starts, total = _starts(ctx.places)
        dvalues = dout.new_zeros(runs, ctx.rows, width)
        for place, start in zip(ctx.places, starts, strict=True):
            ends = (_places([place]), runs, place.count, width)
            kernels.call("spread_backward", dout, start, total, dvalues, ctx.rows, *ends)
        return dvalues, None


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  # autograd passes them so
        ctx: Any,
        queries: torch.Tensor,
        keys_values: torch.Tensor,
        askers: Sequence[Place],
        sources: Sequence[Sequence[Place]],
        heads: int,
    ) -> torch.Tensor:
        queries, keys_values = queries.contiguous(), keys_values.contiguous()
        runs, _, width = queries.shape
        *starts, total = _starts(askers)
        out = queries.new_empty(runs, total, width)
        ctx.shares = []
        for asker, places, start in zip(askers, sources, starts, strict=True):
            n, keys = asker.count, len(places)
            shares = queries.new_empty(runs, n, heads, keys) if any(ctx.needs_input_grad[:2]) else None
            kernels.call(
                "attend",
                *(queries, queries.shape[1], _places([asker])),
                *(keys_values, keys_values.shape[1], _places(places), keys),
                *(out, start, total, shares, runs, n, heads, width // heads),
            )
            ctx.shares.append(shares)
        ctx.save_for_backward(queries, keys_values)
        ctx.askers, ctx.sources, ctx.heads = askers, sources, heads
        return out

    @staticmethod
    def backward(ctx: Any, dout: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, keys_values = ctx.saved_tensors
        dout = dout.contiguous()
        runs, _, width = dout.shape
        dqueries, dkeys_values = torch.zeros_like(queries), torch.zeros_like(keys_values)
        *starts, total = _starts(ctx.askers)
        for asker, places, shares, start in zip(ctx.askers, ctx.sources, ctx.shares, starts, strict=True):
            kernels.call(
                "attend_backward",
                *(dout, start, total, shares),
                *(queries, dqueries, queries.shape[1], _places([asker])),
                *(keys_values, dkeys_values, keys_values.shape[1], _places(places), len(places)),
                *(runs, asker.count, ctx.heads, width // ctx.heads),
            )
        return dqueries, dkeys_values, None, None, None


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = logits.contiguous()
        slope = logits.detach() if ctx.needs_input_grad[0] else None
        losses, hits, saturated = (logits.new_empty(targets.shape) for _ in range(3))
        targets = targets.contiguous()
        kernels.call(
            "cross_entropy", logits, targets, losses, slope, hits, saturated, targets.numel(), logits.shape[-1]
        )
        ctx.slope = slope
        ctx.mark_non_differentiable(hits, saturated)
        return losses, hits, saturated

    @staticmethod
    def backward(ctx: Any, dlosses: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.slope * dlosses[..., None], None
