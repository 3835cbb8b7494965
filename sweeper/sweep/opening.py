"""A launch's director, put together from what earlier launches left in the folder and in the study."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from sweeper.config.loading import Loaded
from sweeper.folder.layout import SweepFolder
from sweeper.monitor.tables import trials_of
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.decisions import Decisions
from sweeper.results.models import Models
from sweeper.results.readback import TrialOutcome, curves, searched_before, trial_outcomes
from sweeper.results.totals import EndedTrial
from sweeper.results.writer import Writer
from sweeper.search.study import Study
from sweeper.stats.events import BOUNDED, FINISHED
from sweeper.sweep.agenda import Agenda
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.director import SweepDirector
from sweeper.sweep.keeping import Keeper
from sweeper.sweep.recording import Recorder
from sweeper.sweep.restarts import Restarts
from sweeper.sweep.resume import check_tables_match_study
from sweeper.sweep.rules import rule_of
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.sweep.stopping import Curves
from sweeper.trackers.protocol import FinishedTrial


def director_of(
    folder: SweepFolder,
    loaded: Loaded,
    study: Study,
    *,
    writer: Writer,
    board: Scoreboard,
    broadcast: Broadcast,
    track: Callable[[FinishedTrial], object],
) -> SweepDirector:
    """The director, which continues from the tables in the folder.

    Args:
        folder, loaded, study: the sweep's.
        writer, board, broadcast, track: see `open_director`.

    Raises:
        UserError: the tables and the study belong to different sweeps.
    """
    objective = loaded.spec.objective
    known = trial_outcomes(folder, objective.minimize)
    check_tables_match_study(folder, known, study)
    return open_director(
        loaded,
        study=study,
        writer=writer,
        checkpoints=Checkpoints(folder),
        models=Models(folder),
        outcomes=known,
        curves=partial(curves, folder, objective.minimize, objective.event.metric),
        decisions=Decisions(folder),
        board=board,
        broadcast=broadcast,
        track=track,
        ended=trials_of(folder, loaded.spec),
        searched_before=0.0 if loaded.spec.budget.hours is None else searched_before(folder),
    )


def open_director(
    loaded: Loaded,
    *,
    study: Study,
    writer: Writer,
    checkpoints: Checkpoints,
    models: Models,
    outcomes: Mapping[int, TrialOutcome],
    curves: Curves,
    decisions: Decisions,
    board: Scoreboard,
    broadcast: Broadcast,
    track: Callable[[FinishedTrial], object],
    ended: Iterable[EndedTrial] = (),
    searched_before: float = 0.0,
) -> SweepDirector:
    """The director of a launch, which continues what earlier launches left.

    Args:
        loaded: the checked space.
        study: remembers trials.
        writer: the sweep's tables.
        checkpoints: the states of trials in training.
        models: the parameters of the best trials.
        outcomes: of the trials that the tables hold and that are over.
        curves: reads the curves that the tables hold.
        decisions: holds those of `stop: thaw`.
        board: is kept up to date.
        broadcast: for notices and requests to stop.
        track: is called with every trial that is over for good, once it is durable.
        ended: every trial in the tables.
        searched_before: seconds of the time budget that earlier launches used.
    """
    spec, space = loaded.spec, loaded.space
    for proposal in study.unfinished():
        if proposal.number in outcomes:  # a crash came between tables and study
            study.tell(proposal.number, outcomes[proposal.number].value)
    bounds = {n: each.bound for n, each in outcomes.items() if each.state == "capped" and each.bound is not None}
    aside = {n: bounds[n] for n in checkpoints.numbers if n in bounds}
    checkpoints.keep({proposal.number for proposal in study.unfinished()} | aside.keys())
    known = {n: outcomes[n] for n in study.values() if n in outcomes and study.in_space(n)}
    study.censor({n: each.bound for n, each in known.items() if each.state in BOUNDED and each.bound is not None})
    values = study.values()
    finished = {n: trial.value for n, trial in outcomes.items() if trial.state == FINISHED.kind and n in values}
    rule = rule_of(spec, study, known, curves, decisions)
    agenda = Agenda(spec, space, study=study, rule=rule, outcomes=outcomes, notice=broadcast.notice)
    board.load(ended)
    board.begin(searched_before)
    director = SweepDirector(
        spec,
        study=study,
        recorder=Recorder(spec, writer, track, Keeper(models, spec.keep, finished)),
        agenda=agenda,
        rule=rule,
        restarts=Restarts(checkpoints, broadcast.notice, aside),
        board=board,
        broadcast=broadcast,
    )
    if rule.pauses:
        director.remember(study.unfinished())
    return director
