"""What the trials of a sweep come to over all its launches: how many ended and how, and which one is the best."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sweeper.folder.layout import SweepFolder
from sweeper.results.parts import whole
from sweeper.results.rows import TrialRow
from sweeper.results.values import rows
from sweeper.stats.events import Ending

_OUTCOMES = ("reached", "censored", "diverged", "failed")
_COLUMNS = (
    "trial",
    "phase",
    "name",
    "state",
    "why",
    *_OUTCOMES,
    "rmst",
    "value",
    "seconds",
    "steps_trained",
    "started",
    "finished",
)


@dataclass(frozen=True)
class EndedTrial:
    """A trial that ended, as summaries need it.

    Attributes:
        number, phase, name: as in `trials`.
        ending: how it ended.
        outcomes: outcome -> runs, without outcomes that no run had.
        mean: restricted mean time to the event, on the objective's clock.
        value: reported to the sampler.
        seconds: spent on it.
        steps: model updates, summed over the runs.
        started, finished: when it was first handed to a runner, and when its last result arrived.
        configuration: column of `trials` -> hyperparameter.
    """

    number: int
    phase: str
    name: str
    ending: Ending
    outcomes: Mapping[str, int]
    mean: float
    value: float
    seconds: float
    steps: int
    started: datetime
    finished: datetime
    configuration: Mapping[str, Any]

    @property
    def runs(self) -> int:
        """How many runs it had."""
        return sum(self.outcomes.values())

    @property
    def reached(self) -> int:
        """How many of them reached the event."""
        return self.outcomes.get("reached", 0)

    @property
    def failed(self) -> bool:
        """Whether training failed, so that it has no time."""
        return self.ending.kind == "failed"


def of_row(row: TrialRow) -> EndedTrial:
    """The trial of a row that was just written."""
    return _ended(vars(row), row.hyperparameters)


def ended_trials(folder: SweepFolder, configuration: Iterable[str]) -> list[EndedTrial]:
    """Every trial in the tables, in the order in which trials were opened.

    Args:
        folder: the sweep's.
        configuration: columns of the hyperparameters to read; those that the tables do not have are left out.

    Raises:
        UserError: a part is damaged.
    """
    held = whole(folder, "trials")
    columns = [name for name in configuration if name in held.schema.names]
    found = rows(held.select([*_COLUMNS, *columns]))
    ended = [_ended(row, {name: row[name] for name in columns}) for row in found]
    return sorted(ended, key=lambda each: each.number)


class Totals:
    """What trials come to; a trial that is added again replaces what it was before.

    Args:
        trials: those that have ended so far.
    """

    def __init__(self, trials: Iterable[EndedTrial] = ()):
        self._trials = {each.number: each for each in trials}

    def add(self, trial: EndedTrial) -> None:
        """Take in one more."""
        self._trials[trial.number] = trial

    @property
    def over(self) -> list[EndedTrial]:
        """Trials that are over for good: not those that the next launch takes up, nor those that another replaced."""
        trials = list(self._trials.values())  # another thread may add one meanwhile
        replaced = {int(each.name) for each in trials if each.phase == "search" and each.name}
        return [each for each in trials if each.ending.final and each.number not in replaced]

    @property
    def searched(self) -> list[EndedTrial]:
        """Baselines and trials of the search that are over."""
        return [each for each in self.over if each.phase != "confirm"]

    @property
    def confirmed(self) -> set[str]:
        """Numbers, as text, of the trials with a finished confirmation."""
        return {each.name for each in self.over if each.phase == "confirm" and not each.failed}

    @property
    def endings(self) -> Counter[str]:
        """Ending -> baselines and trials of the search."""
        return Counter(each.ending.kind for each in self.searched)

    @property
    def runs(self) -> Counter[str]:
        """Outcome -> runs of all trials that are over."""
        found: Counter[str] = Counter()
        for each in self.over:
            found.update(each.outcomes)
        return found

    @property
    def best(self) -> EndedTrial | None:
        """The best of the baselines and the search; None while no run of any reached the event."""
        arrived = [each for each in self.searched if each.reached and not each.failed]
        return min(arrived, key=lambda each: (each.value, each.number), default=None)


def _ended(row: Mapping[str, Any], configuration: Mapping[str, Any]) -> EndedTrial:
    return EndedTrial(
        row["trial"],
        row["phase"],
        row["name"],
        Ending(row["state"], row["why"], row.get("detail", "")),
        {name: row[name] for name in _OUTCOMES if row[name]},
        row["rmst"],
        row["value"],
        row["seconds"],
        row["steps_trained"],
        row["started"],
        row["finished"],
        dict(configuration),
    )
