"""The stream of suggestions on the real Optuna: what TPE models, what it proposes, and what is forgotten."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe import _truncnorm
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.model import Sampler
from sweeper.search import sampler
from sweeper.search.sampler import CANDIDATES, MODELLED, Suggestions
from sweeper.space.space import Coordinates
from sweeper.stats.capping import good_side

SMOOTH: dict[str, BaseDistribution] = {
    "decay": FloatDistribution(0.01, 1, log=True),
    "depth": IntDistribution(1, 4),
    "heads": CategoricalDistribution([1, 2, 4]),
}
TWELVE: dict[str, BaseDistribution] = {"depth": IntDistribution(1, 4), "heads": CategoricalDistribution([1, 2, 4])}
SINGLE: dict[str, BaseDistribution] = {
    "shape": CategoricalDistribution(["linear"]),
    "width": IntDistribution(64, 64),
    "rate": FloatDistribution(0.5, 0.5),
}
STARTUP = 5


def never(parameters: Coordinates) -> bool:
    return False


def stream(
    distributions: dict[str, BaseDistribution] = SMOOTH,
    seen: Callable[[Coordinates], bool] = never,
    *,
    name: str = "tpe",
    places: int = 3,
    seed: int = 0,
    startup: int = STARTUP,
    earlier: int = 0,
) -> Suggestions:
    spec = Sampler(name=name, seed=seed, startup_trials=startup)  # type: ignore[arg-type]
    return Suggestions(distributions, spec, seen, places, earlier)


def distance(parameters: Coordinates) -> float:
    """A toy objective: smallest, 0, at decay 0.1, depth 3 and 2 heads."""
    return (
        abs(math.log(parameters.get("decay", 0.1) / 0.1))
        + abs(parameters["depth"] - 3) / 2
        + abs(math.log2(parameters["heads"] / 2)) / 2
    )


def run(suggestions: Suggestions, trials: int) -> list[Coordinates]:
    """Ask and tell, one after the other."""
    found = []
    for _ in range(trials):
        handle, parameters = suggestions.ask()
        suggestions.tell(handle, distance(parameters))
        found.append(parameters)
    return found


def held(suggestions: Suggestions, *states: TrialState) -> list[FrozenTrial]:
    """What the study in memory holds."""
    return suggestions._study.get_trials(deepcopy=False, states=states or None)


@dataclass
class Decision:
    """One suggestion of TPE's model: the trials on both sides, the candidates, and what Optuna made of them."""

    good: list[FrozenTrial] = field(default_factory=list)
    bad: list[FrozenTrial] = field(default_factory=list)
    candidates: list[Coordinates] = field(default_factory=list)
    promise: npt.NDArray[np.float64] = field(default_factory=lambda: np.array([]))


class Watched(sampler._Tpe):
    """TPE that keeps a record of its decisions, and otherwise is what it is."""

    decisions: ClassVar[list[Decision]] = []

    def _build_parzen_estimator(
        self, study: Any, search_space: Any, trials: list[FrozenTrial], handle_below: bool
    ) -> Any:
        if handle_below:
            self.decisions.append(Decision(good=trials))
        else:
            self.decisions[-1].bad = trials
        return super()._build_parzen_estimator(study, search_space, trials, handle_below)

    def _compute_acquisition_func(self, samples: dict[str, Any], *estimators: Any) -> Any:
        decision = self.decisions[-1]
        decision.promise = optuna.samplers.TPESampler._compute_acquisition_func(self, samples, *estimators)
        decision.candidates = [
            {key: self._coordinates[key].to_external_repr(drawn[i].item()) for key, drawn in samples.items()}
            for i in range(len(decision.promise))
        ]
        return super()._compute_acquisition_func(samples, *estimators)


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    monkeypatch.setattr(sampler, "_Tpe", Watched)
    Watched.decisions.clear()
    return Watched.decisions


