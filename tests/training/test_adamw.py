"""The stacked AdamW against torch's own, run by run, in float64."""

import pytest
import torch

from sweeper.training.adamw import AdamW
from sweeper.training.ops import kernels

RUNS, SIZE = 3, 7
BETAS = [(0.9, 0.98), (0.8, 0.999), (0.0, 0.5)]
EPSILON = [1e-8, 1e-3, 0.1]
DECAY = [0.5, 0.0, 2.0]


def rate_of(run: int, update: int) -> float:
    """Warm-up from 0, then another rate for every run and update."""
    return [1e-3, 1e-2, 0.1][run] * min(update / 3, 1) * (1 + 0.1 * (update % 4))


def stacked() -> tuple[AdamW, torch.Tensor]:
    parameters = initial()
    return AdamW(parameters, torch.tensor(BETAS, dtype=torch.float64), column(EPSILON)), parameters


def column(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def initial() -> torch.Tensor:
    return torch.randn(RUNS, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gradient(update: int) -> torch.Tensor:
    """Of very different sizes, with exact zeros."""
    found = torch.randn(RUNS, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(update + 1))
    found[:, 0] = 0
    return found * 10.0 ** torch.arange(-3, SIZE - 3)


def train(optimiser: AdamW, rows: list[int], updates: range) -> None:
    for update in updates:
        rate = column([rate_of(run, update) for run in rows])
        decay = rate * column([DECAY[run] for run in rows])
        optimiser.step(gradient(update)[rows].split([3, 4], dim=1), rate, decay)


def alone(run: int, updates: int) -> torch.Tensor:
    """One run with torch.optim.AdamW."""
    parameters = torch.nn.Parameter(initial()[run].clone())
    optimiser = torch.optim.AdamW([parameters], betas=BETAS[run], eps=EPSILON[run], weight_decay=DECAY[run])
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = rate_of(run, update)
        parameters.grad = gradient(update)[run].clone()
        optimiser.step()
    return parameters.detach()


@pytest.mark.parametrize("updates", [1, 2, 30])
def test_every_run_is_updated_as_torch_would_update_it_alone(updates: int) -> None:
    optimiser, parameters = stacked()
    train(optimiser, [0, 1, 2], range(updates))
    expected = torch.stack([alone(run, updates) for run in range(RUNS)])
    torch.testing.assert_close(parameters, expected, rtol=1e-12, atol=1e-14)
    assert optimiser.updates.flatten().tolist() == [updates] * RUNS


def test_a_first_update_at_rate_0_moves_nothing_but_counts_the_gradient() -> None:
    optimiser, parameters = stacked()
    train(optimiser, [0, 1, 2], range(1))
    assert torch.equal(parameters, initial())
    torch.testing.assert_close(optimiser.first, gradient(0) * (1 - column([b for b, _ in BETAS])))
    torch.testing.assert_close(optimiser.second, gradient(0) ** 2 * (1 - column([b for _, b in BETAS])))


@pytest.mark.parametrize("kept", [[0, 2], [1], [2, 0]])
def test_runs_that_are_kept_go_on_as_if_nothing_had_happened(kept: list[int]) -> None:
    optimiser, parameters = stacked()
    train(optimiser, [0, 1, 2], range(5))
    parameters = parameters[kept]
    optimiser = optimiser.take(torch.tensor(kept), parameters)
    train(optimiser, kept, range(5, 12))
    expected = torch.stack([alone(run, 12) for run in kept])
    torch.testing.assert_close(parameters, expected, rtol=1e-12, atol=1e-14)


def test_the_gradients_are_left_as_they_were() -> None:
    given = gradient(0)
    optimiser, _ = stacked()
    optimiser.step([given], column([0.1] * RUNS), column([0.1] * RUNS))
    assert torch.equal(given, gradient(0))


@pytest.mark.skipif(kernels.library() is None, reason="no C compiler made the kernels")
def test_the_kernel_updates_pieces_longer_than_a_thread_takes_as_float64_does() -> None:
    # A thread takes 16,384 parameters at a time; 40,000 are not a multiple, and the pieces begin anywhere.
    lengths = [1, 39_990, 9]
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(RUNS, sum(lengths), generator=generator)
    gradients = [torch.randn(start.shape, generator=generator) for _ in range(4)]
    found = []
    for dtype in (torch.float32, torch.float64):
        parameters = start.to(dtype, copy=True)
        optimiser = AdamW(parameters, torch.tensor(BETAS, dtype=dtype), column(EPSILON).to(dtype))
        assert (kernels.serve(parameters) is None) == (dtype == torch.float64)
        for update, given in enumerate(gradients):
            rate = column([rate_of(run, update) for run in range(RUNS)]).to(dtype)
            optimiser.step(given.to(dtype).split(lengths, dim=1), rate, rate * column(DECAY).to(dtype))
        found.append([parameters, optimiser.first, optimiser.second])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)
