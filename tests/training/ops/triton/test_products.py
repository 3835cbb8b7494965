import pytest
import torch

from sweeper.training.ops.triton.products import product
from tests.training.ops.triton.numbers import assert_close, flat, needs_gpu, normal


@pytest.mark.parametrize("sizes", [(1, 1, 16, 97), (3, 70, 48, 65), (2, 5, 97, 16)])
@pytest.mark.parametrize("turned", [True, False])
def test_products_are_float64s(sizes: tuple[int, ...], turned: bool, device: torch.device) -> None:
    runs, rows, inner, outer = sizes
    make = normal(1, device)
    x = make(runs, rows, 112)
    shape = (outer, inner) if turned else (inner, outer)
    weight, bias = flat(2, device, runs, shape, (outer,))
    weight = weight.mT if turned else weight
    added, y = make(runs, rows, outer), torch.full((runs, rows, 128), 7.0, device=device)
    product(x, weight, y, "float32", columns=inner, bias=bias, added=added)
    exact = x[..., :inner].double() @ weight.double() + bias.double()[:, None] + added
    assert_close(y[..., :outer], exact)
    assert not y[..., outer:].any()


def test_columns_that_early_rows_do_not_need_are_left_out(device: torch.device) -> None:
    make = normal(1, device)
    x, weight, y = make(1, 130, 16), make(1, 16, 192), torch.full((1, 130, 192), 7.0, device=device)
    product(x, weight, y, "float32", first=100, skipped=64)
    exact = x.double() @ weight.double()
    assert_close(y[:, 64:], exact[:, 64:])
    assert_close(y[:, :, 64:], exact[:, :, 64:])
    assert (y[:, :64, :64] == 7).all()


@needs_gpu
def test_bfloat16_rounds_factors_and_results(device: torch.device) -> None:
    make = normal(1, device)
    x, weight, y = make(1, 20, 32), make(1, 32, 16), torch.empty(1, 20, 16, device=device)
    product(x, weight, y, "bfloat16")
    assert torch.equal(y, y.bfloat16().float())
    # A sum next to the middle between two bfloat16 numbers may be rounded to either.
    assert_close(y, x.bfloat16().double() @ weight.bfloat16().double(), 2**-8)
