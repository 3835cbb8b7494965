"""Bounds of heights against every vertex, against random codewords, and against values worked out by hand."""

from itertools import combinations, product

import numpy as np
import pytest
import torch

from sweeper.training.learners.m_height.bounds import bounded, lower_bounds, violations

VECTORS = [
    ([[0.4759809, 0.9938236, 0.819425], [-0.8960798, -0.7442706, 0.3345122]], [1.4498244, 1.9242386, 5.4390393]),
    ([[1, 2], [3, -1]], [4, 10]),
    ([[1, 2], [-3, 1], [2, 5]], [8, 27]),
    ([[0, 2], [3, -1]], [3]),
    ([[10, -20], [7, 3], [-5, 8], [1, -9]], [27.2, 182]),
    ([[1, 1, 1]], [1, 1, 1]),
    ([[1], [1], [1]], [3]),
]
"""P, and h_1, h_2, ... as published or known; infinite beyond."""

GROUPS = [(n, k, m) for n in (9, 10) for k in (4, 5, 6) for m in range(2, n - k + 1)]


def padded(p: np.ndarray) -> torch.Tensor:
    matrix = torch.zeros(6, 6, dtype=torch.float64)
    matrix[: p.shape[0], : p.shape[1]] = torch.as_tensor(p)
    return matrix


def bound(p: np.ndarray, m: int) -> float:
    k, n = p.shape[0], sum(p.shape)
    return lower_bounds(padded(p)[None], torch.tensor([[n, k, m]])).item()


def ratio(word: np.ndarray, m: int) -> float:
    magnitudes = np.sort(np.abs(word))[::-1]
    return float(magnitudes[0] / magnitudes[m]) if magnitudes[m] else np.inf


def generator_of(p: np.ndarray) -> np.ndarray:
    return np.hstack([np.eye(len(p)), p])


def height(p: np.ndarray, m: int) -> float:
    """The m-height: the best ratio of the words that are ±1 on k coordinates, over all k coordinates and signs."""
    g = generator_of(p)
    k, n = g.shape
    words = (
        np.array(signs) @ np.linalg.inv(g[:, chosen]) @ g
        for chosen in map(list, combinations(range(n), k))
        if abs(np.linalg.det(g[:, chosen])) > 1e-9
        for signs in product([1, -1], repeat=k)
    )
    return max(ratio(word, m) for word in words)


@pytest.mark.parametrize(("p", "heights"), VECTORS, ids=str)
def test_no_bound_is_above_a_known_height(p: list[list[float]], heights: list[float]) -> None:
    matrix = np.array(p, dtype=np.float64)
    for m, known in enumerate(heights, 1):
        assert height(matrix, m) == pytest.approx(known)
        assert 0 <= bound(matrix, m) <= np.log2(known) + 1e-12
    assert bound(matrix, 0) == 0


def test_bounds_worked_out_by_hand() -> None:
    # Words (1,0,1,2), (0,1,3,-1), (1,1,4,1) and (1,-1,-2,3).
    p = np.array([[1.0, 2], [3, -1]])
    assert [2 ** bound(p, m) for m in (0, 1, 2, 3)] == pytest.approx([1, 4, 4, np.inf])
    assert [2 ** bound(np.array([[1.0], [1], [1]]), m) for m in (1, 2)] == pytest.approx([3, np.inf])


@pytest.mark.slow
@pytest.mark.parametrize(("n", "k"), [(9, 4), (9, 6), (10, 4), (10, 6)])
def test_no_bound_is_above_the_height_of_a_random_code(n: int, k: int) -> None:
    random = np.random.default_rng(n * k)
    for _ in range(2):
        p = random.uniform(-100, 100, size=(k, n - k))
        for m in (1, 2, n - k):
            known = height(p, m)
            tried = max(ratio(word, m) for word in random.normal(size=(300, k)) @ generator_of(p))
            assert 2 ** bound(p, m) <= known * (1 + 1e-9)
            assert tried <= known * (1 + 1e-9)


def test_a_table_of_all_groups_is_bounded_row_by_row() -> None:
    random = np.random.default_rng(5)
    rows = random.permutation(GROUPS * 3)
    matrices = [random.uniform(-100, 100, size=(k, n - k)) for n, k, _ in rows]
    found = lower_bounds(torch.stack([padded(p) for p in matrices]).float(), torch.as_tensor(rows))
    assert found.dtype == torch.float64
    expected = []
    for p, (_, k, m) in zip(matrices, rows, strict=True):
        informations = [*np.eye(k), *map(np.array, product([1, -1], repeat=k))]
        expected.append(max(ratio(information @ generator_of(p), m) for information in informations))
    np.testing.assert_allclose(found.numpy(), np.log2(expected), rtol=1e-5)


def test_bounds_grow_with_m_and_ignore_signs_and_order() -> None:
    random = np.random.default_rng(6)
    p = random.uniform(-100, 100, size=(5, 5))
    bounds = [bound(p, m) for m in range(6)]
    assert bounds == sorted(bounds) and bounds[0] == 0 and bounds[-1] > 1
    turned = p[random.permutation(5)][:, random.permutation(5)]
    turned = turned * random.choice([1, -1], size=(5, 1)) * random.choice([1, -1], size=5)
    assert [bound(turned, m) for m in range(6)] == pytest.approx(bounds)


def test_an_empty_table_has_no_bounds() -> None:
    assert lower_bounds(torch.zeros(0, 6, 6), torch.zeros(0, 3, dtype=torch.int64)).shape == (0,)


# ---- the bound at 0, and the violations


def test_predictions_are_held_at_0_and_those_that_were_below_are_marked() -> None:
    raw = torch.tensor([[-1.5, -0.0, 0.0], [1e-30, 3.7, -1e-30]])
    prediction, clamped = bounded(raw)
    assert torch.equal(prediction, raw.clamp(min=0))
    assert clamped.tolist() == [[True, False, False], [False, False, True]]


@pytest.mark.slow
def test_a_prediction_that_is_held_at_0_still_learns() -> None:
    raw, target = torch.tensor([-50.0, 2.0], requires_grad=True), 7.0
    (gradient,) = torch.autograd.grad((bounded(raw)[0] - target).square().sum(), raw)
    # Twice what is missing from the prediction, which is 0 and 2.
    assert gradient.tolist() == [-14.0, -10.0]
    for _ in range(200):
        loss = (bounded(raw)[0] - target).square().sum()
        raw = (raw - 0.1 * torch.autograd.grad(loss, raw)[0]).detach().requires_grad_()
    torch.testing.assert_close(raw.detach(), torch.full((2,), target))


def test_violations_are_the_squared_amounts_below_the_bound() -> None:
    prediction = torch.tensor([1.0, 3.0, 4.0], requires_grad=True)
    found = violations(prediction, torch.full((3,), 3.0))
    assert found.tolist() == [4.0, 0.0, 0.0]
    assert torch.autograd.grad(found.sum(), prediction)[0].tolist() == [-4.0, 0.0, 0.0]
