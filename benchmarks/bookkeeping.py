"""What it costs to keep the books: trials that train nothing, by the thousand.

    python -m benchmarks.bookkeeping --folder NEW --write        # about 40 minutes; keeps figures/bookkeeping.json

Rates: `sweeper launch` on Ray Tune with TPE, every trial's curve, runs and row durable in Parquet and in Optuna's
journal, against plain Ray Tune with OptunaSearch, reused actors and its loggers off, which keeps nothing. Both in one
run, one after the other, in processes of their own; medians. Memory: what the driver holds after 1,000 and after 10,000
trials. Rows: how many evaluations a second one writer makes durable.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.trial import Assignment, Chunk

FIGURES = Path(__file__).parent / "figures" / "bookkeeping.json"
PLACES = 2
HORIZON = 10_000
QUESTION = """\
name: bookkeeping
task: {{name: modular_arithmetic, operation: x_plus_y, modulus: 31}}
objective: {{horizon: {horizon}, evaluate_every: 1, replicates: 1}}
search:
  batch.shape: {{choice: [constant, linear, geometric]}}
  batch.min: {{int: [16, 256], log: true, when: batch.shape != constant}}
  batch.max: {{int: [256, 1024], log: true}}
  weight_decay: {{float: [0.01, 0.1], log: true}}
  learning_rate: {{float: [1.0e-4, 1.0e-2], log: true}}
  depth: {{int: [1, 4]}}
  heads: {{choice: [1, 2, 4, 8]}}
