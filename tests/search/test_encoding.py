"""Configurations as points: distances of numbers, words and parameters that do not apply; draws are legal."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.search.encoding import Encoding

MIXED: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "share": FloatDistribution(0.1, 0.9, step=0.2),
    "depth": IntDistribution(1, 7, step=2),
    "width": IntDistribution(16, 1024, log=True),
    "batch": CategoricalDistribution([32, 64, 256]),
    "shape": CategoricalDistribution(["constant", "linear", "cyclic"]),
}


def apart(encoding: Encoding, one: dict[str, Any], other: dict[str, Any]) -> float:
    points = encoding.places(encoding.cells([one, other])).columns
    return float(np.linalg.norm(points[0] - points[1]))


def test_numbers_are_as_far_apart_as_their_places_in_the_range() -> None:
    encoding = Encoding({"rate": MIXED["rate"]})
    assert apart(encoding, {"rate": 1e-4}, {"rate": 1e-1}) == pytest.approx(1)
    assert apart(encoding, {"rate": 1e-3}, {"rate": 1e-2}) == pytest.approx(1 / 3)


def test_words_are_equally_far_apart_and_numbers_in_order_are_not() -> None:
    words, numbers = Encoding({"shape": MIXED["shape"]}), Encoding({"batch": MIXED["batch"]})
    assert apart(words, {"shape": "constant"}, {"shape": "cyclic"}) == pytest.approx(1)
    assert apart(words, {"shape": "linear"}, {"shape": "cyclic"}) == pytest.approx(1)
    assert apart(numbers, {"batch": 32}, {"batch": 64}) == pytest.approx(1 / 2)
    assert apart(Encoding({"batch": MIXED["batch"]}, words=["batch"]), {"batch": 32}, {"batch": 64}) == pytest.approx(1)


@pytest.mark.parametrize("key", ["rate", "shape"])
def test_a_parameter_that_does_not_apply_is_a_level_of_its_own(key: str) -> None:
    encoding = Encoding({key: MIXED[key]}, optional=[key])
    drawn = encoding.configuration(encoding.draw(np.random.default_rng(0), 1)[0])
    assert apart(encoding, {}, {}) == 0
    assert 0.999 < apart(encoding, {}, drawn) < 1.2


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_draws_and_neighbours_are_legal_and_come_back(seed: int) -> None:
    encoding, rng = Encoding(MIXED), np.random.default_rng(seed)
    drawn = encoding.draw(rng, 4)
    for cells in (*drawn, *encoding.near(rng, drawn), *encoding.spread(rng.uniform(size=(4, 6)))):
        configuration = encoding.configuration(cells)
        assert all(MIXED[key]._contains(MIXED[key].to_internal_repr(value)) for key, value in configuration.items())
        again = encoding.configuration(encoding.cells([configuration])[0])
        assert again == pytest.approx(configuration) or again == configuration


def test_every_neighbour_moves_and_most_move_in_one_parameter() -> None:
    encoding, rng = Encoding({"rate": MIXED["rate"], "x": FloatDistribution(0, 1)}), np.random.default_rng(0)
    around = encoding.draw(rng, 200)
    moved = (encoding.near(rng, around) != around).sum(1)
    assert moved.min() >= 1
    assert (moved == 1).mean() > 0.5
