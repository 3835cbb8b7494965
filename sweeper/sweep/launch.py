"""The story of a sweep: read, check, open, run, report."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from sweeper.config.loading import Loaded, load
from sweeper.config.model import SweepSpec
from sweeper.config.saved import REFERENCES
from sweeper.errors import Interrupted, SweepFailed
from sweeper.folder.address import address_of, in_store, working_folder
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder
from sweeper.folder.mirror import mirrored
from sweeper.monitor.heartbeat import EVERY, Pulse
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.readback import settled
from sweeper.results.schema import tables
from sweeper.results.writer import Writer
from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import Runner, SharesGpus
from sweeper.sweep import resume as continuation
from sweeper.sweep.director import SweepDirector
from sweeper.sweep.progress import preparing, progress, standing
from sweeper.sweep.workload import heaviest
from sweeper.tasks.task import References
from sweeper.trackers import feeding
from sweeper.trial import Train

Where = Literal["ray", "here"]
_CTRL_C = "Ctrl-C"
_ASKED = "sweeper stop"
_TOP = 10


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
) -> SweepFolder:
    """Run a sweep, or continue it where it stopped.

    Args:
        space: the space.yaml.
        overrides: `key.path=value` texts that replace what the file says.
        where: `ray` runs many trials at once, `here` one after the other in this process.
        address: of a running Ray cluster; None starts Ray on this machine.
        insecure: whether a cluster will do that takes commands from anybody who can reach it.
        resume: `anyway` goes on with a sweep although its question or the code has changed.
        console: where progress and the leaderboard go.
        train: the training function; by default ours.

    Returns:
        The folder that the sweep ran in: of results in an object store the local copy.

    Raises:
        UserError: the space has mistakes, another launch runs the sweep, or it began with another space.
        StorageError: the last results could not be brought to their object store, or another launch took over.
        SweepFailed: every trial failed.
        Interrupted: Ctrl-C; what was learned is kept.
    """
    console = console or Console()
    loaded = load(space, overrides)
    spec = loaded.spec
    place = address_of(spec.results, spec.name)
    folder = SweepFolder(working_folder(place))
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    feeding.check(spec.trackers, folder)
    with continuation.locked(folder), mirrored(place, folder, say) as mirror:
        changed = continuation.changes(folder, loaded)
        if resume is None:
            continuation.refuse(changed, folder, space)
        for each in changed:
            say(f"goes on although {each}")
        with (
            Pulse(folder, spec.name, EVERY if mirror is None else EVERY + mirror.lag) as pulse,
            feeding.feeding(spec.trackers, spec.name, folder, say) as trackers,
            continuation.study_of(folder, loaded) as study,
            _runner(spec, where, address, insecure) as runner,
        ):
            measured: dict[str, Any] = {"changed": changed} if changed else {}
            if spec.task.prepares and train is None:
                measured[REFERENCES] = _prepare(spec, console)
            train = train or _our_training()
            if spec.resources.gpu == "auto" and isinstance(runner, SharesGpus):
                measured["gpu"] = _share_gpus(runner, loaded, train, console)
            record = continuation.write_down(folder, loaded, space, measured)
            # Tables before trials are taken up: what a crash left between tables and study is settled then.
            writer = Writer(folder, record, tables(spec.task))
            checkpoints, known = Checkpoints(folder), settled(folder, spec.objective.minimize)
            if changed:
                checkpoints.keep(set())  # no trial is half of one question, or of one code, and half of another
            continuation.belong_together(folder, known, study)
            director = SweepDirector(
                spec,
                loaded.space,
                study=study,
                writer=writer,
                checkpoints=checkpoints,
                settled=known,
                limit=spec.limit(),
                track=trackers.put,
            )
            if mirror is not None:
                mirror.follow(director.notices.append, director.stop)
            for line in (f"{spec.name}: {_opening(director, runner, spec)}; results in {place}", *_warnings(spec)):
                say(line)
            with (
                _interruptible(director),
                pulse.follow(partial(standing, director, spec, runner), partial(director.stop, _ASKED)),
                trackers.telling(director.notices.append),
                progress(director, spec, runner, console),
            ):
                runner.run(train, director)
            writer.close()
    _conclude(director, folder, loaded, console)
    return folder


def resume(
    sweep: str,
    overrides: list[str] | None = None,
    *,
    where: Where = "ray",
    address: str | None = None,
    insecure: bool = False,
    console: Console | None = None,
    train: Train | None = None,
) -> SweepFolder:
    """Continue a sweep from the space.yaml in its folder, wherever that has been moved to.

    Args:
        sweep: its folder, or its address in an object store, or its name where `results/NAME` is there.
        overrides, where, address, insecure, console, train: as for `launch`.

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
        console=console,
        train=train,
    )


