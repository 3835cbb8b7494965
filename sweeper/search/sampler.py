"""Which coordinates next: Optuna's samplers over the space's fixed coordinates, in memory.

The sampler gets coordinates and values and nothing else; the study keeps what must survive a crash
(`sweeper.search.study`). So a suggestion costs no write, and the sampler may forget: TPE weighs old results less and
less, and models the best and the newest ones alone, so that asking stays fast after 10,000 trials.
"""

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers._tpe import _truncnorm
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.model import Sampler
from sweeper.search.censoring import BEYOND
from sweeper.space.space import Coordinates
from sweeper.stats import capping

if TYPE_CHECKING:
    from sweeper.search.event_sampler import Absent

Seen = Callable[[Coordinates], bool]
"""Whether coordinates mean a configuration that has been run, or is running."""

CANDIDATES = 128
"""Draws from the good side among which TPE takes the most promising that has not been run."""
MODELLED = 250
"""Newest trials that TPE models, besides the best ones; at twice as many it forgets the others."""


def _log_ndtr(x: Any) -> Any:
    """The log of the normal distribution function.

    Optuna's own works through arrays in Python, one number at a time, which is a third of what a suggestion costs.
    tests/search/test_sampler.py compares the two.
    """
    from scipy.special import log_ndtr  # noqa: PLC0415  # half a second, which the first trial does not wait for

    _truncnorm._log_ndtr = cast(Any, log_ndtr)
    return log_ndtr(x)


_truncnorm._log_ndtr = cast(Any, _log_ndtr)


class _Tpe(optuna.samplers.TPESampler):
    """TPE over all coordinates at once that proposes the best of its candidates that has not been run.

    Its good side is one that the cap knows of (`capping.good_side`). Three of Optuna's inner methods are replaced, for
    want of arguments; tests/search/test_sampler.py watches over them.
    """

    def __init__(self, coordinates: Mapping[str, BaseDistribution], seen: Seen, places: int, **settings: Any):
        super().__init__(multivariate=True, constant_liar=True, n_ei_candidates=CANDIDATES, **settings)
        self._coordinates = {key: each for key, each in coordinates.items() if not each.single()}
        self._single = {key: _only_value(each) for key, each in coordinates.items() if each.single()}
        self._seen = seen
        self._gamma = lambda finished: capping.good_side(finished, places)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._coordinates)

    def _compute_acquisition_func(self, samples: dict[str, Any], *estimators: Any) -> Any:
        values = super()._compute_acquisition_func(samples, *estimators)
        for place in np.argsort(-values, kind="stable"):
            drawn = {key: each.to_external_repr(samples[key][place].item()) for key, each in self._coordinates.items()}
            if not self._seen(self._single | drawn):
                break
            values[place] = -np.inf
        return values


def _only_value(distribution: BaseDistribution) -> Any:
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]  # the other two kinds have it


@dataclass(slots=True)
class _Known:
    """One trial as the sampler knows it, its coordinates in order; running while it has no value.

    `beyond` is of one that was cut short: its value would have become at least that.
    """

    coordinates: tuple[Any, ...]
    value: float | None = None
    beyond: float | None = None


