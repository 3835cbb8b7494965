"""Draws are uniform, reproducible, and a function of seed, stream, step and column alone."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sweeper.training.rng import TRAIN, VALIDATION, draw

SEEDS = torch.tensor([0, 1, 2, 12345, 2**62 - 1])
MASK = 2**64 - 1


def below(*counts: int) -> torch.Tensor:
    return torch.tensor(counts)[:, None]


def same(count: int, runs: int = len(SEEDS)) -> torch.Tensor:
    return torch.full((runs, 1), count)


def mixed(x: int) -> int:
    """SplitMix64's finaliser in whole numbers (Steele, Lea and Flood 2014)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_draws_are_splitmix64_by_the_book() -> None:
    golden = 0x9E3779B97F4A7C15
    for stream, step in [(TRAIN, 0), (VALIDATION, 0), (TRAIN, 7499)]:
        keys = [mixed((seed * golden + 2 * step + stream + 1) & MASK) for seed in SEEDS.tolist()]
        expected = [[(mixed((key + (j + 1) * golden) & MASK) & (2**62 - 1)) % 97 for j in range(6)] for key in keys]
        assert draw(SEEDS, stream, step, 6, same(97)).tolist() == expected


@pytest.mark.parametrize("count", [1, 2, 97, 4704, 2**31 + 11])
def test_draws_are_at_least_0_and_below_the_count(count: int) -> None:
    found = draw(SEEDS, TRAIN, 3, 5000, same(count))
    assert found.dtype == torch.int64
    assert found.shape == (5, 5000)
    assert found.min() >= 0
    assert found.max() < count
    assert found.max() >= (count - 1) * 0.9


def test_each_run_has_its_own_count() -> None:
    counts = below(1, 10, 100, 1000, 10_000)
    together = draw(SEEDS, TRAIN, 3, 2000, counts)
    assert [int(row.max()) for row in together] == [0, 9, 99, pytest.approx(999, abs=10), pytest.approx(9999, abs=50)]
    for row in range(5):
        alone = draw(SEEDS[row : row + 1], TRAIN, 3, 2000, counts[row : row + 1])
        assert together[row].tolist() == alone[0].tolist()


def test_the_first_columns_do_not_depend_on_how_many_are_drawn() -> None:
    wide = draw(SEEDS, TRAIN, 11, 640, same(4704))
    for columns in (1, 5, 512, 639):
        assert torch.equal(draw(SEEDS, TRAIN, 11, columns, same(4704)), wide[:, :columns])


def test_the_same_call_draws_the_same() -> None:
    assert torch.equal(draw(SEEDS, VALIDATION, 5, 100, same(97)), draw(SEEDS, VALIDATION, 5, 100, same(97)))


def test_seeds_streams_and_steps_all_draw_apart() -> None:
    count, columns = 1000, 2000
    rows = [draw(SEEDS, stream, step, columns, same(count)) for stream in (TRAIN, VALIDATION) for step in range(4)]
    found = torch.cat(rows)
    agreement = (found[:, None] == found[None]).double().mean(-1)
    agreement.fill_diagonal_(0)
    # Two independent rows agree in 1 of 1000 columns; 0.01 is over ten standard deviations more.
    assert agreement.max() < 0.01


def chi_square(values: torch.Tensor, cells: int) -> float:
    return float(chisquare(np.bincount(values.flatten().numpy(), minlength=cells)).pvalue)


@pytest.mark.parametrize("seed", [0, 1, 2**61 + 7])
@pytest.mark.parametrize("cells", [2, 97, 1000])
def test_draws_are_uniform_over_the_columns_of_a_step(seed: int, cells: int) -> None:
    found = draw(torch.tensor([seed]), TRAIN, 42, 50_000, same(cells, 1))
    assert 1e-4 < chi_square(found, cells) < 1 - 1e-4


@pytest.mark.parametrize("stream", [TRAIN, VALIDATION])
def test_draws_are_uniform_over_the_steps_of_a_column(stream: int) -> None:
    found = torch.cat([draw(SEEDS, stream, step, 4, same(20)) for step in range(1000)])
    for column in range(4):
        assert 1e-4 < chi_square(found[:, column], 20) < 1 - 1e-4


def test_draws_are_uniform_over_consecutive_seeds() -> None:
    found = draw(torch.arange(5000), TRAIN, 0, 4, same(20, 5000))
    for column in range(4):
        assert 1e-4 < chi_square(found[:, column], 20) < 1 - 1e-4


def test_neighbours_in_columns_steps_and_seeds_are_independent() -> None:
    cells = 16
    columns = draw(torch.tensor([3]), TRAIN, 0, 40_001, same(cells, 1))[0]
    steps = torch.stack([draw(torch.tensor([3]), TRAIN, step, 10, same(cells, 1))[0] for step in range(1500)])
    seeds = draw(torch.arange(4001), TRAIN, 0, 10, same(cells, 4001))
    pairs = [(columns[:-1], columns[1:]), (steps[:-1], steps[1:]), (seeds[:-1], seeds[1:])]
    for first, second in pairs:
        assert 1e-4 < chi_square(first * cells + second, cells * cells) < 1 - 1e-4
