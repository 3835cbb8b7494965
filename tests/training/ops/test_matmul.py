"""Products in bfloat16 with and without units for it, the rounding itself, and which product a device gets."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.training.ops import kernels, matmul
from sweeper.training.ops.matmul import Product, exact, native_bfloat16, product_for, rounded_bfloat16

CPU = torch.device("cpu")
CPU_INFO = Path("/proc/cpuinfo")
ULP = 2.0**-7
"""The gap between neighbouring bfloat16 numbers, relative to the smaller, is at most this."""

needs_kernels = pytest.mark.skipif(kernels.library() is None, reason="no C compiler made the kernels")


@pytest.fixture(params=["kernel", "torch"])
def rounding(request: pytest.FixtureRequest) -> Iterator[str]:
    """Rounding by the kernel, and by torch."""
    if request.param == "kernel" and kernels.library() is None:
        pytest.skip("no C compiler made the kernels")
    before, kernels.enabled = kernels.enabled, request.param == "kernel"
    yield request.param
    kernels.enabled = before


def factors(runs: int, rows: int, inner: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows * inner + columns)
    shapes = ((runs, rows, inner), (runs, inner, columns), (runs, columns))
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    return x, weight, bias


def results(product: Product, *arguments: torch.Tensor) -> list[torch.Tensor]:
    """The product, and the gradients of a weighted sum of it."""
    leaves = [each.clone().requires_grad_() for each in arguments]
    y = product(*leaves)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), leaves)]


def within_one_ulp(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Up to one bfloat16 number apart; where terms cancel, one of the sum's typical size on float32's scale."""
    slack = 1e-6 * expected.abs().max()
    return bool(((found - expected).abs() <= ULP * torch.maximum(found.abs(), expected.abs()) + slack).all())


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 3, 7), (3, 65, 128, 97), (2, 130, 32, 96)])
def test_rounded_products_are_those_of_units_for_bfloat16_to_one_unit_in_the_last_place(
    rounding: str, shape: tuple[int, int, int, int]
) -> None:
    x, weight, bias = factors(*shape)
    found, expected = results(rounded_bfloat16, x, weight), results(native_bfloat16, x, weight)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == torch.float32
        # Every number is a bfloat16 number, whoever made it.
        assert torch.equal(one, one.bfloat16().float()) and torch.equal(other, other.bfloat16().float())
        assert within_one_ulp(one, other)
    with_bias = [results(product, x, weight, bias) for product in (rounded_bfloat16, native_bfloat16)]
    # The bias is added in float32, after the product was rounded.
    assert torch.equal(with_bias[0][0], found[0] + bias[:, None])
    assert torch.equal(with_bias[1][0], expected[0] + bias[:, None])
    assert torch.equal(with_bias[0][3], with_bias[1][3])


def test_rounded_products_are_the_exact_products_of_rounded_factors_rounded(rounding: str) -> None:
    x, weight, _ = factors(2, 33, 64, 20)
    a, b = x.bfloat16().double(), weight.bfloat16().double()
    y, dx, dweight = results(rounded_bfloat16, x, weight)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16().double()
    for found, expected in ((y, a @ b), (dx, weights @ b.mT), (dweight, a.mT @ weights)):
        assert within_one_ulp(found.double(), expected)
        # Nearest, not cut off: half a unit, but for sums that float32 puts on the other side of a tie.
        off = (found.double() - expected).abs() > ULP / 2 * expected.abs() * 1.001 + 1e-6
        assert off.double().mean() < 0.01


def test_rounded_products_leave_their_factors_as_they_were(rounding: str) -> None:
    x, weight, bias = factors(2, 5, 8, 3)
    before = [each.clone() for each in (x, weight, bias)]
    results(rounded_bfloat16, x, weight, bias)
    rounded_bfloat16(x, weight, bias)
    assert all(torch.equal(one, other) for one, other in zip((x, weight, bias), before, strict=True))


def test_rounded_products_of_transposed_factors(rounding: str) -> None:
    x, weight, _ = factors(2, 5, 8, 3)
    straight = rounded_bfloat16(x, weight)
    assert torch.equal(rounded_bfloat16(x.mT.contiguous().mT, weight.mT.contiguous().mT), straight)


