"""Every row of every table by plain Python arithmetic, and splits of the published sizes."""

from collections.abc import Callable
from itertools import permutations, product

import pytest
import torch

from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.learners.modular_arithmetic import LENGTH, Split, Table, build_table, split


def table(operation: str, modulus: int = 97, degree: int = 5) -> Table:
    task = ModularArithmetic(name="modular_arithmetic", operation=(operation,), modulus=modulus, degree=degree)
    return build_table(task, operation)


def elements(of: Table) -> list[tuple[int, int, int]]:
    """(a, b, c) of every row, the token ids checked and taken off."""
    assert of.tokens.dtype == of.targets.dtype == torch.int64
    assert of.tokens.shape == (len(of.targets), LENGTH)
    assert set(of.tokens[:, 1].tolist()) == {0}
    assert set(of.tokens[:, 3].tolist()) == {1}
    return [(a - 2, b - 2, c) for (a, _, b, _), c in zip(of.tokens.tolist(), of.targets.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("operation", "pairs", "classes"),
    [("x_plus_y", 9409, 97), ("x_minus_y", 9409, 97), ("x_div_y", 9312, 97), ("permutation", 14400, 120)],
)
def test_the_published_numbers_of_pairs_and_tokens(operation: str, pairs: int, classes: int) -> None:
    built = table(operation)
    assert (len(built.targets), built.classes, built.vocabulary) == (pairs, classes, classes + 2)
    assert set(built.targets.tolist()) == set(range(classes))
    assert (int(built.tokens.min()), int(built.tokens.max())) == (0, built.vocabulary - 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        ("x_plus_y", lambda a, b: a + b),
        ("x_minus_y", lambda a, b: a - b),
        ("x_times_y", lambda a, b: a * b),
        ("x2_plus_y2", lambda a, b: a * a + b * b),
        ("x2_plus_xy_plus_y2", lambda a, b: a * a + a * b + b * b),
        ("x2_plus_xy_plus_y2_plus_x", lambda a, b: a * a + a * b + b * b + a),
        ("x3_plus_xy", lambda a, b: a * a * a + a * b),
        ("x3_plus_xy2_plus_y", lambda a, b: a * a * a + a * b * b + b),
    ],
)
def test_polynomials_are_right_for_every_pair(operation: str, rule: Callable[[int, int], int]) -> None:
    for modulus in (2, 7, 12, 97):
        built = table(operation, modulus)
        expected = [(a, b, rule(a, b) % modulus) for a, b in product(range(modulus), repeat=2)]
        assert sorted(elements(built)) == expected, modulus
        assert built.classes == modulus


@pytest.mark.parametrize("modulus", [2, 7, 97])
def test_quotients_are_right_for_every_pair_but_those_that_divide_by_0(modulus: int) -> None:
    expected = [(a, b, a * pow(b, -1, modulus) % modulus) for a in range(modulus) for b in range(1, modulus)]
    assert sorted(elements(table("x_div_y", modulus))) == expected


def then(*word: tuple[int, ...]) -> tuple[int, ...]:
    """The product of permutations, the last applied first."""
    found = tuple(range(len(word[0])))
    for each in reversed(word):
        found = tuple(each[k] for k in found)
    return found


def inverse(of: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(of.index(k) for k in range(len(of)))


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        ("permutation", then),
        ("permutation_conjugation", lambda a, b: then(a, b, inverse(a))),
        ("permutation_xyx", lambda a, b: then(a, b, a)),
    ],
)
def test_words_of_permutations_are_right_for_every_pair(
    operation: str, rule: Callable[[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]
) -> None:
    for degree in (2, 3, 5):
        group = list(permutations(range(degree)))
        number = {each: i for i, each in enumerate(group)}
        expected = [(i, j, number[rule(a, b)]) for (i, a), (j, b) in product(enumerate(group), repeat=2)]
        assert sorted(elements(table(operation, degree=degree))) == expected, degree


def whole(of: Split) -> list[int]:
    return sorted(of.train.tolist() + of.validation.tolist())


@pytest.mark.parametrize(
    ("operation", "train", "validation"),
    [("x_plus_y", 4704, 4705), ("x_minus_y", 4704, 4705), ("x_div_y", 4656, 4656), ("permutation", 7200, 7200)],
)
def test_the_published_sizes_of_the_split(operation: str, train: int, validation: int) -> None:
    built = table(operation)
    found = split(built, 0.5, 0)
    assert (len(found.train), len(found.validation)) == (train, validation)
    assert whole(found) == list(range(len(built.targets)))


@pytest.mark.parametrize(("fraction", "train"), [(0.7, 70), (0.07, 7), (0.29, 29), (0.299, 29), (0.999, 99)])
def test_a_fraction_of_a_hundred_pairs_is_cut_off_but_not_by_rounding(fraction: float, train: int) -> None:
    found = split(table("x_plus_y", 10), fraction, 1)
    assert (len(found.train), len(found.validation)) == (train, 100 - train)


def test_a_split_is_its_seeds_own() -> None:
    built = table("x_plus_y", 23)
    first, again, other = (split(built, 0.5, seed) for seed in (5, 5, 6))
    assert torch.equal(first.train, again.train)
    assert torch.equal(first.validation, again.validation)
    assert not torch.equal(first.train, other.train)


def test_a_split_leaves_torchs_own_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    split(table("x_plus_y", 5), 0.5, 0)
    assert torch.equal(torch.rand(3), expected)


def test_a_split_is_shuffled_evenly() -> None:
    # Each of 49 rows trains in about half of 400 splits: 200, with a standard deviation of 10.
    built = table("x_plus_y", 7)
    counts = torch.zeros(49)
    for seed in range(400):
        counts[split(built, 0.5, seed).train] += 1
    assert counts.sum() == 400 * 24
    assert (counts - 400 * 24 / 49).abs().max() < 45


def test_a_smaller_training_share_of_a_seed_is_part_of_a_larger_one() -> None:
    built = table("x_plus_y", 23)
    small, large = split(built, 0.2, 5), split(built, 0.6, 5)
    assert set(small.train.tolist()) < set(large.train.tolist())
