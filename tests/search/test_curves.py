"""What is learned from curves, and how far it is trusted: not at all where they say nothing."""

import numpy as np
import pytest

from sweeper.search.curves import Curve, CurveModel, features, marks
from sweeper.search.event_gp import Numbers

CONFIGURATIONS, SEEDS, AT = 24, 2, 5


def curves_of(signal: Numbers) -> list[Curve]:
    """Runs that all passed `AT` marks at the same times; a signal each, [runs, AT]."""
    so_far = np.log(100.0 * 1.35 ** np.arange(AT))
    time = np.broadcast_to(so_far, signal.shape)
    return [
        Curve(i // SEEDS, np.stack([each, at], -1), so_far)
        for i, (each, at) in enumerate(zip(signal, time, strict=True))
    ]


@pytest.fixture
def log_times() -> Numbers:
    rng = np.random.default_rng(0)
    return np.repeat(6.5 + rng.normal(0, 0.4, CONFIGURATIONS), SEEDS) + rng.normal(0, 0.1, CONFIGURATIONS * SEEDS)


def test_constant_curves_weigh_nothing(log_times: Numbers) -> None:
    runs = curves_of(np.full((len(log_times), AT), 0.3))
    model = CurveModel(runs, log_times.tolist())
    assert np.isinf(model.predict(runs)[1]).all()


def test_curves_that_tell_weigh_as_much_as_they_are_right(log_times: Numbers) -> None:
    rng = np.random.default_rng(1)
    clear = curves_of(np.tile(log_times[:, None], AT) + rng.normal(0, 0.05, (len(log_times), AT)))
    vague = curves_of(np.tile(log_times[:, None], AT) + rng.normal(0, 0.5, (len(log_times), AT)))
    spreads = []
    for runs in (clear, vague):
        model = CurveModel(runs, log_times.tolist())
        said, spread = model.predict(runs)
        spreads.append(float(np.median(spread)))
        assert np.corrcoef(said, log_times)[0, 1] > 0.7
    assert spreads[0] < 0.35 < spreads[1]


def test_what_is_said_of_unseen_configurations_is_covered(log_times: Numbers) -> None:
    rng = np.random.default_rng(2)
    runs = curves_of(np.tile(log_times[:, None], AT) + rng.normal(0, 0.15, (len(log_times), AT)))
    half = len(runs) // 2
    model = CurveModel(runs[:half], log_times[:half].tolist())
    said, spread = model.predict(runs[half:])
    inside = np.abs(said - log_times[half:]) < 1.64 * spread
    assert inside.mean() > 0.7


@pytest.mark.parametrize("right", [True, False])
def test_a_prior_counts_as_far_as_it_proves_right_in_this_sweep(log_times: Numbers, right: bool) -> None:
    rng = np.random.default_rng(3)
    runs = curves_of(np.tile(log_times[:, None], AT) + rng.normal(0, 0.1, (len(log_times), AT)))
    few, others = runs[:14], runs[14:]
    claimed = log_times[14:] if right else 13.0 - log_times[14:]
    alone = CurveModel(few, log_times[:14].tolist())
    model = CurveModel([*few, *others], [*log_times[:14], *claimed], prior=len(others))
    (_, spread), (said, believed) = (each.predict(few) for each in (alone, model))
    if right:
        assert np.median(believed) < np.median(spread)
        assert np.corrcoef(said, log_times[:14])[0, 1] > 0.8
    else:
        assert np.median(believed) > np.median(spread)


def test_marks_grow_from_a_twentieth_of_the_horizon_to_its_end() -> None:
    assert marks(100).tolist() == [4, 6, 8, 11, 16, 21, 29, 40, 54, 73, 99]
    assert marks(1).tolist() == [0]


def test_features_do_not_look_past_their_mark() -> None:
    rng = np.random.default_rng(0)
    signals = rng.uniform(size=(3, 100, 2))
    changed = signals.copy()
    changed[:, 30:] = 7.0
    at = marks(100)
    same = features(signals, at, [0]) == features(changed, at, [0])
    assert same[at < 30].all()
    assert not same[at >= 30].all(-1).any()


def test_features_hold_when_something_was_passed() -> None:
    rises = np.linspace(0, 1, 100)[None, :, None]
    late = np.maximum(np.linspace(-1, 1, 100), 0)[None, :, None]
    at = np.array([99])
    assert (features(rises, at, [0])[0, 2:6] < features(late, at, [0])[0, 2:6]).all()
