"""How long a sweep will take before it is launched: from what it, or sweeps like it, took on this machine."""

import math
import platform
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweeper.config.loading import Loaded
from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.environment import provenance
from sweeper.errors import UserError, plural
from sweeper.folder.address import in_store
from sweeper.folder.layout import SweepFolder
from sweeper.monitor.tables import Kept, kept_in
from sweeper.results.readback import searched_before
from sweeper.results.totals import Totals
from sweeper.stats.capping import places_that_matter
from sweeper.stats.forecast import Span, forecast
from sweeper.sweep.forecast import confirmations
from sweeper.sweep.plan import UNKNOWN, Estimate, Plan

_HOW_ELSE = ", which has another space or trained its trials in another way"
_START_S = {"ray": 9.0, "here": 3.0}
"""Seconds from the command to the first update, where no earlier launch on this machine says."""
_END_S = {"ray": 2.5, "here": 1.0}
"""Seconds from the last result to the end of the command."""
_TRY_S = 20.0
"""Seconds that a probe trains."""
_SAME, _ALIKE, _OTHERWISE, _MEASURED = 0.15, 0.4, 0.45, 0.25
"""Standard deviation of the log of the common error: the same question, another question of the same task, trials that
trained alone and now train beside others or the reverse, a probe."""


@dataclass(frozen=True)
class Basis:
    """What an estimate is made from.

    Attributes:
        took: seconds of trials like those to come.
        doubt: see `Work`.
        words: where that comes from.
        overhead: seconds of the command before the first update and after the last result.
        capped: whether `took` has the stopping rule in it already.
        totals: what this sweep's own trials come to.
        searched: seconds of its time budget that are used up.
    """

    took: tuple[float, ...]
    doubt: float
    words: str
    overhead: float
    capped: bool
    totals: Totals
    searched: float = 0.0


def recorded(loaded: Loaded, folder: SweepFolder, where: str) -> Basis | None:
    """What this sweep, or the most similar one beside it, took on this machine; None if there is none."""
    spec = loaded.spec
    own = _kept(folder)
    if own is not None and own.totals.searched and _is_of_this_machine(folder):
        took = _seconds(own)
        used = 0.0 if spec.budget.hours is None else searched_before(folder)
        words = f"{plural(len(took), 'trial')} of this sweep"
        return Basis(took, _SAME, words, _overhead(folder, where), True, own.totals, used)
    totals = Totals() if own is None else own.totals
    found: list[tuple[float, str, SweepFolder, tuple[float, ...]]] = []
    root = folder.root.parent
    for space in [] if in_store(spec.results) else sorted(root.glob("*/" + folder.space.name)):
        other = SweepFolder(space.parent)
        theirs = None if other == folder or not _is_of_this_machine(other) else _spec(other)
        doubt = None if theirs is None else _doubt(theirs, spec)
        kept = None if doubt is None else _kept(other)
        if kept is not None and doubt is not None and _seconds(kept):
            scale = _size(spec) / _size(kept.spec)
            doubt = doubt if _way(other) == where else math.hypot(doubt, _OTHERWISE)
            found.append((doubt, space.parent.name, other, tuple(each * scale for each in _seconds(kept))))
    if not found:
        return None
    doubt, name, other, took = min(found, key=lambda each: (each[0], -len(each[3])))
    words = f"{plural(len(took), 'trial')} of {name}" + ("" if doubt == _SAME else _HOW_ELSE)
    return Basis(took, doubt, words, _overhead(other, where), True, totals)


def measured(took: list[float], ended: int, folder: SweepFolder, where: str) -> Basis:
    """What a probe found (see `trying`)."""
    own = _kept(folder)
    doubt = _MEASURED + (_ALIKE if ended < len(took) / 2 else 0.0)
    words = f"{plural(len(took), 'configuration')} tried, {ended} of them to the end"
    totals, used = (Totals(), 0.0) if own is None else (own.totals, searched_before(folder))
    return Basis(tuple(took), doubt, words, _overhead(folder, where), False, totals, used)


