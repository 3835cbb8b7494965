"""Each fused operation: torch's form against the textbook in float64, and the C kernel against torch's form.

A kernel works in float32, with sums in another order and its own exponential. Its results are compared with those of
float64 on the same numbers, to TOLERANCE of the largest entry of the exact result (or of 1).
"""

import math
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.training.ops import fused, kernels
from sweeper.training.ops.fused import ExampleScores
from sweeper.training.ops.prefixes import Place

TOLERANCE = 2e-5
WIDTHS = [1, 5, 97, 128]
HEAD_SIZES = [1, 2, 3, 7, 8, 13, 16, 32, 64]
Operation = Callable[..., torch.Tensor]

some = settings(deadline=None, max_examples=20, derandomize=True)
shapes = st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 63, 64, 65, 130]), st.sampled_from(WIDTHS))
seeds = st.integers(0, 2**31)
needs_kernels = pytest.mark.skipif(kernels.library() is None, reason="no C compiler made the kernels")


def numbers(seed: int) -> Callable[..., torch.Tensor]:
    """Normally distributed float64 tensors, rounded to float32 so that both precisions start from the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator).double()


def rows_of_flat(seed: int, runs: int, *widths: int) -> torch.Tensor:
    """The flat parameters [R, P] whose slices are an operation's parameters, with a neighbour before and after."""
    return numbers(seed)(runs, 3 + sum(widths) + 2)


def sliced(flat: torch.Tensor, widths: Sequence[int]) -> list[torch.Tensor]:
    """Views of flat rows, as the stack's parameters are: strided along the runs."""
    return list(torch.split(flat[:, 3:-2], list(widths), dim=1))


def with_gradients(
    operation: Operation, inputs: Sequence[torch.Tensor], flat: torch.Tensor, widths: Sequence[int], dtype: torch.dtype
) -> list[torch.Tensor]:
    """The result of operation(*inputs, *parameters), then the gradients of inputs and parameters, in float64."""
    inputs = [each.to(dtype).clone().requires_grad_() for each in inputs]
    parameters = [each.detach().requires_grad_() for each in sliced(flat.to(dtype), widths)]
    # An operation may overwrite what it is given: it gets the products of a layer before, not the leaves themselves.
    result = operation(*(each * 1 for each in inputs), *parameters)
    weights = numbers(99)(*result.shape[1:]).to(dtype)  # the same for every run
    gradients = torch.autograd.grad((result.clone() * weights).sum(), [*inputs, *parameters])
    return [each.detach().double() for each in (result, *gradients)]


def assert_close(found: Sequence[torch.Tensor], exact: Sequence[torch.Tensor], tolerance: float) -> None:
    for number, (one, other) in enumerate(zip(found, exact, strict=True)):
        scale = max(1.0, other.abs().max().item())
        assert (one - other).abs().max().item() <= tolerance * scale, f"result {number} of {len(found)}"


def kernel_agrees(
    operation: Operation,
    inputs: Sequence[torch.Tensor],
    flat: torch.Tensor,
    widths: Sequence[int] = (),
    tolerance: float = TOLERANCE,
) -> None:
    assert kernels.serve(inputs[0].float()) is not None
    found, exact = (with_gradients(operation, inputs, flat, widths, each) for each in (torch.float32, torch.float64))
    assert_close(found, exact, tolerance)


def textbook_agrees(
    operation: Operation,
    textbook: Operation,
    inputs: Sequence[torch.Tensor],
    flat: torch.Tensor,
    widths: Sequence[int] = (),
) -> None:
    found, exact = (with_gradients(each, inputs, flat, widths, torch.float64) for each in (operation, textbook))
    assert_close(found, exact, 1e-12)


def by_run(function: Operation) -> Operation:
    """The same for stacked arguments, run by run."""
    return lambda *arguments: torch.stack([function(*each) for each in zip(*arguments, strict=True)])


# ---- gelu


