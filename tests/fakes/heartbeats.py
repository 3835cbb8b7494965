"""A launch's heartbeat, and a sweep's folder in which it is found."""

from dataclasses import replace
from datetime import UTC, datetime

from sweeper.folder.layout import SweepFolder, write_atomically
from sweeper.monitor.heartbeat import Heartbeat, Progress, RunningTrial

BEAT = Heartbeat(
    launch="0123456789abcdef",
    host="a-machine",
    pid=4711,
    at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    every=2.0,
    progress=Progress(
        "made-up",
        metric="val_accuracy",
        horizon=1500,
        elapsed=61.5,
        remaining=None,
        finished=3,
        budget=24,
        runs={"reached": 8, "censored": 1},
        rate=1234.5,
        best="trial 1: reached 3/3, mean 700 steps  depth=2",
        running=(RunningTrial(4, "search", "", 310, 0.125), RunningTrial(5, "confirm", "confirm 1", 0, None)),
        notice="trial 2 starts again: node lost",
        stopping="Ctrl-C",
    ),
)

SPACE = (
    "name: made-up\ntask: {name: modular_arithmetic, operation: x_plus_y}\nobjective: {horizon: 100}\n"
    "search: {depth: {choice: [1, 2]}}\nbudget: {trials: 4}\n"
)


def beats(folder: SweepFolder, **changes: object) -> None:
    now = datetime.now(UTC)
    beat = replace(BEAT, **({"at": now, "every": 0.1} | changes))  # type: ignore[arg-type]
    write_atomically(folder.status, lambda beside: beside.write_bytes(beat.text()))
