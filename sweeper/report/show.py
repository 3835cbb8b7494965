"""One trial on one page: its configuration, the outcome of each run and the course of its metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sweeper.errors import plural
from sweeper.folder.labels import Labels, read
from sweeper.folder.layout import SweepFolder
from sweeper.report.leaderboard_table import error_cell, mean_cell
from sweeper.report.select import SelectedTrial
from sweeper.report.table import width
from sweeper.results.readback import rows_of
from sweeper.results.rows import ACCURACY, column_of

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH, _NARROW = 40, 10
"""Most and fewest characters of a run's course."""


_LEFT_OUT = ("operation", "label", "best", "outcome", "step")
"""Columns that are left out, if all runs share their value, where space is short: the first one first."""


@dataclass(frozen=True)
class TrialPage:
    """One trial.

    Attributes:
        label: `trial 23`, or a baseline's name.
        trial: its row of `trials`.
        confirmation: the row of the trial that repeats it on fresh seeds; None if there is none.
        runs: its rows of `runs`, followed by those of the confirmation.
        rises: operation and replicate -> the event's metric at 40 equally spaced steps up to the horizon, as far as it
            was observed; NaN before the first evaluation.
        searched: columns of the searched hyperparameters; of all, where none was searched.
        clock: the clock of restricted means.
        metric, horizon: the event's metric, and the last step of a run.
        learnt: the condition that training meets at `train_first_steps`, for a heading.
        labels: of the sweep.
    """

    label: str
    trial: dict[str, Any]
    confirmation: dict[str, Any] | None
    runs: list[dict[str, Any]]
    rises: dict[str, list[float]]
    searched: tuple[str, ...]
    clock: str
    metric: str
    horizon: int
    learnt: str
    labels: Labels = field(default_factory=Labels)


def trial_page(chosen: SelectedTrial) -> TrialPage:
    """Read the page of a trial from the tables."""
    numbers = [each["trial"] for each in (chosen.row, chosen.confirmation) if each is not None]
    runs = sorted(rows_of(chosen.folder, "runs", trials=numbers), key=itemgetter("trial", "operation", "replicate"))
    metric, horizon = chosen.spec.objective.event.metric, chosen.spec.objective.horizon
    rises = _rises(chosen.folder, numbers[0], metric, horizon)
    # Where nothing was searched, all of its configuration tells what it is.
    searched = tuple(column_of(key) for key in chosen.spec.search or chosen.spec.task.hyperparameters)
    event = chosen.spec.objective.event
    learnt = "99 %" if ACCURACY in chosen.spec.task.scores else f"{event.comparison} {event.threshold:g}"
    return TrialPage(
        chosen.label,
        chosen.row,
        chosen.confirmation,
        runs,
        rises,
        searched,
        chosen.spec.objective.minimize,
        metric,
        horizon,
        learnt,
        read(chosen.folder),
    )


