"""How many training steps each tuner spends until it has found one of the best: `python -m benchmarks.search`.

Tuners search tables of whole curves (`tables.py`), so that hundreds of sweeps take minutes. Every repetition is a sweep
of its own, with its own seed, and on the synthetic table its own landscape. `README.md` has the figures and how to
read them.
"""

import argparse
import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks import tables
from benchmarks.search_figures import BUDGET, FIGURES, summary
from benchmarks.tables import Table
from benchmarks.tuners import Ours, PlainTpe, RayOptuna, Tuner, freeze_thaw
from sweeper.config.model import Race
from sweeper.search import simulation

GRACE = {"OptunaSearch + ASHA": 1 / 16, "OptunaSearch + ASHA, late": 1 / 4}
"""First rung of each ASHA, in horizons; Ray's default is the first report."""
RACES = {"sweeper, race": Race(), "sweeper, race, slack 0.2": Race(slack=0.2)}
"""The first is the default."""
THAWS = ("sweeper, thaw", "sweeper, thaw without curves")
TUNERS = (
    *("random", "Optuna TPE", "OptunaSearch", *GRACE),
    *("sweeper, no cap", "sweeper, cap", *RACES),
    *THAWS,
)
ENOUGH = 30
"""Average configurations, trained to their end, after whose steps a sweep that has found one of the best is ended."""
NEAR = 0.05
"""How much slower than the best one of the best may be."""
LOOK = 100 / 7500
"""Horizons between two looks at a trial: 100 steps of the published experiment."""


@dataclass(frozen=True)
class Sweep:
    """One sweep of one tuner.

    Attributes:
        found: steps spent, in average configurations, until the incumbent was within 5 % of the best; None when it
            never was.
        curve: (steps spent, in average configurations; regret) at every new incumbent; regret is how much slower than
            the best, 0.1 is 10 %.
        trials, stopped: how many ended, and how many of them a rule stopped.
        best_tried, best_killed: whether the best configuration was tried, and stopped.
        overhead: milliseconds of asking and telling a trial, on average.
    """

    table: str
    tuner: str
    at_once: int
    seed: int
    found: float | None
    curve: list[tuple[float, float]]
    trials: int
    stopped: int
    best_tried: bool
    best_killed: bool
    overhead: float


def tuner_of(name: str, table: Table, seed: int, folder: Path) -> Tuner:
    """A tuner by its name, with nothing learned yet."""
    makers: dict[str, Callable[[], Tuner]] = {
        "random": lambda: Ours(table, seed, folder, sampler="random", stop="none"),
        "Optuna TPE": lambda: PlainTpe(table, seed),
        "OptunaSearch": lambda: RayOptuna(table, seed),
        **{each: partial(RayOptuna, table, seed, grace) for each, grace in GRACE.items()},
        "sweeper, no cap": lambda: Ours(table, seed, folder, sampler="tpe", stop="none"),
        "sweeper, cap": lambda: Ours(table, seed, folder, sampler="tpe", stop="cap"),
        **{each: partial(Ours, table, seed, folder, sampler="tpe", stop="race", race=r) for each, r in RACES.items()},
    }
    return makers[name]()


def sweep(table: Table, name: str, at_once: int, seed: int, folder: Path) -> Sweep:
    """One sweep, until the budget is spent or nothing is left to try."""
    tuner = tuner_of(name, table, seed, folder)
    pace = max(round(LOOK * table.question.horizon / table.question.every), 1)
    spent_on_asking = 0.0

    def ask() -> simulation.RecordedTrial | None:
        nonlocal spent_on_asking
        begun = time.perf_counter()
        trial = tuner.ask()
        spent_on_asking += time.perf_counter() - begun
        return trial

    incumbent, curve, trials, stopped = np.inf, [], 0, 0
    found: float | None = None
    best_tried = best_killed = False
    for ended in simulation.replay(ask, tuner.rule, at_once, pace):
        begun = time.perf_counter()
        tuner.tell(ended)
        spent_on_asking += time.perf_counter() - begun
        trials, stopped = trials + 1, stopped + ended.stopped
        if ended.trial.number == table.best:
            best_tried, best_killed = True, best_killed or ended.stopped
        truth = table.truths[ended.trial.number]
        if not ended.stopped and truth < incumbent:
            incumbent = truth
            curve.append(
                (round(ended.total / table.cost, 3), round(float(np.expm1(truth - table.truths[table.best])), 4))
            )
        found = next((spent for spent, regret in curve if regret <= NEAR), None)
        if ended.total >= (BUDGET if found is None else ENOUGH) * table.cost:
            break
    overhead = 1000 * spent_on_asking / trials
    return Sweep(table.name, name, at_once, seed, found, curve, trials, stopped, best_tried, best_killed, overhead)


def thawed(table: Table, name: str, at_once: int, seed: int) -> Sweep:
    """One sweep of freeze-thaw, in the same terms."""
    thaw = freeze_thaw(table, seed, learn=name == "sweeper, thaw")
    began = time.perf_counter()
    incumbent, curve, trials, stopped, best_tried, best_killed = np.inf, [], 0, 0, False, False
    for ended in thaw(at_once):
        trials, stopped = trials + 1, stopped + ended.stopped
        if ended.trial.number == table.best:
            best_tried, best_killed = True, ended.stopped
        truth = table.truths[ended.trial.number]
        if not ended.stopped and truth < incumbent:
            incumbent = truth
            regret = float(np.expm1(truth - table.truths[table.best]))
            curve.append((round(ended.total / table.cost, 3), round(regret, 4)))
        found = next((spent for spent, regret in curve if regret <= NEAR), None)
        if found is not None or ended.total >= BUDGET * table.cost:
            break
    overhead = 1000 * (time.perf_counter() - began) / max(trials, 1)
    found = next((spent for spent, regret in curve if regret <= NEAR), None)
    return Sweep(table.name, name, at_once, seed, found, curve, trials, stopped, best_tried, best_killed, overhead)


def _table(which: str, seed: int) -> Table:
    if which in tables.SYNTHETIC_KINDS:
        return tables.synthetic(seed, which)
    name, _, part = which.partition(", ")
    whole = tables.modular(tuple(name.split()[1:]))
    return tables.half(whole, seed) if part == "half" else whole


def _repetition(job: tuple[str, str, int, int]) -> Sweep:
    which, name, at_once, seed = job
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    table = _table(which, seed)
    if name in THAWS:
        return thawed(table, name, at_once, seed)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        return sweep(table, name, at_once, seed, Path(folder))


def main() -> None:
    """Run every tuner on every table, print a summary, write raw figures and pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--tables", nargs="+", default=["modular-23", "synthetic"])
    parser.add_argument("--tuners", nargs="+", default=list(TUNERS))
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=FIGURES / "search.json")
    asked = parser.parse_args()
    jobs = [
        (table, tuner, at_once, seed)
        for table in asked.tables
        for seed in range(asked.repetitions)
        for at_once in asked.at_once
        for tuner in asked.tuners
    ]
    sweeps: list[Sweep] = []
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("forkserver")) as pool:
        for done in pool.map(_repetition, jobs, chunksize=len(asked.tuners)):
            sweeps.append(done)
            if len(sweeps) % (5 * len(asked.tuners)) == 0:
                print(f"{len(sweeps)} of {len(jobs)} sweeps", flush=True)
    machine = {"python": platform.python_version(), "processor": platform.machine(), "processes": asked.processes}
    rows = [asdict(each) for each in sweeps]
    asked.output.write_text(json.dumps({"machine": machine, "budget": BUDGET, "sweeps": rows}) + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()
