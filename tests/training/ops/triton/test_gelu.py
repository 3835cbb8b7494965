import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from sweeper.training.ops.triton.gelu import gelu, gelu_slope


@triton.jit
def _both(x, y, slope, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.arange(0, SIZE)
    z = tl.load(x + at)
    tl.store(y + at, gelu(z))
    tl.store(slope + at, gelu_slope(z))


def test_gelu_and_its_slope_agree_over_their_whole_range(device: torch.device) -> None:
    x = torch.linspace(-20, 20, 8192, device=device)
    y, slope = torch.empty_like(x), torch.empty_like(x)
    _both[(1,)](x, y, slope, SIZE=8192)
    exact = x.double().requires_grad_()
    wanted = F.gelu(exact)
    torch.testing.assert_close(y.double(), wanted.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(slope.double(), torch.autograd.grad(wanted.sum(), exact)[0], rtol=0, atol=1e-6)
