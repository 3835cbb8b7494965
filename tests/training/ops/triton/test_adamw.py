import torch

from sweeper.training.adamw import AdamW
from sweeper.training.parameters import spaced
from tests.training.ops.triton.numbers import assert_close, normal

RUNS, SIZE = 3, 1100


def test_updates_are_float64s_and_the_norm_of_the_gradient_comes_along(device: torch.device) -> None:
    make = normal(1, device)
    betas = torch.tensor([(0.9, 0.98), (0.8, 0.999), (0.0, 0.5)], device=device)
    epsilon, rate, decay = (torch.tensor(each, device=device)[:, None] for each in ([1e-8, 1e-3, 0.1],) * 3)
    start = make(RUNS, SIZE)
    gradients = [make(RUNS, SIZE) * 10.0 ** (-update) for update in range(3)]
    found, exact = (
        AdamW(spaced(start.clone()), betas, epsilon),
        AdamW(start.double(), betas.double(), epsilon.double()),
    )
    assert found._parameters.stride(0) % 32 == 0
    for gradient in gradients:
        found.step(gradient.split([100, 1000], dim=1), rate, decay)
        exact.step([gradient.double()], rate.double(), decay.double())
    for one, other in (
        (found._parameters, exact._parameters),
        (found.first, exact.first),
        (found.second, exact.second),
    ):
        assert_close(one, other)
    squares = found.squared_gradient([gradients[-1]])
    torch.testing.assert_close(squares, gradients[-1].square().sum(1), rtol=1e-5, atol=0)
