"""The gradient noise scale: unbiased on gradients whose covariance is known, averaged, and within its bounds."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweeper.space.batch_schedules import BatchSchedule
from sweeper.training.noise_scale import NoiseScale


def adaptive(low: int = 8, high: int = 512, fraction: float = 1.0, memory: float = 0.0) -> NoiseScale:
    schedule = BatchSchedule(shape="noise_scale", min=low, max=high, noise_fraction=fraction, noise_memory=memory)
    return NoiseScale(schedule)


def norms_for(signal: float, noise: float, batch: int) -> tuple[float, float]:
    """The squared norms, whole and half, that are expected of such gradients."""
    return signal + noise / batch, signal + noise / (batch / 2)


@pytest.mark.parametrize("batch", [2, 8, 64])
def test_both_estimates_are_unbiased_on_gaussian_gradients(batch: int) -> None:
    rng = np.random.default_rng(0)
    mean = np.array([1.0, -2.0, 0.5])
    factor = np.array([[1.0, 0.0, 0.0], [0.8, 1.5, 0.0], [-0.4, 0.3, 2.0]])
    signal, noise = mean @ mean, np.trace(factor @ factor.T)
    examples = mean + rng.standard_normal((3000, batch, 3)) @ factor.T
    left, right = (half.mean(1) for half in np.split(examples, 2, axis=1))
    whole = ((left + right) ** 2).sum(1) / 4
    half = ((left**2).sum(1) + (right**2).sum(1)) / 2
    estimates = []
    for each_whole, each_half in zip(whole, half, strict=True):
        measuring = adaptive()
        measuring.measure(batch, each_whole, each_half)
        estimates.append((measuring.signal, measuring.noise))
    found, error = np.mean(estimates, axis=0), np.std(estimates, axis=0) / math.sqrt(len(estimates))
    assert (error < [0.2, 0.5]).all()
    assert (np.abs(found - [signal, noise]) < 4 * error).all()


@pytest.mark.parametrize("batch", [2, 10, 512])
def test_the_expected_norms_give_the_noise_scale_exactly(batch: int) -> None:
    measuring = adaptive()
    measuring.measure(batch, *norms_for(4.0, 100.0, batch))
    assert (measuring.signal, measuring.noise) == (pytest.approx(4.0), pytest.approx(100.0))
    assert measuring.scale == pytest.approx(25.0)


def test_signal_and_noise_are_averaged_over_time_before_their_ratio_is_taken() -> None:
    measuring = adaptive(memory=0.5)
    for signal, noise in [(4.0, 100.0), (1.0, 300.0), (2.0, 60.0)]:
        measuring.measure(16, *norms_for(signal, noise, 16))
    assert measuring.signal == pytest.approx(4 / 8 + 1 / 4 + 2 / 2)
    assert measuring.noise == pytest.approx(100 / 8 + 300 / 4 + 60 / 2)
    assert measuring.weight == pytest.approx(7 / 8)
    assert measuring.scale == pytest.approx(117.5 / 1.75)


def test_one_measurement_decides_at_once_whatever_the_memory() -> None:
    measuring = adaptive(memory=0.99)
    measuring.measure(16, *norms_for(2.0, 100.0, 16))
    assert measuring.scale == pytest.approx(50.0)
    assert measuring.batch in (48, 50)


@pytest.mark.parametrize(
    ("signal", "noise", "fraction", "batch"),
    [
        (1.0, 50.5, 1.0, 50),
        (1.0, 51.5, 1.0, 50),
        (1.0, 50.5, 2.0, 100),
        (1.0, 50.5, 0.5, 24),
        (1.0, 3.0, 1.0, 8),
        (1.0, -50.0, 1.0, 8),
        (1.0, 5000.0, 1.0, 512),
        (-1.0, 50.0, 1.0, 512),
        (0.0, 50.0, 1.0, 512),
    ],
)
def test_the_batch_is_a_multiple_of_the_scale_even_and_within_bounds(
    signal: float, noise: float, fraction: float, batch: int
) -> None:
    measuring = adaptive(fraction=fraction)
    measuring.signal, measuring.noise, measuring.weight = signal, noise, 1.0
    assert measuring.batch == batch


def test_the_first_batch_is_the_smallest() -> None:
    assert adaptive(low=16).batch == 16


_norms = st.floats(0, 1e6)
_measurements = st.lists(st.tuples(_norms, _norms), max_size=4)


@given(st.integers(1, 200), st.integers(1, 200), _measurements)
@settings(deadline=None, max_examples=40)
def test_the_batch_can_always_be_halved(low: int, more: int, measurements: list[tuple[float, float]]) -> None:
    measuring = adaptive(low, low + more, memory=0.9)
    for norms in measurements:
        measuring.measure(measuring.batch, *norms)
        assert measuring.batch % 2 == 0
        assert measuring.batch >= 2


@given(st.integers(1, 200), st.integers(1, 200), _measurements)
@settings(deadline=None, max_examples=40)
def test_the_batch_stays_within_its_bounds(low: int, more: int, measurements: list[tuple[float, float]]) -> None:
    assume(low + more >= 2)
    measuring = adaptive(low, low + more, memory=0.9)
    assert low <= measuring.batch <= low + more
    for norms in measurements:
        measuring.measure(measuring.batch, *norms)
        assert low <= measuring.batch <= low + more
