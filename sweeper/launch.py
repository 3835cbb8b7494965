"""The story of a sweep: read, check, open, run, report."""

import fcntl
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from sweeper import provenance
from sweeper.director import SweepDirector
from sweeper.errors import Interrupted, SweepFailed, UserError
from sweeper.heaviest import heaviest, limit
from sweeper.locations import address_of, working_folder
from sweeper.paths import SweepFolder, write_text
from sweeper.progress import progress
from sweeper.report import leaderboard
from sweeper.results import intact
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.mirror import mirrored
from sweeper.results.record import Settled, settled
from sweeper.results.writer import Writer
from sweeper.runners.in_process import InProcess
from sweeper.runners.protocol import Runner, SharesGpus
from sweeper.search import capping
from sweeper.search.storage import Journal, Storage
from sweeper.search.study import Study
from sweeper.spec.loading import Loaded, load
from sweeper.spec.model import SweepSpec
from sweeper.spec.reader import text_of
from sweeper.trial import Train

Where = Literal["ray", "here"]
_MAY_CHANGE = {"budget", "resources", "confirm", "results"}
"""Sections that may differ when a sweep is continued."""
_CTRL_C = "Ctrl-C"
_TOP = 10


def launch(
    space: Path,
    overrides: list[str] | None = None,
    *,
    where: Where = "ray",
    address: str | None = None,
    insecure: bool = False,
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
    with (
        _locked(folder),
        mirrored(place, folder, say) as mirror,
        _continued(folder, loaded, space) as study,
        _runner(spec, where, address, insecure) as runner,
    ):
        train = train or _our_training()
        measured = {}
        if spec.resources.gpu == "auto" and isinstance(runner, SharesGpus):
            measured["gpu"] = _share_gpus(runner, loaded, train, console)
        record = _open(folder, loaded, space, measured)
        # Tables before the study: what a crash left between the two is settled when the director takes up the trials.
        writer = Writer(folder, record)
        known = settled(folder, spec.objective.minimize)
        _belong_together(folder, known, study)
        director = SweepDirector(
            spec,
            loaded.space,
            study=study,
            writer=writer,
            checkpoints=Checkpoints(folder),
            settled=known,
            limit=limit(spec),
        )
        if mirror is not None:
            mirror.follow(director.notices.append, director.stop)
        for line in (f"{spec.name}: {_opening(director, runner, spec)}; results in {place}", *_warnings(spec)):
            say(line)
        with _interruptible(director), progress(director, spec, runner, console):
            runner.run(train, director)
        writer.close()
    _conclude(director, folder, loaded, console)
    return folder


def _opening(director: SweepDirector, runner: Runner, spec: SweepSpec) -> str:
    runs = len(spec.task.operation) * spec.objective.replicates
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


def _runner(spec: SweepSpec, where: Where, address: str | None, insecure: bool) -> AbstractContextManager[Runner]:
    if where == "here":
        return nullcontext(InProcess())
    from sweeper.runners.ray_tune import RayTune  # noqa: PLC0415  # so does ray

    gpu = 0.0 if spec.resources.gpu == "auto" else spec.resources.gpu
    return RayTune(spec.resources.cpu, gpu, address, insecure=insecure)


def _share_gpus(runner: SharesGpus, loaded: Loaded, train: Train, console: Console) -> dict[str, Any]:
    """Measure which share of a GPU trials get, and say it. Returns what was measured, for the provenance."""
    from sweeper.training import probe  # noqa: PLC0415  # imports torch

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
def _locked(folder: SweepFolder) -> Iterator[None]:
    """Let one launch at a time run a sweep; a lock dies with its process."""
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        lock = open(folder.lock, "a")  # noqa: SIM115  # it is held, not read
    except OSError as error:
        raise UserError(f"results: {folder.root} cannot be written ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{folder.root}: another launch is running this sweep; wait for it, or change name"
            ) from None
        yield


@contextmanager
def _continued(folder: SweepFolder, loaded: Loaded, space: Path) -> Iterator[Study]:
    """The sweep's study, once it is certain that this launch may go on with it."""
    _same_question(folder, loaded, space)
    spec, new = loaded.spec, not folder.space.exists()
    places = capping.places_that_matter(spec.budget.trials, spec.confirm.top if spec.confirm else 1)
    with closing(_storage(folder, spec)) as storage:
        study = Study(storage, loaded.space, spec.sampler, places)
        if new and study.trials:
            raise UserError(
                f"{storage.where}: holds a sweep {spec.name} with {_counted(study.trials, 'trial')} already, and "
                f"{folder.root} is new; give this one another name, or put the folder back that belongs to it"
            )
        yield study


def _storage(folder: SweepFolder, spec: SweepSpec) -> Storage:
    if spec.storage is None:
        return Journal(folder.journal)
    from sweeper.search.database import Database  # noqa: PLC0415  # most sweeps need no SQLAlchemy

    return Database(spec.storage, spec.name)


def _belong_together(folder: SweepFolder, known: dict[int, Settled], study: Study) -> None:
    """Check that the study knows every trial of the tables."""
    unknown = sorted(number for number in known if number >= study.trials)
    if unknown:
        raise UserError(
            f"{folder.root}: its tables hold trial {unknown[0]}, which {study.where} does not; put that back which "
            "belongs to them, or give this sweep another name"
        )


def _same_question(folder: SweepFolder, loaded: Loaded, space: Path) -> None:
    """Check that the folder is new or holds the same question."""
    if folder.space.exists():
        changed = _changes(load(folder.space).spec, loaded.spec)
        if changed:
            raise UserError(
                f"{space}: {', '.join(changed)} differ from the sweep in {folder.root}, which began with "
                f"{folder.space}; give this one another name, or undo the change"
            )


def _open(folder: SweepFolder, loaded: Loaded, space: Path, measured: dict[str, Any]) -> dict[str, Any]:
    """Write down what is launched. Returns this launch's provenance, with what was measured for it."""
    record = provenance.collect(space) | measured
    launches = json.loads(folder.provenance.read_text()) if folder.provenance.exists() else []
    write_text(folder.provenance, json.dumps([*launches, record], indent=1))
    write_text(folder.space, text_of(loaded.document))
    return record


def _changes(before: SweepSpec, now: SweepSpec) -> list[str]:
    return [
        name
        for name in SweepSpec.model_fields
        if name not in _MAY_CHANGE and getattr(before, name) != getattr(now, name)
    ]


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
    spec = loaded.spec
    tally = director.tally
    if tally.first_failure is not None and tally.failed == tally.trials and not director.earlier:
        first = tally.first_failure
        console.print(first.summary.ending.detail, markup=False, highlight=False)
        raise SweepFailed(
            f"every trial failed; above is the traceback of trial {first.proposal.number}, "
            f"{folder.table('trials')} has the others"
        )
    if director.broken:
        raise SweepFailed(f"{director.broken}; the same command continues the sweep on a device that works")
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
    if director.stopping:
        console.print(f"stopped: {director.stopping}; the same command with a larger budget continues the sweep")
