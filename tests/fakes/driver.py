"""A driver in a process of its own: its Ray is not that of the other tests, and what it says is in a file of events."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sweeper.runners.protocol import WAIT, Wait
from sweeper.stats.events import Ending
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes import training_functions
from tests.fakes.directors import Recording, assignment

Event = dict[str, Any]


@dataclass
class Telling(Recording):
    """Writes down starts, first chunks and ends; starts trials as long as `more` says so."""

    file: Path = Path()
    more: Callable[[int], bool] = lambda started: True
    live: set[int] = field(default_factory=set)

    def next_trial(self) -> Assignment | Wait | None:
        if not self.more(len(self.started)):
            return WAIT if self.live else None
        number = len(self.started)
        self.started.append(number)
        self.live.add(number)
        return assignment(number)

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        if number not in self.chunks:
            self._tell(event="trains", trial=number, process=int(chunk.columns["process"][0]))
        return super().report(number, chunk)

    def end(self, number: int, ending: Ending) -> None:
        super().end(number, ending)
        self.live.remove(number)
        self._tell(event="ended", trial=number, kind=ending.kind, why=ending.why, detail=ending.detail)

    def _tell(self, **event: Any) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(event) + "\n")


@dataclass
class Driver:
    """The other process, as its parent sees it."""

    process: subprocess.Popen[str]
    folder: Path

    def events(self, event: str) -> list[Event]:
        """All of one kind so far."""
        file = self.folder / "events"
        told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [each for each in told if each["event"] == event]

    def wait_for(self, event: str, count: int) -> list[Event]:
        """Wait until there are so many events of a kind."""
        while len(found := self.events(event)) < count:
            assert self.process.poll() is None, self.output
            time.sleep(0.2)
        return found

    def stop(self) -> None:
        """Let the trials finish and no new ones start, and wait until the process has ended well."""
        (self.folder / "stop").touch()
        assert self.process.wait() == 0, self.output

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()


@contextmanager
def driving(
    folder: Path, environment: Mapping[str, str], function: str, runner: Mapping[str, Any], prefix: tuple[str, ...] = ()
) -> Iterator[Driver]:
    """Run trials of a training function, `until` or another of one argument, in another process."""
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.fakes.driver", str(folder), function, json.dumps(runner)],
            cwd=Path(__file__).parent.parent.parent,
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        yield Driver(process, folder)
    finally:
        process.kill()
        process.wait()


def main(folder: Path, function: str, runner: Mapping[str, Any]) -> None:
    """The other process."""
    from sweeper.runners.ray_tune import RayTune

    stop = folder / "stop"
    train: Train = getattr(training_functions, function)
    director = Telling(trials=0, file=folder / "events", more=lambda started: started < 3)
    if function == "until":
        train = partial(training_functions.until, stop)
        director.more = lambda started: not stop.exists()
    with RayTune(**runner) as ray_tune:
        ray_tune.run(train, director)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
    os._exit(0)
