"""When will it happen? A Gaussian process over the logarithms of event times, runs that are not over included.

The log time of configuration c on seed s is `f(x_c) + u_c + v_s + e_cs`: a smooth function of the hyperparameters
(Matern 5/2, a length for each of them), an effect of the configuration that no hyperparameter explains, one of the
seed, which all configurations share, and noise. A configuration is judged by its mean over all the seeds. A run that is
not over says that its time is longer: a normal cut off below, by expectation propagation (Minka 2001; Rasmussen and
Williams 2006, section 3.6). It weighs next to nothing before that time comes near the expected one.
"""

from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs
from scipy.optimize import minimize
from scipy.special import log_ndtr

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_ANYWHERE = 1.0
"""Standard deviation of the level of all log times around the median of those seen."""
_JITTER = 1e-8
_SWEEPS, _SETTLED = 6, 0.05
"""Of expectation propagation over the runs that are not over, at most; and the change of a mean, in standard
deviations, at which it has settled.
"""
_FAR = -3.0
"""Standard deviations from the mean at which a bound so low cuts nothing off."""
_WEAKEST = 1e-6
"""Precision below which an observation is left out."""
_STEPS = 40
"""Of the search for hyperparameters."""
_LENGTHS = (0.0, 1.0)
_SPREADS = {"smooth": (np.log(0.35), 0.7), "configuration": (np.log(0.08), 1.0), "seed": (np.log(0.08), 1.0)} | {
    "noise": (np.log(0.15), 0.7)
}
"""Normal priors of the logarithms of lengths, in widths of a parameter's range, and of standard deviations of log time:
a third between configurations, a tenth or so between seeds.
"""


@dataclass(frozen=True)
class Hyper:
    """Hyperparameters of the process.

    Attributes:
        lengths: [D], the distance over which each parameter matters, in widths of its range.
        smooth, configuration, seed, noise: standard deviations of log time.
    """

    lengths: Numbers
    smooth: float = float(np.exp(_SPREADS["smooth"][0]))
    configuration: float = float(np.exp(_SPREADS["configuration"][0]))
    seed: float = float(np.exp(_SPREADS["seed"][0]))
    noise: float = float(np.exp(_SPREADS["noise"][0]))

    @classmethod
    def of(cls, logs: Numbers) -> "Hyper":
        """From their logarithms, lengths first."""
        return cls(np.exp(logs[:-4]), *(float(each) for each in np.exp(logs[-4:])))

    @property
    def logs(self) -> Numbers:
        """Their logarithms, lengths first."""
        return np.log([*self.lengths, self.smooth, self.configuration, self.seed, self.noise])


@dataclass(frozen=True)
class Places:
    """Configurations as points: each parameter is a block of columns, so that distances are Euclidean.

    Attributes:
        columns: [n, C]; a number in widths of its range, a word one-hot, a parameter that does not apply at a point of
            its own (`sweeper.search.encoding`).
        parameter: [C], which parameter a column belongs to, from 0.
    """

    columns: Numbers
    parameter: Indices

    def scaled(self, lengths: Numbers) -> Numbers:
        """[n, C], each column in lengths of its parameter."""
        return np.asarray(self.columns / lengths[self.parameter])


@dataclass(frozen=True)
class RunTimes:
    """The times of N runs, as far as they are known.

    Attributes:
        configuration: [N], index into the places.
        seed: [N], from 0; -1 for a seed that no other run has.
        log_time: [N], measured or predicted; anything where nothing is.
        spread: [N], standard deviation of that: 0 when measured, infinite where nothing is known.
        beyond: [N], log of a time that the run is known to exceed; -inf where it is over.
    """

    configuration: Indices
    seed: Indices
    log_time: Numbers
    spread: Numbers
    beyond: Numbers

    def __len__(self) -> int:
        return len(self.configuration)

    def __getitem__(self, some: Indices) -> "RunTimes":
        return RunTimes(
            self.configuration[some], self.seed[some], self.log_time[some], self.spread[some], self.beyond[some]
        )


