"""How many training steps each tuner spends until it has found one of the best: `python -m benchmarks.search`.

Tuners search tables of whole curves (`tables.py`), so that hundreds of sweeps take minutes. Every repetition is a sweep
of its own, with its own seed, and on the synthetic table its own landscape. `README.md` has the figures and how to
read them.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from optuna.samplers import GPSampler, TPESampler

from benchmarks import tables
from benchmarks.search_figures import BUDGET, FIGURES, read, summary
from benchmarks.tables import Table
from benchmarks.tuners import Ours, PlainOptuna, RayOptuna, Tuner, freeze_thaw
from sweeper.config.loading import load
from sweeper.config.model import Race
from sweeper.folder.layout import SweepFolder
from sweeper.search import simulation
from sweeper.search.simulation import Ended

GRACE = {"OptunaSearch + ASHA": 1 / 16, "OptunaSearch + ASHA, late": 1 / 4}
"""First rung of each ASHA, in horizons; Ray's default is the first report."""
RACES = {"sweeper, race": Race(), "sweeper, race, slack 0.2": Race(slack=0.2)}
"""The first is the default."""
THAWS = ("sweeper, thaw", "sweeper, thaw without curves", "sweeper, thaw, prior")
TUNERS = (
    *("random", "Optuna TPE", "Optuna GPSampler", "OptunaSearch", *GRACE, "OptunaSearch + Hyperband"),
    *("sweeper, no cap", "sweeper, cap", "sweeper, gp, cap", *RACES),
    *THAWS,
)
ENOUGH = 30
"""Average configurations, trained to their end, after whose steps a sweep that has found one of the best is ended."""
NEAR = 0.05
"""How much slower than the best one of the best may be."""
LOOK = 100 / 7500
"""Horizons between two looks at a trial: 100 steps of the published experiment."""


Job = tuple[str, str, int, int]
"""Table, tuner, trials at once and seed."""


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
        overhead: milliseconds of processor time a trial, on average, those of the simulator included.
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
        "Optuna TPE": lambda: PlainOptuna(table, seed, TPESampler),
        "Optuna GPSampler": lambda: PlainOptuna(table, seed, GPSampler),
        "OptunaSearch": lambda: RayOptuna(table, seed),
        **{each: partial(RayOptuna, table, seed, grace) for each, grace in GRACE.items()},
        "OptunaSearch + Hyperband": lambda: RayOptuna(table, seed, GRACE["OptunaSearch + ASHA"], brackets=3),
        "sweeper, no cap": lambda: Ours(table, seed, folder, sampler="tpe", stop="none"),
        "sweeper, cap": lambda: Ours(table, seed, folder, sampler="tpe", stop="cap"),
        "sweeper, gp, cap": lambda: Ours(table, seed, folder, sampler="gp", stop="cap"),
        **{each: partial(Ours, table, seed, folder, sampler="tpe", stop="race", race=r) for each, r in RACES.items()},
        "Syne Tune ASHA + CQR": lambda: _syne_tune(table, seed),
    }
    return makers[name]()


def _syne_tune(table: Table, seed: int) -> Tuner:
    from benchmarks.syne_tuners import SyneTune  # noqa: PLC0415  # needs a package that no other tuner needs

    return SyneTune(table, seed, GRACE["OptunaSearch + ASHA"])


def sweep(table: Table, name: str, at_once: int, seed: int, folder: Path) -> Sweep:
    """One sweep, until the budget is spent or nothing is left to try."""
    begun = time.process_time()
    incumbent, curve, trials, stopped = np.inf, [], 0, 0
    found: float | None = None
    best_tried = best_killed = False
    for ended in endings(table, name, at_once, seed, folder):
        trials, stopped = trials + 1, stopped + ended.stopped
        if ended.trial.number == table.best:
            best_tried, best_killed = True, best_killed or ended.stopped
        truth, spent = table.truths[ended.trial.number], ended.total / table.cost
        if not ended.stopped and truth < incumbent:
            incumbent, regret = truth, float(np.expm1(truth - table.truths[table.best]))
            curve.append((round(spent, 3), round(regret, 4)))
            found = round(spent, 3) if found is None and regret <= NEAR else found
        if spent >= (BUDGET if found is None else ENOUGH) or (found is not None and best_tried and name in THAWS):
            break
    overhead = round(1000 * (time.process_time() - begun) / max(trials, 1), 2)
    return Sweep(table.name, name, at_once, seed, found, curve, trials, stopped, best_tried, best_killed, overhead)


def endings(table: Table, name: str, at_once: int, seed: int, folder: Path) -> Iterator[Ended]:
    """A tuner's trials as they end."""
    if name in THAWS:
        prior = _prior(table, seed) if name == "sweeper, thaw, prior" else None
        yield from freeze_thaw(table, seed, learn=name != "sweeper, thaw without curves", prior=prior)(at_once)
        return
    tuner = tuner_of(name, table, seed, folder)
    pace = max(round(LOOK * table.question.horizon / table.question.every), 1)
    for ended in simulation.replay(tuner.ask, tuner.rule, at_once, pace):
        tuner.tell(ended)
        yield ended


def _prior(table: Table, seed: int) -> Table:
    """An earlier sweep: of other operations, of another modulus, or of a made-up landscape whose curves tell."""
    name, *operations = table.name.split()
    if table.name in tables.SYNTHETIC_KINDS:
        return tables.synthetic(seed + 1000, "synthetic, telling")
    if name != "modular-23":
        return tables.recorded("modular-23", ("x_plus_y",))
    names = set(load(SweepFolder(tables.DATA / name).space).spec.task.operations)
    return tables.recorded(name, tuple(sorted(names - set(operations))))


def _table(which: str, seed: int) -> Table:
    if which in tables.SYNTHETIC_KINDS:
        return tables.synthetic(seed, which)
    name, _, part = which.partition(", ")
    folder, *operations = name.split()
    whole = tables.recorded(folder, tuple(operations))
    return tables.half(whole, seed) if part == "half" else whole


def _repetition(job: Job) -> Sweep:
    which, name, at_once, seed = job
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    np.random.seed(seed)  # Ray draws a trial's bracket from the global generator
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        return sweep(_table(which, seed), name, at_once, seed, Path(folder))


def main() -> None:
    """Run every tuner on every table, add every sweep to the raw figures as it ends, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--tables", nargs="+", default=["modular-23", "synthetic"])
    parser.add_argument("--tuners", nargs="+", default=list(TUNERS))
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=FIGURES / "search.jsonl", help="sweeps in it are not run again")
    asked = parser.parse_args()
    rows = read(asked.output) if asked.output.exists() else []
    known = {(row["table"], row["tuner"], row["at_once"], row["seed"]) for row in rows}
    jobs = [
        job
        for seed in range(asked.repetitions)
        for table in asked.tables
        for at_once in asked.at_once
        for tuner in asked.tuners
        if (job := (table, tuner, at_once, seed)) not in known
    ]
    with (
        ProcessPoolExecutor(asked.processes, mp_context=get_context("forkserver")) as pool,
        asked.output.open("a") as raw,
    ):
        for row in map(asdict, pool.map(_repetition, jobs)):
            raw.write(json.dumps(row) + "\n")
            raw.flush()
            rows.append(row)
    print(summary(rows))


if __name__ == "__main__":
    main()
