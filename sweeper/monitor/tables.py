"""The progress of a sweep as its tables have it: over all launches, whether one runs it or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.folder.layout import SweepFolder
from sweeper.monitor.heartbeat import Progress
from sweeper.monitor.panel import result_line
from sweeper.results.parts import fingerprint
from sweeper.results.rows import column_of
from sweeper.results.totals import EndedTrial, Totals, ended_trials


def of_tables(totals: Totals, spec: SweepSpec) -> Mapping[str, Any]:
    """The fields of `Progress` that follow from what trials come to."""
    best = totals.best
    endings = totals.endings
    return {
        "finished": endings.total(),
        "endings": {kind: count for kind, count in sorted(endings.items()) if kind != "finished"},
        "budget": spec.budget.trials,
        "confirmed": len(totals.confirmed),
        "runs": dict(totals.runs),
        "best": "" if best is None else result_line(best, spec.objective.minimize, spec.search),
    }


def trials_of(folder: SweepFolder, spec: SweepSpec) -> list[EndedTrial]:
    """Every trial in the tables. Raises UserError where a part is damaged."""
    return ended_trials(folder, map(column_of, spec.search))


def is_done(totals: Totals, spec: SweepSpec) -> bool:
    """Whether a launch would have nothing to train: the budget of trials is used, and the finalists are confirmed."""
    searched = totals.searched
    if spec.budget.trials is None or len(searched) < spec.budget.trials:
        return False
    if spec.confirm is None or totals.best is None:
        return True
    able = [each for each in searched if each.ending.kind == "finished"]
    baselines = sum(each.phase == "baseline" for each in able)
    return len(totals.confirmed) >= min(spec.confirm.top, len(able) - baselines) + baselines


@dataclass(frozen=True)
class Kept:
    """What a sweep's folder keeps: its question, what its trials come to, and the progress that follows."""

    spec: SweepSpec
    totals: Totals
    progress: Progress
    done: bool


def kept_in(folder: SweepFolder) -> Kept:
    """Read a sweep's folder. Raises UserError where a file is damaged."""
    spec = saved_spec(folder)
    totals, event = Totals(trials_of(folder, spec)), spec.objective.event
    fields = of_tables(totals, spec)
    progress = Progress(folder.root.name, metric=event.metric, horizon=spec.objective.horizon, **fields)
    return Kept(spec, totals, progress, is_done(totals, spec))


class Tables:
    """What a sweep's folder keeps, read again only when its tables have changed."""

    def __init__(self) -> None:
        self._stamp: object = None
        self._kept: Kept | None = None

    def read(self, folder: SweepFolder) -> Kept:
        """What it keeps now. Raises UserError where a file is damaged."""
        stamp = fingerprint(folder)
        if self._kept is None or stamp != self._stamp:
            self._kept = kept_in(folder)
            self._stamp = stamp
        return self._kept