# ---- rounding


def bits(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.view(torch.int32)


def from_bits(patterns: list[int] | torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(patterns, dtype=torch.int64).to(torch.int32).view(torch.float32)


SPECIAL = {
    "zeros": [0x00000000, 0x80000000],
    "subnormals": [0x00000001, 0x00007FFF, 0x00008000, 0x00008001, 0x00018000, 0x007FFFFF, 0x80000001, 0x807FFFFF],
    "smallest normal": [0x00800000, 0x00800001, 0x80800000],
    "ties": [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF808000, 0xBF818000],
    "carries into the exponent": [0x3FFF8000, 0x3FFFFFFF, 0x7F7F7FFF],
    "overflows": [0x7F7F8000, 0x7F7FFFFF, 0xFF7FFFFF],
    "infinities": [0x7F800000, 0xFF800000],
}


def same_bits(numbers: torch.Tensor) -> None:
    before = numbers.clone()
    found, expected = matmul._round(numbers), numbers.bfloat16().float()
    assert torch.equal(bits(found), bits(expected))
    assert torch.equal(bits(numbers), bits(before))
    assert torch.equal(bits(matmul._round(numbers, into=numbers)), bits(expected))
    assert torch.equal(bits(numbers), bits(expected))


@needs_kernels
@pytest.mark.parametrize("patterns", SPECIAL.values(), ids=SPECIAL)
def test_the_kernel_rounds_special_numbers_as_torch_does_to_the_bit(patterns: list[int]) -> None:
    same_bits(from_bits(patterns))
    # And among others, where the compiler's vectors are full.
    same_bits(from_bits(patterns * 37))


@needs_kernels
@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 2**31))
def test_the_kernel_rounds_any_numbers_as_torch_does_to_the_bit(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    numbers = from_bits(torch.randint(-(2**31), 2**31, (1001,), generator=generator))
    same_bits(numbers[~numbers.isnan()])


@needs_kernels
def test_the_kernel_rounds_every_upper_half_with_ties_as_torch_does() -> None:
    upper = torch.arange(2**16) << 16
    for lower in (0x0000, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        numbers = from_bits(torch.where(upper + lower >= 2**31, upper + lower - 2**32, upper + lower))
        same_bits(numbers[~numbers.isnan()])


def test_no_number_stays_no_number(rounding: str) -> None:
    # The last would become an infinity, or a zero, if it were rounded like a number.
    patterns = [0x7FC00000, 0x7F800001, 0x7FFFFFFF, -1, 0xFF800001 - 2**32]
    numbers = from_bits(patterns * 9)
    assert matmul._round(numbers).isnan().all()
    y = rounded_bfloat16(torch.tensor([[[math.nan, 1.0], [1.0, 1.0]]]), torch.ones(1, 2, 1))
    assert y.isnan().flatten().tolist() == [True, False]


# ---- which product


def test_the_exact_product_is_torchs_to_the_bit() -> None:
    x, weight, bias = factors(3, 17, 5, 9)
    assert torch.equal(exact(x, weight), torch.bmm(x, weight))
    expected = torch.stack([torch.addmm(b, a, w) for a, w, b in zip(x, weight, bias, strict=True)])
    torch.testing.assert_close(exact(x, weight, bias), expected, rtol=1e-6, atol=1e-6)
    wide = [each.double() for each in (x, weight, bias)]
    assert exact(*wide).dtype == torch.float64


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_float32_and_tf32_multiply_exactly_on_every_device(precision: str, device: str) -> None:
    assert product_for(precision, torch.device(device)) is exact


def test_a_gpu_multiplies_bfloat16_itself() -> None:
    assert product_for("bfloat16", torch.device("cuda")) is native_bfloat16


@pytest.mark.skipif(not CPU_INFO.exists(), reason="this system does not list the CPU's instructions")
def test_a_cpu_multiplies_bfloat16_itself_where_it_has_units_for_it() -> None:
    has_units = not {"avx512_bf16", "amx_tile"}.isdisjoint(CPU_INFO.read_text().split())
    assert product_for("bfloat16", CPU) is (native_bfloat16 if has_units else rounded_bfloat16)