def duration(basis: Basis, spec: SweepSpec, trials: int | None, at_once: int) -> Span | None:
    """How long the launch will take; None where nothing limits it.

    Args:
        basis: what is known.
        spec: the sweep's.
        trials: baselines and trials of the search; None without a limit.
        at_once: trials that train beside each other.
    """
    limit = None if spec.budget.hours is None else max(spec.budget.hours * 3600 - basis.searched, 0.0)
    cap = None if basis.capped or spec.stop != "cap" else places_that_matter(spec.budget.trials, spec.finalists)
    work = replace(confirmations(spec, basis.totals), took=basis.took, places=max(at_once, 1), doubt=basis.doubt)
    if trials is None:
        return None if limit is None else forecast(work).plus(limit + basis.overhead)
    left = max(trials - len(basis.totals.searched), 0)
    return forecast(replace(work, search=left, limit=limit, cap=cap)).plus(basis.overhead)


def estimate(
    plan: Plan, space: Path, overrides: list[str] | None, *, here: bool, measure: bool, price: float | None
) -> Estimate:
    """The forecast of a launch.

    Args:
        plan: its plan.
        space, overrides: as for `launch`.
        here: whether it trains in one process.
        measure: whether to try configurations for some seconds.
        price: of this machine, an hour.
    """
    where = "here" if here else "ray"
    spec = plan.loaded.spec
    if measure:
        from sweeper.sweep.trying import tried  # noqa: PLC0415  # pools of processes; only --measure needs them

        took, ended = tried(space.resolve(), overrides or [], plan.at_once, _TRY_S)
        basis: Basis | None = measured(took, ended, plan.folder, where)
    else:
        basis = recorded(plan.loaded, plan.folder, where)
    if basis is None:
        return Estimate(None, UNKNOWN)
    span = duration(basis, spec, plan.trials, plan.at_once)
    return Estimate(span, "as long as it takes: nothing limits it" if span is None else f"from {basis.words}", price)


def _seconds(kept: Kept) -> tuple[float, ...]:
    return tuple(each.seconds for each in kept.totals.searched if not each.failed)


def _spec(folder: SweepFolder) -> SweepSpec | None:
    try:
        return saved_spec(folder)
    except UserError:
        return None


def _kept(folder: SweepFolder) -> Kept | None:
    if not folder.space.exists():
        return None
    try:
        return kept_in(folder)
    except UserError:
        return None


def _way(folder: SweepFolder) -> str:
    """How the last launch of a sweep trained its trials."""
    launches = _launches(folder)
    return "here" if launches and "--here" in (launches[-1].get("command") or []) else "ray"


def _launches(folder: SweepFolder) -> list[dict[str, Any]]:
    try:
        return provenance.launches(folder)
    except UserError:
        return []


def _is_of_this_machine(folder: SweepFolder) -> bool:
    launches = _launches(folder)
    return bool(launches) and launches[-1].get("host") == platform.node()


def _overhead(folder: SweepFolder, where: str) -> float:
    """See `Basis`: until the first trial as the first launch took, if it ran in the same way."""
    return _start(folder, where) + _END_S[where]


def _start(folder: SweepFolder, where: str) -> float:
    kept, launches = _kept(folder), _launches(folder)
    usual = _START_S[where]
    if kept is None or not launches or not kept.totals.over:
        return usual
    command = launches[0].get("command") or []
    try:
        launched = datetime.fromisoformat(str(launches[0].get("launched")))
    except ValueError:
        return usual
    first = min(each.started for each in kept.totals.over)
    waited = (first - launched).total_seconds()
    return max(waited, usual) if ("--here" in command) == (where == "here") and waited < 600 else usual


def _doubt(other: SweepSpec, spec: SweepSpec) -> float | None:
    """How far times of another sweep can be trusted; None for not at all: its task or its event is another one."""
    parts = ("task", "precision", "search", "fixed", "stop", "race", "objective")
    mine, theirs = ({name: getattr(each, name) for name in parts} for each in (spec, other))
    if _plain(mine) == _plain(theirs):
        return _SAME
    same_task = _plain(mine["task"]) == _plain(theirs["task"]) and spec.objective.until == other.objective.until
    return _ALIKE if same_task else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    dump = getattr(value, "model_dump", None)
    return _plain(dump(mode="json")) if dump is not None else repr(value)


def _size(spec: SweepSpec) -> float:
    """Grows with a trial: its runs, and how far they may train."""
    return len(spec.task.operations) * spec.objective.replicates * spec.objective.horizon