@some
@given(shapes, seeds)
def test_gelu_is_torchs(shape: tuple[int, int, int], seed: int) -> None:
    runs, _, width = shape
    textbook_agrees(
        fused.gelu,
        by_run(lambda x, bias: F.gelu(x + bias)),
        [numbers(seed)(*shape)],
        rows_of_flat(seed + 1, runs, width),
        [width],
    )


@pytest.mark.slow
@needs_kernels
@some
@given(shapes, seeds, st.sampled_from([0.1, 1.0, 30.0]))
def test_the_kernel_of_gelu_agrees(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    runs, _, width = shape
    kernel_agrees(fused.gelu, [numbers(seed)(*shape) * scale], rows_of_flat(seed + 1, runs, width), [width])


@needs_kernels
def test_the_kernel_of_gelu_agrees_over_its_whole_range_with_and_without_gradient() -> None:
    x = torch.linspace(-100, 100, 200_001)[None, :, None]
    none = torch.zeros(1, 1)
    exact = F.gelu(x.double())
    without = fused.gelu(x.clone(), none).double()
    torch.testing.assert_close(without, exact, rtol=3e-7, atol=1e-6)
    with_gradient = fused.gelu(x.clone().requires_grad_(), none)
    assert torch.equal(with_gradient.detach().double(), without)


# ---- norms


@pytest.mark.slow
@some
@given(shapes.filter(lambda shape: shape[2] > 1), seeds)
def test_add_norm_is_torchs_layer_norm_of_the_sum(shape: tuple[int, int, int], seed: int) -> None:
    runs, _, width = shape
    make = numbers(seed)
    textbook_agrees(
        fused.add_norm,
        by_run(lambda x, r, bias, gain, shift: F.layer_norm(x + r + bias, (width,), gain, shift)),
        [make(*shape), make(*shape)],
        rows_of_flat(seed + 1, runs, width, width, width),
        [width] * 3,
    )


@some
@given(shapes.filter(lambda shape: shape[2] > 1), seeds)
def test_norm_is_torchs_layer_norm(shape: tuple[int, int, int], seed: int) -> None:
    runs, _, width = shape
    textbook_agrees(
        fused.norm,
        by_run(lambda x, gain, shift: F.layer_norm(x, (width,), gain, shift)),
        [numbers(seed)(*shape)],
        rows_of_flat(seed + 1, runs, width, width),
        [width] * 2,
    )


def tolerance_of_norm(width: int) -> float:
    """At width 1 every gradient cancels to 0; what rounding leaves is divided by as little as sqrt(1e-5) = 1 / 316."""
    return TOLERANCE * (316 if width == 1 else 1)


@needs_kernels
@some
@given(shapes, seeds, st.sampled_from([0.0, 1e-3, 1.0, 1e3]))
def test_the_kernel_of_add_norm_agrees(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    runs, _, width = shape
    make = numbers(seed)
    # The bias shrinks along, so that the epsilon under the root matters where the sum is small.
    flat = rows_of_flat(seed + 1, runs, width, width, width)
    flat[:, 3 : 3 + width] *= scale
    inputs = [make(*shape) * scale, make(*shape) * scale]
    kernel_agrees(fused.add_norm, inputs, flat, [width] * 3, tolerance_of_norm(width))


@needs_kernels
@some
@given(shapes, seeds)
def test_the_kernel_of_norm_agrees(shape: tuple[int, int, int], seed: int) -> None:
    runs, _, width = shape
    flat = rows_of_flat(seed + 1, runs, width, width)
    kernel_agrees(fused.norm, [numbers(seed)(*shape)], flat, [width] * 2, tolerance_of_norm(width))


# ---- spread and attend


@st.composite
def all_kinds_of_places(draw: st.DrawFn, rows: int, runs: int) -> list[Place]:
    """One place of each kind, and perhaps more, in any order; all with the same number of readers."""
    count = draw(st.sampled_from([1, 2, 63, 65]))
    generator = torch.Generator().manual_seed(draw(seeds))

    def place(kind: str) -> Place:
        start = int(torch.randint(rows, (), generator=generator))
        if kind == "single":
            return Place(start, count, single=True)
        if kind == "plain":
            return Place(int(torch.randint(rows - count + 1, (), generator=generator)), count)
        shared = 1 if kind == "shared" else runs
        return Place(start, count, torch.randint(rows - start, (shared, count), generator=generator))

    kinds = draw(st.permutations(["index", "shared", "single", "plain"]))
    more = draw(st.lists(st.sampled_from(kinds), max_size=2))
    return [place(kind) for kind in [*kinds, *more]]


def looked_up(values: torch.Tensor, place: Place) -> torch.Tensor:
    """What the readers of a place read, one reader after the other."""
    found = []
    for run in range(len(values)):
        index = None if place.index is None else place.index[run % len(place.index)]
        numbers_read = [
            place.start + (int(index[reader]) if index is not None else 0 if place.single else reader)
            for reader in range(place.count)
        ]
        found.append(values[run, numbers_read])
    return torch.stack(found)


NO_PARAMETERS = torch.zeros(1, 5, dtype=torch.float64)
ROWS = 70


@some
@given(st.data(), st.integers(1, 3), st.sampled_from(WIDTHS), seeds)
def test_spread_reads_the_rows_that_places_name(data: st.DataObject, runs: int, width: int, seed: int) -> None:
    places = data.draw(all_kinds_of_places(ROWS, runs))
    textbook_agrees(
        lambda values: fused.spread(values, places),
        lambda values: torch.cat([looked_up(values, place) for place in places], dim=1),
        [numbers(seed)(runs, ROWS, width)],
        NO_PARAMETERS,
    )


@needs_kernels
@some
@given(st.data(), st.integers(1, 3), st.sampled_from(WIDTHS), seeds)
def test_the_kernel_of_spread_agrees(data: st.DataObject, runs: int, width: int, seed: int) -> None:
    places = data.draw(all_kinds_of_places(ROWS, runs))
    kernel_agrees(lambda values: fused.spread(values, places), [numbers(seed)(runs, ROWS, width)], NO_PARAMETERS)


def causal(shape: tuple[int, int, int, int], heads: int, seed: int) -> tuple[list[torch.Tensor], Operation, Operation]:
    """Inputs, and self-attention over sequences whose rows lie position after position: ours and the textbook's."""
    runs, length, batch, width = shape
    make = numbers(seed)
    inputs = [make(runs, length * batch, width), make(runs, length * batch, 2 * width)]
    own = [Place(j * batch, batch) for j in range(length)]

    def ours(queries: torch.Tensor, keys_values: torch.Tensor) -> torch.Tensor:
        return fused.attend(queries, keys_values, own, [own[: j + 1] for j in range(length)], heads)

    def textbook(queries: torch.Tensor, keys_values: torch.Tensor) -> torch.Tensor:
        def by_head(x: torch.Tensor) -> torch.Tensor:
            return x.view(runs, length, batch, heads, -1).permute(0, 2, 3, 1, 4)

        keys, values = keys_values.split(width, dim=2)
        mixed = F.scaled_dot_product_attention(*map(by_head, (queries, keys, values)), is_causal=True)
        return mixed.permute(0, 3, 1, 2, 4).reshape(runs, length * batch, width)

    return inputs, ours, textbook


@some
@given(st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 3, 65]), st.sampled_from(HEAD_SIZES), seeds)
def test_attend_is_torchs_causal_attention(runs: int, length: int, batch: int, head_size: int, seed: int) -> None:
    inputs, ours, textbook = causal((runs, length, batch, 2 * head_size), 2, seed)
    textbook_agrees(ours, textbook, inputs, NO_PARAMETERS)


