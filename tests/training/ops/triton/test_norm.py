import pytest
import torch
import torch.nn.functional as F

from sweeper.training.ops import fused
from tests.training.ops.triton.numbers import assert_close, flat, normal


@pytest.mark.parametrize(("runs", "rows", "width"), [(1, 1, 5), (3, 70, 16), (2, 9, 97), (1, 3, 2304)])
@pytest.mark.parametrize("add", [True, False])
def test_norm_and_its_gradients_are_float64s(runs: int, rows: int, width: int, add: bool, device: torch.device) -> None:
    make = normal(1, device)
    inputs = [make(runs, rows, width) for _ in range(2 if add else 1)]
    parameters = flat(2, device, runs, *[(width,)] * (3 if add else 2))
    slope = make(runs, rows, width)

    def textbook(*given: torch.Tensor) -> torch.Tensor:
        *x, gain, shift = given
        bias = x.pop()[:, None] if add else 0
        return F.layer_norm(sum(x) + bias, (width,), eps=1e-5) * gain[:, None] + shift[:, None]

    found = _with_gradients(fused.add_norm if add else fused.norm, [*inputs, *parameters], slope)
    exact = _with_gradients(textbook, [each.double() for each in [*inputs, *parameters]], slope.double())
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other)


def _with_gradients(operation: object, given: list[torch.Tensor], slope: torch.Tensor) -> list[torch.Tensor]:
    leaves = [each.detach().clone().requires_grad_() for each in given]
    result = operation(*leaves)  # type: ignore[operator]
    return [result.detach(), *torch.autograd.grad(result, leaves, slope)]
