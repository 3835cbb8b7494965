"""Heights against published vectors, linear programs, ranks, and what must not change them."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.optimize import linprog

from sweeper.training.learners.m_height import heights
from sweeper.training.learners.m_height.heights import Reals, profiles

INF = math.inf


def profile(P: object) -> Reals:
    """Of one code."""
    return profiles(np.array([P], dtype=np.float64))[0]


def generator(P: Reals) -> Reals:
    return np.hstack([np.eye(len(P)), P])


def reduced(G: Reals) -> Reals:
    """P of the generator [I | P] of the same code."""
    k = len(G)
    return np.linalg.solve(G[:, :k], G[:, k:])


def distance(G: Reals) -> int:
    """The fewest columns without which the rank is below k, set by set."""
    k, n = G.shape
    lighter = (
        deleted
        for deleted in range(1, n)
        for kept in combinations(range(n), n - deleted)
        if np.linalg.matrix_rank(G[:, kept], tol=1e-9 * abs(G).max()) < k
    )
    return next(lighter, n)


def by_linear_programs(G: Reals, m: int) -> float:
    """h_m for m < d: maximise c_a with |c_j| <= 1 outside S, for every S of m columns and a in S, as one program."""
    k, n = G.shape
    programs = [(a, np.delete(G, S, axis=1).T) for S in combinations(range(n), m) for a in S]
    found = linprog(
        -np.concatenate([G[:, a] for a, _ in programs]),
        A_ub=block_diag(*[np.vstack([outside, -outside]) for _, outside in programs]),
        b_ub=np.ones(2 * (n - m) * len(programs)),
        bounds=(None, None),
        method="highs",
    )
    assert found.status == 0, found.message
    solutions = found.x.reshape(-1, k)
    return max(float(u @ G[:, a]) for u, (a, _) in zip(solutions, programs, strict=True))


@pytest.mark.parametrize(
    ("P", "expected"),
    [
        (
            [[0.4759809, 0.9938236, 0.819425], [-0.8960798, -0.7442706, 0.3345122]],
            [1.4498243612, 1.9242385747, 5.4390392936, INF],
        ),
        ([[1, 2], [3, -1]], [4, 10, INF]),
        ([[1, 2], [-3, 1], [2, 5]], [8, 27, INF, INF]),
        ([[0, 2], [3, -1]], [3, INF, INF]),
        ([[10, -20], [7, 3], [-5, 8], [1, -9]], [27.2, 182, INF, INF, INF]),
        ([[1, 1, 1, 1, 1]], [1, 1, 1, 1, 1]),
        ([[1], [1], [1], [1], [1], [1]], [6, INF, INF, INF, INF, INF]),
        ([[0, 0], [0, 0]], [INF, INF, INF]),
    ],
)
def test_published_vectors(P: list[list[float]], expected: list[float]) -> None:
    np.testing.assert_allclose(profile(P), expected, rtol=1e-9)


def test_five_equiangular_columns() -> None:
    angles = np.arange(5) * np.pi / 5
    golden = (1 + math.sqrt(5)) / 2
    expected = [2 / golden, golden, 2 * golden, INF]
    np.testing.assert_allclose(profile(reduced(np.array([np.cos(angles), np.sin(angles)]))), expected, rtol=1e-9)


def drawn(trial: int) -> Reals:
    """P of a small code: real numbers; integers, with ties and light codewords; or such in another basis, rounded."""
    chance = np.random.default_rng(trial)
    k, redundancy = chance.integers(1, 5, 2)
    if trial % 3 == 0:
        return chance.uniform(-100, 100, (k, redundancy))
    if trial % 3 == 1:
        return chance.integers(-3, 4, (k, redundancy)).astype(np.float64)
    while True:
        G = chance.integers(-3, 4, (k, k + redundancy)).astype(np.float64)
        if abs(np.linalg.det(G[:, :k])) > 0.5:
            return reduced(G)


@pytest.mark.slow
def test_linear_programs_say_the_same() -> None:
    compared, infinite = 0, 0
    for trial in range(200):
        P = drawn(trial)
        G, found = generator(P), profile(P)
        d, n = distance(G), sum(P.shape)
        assert np.isinf(found).tolist() == [m >= d for m in range(1, n)]
        infinite += d <= P.shape[1]
        if d > 1:
            m = 1 + trial % (d - 1)
            assert found[m - 1] == pytest.approx(by_linear_programs(G, m), rel=1e-7), (P, m)
            compared += 1
    assert compared > 170
    assert infinite > 60


def test_what_rounding_leaves_of_a_minor_that_is_0_is_no_vertex() -> None:
    G = np.array([[3, 2, -3, -3, -2], [-1, 1, 0, -2, 0], [1, 0, -1, -1, 1]], dtype=np.float64)
    np.testing.assert_allclose(profile(reduced(G)), [23 / 6, INF, INF, INF], rtol=1e-9)


def test_what_rounding_leaves_above_1_is_a_1() -> None:
    largest, above = heights._vertices(np.array([[[1 + 1e-12, 1 + 1e-9], [5, -5]]]))
    assert (largest.tolist(), above.tolist()) == ([[5, 5]], [[1, 2]])


@pytest.mark.parametrize(("k", "redundancy", "weight"), [(4, 5, 2), (4, 5, 4), (5, 4, 3), (3, 6, 5), (6, 4, 1)])
def test_a_light_codeword_makes_heights_infinite_from_its_weight_on(k: int, redundancy: int, weight: int) -> None:
    chance = np.random.default_rng(weight)
    P = chance.uniform(-100, 100, (20, k, redundancy))
    # The first `few` rows, combined at random, vanish on so many columns of P.
    few = min(k, weight)
    zeros = redundancy - (weight - few)
    combination = np.zeros(k)
    combination[:few] = chance.uniform(0.5, 2, few)
    along = combination @ P[:, :, :zeros] / (combination @ combination)
    P[:, :, :zeros] -= combination[:, None] * along[:, None, :]
    signs, order = chance.choice([-1, 1], redundancy), chance.permutation(redundancy)
    found = profiles(P[:, :, order] * signs)
    assert [distance(generator(each)) for each in P[:3]] == [weight] * 3
    assert np.isfinite(found).tolist() == [[m < weight for m in range(1, k + redundancy)]] * 20


def test_a_profile_rises_from_1_and_does_not_depend_on_its_company() -> None:
    P = np.random.default_rng(0).uniform(-100, 100, (600, 3, 4))
    P[::50, 1, 2] = 0
    found = profiles(P)
    assert np.isfinite(found).sum(axis=1).tolist() == [3 if i % 50 == 0 else 4 for i in range(600)]
    assert (np.diff(found[:, :3], prepend=1, axis=1) >= 0).all()
    alone = np.concatenate([profiles(P[i : i + 1]) for i in (0, 1, 511, 512, 550, 599)])
    assert alone.tolist() == found[[0, 1, 511, 512, 550, 599]].tolist()
    assert profiles(P[:0]).shape == (0, 6)


@st.composite
def integer_codes(draw: st.DrawFn) -> Reals:
    k, redundancy = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    entries = st.lists(st.integers(-9, 9), min_size=redundancy, max_size=redundancy)
    return np.array(draw(st.lists(entries, min_size=k, max_size=k)), dtype=np.float64)


@pytest.mark.slow
@given(P=integer_codes(), data=st.data())
def test_rows_and_columns_of_p_may_change_places_and_signs(P: Reals, data: st.DataObject) -> None:
    changed = P
    for size in P.shape:
        order = data.draw(st.permutations(range(size)))
        signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=size, max_size=size))
        changed = (np.array(signs)[:, None] * changed[order]).T
    np.testing.assert_allclose(profile(changed), profile(P), rtol=1e-9)


@pytest.mark.slow
@given(P=integer_codes(), data=st.data())
def test_a_code_is_the_same_in_every_basis(P: Reals, data: st.DataObject) -> None:
    G = generator(P)
    reordered = G[:, data.draw(st.permutations(range(G.shape[1])))]
    k = len(P)
    if abs(np.linalg.det(reordered[:, :k])) > 0.5:
        np.testing.assert_allclose(profile(reduced(reordered)), profile(P), rtol=1e-8)
