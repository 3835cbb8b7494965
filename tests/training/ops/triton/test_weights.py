import torch
import torch.nn.functional as F

from sweeper.training.ops.triton import weights
from tests.training.ops.triton.numbers import assert_close, normal


def test_gradients_of_weights_biases_and_sums_are_float64s(device: torch.device) -> None:
    runs, make = 2, normal(1, device)
    a, g = make(runs, 70, 48), make(runs, 70, 112)
    hidden, h = make(runs, 5, 80), make(runs, 5, 16)
    sums = make(runs, 3, 32)
    parameters = make(runs, 9000)
    found = torch.full((runs, 9000), 7.0, device=device)
    tasks = [
        weights.GradientTask(0, 112, 70, 97, bias=0, a=0, a_line=48, inputs=48, weight=97),
        weights.GradientTask(
            g.numel(), 16, 5, 16, bias=5000, a=a.numel(), a_line=80, inputs=80, weight=5016, activated=40
        ),
        weights.GradientTask(16, 32, 3, 16, bias=8000),
    ]
    factors, slopes = (torch.cat([one.flatten(), other.flatten()]) for one, other in ((a, hidden), (g, h)))
    tables = weights.tables(tasks, device)
    weights.backward(tables, factors, slopes, sums.flatten(), parameters, found, "float32")
    a, g, hidden, h, sums = (each.double() for each in (a, g, hidden, h, sums))
    exact = torch.full((runs, 9000), 7.0, dtype=torch.float64, device=device)
    exact[:, :97] = g[..., :97].sum(1)
    exact[:, 97 : 97 + 48 * 97] = (a.mT @ g[..., :97]).flatten(1)
    exact[:, 5000:5016] = h.sum(1)
    active = F.gelu(hidden + parameters[:, None, 40:120].double())
    exact[:, 5016 : 5016 + 1280] = (active.mT @ h).flatten(1)
    exact[:, 8000:8016] = sums[..., 16:].sum(1)
    assert_close(found, exact)