@pytest.mark.slow
@pytest.mark.parametrize("places", [1, 2, 8])
def test_the_good_side_is_the_best_trials_and_never_more_than_the_places(
    decisions: list[Decision], places: int
) -> None:
    run(stream(places=places, startup=2), 90)
    assert len(decisions) == 88
    sizes = []
    for told, decision in enumerate(decisions, 2):
        everyone = decision.good + decision.bad
        assert len(everyone) == told
        best = sorted(everyone, key=lambda trial: (trial.value, trial.number))[: good_side(told, places)]
        assert {trial.number for trial in decision.good} == {trial.number for trial in best}
        sizes.append(len(decision.good))
    assert max(sizes) == min(places, 9), "a tenth of 89, rounded up"
    assert sizes == sorted(sizes)


def test_the_suggestion_is_the_most_promising_of_the_candidates(decisions: list[Decision]) -> None:
    found = run(stream(), 40)
    assert len(decisions) == 40 - STARTUP
    for decision, parameters in zip(decisions, found[STARTUP:], strict=True):
        assert len(decision.candidates) == CANDIDATES
        assert parameters == decision.candidates[int(np.argmax(decision.promise))]


@pytest.mark.slow
def test_the_suggestion_is_the_most_promising_of_the_candidates_that_have_not_been_run(
    decisions: list[Decision],
) -> None:
    run_already: list[Coordinates] = []
    space = SMOOTH | {"decay": FloatDistribution(0.1, 0.8, step=0.1)}
    suggestions = stream(space, run_already.__contains__)
    passed_over = 0
    for _ in range(50):
        handle, parameters = suggestions.ask()
        suggestions.tell(handle, distance(parameters))
        if len(run_already) >= STARTUP:
            decision = decisions[-1]
            unseen = [i for i, each in enumerate(decision.candidates) if each not in run_already]
            assert unseen
            assert parameters == decision.candidates[max(unseen, key=decision.promise.__getitem__)]
            passed_over += parameters != decision.candidates[int(np.argmax(decision.promise))]
            assert parameters not in run_already
        run_already.append(parameters)
    assert passed_over > 5, "otherwise nothing was tested"


def test_a_seen_configuration_is_proposed_only_when_every_candidate_has_been_seen(decisions: list[Decision]) -> None:
    suggestions = stream(TWELVE, lambda parameters: parameters["depth"] != 4)
    for depth in (1, 2, 3):
        suggestions.add({"depth": depth, "heads": 2}, float(depth))
    for _ in range(5):
        suggestions.add({"depth": 1, "heads": 1}, 0.5)
    for _ in range(30):
        handle, parameters = suggestions.ask()
        some = any(each["depth"] == 4 for each in decisions[-1].candidates)
        assert (parameters["depth"] == 4) == some
        suggestions.withdraw(handle)
    everything = stream(TWELVE, lambda parameters: True)
    run(everything, 12)
    assert everything.ask()[1]["depth"] in (1, 2, 3, 4)


