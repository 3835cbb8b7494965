"""What a parameter's importance says: the one that the result depends on comes first."""

import numpy as np
import pytest

from sweeper.search.importance import FEWEST, coordinate_of, importances
from sweeper.space.parameters import Choice, Float, Int

PARAMETERS: dict[str, Choice | Int | Float] = {
    "batch.shape": Choice(choice=["constant", "linear", "cyclic"]),
    "batch.cycles": Int(int=[1, 8], when="batch.shape == cyclic"),
    "weight_decay": Float(float=[0.01, 1.0], log=True),
    "depth": Int(int=[1, 4]),
    "betas": Choice(choice=[[0.9, 0.98], [0.9, 0.99]]),
}


def drawn(count: int, seed: int = 0) -> list[tuple[dict[str, object], float]]:
    """Random trials whose value is the distance of the weight decay from 0.3, and little else."""
    rng = np.random.default_rng(seed)
    trials = []
    for _ in range(count):
        shape = ["constant", "linear", "cyclic"][rng.integers(3)]
        decay = float(np.exp(rng.uniform(np.log(0.01), 0)))
        betas = [0.9, 0.98 + 0.01 * int(rng.integers(2))]
        values = {"batch.shape": shape, "weight_decay": decay, "depth": int(rng.integers(1, 5)), "betas": betas}
        if shape == "cyclic":
            values["batch.cycles"] = int(rng.integers(1, 9))
        trials.append((values, abs(np.log(decay / 0.3)) + 0.1 * rng.random()))
    return trials


@pytest.mark.parametrize("seed", range(3))
def test_what_the_result_depends_on_is_first(seed: int) -> None:
    trials = drawn(100, seed)
    found = importances(PARAMETERS, trials)
    assert found is not None
    assert next(iter(found.shares)) == "weight_decay"
    assert found.shares["weight_decay"] > 0.5
    assert sum(found.shares.values()) == pytest.approx(1)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert (found.trials, found.best) == (100, 10)
    cyclic = sum(values["batch.shape"] == "cyclic" for values, _ in trials)
    assert found.having == {key: cyclic if key == "batch.cycles" else 100 for key in found.shares}


def test_trials_outside_the_space_and_infinite_values_do_not_count() -> None:
    outside = [
        ({"depth": 9}, 0.0),
        ({"weight_decay": 5.0}, 0.0),
        ({"batch.shape": "step"}, 0.0),
        ({"depth": 2}, float("inf")),
    ]
    assert importances(PARAMETERS, [*outside, *drawn(30)]) == importances(PARAMETERS, drawn(30))


def test_few_trials_and_equal_ones_say_nothing() -> None:
    assert importances(PARAMETERS, drawn(FEWEST - 1)) is None
    assert importances(PARAMETERS, drawn(FEWEST)) is not None
    assert importances(PARAMETERS, [(values, 1.0) for values, _ in drawn(50)]) is None
    assert importances({}, [({}, float(value)) for value in range(50)]) is None


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("batch.shape", "linear", 1),
        ("batch.shape", "step", None),
        ("betas", [0.9, 0.99], 1),
        ("betas", (0.9, 0.98), 0),
        ("depth", 4, 4),
        ("depth", 5, None),
        ("weight_decay", 0.5, 0.5),
        ("weight_decay", 1.5, None),
    ],
)
def test_where_a_value_lies(key: str, value: object, place: object) -> None:
    assert coordinate_of(key, PARAMETERS[key], value) == place


def test_a_value_a_rounding_away_from_a_step_lies_on_it() -> None:
    stepped = Float(float=[0.1, 0.7], step=0.2)
    assert coordinate_of("weight_decay", stepped, 0.1 + 0.2) == stepped.grid()[1]
    assert coordinate_of("weight_decay", stepped, 0.25) is None
