"""The story of a sweep: read, check, open, run, report."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeper.config.loading import Loaded, load
from sweeper.config.model import SweepSpec
from sweeper.config.reader import Document
from sweeper.config.saved import REFERENCES
from sweeper.errors import Interrupted, RunnerError, UserError
from sweeper.folder.address import address_of, in_store, working_folder
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.mirror import mirrored
from sweeper.monitor.heartbeat import EVERY, Pulse
from sweeper.monitor.tables import trials_of
from sweeper.report import lines
from sweeper.results.checkpoints import Checkpoints
from sweeper.results.schema import tables
from sweeper.results.writer import Writer
from sweeper.sweep import resume as continuation
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.conclusion import CONTINUES, STOP_COMMAND, conclude, ended_early, opening_lines
from sweeper.sweep.notify import notifying
from sweeper.sweep.opening import director_of
from sweeper.sweep.options import DEFAULTS, LaunchOptions
from sweeper.sweep.placement import place, runner_for
from sweeper.sweep.progress import current_progress, show_preparation, show_progress
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.sweep.signals import Signals, Stopped
from sweeper.tasks.task import References
from sweeper.trackers import dispatch


def launch(
    space: Path | Document, overrides: list[str] | None = None, options: LaunchOptions = DEFAULTS
) -> SweepFolder:
    """Run a sweep, or continue it where it stopped.

    Args:
        space: the space.yaml, or one that was made in this process.
        overrides: `key.path=value` texts that replace values of the file.
        options: see `LaunchOptions`.

    Returns:
        The folder that the sweep ran in; if the results are in an object store, the local copy.

    Raises:
        UserError: the space has mistakes, another launch runs the sweep, or it began with another space.
        StorageError: the last results could not be brought to their object store, or another launch took over.
        RunnerError: Ray did not start, or was lost.
        SweepFailed: every trial failed.
        Interrupted: Ctrl-C, SIGTERM, SIGHUP or SIGUSR1; finished work is kept.
    """
    broadcast = Broadcast()
    with options.signals or Signals() as signals:
        signals.follow(broadcast.stop)
        try:
            return _launch(space, overrides, options, signals, broadcast)
        except KeyboardInterrupt:
            if signals.first is None:
                raise
            raise Interrupted(f"stopped by {signals.name}; {CONTINUES}", signals.exit_code) from None


def _launch(
    space: Path | Document, overrides: list[str] | None, options: LaunchOptions, signals: Signals, broadcast: Broadcast
) -> SweepFolder:
    console = options.console or lines.LastingConsole()
    say = partial(lines.say, console)
    with signals.held():  # the task's module and its libraries are imported
        loaded = load(space, overrides)
    spec, file = loaded.spec, Path(loaded.document.file)
    address = address_of(spec.results, spec.name)
    folder = SweepFolder(working_folder(address))
    dispatch.check(spec.trackers, folder)
    board = Scoreboard()
    with signals.held():
        runner, running = runner_for(spec, options)
    with notifying(spec, str(address), board, broadcast, say):
        with (
            continuation.locked(folder),
            mirrored(address, folder, say, notice=broadcast.notice, stop=broadcast.stop) as mirror,
        ):
            if isinstance(space, Path) and not any(each.startswith("name=") for each in overrides or ()):
                continuation.refuse_record(folder, space)
            changed = _accepted_changes(folder, loaded, file, options.accept_changes, say)
            with suppress(UserError):  # what is damaged is reported when it is needed
                board.load(trials_of(folder, spec))
            every = EVERY if mirror is None else EVERY + mirror.lag
            look = partial(current_progress, board, broadcast, spec, runner)
            with (
                Pulse(folder, look, partial(broadcast.stop, STOP_COMMAND), every),
                broadcast.print_remaining(say),
                dispatch.running(spec.trackers, spec.name, folder, broadcast.notice) as trackers,
                continuation.study_of(folder, loaded) as study,
                _unless_stopped(broadcast),
                _runner_log_kept(folder),
                running,
            ):
                facts: dict[str, Any] = {"changed": changed} if changed else {}
                if spec.task.prepares and options.train is None:
                    facts[REFERENCES] = _prepare(spec, console, signals)
                train, measured = place(runner, loaded, options.train, say)
                record = continuation.record_launch(folder, loaded, file, facts | measured)
                # The writer comes before the director: it completes what a crash left half-written.
                writer = Writer(folder, record, tables(spec.task))
                if changed:
                    Checkpoints(folder).keep(set())  # no trial may mix two questions, or two versions of the code
                director = director_of(
                    folder, loaded, study, writer=writer, board=board, broadcast=broadcast, track=trackers.put
                )
                for line in opening_lines(board, spec, runner, address):
                    say(line)
                signals.graceful = True
                try:
                    with show_progress(board, broadcast, spec, runner, console):
                        runner.run(train, director)
                except RunnerError:
                    if signals.first is None:  # otherwise the signal was sent to Ray's processes, too
                        writer.close()
                        raise
                writer.close()
        conclude(board, folder, spec, console)
        if signals.first is not None:
            raise Interrupted(f"stopped by {signals.name}; {CONTINUES}", signals.exit_code)
    why = ended_early(board, spec, broadcast.stopping)
    if why:
        say(why)
    return folder


def resume(sweep: str, overrides: list[str] | None = None, options: LaunchOptions = DEFAULTS) -> SweepFolder:
    """Continue a sweep from the space.yaml in its folder, also if the folder has been moved.

    Args:
        sweep: its folder, its address in an object store, or its name if `results/NAME` exists.
        overrides, options: as for `launch`.

    Raises:
        UserError: there is no such sweep; and as `launch` does.
    """
    folder = find_sweep(sweep)
    results, _, name = sweep.rstrip("/").rpartition("/") if in_store(sweep) else _parts(folder.root)
    own = [f"results={json.dumps(results)}", f"name={json.dumps(name)}"]
    return launch(folder.space, [*own, *(overrides or [])], options)


def _parts(root: Path) -> tuple[str, str, str]:
    whole = Path(os.path.abspath(root))
    return str(whole.parent), "/", whole.name


def _accepted_changes(
    folder: SweepFolder, loaded: Loaded, space: Path, accept: bool, say: Callable[[str], object]
) -> list[str]:
    """The changes since the last launch. Raises UserError unless the user has accepted them."""
    changed = continuation.changes(folder, loaded)
    if not accept:
        continuation.refuse(changed, folder, space)
    for note in (continuation.note(folder), continuation.renamed(folder)):
        if note:
            say(note)
    for each in changed:
        say(f"continuing although {each}")
    return changed


def _prepare(spec: SweepSpec, console: Console, signals: Signals) -> References:
    """Make the data that the task needs before its first trial. Returns the reference values of its results."""
    with signals.held():
        from sweeper.training.learners.registry import learner_of  # noqa: PLC0415  # torch takes seconds to import

    with show_preparation(spec.task.name, console) as update:
        return learner_of(spec.task).prepare(update)


@contextmanager
def _unless_stopped(broadcast: Broadcast) -> Iterator[None]:
    """Start nothing that takes long once a stop was requested."""
    if broadcast.stopping:
        raise Stopped
    yield


@contextmanager
def _runner_log_kept(folder: SweepFolder) -> Iterator[None]:
    """Keep the log of a runner that broke, and name the file."""
    try:
        yield
    except RunnerError as error:
        write_text(folder.runner_log, error.log)
        raise RunnerError(f"{error}; its log is {folder.runner_log}; {CONTINUES}") from error
