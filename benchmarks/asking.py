"""How long it takes to be given the next configuration: `python -m benchmarks.asking`.

A real study with its journal on disk, over the space of search_spaces/everything.yaml, with made-up values; the time of
`suggest` alone, decoding, identity and the journal's record included. Optuna's own TPE with its journal beside it, and
what freeze-thaw takes to choose among paused trials and new configurations.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import optuna

from benchmarks.search_figures import FIGURES
from sweeper.config.loading import load
from sweeper.config.model import Sampler
from sweeper.search.curves import Curve
from sweeper.search.event_gp import Places
from sweeper.search.study import Proposal, Study
from sweeper.search.thaw import Replicate, Thaw
from sweeper.stats import capping

SPACE = Path(__file__).parent.parent / "search_spaces" / "everything.yaml"
ASKS = 25
PAUSED = 100
_Asked = TypeVar("_Asked")


def ours(name: Literal["tpe", "gp"], finished: int, folder: Path) -> list[float]:
    """Milliseconds of each of the next suggestions of a study with so many finished trials."""
    space, rng = load(SPACE).space, np.random.default_rng(0)
    places = capping.places_that_matter(finished + ASKS, 3)
    filling = Study(folder / "study.journal", space, Sampler(name="random"), places)
    for _ in range(finished):
        proposal = filling.suggest()
        if proposal is not None:
            filling.tell(proposal.number, rng.normal())
    study = Study(folder / "study.journal", space, Sampler(name=name), places)

    def tell(proposal: Proposal | None) -> None:
        if proposal is not None:
            study.tell(proposal.number, rng.normal())

    return _milliseconds(study.suggest, tell)


def thaw(finished: int, folder: Path) -> list[float]:
    """Milliseconds of each of the next choices of freeze-thaw: one trial in ten has all its seeds, 100 are paused."""
    rng, dimensions, seeds = np.random.default_rng(0), 7, 3
    known = Thaw(lambda cells: Places(cells, np.arange(dimensions)), seeds)

    def curve(number: int, marks: int) -> Curve:
        return Curve(number, rng.normal(size=(marks, 30)), np.log(10.0 + np.arange(marks)))

    for number in range(finished):
        paused = number < PAUSED
        known.open(number, rng.uniform(size=dimensions))
        times = rng.normal(5, 0.3, seeds if number % 10 == 0 and not paused else 1)
        known.see(number, [Replicate(not paused, each, curve(number, 5 if paused else 12)) for each in times])
    trials = itertools.count(finished)

    def see(_: int | None) -> None:
        number = next(trials)
        known.open(number, rng.uniform(size=dimensions))
        known.see(number, [Replicate(True, rng.normal(5, 0.3), curve(number, 12))])

    return _milliseconds(lambda: known.choose(range(PAUSED), [], rng.uniform(size=(512, dimensions))), see)


def plain(finished: int, folder: Path) -> list[float]:
    """The same of Optuna's TPE with its defaults and a journal file."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal")))
    distributions = {
        "shape": optuna.distributions.CategoricalDistribution(list("abcdef")),
        "min": optuna.distributions.IntDistribution(16, 256, log=True),
        "max": optuna.distributions.IntDistribution(64, 1024, log=True),
        "cycles": optuna.distributions.IntDistribution(1, 8),
        "decay": optuna.distributions.FloatDistribution(0.01, 0.1, log=True),
        "depth": optuna.distributions.IntDistribution(1, 4),
        "heads": optuna.distributions.CategoricalDistribution([1, 2, 4, 8]),
    }
    rng = np.random.default_rng(0)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, study_name="plain")
    for _ in range(finished):
        study.tell(study.ask(distributions), rng.normal())
    study = optuna.load_study(storage=storage, sampler=optuna.samplers.TPESampler(seed=0), study_name="plain")
    return _milliseconds(partial(study.ask, distributions), lambda trial: study.tell(trial, rng.normal()))


def _milliseconds(ask: Callable[[], _Asked], tell: Callable[[_Asked], object]) -> list[float]:
    """Processor time that each of the next asks takes, so that other load does not count; telling is not timed."""
    times = []
    for _ in range(ASKS):
        begun = time.process_time()
        asked = ask()
        times.append(1000 * (time.process_time() - begun))
        tell(asked)
    return times


MEASURED: dict[str, Callable[[int, Path], list[float]]] = {
    "sweeper, tpe": partial(ours, "tpe"),
    "sweeper, gp": partial(ours, "gp"),
    "sweeper, thaw": thaw,
    "Optuna TPE": plain,
}


def main() -> None:
    """Print medians and write every time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--who", nargs="+", choices=list(MEASURED), default=list(MEASURED))
    parser.add_argument("--output", type=Path, default=FIGURES / "asking.json")
    asked = parser.parse_args()
    rows = json.loads(asked.output.read_text()) if asked.output.exists() else []
    rows = [row for row in rows if row["who"] not in asked.who or row["finished"] not in asked.finished]
    for finished in asked.finished:
        for name, measure in ((name, MEASURED[name]) for name in asked.who):
            with tempfile.TemporaryDirectory() as folder:
                times = measure(finished, Path(folder))
            rows.append({"who": name, "finished": finished, "milliseconds": [round(each, 2) for each in times]})
            spread = f"{min(times):.1f} to {max(times):.1f}"
            print(f"{name:13s} {finished:6d} finished: median {np.median(times):6.1f} ms, {spread}")
    asked.output.write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
