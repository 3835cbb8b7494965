"""What a launch prints before its first trial and after its last one."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from sweeper.config.model import SweepSpec
from sweeper.errors import SweepFailed, plural
from sweeper.folder.layout import SweepFolder
from sweeper.monitor.panel import captured
from sweeper.report import lines
from sweeper.runners.protocol import Runner
from sweeper.sweep.director import OUT_OF_TIME
from sweeper.sweep.scoreboard import Scoreboard

CONTINUES = "the same command continues the sweep"
STOP_COMMAND = "sweeper stop"
"""Why a launch stops when the command `stop` stops it."""
_TOP = 10


def opening_lines(board: Scoreboard, spec: SweepSpec, runner: Runner, address: str | Path) -> Iterator[str]:
    """What begins, and warnings about rules that may lose the best trial."""
    runs = len(spec.task.operations) * spec.objective.replicates
    earlier = f"{plural(board.earlier, 'trial')} from before, " if board.earlier else ""
    size = f"{earlier}{plural(runner.slots, 'trial')} at once, {plural(runs, 'run')} each"
    yield f"{spec.name}: {size}; results in {address}"
    if spec.stop == "asha":
        yield "stop: asha is inexact: it stops trials that bloom late, the best one perhaps; cap never does"
    if spec.race is not None:
        yield "race is inexact: a trial that is unlucky with its first seeds is lost, the best one perhaps"


def conclude(board: Scoreboard, folder: SweepFolder, spec: SweepSpec, console: Console) -> None:
    """Print the leaderboard, and what failed.

    Raises:
        SweepFailed: every trial failed, or devices did.
    """
    from sweeper.report import leaderboard, leaderboard_table  # noqa: PLC0415  # they import DuckDB, and the start needs none

    if board.broken:
        raise SweepFailed(f"{board.broken}; the same command continues the sweep on a device that works")
    tally = board.tally
    if tally.first_failure is not None and tally.failed == tally.trials and not board.earlier:
        first = tally.first_failure
        console.print(first.ending.detail, markup=False, highlight=False)
        raise SweepFailed(
            f"every trial failed; above is the traceback of trial {first.number}, "
            f"{folder.table('trials')} has the others"
        )
    leaders = leaderboard.leaderboard(folder, spec, _TOP)
    console.print(leaderboard_table.render(leaders, console))
    failed = [each.number for each in board.totals.over if each.failed]
    if failed:
        lines.say(console, f"{plural(len(failed), 'trial')} failed; to see why: sweeper show {folder.root}:{failed[0]}")
    if board.captures:
        lines.say(console, captured(board.captures, board.capture_seconds))
    if board.exhausted:
        console.print("the search ended early: every configuration of the space has been run")


def ended_early(board: Scoreboard, spec: SweepSpec, stopping: str) -> str:
    """Why a launch ended before its search was complete; empty where it was.

    Args:
        board, spec: the launch's.
        stopping: why it was stopped; empty where it was not.
    """
    if stopping:
        return (
            f"stopped by {stopping}; {CONTINUES}" if stopping == STOP_COMMAND else f"stopped: {stopping}; {CONTINUES}"
        )
    if not board.out_of_time:
        return ""
    hours = f"{2 * (spec.budget.hours or 0):g}"
    return f"{OUT_OF_TIME}, over all launches; a larger one continues the search: --set budget.hours={hours}"
