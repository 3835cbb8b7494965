"""The trials that wait with their checkpoints: what was observed of them, and apart from that what is predicted."""

from collections.abc import Sequence
from typing import Any

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.report.table import TextTable
from sweeper.results.readback import rows_of


def paused(folder: SweepFolder, spec: SweepSpec) -> list[dict[str, Any]]:
    """A sweep's paused trials, the most promising first.

    Args:
        folder: the sweep's folder.
        spec: its space.yaml.

    Returns:
        Rows with `trial`; observed: `seeds` that have begun, `of` how many, `runs`, `reached` and `step`, of the
        slowest run; and `predicted`, `low` and `high` on the objective's clock, None where nothing is predicted.
    """
    if spec.stop != "thaw":
        return []
    from sweeper.results.decisions import Decisions, paused_trials, predicted  # noqa: PLC0415  # few sweeps have any

    waits = paused_trials(Decisions(folder).read())
    rows = rows_of(folder, "trials", ["trial", "state", "runs", "reached"], list(waits))
    found = []
    for row in rows:
        if row.pop("state") != "paused":
            continue
        each = waits[row["trial"]]
        said = None if each.expected is None else predicted(each.expected, spec.limit())
        times = (None, None, None) if said is None else (said.time, said.low, said.high)
        row |= {"seeds": each.seeds, "of": spec.objective.replicates, "step": each.step}
        found.append(row | dict(zip(("predicted", "low", "high"), times, strict=True)))
    return sorted(found, key=lambda row: (row["predicted"] is None, row["predicted"], row["trial"]))


def paused_grid(rows: Sequence[dict[str, Any]], clock: str) -> TextTable:
    """The table of some paused trials."""
    from sweeper.results.decisions import rounded  # noqa: PLC0415  # few sweeps have any

    return TextTable(
        "paused; predicted is not observed",
        ("trial", "seeds", "reached", "trained to step", f"predicted {clock}", "80 % interval"),
        tuple(
            (
                str(row["trial"]),
                f"{row['seeds']} of {row['of']}",
                f"{row['reached']}/{row['runs']}",
                f"{row['step']:,}",
                "" if row["predicted"] is None else f"about {rounded(row['predicted'])}",
                "" if row["predicted"] is None else f"{rounded(row['low'])} to {rounded(row['high'])}",
            )
            for row in rows
        ),
    )