@dataclass(frozen=True)
class EventGp:
    """The process given some runs.

    Args:
        places: of the configurations that have runs.
        runs: their times.
        hyper: hyperparameters.
        replicates: seeds 0, 1, ... whose mean is wanted of a configuration; a configuration's mean over all of them is
            known once they are over.
    """

    places: Places
    runs: RunTimes
    hyper: Hyper
    replicates: int = 1
    _level: float = field(init=False)
    _sites: tuple[Numbers, Numbers] = field(init=False)

    def __post_init__(self) -> None:
        over = self.runs.spread == 0
        seen = self.runs.log_time[over] if over.any() else self.runs.beyond[np.isfinite(self.runs.beyond)]
        object.__setattr__(self, "_level", float(np.median(seen)) if len(seen) else 0.0)
        object.__setattr__(self, "_sites", self._propagate())

    def of_configurations(self, places: Places, known: Indices) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation of configurations' mean log times over the seeds that count.

        Args:
            places: of M configurations.
            known: [M], index of each among this process's places; -1 for one that has no runs.
        """
        cross = self._smooth(places)[:, self.runs.configuration]
        mine = known[:, None] == self.runs.configuration
        hyper, count = self.hyper, self.replicates
        counts = (self.runs.seed >= 0) & (self.runs.seed < count)
        cross += hyper.seed**2 / count * counts + mine * (hyper.configuration**2 + hyper.noise**2 / count)
        prior = _ANYWHERE**2 + hyper.smooth**2 + hyper.configuration**2 + (hyper.seed**2 + hyper.noise**2) / count
        return self._given(cross, np.full(len(cross), prior))

    def believing(self, running: npt.NDArray[np.bool_]) -> "EventGp":
        """The process if some of its runs had ended where they are expected to: for asking again while they go on.

        (The kriging believer of Ginsbourger et al. 2010: the mean stays, the uncertainty about them goes.)
        """
        mean, _ = self.of_runs()
        precision, shift = (each.copy() for each in self._sites)
        precision[running] = 1 / _JITTER
        shift[running] = (mean[running] - self._level) / _JITTER
        believer = copy(self)  # what is computed on demand must be computed anew
        believer.__dict__.pop("_solved", None)
        object.__setattr__(believer, "_sites", (precision, shift))
        return believer

    def of_runs(self) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation of the log time of each of its own runs."""
        return self._given(self._covariance, self._diagonal)

    @cached_property
    def _covariance(self) -> Numbers:
        """[N, N], of the runs' log times."""
        seed, hyper = self.runs.seed, self.hyper
        rows = self.runs.configuration
        covariance = self._smooth(self.places)[rows][:, rows]
        covariance += hyper.configuration**2 * (rows[:, None] == rows)
        covariance += hyper.seed**2 * ((seed[:, None] == seed) & (seed >= 0))
        own = hyper.noise**2 + _JITTER + hyper.seed**2 * (seed < 0)
        covariance[np.diag_indices_from(covariance)] += own
        return covariance

    @property
    def _diagonal(self) -> Numbers:
        return np.asarray(self._covariance.diagonal())

    def _smooth(self, places: Places) -> Numbers:
        """[M, configurations], covariance that hyperparameters explain, and the level's."""
        mine, theirs = self.places.scaled(self.hyper.lengths), places.scaled(self.hyper.lengths)
        squared = (theirs**2).sum(1)[:, None] + (mine**2).sum(1) - 2 * theirs @ mine.T
        return np.asarray(_ANYWHERE**2 + self.hyper.smooth**2 * _matern(np.maximum(squared, 0.0)))

    @cached_property
    def _solved(self) -> tuple[Indices, Numbers, Numbers]:
        """Of the observations that say something: which, the Cholesky factor, and weights of the mean."""
        return self._solve(*self._sites)

    def _solve(self, precision: Numbers, shift: Numbers) -> tuple[Indices, Numbers, Numbers]:
        kept = np.flatnonzero(precision > _WEAKEST)
        if not len(kept):
            return kept, np.zeros((0, 0)), np.zeros(0)
        covariance = self._covariance[np.ix_(kept, kept)].copy()
        covariance[np.diag_indices_from(covariance)] += 1 / precision[kept]
        factor = _cholesky(covariance)
        return kept, factor, dpotrs(factor, shift[kept] / precision[kept], lower=1)[0]

    def _given(
        self, cross: Numbers, prior: Numbers, solved: tuple[Indices, Numbers, Numbers] | None = None
    ) -> tuple[Numbers, Numbers]:
        kept, factor, weights = solved or self._solved
        if not len(kept):
            return np.full(len(cross), self._level), np.sqrt(prior)
        cross = cross[:, kept]
        explained = dtrtrs(factor, cross.T, lower=1)[0]
        left = np.maximum(prior - (explained**2).sum(0), _JITTER)
        return self._level + cross @ weights, np.sqrt(left)

    def _propagate(self) -> tuple[Numbers, Numbers]:
        """Precision and precision-weighted mean, from the level, of what each run says by itself."""
        runs = self.runs
        with np.errstate(divide="ignore"):
            observed = np.where(np.isfinite(runs.spread), 1 / np.maximum(runs.spread, np.sqrt(_JITTER)) ** 2, 0.0)
        shift = np.where(observed > 0, observed * (np.where(observed > 0, runs.log_time, 0.0) - self._level), 0.0)
        precision, at = observed.copy(), shift.copy()
        cut = np.flatnonzero(np.isfinite(runs.beyond) & (runs.spread > 0))
        bound = runs.beyond[cut] - self._level
        before: Numbers | float = np.inf
        for _ in range(_SWEEPS if len(cut) else 0):
            mean, deviation = self._given(self._covariance[cut], self._diagonal[cut], self._solve(precision, at))
            mean -= self._level
            if np.all(np.abs(mean - before) < _SETTLED * deviation):
                break
            before = mean
            own, pull = precision[cut] - observed[cut], at[cut] - shift[cut]
            rest = np.maximum(1 / deviation**2 - own, _WEAKEST)
            without = (mean / deviation**2 - pull) / rest
            low, variance = cut_below(without, 1 / np.sqrt(rest), bound)
            new = np.where((bound - without) * np.sqrt(rest) > _FAR, np.maximum(1 / variance - rest, 0.0), 0.0)
            precision[cut] = observed[cut] + new
            at[cut] = shift[cut] + np.where(new > 0, low / variance - without * rest, 0.0)
        return precision, at


