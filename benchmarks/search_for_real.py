"""Real sweeps to the same quality: `stop: thaw`, `stop: cap`, and plain Ray Tune with OptunaSearch and ASHA.

Every sweep trains x + y mod 31 as the quickstart does, with the same training function, on as many places, for as many
minutes. Its incumbent is the configuration with the least mean time of those all of whose three seeds are over. The
least of many such means is a lucky one, so every configuration that was an incumbent is then trained on ten fresh
seeds: these say when a sweep's incumbent was within 5, 10 and 20 % of the best of any sweep. Beside it: which share of
the training time pausing cost.

    python -m benchmarks.search_for_real --folder /tmp/sweeps --write
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.config.loading import Loaded, load
from sweeper.config.reader import text_of
from sweeper.results.decisions import Decisions
from sweeper.stats import objective
from sweeper.stats.trial_watch import TrialWatch
from sweeper.trial import Assignment, Chunk

SPACE = Path("search_spaces/thaw.yaml")
FIGURES = Path("benchmarks/figures/search_for_real.json")
WITHIN = (1.05, 1.1, 1.2)
NEAR = 1.3
"""Incumbents that are slower than so many times the fastest are not trained again, but the last of each sweep is."""
FRESH = range(100, 110)
"""Seeds that no sweep has trained."""
RULES = {"thaw": ["stop=thaw", "sampler.name=gp"], "cap": ["stop=cap", "sampler.name=tpe", "sampler.startup_trials=8"]}
RAY = "OptunaSearch + ASHA"
GRACE = 1 / 16
"""First rung of ASHA, in horizons, as in `benchmarks.search`."""


def counted(log: Path, assignment: Assignment) -> Iterator[Chunk]:
    """The product's training, which notes when how many updates were trained."""
    from sweeper.training.train import train  # noqa: PLC0415  # torch takes seconds to import

    for chunk in train(assignment):
        with open(log, "a") as file:
            file.write(json.dumps([time.time(), len(chunk) * assignment.objective.evaluate_every]) + "\n")
        yield chunk


def question(folder: Path, seed: int, settings: list[str]) -> Loaded:
    """The space, with a seed and no confirmations: they are no part of the search."""
    where = [f"results={folder / 'results'}", f"sampler.seed={seed}", "confirm=null", "baselines={}"]
    return load(SPACE, [*where, *settings])


def ours(rule: str, folder: Path, seed: int, minutes: float, places: int) -> dict[str, Any]:
    """`sweeper launch`: what it found when, and of `thaw` what pausing cost."""
    from rich.console import Console  # noqa: PLC0415  # each side imports what it needs

    from sweeper.results.query import query  # noqa: PLC0415
    from sweeper.runners.ray_tune import RayTune  # noqa: PLC0415
    from sweeper.sweep.launch import launch  # noqa: PLC0415
    from sweeper.sweep.options import LaunchOptions  # noqa: PLC0415

    overrides = [*RULES[rule], f"budget={json.dumps({'hours': minutes / 60})}"]
    loaded = question(folder, seed, overrides)
    (folder / "space.yaml").write_text(text_of(loaded.document))
    with RayTune(1, 0, logical={"num_cpus": places}), open(os.devnull, "w") as away:
        began = time.time()
        train = partial(counted, folder / "updates")
        kept = launch(folder / "space.yaml", options=LaunchOptions(console=Console(file=away), train=train))
        ended = time.time()
    rows = query(kept, "SELECT *, epoch_us(finished) / 1e6 AS ended FROM trials ORDER BY ended").to_pylist()
    names = {key: key.replace(".", "_") for key in loaded.space.parameters}
    found = [
        (row["ended"] - began, row["rmst"], {key: row[name] for key, name in names.items() if row[name] is not None})
        for row in rows
        if row["state"] == "finished"
    ]
    cost = pausing(Decisions(kept)) if rule == "thaw" else None
    return {"found": found, "began": began, "seconds": ended - began, "trials": len(rows), "pausing": cost}


def pausing(decisions: Decisions) -> dict[str, Any]:
    """What pausing cost, over seconds of training.

    That is the seconds from a pause within a stage until its place trains again, and those in which paused trials start
    again. A trial that waits between its stages hands its place over as one that ends does under any rule.
    """
    asked: int | None = None
    again: set[int] = set()
    resumed: dict[int, bool] = {}
    resumes = pauses = between = 0
    waited = starting = trained = 0.0
    left: list[tuple[float, bool]] = []
    for each in decisions.read():
        if each.kind == "chosen":
            asked = each.trial
        elif each.kind == "trains" and each.trial is not None:
            resumed[each.trial] = each.trial in again
            if left:
                since, within = left.pop(0)
                waited += (each.at - since) * within
        elif each.kind in ("paused", "over") and each.trial is not None:
            trained += each.trained or 0.0
            if resumed.get(each.trial, False):
                resumes, starting = resumes + 1, starting + (each.started or 0.0)
            if each.kind == "paused":
                within = asked == each.trial
                pauses, between = pauses + within, between + (not within)
                (again.add if within else again.discard)(each.trial)
                left.append((each.at, within))
            asked = None
    return {
        "pauses": pauses,
        "resumes": resumes,
        "waits between stages": between,
        "seconds of handing over": waited,
        "seconds of starting again": starting,
        "seconds of training": trained,
        "share": (waited + starting) / trained if trained else math.nan,
    }


