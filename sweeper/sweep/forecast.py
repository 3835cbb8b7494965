"""How long a sweep will still take, while it runs: from its own trials, over all launches."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper.config.model import SweepSpec
from sweeper.results.totals import EndedTrial, Totals
from sweeper.stats.events import CUT_SHORT
from sweeper.stats.forecast import Span, Work, forecast

if TYPE_CHECKING:
    from sweeper.sweep.scoreboard import Scoreboard  # it imports Optuna

_FEW = 100
"""The newest trials are those that the trials to come resemble most."""


def left(board: "Scoreboard", spec: SweepSpec, places: int) -> Span | None:
    """How long the sweep will still take; None before a trial has ended, or without a limit to count to."""
    totals, hours = board.totals, spec.budget.hours
    took = [each.seconds for each in totals.searched[-_FEW:] if not each.failed]
    limit = None if hours is None else max(hours * 3600 - board.searched(), 0.0)
    if not took or (spec.budget.trials is None and limit is None):
        return None
    live = list(board.live.values())
    spent = {each.proposal.name: each.seconds for each in live if each.proposal.phase == "confirm"}
    work = replace(confirmations(spec, totals, spent), took=took, places=max(places, 1))
    if board.out_of_time:
        return forecast(work)
    training = [each.seconds for each in live if each.proposal.phase != "confirm"]
    if spec.budget.trials is None:
        return forecast(work).plus(0.0 if board.exhausted else limit or 0.0)
    to_begin = 0 if board.exhausted else spec.budget.trials - len(totals.searched) - len(training)
    return forecast(replace(work, search=max(to_begin, 0), training=training, limit=limit))


def confirmations(spec: SweepSpec, totals: Totals, spent: dict[str, float] | None = None) -> Work:
    """What is left to confirm, as work without a search.

    Args:
        spec: the sweep's.
        totals: what its trials come to.
        spent: seconds that confirmations in training have taken, by the number of the confirmed trial as text.
    """
    if spec.confirm is None:
        return Work(())
    spent = spent or {}
    runs, operations = spec.objective.replicates, len(spec.task.operations)
    scale = spec.confirm.replicates / runs
    whole = [each for each in totals.searched if not each.failed and each.ending.kind not in CUT_SHORT]
    baselines = [each for each in whole if each.phase == "baseline"]
    found = sorted((each for each in whole if each.phase == "search"), key=lambda each: (each.value, each.number))
    best = found[: spec.confirm.top]
    scale *= _slower(totals, scale)
    lacking = [each for each in (*best, *baselines) if str(each.number) not in totals.confirmed]
    known = [
        max(expected - spent.get(str(each.number), 0.0), expected / 10)
        for each in lacking
        if (expected := each.seconds * scale * runs * operations / each.runs)
    ]
    if not totals.best and spec.budget.trials is not None and len(totals.searched) >= spec.budget.trials:
        return Work(())  # no run reached the event
    return Work(
        (),
        confirm=known,
        finalists=max(spec.confirm.top - len(best), 0),
        baselines=max(len(spec.baselines) - len(baselines), 0),
        scale=scale,
    )


def _slower(totals: Totals, scale: float) -> float:
    """How many times as long as expected the confirmations took that have ended."""
    searched: dict[str, EndedTrial] = {str(each.number): each for each in totals.searched}
    ended = [each for each in totals.over if each.phase == "confirm" and not each.failed and each.name in searched]
    expected = sum(searched[each.name].seconds * scale for each in ended)
    return sum(each.seconds for each in ended) / expected if expected else 1.0
