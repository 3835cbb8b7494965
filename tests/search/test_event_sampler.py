"""The sampler by itself, as anybody's Optuna study would use it; and how the sweep's own stream uses it."""

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from sweeper.search.event_sampler import SEED, EventSampler


def study(seed: int = 0, **options: object) -> optuna.Study:
    return optuna.create_study(sampler=EventSampler(seed, **options))  # type: ignore[arg-type]


def time_of(trial: optuna.Trial) -> float:
    """Smallest, 1,000, at rate 0.01 and depth 5; with shape b a parameter more, best at 0.7."""
    rate, depth = trial.suggest_float("rate", 1e-4, 1, log=True), trial.suggest_int("depth", 1, 8)
    shape = trial.suggest_categorical("shape", ["a", "b", "c"])
    slower = 0.2 * (math.log10(rate) + 2) ** 2 + 0.1 * abs(depth - 5) + 0.3 * (shape != "b")
    if shape == "b":
        slower += (trial.suggest_float("period", 0, 1) - 0.7) ** 2
    return 1000 * math.exp(slower)


def test_it_finds_the_best_of_a_conditional_space_that_it_learns_of_on_the_way() -> None:
    found = study()
    found.optimize(time_of, n_trials=30)
    assert found.best_value < 1100
    assert found.best_params["shape"] == "b"


def test_a_pruned_trial_counts_as_longer_than_its_last_step() -> None:
    def pruned(trial: optuna.Trial) -> float:
        time = time_of(trial)
        if time > 1400:
            trial.report(0.0, 1400)
            raise optuna.TrialPruned
        return time

    found = study(1)
    found.optimize(pruned, n_trials=30)
    assert found.best_value < 1100
    assert any(each.state == TrialState.PRUNED for each in found.trials)


def test_many_at_once_are_spread_out() -> None:
    found = study(startup=4)
    for _ in range(6):
        trial = found.ask()
        found.tell(trial, time_of(trial))
    asked = [found.ask() for _ in range(6)]
    for trial in asked:
        time_of(trial)
    assert len({tuple(sorted(trial.params.items())) for trial in asked}) == 6
    assert np.ptp([math.log10(trial.params["rate"]) for trial in asked]) > 0.2


def test_replicates_on_common_seeds_are_one_configuration() -> None:
    found = study(startup=3)
    for number in range(8):
        trial = found.ask()
        slow = number % 2
        trial.set_user_attr(SEED, slow)
        found.tell(trial, time_of(trial) * (3 if slow else 1))
    time_of(found.ask())  # is asked without an error, from trials whose times a seed explains


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.0, "needs a time above 0"), (-1.0, "needs a time above 0"), (math.inf, "got the value inf")],
)
def test_a_value_that_is_no_time_is_refused(value: float, message: str) -> None:
    found = study(startup=1)
    found.add_trial(
        optuna.trial.create_trial(
            value=value, params={"x": 0.5}, distributions={"x": optuna.distributions.FloatDistribution(0, 1)}
        )
    )
    with pytest.raises(ValueError, match=message):
        found.ask().suggest_float("x", 0, 1)


def test_maximising_is_refused() -> None:
    found = optuna.create_study(direction="maximize", sampler=EventSampler(0))
    found.add_trial(
        optuna.trial.create_trial(
            value=1.0, params={"x": 0.5}, distributions={"x": optuna.distributions.FloatDistribution(0, 1)}
        )
    )
    with pytest.raises(ValueError, match="minimises one time"):
        found.ask().suggest_float("x", 0, 1)


def test_the_same_seed_asks_the_same() -> None:
    def asked() -> list[dict[str, object]]:
        found = study(5)
        found.optimize(time_of, n_trials=12)
        return [each.params for each in found.trials]

    assert asked() == asked()


def test_what_does_not_apply_is_the_callers_to_say() -> None:
    seen: list[str] = []

    def absent(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.extend(values)
        return {"period": values["shape"] != "b"}

    found = study(startup=4, absent=absent)
    found.optimize(time_of, n_trials=8)
    assert set(seen) == {"rate", "depth", "shape", "period"}
    assert found.best_value < 2000
