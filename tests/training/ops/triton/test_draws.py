import pytest
import torch

from sweeper.training import rng
from sweeper.training.ops.triton import draws
from tests.training.ops.triton.numbers import normal


@pytest.mark.parametrize("columns", [1, 128, 300])
def test_draws_are_those_of_rng_to_the_bit(columns: int, device: torch.device) -> None:
    seeds = torch.tensor([0, -1, 2**63 - 1, 12345678901234], device=device)
    steps = torch.tensor([0, 1, 10**9, 77], device=device)
    below = torch.tensor([[1], [97], [9409], [4704]], device=device)
    table = torch.arange(4 * 9409, device=device).view(4, -1)
    for stream in (rng.TRAIN, rng.VALIDATION):
        source = draws.Source(seeds, stream, 2, steps, table, below)
        expected = torch.stack(
            [table[run][rng.draw(seeds[run : run + 1], stream, steps[run], columns, below[run])[0]] for run in range(4)]
        )
        assert torch.equal(draws.draw(source, columns), expected)


def test_a_batch_has_the_weights_rate_and_decay_of_its_update(device: torch.device) -> None:
    sizes = torch.tensor([[5, 130, 1], [2, 3, 200]], device=device)
    rates, decays = normal(1, device)(2, 2, 3).unbind(0)
    seeds, steps, below = (torch.tensor(each, device=device) for each in ([1, 2], [4, 9], [[7], [7]]))
    source = draws.Source(seeds, rng.TRAIN, 2, steps, torch.arange(14, device=device).view(2, 7), below)
    cursor = torch.tensor([1], device=device)
    rows, counts, weights, rate, decay = draws.batch(
        source, cursor, sizes, rates.contiguous(), decays.contiguous(), 140
    )
    assert torch.equal(rows, draws.draw(source, 140))
    expected = (torch.arange(140, device=device) < sizes[:, 1:2]).float()
    assert torch.equal(counts, expected)
    torch.testing.assert_close(weights, expected / sizes[:, 1:2], rtol=1e-6, atol=0)
    assert torch.equal(rate, rates[:, 1:2]) and torch.equal(decay, decays[:, 1:2])