def _rises(folder: SweepFolder, trial: int, metric: str, horizon: int) -> dict[str, list[float]]:
    """See `TrialPage.rises`: the last value in each of the 40 spans; one without a value repeats that before it."""
    seen = rows_of(folder, "curves", ["trial", "operation", "replicate", "step", metric], [trial])
    found: dict[str, list[float]] = {}
    for each in sorted(seen, key=itemgetter("operation", "replicate", "step")):
        heights = found.setdefault(f"{each['operation']} {each['replicate']}", [])
        span = min(_WIDTH - 1, each["step"] * _WIDTH // horizon)
        before = heights[-1] if heights else math.nan
        heights += [before] * (span - len(heights))
        height = math.nan if each[metric] is None else float(each[metric])
        if len(heights) == span:
            heights.append(height)
        elif not math.isnan(height):
            heights[span] = height
    return found


def render(page: TrialPage) -> RenderableType:
    """The page for people."""
    row = page.trial
    parts: list[RenderableType] = [
        Text.assemble(
            (page.label, "bold"), f", {row['phase']}: {row['state']}" + (f" ({row['why']})" if row["why"] else "")
        ),
        Text("  ".join(f"{name}={_cell(row[name])}" for name in page.searched if row[name] is not None)),
        Text(
            f"{_outcome(row, page.clock)}; {row['steps_trained']:,} model steps in {row['seconds']:,.0f} s on "
            f"{row['device'] or 'no device'}"
        ),
    ]
    if page.confirmation is not None:
        fresh = page.confirmation
        parts.append(Text(f"on fresh seeds (trial {fresh['trial']}): {_outcome(fresh, page.clock)}"))
    if str(page.labels):
        parts.append(Text(f"sweep: {page.labels}"))
    parts += [Text(f"restarted: {why}", style="yellow") for why in row["retries"] or ()]
    parts += [Text(), _Runs(page)]
    if row["detail"]:
        parts += [Text(), Text(row["detail"].rstrip(), style="red")]
    return Group(*parts)


def _outcome(row: dict[str, Any], clock: str) -> str:
    """How many runs reached the event, and the restricted mean; of a trial that failed there is none."""
    counts = f"{row['reached']} of {plural(row['runs'], 'run')} reached the event"
    known = row | {"mean": None if row["state"] == "failed" else row["rmst"], "error": row["rmst_error"]}
    mean, error = mean_cell(known), error_cell(known)
    return counts + (f"; restricted mean {mean}{error and f' ± {error}'} {clock}" if mean else "")


@dataclass(frozen=True)
class _Runs:
    """The table of runs, as wide as there is room: the courses shrink first, then what all runs share leaves it."""

    page: TrialPage

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, metric, courses = _columns(self.page), self.page.metric, _courses(self.page)
        alike = (name for name in _LEFT_OUT if name in columns and len(columns[name]) > 1)
        shared = {name: columns[name][0] for name in alike if len(set(columns[name])) == 1}
        for count in range(len(shared) + 1):
            left_out = dict(list(shared.items())[:count])
            shown = {name: cells for name, cells in columns.items() if name not in left_out}
            for size in range(_WIDTH, (_NARROW if count == len(shared) else _WIDTH // 2) - 1, -1):
                whole = shown | {metric: [_resampled(each, size) for each in courses]}
                if width(whole) <= options.max_width:
                    yield _table(whole)
                    yield from _note(left_out)
                    yield from _legend(self.page)
                    return
        yield _table(shown, fold=True)
        yield from _note(shared)


def _note(shared: dict[str, str]) -> RenderResult:
    """What all runs share."""
    if any(shared.values()):
        yield Text("all runs here: " + "  ".join(f"{name}={cell}" for name, cell in shared.items() if cell))


def _legend(page: TrialPage) -> RenderResult:
    """How the courses are scaled: all of them alike."""
    if seen := _seen(page):
        low, high = (f"{each:.3g}" for each in (min(seen), max(seen)))
        scale = f"{low} throughout" if low == high else f"{_BARS[0]} is {low}, {_BARS[-1]} is {high}"
        yield Text(f"{page.metric} from step 0 to the horizon, {page.horizon:,}: {scale}", style="dim")


def _columns(page: TrialPage) -> dict[str, list[str]]:
    """Heading -> a cell for each run."""
    runs = page.runs
    return {
        "operation": [run["operation"] for run in runs],
        "seed": [str(run["replicate"]) for run in runs],
        "outcome": [run["outcome"] + (f" ({run['why']})" if run["why"] else "") for run in runs],
        "step": [_cell(run["outcome_step"]) for run in runs],
        f"train {page.learnt}": [_cell(run["train_first_steps"]) for run in runs],
        "best": [_cell(run["best_metric"]) for run in runs],
        "label": [run["label"] or "" for run in runs],
    }


def _courses(page: TrialPage) -> list[str]:
    """The course of each run; empty for those of the confirmation."""
    seen = _seen(page)
    own = (f"{run['operation']} {run['replicate']}" if run["trial"] == page.trial["trial"] else "" for run in page.runs)
    return [_bars(page.rises.get(name, ()), min(seen, default=0.0), max(seen, default=0.0)) for name in own]


def _seen(page: TrialPage) -> list[float]:
    return [each for heights in page.rises.values() for each in heights if math.isfinite(each)]


def _table(columns: dict[str, list[str]], *, fold: bool = False) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in columns:
        number = heading in ("seed", "step", "best") or heading.startswith("train ")
        table.add_column(Text(heading), justify="right" if number else "left", no_wrap=not fold, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def _bars(heights: Sequence[float], low: float, high: float) -> str:
    """A line of block characters, from the lowest for `low` to the highest for `high`."""
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((each - low) * scale)] if math.isfinite(each) else " " for each in heights)


def _resampled(course: str, width: int) -> str:
    """A course of up to `_WIDTH` characters on fewer: of each part the last one."""
    places = -(-len(course) * width // _WIDTH)
    return "".join(course[min(len(course), (i + 1) * _WIDTH // width) - 1] for i in range(places))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
