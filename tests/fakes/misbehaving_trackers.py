"""A tracker that writes down what it is told, and does what the sweep's name says."""

import os
import subprocess
import sys
import time
from pathlib import Path

from sweeper.trackers.protocol import Destination, FinishedTrial


def open_tracker(place: Destination) -> "Misbehaving":
    if place.sweep == "cannot-begin":
        raise OSError("no\nroom")
    return Misbehaving(place)


class Misbehaving:
    def __init__(self, place: Destination):
        self._how, self._notes = place.sweep, Path(place.folder) / "notes.txt"
        self._notes.parent.mkdir(parents=True, exist_ok=True)

    def track(self, trial: FinishedTrial) -> None:
        match self._how:
            case "raises":
                if trial.number == 1:
                    raise RuntimeError("no\nroom")
            case "leaves":
                sys.exit(1)
            case "dies":
                os._exit(1)
            case "prints":
                print("noise")
                print("more noise", file=sys.stderr)
                subprocess.run(["echo", "noise of a process"], check=True)
                input()
            case "hangs":
                time.sleep(600)
            case "waits":
                while not (self._notes.parent / "go").exists():
                    time.sleep(0.01)
        with open(self._notes, "a") as notes:
            notes.write(f"{trial.number}\n")

    def close(self) -> None:
        with open(self._notes, "a") as notes:
            notes.write("closed\n")
