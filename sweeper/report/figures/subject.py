"""The data that all figures of a sweep share: the trials to show, the best one, and the baseline to compare it with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.results.query import records
from sweeper.results.readback import taken_up_again
from sweeper.results.rows import column_of
from sweeper.space.hyperparameters import Value
from sweeper.space.space import Space
from sweeper.stats.events import CUT_SHORT, Clock

Row = dict[str, Any]

_MOST, _MOST_BASELINES = 7, 3
"""Trials that one figure tells apart, and baselines beside a search."""
_COLUMNS = ["trial", "phase", "name", "state", "runs", "reached", "rmst", "value", "bound", "started", "finished"]


@dataclass(frozen=True)
class Contender:
    """A configuration whose runs are shown.

    Attributes:
        label: `trial 17`, or the baseline's name.
        trial: number of the trial whose runs are shown: the confirmation if there is one.
        baseline: whether it is a baseline.
        fresh: whether these are runs on fresh seeds.
    """

    label: str
    trial: int
    baseline: bool
    fresh: bool


@dataclass(frozen=True)
class Subject:
    """The data that all figures of one sweep share.

    Attributes:
        folder: the sweep's folder.
        spec: its space.yaml.
        trials: rows of `trials` of the baselines and the search, without those that another trial has replaced.
        confirmations: rows of `trials` of the confirmations.
    """

    folder: SweepFolder
    spec: SweepSpec
    trials: tuple[Row, ...]
    confirmations: tuple[Row, ...]

    @property
    def clock(self) -> Clock:
        """The objective's clock."""
        return self.spec.objective.minimize

    @cached_property
    def limit(self) -> float:
        """The time at which means are restricted, on that clock."""
        return self.spec.limit()

    @cached_property
    def space(self) -> Space:
        """The parameters that are searched."""
        return self.spec.space

    def values(self, row: Row) -> dict[str, Value]:
        """The searched parameters that apply to a trial, with their values; in the tables the others have defaults."""
        known = {**self.space.given, **{key: row[column_of(key)] for key in self.spec.search}}
        for key in self.space.order:
            condition = self.space.conditions.get(key)
            if condition and (any(known.get(name) is None for name in condition.names) or not condition.holds(known)):
                known[key] = None
        return {key: known[key] for key in self.spec.search if known[key] is not None}

    @cached_property
    def seen(self) -> tuple[Row, ...]:
        """The trials that did not fail, the best first."""
        return tuple(sorted((row for row in self.trials if row["state"] != "failed"), key=_by_value))

    @cached_property
    def searched(self) -> tuple[Row, ...]:
        """Those of the search, the best first."""
        return tuple(row for row in self.seen if row["phase"] == "search")

    @cached_property
    def baselines(self) -> tuple[tuple[Row, bool], ...]:
        """Baselines to draw, in their order, each with whether to draw it as one.

        The first few beside a search. Without a search the best are its trials, and only the first is drawn as one.
        """
        best = [row for row in self.seen if row["phase"] == "baseline"]
        in_order = sorted(best, key=lambda row: int(row["trial"]))
        if self.searched:
            return tuple((row, True) for row in in_order[:_MOST_BASELINES])
        kept = [row for row in best if row is not in_order[0]][:_MOST]
        return tuple((row, row is in_order[0]) for row in in_order if row in (in_order[0], *kept))

    @cached_property
    def contenders(self) -> tuple[Contender, ...]:
        """The best trial and the first baseline, if present; on fresh seeds if both were confirmed.

        Without a search the best baseline and the first, or the second best if the first is the best.
        """
        baselines = [row for row, _ in self.baselines]
        best = _whole_first(self.searched or sorted(baselines, key=_by_value))
        first = [row for row in baselines if row is not best[0]][:1]
        chosen = [*best[:1], *(first if self.searched or first == baselines[:1] else best[1:2])]
        repeats = {row["name"]: row for row in self.confirmations if row["state"] == "finished"}
        fresh = all(str(row["trial"]) in repeats for row in chosen)
        return tuple(
            Contender(
                label(row),
                repeats[str(row["trial"])]["trial"] if fresh else row["trial"],
                row["phase"] == "baseline",
                fresh,
            )
            for row in chosen
        )


def subject(folder: SweepFolder, spec: SweepSpec) -> Subject:
    """Read the data that all figures share."""
    parameters = [column_of(key) for key in spec.search]
    schedule = "COLUMNS('^batch_')"
    others = [f'"{column}"' for column in (*_COLUMNS, *parameters) if not column.startswith("batch_")]
    rows = records(folder, f"SELECT {', '.join(others)}, {schedule} FROM trials ORDER BY trial")
    replaced = taken_up_again(rows)
    return Subject(
        folder,
        spec,
        tuple(row for row in rows if row["phase"] != "confirm" and row["trial"] not in replaced),
        tuple(row for row in rows if row["phase"] == "confirm"),
    )


def label(row: Row) -> str:
    """`trial 17`, or the baseline's name."""
    return str(row["name"]) if row["phase"] == "baseline" else f"trial {row['trial']}"


def cut_short(row: Row) -> bool:
    """Whether a trial was ended although it could have trained on."""
    return row["state"] in CUT_SHORT


def numbered(trials: Iterable[int]) -> str:
    """Trials' numbers for an IN of SQL; one that no trial has where there are none."""
    return ", ".join(str(int(trial)) for trial in trials) or "-1"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _by_value(row: Row) -> tuple[float, int]:
    return row["value"], row["trial"]


def _whole_first(rows: Sequence[Row]) -> list[Row]:
    """Trials that trained to their end before those that did not, otherwise in the same order."""
    return sorted(rows, key=cut_short)
