import pytest
import torch
import torch.nn.functional as F

from sweeper.training.ops.triton import cross_entropy
from tests.training.ops.triton.numbers import assert_close, normal


@pytest.mark.parametrize(("runs", "batch", "classes", "line"), [(1, 1, 2, 16), (3, 70, 97, 112), (2, 5, 720, 720)])
def test_losses_hits_and_gradients_are_float64s(
    runs: int, batch: int, classes: int, line: int, device: torch.device
) -> None:
    make = normal(1, device)
    logits = make(runs, batch, line) * 5
    examples = torch.randint(50, (runs, batch), generator=torch.Generator().manual_seed(2)).to(device)
    targets = torch.randint(classes, (50,), generator=torch.Generator().manual_seed(3)).to(device)
    slope, dlogits = make(runs, batch), torch.full_like(logits, 7)
    losses, hits, saturated = cross_entropy.forward(logits, targets, examples, classes)
    cross_entropy.backward(logits, targets, examples, slope, dlogits, classes)
    exact = logits[..., :classes].double().requires_grad_()
    wanted = F.cross_entropy(exact.flatten(0, 1), targets[examples].flatten(), reduction="none").view(runs, batch)
    assert_close(losses, wanted.detach())
    assert torch.equal(hits, (exact.argmax(-1) == targets[examples]).float())
    assert not saturated.any()
    (gradient,) = torch.autograd.grad(wanted, exact, slope.double())
    assert_close(dlogits[..., :classes], gradient)
    assert not dlogits[..., classes:].any()


def test_a_softmax_that_is_1_somewhere_is_saturated_and_the_first_of_equal_scores_wins(device: torch.device) -> None:
    logits = torch.tensor([[[200.0, 0, 0, 9], [0, 0, 0, 9], [0, 1, 1, 9]]], device=device)
    targets, examples = torch.tensor([0, 2, 1], device=device), torch.arange(3, device=device)[None]
    losses, hits, saturated = cross_entropy.forward(logits, targets, examples, 3)
    assert saturated.tolist() == [[1, 0, 0]]
    assert hits.tolist() == [[1, 0, 1]]
    assert losses[0, 0] == 0
