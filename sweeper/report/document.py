"""A sweep's report as data: the answer in words, tables, figures and provenance."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sweeper.config.model import SweepSpec
from sweeper.config.saved import reference_values, saved_spec
from sweeper.environment import provenance
from sweeper.errors import UserError, plural
from sweeper.folder import labels
from sweeper.folder.layout import SweepFolder
from sweeper.report.compare import compare_trials
from sweeper.report.explorer import explorer
from sweeper.report.leaderboard import Leaderboard, leaderboard
from sweeper.report.leaderboard_table import bound, grids, nothing_reached
from sweeper.report.paused import paused_grid
from sweeper.report.select import choose
from sweeper.report.table import TextTable
from sweeper.results.query import records
from sweeper.stats.events import CUT_SHORT

if TYPE_CHECKING:
    from sweeper.report.figures.canvas import Figure  # it imports matplotlib

_TOP = 20
_STATES = ("finished", *CUT_SHORT, "failed")


@dataclass(frozen=True)
class ReportData:
    """The content of a report, independent of its format.

    Attributes:
        name: the sweep's name.
        question: the task, the event and the search, in words.
        verdict: the answer, in sentences; the first one is the most important.
        cautions: limitations of the answer, in words.
        counts: numbers of trials, runs and steps, in words.
        grids: the leaderboard, the confirmations, and the best trial of each schedule shape.
        figures: in reading order.
        space: the space.yaml.
        launches: one row per launch.
        made: when the report was made, UTC.
        explorer: the data of the interactive figures (`sweeper.report.explorer`); None without a finished trial.
        labels: the sweep's tags and note.
    """

    name: str
    question: str
    verdict: tuple[str, ...]
    cautions: tuple[str, ...]
    counts: str
    grids: tuple[TextTable, ...]
    figures: "tuple[Figure, ...]"
    space: str
    launches: TextTable
    made: datetime
    explorer: dict[str, Any] | None = None
    labels: str = ""


def figures_of(folder: SweepFolder) -> "Iterator[Figure]":
    """A sweep's still figures, whose drawing begins now. Raises UserError where a part is damaged."""
    from sweeper.report.figures.beside import drawn  # noqa: PLC0415  # it imports matplotlib

    return drawn(folder, saved_spec(folder))


def report_data(folder: SweepFolder, figures: "Iterable[Figure]") -> ReportData:
    """Read a sweep's tables.

    Args:
        folder: the sweep's.
        figures: its still figures; they are taken last.

    Raises:
        UserError: a table or the space.yaml is damaged.
    """
    spec = saved_spec(folder)
    board = leaderboard(folder, spec, _TOP)
    verdict, cautions = _answer(folder, spec, board)
    about = ReportData(
        spec.name,
        _question(spec),
        verdict,
        (*cautions, *_reference_values(folder, spec)),
        _counts(folder, spec),
        tuple(
            grid
            for grid in (*grids(board), paused_grid(board.paused, board.minimize), _by_shape(folder, board))
            if grid.rows
        ),
        (),
        folder.space.read_text(encoding="utf-8"),
        _launches(folder),
        datetime.now(UTC),
        explorer(folder, spec) if board.rows else None,
        str(labels.read(folder)),
    )
    return replace(about, figures=tuple(figures))


def _question(spec: SweepSpec) -> str:
    objective = spec.objective
    horizon = f"{objective.horizon:,} steps"
    searched = ", ".join(spec.search) or "nothing"
    return (
        f"Which configuration brings {objective.until} in the fewest {objective.minimize}, within {horizon}? Task: "
        f"{spec.task.title}. Searched: {searched}; {objective.replicates} seeds each."
    )


def _answer(folder: SweepFolder, spec: SweepSpec, board: Leaderboard) -> tuple[tuple[str, ...], list[str]]:
    """The verdict and its cautions."""
    cautions = list(_warnings(spec))
    if not board.rows:
        return ("No trial has finished yet.",), cautions
    if board.verdicts:
        return tuple(f"{each.sentence}." for each in board.verdicts), cautions
    if not any(row["reached"] for row in board.rows):
        return (nothing_reached(board),), cautions
    best = board.rows[0]
    sentences = [f"The best so far is {_name(best)}, with a mean of {best['mean']:,.0f} {board.clock}."]
    baseline = next(iter(spec.baselines), None)
    if baseline is not None and best["baseline"] != baseline:
        try:
            found = compare_trials(choose(f"{folder.root}:{best['trial']}"), choose(f"{folder.root}:{baseline}"))
        except UserError:  # the baseline has not been run, or failed
            return tuple(sentences), cautions
        sentences.insert(0, f"{found.sentence}.")
        cautions += found.caveats
    return tuple(sentences), cautions