def _parts(root: Path) -> tuple[str, str, str]:
    whole = Path(os.path.abspath(root))
    return str(whole.parent), "/", whole.name


def _opening(director: SweepDirector, runner: Runner, spec: SweepSpec) -> str:
    runs = len(spec.task.operations) * spec.objective.replicates
    earlier = f"{_counted(director.earlier, 'trial')} from before, " if director.earlier else ""
    return f"{earlier}{_counted(runner.places, 'trial')} at once, {_counted(runs, 'run')} each"


def _warnings(spec: SweepSpec) -> list[str]:
    """What a user should know of the rules that this sweep stops trials by."""
    found = []
    if spec.stop == "asha":
        found.append("stop: asha is inexact: it stops trials that bloom late, the best one perhaps; cap never does")
    if spec.race is not None:
        found.append("race is inexact: a trial that is unlucky with its first seeds is lost, the best one perhaps")
    return found


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _our_training() -> Train:
    from sweeper.training.train import train  # noqa: PLC0415  # torch takes seconds to import, and only here is it needed

    return train


def _prepare(spec: SweepSpec, console: Console) -> References:
    """Make what the task needs before its first trial. Returns what its results have to be seen beside."""
    from sweeper.training.learners.registry import learner_of  # noqa: PLC0415  # only here is it needed

    with preparing(spec.task.name, console) as tell:
        return learner_of(spec.task).prepare(tell)


def _runner(spec: SweepSpec, where: Where, address: str | None, insecure: bool) -> AbstractContextManager[Runner]:
    if where == "here":
        return nullcontext(InProcess())
    from sweeper.runners.ray_tune import RayTune  # noqa: PLC0415  # so does ray

    gpu = 0.0 if spec.resources.gpu == "auto" else spec.resources.gpu
    return RayTune(spec.resources.cpu, gpu, address, insecure=insecure)


def _share_gpus(runner: SharesGpus, loaded: Loaded, train: Train, console: Console) -> dict[str, Any]:
    """Measure which share of a GPU trials get, and say it. Returns what was measured, for the provenance."""
    from sweeper.training import probe  # noqa: PLC0415  # only here is it needed

    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    measured = None
    share, words = 0.0, f"no GPU with {loaded.spec.resources.cpu:g} CPU beside it, so trials train on the CPU"
    if runner.most_on_a_gpu:
        say("gpu: auto: measuring how many trials share a GPU")
        task = heaviest(loaded.spec, loaded.space)
        measured = runner.on_a_gpu(partial(probe.probe, train, task, runner.most_on_a_gpu))
        share, words = probe.verdict(measured)
    runner.share_gpus(share)
    say(f"gpu: auto: {words}")
    return {"share": share, "words": words, "probe": asdict(measured) if measured else None}


@contextmanager
def _interruptible(director: SweepDirector) -> Iterator[None]:
    """First Ctrl-C: stop gracefully. Second: now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if director.stopping:
            raise KeyboardInterrupt
        director.stop(_CTRL_C)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _conclude(director: SweepDirector, folder: SweepFolder, loaded: Loaded, console: Console) -> None:
    """Print the leaderboard and say how the sweep ended."""
    from sweeper.report import leaderboard  # noqa: PLC0415  # scipy takes a second to import, and the start needs none

    spec = loaded.spec
    if director.broken:
        raise SweepFailed(f"{director.broken}; the same command continues the sweep on a device that works")
    tally = director.tally
    if tally.first_failure is not None and tally.failed == tally.trials and not director.earlier:
        first = tally.first_failure
        console.print(first.summary.ending.detail, markup=False, highlight=False)
        raise SweepFailed(
            f"every trial failed; above is the traceback of trial {first.proposal.number}, "
            f"{folder.table('trials')} has the others"
        )
    board = leaderboard.leaderboard(folder, spec, _TOP)
    console.print(leaderboard.render(board, console))
    if tally.failed:
        console.print(
            f"{tally.failed} trials failed; to see why: "
            f"sweeper query {folder.root} \"select trial, why, detail from trials where state = 'failed'\"",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    if director.exhausted:
        console.print("the search ended early: every configuration of the space has been run")
    if director.stopping == _CTRL_C:
        raise Interrupted("stopped by Ctrl-C; the same command continues the sweep")
    if director.stopping == _ASKED:
        console.print("stopped by sweeper stop; the same command continues the sweep")
    elif director.stopping:
        console.print(f"stopped: {director.stopping}; the same command with a larger budget continues the sweep")
