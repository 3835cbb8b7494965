"""Which kinds of learning the runs show, and how often their training loss spiked, by group."""

from dataclasses import dataclass
from typing import get_args

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.groups import Grouping
from sweeper.report.figures.subject import Subject, listed, numbered
from sweeper.results.diagnosis import Label
from sweeper.results.query import frame

LABELS: tuple[str, ...] = get_args(Label)
_LOOKS = {
    "comprehension": (canvas.GREEN, None),
    "grokking": (canvas.BLUE, "////"),
    "memorisation": (canvas.ORANGE, "...."),
    "confusion": ("#BBBBBB", None),
    "collapse": (canvas.VERMILION, "xxxx"),
}
_WIDE = 0.09
"""A share of a bar in which a number fits."""


@dataclass(frozen=True)
class Phases:
    """Runs by group.

    Attributes:
        by: the parameter that defines the groups.
        note: what was left out.
        labels: group -> kind of learning -> runs.
        spikes: group -> spikes of the training loss per 1,000 steps trained.
    """

    by: str
    note: str
    labels: dict[str, dict[str, int]]
    spikes: dict[str, float]


def read(subject: Subject, grouping: Grouping) -> Phases | None:
    """Kinds of learning of the runs that were trained at all; groups as in the survival curves."""
    trials = [trial for group in grouping.groups for trial in group.trials]
    rows = frame(
        subject.folder,
        f"""
        SELECT trial, label, train_loss_spikes AS spikes, final_step AS steps FROM runs
        WHERE label IS NOT NULL AND trial IN ({numbered(trials)})
        """,
    )
    labels, spikes = {}, {}
    for group in grouping.groups:
        mine = rows[rows["trial"].isin(group.trials)]
        if len(mine):
            counts = mine["label"].value_counts()
            labels[group.label] = {name: int(counts[name]) for name in LABELS if name in counts}
            spikes[group.label] = 1000 * float(mine["spikes"].sum()) / max(float(mine["steps"].sum()), 1.0)
    return Phases(grouping.by, grouping.note, labels, spikes) if labels else None


@canvas.styled
def draw(phases: Phases) -> Drawing:
    """Stacked bars, and beside them the spikes."""
    present = [name for name in LABELS if any(name in found for found in phases.labels.values())]
    groups = list(phases.labels)
    sheet = canvas.sheet(0.9 + 0.4 * len(groups))
    left, right = sheet.subplots(1, 2, sharey=True, width_ratios=[2.4, 1])
    for place, group in enumerate(groups):
        runs, start = sum(phases.labels[group].values()), 0.0
        for name, count in phases.labels[group].items():
            share = count / runs
            colour, hatch = _LOOKS[name]
            left.barh(
                place, share, left=start, height=0.72, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5
            )
            if share >= _WIDE:
                back = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
                left.text(start + share / 2, place, str(count), ha="center", va="center", fontsize=9, bbox=back)
            start += share
    right.barh(range(len(groups)), list(phases.spikes.values()), height=0.72, color=canvas.GREY)
    canvas.signs(sheet, [canvas.box(*_LOOKS[name], name) for name in present])
    left.set(
        xlim=(0, 1),
        xlabel="share of runs",
        yticks=range(len(groups)),
        yticklabels=[canvas.beside(group) for group in groups],
    )
    left.set_ylim(len(groups) - 0.5, -0.5)
    right.set(xlabel="loss spikes\nper 1,000 steps", xlim=(0, 1.1 * max(phases.spikes.values()) or 1.0))
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        axes.tick_params(left=False)
        canvas.numbers(axes.xaxis, most=3 if axes is right else 5)
    caption = (
        f"By {phases.by}, with the number of runs: comprehension (validation followed training within twice its time), "
        "grokking (later), memorisation (training only), confusion (neither), collapse (reached and lost). "
        "Right: how often the training loss rose above five times its median over the 25 evaluations before. "
    )
    return Drawing("phases", "Kinds of learning", (caption + phases.note).strip(), _alt(phases), sheet)


def _alt(phases: Phases) -> str:
    parts = []
    for group, found in phases.labels.items():
        kinds = listed([f"{count} {name}" for name, count in found.items()])
        parts.append(
            f"{group}, {plural(sum(found.values()), 'run')}: {kinds}; {phases.spikes[group]:.2g} spikes per "
            "1,000 steps."
        )
    return " ".join(parts)
