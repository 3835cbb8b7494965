import torch

from sweeper.training.ops import fused
from tests.training.ops.triton.numbers import normal


def test_scores_of_examples_that_count_are_added(device: torch.device) -> None:
    make = normal(1, device)
    scores, counts = [make(3, 1100), make(3, 1100)], (make(3, 1100) > 0).float()
    sums = make(2, 3).double()
    expected = sums + torch.stack([(each.double() * counts).sum(1) for each in scores])
    fused.tally(sums, scores, counts)
    torch.testing.assert_close(sums, expected, rtol=0, atol=1e-4)