def _warnings(spec: SweepSpec) -> Iterator[str]:
    if spec.stop == "asha":
        yield "stop: asha is inexact: it stops trials that improve late, perhaps the best one"
    if spec.race is not None:
        yield "race is inexact: it drops trials that are unlucky with their first seeds, perhaps the best one"


def _reference_values(folder: SweepFolder, spec: SweepSpec) -> Iterator[str]:
    """Values to compare results with, in words."""
    metric = spec.objective.event.metric
    found = reference_values(folder, metric)
    if found:
        values = " and ".join(f"{value:.3g} by {name}" for name, value in found.items())
        yield f"for comparison, a prediction without learning reaches {metric} = {values}"


def _name(row: dict[str, Any]) -> str:
    return str(row["baseline"]) or f"trial {row['trial']}"


def _counts(folder: SweepFolder, spec: SweepSpec) -> str:
    (row,) = records(
        folder,
        f"""
        SELECT count(*) AS trials, sum(runs)::BIGINT AS runs, sum(reached)::BIGINT AS reached,
               sum(steps_trained)::BIGINT AS steps, sum(seconds) AS seconds,
               {", ".join(f"count(*) FILTER (state = '{state}') AS {state}" for state in _STATES)}
        FROM trials
        """,
    )
    if not row["trials"]:
        return "No trial has finished yet."
    states = ", ".join(f"{row[state]:,} {state}" for state in _STATES if row[state])
    return (
        f"{plural(row['trials'], 'trial')} ({states}) with {plural(row['runs'], 'run')}, of which {row['reached']:,} "
        f"reached {spec.objective.until}; {row['steps']:,} model steps in {_duration(row['seconds'])} of training."
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:,.0f} s"
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:,.1f} minutes"


def _by_shape(folder: SweepFolder, board: Leaderboard) -> TextTable:
    """The best trial of each schedule shape, and how often its runs reached the event."""
    rows = records(
        folder,
        """
        SELECT batch_shape AS shape, count(*) AS trials, sum(reached) || '/' || sum(runs) AS reached,
               arg_min({trial: trial, mean: rmst, error: rmst_error, state: state, reached: reached, runs: runs}, value)
                   AS best
        FROM trials WHERE phase <> 'confirm' AND state <> 'failed' GROUP BY batch_shape ORDER BY min(value)
        """,
    )
    baseline = next((row["mean"] for row in board.rows if row["baseline"] and row["reached"]), None)
    return TextTable(
        "the best trial of each schedule shape",
        ("shape", "trials", "runs that reached it", "best trial", f"mean {board.clock}", "±", "vs baseline"),
        tuple(
            (
                str(row["shape"]),
                f"{row['trials']:,}",
                row["reached"],
                str(row["best"]["trial"]),
                f"{bound(row['best'])}{row['best']['mean']:,.0f}",
                "" if row["best"]["error"] is None else f"{row['best']['error']:,.0f}",
                "" if baseline is None else f"{row['best']['mean'] / baseline:.2f}",
            )
            for row in (rows if len(rows) > 1 else ())
        ),
        left=frozenset({"shape"}),
    )


def _launches(folder: SweepFolder) -> TextTable:
    rows = []
    for each in provenance.launches(folder):
        versions, code = (_fields(each.get(name)) for name in ("versions", "sweeper"))
        changed = each.get("changed")
        dirty = " with changes" if code.get("diff") else ""
        rows.append(
            (
                str(each.get("launched", "")),
                str(each.get("host", "")),
                f"{str(code.get('commit', ''))[:10]}{dirty}",
                ", ".join(f"{name} {version}" for name, version in versions.items() if version),
                "; ".join(map(str, changed)) if isinstance(changed, list) else "",
            )
        )
    headings = ("launched", "host", "commit", "versions", "resumed despite")
    return TextTable("provenance", headings, tuple(rows), left=frozenset(headings))


def _fields(value: Any) -> dict[str, Any]:
    """The value if it is an object, otherwise nothing: other versions may have written something else."""
    return value if isinstance(value, dict) else {}
