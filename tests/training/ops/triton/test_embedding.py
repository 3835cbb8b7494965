import torch

from sweeper.training.ops.triton import embedding
from tests.training.ops.triton.numbers import assert_close, flat, normal


def test_embedding_and_its_gradient_are_float64s(device: torch.device) -> None:
    runs, rows, width, vocabulary, length = 2, 50, 48, 9, 4
    both = flat(1, device, runs, (vocabulary + length + 1, width))[0]
    by_token, by_position = both.split([vocabulary, length + 1], dim=1)
    generator = torch.Generator().manual_seed(2)
    token = torch.randint(vocabulary, (runs, rows), generator=generator).int().to(device)
    position = torch.randint(length, (rows,), generator=generator).int().to(device)
    x, copy = (torch.empty(runs, rows, width, dtype=each, device=device) for each in (torch.float32, torch.bfloat16))
    embedding.forward(token, position, by_token, by_position, x, copy)
    picked = torch.stack([by_token[run][token[run]] + by_position[run][position] for run in range(runs)])
    assert torch.equal(x, picked)
    assert_close(copy, picked, 2**-7)
    dx, found = normal(3, device)(runs, rows, width), torch.full_like(both, 7)
    embedding.backward(token, position, dx, found, vocabulary)
    exact = torch.zeros_like(both, dtype=torch.float64)
    for run in range(runs):
        exact[run].index_add_(0, token[run], dx[run].double())
        exact[run].index_add_(0, position + vocabulary, dx[run].double())
    assert_close(found, exact)
