"""Kill sweeps of `stop: thaw` at random instants, and check that nothing is lost and no outcome changes.

    python -m benchmarks.chaos_thaw --folder NEW --where ray --driver 10 --worker 5
    python -m benchmarks.chaos_thaw --folder NEW --where here --driver 10

Which trials pause and which are dropped depends on when they are looked at, so there is no undisturbed sweep to compare
with. Instead every finished trial is trained again, in the two stages of `thaw` and without a pause, and its curves
must be equal to the last bit. The best of all configurations, which a sweep of the whole grid finds, must be finished.
"""

import argparse
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos import FIGURES, Fire, Sweep, run_to_the_end, studied, summary, under_fire
from sweeper.config.loading import load
from sweeper.results.decisions import Decisions
from sweeper.results.query import query
from sweeper.training.train import train
from sweeper.trial import Assignment, join

QUESTION = """\
name: chaos
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 23, train_fraction: 0.7}
objective: {until: val_accuracy > 0.9, horizon: 1000, evaluate_every: 10, replicates: 3}
search:
  batch.max: {choice: [32, 64, 128]}
  weight_decay: {choice: [0.3, 1.0]}
  learning_rate: {choice: [2.0e-3, 4.0e-3]}
fixed: {width: 48, heads: 4, depth: 1, warmup_steps: 10}
sampler: {name: gp, seed: SEED, startup_trials: 8}
stop: RULE
budget: {trials: 12}
resources: {cpu: 1}
"""

STAGES = ((0,), (1, 2))
"""Replicates that train together."""


def question(rule: str, seed: int) -> str:
    """The space under a rule."""
    return QUESTION.replace("RULE", rule).replace("SEED", str(seed))


def changed(sweep: Sweep) -> list[str]:
    """What of the finished trials is otherwise when they are trained again."""
    spec = load(sweep.folder.space).spec
    with studied(sweep) as study:
        settings = {each.number: each.settings for each in study.opened()}
    found = []
    for number in sweep.finished():
        columns = join(
            [
                chunk
                for stage in STAGES
                for chunk in train(Assignment(number, settings[number], spec.task, spec.objective, stage, 1.0))
            ]
        )
        names = [name for name in columns if name != "seconds"]
        sql = f"SELECT {', '.join(names)} FROM curves WHERE trial = {number} ORDER BY replicate, step"
        order = np.lexsort((columns["step"], columns["replicate"]))
        kept = query(sweep.folder, sql).to_pylist()
        again = {name: np.asarray(columns[name])[order] for name in names}
        for name, values in again.items():  # tables hold single precision
            there = np.array([row[name] for row in kept])
            single = (lambda each: each.astype(np.float32)) if values.dtype.kind == "f" else (lambda each: each)
            found += [f"trial {number}: {name} differs"] * (not np.array_equal(single(values), single(there)))
    return found


def judged(fire: Fire, sweep: Sweep, best: dict[str, Any]) -> Fire:
    """With what came of the finished sweep."""
    different = changed(sweep)
    fire.changed = len(different)
    row = query(
        sweep.folder,
        f"SELECT state FROM trials WHERE batch_max = {best['batch_max']}"
        f" AND weight_decay = {best['weight_decay']} AND learning_rate = {best['learning_rate']}",
    ).to_pylist()
    if [each["state"] for each in row] != ["finished"]:
        different.append(f"the best, trial {best['trial']} of the grid, came out as {row}")
        fire.lost += 1
    kept = ("decisions.jsonl", "checkpoints/")  # of trials that a larger budget would continue
    fire.leftovers = [each for each in sweep.leftovers() if not each.startswith(kept)]
    pauses = sum(each.kind == "paused" for each in Decisions(sweep.folder).read())
    print(f"{sweep.root.name}: {pauses} pauses; {json.dumps(asdict(fire))} {'; '.join(different)}", flush=True)
    return fire


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", type=int, default=10, help="kills of a driver")
    parser.add_argument("--worker", type=int, default=0, help="kills of a worker, on Ray")
    parser.add_argument("--each", type=int, default=5, help="kills in one sweep, at most")
    parser.add_argument("--where", choices=["ray", "here"], default="ray", help="here: in one process, without Ray")
    parser.add_argument("--longest", type=float, default=25.0, help="seconds before a kill, at most")
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the sweeps")
    parser.add_argument("--write", action="store_true", help=f"add to {FIGURES.name}")
    asked = parser.parse_args()
    chance, total = random.Random(0), Fire()
    grid = Sweep(asked.folder / "grid", "here", question=question("none", 0))
    run_to_the_end(grid)
    best = min(grid.finished().values(), key=lambda row: row["value"])
    print(f"the best of {len(grid.finished())}: {best['trial']}, value {best['value']:.4f}", flush=True)
    for kind in ("driver", "worker"):
        while (done := total.kills.get(kind, 0)) < getattr(asked, kind):
            kills = [kind] * min(asked.each, getattr(asked, kind) - done)
            sweep = Sweep(asked.folder / f"{kind}-{done}", asked.where, question=question("thaw", total.launches))
            total.add(judged(under_fire(sweep, kills, asked.longest, chance), sweep, best))
    figures = {f"thaw, {asked.where}": summary(total)}
    print(json.dumps(figures, indent=1))
    if asked.write:
        before = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        FIGURES.write_text(json.dumps(before | figures, indent=1) + "\n")
    sys.exit(0 if total.clean else 1)


if __name__ == "__main__":
    main()
