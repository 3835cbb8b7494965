"""Optuna's interface to the process over event times: expected improvement, candidates drawn in the space.

For a study that minimises a time. It stands alone: `optuna.create_study(sampler=EventSampler(seed=0))`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.censoring import BEYOND
from sweeper.search.encoding import Encoding
from sweeper.search.event_gp import EventGp, Hyper, Numbers, RunTimes, fit, log_improvement

SEED = "seed"
"""User attribute of a trial: a number that trials on one random seed share. Trials of the same parameters on several
seeds are replicates, and the best is looked for on average.
"""
MODELLED = 256
"""Trials that the process models; of more, the best half of that and the others evenly."""
_REFIT = 0.15
"""Growth in trials after which hyperparameters are fitted again."""
_FITTED = 200
"""Trials that hyperparameters are fitted to, at most."""
_DRAWN, _AROUND, _PARENTS = 256, 256, 10
"""Candidates drawn anywhere, and near the best configurations, and how many those are."""
Absent = Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[np.bool_]]]
"""From the values of n configurations, [n] each, to where a parameter does not apply."""
Seen = Callable[[dict[str, Any]], bool]


class EventSampler(optuna.samplers.BaseSampler):
    """Asks for the configuration whose time is expected to improve most on the best.

    A trial that was pruned, or is running, has not ended by the last step that it reported: its time is longer. One
    that is running counts besides as if it would end where it is expected to, so that many at once spread out. A trial
    that failed says nothing. Parameters that only some trials have are understood: they do not apply to the others.

    Args:
        seed: of the draws; None for another one every time.
        startup: trials that are spread over the space before the process is used.
        logs: whether values are logarithms of times already; reported steps never are.
        absent: which parameters do not apply where; by default as in the nearest trial.
        seen: configurations that are not worth asking for; by default those that other trials have.
        words: keys of choices without an order; by default choices among numbers in order have one.

    Raises:
        ValueError: when a parameter is suggested, where the study maximises, has several objectives, or a value that is
            no time.
    """

    def __init__(
        self,
        seed: int | None = None,
        startup: int = 8,
        *,
        logs: bool = False,
        absent: Absent | None = None,
        seen: Seen | None = None,
        words: Collection[str] = (),
    ):
        self._entropy = np.random.SeedSequence(seed).generate_state(4).tolist()
        self._rng = np.random.default_rng(self._entropy)
        self._random = optuna.samplers.RandomSampler(seed=self._entropy[0])
        self._startup, self._logs, self._absent, self._seen = startup, logs, absent, seen
        self._words = words
        self._hyper: Hyper | None = None
        self._fitted = 0

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that any trial has had, in its newest range, but for those with one value."""
        found: dict[str, BaseDistribution] = {}
        for each in study._get_trials(deepcopy=False, use_cache=True):
            found.update(each.distributions)
        return {key: each for key, each in sorted(found.items()) if not each.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The configuration with the largest expected improvement; draws follow from the seed and the trials so far."""
        if study.directions != [StudyDirection.MINIMIZE]:
            raise ValueError(f"got the directions {study.directions}; EventSampler minimises one time")
        if not search_space:
            return {}
        everyone = study._get_trials(deepcopy=False, use_cache=True)
        self._rng = np.random.default_rng([*self._entropy, len(everyone)])
        trials = [
            each
            for each in everyone
            if each.number != trial.number
            and each.state != TrialState.FAIL
            and each.params.keys() & search_space.keys()
        ]
        done = sum(each.state.is_finished() for each in trials)
        optional = search_space.keys() if self._absent else self._missing(trials, search_space)
        encoding = Encoding(search_space, optional, self._words)
        if done < self._startup:
            return self._spread(encoding, len(trials))
        return self._most_promising(encoding, self._worth(trials))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: a parameter that no trial had before."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """See Optuna."""
        self._entropy = np.random.SeedSequence().generate_state(4).tolist()
        self._random.reseed_rng()

    def _spread(self, encoding: Encoding, place: int) -> dict[str, Any]:
        """The next point of a sequence that fills the space (Sobol's, scrambled)."""
        from scipy.stats import qmc  # noqa: PLC0415  # seconds to import

        sequence = qmc.Sobol(len(encoding.keys), rng=np.random.default_rng(self._entropy))
        points = encoding.spread(sequence.random(2 ** int(np.ceil(np.log2(place + 2)))))
        chosen = next((each for each in points[place:] if not self._is_seen(encoding, each)), points[place])
        return self._all_of(encoding, chosen)

    @staticmethod
    def _missing(trials: Sequence[FrozenTrial], search_space: Mapping[str, BaseDistribution]) -> set[str]:
        """Parameters that some trial does not have."""
        found: set[str] = set()
        for each in trials:
            if len(each.params) != len(search_space):
                found |= search_space.keys() - each.params.keys()
        return found

    def _worth(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        if len(trials) <= MODELLED:
            return list(trials)
        running = [each for each in trials if not each.state.is_finished()]
        over = sorted(
            (each for each in trials if each.state.is_finished()),
            key=lambda each: (each.state != TrialState.COMPLETE, self._time(each)),
        )
        best, others = over[: MODELLED // 2], over[MODELLED // 2 :]
        some = np.linspace(0, len(others) - 1, min(MODELLED // 2, len(others))).astype(int)
        return [*running[-MODELLED:], *best, *(others[i] for i in np.unique(some))]

    def _most_promising(self, encoding: Encoding, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        cells = encoding.cells([{k: each.params[k] for k in encoding.keys if k in each.params} for each in trials])
        cells = self._without_absent(encoding, cells, cells)
        unique, configuration = _distinct(cells)
        runs, replicates = self._runs(trials, configuration)
        places = encoding.places(unique)
        dimensions = len(encoding.keys)
        if self._hyper is None or len(self._hyper.lengths) != dimensions:
            self._hyper, self._fitted = Hyper(np.ones(dimensions)), 0
        if len(runs) >= self._fitted * (1 + _REFIT):
            some = np.sort(self._rng.permutation(len(runs))[:_FITTED])
            self._hyper, self._fitted = fit(places, runs[some], self._hyper, replicates), len(runs)
        process = EventGp(places, runs, self._hyper, replicates)
        mean, _ = process.of_configurations(places, np.arange(len(unique)))
        running = np.array([not each.state.is_finished() for each in trials])
        if running.any():
            process = process.believing(running)

        def worth(candidates: Numbers) -> Numbers:
            expected, deviation = process.of_configurations(
                encoding.places(candidates), np.full(len(candidates), -1, dtype=np.int64)
            )
            return log_improvement(expected, deviation, float(mean.min()))

        parents = unique[np.argsort(mean, kind="stable")[:_PARENTS]]
        parents = parents[self._rng.integers(0, len(parents), _AROUND)]
        candidates = np.vstack([encoding.draw(self._rng, _DRAWN), encoding.near(self._rng, parents)])
        candidates = self._without_absent(encoding, candidates, unique)
        values = worth(candidates)
        best = candidates[np.argsort(-values)[:_PARENTS]]
        nearer = self._without_absent(encoding, encoding.near(self._rng, np.repeat(best, _PARENTS, axis=0)), unique)
        candidates, values = np.vstack([candidates, nearer]), np.concatenate([values, worth(nearer)])
        order = np.argsort(-values, kind="stable")
        known = {tuple(each) for each in np.nan_to_num(unique, nan=-1.0).tolist()}
        named = np.nan_to_num(candidates, nan=-1.0)
        fresh = (candidates[i] for i in order if tuple(named[i].tolist()) not in known)
        chosen = next((each for each in fresh if not self._is_seen(encoding, each)), candidates[order[0]])
        return self._all_of(encoding, chosen)

    def _runs(self, trials: Sequence[FrozenTrial], configuration: npt.NDArray[np.int64]) -> tuple[RunTimes, int]:
        """The times of the trials' runs, and the number of common seeds."""
        over = np.array([each.state == TrialState.COMPLETE for each in trials])
        time = np.array([self._time(each) for each in trials])
        labels = [each.user_attrs.get(SEED) for each in trials]
        common = {label: i for i, label in enumerate(dict.fromkeys(each for each in labels if each is not None))}
        seeds = np.array([-1 if each is None else common[each] for each in labels])
        nothing = np.full(len(trials), np.inf)
        runs = RunTimes(
            configuration,
            seeds,
            np.where(over, time, 0.0),
            np.where(over, 0.0, nothing),
            np.where(over, -nothing, time),
        )
        return runs, max(len(common), 1)

    def _time(self, trial: FrozenTrial) -> float:
        """The log of a trial's time; of one that has not ended, of the time that it has not ended by."""
        if trial.state == TrialState.COMPLETE:
            value = trial.value
            if value is None or not np.isfinite(value) or not (self._logs or value > 0):
                raise ValueError(f"trial {trial.number}: got the value {value}; EventSampler needs a time above 0")
            return value if self._logs else float(np.log(value))
        if BEYOND in trial.user_attrs:
            return float(trial.user_attrs[BEYOND])
        step = trial.last_step
        return float(np.log(step)) if step is not None and step > 0 else -np.inf

    def _without_absent(self, encoding: Encoding, cells: Numbers, known: Numbers) -> Numbers:
        """Rows with the parameters taken out that do not apply, by the user's rule or as in the nearest known row."""
        if self._absent is not None:
            absent = self._absent(encoding.values(np.nan_to_num(cells)))
            nowhere = np.zeros(len(cells), dtype=np.bool_)
            return np.where(np.stack([absent.get(key, nowhere) for key in encoding.keys], 1), np.nan, cells)
        gone = np.isnan(known)
        if cells is known or not gone.any():
            return cells
        common = ~gone.any(0)
        apart = np.abs(cells[:, None, common] - known[None, :, common]).clip(max=1).sum(-1)
        return np.where(gone[apart.argmin(1)], np.nan, cells)

    def _all_of(self, encoding: Encoding, cells: Numbers) -> dict[str, Any]:
        """Values of all parameters: what does not apply has some value, which nobody reads."""
        return encoding.configuration(np.where(np.isnan(cells), encoding.draw(self._rng, 1)[0], cells))

    def _is_seen(self, encoding: Encoding, cells: Numbers) -> bool:
        return self._seen is not None and self._seen(self._all_of(encoding, cells))


def _distinct(cells: Numbers) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """The different rows, and for each row which of them it is."""
    _, first, index = np.unique(np.nan_to_num(cells, nan=-1.0), axis=0, return_index=True, return_inverse=True)
    return cells[first], index.reshape(-1).astype(np.int64)
