"""The stacked transformer and its loss by Triton's kernels: the mathematics of `transformer.py`, forward and backward.

Written out by hand and not left to autograd, so that an update is under thirty kernels: what one kernel can do to a
tile of rows is done there (`ops/triton/feed.py`, `feed_backward.py`), and the gradients of all parameters are one
launch at the end (`ops/triton/weights.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sweeper.config.model import Precision
from sweeper.training.models.transformer import TransformerShape
from sweeper.training.ops.fused import ExampleScores
from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.ops.triton import attention, cross_entropy, embedding, feed, feed_backward, norm, weights
from sweeper.training.ops.triton.arrange import Arrangement, Arranger
from sweeper.training.ops.triton.products import product
from sweeper.training.parameters import Parameters, aligned, offsets, within

_LINE = 16
"""Lines of matrices begin at multiples of so many entries, which lets a GPU load several at once."""


def serves(architecture: TransformerShape) -> bool:
    """Whether the kernels can compute it; others are computed by torch's operations."""
    return architecture.width % _LINE == 0 and architecture.width <= feed.WIDEST


class Workspace:
    """One tensor that holds several of R runs, so that one kernel can reach all of them by their offsets.

    Args:
        like: its device.
        dtype: of the entries.
        runs: R.
        shapes: name -> (rows, columns) of each.
    """

    def __init__(self, like: torch.Tensor, dtype: torch.dtype, runs: int, shapes: Mapping[str, tuple[int, int]]):
        self._runs, self.shapes = runs, shapes
        self.starts: dict[str, int] = {}
        end = 0
        for name, (rows, columns) in shapes.items():
            self.starts[name] = end
            end += runs * rows * columns
        self.all = torch.empty(end, dtype=dtype, device=like.device)

    def __getitem__(self, name: str) -> torch.Tensor:
        """[R, rows, columns]."""
        rows, columns = self.shapes[name]
        start = self.starts[name]
        return self.all[start : start + self._runs * rows * columns].view(self._runs, rows, columns)


@dataclass(frozen=True)
class _Forward:
    """Values of the forward pass that the backward pass needs."""

    rows: Arrangement
    examples: torch.Tensor
    factors: Workspace
    qkv: list[torch.Tensor]
    kept: list[feed.Kept]
    normal: torch.Tensor
    scale: torch.Tensor
    logits: torch.Tensor


