import pytest
import torch

from sweeper.training.ops import fused
from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.ops.triton import attention
from sweeper.training.ops.triton.arrange import Arranger
from tests.training.ops.triton.examples import drawn, tokens
from tests.training.ops.triton.numbers import assert_close, normal


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [(1, 3, 0, 2, 3, 48), (2, 20, 0, 2, 2, 16), (2, 20, 1, 2, 4, 16), (1, 30, 1, 3, 1, 16)],
)
def test_attention_and_its_gradients_are_float64s(sizes: tuple[int, ...], device: torch.device) -> None:
    runs, batch, block, depth, heads, width = sizes
    prefixes, examples = Prefixes(tokens(7).to(device)), drawn(runs, batch).to(device)
    placed, layout = Arranger(prefixes).arrange(examples), prefixes.arrange(examples)
    readers, places = placed.readers(block, depth), layout.first if block == 0 else layout.later
    if block == depth - 1:
        places = places[-1:]
    rows = placed.tokens.shape[1] if block == 0 else placed.later.count
    make = normal(1, device)
    qkv, x = make(runs, rows, 3 * width), make(runs, rows, width)
    mixed, dmixed, drest = (make(runs, readers.count, width) for _ in range(3))
    attention.attend(qkv, readers, mixed, heads)
    dqkv, dx = torch.full_like(qkv, 7), torch.full_like(x, 7)
    attention.backward(qkv, readers, dmixed, drest, dqkv, dx, heads)
    # torch's form of the same.
    exact, around = qkv.double().requires_grad_(), x.double().requires_grad_()
    queries, keys_values = exact.split([width, 2 * width], dim=2)
    own = [sources[-1] for sources in places]
    wanted = fused.attend(queries, keys_values, own, places, heads)
    assert_close(mixed, wanted.detach())
    passed = fused.spread(around, own)
    slopes = torch.autograd.grad([wanted, passed], [exact, around], [dmixed.double(), drest.double()])
    assert_close(dqkv, slopes[0])
    assert_close(dx, slopes[1])
