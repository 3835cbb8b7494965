"""The story of a sweep: read, check, open, run, report."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from sweeper.config.loading import Loaded, load
from sweeper.config.model import SweepSpec
from sweeper.config.saved import REFERENCES
from sweeper.environment import provenance
from sweeper.errors import Interrupted, SweepFailed, plural
from sweeper.folder.address import address_of, in_store, working_folder
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder
from sweeper.folder.mirror import mirrored
from sweeper.monitor.heartbeat import EVERY, Pulse
from sweeper.report import lines
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.decisions import Decisions
from sweeper.results.readback import curves, searched_seconds, trial_outcomes
from sweeper.results.schema import tables
from sweeper.results.writer import Writer
from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import Runner, SharesGpus, TrainsTogether
from sweeper.search.study import Study
from sweeper.sweep import resume as continuation
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.director import OUT_OF_TIME, SweepDirector, open_director
from sweeper.sweep.progress import current_progress, show_preparation, show_progress
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.sweep.signals import Signals, Stopped
from sweeper.sweep.workload import largest_trial
from sweeper.tasks.task import References
from sweeper.trackers import dispatch
from sweeper.trackers.protocol import FinishedTrial
from sweeper.training.named import train as our_training
from sweeper.trial import OpenEngine, Train

Where = Literal["ray", "here"]
Say = Callable[[str], object]
_STOP_COMMAND = "sweeper stop"
_CONTINUES = "the same command continues the sweep"
_TOP = 10
_TRAINING = ("sweeper.training.train", "sweeper.runners.tune_adapters")
"""Modules of seconds that Ray's workers import while a launch still opens the sweep."""


def launch(
    space: Path,
    overrides: list[str] | None = None,
    *,
    where: Where = "ray",
    address: str | None = None,
    insecure: bool = False,
    resume: Literal["anyway"] | None = None,
    console: Console | None = None,
    train: Train | None = None,
    signals: Signals | None = None,
) -> SweepFolder:
    """Run a sweep, or continue it where it stopped.

    Args:
        space: the space.yaml.
        overrides: `key.path=value` texts that replace what the file says.
        where: `ray` runs many trials at once, `here` one after the other in this process.
        address: of a running Ray cluster; None starts Ray on this machine.
        insecure: whether to accept a cluster that takes commands from anybody who can reach it.
        resume: `anyway` continues a sweep although its question or the code has changed.
        console: where progress and the leaderboard go.
        train: the training function; by default ours.
        signals: those that end it; by default with their usual grace.

    Returns:
        The folder that the sweep ran in; if the results are in an object store, the local copy.

    Raises:
        UserError: the space has mistakes, another launch runs the sweep, or it began with another space.
        StorageError: the last results could not be brought to their object store, or another launch took over.
        SweepFailed: every trial failed.
        Interrupted: Ctrl-C, SIGTERM, SIGHUP or SIGUSR1; what was learned is kept.
    """
    broadcast = Broadcast()
    with signals or Signals() as caught:
        caught.follow(broadcast.stop)
        try:
            return _launch(
                space,
                overrides,
                caught,
                broadcast,
                where=where,
                address=address,
                insecure=insecure,
                resume=resume,
                console=console or Console(),
                train=train,
            )
        except KeyboardInterrupt:
            if caught.first is None:
                raise
            raise Interrupted(f"stopped by {caught.name}; {_CONTINUES}", caught.exit_code) from None


