import torch

from sweeper.training.parameters import Flat
from tests.training.ops.triton.numbers import normal


def test_norms_by_prefix_are_float64s(device: torch.device) -> None:
    shapes = {"a.weight": (3, 5), "a.bias": (2100,), "b.weight": (7,)}
    values = normal(1, device)(2, 2122)
    found = Flat(shapes, values).norms(["", "a.", "b.", "c."])
    exact = Flat(shapes, values.double()).norms(["", "a.", "b.", "c."])
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)
