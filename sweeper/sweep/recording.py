"""An ended trial made durable: its curves, its runs and its row in the tables; then trackers receive it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy.typing as npt

from sweeper.config.model import At, SweepSpec
from sweeper.results.rows import TrialRow
from sweeper.results.summary import TrialSummary, summarise, trial_row
from sweeper.results.writer import Writer
from sweeper.search.study import Proposal
from sweeper.space.hyperparameters import described, identity
from sweeper.stats.events import Ending
from sweeper.sweep.keeping import Keeper
from sweeper.sweep.live import LiveTrial
from sweeper.sweep.stopping import StoppingRule
from sweeper.trackers.protocol import OUTCOME, FinishedTrial


class Recorder:
    """Writes the trials of a launch.

    Args:
        spec: the sweep.
        writer: its tables.
        track: is called with every trial that is over for good, once it is durable.
        keeper: keeps trained parameters.
    """

    def __init__(self, spec: SweepSpec, writer: Writer, track: Callable[[FinishedTrial], object], keeper: Keeper):
        self._spec, self._writer, self._track, self._keeper = spec, writer, track, keeper

    def kept_at(self, phase: str) -> At | None:
        """The evaluation at which trials of a phase keep the parameters of their runs; None for none."""
        return self._keeper.at(phase)

    def fold_when_due(self) -> None:
        """Move finished trials from their shards to the parts, now and then."""
        self._writer.fold_when_due()

    def record(self, live: LiveTrial, ending: Ending, rule: StoppingRule) -> tuple[TrialSummary, TrialRow]:
        """Make a trial durable; if it is over for good, trackers receive it.

        Args:
            live: the trial.
            ending: how it ended.
            rule: gives the value that is reported to the sampler.

        Returns:
            What its runs came to, and its row.
        """
        columns, trained, proposal = live.columns, live.whole, live.proposal
        if ending.kind == "failed":  # its later replicates count as failed too: the value is one of all of them
            first = trained.replicates[0]
            trained = replace(trained, replicates=tuple(range(first, first + live.replicates)))
        summary = summarise(
            trained,
            columns=columns,
            ending=ending,
            limit=self._spec.limit(),
            started=live.earlier.started,
            finished=datetime.now(UTC),
            seconds=live.seconds,
            device=live.device,
        )
        summary = replace(summary, value=rule.value(summary))
        known = self._spec.task.hyperparameters
        row = trial_row(
            summary,
            phase=proposal.phase,
            name=proposal.name,
            identity=identity(proposal.settings, self._spec.space.horizon),
            settings=proposal.settings,
            known=known,
            retries=live.earlier.retries,
        )
        self._keeper.save(live, summary)
        self._writer.put(columns, [run.row for run in summary.runs], row)
        self._keeper.recorded()
        if ending.final:
            self._track(_tracked(proposal, summary, row, columns, known))
        return summary, row


def _tracked(
    proposal: Proposal,
    summary: TrialSummary,
    row: TrialRow,
    columns: Mapping[str, npt.NDArray[Any]],
    known: Collection[str],
) -> FinishedTrial:
    """A trial as trackers receive it, with the numbers of its row that say how it ended."""
    return FinishedTrial(
        proposal.number,
        proposal.phase,
        proposal.name,
        summary.ending.kind,
        {key: value for key, value in described(proposal.settings, known).items() if value is not None},
        {name: float(value) for name in OUTCOME if (value := getattr(row, name)) is not None},
        columns,
        summary.started,
        summary.finished,
    )