def _launch(
    space: Path,
    overrides: list[str] | None,
    signals: Signals,
    broadcast: Broadcast,
    *,
    where: Where,
    address: str | None,
    insecure: bool,
    resume: Literal["anyway"] | None,
    console: Console,
    train: Train | None,
) -> SweepFolder:
    say = partial(lines.say, console)
    loaded = load(space, overrides)
    spec = loaded.spec
    address_of_results = address_of(spec.results, spec.name)
    folder = SweepFolder(working_folder(address_of_results))
    dispatch.check(spec.trackers, folder)
    board = Scoreboard()
    runner, running = _runner(spec, where, address, insecure, _TRAINING if train is None else ())
    with (
        continuation.locked(folder),
        mirrored(address_of_results, folder, say, notice=broadcast.notice, stop=broadcast.stop) as mirror,
    ):
        changed = _changes(folder, loaded, space, resume, say)
        every = EVERY if mirror is None else EVERY + mirror.lag
        look = partial(current_progress, board, broadcast, spec, runner)
        with (
            Pulse(folder, look, partial(broadcast.stop, _STOP_COMMAND), every),
            broadcast.print_remaining(say),
            dispatch.running(spec.trackers, spec.name, folder, broadcast.notice) as trackers,
            continuation.study_of(folder, loaded) as study,
            _unless_stopped(broadcast),
            running,
        ):
            measured: dict[str, Any] = {"changed": changed} if changed else {}
            if spec.task.prepares and train is None:
                measured[REFERENCES] = _prepare(spec, console)
            engine = None if train is not None else _engine(spec)
            train = train or our_training
            if spec.resources.gpu == "auto" and isinstance(runner, SharesGpus):
                measured["gpu"] = _share_gpus(runner, loaded, train, engine, say)
            if engine is not None and isinstance(runner, TrainsTogether):
                runner.train_together(engine)
            record = continuation.record_launch(folder, loaded, space, measured)
            # Tables before trials are taken up: what a crash left between tables and study is put right then.
            writer = Writer(folder, record, tables(spec.task))
            if changed:
                Checkpoints(folder).keep(set())  # no trial is half of one question, or of one code, and half of another
            director = _director(
                folder, loaded, study, writer=writer, board=board, broadcast=broadcast, track=trackers.put
            )
            for line in (
                f"{spec.name}: {_opening(board, runner, spec)}; results in {address_of_results}",
                *_warnings(spec),
            ):
                say(line)
            signals.graceful = True
            with show_progress(board, broadcast, spec, runner, console):
                runner.run(train, director)
            writer.close()
    _conclude(board, folder, loaded, console)
    if signals.first is not None:
        raise Interrupted(f"stopped by {signals.name}; {_CONTINUES}", signals.exit_code)
    if broadcast.stopping == _STOP_COMMAND:
        say(f"stopped by sweeper stop; {_CONTINUES}")
    elif broadcast.stopping:
        say(f"stopped: {broadcast.stopping}; {_CONTINUES}")
    elif board.out_of_time:
        hours = f"{2 * (spec.budget.hours or 0):g}"
        say(f"{OUT_OF_TIME}, over all launches; a larger one continues the search: --set budget.hours={hours}")
    return folder


def resume(
    sweep: str,
    overrides: list[str] | None = None,
    *,
    where: Where = "ray",
    address: str | None = None,
    insecure: bool = False,
    resume: Literal["anyway"] | None = None,
    console: Console | None = None,
    train: Train | None = None,
    signals: Signals | None = None,
) -> SweepFolder:
    """Continue a sweep from the space.yaml in its folder, wherever that has been moved to.

    Args:
        sweep: its folder, or its address in an object store, or its name where `results/NAME` is there.
        overrides, where, address, insecure, resume, console, train, signals: as for `launch`.

    Raises:
        UserError: there is no such sweep; and as `launch` does.
    """
    folder = find_sweep(sweep)
    results, _, name = sweep.rstrip("/").rpartition("/") if in_store(sweep) else _parts(folder.root)
    own = [f"results={json.dumps(results)}", f"name={json.dumps(name)}"]
    return launch(
        folder.space,
        [*own, *(overrides or [])],
        where=where,
        address=address,
        insecure=insecure,
        resume=resume,
        console=console,
        train=train,
        signals=signals,
    )


def _parts(root: Path) -> tuple[str, str, str]:
    whole = Path(os.path.abspath(root))
    return str(whole.parent), "/", whole.name


def _changes(folder: SweepFolder, loaded: Loaded, space: Path, resume: Literal["anyway"] | None, say: Say) -> list[str]:
    """The changes since the last launch. Raises UserError unless the user has accepted them."""
    changed = continuation.changes(folder, loaded)
    if resume is None:
        continuation.refuse(changed, folder, space)
    note = continuation.note(folder)
    if note:
        say(note)
    for each in changed:
        say(f"continuing although {each}")
    return changed


def _director(
    folder: SweepFolder,
    loaded: Loaded,
    study: Study,
    *,
    writer: Writer,
    board: Scoreboard,
    broadcast: Broadcast,
    track: Callable[[FinishedTrial], object],
) -> SweepDirector:
    """The director, which continues from the tables in the folder."""
    objective = loaded.spec.objective
    known = trial_outcomes(folder, objective.minimize)
    continuation.check_tables_match_study(folder, known, study)
    return open_director(
        loaded.spec,
        loaded.space,
        study=study,
        writer=writer,
        checkpoints=Checkpoints(folder),
        outcomes=known,
        curves=partial(curves, folder, objective.minimize, objective.event.metric),
        decisions=Decisions(folder),
        board=board,
        broadcast=broadcast,
        track=track,
        searched_before=0.0 if loaded.spec.budget.hours is None else _searched_before(folder),
    )


def _searched_before(folder: SweepFolder) -> float:
    """Seconds of the time budget that earlier launches used."""
    launched = [datetime.fromisoformat(each["launched"]) for each in provenance.launches(folder) if "launched" in each]
    return searched_seconds(folder, launched)


