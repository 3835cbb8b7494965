"""A director that starts a fixed number of trials and writes down everything it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sweeper.config.model import Objective
from sweeper.runners.protocol import WAIT, Wait
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.stats.events import Ending
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.trial import Assignment, Chunk


def assignment(number: int) -> Assignment:
    task = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y")
    return Assignment(number, Hyperparameters(), task, Objective(horizon=10), (0, 1), 1.0)


@dataclass
class Recording:
    """Starts `trials` trials, then one more as soon as nothing is running (so it has to be asked again after WAIT)."""

    trials: int
    cap: dict[int, int] = field(default_factory=dict)  # trial -> chunks after which it is capped
    fail_in: str = ""  # a method that raises
    make: Callable[[int], Assignment] = assignment
    started: list[int] = field(default_factory=list)
    chunks: dict[int, list[Chunk]] = field(default_factory=dict)
    endings: dict[int, list[Ending]] = field(default_factory=dict)
    late: list[int] = field(default_factory=list)
    most_at_once: int = 0
    ticks: int = 0
    stopping: str = ""

    def next_trial(self) -> Assignment | Wait | None:
        live = [number for number in self.started if number not in self.endings]
        if len(self.started) == self.trials and live:
            return WAIT
        if len(self.started) > self.trials:
            return None
        number = len(self.started)
        self.started.append(number)
        self.most_at_once = max(self.most_at_once, len(live) + 1)
        return self.make(number)

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        if self.fail_in == "report":
            raise OSError("the disk is full")
        if number in self.endings:
            self.late.append(number)
        self.chunks.setdefault(number, []).append(chunk)
        return Ending("capped", "enough") if len(self.chunks[number]) == self.cap.get(number) else None

    def end(self, number: int, ending: Ending) -> None:
        self.endings.setdefault(number, []).append(ending)

    def requeue(self, number: int, why: str) -> None:
        raise AssertionError(f"trial {number} is to start again: {why}")

    def tick(self) -> None:
        self.ticks += 1


class Meeting(Recording):
    """Lets trials end only once all of the first `trials` have been heard of, which takes all of them at once."""

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        super().report(number, chunk)
        return Ending("capped", "all have met") if len(self.chunks) >= self.trials else None


@dataclass
class Patient:
    """Starts `trials` trials, each again as often as it has to; notes how full the runner was at every start."""

    trials: int
    slots: Callable[[], int]
    queue: list[int] = field(default_factory=list)
    live: set[int] = field(default_factory=set)
    endings: dict[int, list[Ending]] = field(default_factory=dict)
    whys: list[str] = field(default_factory=list)
    stopping: str = ""
    starts: list[tuple[int, int]] = field(default_factory=list)
    """(trials running with the new one, slots) at every start."""

    def __post_init__(self) -> None:
        self.queue = list(range(self.trials))

    def next_trial(self) -> Assignment | Wait | None:
        if not self.queue:
            return WAIT if self.live else None
        number = self.queue.pop(0)
        self.live.add(number)
        self.starts.append((len(self.live), self.slots()))
        return assignment(number)

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        assert number in self.live
        return None

    def end(self, number: int, ending: Ending) -> None:
        self.live.remove(number)
        self.endings.setdefault(number, []).append(ending)

    def requeue(self, number: int, why: str) -> None:
        self.live.remove(number)
        self.queue.insert(0, number)
        self.whys.append(why)

    def tick(self) -> None:
        pass