class Suggestions:
    """A stream of coordinates that learns from the values of earlier ones.

    Args:
        distributions: of every coordinate.
        sampler: which one, its seed and its start-up trials.
        seen: whether coordinates have been run, so that they are not drawn again.
        places: how many of the best trials TPE may call good at most (see `capping`).
        earlier: trials that earlier launches opened: a reopened stream must not repeat itself.
        absent: where coordinates do not apply; for the Gaussian process, which draws `dimensions.stepped` ones.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        sampler: Sampler,
        seen: Seen,
        places: int,
        earlier: int = 0,
        *,
        absent: "Absent | None" = None,
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = int(np.random.SeedSequence([sampler.seed, earlier]).generate_state(1)[0])
        self._distributions = dict(distributions)
        self._sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
        if sampler.name == "tpe":
            self._sampler = _Tpe(self._distributions, seen, places, n_startup_trials=sampler.startup, seed=seed)
        elif sampler.name == "gp":
            words = [key for key, each in distributions.items() if isinstance(each, CategoricalDistribution)]
            from sweeper.search.event_sampler import EventSampler  # noqa: PLC0415  # scipy takes a second to import

            self._sampler = EventSampler(
                sampler.seed, sampler.startup, logs=True, absent=absent, seen=seen, words=words
            )
            places = max(places, MODELLED)
        self._censors = sampler.name == "gp"
        self._places, self._newest = places, max(MODELLED, sampler.startup)
        self._known: dict[int, _Known] = {}
        self._numbers: dict[int, int] = {}
        self._handles = itertools.count()
        self._study = self._empty()

    def ask(self) -> tuple[int, Coordinates]:
        """The next coordinates, and the handle under which their value may be reported."""
        trial = self._study.ask(self._distributions)
        handle = self._take_in(trial.params)
        self._numbers[handle] = trial.number
        return handle, trial.params

    def add(self, coordinates: Coordinates, value: float | None = None) -> int:
        """Coordinates that somebody else chose, with their value or still running. Returns their handle."""
        handle = self._take_in(coordinates, value)
        self._numbers[handle] = self._insert(self._known[handle])
        self._forget_some()
        return handle

    def load(self, known: Iterable[tuple[Coordinates, float | None]]) -> list[int]:
        """The same of many at once."""
        handles = [self._take_in(coordinates, value) for coordinates, value in known]
        self._rebuild(self._worth([*self._numbers, *handles]))
        return handles

    def tell(self, handle: int, value: float, beyond: float | None = None) -> None:
        """The value of coordinates, and the least it would have become where it was cut short; once."""
        known = self._known[handle]
        if known.value is not None:
            return
        known.value, known.beyond = value, beyond
        if beyond is None or not self._censors:
            self._study.tell(self._numbers[handle], value)
        else:
            self._study.tell(self._numbers[handle], state=TrialState.FAIL)
            self._numbers[handle] = self._insert(known)
        self._forget_some()

    def censor(self, bounds: Mapping[int, float]) -> None:
        """Say of coordinates whose values are known that they were cut short: handle -> the least that each exceeds."""
        if not bounds or not self._censors:
            return
        for handle, bound in bounds.items():
            self._known[handle].beyond = bound
        self._rebuild(list(self._numbers))

    def withdraw(self, handle: int) -> None:
        """Take back coordinates that nobody will train."""
        del self._known[handle]
        self._study.tell(self._numbers.pop(handle), state=TrialState.FAIL)

    def forget(self, handle: int) -> Coordinates:
        """Take back the value of coordinates: their trial runs again. Returns the coordinates."""
        known = self._known[handle]
        known.value = known.beyond = None
        self._rebuild([each for each in self._numbers if each != handle] + [handle])
        return self._named(known)

    def coordinates(self, handle: int) -> Coordinates:
        """The coordinates of a handle."""
        return self._named(self._known[handle])

    def _take_in(self, coordinates: Coordinates, value: float | None = None) -> int:
        handle = next(self._handles)
        self._known[handle] = _Known(tuple(coordinates[key] for key in self._distributions), value)
        return handle

    def _named(self, known: _Known) -> Coordinates:
        return dict(zip(self._distributions, known.coordinates, strict=True))

    def _insert(self, known: _Known) -> int:
        """Add to Optuna's study. Returns the number there."""
        self._study.add_trial(self._frozen(known))
        return len(self._study.get_trials(deepcopy=False)) - 1

    def _frozen(self, known: _Known) -> FrozenTrial:
        """A trial as Optuna has it; of one that was cut short the process learns that its time is longer."""
        state = TrialState.RUNNING if known.value is None else TrialState.COMPLETE
        value, attributes = known.value, {}
        if known.beyond is not None and self._censors:
            state, value, attributes = TrialState.PRUNED, None, {BEYOND: known.beyond}
        return optuna.trial.create_trial(
            state=state,
            value=value,
            params=self._named(known),
            distributions=self._distributions,
            user_attrs=attributes,
        )

    def _forget_some(self) -> None:
        kept = self._worth(self._numbers)
        if len(kept) < len(self._numbers):
            self._rebuild(kept)

    def _worth(self, handles: Collection[int]) -> list[int]:
        """The trials to keep: once they are many, those that run, the best and the newest."""
        if len(handles) <= 2 * self._newest:
            return list(handles)
        finished = [(known.value, handle) for handle, known in self._known.items() if known.value is not None]
        running = {handle for handle in handles if self._known[handle].value is None}
        best = {handle for _, handle in heapq.nsmallest(self._places, finished)}
        return sorted({*running, *best, *sorted(handles)[-self._newest :]})

    def _rebuild(self, handles: list[int]) -> None:
        self._study = self._empty()
        self._numbers = {handle: self._insert(self._known[handle]) for handle in handles}

    def _empty(self) -> optuna.Study:
        return optuna.create_study(direction="minimize", sampler=self._sampler)