def _opening(board: Scoreboard, runner: Runner, spec: SweepSpec) -> str:
    runs = len(spec.task.operations) * spec.objective.replicates
    earlier = f"{plural(board.earlier, 'trial')} from before, " if board.earlier else ""
    return f"{earlier}{plural(runner.slots, 'trial')} at once, {plural(runs, 'run')} each"


def _warnings(spec: SweepSpec) -> list[str]:
    """Warnings about the rules by which this sweep stops trials."""
    found = []
    if spec.stop == "asha":
        found.append("stop: asha is inexact: it stops trials that bloom late, the best one perhaps; cap never does")
    if spec.race is not None:
        found.append("race is inexact: a trial that is unlucky with its first seeds is lost, the best one perhaps")
    return found


def _engine(spec: SweepSpec) -> OpenEngine | None:
    """What makes the engine that trials of a device train in; None where each trains in a process of its own."""
    if spec.resources.engine == "off":
        return None
    from sweeper.training.engine import open_engine  # noqa: PLC0415  # torch takes seconds to import
    from sweeper.training.learners.loop_task import LoopTask  # noqa: PLC0415

    return None if isinstance(spec.task, LoopTask) else open_engine


def _prepare(spec: SweepSpec, console: Console) -> References:
    """Make what the task needs before its first trial. Returns the reference values of its results."""
    from sweeper.training.learners.registry import learner_of  # noqa: PLC0415  # only here is it needed

    with show_preparation(spec.task.name, console) as tell:
        return learner_of(spec.task).prepare(tell)


def _runner(
    spec: SweepSpec, where: Where, address: str | None, insecure: bool, imports: Sequence[str]
) -> tuple[Runner, AbstractContextManager[object]]:
    """The runner, and the block within which it can be used."""
    if where == "here":
        return InProcess(), nullcontext()
    from sweeper.runners.ray_tune import RayTune  # noqa: PLC0415  # ray takes a second to import

    gpu = 0.0 if spec.resources.gpu == "auto" else spec.resources.gpu
    ray = RayTune(spec.resources.cpu, gpu, address, insecure=insecure, imports=imports)
    return ray, ray


def _share_gpus(
    runner: SharesGpus, loaded: Loaded, train: Train, engine: OpenEngine | None, say: Say
) -> dict[str, Any]:
    """Measure the share of a GPU for each trial and print it. Returns the measurement, for the provenance."""
    from sweeper.training import probe  # noqa: PLC0415  # only here is it needed

    measured = None
    share, words = 0.0, f"no GPU with {loaded.spec.resources.cpu:g} CPU beside it, so trials train on the CPU"
    if runner.most_on_a_gpu:
        say("gpu: auto: measuring how many trials share a GPU")
        task = largest_trial(loaded.spec, loaded.space)
        if engine is None:
            measured = runner.on_a_gpu(partial(probe.probe, train, task, runner.most_on_a_gpu))
        else:
            measured = runner.on_a_gpu(partial(probe.probe_together, engine, task, runner.most_on_a_gpu))
        runs = 0 if engine is None else len(task.replicates) * len(task.task.operations)
        share, words = probe.verdict(measured, runs)
    runner.share_gpus(share)
    say(f"gpu: auto: {words}")
    return {"share": share, "words": words, "probe": asdict(measured) if measured else None}


@contextmanager
def _unless_stopped(broadcast: Broadcast) -> Iterator[None]:
    """Start nothing that takes long once a stop was requested."""
    if broadcast.stopping:
        raise Stopped
    yield


def _conclude(board: Scoreboard, folder: SweepFolder, loaded: Loaded, console: Console) -> None:
    """Print the leaderboard and say how the sweep ended."""
    from sweeper.report import leaderboard  # noqa: PLC0415  # scipy takes a second to import, and the start needs none

    spec = loaded.spec
    if board.broken:
        raise SweepFailed(f"{board.broken}; the same command continues the sweep on a device that works")
    tally = board.tally
    if tally.first_failure is not None and tally.failed == tally.trials and not board.earlier:
        first = tally.first_failure
        console.print(first.summary.ending.detail, markup=False, highlight=False)
        raise SweepFailed(
            f"every trial failed; above is the traceback of trial {first.proposal.number}, "
            f"{folder.table('trials')} has the others"
        )
    leaders = leaderboard.leaderboard(folder, spec, _TOP)
    console.print(leaderboard.render(leaders, console))
    if tally.failed:
        lines.say(
            console,
            f"{plural(tally.failed, 'trial')} failed; to see why: "
            f"sweeper query {folder.root} \"select trial, why, detail from trials where state = 'failed'\"",
        )
    if board.exhausted:
        console.print("the search ended early: every configuration of the space has been run")