def cut_below(mean: Numbers, deviation: Numbers, bound: Numbers) -> tuple[Numbers, Numbers]:
    """Mean and variance of normals of which only what exceeds a bound is left."""
    place = (bound - mean) / deviation
    ratio = np.exp(-0.5 * place**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-place))
    shrink = np.clip(1 - ratio * (ratio - place), 1e-6, 1.0)
    return mean + deviation * ratio, deviation**2 * shrink


def log_improvement(mean: Numbers, deviation: Numbers, best: float) -> Numbers:
    """Log of the expected improvement over the best, for minimisation; exact far out, where it is nil or certain.

    As in Ament et al. 2023 (arXiv:2310.20708).
    """
    place = (best - mean) / deviation
    density = -0.5 * place**2 - 0.5 * np.log(2 * np.pi)
    # log(phi + z Phi) = log phi + log(1 + z Phi / phi); for z far below 0 it is log phi - 2 log |z|.
    far, certain = place < -25, place > 25
    near = np.where(far | certain, 0.0, place)
    share = 1 + near * np.exp(log_ndtr(near) - (-0.5 * near**2 - 0.5 * np.log(2 * np.pi)))
    inner = np.where(far, -2 * np.log(np.maximum(-place, 1.0)), np.log(np.maximum(share, 1e-300)))
    return np.asarray(np.log(deviation) + np.where(certain, np.log(np.where(certain, place, 1.0)), density + inner))


def fit(places: Places, runs: RunTimes, start: Hyper, replicates: int = 1) -> Hyper:
    """The most probable hyperparameters given the runs, from a start.

    What unfinished runs say is taken as the start has it.
    """
    before = EventGp(places, runs, start, replicates)
    kept, *_ = before._solved
    if len(kept) < 2:
        return start
    precision, shift = (each[kept] for each in before._sites)
    target, variance = shift / precision, 1 / precision
    rows, seed = runs.configuration[kept], runs.seed[kept]
    columns = places.columns[rows]
    apart = np.stack(
        [
            ((columns[:, None, mine] - columns[None, :, mine]) ** 2).sum(-1)
            for mine in (places.parameter == each for each in range(len(start.lengths)))
        ]
    )
    same, common = rows[:, None] == rows, (seed[:, None] == seed) & (seed >= 0)
    np.fill_diagonal(common, True)
    centre = np.array([_LENGTHS[0]] * len(start.lengths) + [mean for mean, _ in _SPREADS.values()])
    width = np.array([_LENGTHS[1]] * len(start.lengths) + [each for _, each in _SPREADS.values()])

    def loss(logs: Numbers) -> tuple[float, Numbers]:
        hyper = Hyper.of(logs)
        scaled = apart / (hyper.lengths**2)[:, None, None]
        root = np.sqrt(5 * scaled.sum(0))
        decay = np.exp(-root)
        smooth = hyper.smooth**2 * (1 + root + root**2 / 3) * decay
        parts = (smooth, hyper.configuration**2 * same, hyper.seed**2 * common)
        covariance = _ANYWHERE**2 + parts[0] + parts[1] + parts[2]
        covariance[np.diag_indices_from(covariance)] += hyper.noise**2 + _JITTER + variance
        factor = _cholesky(covariance)
        half = dpotri(factor, lower=1)[0]
        inverse = np.tril(half) + np.tril(half, -1).T
        weights = inverse @ target
        outer = inverse - np.outer(weights, weights)
        slope = hyper.smooth**2 * 5 / 3 * (1 + root) * decay * outer
        gradient = np.array(
            [
                *(0.5 * np.einsum("ij,dij->d", slope, scaled)),
                *((outer * part).sum() for part in parts),
                hyper.noise**2 * np.trace(outer),
            ]
        )
        off = (logs - centre) / width
        value = 0.5 * target @ weights + np.log(np.diag(factor)).sum() + 0.5 * (off**2).sum()
        return float(value), gradient + off / width

    found = minimize(loss, start.logs, jac=True, method="L-BFGS-B", bounds=_bounds(centre), options={"maxiter": _STEPS})
    return Hyper.of(found.x)


def _bounds(centre: Numbers) -> list[tuple[float, float]]:
    return [(each - 4.0, each + 4.0) for each in centre]


def _cholesky(covariance: Numbers) -> Numbers:
    """The lower factor; LAPACK itself, as SciPy's own wrapper takes longer than it does on matrices of this size."""
    factor, failed = dpotrf(covariance, lower=1, clean=1)
    if failed:
        raise np.linalg.LinAlgError(f"not positive definite at row {failed}")
    return np.asarray(factor)


def _matern(squared: Numbers) -> Numbers:
    root = np.sqrt(5 * squared)
    return np.asarray((1 + root + root**2 / 3) * np.exp(-root))