@needs_kernels
@pytest.mark.parametrize("head_size", [*HEAD_SIZES, 128])
@pytest.mark.parametrize("heads", [1, 3])
def test_the_kernel_of_attend_agrees_for_every_size_of_a_head(head_size: int, heads: int) -> None:
    inputs, ours, _ = causal((2, 4, 5, heads * head_size), heads, head_size)
    kernel_agrees(ours, inputs, NO_PARAMETERS)


@needs_kernels
@some
@given(st.data(), st.integers(1, 3), st.sampled_from([1, 5, 8]), st.sampled_from([1, 2, 3]), seeds)
def test_the_kernel_of_attend_agrees_for_all_kinds_of_places(
    data: st.DataObject, runs: int, head_size: int, heads: int, seed: int
) -> None:
    width = head_size * heads
    groups = [data.draw(all_kinds_of_places(ROWS, runs)) for _ in range(2)]
    make = numbers(seed)
    kernel_agrees(
        lambda queries, keys_values: fused.attend(
            queries, keys_values, [group[0] for group in groups], [group[1:] for group in groups], heads
        ),
        [make(runs, ROWS, width), make(runs, ROWS, 2 * width)],
        NO_PARAMETERS,
    )


@some
@given(st.data(), st.integers(1, 3), st.sampled_from([1, 5, 8]), st.sampled_from([1, 2, 3]), seeds)
def test_attend_over_any_places_is_attention_over_the_rows_that_they_name(
    data: st.DataObject, runs: int, head_size: int, heads: int, seed: int
) -> None:
    width = head_size * heads
    asker, *sources = data.draw(all_kinds_of_places(ROWS, runs))

    def textbook(queries: torch.Tensor, keys_values: torch.Tensor) -> torch.Tensor:
        query = looked_up(queries, asker).unflatten(-1, (heads, 1, head_size))
        read = torch.stack([looked_up(keys_values, place) for place in sources], dim=2)
        keys, values = (each.unflatten(-1, (heads, -1)).transpose(2, 3) for each in read.split(width, dim=-1))
        return F.scaled_dot_product_attention(query, keys, values).flatten(2)

    textbook_agrees(
        lambda queries, keys_values: fused.attend(queries, keys_values, [asker], [sources], heads),
        textbook,
        [numbers(seed)(runs, ROWS, width), numbers(seed + 1)(runs, ROWS, 2 * width)],
        NO_PARAMETERS,
    )


