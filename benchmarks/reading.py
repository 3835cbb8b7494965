"""How long questions take: a made-up record of 10,000 trials, 3 runs each, 750 evaluations a run.

    python -m benchmarks.reading --folder NEW --write      # about 15 minutes; keeps figures/reading.json

The record is written by the sweep's own writer and read by what the commands call: leaderboard, SQL and the report,
each five times in a process of its own, with and without what is imported for it; medians. Curves are sigmoids at a
time that depends on the configuration, with noise.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.config.loading import load
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.results.schema import tables
from sweeper.results.summary import summarise, trial_row
from sweeper.results.writer import Writer
from sweeper.space.hyperparameters import Hyperparameters, canonical_form, from_flat, identity
from sweeper.stats.events import FINISHED
from sweeper.trial import Assignment

FIGURES = Path(__file__).parent / "figures" / "reading.json"
HORIZON, EVERY = 7500, 10
QUESTION = """\
name: many
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 97}
objective: {until: val_accuracy > 0.99, horizon: 7500, evaluate_every: 10, replicates: 3}
search:
  batch.shape: {choice: [constant, linear, geometric, logarithmic, cosine, cyclic]}
  batch.min: {int: [16, 128], log: true, when: batch.shape != constant}
  batch.max: {int: [128, 1024], log: true}
  weight_decay: {float: [0.01, 1.0], log: true}
  depth: {int: [1, 4]}
  heads: {choice: [1, 2, 4, 8]}
baselines:
  published: {batch.shape: constant, batch.max: 512, weight_decay: 0.5, depth: 2, heads: 4}
stop: none
budget: {trials: 10000}
"""
SHAPES = ("constant", "linear", "geometric", "logarithmic", "cosine", "cyclic")
MEAN_CURVES = """
    SELECT batch_shape, step, avg(val_accuracy) AS accuracy, stddev_samp(val_accuracy) / sqrt(count(*)) AS error
    FROM curves JOIN trials USING (trial) GROUP BY batch_shape, step ORDER BY batch_shape, step
