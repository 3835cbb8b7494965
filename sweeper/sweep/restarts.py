"""Trials over several starts: their checkpoints, and devices that fail repeatedly."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from sweeper.results.checkpoints import Checkpoint, Checkpoints, DamagedError
from sweeper.stats.events import DEVICE_FAILED, UNUSABLE_STATE, Ending
from sweeper.sweep.live import LiveTrial
from sweeper.sweep.retries import DEAD_DEVICE
from sweeper.trial import Assignment

ASIDE = 4
"""Capped trials whose states are kept for a larger budget: those nearest to mattering."""


class Restarts:
    """Keeps the states of unfinished trials, and of a few capped ones.

    Args:
        checkpoints: where states are kept.
        notice: is called with messages for the user.
        aside: capped trials whose states are kept, and their lower bounds.
    """

    def __init__(
        self, checkpoints: Checkpoints, notice: Callable[[str], object], aside: Mapping[int, float] | None = None
    ):
        self._checkpoints, self._notice = checkpoints, notice
        self._aside = dict(aside or {})
        self._dead_devices = 0
        self._before: dict[int, int] = {}

    def load(self, assignment: Assignment, after: int | None = None) -> Checkpoint:
        """The state that a trial has reached; an empty one if there is none for this assignment.

        Args:
            assignment: the whole trial, all replicates.
            after: the capped trial that it continues, under a number of its own.
        """
        found = self._load(assignment.number, _question(assignment))
        if after is not None and not found.columns:
            capped = self._load(after, _question(replace(assignment, number=after)))
            if capped.columns:
                found = replace(capped, question=found.question)
                self._checkpoints.save(assignment.number, found)
            self.forget(after)
        self._before.setdefault(assignment.number, len(found.retries))
        return found

    def of_this_launch(self, live: LiveTrial) -> tuple[str, ...]:
        """The causes for which this launch has restarted a trial."""
        return live.earlier.retries[self._before[live.number] :]

    def save(self, live: LiveTrial, state: bytes) -> None:
        """Keep the state that a trial in training has reached."""
        self._checkpoints.save(live.number, live.checkpoint(live.earlier.trained, state))

    def save_stage(self, live: LiveTrial) -> None:
        """Keep a trial between two stages."""
        self._checkpoints.save(live.number, live.checkpoint(live.whole.replicates, None))

    def save_for_restart(self, live: LiveTrial, *why: str) -> None:
        """Add to a trial's checkpoint the time spent on it, and the reasons for a restart."""
        earlier = live.earlier
        saved = _nothing(earlier.question) if UNUSABLE_STATE in why else self._load(live.number, earlier.question)
        again = replace(saved, started=earlier.started, seconds=live.seconds, retries=(*earlier.retries, *why))
        self._checkpoints.save(live.number, again)

    def set_aside(self, number: int, bound: float) -> None:
        """Keep the state of a capped trial, if it is one of those with the least lower bounds of their values."""
        self._aside[number] = bound
        if len(self._aside) > ASIDE:
            self.forget(max(self._aside, key=self._aside.__getitem__))

    def forget(self, number: int) -> None:
        """Remove the state of a trial that is over for good."""
        self._aside.pop(number, None)
        self._checkpoints.remove(number)

    def broken_device(self, ending: Ending) -> str:
        """The message with which the launch ends if devices fail in trial after trial; otherwise empty."""
        self._dead_devices = self._dead_devices + 1 if ending.why == DEVICE_FAILED else 0
        if self._dead_devices != DEAD_DEVICE:
            return ""
        return f"{DEAD_DEVICE} trials in a row ended because their device failed ({_error_of(ending.detail)})"

    def _load(self, number: int, question: str) -> Checkpoint:
        """The trial's checkpoint for that question; an empty one if there is none."""
        try:
            found = self._checkpoints.load(number)
        except DamagedError as error:
            self._notice(f"trial {number} starts from the beginning: its checkpoint cannot be read ({error})")
            found = None
        return found if found is not None and found.question == question else _nothing(question)


def _nothing(question: str) -> Checkpoint:
    """The checkpoint of a trial that has not begun."""
    return Checkpoint(question, (), {}, "", None, datetime.now(UTC), 0.0)


def _question(assignment: Assignment) -> str:
    """A hash of everything that determines a trial's outcome, except the machine."""
    return hashlib.sha256(replace(assignment, cpu=0.0, keep=None, state=None).to_json().encode()).hexdigest()


def _error_of(traceback: str) -> str:
    """The line of a traceback that names the error: torch adds advice below it."""
    lines = traceback.strip().splitlines()
    return next((line for line in reversed(lines) if " error: " in line), lines[-1] if lines else "no traceback")
