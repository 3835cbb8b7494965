"""How figures group trials: by batch schedule, else by the most important choice, else one by one."""

from collections import defaultdict
from dataclasses import dataclass

from sweeper.errors import plural
from sweeper.report.figures.importance import weighed
from sweeper.report.figures.subject import Row, Subject, cut_short, label, listed
from sweeper.space import hyperparameters
from sweeper.space.parameters import Choice

SHAPE = "batch.shape"
ENOUGH = 3
"""With this many whole trials a group leaves out those that were cut short."""
_MOST = 7
_BEST_TRIALS = 5
OTHERS = "others"
BASELINE = "baseline"
"""What the groups of a sweep without a search are by."""


@dataclass(frozen=True)
class TrialGroup:
    """Trials that are shown as one.

    Attributes:
        label: the value that they share, or the trial's or the baseline's name.
        trials: their numbers, ascending.
        cut_short: how many of these were ended although they could have trained on.
        left_out: how many more were, and are not among `trials`.
        baseline: whether it is one.
    """

    label: str
    trials: tuple[int, ...]
    cut_short: int = 0
    left_out: int = 0
    baseline: bool = False


@dataclass(frozen=True)
class Grouping:
    """Trials of the search in groups, and every baseline as a group of its own.

    Attributes:
        by: the parameter that defines the groups, such as `batch.shape`; `trial` for trials on their own, `baseline`
            without a search.
        groups: in the order of the space.yaml, baselines last.
    """

    by: str
    groups: tuple[TrialGroup, ...]

    @property
    def note(self) -> str:
        """Sentences on the trials that were left out and why that matters; empty if none was."""
        out, kept = sum(group.left_out for group in self.groups), [g.label for g in self.groups if g.cut_short]
        parts = []
        if out:
            parts.append(
                f"{plural(out, 'trial')} that {'was' if out == 1 else 'were'} ended early, because of slow runs so "
                "far, left out: they would have made their groups slower."
            )
        if kept:
            parts.append(
                f"Too few trials of {listed(kept)} trained to their end: theirs that were ended early count for as "
                "long as they were seen, which flatters them."
            )
        return " ".join(parts)


def grouped(subject: Subject) -> Grouping:
    """Put the trials of a sweep into groups; without those that failed."""
    key = _key(subject)
    searched = subject.searched
    alone = [
        TrialGroup(label(row), (row["trial"],), int(cut_short(row)), baseline=drawn) for row, drawn in subject.baselines
    ]
    if not searched:
        return Grouping(BASELINE, tuple(alone))
    if key is None:
        whole = sorted(searched, key=cut_short)[:_BEST_TRIALS]
        return Grouping(
            "trial", (*(TrialGroup(label(row), (row["trial"],), int(cut_short(row))) for row in whole), *alone)
        )
    members: dict[str, list[Row]] = defaultdict(list)
    for row in searched:
        members[_name(key, subject.values(row).get(key))].append(row)
    best = sorted(members, key=lambda each: min(row["value"] for row in members[each]))
    if len(best) > _MOST:
        members[OTHERS] = [row for each in best[_MOST - 1 :] for row in members.pop(each)]
    order = [_name(key, hyperparameters.normalize(key, each)) for each in _choices(subject, key)]
    labels = sorted(members, key=lambda each: (each == OTHERS, order.index(each) if each in order else len(order)))
    return Grouping(key, (*(_group(each, members[each]) for each in labels), *alone))


def _name(key: str, value: object) -> str:
    """A group's label; the names of shapes speak for themselves."""
    return value_of(value) if key == SHAPE else f"{key} {value_of(value)}"


def value_of(value: object) -> str:
    """A choice's value as text."""
    return "without" if value is None else str(list(value) if isinstance(value, tuple) else value)


def _group(name: str, rows: list[Row]) -> TrialGroup:
    short = [row["trial"] for row in rows if cut_short(row)]
    whole = [row["trial"] for row in rows if not cut_short(row)]
    if len(whole) >= ENOUGH:
        return TrialGroup(name, tuple(sorted(whole)), 0, len(short))
    return TrialGroup(name, tuple(sorted([*whole, *short])), len(short))


def _choices(subject: Subject, key: str) -> tuple[object, ...]:
    parameter = subject.spec.search[key]
    return parameter.choice if isinstance(parameter, Choice) else ()


def _key(subject: Subject) -> str | None:
    """The parameter whose values make groups: one that has several values among the trials of the search."""
    rows = subject.searched
    choices = [
        key
        for key, parameter in subject.spec.search.items()
        if isinstance(parameter, Choice) and len({value_of(subject.values(row).get(key)) for row in rows}) > 1
    ]
    if SHAPE in choices:
        return SHAPE
    found = weighed(subject)
    ranked = [key for key in found.shares if key in choices] if found else []
    return ranked[0] if ranked else None
