"""The process over event times: what it learns, what runs that are not over say, and numerics against other sources."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from sweeper.search import event_gp
from sweeper.search.event_gp import EventGp, Hyper, Numbers, Places, RunTimes, cut_below, fit, log_improvement

HYPER = Hyper(np.array([0.5, 1.0]), 0.4, 0.05, 0.1, 0.1)


def places(count: int, seed: int = 0) -> Places:
    return Places(np.random.default_rng(seed).uniform(size=(count, 2)), np.arange(2))


def measured(configuration: list[int], seed: list[int], log_time: list[float]) -> RunTimes:
    nothing = np.zeros(len(seed))
    return RunTimes(np.array(configuration), np.array(seed), np.array(log_time), nothing, nothing - np.inf)


def open_run(runs: RunTimes, beyond: float, configuration: int = 0, seed: int = -1) -> RunTimes:
    """The same runs and one that is not over."""
    return RunTimes(
        np.append(runs.configuration, configuration),
        np.append(runs.seed, seed),
        np.append(runs.log_time, 0.0),
        np.append(runs.spread, np.inf),
        np.append(runs.beyond, beyond),
    )


def unknown(count: int) -> np.ndarray:
    return np.full(count, -1)


def test_a_configuration_whose_seeds_are_over_is_known() -> None:
    process = EventGp(places(2), measured([0, 0, 1, 1], [0, 1, 0, 1], [5.0, 5.4, 6.0, 6.1]), HYPER, replicates=2)
    mean, deviation = process.of_configurations(places(2), np.arange(2))
    assert mean == pytest.approx([5.2, 6.05], abs=1e-4)
    assert deviation == pytest.approx([0, 0], abs=1e-3)


def test_a_common_seed_makes_configurations_comparable() -> None:
    # Seed 1 is slow: the configuration that has run it alone is no worse than the other on seed 0.
    apart = Places(np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0]]), np.arange(2))
    hyper = Hyper(np.array([0.1, 0.1]), 0.05, 0.05, 0.5, 0.05)
    runs = measured([0, 0, 1, 2], [0, 1, 1, 0], [5.0, 6.0, 6.0, 5.0])
    mean, _ = EventGp(apart, runs, hyper, replicates=2).of_configurations(apart, np.arange(3))
    assert np.ptp(mean) < 0.1


def test_a_run_that_is_not_over_says_nothing_long_before_it_is_expected_and_more_and_more_after() -> None:
    ended = measured([0, 1], [-1, -1], [6.0, 6.1])
    at = places(3)
    before = EventGp(at, ended, HYPER).of_configurations(at, unknown(3))
    early = EventGp(at, open_run(ended, 3.0, 2), HYPER).of_configurations(at, unknown(3))
    assert np.allclose(before, early)
    later = [
        EventGp(at, open_run(ended, beyond, 2), HYPER).of_configurations(at, unknown(3))[0][2]
        for beyond in (5.8, 6.2, 6.6)
    ]
    assert before[0][2] < later[0] < later[1] < later[2]


def test_expectation_propagation_is_exact_for_one_open_run() -> None:
    ended = measured([0], [-1], [6.0])
    at = places(2)
    process = EventGp(at, open_run(ended, 6.4, 1), HYPER)
    mean, deviation = (each[1] for each in process.of_runs())
    alone = EventGp(at, open_run(ended, -20.0, 1), HYPER)
    prior_mean, prior_deviation = (each[1] for each in alone.of_runs())
    cut = stats.truncnorm((6.4 - prior_mean) / prior_deviation, np.inf, prior_mean, prior_deviation)
    assert mean == pytest.approx(cut.mean(), abs=1e-3)
    assert deviation == pytest.approx(cut.std(), abs=1e-3)


def test_a_prediction_weighs_as_much_as_it_is_sure() -> None:
    at = places(1)

    def expected(spread: float) -> float:
        runs = RunTimes(
            np.array([0, 0]), np.array([-1, -1]), np.array([6.0, 7.0]), np.array([0.0, spread]), unknown(2) * np.inf
        )
        return float(EventGp(at, runs, HYPER, replicates=2).of_runs()[0][1])

    assert expected(0.01) == pytest.approx(7.0, abs=0.05)
    assert 6.0 <= expected(1e9) < expected(0.3) < expected(0.1)


def test_believing_keeps_the_mean_and_takes_the_uncertainty_away() -> None:
    at = places(4)
    process = EventGp(at, open_run(measured([0, 1], [0, 0], [6.0, 6.5]), 5.0, 2, 0), HYPER)
    believer = process.believing(np.array([False, False, True]))
    (mean, deviation), (mean_then, deviation_then) = (
        each.of_configurations(at, np.arange(4)) for each in (process, believer)
    )
    assert mean_then == pytest.approx(mean, abs=1e-3)
    assert deviation_then[2] < 0.5 * deviation[2]


def test_the_slope_of_the_fit_is_that_of_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def checked(loss: object, start: Numbers, **options: object) -> optimize.OptimizeResult:
        seen.append(
            optimize.check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], start + 0.1)  # type: ignore[operator]
        )
        return optimize.minimize(loss, start, jac=True)

    monkeypatch.setattr(event_gp, "minimize", checked)
    rng = np.random.default_rng(1)
    rows = np.repeat(np.arange(8), 2)
    at = places(8)
    times = 6 + at.columns[rows, 0] + rng.normal(0, 0.1, 16)
    fit(at, measured(list(rows), [0, 1] * 8, list(times)), HYPER, replicates=2)
    assert seen[0] < 1e-3


def test_the_fit_finds_which_parameter_matters() -> None:
    at = places(40)
    times = 6 + np.sin(4 * at.columns[:, 0])
    found = fit(at, measured(list(range(40)), [-1] * 40, list(times)), Hyper(np.ones(2)))
    assert found.lengths[0] < 0.5 * found.lengths[1]
    expected, _ = EventGp(at, measured(list(range(40)), [-1] * 40, list(times)), found).of_configurations(
        places(50, 1), unknown(50)
    )
    assert np.abs(expected - 6 - np.sin(4 * places(50, 1).columns[:, 0])).mean() < 0.05


@pytest.mark.parametrize("bound", [-2.0, 0.3, 6.0])
def test_a_normal_cut_below_has_scipys_moments(bound: float) -> None:
    mean, variance = cut_below(np.array([0.5]), np.array([2.0]), np.array([bound]))
    cut = stats.truncnorm((bound - 0.5) / 2, np.inf, 0.5, 2)
    assert (mean[0], variance[0]) == pytest.approx((cut.mean(), cut.var()), rel=1e-6)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 3.0])
def test_improvement_is_the_integral_that_it_is(mean: float) -> None:
    wanted, _ = integrate.quad(lambda y: max(0.2 - y, 0) * stats.norm.pdf(y, mean, 0.5), -8, 8, points=[0.2])
    assert np.exp(log_improvement(np.array([mean]), np.array([0.5]), 0.2))[0] == pytest.approx(wanted, rel=1e-6)


def test_improvement_still_ranks_where_it_is_nil_and_is_the_difference_where_it_is_certain() -> None:
    values = log_improvement(np.array([20.0, 25.0, 25.2, 40.0]), np.ones(4), 0.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()
    certain = log_improvement(np.array([-24.9, -25.1, -1000.0]), np.ones(3), 0.0)
    assert np.exp(certain) == pytest.approx([24.9, 25.1, 1000.0], rel=1e-9)