"""
QUESTIONS = {
    "leaderboard": (
        "from sweeper.report.leaderboard import leaderboard; from sweeper.config.loading import load",
        "leaderboard(folder, load(folder.space).spec, 10)",
    ),
    "mean curve of each schedule shape": (
        "from sweeper.results.query import frame",
        f"assert len(frame(folder, '''{MEAN_CURVES}''')) == 4500",
    ),
    "report": (
        "from sweeper.report import page; from sweeper.report.document import account",
        "page.write(account(folder), folder.report)",
    ),
}
"""Name -> what is imported, and what is asked."""


def settings_of(trial: int) -> Hyperparameters:
    """A configuration drawn at random; trial 0 is the baseline."""
    chance = np.random.default_rng(trial)
    shape = SHAPES[int(chance.integers(len(SHAPES)))]
    flat: dict[str, Any] = {
        "batch.shape": shape,
        "batch.max": int(2 ** chance.uniform(7, 10)),
        "weight_decay": float(10 ** chance.uniform(-2, 0)),
        "depth": int(chance.integers(1, 5)),
        "heads": int(2 ** chance.integers(0, 4)),
    }
    if shape != "constant":
        flat["batch.min"] = int(2 ** chance.uniform(4, 7))
    if trial == 0:
        flat = {"batch.shape": "constant", "batch.max": 512, "weight_decay": 0.5, "depth": 2, "heads": 4}
    return canonical_form(from_flat(flat), HORIZON)


def curves_of(trial: int, settings: Hyperparameters) -> dict[str, Any]:
    """Every evaluation of its three runs, up to the horizon: after its event a run stays where it is."""
    chance = np.random.default_rng(1_000_000 + trial)
    step = np.arange(EVERY, HORIZON + 1, EVERY)
    away = abs(np.log(settings.weight_decay / 0.5)) + abs(settings.depth - 2) / 2 + abs(settings.heads - 4) / 8
    jumps = 1800 * (1 + away) * chance.lognormal(0, 0.15, 3)
    height = 1 / (1 + np.exp(-(step[None] - jumps[:, None]) / 150))
    rows = 3 * len(step)
    noise = chance.normal(0, 0.003, (3, len(step)))
    accuracy = np.clip(0.01 + 0.99 * height + noise, 0, 1).astype(np.float32).ravel()
    trained = np.broadcast_to(1 / (1 + np.exp(-(step - 300) / 40)), (3, len(step))).astype(np.float32).ravel()
    norm = (60 - 20 * height + noise).astype(np.float32).ravel()
    steps = np.tile(step, 3)
    return {
        "operation": np.full(rows, "x_plus_y"),
        "replicate": np.repeat([0, 1, 2], len(step)),
        "step": steps,
        "examples": steps * settings.batch.max,
        "seconds": steps / 500,
        "val_accuracy": accuracy,
        "val_loss": -np.log(np.clip(accuracy, 1e-3, 1)),
        "train_accuracy": trained,
        "train_loss": -np.log(np.clip(trained, 1e-3, 1)),
        "batch_size": np.full(rows, settings.batch.max),
        "learning_rate": np.full(rows, 1e-3),
        "gradient_norm": norm / 50,
        "weight_norm": norm,
        "weight_norm_embedding": norm / 2,
        "weight_norm_head": norm / 4,
        "last_layer_norm": norm / 5,
        "weight_norm_blocks": np.tile(norm[:, None], (1, settings.depth)),
        "saturated": np.zeros(rows),
    }


def make(folder: SweepFolder, trials: int) -> float:
    """Write the record. Returns the seconds that it took."""
    folder.root.mkdir(parents=True)
    write_text(folder.space, QUESTION)
    spec = load(folder.space).spec
    writer, began, clock = Writer(folder, {}, tables(spec.task)), datetime(2026, 1, 1, tzinfo=UTC), time.perf_counter()
    for trial in range(trials):
        settings = settings_of(trial)
        columns = curves_of(trial, settings)
        started = began + timedelta(seconds=15 * (trial // 4))
        summary = summarise(
            Assignment(trial, settings, spec.task, spec.objective, (0, 1, 2), 1.0),
            columns=columns,
            ending=FINISHED,
            limit=HORIZON,
            started=started,
            finished=started + timedelta(seconds=14),
            seconds=14.0,
            device="made up",
        )
        phase, name = ("search", "") if trial else ("baseline", "published")
        row = trial_row(
            summary,
            phase=phase,
            name=name,
            identity=identity(settings, HORIZON),
            settings=settings,
            known=spec.task.hyperparameters,
        )
        writer.put(columns, [run.row for run in summary.runs], row)
        if trial % 500 == 0:
            print(f"{trial} of {trials} trials written, {time.perf_counter() - clock:.0f} s", flush=True)
    writer.close()
    return time.perf_counter() - clock


def asked(question: str, folder: SweepFolder) -> tuple[float, float]:
    """Seconds that a question takes in a process of its own, without and with what is imported for it."""
    imports, call = QUESTIONS[question]
    code = (
        "import time; began = time.perf_counter()\n"
        "from pathlib import Path; from sweeper.folder.layout import SweepFolder\n"
        f"{imports}\nfolder = SweepFolder(Path({str(folder.root)!r}))\nready = time.perf_counter()\n{call}\n"
        "print(time.perf_counter() - ready, time.perf_counter() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    alone, whole = map(float, done.stdout.split())
    return alone, whole


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the record is, or will be")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    given = parser.parse_args()
    folder = SweepFolder(given.folder / "many")
    if not folder.space.exists():
        print(f"written in {make(folder, given.trials):.0f} s", flush=True)
    tables = [path for path in folder.root.rglob("*.parquet") if path.is_file()]
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "trials": given.trials,
        "curve rows": given.trials * 3 * HORIZON // EVERY,
        "files": len(tables),
        "bytes": sum(path.stat().st_size for path in tables),
        "seconds": {},
    }
    for question in QUESTIONS:
        seconds = [asked(question, folder) for _ in range(given.repeats)]
        medians = [statistics.median(each) for each in zip(*seconds, strict=True)]
        found["seconds"][question] = dict(zip(("alone", "with imports"), medians, strict=True)) | {"all": seconds}
        print(f"{question}: {seconds}", flush=True)
    if folder.report.exists():
        found["report page, bytes"] = (folder.report / "index.html").stat().st_size
    print(json.dumps(found, indent=1))
    if given.write:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