# ---- cross-entropy


def targets_of(seed: int, runs: int, batch: int, classes: int) -> torch.Tensor:
    return torch.randint(classes, (runs, batch), generator=torch.Generator().manual_seed(seed))


@some
@given(shapes, seeds)
def test_cross_entropy_is_torchs(shape: tuple[int, int, int], seed: int) -> None:
    targets = targets_of(seed, *shape)
    textbook_agrees(
        lambda logits: fused.cross_entropy(logits, targets).losses,
        lambda logits: F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(shape[:2]),
        [numbers(seed)(*shape)],
        NO_PARAMETERS,
    )


@needs_kernels
@some
@given(shapes, seeds, st.sampled_from([0.01, 1.0, 20.0]))
def test_the_kernel_of_cross_entropy_agrees(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    targets = targets_of(seed, *shape)
    logits = numbers(seed)(*shape) * scale
    kernel_agrees(lambda each: fused.cross_entropy(each, targets).losses, [logits], NO_PARAMETERS)
    found, exact = (fused.cross_entropy(logits.to(each), targets) for each in (torch.float32, torch.float64))
    assert torch.equal(found.hits.double(), exact.hits)
    assert found.hits.dtype == found.saturated.dtype == torch.float32


@pytest.fixture(params=["kernels", "torch"])
def float32(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """float32 by the kernels, and by torch's operations."""
    if request.param == "kernels" and kernels.library() is None:
        pytest.skip("no C compiler made the kernels")
    before, kernels.enabled = kernels.enabled, request.param == "kernels"
    yield torch.float32
    kernels.enabled = before


def scores(logits: torch.Tensor, target: int) -> tuple[float, float, float]:
    """Loss, hit and saturation of one example."""
    found: ExampleScores = fused.cross_entropy(logits[None, None].clone(), torch.tensor([[target]]))
    return found.losses.item(), found.hits.item(), found.saturated.item()


@pytest.mark.parametrize("size", [1e3, 1e10, 1e38])
def test_large_logits_do_not_overflow(float32: torch.dtype, size: float) -> None:
    logits = torch.tensor([size, -size, 0.0], dtype=float32)
    assert scores(logits, 0) == (0.0, 1.0, 1.0)
    loss, hit, saturated = scores(logits, 1)
    assert loss == pytest.approx(2 * size, rel=1e-6) and (hit, saturated) == (0.0, 1.0)
    leaf = logits[None, None].clone().requires_grad_()
    (slope,) = torch.autograd.grad(fused.cross_entropy(leaf * 1, torch.tensor([[1]])).losses.sum(), leaf)
    assert slope.flatten().tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-30)


@pytest.mark.parametrize("others", [1, 7, 96])
def test_saturated_is_where_the_softmax_is_exactly_1_in_float32(float32: torch.dtype, others: int) -> None:
    # The other classes are to weigh 2^-25 together, which 1 + 2^-25 loses, or 2^-20, which it does not.
    for exponent, saturated in ((25, 1.0), (20, 0.0)):
        logits = torch.full((others + 1,), -exponent * math.log(2) - math.log(others), dtype=float32)
        logits[0] = 0.0
        assert scores(logits, 0)[2] == saturated
        assert float(logits.softmax(0).max() == 1) == saturated


def test_a_hit_is_where_the_target_scores_highest_and_the_first_of_equals_counts(float32: torch.dtype) -> None:
    logits = torch.tensor([0.0, 2.0, 2.0, -1.0], dtype=float32)
    assert [scores(logits, target)[1] for target in range(4)] == [0.0, 1.0, 0.0, 0.0]


# ---- numbers that are none


@pytest.mark.parametrize("position", [0, 1, 63, 64, 96])
def test_not_a_number_among_the_logits_makes_the_loss_none_and_leaves_other_examples(
    float32: torch.dtype, position: int
) -> None:
    logits = numbers(0)(2, 3, 97).to(float32)
    targets = targets_of(1, 2, 3, 97)
    clean = fused.cross_entropy(logits.clone(), targets).losses
    logits[1, 2, position] = math.nan
    found = fused.cross_entropy(logits.clone(), targets)
    assert math.isnan(found.losses[1, 2]) and found.saturated[1, 2] == 0
    found.losses[1, 2] = clean[1, 2]
    assert torch.equal(found.losses, clean)


@pytest.mark.parametrize(
    ("logits", "target", "loss"),
    [
        ([math.inf, 0.0], 0, math.nan),
        ([math.inf, 0.0], 1, math.nan),
        ([-math.inf, 0.0], 0, math.inf),
        ([-math.inf, 0.0], 1, 0.0),
        ([-math.inf, -math.inf], 0, math.nan),
    ],
)
def test_infinite_logits_give_the_losses_that_torch_gives(
    float32: torch.dtype, logits: list[float], target: int, loss: float
) -> None:
    expected = F.cross_entropy(torch.tensor([logits], dtype=torch.float64), torch.tensor([target])).item()
    found, _, _ = scores(torch.tensor(logits, dtype=float32), target)
    assert found == pytest.approx(loss, nan_ok=True) and expected == pytest.approx(loss, nan_ok=True)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("width", [1, 5, 97])
def test_norms_of_what_is_not_finite_are_no_numbers(float32: torch.dtype, wrong: float, width: int) -> None:
    x, gain, shift = numbers(0)(2, 3, width).to(float32), torch.ones(2, width), torch.zeros(2, width)
    clean = fused.norm(x.clone(), gain, shift)
    x[1, 2, width // 2] = wrong
    for found in (
        fused.norm(x.clone(), gain, shift),
        fused.add_norm(x.clone(), torch.zeros_like(x), shift, gain, shift),
    ):
        assert found[1, 2].isnan().all()
        found[1, 2] = clean[1, 2]
        torch.testing.assert_close(found, clean)


def test_gelu_of_what_is_not_finite(float32: torch.dtype) -> None:
    x = torch.tensor([math.nan, math.inf, 1e30, -1e30], dtype=float32)
    found = fused.gelu(x[None, None].clone(), torch.zeros(1, 4)).flatten().tolist()
    # torch's vectorised GELU(inf) is NaN on some CPUs; either way the loss is not finite, which is what ends a run.
    assert math.isnan(found[0]) and not math.isfinite(found[1]) and found[2:] == [pytest.approx(1e30), 0.0]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", [0, 8], ids=["key", "value"])
@pytest.mark.parametrize("position", [0, 2])
def test_attention_to_what_is_not_finite_is_not_finite(
    float32: torch.dtype, wrong: float, column: int, position: int
) -> None:
    (queries, keys_values), ours, _ = causal((1, 3, 2, 8), 2, 0)
    # All positive, so that an infinite key has an infinite score of its own sign.
    queries, keys_values = queries.abs().to(float32), keys_values.to(float32)
    keys_values[0, 2 * position, column] = wrong
    found = ours(queries, keys_values).view(3, 2, 2, 4)
    exact = ours(queries.double(), keys_values.double()).view(3, 2, 2, 4)
    assert torch.equal(found.isfinite(), exact.isfinite())
    assert found[:, 1].isfinite().all() and found[:position].isfinite().all()
    if math.isnan(wrong):
        assert found[position:, 0, 0].isnan().any(-1).all()


# ---- threads


@needs_kernels
def test_the_number_of_threads_changes_no_bit() -> None:
    runs, batch, width, heads = 3, 130, 40, 5
    make = numbers(0)
    # Shared readers too: several examples add to one row's gradient.
    shared = Place(0, batch, torch.arange(batch)[None] % 7)
    plain = Place(7, batch)
    widths = [width] * 3
    flat, targets = rows_of_flat(1, runs, *widths), targets_of(2, runs, batch, width)

    def whole(
        x: torch.Tensor, pairs: torch.Tensor, bias: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        mixed = fused.attend(x, pairs, [plain], [[shared, plain]], heads)
        y = fused.add_norm(fused.spread(x, [plain]), mixed, bias, gain, shift)
        y = fused.norm(fused.gelu(y * 1, bias), gain, shift)
        return fused.cross_entropy(y * 1, targets).losses

    inputs = [make(runs, 7 + batch, width), make(runs, 7 + batch, 2 * width)]
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(with_gradients(whole, inputs, flat, widths, torch.float32))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@needs_kernels
def test_a_run_is_the_same_to_the_bit_alone_and_in_a_stack() -> None:
    runs, batch, width = 3, 130, 40
    targets = targets_of(2, runs, batch, width)
    x, flat = numbers(0)(runs, batch, width), rows_of_flat(1, runs, width, width)

    def losses(rows: slice) -> list[torch.Tensor]:
        def chain(y: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            return fused.cross_entropy(fused.norm(fused.gelu(y, shift), gain, shift), targets[rows]).losses

        return with_gradients(chain, [x[rows]], flat[rows], [width, width], torch.float32)

    def of_run(found: list[torch.Tensor], run: int) -> list[torch.Tensor]:
        return [each[run] for each in found]

    for one, two in zip(of_run(losses(slice(0, 3)), 0), of_run(losses(slice(0, 1)), 0), strict=True):
        assert torch.equal(one, two)


def test_strided_parameters_are_views_of_the_flat_rows() -> None:
    (first, second) = sliced(rows_of_flat(0, 3, 5, 7), [5, 7])
    assert first.stride() == second.stride() == (17, 1) and not first.is_contiguous()