def test_after_the_startup_all_coordinates_are_drawn_together(
    decisions: list[Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[set[str]] = []

    class Drawing(Watched):
        def _sample(self, study: Any, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
            together.append(set(search_space))
            return super()._sample(study, trial, search_space)

    monkeypatch.setattr(sampler, "_Tpe", Drawing)
    run(stream(SMOOTH | SINGLE), 12)
    assert together == [set(SMOOTH)] * (12 - STARTUP), "one draw a suggestion, of every coordinate that has a choice"
    assert [set(each.candidates[0]) for each in decisions] == [set(SMOOTH)] * (12 - STARTUP)


def test_trials_of_others_are_modelled_together_with_its_own(decisions: list[Decision]) -> None:
    suggestions = stream()
    for decay in (0.1, 0.2, 0.3):
        suggestions.add({"decay": decay, "depth": 1, "heads": 1}, decay)
    run(suggestions, 3)
    assert len(decisions) == 1
    assert {trial.params["decay"] for trial in decisions[0].good + decisions[0].bad} >= {0.1, 0.2, 0.3}


def test_values_that_are_single_come_through_and_are_asked_about(decisions: list[Decision]) -> None:
    asked: list[Coordinates] = []

    def seen(parameters: Coordinates) -> bool:
        asked.append(parameters)
        return len(asked) % 3 > 0

    found = run(stream(SMOOTH | SINGLE, seen), 12)
    for parameters in (*found, *asked):
        assert set(parameters) == {*SMOOTH, *SINGLE}
        assert (parameters["shape"], parameters["width"], parameters["rate"]) == ("linear", 64, 0.5)
        assert 0.01 <= parameters["decay"] <= 1
        assert parameters["depth"] in (1, 2, 3, 4)
        assert parameters["heads"] in (1, 2, 4)
        assert isinstance(parameters["depth"], int)
    assert len(asked) >= 3 * (12 - STARTUP) - 2


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_space_of_a_single_point_is_that_point(name: str) -> None:
    suggestions = stream(SINGLE, name=name, startup=2)
    for _ in range(5):
        handle, parameters = suggestions.ask()
        assert parameters == {"shape": "linear", "width": 64, "rate": 0.5}
        suggestions.tell(handle, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_eight_at_once_are_eight_different_ones(decisions: list[Decision], seed: int) -> None:
    pending: list[Coordinates] = []
    suggestions = stream(TWELVE, pending.__contains__, seed=seed)
    for depth, heads in ((1, 1), (2, 1), (3, 1), (4, 1), (3, 2)):
        suggestions.add({"depth": depth, "heads": heads}, distance({"depth": depth, "heads": heads}))
    for count in range(8):
        pending.append(suggestions.ask()[1])
        running = [trial for trial in decisions[-1].bad if trial.state == TrialState.RUNNING]
        assert len(running) == count, "what runs counts as bad"
        assert not [trial for trial in decisions[-1].good if trial.state == TrialState.RUNNING]
    assert all(pending.count(each) == 1 for each in pending)


@pytest.mark.slow
def test_what_runs_pushes_the_next_suggestions_away() -> None:
    def spread(told: bool) -> float:
        """How far apart, in logarithms of the decay, eight suggestions lie that are made at once."""
        found = []
        for seed in range(6):
            suggestions = stream(seed=seed, places=1)
            for decay in np.geomspace(0.01, 1, 12):
                suggestions.add({"decay": decay, "depth": 3, "heads": 2}, abs(math.log(decay / 0.1)))
            decays = []
            for _ in range(8):
                handle, parameters = suggestions.ask()
                decays.append(math.log(parameters["decay"]))
                if told:
                    suggestions.withdraw(handle)
            found.append(float(np.std(decays)))
        return mean(found)

    assert spread(told=False) > 1.2 * spread(told=True)


def test_withdrawn_coordinates_are_not_modelled(decisions: list[Decision]) -> None:
    suggestions = stream()
    run(suggestions, 6)
    known = {trial.number for trial in held(suggestions)}
    for _ in range(4):
        suggestions.withdraw(suggestions.ask()[0])
        assert {trial.number for trial in decisions[-1].good + decisions[-1].bad} == known
    assert len(held(suggestions, TrialState.COMPLETE, TrialState.RUNNING)) == 6


def test_what_was_forgotten_runs_again_and_may_be_told_anew(decisions: list[Decision]) -> None:
    suggestions = stream()
    parameters = {"decay": 0.5, "depth": 1, "heads": 4}
    handles = [suggestions.add(parameters | {"depth": depth}, float(depth)) for depth in (1, 2, 3, 4)]
    pending, waiting = suggestions.ask()
    assert suggestions.forget(handles[1]) == parameters | {"depth": 2}

    def known() -> dict[int, float | None]:
        return {t.params["depth"]: t.value for t in held(suggestions) if t.params["decay"] == 0.5}

    assert known() == {1: 1.0, 2: None, 3: 3.0, 4: 4.0}
    assert len(held(suggestions, TrialState.RUNNING)) == 2
    suggestions.tell(handles[1], 9.0)
    assert known() == {1: 1.0, 2: 9.0, 3: 3.0, 4: 4.0}
    suggestions.tell(pending, -1.0)
    suggestions.ask()
    (good,) = decisions[-1].good
    assert (good.params, good.value) == (waiting, -1.0), "handles mean the same trials as before"


def test_telling_another_value_changes_nothing() -> None:
    suggestions = stream()
    handle, _ = suggestions.ask()
    suggestions.tell(handle, 1.0)
    suggestions.tell(handle, 2.0)
    assert [trial.value for trial in held(suggestions)] == [1.0]


def test_of_trials_that_were_cut_short_the_process_learns_that_they_take_longer_and_tpe_their_values() -> None:
    for name, states in {"gp": [TrialState.PRUNED] * 2, "tpe": [TrialState.COMPLETE] * 2}.items():
        suggestions = stream(name=name)
        (handle, drawn), other = suggestions.ask(), suggestions.add({"decay": 0.5, "depth": 2, "heads": 4})
        suggestions.tell(handle, 3.0, 2.0)
        suggestions.tell(other, 5.0)
        suggestions.censor({other: 4.0})
        known = held(suggestions, TrialState.PRUNED, TrialState.COMPLETE)
        assert [each.state for each in known] == states
        assert [each.params["depth"] for each in known] == [drawn["depth"], 2] or name == "gp"
        if name == "gp":
            assert sorted(each.user_attrs["beyond"] for each in known) == [2.0, 4.0]
        assert held(suggestions, TrialState.RUNNING) == []
        suggestions.ask()
        suggestions.forget(handle)
        assert len(held(suggestions, TrialState.PRUNED, TrialState.COMPLETE)) == 1


def test_after_twice_as_many_as_are_modelled_the_others_are_forgotten() -> None:
    suggestions = stream(places=4, startup=10_000)
    pending = [suggestions.ask() for _ in range(3)]
    rng = np.random.default_rng(0)
    values = rng.permutation(2 * MODELLED).astype(float)
    point = {"depth": 1, "heads": 1}
    suggestions._newest = MODELLED  # a startup as long as this would be kept whole
    handles = [suggestions.add(point | {"decay": 0.01 + i / 1000}, value) for i, value in enumerate(values)]

    kept = held(suggestions)
    assert len(kept) <= 3 + 4 + MODELLED
    finished = [trial.value for trial in kept if trial.state == TrialState.COMPLETE]
    assert sorted(finished)[:4] == [0, 1, 2, 3], "the best are kept, wherever they were"
    assert set(values[-MODELLED:]) <= set(finished), "and the newest"
    assert {trial.params["decay"] for trial in kept if trial.state == TrialState.RUNNING} == {
        parameters["decay"] for _, parameters in pending
    }
    for handle, parameters in pending:
        suggestions.tell(handle, -1.0 - handle)
        assert next(t for t in held(suggestions) if t.params == parameters).value == -1.0 - handle
    # One that was dropped from the model may still be taken up again.
    dropped = next(i for i, value in enumerate(values) if value not in finished)
    assert suggestions.forget(handles[dropped])["decay"] == 0.01 + dropped / 1000
    suggestions.tell(handles[dropped], -9.0)
    assert min(trial.value for trial in held(suggestions, TrialState.COMPLETE)) == -9.0


def test_a_long_startup_is_not_forgotten_before_it_is_over() -> None:
    suggestions = stream(TWELVE, startup=600)
    for i in range(650):
        suggestions.add({"depth": 1, "heads": 1}, float(i))
    assert len(held(suggestions)) == 650


actions = st.lists(
    st.sampled_from(["ask", "ask", "ask", "tell", "tell", "tell", "add", "add running", "withdraw", "forget"]),
    min_size=15,
    max_size=60,
)


@pytest.mark.slow
@given(actions, st.integers(1, 3), st.data())
@settings(deadline=None, max_examples=25)
def test_whatever_is_asked_told_and_taken_back_the_best_the_newest_and_the_running_are_known(
    steps: list[str], places: int, data: st.DataObject
) -> None:
    """Against a list that forgets nothing."""
    newest = 4
    suggestions = stream(name="random", places=places, startup=1)
    suggestions._newest = newest
    parameters: dict[int, Coordinates] = {}
    told: dict[int, float | None] = {}
    best_so_far = 0.0
    for i, step in enumerate(steps):
        running = [handle for handle, value in told.items() if value is None]
        finished = [h for _, h in sorted((value, handle) for handle, value in told.items() if value is not None)]
        value = data.draw(st.sampled_from([float(i), best_so_far - 1]))
        if step == "ask":
            handle, parameters[handle] = suggestions.ask()
            told[handle] = None
        elif step.startswith("add"):
            point = {"decay": 0.5, "depth": 1, "heads": 2}
            handle = suggestions.add(point, None if step == "add running" else value)
            parameters[handle], told[handle] = point, None if step == "add running" else value
        elif step == "tell" and running:
            handle = data.draw(st.sampled_from(running))
            told[handle] = value
            suggestions.tell(handle, value)
        elif step == "withdraw" and running:
            handle = data.draw(st.sampled_from(running))
            del told[handle]
            suggestions.withdraw(handle)
        elif step == "forget" and len(finished) > places:
            # What is taken up again was capped, so it is not among the best.
            handle = data.draw(st.sampled_from(finished[places:]))
            told[handle] = None
            assert suggestions.forget(handle) == parameters[handle]
        values = sorted(value for value in told.values() if value is not None)
        best_so_far = min(values, default=0.0)

        in_memory = held(suggestions, TrialState.RUNNING, TrialState.COMPLETE)
        known = sorted(trial.value for trial in in_memory if trial.value is not None)
        assert known[:places] == values[:places]
        waiting = [trial.params for trial in in_memory if trial.state == TrialState.RUNNING]
        expected = [parameters[handle] for handle, value in told.items() if value is None]
        assert sorted(map(str, waiting)) == sorted(map(str, expected))
        if step in ("add", "add running", "tell"):
            assert len(in_memory) <= max(2 * newest, len(expected) + places + newest)
        recent = {told.get(handle) for handle in list(parameters)[-newest:]} - {None}
        assert recent <= set(known)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_the_same_seed_gives_the_same_stream_and_another_seed_another(name: str) -> None:
    one, same, other = (run(stream(name=name, seed=seed), 15) for seed in (3, 3, 4))
    assert one == same
    assert not [parameters for parameters in one if parameters in other]


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_stream_that_goes_on_after_earlier_trials_does_not_repeat_their_draws(name: str) -> None:
    first, later, same = (run(stream(name=name, earlier=earlier), 15) for earlier in (0, 5, 5))
    assert later == same
    assert not [parameters for parameters in later if parameters in first]


def test_the_log_of_the_normal_distribution_is_the_one_that_optuna_works_out_number_by_number() -> None:
    single = _truncnorm._log_ndtr_single
    points = np.concatenate([np.linspace(-60, 40, 2001), [-1e3, -20.0, 6.0, 0.0]])
    assert _truncnorm._log_ndtr(points) == pytest.approx([single(each) for each in points], rel=1e-12, abs=1e-15)


@pytest.mark.slow
def test_tpe_finds_better_points_than_chance() -> None:
    late: dict[str, list[float]] = {}
    best: dict[str, list[float]] = {}
    for name in ("tpe", "random"):
        found = [[distance(each) for each in run(stream(name=name, seed=seed, startup=8), 36)] for seed in range(12)]
        late[name], best[name] = [mean(each[-15:]) for each in found], [min(each) for each in found]
    assert mean(late["tpe"]) < 0.85 * mean(late["random"])
    assert mean(best["tpe"]) < 0.6 * mean(best["random"])
    assert sum(tpe < other for tpe, other in zip(late["tpe"], late["random"], strict=True)) >= 10