def theirs(folder: Path, seed: int, minutes: float, places: int) -> dict[str, Any]:
    """Plain Ray Tune: OptunaSearch minimises the mean time of three seeds, ASHA stops by mean validation accuracy."""
    from sweeper.runners import ray_tune  # noqa: I001, PLC0415  # sets Ray's environment as ours has it: loggers off
    from ray import tune  # noqa: PLC0415
    from ray.tune.schedulers import AsyncHyperBandScheduler  # noqa: PLC0415
    from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415

    loaded = question(folder, seed, [])
    asked = loaded.spec.objective
    space = {
        "batch.shape": tune.choice(["constant", "linear", "geometric", "doubling"]),
        "batch.min": tune.lograndint(16, 65),
        "batch.max": tune.lograndint(48, 129),
        "weight_decay": tune.loguniform(0.5, 1.0),
        "depth": tune.randint(1, 3),
        "heads": tune.choice([2, 4, 8]),
    }

    class Trial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            values = dict(new_config)
            low = values.pop("batch.min")
            if values["batch.shape"] != "constant":
                values["batch.min"] = min(low, values["batch.max"])
            self._values = values
            settings = loaded.space.settings(values)
            seeds = tuple(range(asked.replicates))
            whole = Assignment(0, settings, loaded.spec.task, asked, seeds, loaded.spec.resources.cpu)
            self._chunks = counted(folder / "updates", whole)
            self._watch = TrialWatch(loaded.spec.task.operations, seeds, asked.watch, asked.minimize)
            return True

        def step(self) -> dict[str, Any]:
            chunk = next(self._chunks, None)
            if chunk is not None:
                self._watch.see(chunk.columns)
            over = chunk is None or chunk.last
            seen = self._watch.observations
            mean = float(np.mean([objective.rmst(each, loaded.spec.limit()).mean for each in seen.values()]))
            if over:
                with open(folder / "found", "a") as file:
                    file.write(json.dumps([time.time(), mean, self._values]) + "\n")
            step = asked.horizon if over else self._watch.slowest_step or asked.horizon
            return {"steps": mean, "score": self._watch.score, "step": step, "done": over}

    asha = AsyncHyperBandScheduler(
        time_attr="step", metric="score", mode="max", max_t=asked.horizon, grace_period=round(GRACE * asked.horizon)
    )
    with ray_tune.RayTune(1, 0, logical={"num_cpus": places}):
        began = time.time()
        tuned = tune.Tuner(
            tune.with_resources(Trial, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(metric="steps", mode="min", seed=seed),
                scheduler=asha,
                num_samples=-1,
                time_budget_s=60 * minutes,
                max_concurrent_trials=places,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="plain",
                storage_path=str(folder),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        ended = time.time()
    found = [(at - began, mean, values) for at, mean, values in lines(folder / "found")]
    return {"found": found, "began": began, "seconds": ended - began, "trials": len(tuned), "pausing": None}


def lines(path: Path) -> list[list[Any]]:
    """The records of a file, by their time; none where there is no file."""
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sorted(records, key=lambda each: each[0])


def one(name: str, folder: Path, seed: int, minutes: float, places: int) -> dict[str, Any]:
    """One sweep in this process: its incumbents as [seconds, updates so far, mean of three seeds, configuration]."""
    side = theirs if name == RAY else partial(ours, name)
    got = side(folder, seed, minutes, places)
    updates = np.array([[at - got["began"], count] for at, count in lines(folder / "updates")])
    course: list[list[Any]] = []
    for at, mean, values in got.pop("found"):
        if not course or mean < course[-1][2]:
            course.append([at, float(updates[updates[:, 0] <= at, 1].sum()), mean, values])
    del got["began"]
    return {"tuner": name, "seed": seed, "updates": float(updates[:, 1].sum()), "course": course, **got}


def measured(values: dict[str, Any], folder: Path) -> float:
    """Mean time of a configuration on fresh seeds; kept in the folder."""
    from sweeper.training.train import train  # noqa: PLC0415  # torch takes seconds to import

    loaded = question(folder, 0, [])
    kept = folder / "fresh.jsonl"
    known: dict[str, float] = {json.dumps(each, sort_keys=True): mean for _, each, mean in lines(kept)}
    name = json.dumps(values, sort_keys=True)
    if name not in known:
        settings, asked = loaded.space.settings(values), loaded.spec.objective
        seeds = tuple(FRESH)
        watch = TrialWatch(loaded.spec.task.operations, seeds, asked.watch, asked.minimize)
        for chunk in train(Assignment(0, settings, loaded.spec.task, asked, seeds, 1)):
            watch.see(chunk.columns)
        means = [objective.rmst(each, loaded.spec.limit()).mean for each in watch.observations.values()]
        with open(kept, "a") as file:
            file.write(json.dumps([time.time(), values, float(np.mean(means))]) + "\n")
        known[name] = float(np.mean(means))
    return known[name]


def summary(sweeps: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of each tuner until its incumbent was so good, by fresh seeds, and what pausing cost."""
    best = min((fresh for each in sweeps for *_, fresh in each["course"]), default=math.inf)
    found: dict[str, Any] = {"best": _finite(best), "tuners": {}}
    for name in dict.fromkeys(each["tuner"] for each in sweeps):
        mine = [each for each in sweeps if each["tuner"] == name]
        shares = [each["pausing"]["share"] for each in mine if each["pausing"]]
        last = [each["course"][-1][-1] / best for each in mine if each["course"]]
        found["tuners"][name] = {
            "sweeps": len(mine),
            "median updates in all": statistics.median(each["updates"] for each in mine),
            "last incumbents, to the best": sorted(round(each, 3) for each in last),
            "share of pausing": statistics.median(shares) if shares else None,
        }
        for within in WITHIN:
            times = [reached(each, within * best) for each in mine]
            found["tuners"][name][f"within {within - 1:.0%}"] = {
                "never": sum(math.isinf(seconds) for seconds, _ in times),
                "seconds": [_finite(round(seconds, 1)) for seconds, _ in times],
                "updates": [_finite(updates) for _, updates in times],
                "median seconds": _finite(statistics.median(seconds for seconds, _ in times)),
                "median updates": _finite(statistics.median(updates for _, updates in times)),
            }
    return found


def reached(sweep: dict[str, Any], target: float) -> tuple[float, float]:
    """Seconds and updates until the incumbent was within the target; infinite where none was."""
    there = [(seconds, updates) for seconds, updates, *_, fresh in sweep["course"] if fresh <= target]
    return min(there, default=(math.inf, math.inf))


def _finite(number: float) -> float | None:
    """The number; None for one that no sweep has come to, which JSON cannot say."""
    return number if math.isfinite(number) else None


def _finite_in(sweeps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sweeps as JSON can say them: None for an incumbent that was not trained again."""
    return [each | {"course": [[*known, _finite(fresh)] for *known, fresh in each["course"]]} for each in sweeps]


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a folder for the sweeps; finished ones are kept")
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10, help="of each sweep")
    parser.add_argument("--places", type=int, default=2, help="trials at once")
    parser.add_argument("--only", choices=[*RULES, RAY], help="one tuner")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    parser.add_argument("--one", nargs=2, metavar=("TUNER", "SEED"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, seed = asked.one
        print(json.dumps(one(name, asked.folder, int(seed), asked.minutes, asked.places)))
        return
    found = []
    for seed in range(asked.sweeps):
        for name in [asked.only] if asked.only else [*RULES, RAY]:
            found.append(apart(name, seed, asked))
            print(name, seed, [[round(at), mean] for at, _, mean, _ in found[-1]["course"]], flush=True)
    least = min((mean for each in found for _, _, mean, _ in each["course"]), default=math.inf)
    for each in found:
        for incumbent in each["course"]:
            near = incumbent is each["course"][-1] or incumbent[2] <= NEAR * least
            incumbent.append(measured(incumbent[-1], asked.folder) if near else math.inf)
    print(json.dumps(summary(found), indent=1), flush=True)
    if asked.write:
        about = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "minutes": asked.minutes}
        FIGURES.write_text(
            json.dumps(about | {"places": asked.places} | summary(found) | {"sweeps": _finite_in(found)}) + "\n"
        )


def apart(name: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """A sweep in a process of its own; of one that is there already, what it gave."""
    folder = asked.folder.absolute() / f"{name.replace(' ', '')}-{seed}"
    kept = folder / "result.json"
    if not kept.exists():
        folder.mkdir(parents=True)
        command = [
            sys.executable,
            "-m",
            "benchmarks.search_for_real",
            "--folder",
            str(folder),
            "--one",
            name,
            str(seed),
        ]
        command += ["--minutes", str(asked.minutes), "--places", str(asked.places)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        kept.write_text(done.stdout.splitlines()[-1])
    result: dict[str, Any] = json.loads(kept.read_text())
    return result


if __name__ == "__main__":
    main()