sampler: {{name: {sampler}}}
budget: {{trials: {trials}}}
results: {results}
"""
_METRICS = ("val_loss", "train_accuracy", "train_loss", "learning_rate", "gradient_norm", "weight_norm")
_NORMS = ("weight_norm_embedding", "weight_norm_head", "last_layer_norm", "saturated")


def steps_of(decay: float, rate: float, depth: int, heads: int) -> int:
    """A made-up landscape, so that the samplers have something to learn."""
    away = abs(np.log(decay / 0.05)) + abs(np.log(rate / 1e-3)) + abs(depth - 2) / 2 + abs(heads - 4) / 4
    return int(500 * (1 + away))


def nothing(assignment: Assignment) -> Iterator[Chunk]:
    """A training function that trains nothing: one evaluation a run, past the threshold."""
    s = assignment.settings
    rows = len(assignment.replicates)
    step = np.full(rows, steps_of(s.weight_decay, s.learning_rate, s.depth, s.heads))
    yield Chunk(evaluations(np.array(assignment.replicates), step, np.ones(rows), s.depth), "none", last=True)


def evaluations(replicate: Any, step: Any, accuracy: Any, depth: int) -> dict[str, Any]:
    """Columns of a curve with made-up numbers."""
    rows = len(step)
    number = np.linspace(0.1, 1.0, rows)
    return {
        "operation": np.full(rows, "x_plus_y"),
        "replicate": replicate,
        "step": step,
        "examples": step * 64,
        "seconds": step / 100,
        "val_accuracy": accuracy,
        **dict.fromkeys((*_METRICS, *_NORMS), number),
        "batch_size": np.full(rows, 64),
        "weight_norm_blocks": np.tile(number[:, None], (1, depth)),
    }


def ours(folder: Path, trials: int, sampler: str) -> dict[str, Any]:
    """`sweeper launch`: seconds, and what the driver held while it went on."""
    from rich.console import Console  # noqa: PLC0415  # each side imports what it needs

    from sweeper.runners.ray_tune import RayTune  # noqa: PLC0415
    from sweeper.sweep.launch import launch  # noqa: PLC0415
    from sweeper.sweep.options import LaunchOptions  # noqa: PLC0415

    folder.mkdir(parents=True)
    space = folder / "space.yaml"
    space.write_text(QUESTION.format(horizon=HORIZON, sampler=sampler, trials=trials, results=folder / "results"))
    with RayTune(1, 0, logical={"num_cpus": PLACES}), open(os.devnull, "w") as away:
        began, memory = time.perf_counter(), Memory(folder / "results" / "bookkeeping")
        kept = launch(space, options=LaunchOptions(console=Console(file=away), train=nothing))
        seconds = time.perf_counter() - began
    files = sum(path.is_file() for path in kept.root.rglob("*"))
    return {"seconds": seconds, "memory": memory.stop(), "files": files}


def theirs(folder: Path, trials: int, sampler: str) -> dict[str, Any]:
    """Plain Ray Tune with OptunaSearch."""
    from sweeper.runners import ray_tune  # noqa: I001, PLC0415  # sets Ray's environment as ours has it: loggers off
    import ray  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415
    from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415

    class Nothing(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._config = new_config
            return True

        def step(self) -> dict[str, Any]:
            c = self._config
            return {"steps": steps_of(c["decay"], c["rate"], c["depth"], c["heads"]), "done": True}

    space = {
        "shape": tune.choice(["constant", "linear", "geometric"]),
        "min": tune.lograndint(16, 256),
        "max": tune.lograndint(256, 1024),
        "decay": tune.loguniform(0.01, 0.1),
        "rate": tune.loguniform(1e-4, 1e-2),
        "depth": tune.randint(1, 5),
        "heads": tune.choice([1, 2, 4, 8]),
    }
    with ray_tune.RayTune(1, 0, logical={"num_cpus": PLACES}):
        tuner = tune.Tuner(
            tune.with_resources(Nothing, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(metric="steps", mode="min", seed=0),
                metric="steps",
                mode="min",
                num_samples=trials,
                max_concurrent_trials=PLACES,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="plain",
                storage_path=str(folder),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        began = time.perf_counter()
        found = tuner.fit()
        seconds = time.perf_counter() - began
        assert len(found) == trials
        assert not found.errors
        assert ray.is_initialized()
    return {"seconds": seconds}


class Memory:
    """Watches this process's resident memory against the trials that are finished, from a thread."""

    def __init__(self, sweep: Path):
        self._journal, self._done = sweep / "study.journal", threading.Event()
        self._seen: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        place, told = 0, 0
        while not self._done.wait(0.5):
            if self._journal.exists():
                with open(self._journal, "rb") as journal:
                    journal.seek(place)
                    new = journal.read()
                whole = new.rfind(b"\n") + 1
                place += whole
                told += new[:whole].count(b'"state": 1') + new[:whole].count(b'"state":1')
                self._seen[told // 100 * 100] = resident()

    def stop(self) -> dict[int, float]:
        """Trials finished, in hundreds -> MiB."""
        self._done.set()
        self._thread.join()
        return self._seen


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def rows(folder: Path, trials: int, sampler: str) -> dict[str, Any]:
    """One writer, trials of 3 runs with 750 evaluations each: seconds until all are durable, and in whole parts."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from sweeper.config.model import Objective  # noqa: PLC0415
    from sweeper.folder.layout import SweepFolder  # noqa: PLC0415
    from sweeper.results.schema import tables  # noqa: PLC0415
    from sweeper.results.summary import summarise, trial_row  # noqa: PLC0415
    from sweeper.results.writer import Writer  # noqa: PLC0415
    from sweeper.space import hyperparameters  # noqa: PLC0415
    from sweeper.stats.events import FINISHED  # noqa: PLC0415
    from sweeper.tasks.modular_arithmetic import ModularArithmetic  # noqa: PLC0415

    kept = SweepFolder(folder / "rows")
    kept.root.mkdir(parents=True)
    task, objective = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y"), Objective(horizon=7500)  # type: ignore[arg-type]  # one operation is made a list
    settings = hyperparameters.Hyperparameters()
    assignment = Assignment(0, settings, task, objective, (0, 1, 2), 1.0)
    chance = np.random.default_rng(0)
    step = np.tile(np.arange(10, 7501, 10), 3)
    columns = evaluations(np.repeat([0, 1, 2], 750), step, chance.random(2250) * 0.9, settings.depth)
    columns |= {name: chance.random(2250) for name in (*_METRICS, *_NORMS)}
    now = datetime.now(UTC)
    summary = summarise(
        assignment, columns=columns, ending=FINISHED, limit=7500, started=now, finished=now, seconds=1.0, device="none"
    )
    row = trial_row(summary, phase="search", name="", identity="", settings=settings, known=task.hyperparameters)
    writer = Writer(kept, {}, tables(task))
    began = time.perf_counter()
    for number in range(trials):
        runs = [replace(run.row, trial=number) for run in summary.runs]
        writer.put(columns, runs, replace(row, trial=number))
        writer.fold_when_due()
    durable = time.perf_counter() - began
    writer.close()
    return {"seconds": durable, "with the last parts": time.perf_counter() - began, "rows": trials * len(step)}


SIDES: dict[str, Callable[[Path, int, str], dict[str, Any]]] = {"ours": ours, "theirs": theirs, "rows": rows}


def apart(side: str, folder: Path, trials: int, sampler: str = "tpe") -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bookkeeping", side, str(folder), str(trials), sampler]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{side} {trials} {sampler}: {found}", flush=True)
    return found


def main() -> None:
    """Parse and run."""
    if sys.argv[1:2] and sys.argv[1] in SIDES:
        side, folder, trials, sampler = sys.argv[1:]
        print(json.dumps(SIDES[side](Path(folder), int(trials), sampler)))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the sweeps")
    parser.add_argument("--trials", type=int, nargs="*", default=[400, 2000], help="for the rates")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--many", type=int, default=10_000, help="trials for the memory; 0: do not")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    asked = parser.parse_args()
    found: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rates": {}}
    for trials in asked.trials:
        runs: dict[str, list[float]] = {"ours": [], "theirs": []}
        for repeat in range(asked.repeats):
            for side, seconds in runs.items():
                seconds.append(apart(side, asked.folder / f"{side}-{trials}-{repeat}", trials)["seconds"])
        rates = {side: trials / statistics.median(seconds) for side, seconds in runs.items()}
        ratio = statistics.median(b / a for a, b in zip(runs["ours"], runs["theirs"], strict=True))
        found["rates"][trials] = {"seconds": runs, "trials a second": rates, "ours over theirs": ratio}
    written = [apart("rows", asked.folder / f"rows-{repeat}", 300) for repeat in range(asked.repeats)]
    found["rows"] = {"runs": written, "rows a second": statistics.median(w["rows"] / w["seconds"] for w in written)}
    if asked.many:
        found["many"] = apart("ours", asked.folder / "many", asked.many, "random")
    print(json.dumps(found, indent=1))
    if asked.write:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