class StackedTransformer:
    """R transformers of one architecture, scored on examples.

    Args:
        architecture: theirs; see `serves`.
        prefixes: of all examples.
        targets: int64 [N], of all examples.
        precision: of products.
    """

    def __init__(self, architecture: TransformerShape, prefixes: Prefixes, targets: torch.Tensor, precision: Precision):
        self.architecture, self._precision = architecture, precision
        self._arranger, self._targets = Arranger(prefixes), targets
        self._offsets = offsets(architecture.shapes())
        # What only products read is kept as they round it.
        self._factor = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._line = -(-architecture.classes // _LINE) * _LINE
        self._tables: dict[tuple[int, int], weights.TaskTables] = {}

    def score(self, parameters: Parameters, rows: torch.Tensor) -> ExampleScores:
        """Scores of examples, rows int64 [R, B]; gradients flow through the losses."""
        if torch.is_grad_enabled():
            leaves = [parameters[name] for name in self._offsets]
            return ExampleScores(*_Score.apply(self, rows, *leaves))  # type: ignore[no-untyped-call]
        return ExampleScores(*self.forward(parameters, rows, keep=False)[0])

    def forward(self, p: Parameters, examples: torch.Tensor, keep: bool) -> tuple[tuple[torch.Tensor, ...], _Forward]:
        """Losses, hits and saturation [R, B]; without `keep` what only a gradient needs is not written."""
        a, precision = self.architecture, self._precision
        examples = examples.contiguous()
        (runs, batch), placed = examples.shape, self._arranger.arrange(examples)
        factors = Workspace(examples, self._factor, runs, self._factors(placed, keep))
        x, copy = self._rows(factors, "x0")
        embedding.forward(placed.tokens, placed.positions, p["embedding.token"], p["embedding.position"], x, copy)
        qkvs, kepts = [], []
        for i in range(a.depth):
            block, readers = within(p, f"block{i}."), placed.readers(i, a.depth)
            qkv = x.new_empty(runs, x.shape[1], 3 * a.width)
            # Where only the last position is read, it alone has queries.
            product(
                factors[f"x{i}"], block["attention.in.weight"], qkv, precision, bias=block["attention.in.bias"],
                first=readers.first, skipped=a.width if readers.first else 0,
            )  # fmt: skip
            mixed = factors[f"mixed{i}"]
            attention.attend(qkv, readers, mixed, a.heads)
            result, copy = self._rows(factors, f"x{i + 1}")
            kept = self._kept(factors, i) if keep else None
            y = factors[f"y{i}"]
            feed.forward(block, x, readers.own, readers.first, mixed, y, kept, result, copy, precision)
            x = result
            qkvs.append(qkv)
            kepts += [kept] if kept else []
        head, copy = self._rows(factors, "head")
        normal, scale = norm.forward(x, None, None, p["head.norm.weight"], p["head.norm.bias"], head, copy)
        logits = x.new_empty(runs, batch, self._line)
        product(factors["head"], p["head.linear.weight"], logits, precision, bias=p["head.linear.bias"])
        found = cross_entropy.forward(logits, self._targets, examples, a.classes)
        return found, _Forward(placed, examples, factors, qkvs, kepts, normal, scale, logits)

    def backward(self, p: Parameters, of: _Forward, dlosses: torch.Tensor) -> torch.Tensor:
        """The gradients of all parameters, [R, P], from those of the losses [R, B]."""
        a, precision = self.architecture, self._precision
        runs, batch = dlosses.shape
        slopes = Workspace(dlosses, self._factor, runs, self._slopes(of.rows))
        sums = Workspace(dlosses, torch.float32, runs, self._sums(of.rows))
        cross_entropy.backward(
            of.logits, self._targets, of.examples, dlosses.contiguous(), slopes["dlogits"], a.classes
        )
        dx = of.normal.new_empty(runs, batch, a.width)
        product(slopes["dlogits"], p["head.linear.weight"].mT, dx, precision, columns=a.classes)
        dx = norm.backward(dx, of.normal, of.scale, p["head.norm.weight"], sums["head"])
        for i in reversed(range(a.depth)):
            block, readers = within(p, f"block{i}."), of.rows.readers(i, a.depth)
            mine = self._block_slopes(slopes, sums, i, dx)
            feed_backward.backward(block, dx, of.kept[i], mine, precision)
            around = dx.new_empty(runs, of.qkv[i].shape[1], a.width)
            dqkv = slopes[f"dqkv{i}"]
            attention.backward(of.qkv[i], readers, mine.dmixed, mine.drest, dqkv, around, a.heads)
            dx = torch.empty_like(around)
            product(dqkv, block["attention.in.weight"].mT, dx, precision, added=around)
        first = p["embedding.token"]
        gradients = aligned(first.new_empty, runs, a.size)
        tables = self._embedding(gradients)
        embedding.backward(of.rows.tokens, of.rows.positions, dx, tables, a.vocabulary)
        key = runs, batch
        if key not in self._tables:
            self._tables[key] = weights.tables(self._tasks(of, slopes, sums), dx.device)
        weights.backward(self._tables[key], of.factors.all, slopes.all, sums.all, first, gradients, precision)
        return gradients

    def pieces(self, gradients: torch.Tensor) -> list[torch.Tensor]:
        """The gradient of each parameter, [R, *shape], as a view."""
        shapes = self.architecture.shapes()
        return [
            torch.as_strided(gradients, (len(gradients), *shape), (gradients.stride(0), *_strides(shape)), start)
            for shape, start in zip(shapes.values(), self._offsets.values(), strict=True)
        ]

    def _rows(self, factors: Workspace, name: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Where rows go that both products and sums read: float32, and a copy for products if theirs is another."""
        mine = factors[name]
        if mine.dtype == torch.float32:
            return mine, None
        return mine.new_empty(mine.shape, dtype=torch.float32), mine

    def _embedding(self, gradients: torch.Tensor) -> torch.Tensor:
        """Both embedding tables' part of the gradients, [R, vocabulary + positions, width]."""
        a = self.architecture
        entries = a.vocabulary + a.length + 1
        return gradients[:, : entries * a.width].view(-1, entries, a.width)

    def _counts(self, rows: Arrangement, block: int) -> tuple[int, int]:
        """Rows that a block reads, and rows that it writes, of each run."""
        read = rows.tokens.shape[1] if block == 0 else rows.later.count
        return read, rows.readers(block, self.architecture.depth).count

    def _factors(self, rows: Arrangement, keep: bool) -> dict[str, tuple[int, int]]:
        """Shapes of the left factors of all products."""
        a = self.architecture
        shapes: dict[str, tuple[int, int]] = {}
        for i in range(a.depth):
            read, written = self._counts(rows, i)
            shapes |= {f"x{i}": (read, a.width), f"mixed{i}": (written, a.width)}
            shapes |= {f"y{i}": (written, a.width)}
            shapes |= {f"hidden{i}": (written, a.feedforward)} if keep else {}
        return shapes | {f"x{a.depth}": (written, a.width), "head": (written, a.width)}

    def _slopes(self, rows: Arrangement) -> dict[str, tuple[int, int]]:
        """Shapes of the gradients of all products."""
        a = self.architecture
        shapes = {"dlogits": (rows.later.count - rows.last, self._line)}
        for i in range(a.depth):
            read, written = self._counts(rows, i)
            shapes |= {f"dqkv{i}": (read, 3 * a.width), f"dhidden{i}": (written, a.feedforward)}
            shapes |= {f"{name}{i}": (written, a.width) for name in ("dsum1", "dsum2")}
        return shapes

    def _sums(self, rows: Arrangement) -> dict[str, tuple[int, int]]:
        """Shapes of the partial sums of gains and shifts."""
        a = self.architecture
        shapes = {"head": (norm.parts(rows.later.count - rows.last, a.width), 3 * a.width)}
        for i in range(a.depth):
            _, written = self._counts(rows, i)
            shapes[f"norms{i}"] = (feed_backward.parts(len(rows.tokens), written, a.width), 4 * a.width)
        return shapes

    def _kept(self, factors: Workspace, block: int) -> feed.Kept:
        y = factors[f"y{block}"]
        normals = [y.new_empty(y.shape, dtype=torch.float32) for _ in range(2)]
        scales = [y.new_empty(y.shape[:2], dtype=torch.float32) for _ in range(2)]
        return feed.Kept(factors[f"hidden{block}"], normals[0], scales[0], normals[1], scales[1])

    def _block_slopes(self, slopes: Workspace, sums: Workspace, block: int, dx: torch.Tensor) -> feed_backward.Slopes:
        dsum1 = slopes[f"dsum1{block}"]
        # In float32 the gradient that goes around the attention is the sum's own.
        drest = dsum1 if dsum1.dtype == torch.float32 else torch.empty_like(dx)
        named = slopes[f"dsum2{block}"], slopes[f"dhidden{block}"], dsum1
        return feed_backward.Slopes(*named, drest, torch.empty_like(dsum1), sums[f"norms{block}"])

    def _tasks(self, of: _Forward, slopes: Workspace, sums: Workspace) -> list[weights.GradientTask]:
        """The gradients of everything but the embedding."""
        a, at, factors = self.architecture, self._offsets, of.factors
        d, f = a.width, a.feedforward
        tasks = []

        def layer(name: str, x: str, inputs: int, slope: str, outputs: int, *, activated: int | None = None) -> None:
            rows, a_line = factors.shapes[x]
            where = {"a": factors.starts[x], "a_line": a_line, "inputs": inputs, "weight": at[f"{name}.weight"]}
            g_line = slopes.shapes[slope][1]
            bias = at[f"{name}.bias"]
            tasks.append(
                weights.GradientTask(slopes.starts[slope], g_line, rows, outputs, bias, **where, activated=activated)
            )

        def gains(name: str, parts: str, column: int) -> None:
            rows, line = sums.shapes[parts]
            tasks.append(weights.GradientTask(sums.starts[parts] + column, line, rows, 2 * d, at[f"{name}.weight"]))

        for i in range(a.depth):
            hidden = at[f"block{i}.feedforward.in.bias"]
            layer(f"block{i}.attention.in", f"x{i}", d, f"dqkv{i}", 3 * d)
            layer(f"block{i}.attention.out", f"mixed{i}", d, f"dsum1{i}", d)
            layer(f"block{i}.feedforward.in", f"y{i}", d, f"dhidden{i}", f)
            layer(f"block{i}.feedforward.out", f"hidden{i}", f, f"dsum2{i}", d, activated=hidden)
            gains(f"block{i}.norm2", f"norms{i}", 0)
            gains(f"block{i}.norm1", f"norms{i}", 2 * d)
        layer("head.linear", "head", d, "dlogits", a.classes)
        gains("head.norm", "head", 0)
        return tasks


class _Score(torch.autograd.Function):
    """Leaves -> losses, hits, saturation."""

    @staticmethod
    def forward(ctx: Any, model: StackedTransformer, rows: torch.Tensor, *leaves: torch.Tensor) -> Any:
        ctx.model = model
        ctx.set_materialize_grads(False)  # zeros for hits and saturation would be two kernels more
        ctx.save_for_backward(*leaves)
        named = dict(zip(model.architecture.shapes(), leaves, strict=True))
        found, ctx.of = model.forward(named, rows, keep=True)
        ctx.mark_non_differentiable(*found[1:])
        return found

    @staticmethod
    def backward(ctx: Any, dlosses: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        named = dict(zip(ctx.model.architecture.shapes(), ctx.saved_tensors, strict=True))
        return None, None, *ctx.model.pieces(ctx.model.backward(named, ctx.of, dlosses))


def _strides(shape: Sequence[int]) -> list[int]:
    """Of a contiguous tensor of that shape."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]
