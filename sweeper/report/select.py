"""Find a trial by name: `quickstart:23`, `quickstart:constant-128`, or `quickstart` for its best."""

import re
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sweeper.config.model import SweepSpec
from sweeper.config.saved import saved_spec
from sweeper.errors import UserError
from sweeper.folder.find import find_sweep
from sweeper.folder.layout import SweepFolder
from sweeper.results.readback import rows_of, taken_up_again

_SHOWN = 10


@dataclass(frozen=True)
class SelectedTrial:
    """One trial of a sweep.

    Attributes:
        sweep: the sweep as the user named it.
        row: its row of `trials`.
        confirmation: the row of the trial that repeats it on fresh seeds; None if there is none.
    """

    sweep: str
    folder: SweepFolder
    spec: SweepSpec
    row: dict[str, Any]
    confirmation: dict[str, Any] | None

    @property
    def label(self) -> str:
        """`trial 23`, or the baseline's name."""
        row = self.row
        return str(row["name"]) if row["phase"] == "baseline" else f"trial {row['trial']}"


def choose(name: str, among: SelectedTrial | None = None) -> SelectedTrial:
    """Find a trial.

    Args:
        name: `SWEEP:TRIAL`, where TRIAL is a number or a baseline's name; SWEEP alone is its best trial.
        among: a trial whose sweep is searched if `name` is only a number or a baseline's name.

    Raises:
        UserError: there is no such sweep or trial.
    """
    sweep, trial = _split(name)
    if trial is None and among is not None and (sweep.isdecimal() or sweep in among.spec.baselines):
        sweep, trial = among.sweep, sweep
    folder = _sweep(sweep, trial, among)
    rows = sorted(rows_of(folder, "trials"), key=itemgetter("value", "trial"))
    if not rows:
        raise UserError(f"{sweep}: no trial has finished yet")
    replaced = taken_up_again(rows)
    matching = [each for each in rows if _matches(each, trial, replaced)]
    row = next((each for each in matching if str(each["trial"]) == trial), matching[0] if matching else None)
    if row is None:
        raise UserError(f"{sweep}: no trial {trial}; it has {_list(rows)}")
    repeats = (each for each in rows if each["phase"] == "confirm" and each["name"] == str(row["trial"]))
    spec = among.spec if among is not None and among.folder == folder else saved_spec(folder)
    return SelectedTrial(sweep, folder, spec, row, next(repeats, None))


def _sweep(name: str, trial: str | None, among: SelectedTrial | None) -> SweepFolder:
    """The sweep's folder. Raises UserError, with the ways to name a trial."""
    try:
        return find_sweep(name)
    except UserError as error:
        if trial is None and name.isdecimal():
            raise UserError(f"{error}; a trial is SWEEP:TRIAL, for example quickstart:{name}") from None
        if trial is None and among is not None:
            baselines = f" ({', '.join(among.spec.baselines)})" if among.spec.baselines else ""
            raise UserError(
                f"{error}; in {among.sweep} a trial's number or a baseline's name{baselines} is enough"
            ) from None
        raise


def _split(name: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"(.+):([^/:]+)", name)
    return (found[1], found[2]) if found else (name, None)


def _matches(row: dict[str, Any], trial: str | None, replaced: set[int]) -> bool:
    if trial is None:
        return row["phase"] != "confirm" and row["trial"] not in replaced
    return str(row["trial"]) == trial or (row["phase"] == "baseline" and row["name"] == trial)


def _list(rows: list[dict[str, Any]]) -> str:
    numbers = sorted(row["trial"] for row in rows)
    names = [row["name"] for row in rows if row["phase"] == "baseline"]
    some = ", ".join(map(str, numbers[:_SHOWN])) + (f", ... {numbers[-1]}" if len(numbers) > _SHOWN else "")
    return some + (f", and the baselines {', '.join(names)}" if names else "")
