"""One trial on one page: its configuration, the outcome of each run and the course of its metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.folder.labels import Labels, read
from sweeper.report.select import SelectedTrial
from sweeper.results.query import records
from sweeper.results.rows import ACCURACY, column_of

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


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
        learnt: the condition that training meets at `train_first_steps`, for a heading.
        labels: of the sweep.
    """

    label: str
    trial: dict[str, Any]
    confirmation: dict[str, Any] | None
    runs: list[dict[str, Any]]
    rises: dict[str, list[float]]
    searched: tuple[str, ...]
    learnt: str
    labels: Labels = field(default_factory=Labels)


def trial_page(chosen: SelectedTrial) -> TrialPage:
    """Read the page of a trial from the tables."""
    numbers = [each["trial"] for each in (chosen.row, chosen.confirmation) if each is not None]
    wanted = ", ".join(map(str, numbers))
    runs = records(chosen.folder, f"SELECT * FROM runs WHERE trial IN ({wanted}) ORDER BY trial, operation, replicate")
    metric, horizon = chosen.spec.objective.event.metric, chosen.spec.objective.horizon
    rising = records(
        chosen.folder,
        f"""
        SELECT operation || ' ' || replicate AS run, least({_WIDTH - 1}, step * {_WIDTH} // {horizon}) AS bucket,
               coalesce(avg({metric})::DOUBLE, 'nan') AS height
        FROM curves WHERE trial = {numbers[0]} GROUP BY ALL ORDER BY run, bucket
        """,
    )
    rises: dict[str, list[float]] = {}
    for each in rising:
        heights = rises.setdefault(each["run"], [])
        before = heights[-1] if heights else math.nan
        heights += [before] * (int(each["bucket"]) - len(heights)) + [each["height"]]
    # Where nothing was searched, all of its configuration tells what it is.
    searched = tuple(column_of(key) for key in chosen.spec.search or chosen.spec.task.hyperparameters)
    event = chosen.spec.objective.event
    learnt = "99 %" if ACCURACY in chosen.spec.task.scores else f"{event.comparison} {event.threshold:g}"
    return TrialPage(chosen.label, chosen.row, chosen.confirmation, runs, rises, searched, learnt, read(chosen.folder))


def render(page: TrialPage) -> RenderableType:
    """The page for people."""
    row = page.trial
    parts: list[RenderableType] = [
        Text.assemble(
            (page.label, "bold"), f", {row['phase']}: {row['state']}" + (f" ({row['why']})" if row["why"] else "")
        ),
        Text("  ".join(f"{name}={_cell(row[name])}" for name in page.searched if row[name] is not None)),
        Text(
            f"{row['reached']} of {row['runs']} runs reached the event; restricted mean {row['rmst']:,.0f}"
            + (f" ± {row['rmst_error']:,.0f}" if row["rmst_error"] is not None else "")
            + f"; {row['steps_trained']:,} model steps in {row['seconds']:,.0f} s on {row['device'] or 'no device'}"
        ),
    ]
    if page.confirmation is not None:
        fresh = page.confirmation
        counts = f"{fresh['reached']} of {fresh['runs']}"
        parts.append(Text(f"on fresh seeds (trial {fresh['trial']}): {counts}, restricted mean {fresh['rmst']:,.0f}"))
    if str(page.labels):
        parts.append(Text(f"sweep: {page.labels}"))
    parts += [Text(f"restarted: {why}", style="yellow") for why in row["retries"] or ()]
    parts += [Text(), _runs(page)]
    if row["detail"]:
        parts += [Text(), Text(row["detail"].rstrip(), style="red")]
    return Group(*parts)


def _runs(page: TrialPage) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading, justify in (("operation", "left"), ("seed", "right"), ("outcome", "left"), ("step", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left", no_wrap=True)
    for heading in (f"train {page.learnt}", "best", "label"):
        table.add_column(heading, justify="left" if heading == "label" else "right", no_wrap=True)
    table.add_column("from step 0 to the horizon", no_wrap=True)
    for run in page.runs:
        own = run["trial"] == page.trial["trial"]
        why = f" ({run['why']})" if run["why"] else ""
        table.add_row(
            run["operation"],
            str(run["replicate"]),
            f"{run['outcome']}{why}",
            _cell(run["outcome_step"]),
            _cell(run["train_first_steps"]),
            _cell(run["best_metric"]),
            run["label"] or "",
            _bars(page.rises.get(f"{run['operation']} {run['replicate']}", ())) if own else "",
        )
    return table


def _bars(heights: Sequence[float]) -> str:
    """A line of block characters, scaled from the smallest to the largest value."""
    seen = [each for each in heights if math.isfinite(each)]
    if not seen:
        return ""
    low, high = min(seen), max(seen)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((each - low) * scale)] if math.isfinite(each) else " " for each in heights)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
