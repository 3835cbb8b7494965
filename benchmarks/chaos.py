"""Kill a sweep again and again at random instants, and check that nothing is lost.

    python -m benchmarks.chaos --folder NEW          # 50 kills of the driver, 10 of workers, raylets, GCS and nodes
    python -m benchmarks.chaos --folder NEW --driver 5 --worker 0 --raylet 0 --gcs 0 --node 0

NEW is a new folder with a short path. Workers, raylets and GCS are those of a launch on this machine; nodes are whole
workers of a cluster (`tests/fakes/nodes.py`), all of whose processes are killed at once, and another joins. A launch
that loses its raylet or its GCS is to say so in one sentence and to end with exit code 1.

A sweep of quick real trials on a fixed grid runs once undisturbed, then under fire: a process gets SIGKILL at a random
instant, files are torn as a crash may tear them, and the same command runs again, until the sweep is finished. From
the Parquet tables and Optuna's journal: every trial once, nothing that was finished trained again, every outcome and
curve equal to the undisturbed ones to the last bit, no process and no temporary file left.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from sweeper.config.loading import load
from sweeper.errors import RunnerError
from sweeper.folder.layout import SweepFolder
from sweeper.results.checkpoints import Checkpoints, DamagedError
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.trial import Assignment, Chunk
from tests.fakes.nodes import Nodes

if TYPE_CHECKING:
    from sweeper.search.study import Study

QUESTION = """\
name: chaos
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 31, train_fraction: 0.6}
objective: {until: train_accuracy > 0.15, horizon: 400, evaluate_every: 10, replicates: 2}
search:
  batch.max: {choice: [16, 24, 32]}
  heads: {choice: [1, 2]}
fixed: {width: 64, depth: 1, learning_rate: 5.0e-4, warmup_steps: 5, weight_decay: 0.1}
baselines:
  published: {batch.max: 24, heads: 4}
sampler: {name: grid}
stop: none
confirm: {top: 1, replicates: 2}
budget: {trials: 7}
resources: {cpu: 1}
"""
LONGER = QUESTION.replace("horizon: 400", "horizon: 1000").replace("> 0.15", "> 1.5")
"""For nodes: every run trains to its horizon, so that there is time to lose one."""
FIGURES = Path(__file__).parent / "figures" / "chaos.json"
CLOCKS = ("seconds", "started", "finished", "retries")
_MARK = "SWEEPER_CHAOS"
_VICTIMS = {
    "driver": "benchmarks.chaos drive",
    "worker": "ray::ResourceTrainable",
    "raylet": "raylet/raylet",
    "gcs": "gcs/gcs_server",
}
_LAST_WORDS = re.compile(r"Ray (was lost: its (raylet|GCS) was killed by SIGKILL|does not start on this machine).*")
_RAYS_WORDS = re.compile(r"raylet\)|core_worker|\[20\d\d-\d\d-\d\d |\[state-dump\]|\*\*\* |Traceback")
_GONE_SECONDS = 90
"""Ray's agents of a killed raylet try to reach it for a minute before they end."""
_LONGEST_SECONDS = 20.0
"""A launch is killed at some instant up to here: while Ray starts, while workers import, while trials train."""


def traced(folder: Path, assignment: Assignment) -> Iterator[Chunk]:
    """Train as ever, and write down after every chunk which trial is at which step."""
    from sweeper.training.train import train  # noqa: PLC0415  # in the worker

    for chunk in train(assignment):
        with open(folder / f"{os.getpid()}.trace", "a") as file:
            file.write(f"{assignment.number} {chunk.columns['step'].max()}\n")
        yield chunk


def drive(space: Path, where: str) -> None:
    """One launch: what gets killed. `where` is `ray`, `here` or the address of a cluster."""
    options = LaunchOptions(
        where="here" if where == "here" else "ray",
        address=None if where in ("ray", "here") else where,
        console=Console(width=400),
        train=partial(traced, space.parent),
    )
    try:
        launch(space, options=options)
    except RunnerError as error:  # as on the command line
        print(error, flush=True)
        sys.exit(error.exit_code)


@dataclass
class Fire:
    """What was done to a sweep and what came of it.

    Attributes:
        kills: how often each kind of process was killed.
        lost, repeated, changed: finished trials that were gone, trained again or different from the undisturbed ones.
        redone: steps that each unfinished trial had to train once more after any other kill than a worker's.
        ended: seconds from the kill of a raylet or a GCS to the end of its launch.
        back: seconds from the new launch to the first chunk of training.
        detected, recovered: seconds from the loss of a node until its trial starts again, and until it trains again.
        said: what was wrong with the words or the exit codes of launches that lost their raylet or their GCS.
        orphans, leftovers: processes that outlived the sweep by 90 seconds, and files at the end that nobody needs.
    """

    kills: dict[str, int] = field(default_factory=dict)
    launches: int = 0
    lost: int = 0
    repeated: int = 0
    changed: int = 0
    redone: list[int] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    detected: list[float] = field(default_factory=list)
    recovered: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def add(self, other: "Fire") -> None:
        """Take in another sweep's."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            together = dict(Counter(mine) + Counter(theirs)) if each.name == "kills" else mine + theirs
            setattr(self, each.name, together)

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.repeated or self.changed or self.said or self.orphans or self.leftovers)


class Sweep:
    """A sweep that is launched in processes of their own, which can be found and killed."""

    def __init__(
        self, root: Path, where: str = "ray", environment: Mapping[str, str] = os.environ, question: str = QUESTION
    ):
        root.mkdir(parents=True)
        self.root, self._where, self._environment = root, where, environment
        self.space = root / "space.yaml"
        self.space.write_text(question + f"results: {root / 'results'}\n")
        self.folder = SweepFolder(root / "results" / "chaos")
        self._mark = uuid.uuid4().hex
        self.log = root / "launches.log"

    def start(self) -> "subprocess.Popen[bytes]":
        """Launch the sweep."""
        command = [sys.executable, "-m", "benchmarks.chaos", "drive", str(self.space), self._where]
        with open(self.log, "ab") as log:
            return subprocess.Popen(command, env={**self._environment, _MARK: self._mark}, stdout=log, stderr=log)

    def processes(self) -> dict[int, str]:
        """Pid -> command of every process that a launch of this sweep started, itself included."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if f"{_MARK}={self._mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended meanwhile
        return {pid: command for pid, command in found.items() if command}

    def victims(self, kind: str) -> list[int]:
        """The processes of a kind."""
        return [pid for pid, command in self.processes().items() if _VICTIMS[kind] in command]

    def wait_until_alone(self) -> list[str]:
        """Wait until no process of earlier launches is left. Returns the commands of those that do not end."""
        until = time.monotonic() + _GONE_SECONDS
        while self.processes() and time.monotonic() < until:
            time.sleep(0.1)
        left = self.processes()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return list(left.values())

    def table(self, name: str) -> pd.DataFrame:
        """A table as plain pandas reads it, without what a clock says."""
        keys = [key for key in ("trial", "operation", "replicate", "step") if name == "curves" or key != "step"]
        if not any(self.folder.table(name).glob("*.parquet")):
            return pd.DataFrame()
        found = pd.read_parquet(self.folder.table(name))
        return found.sort_values([key for key in keys if key in found], ignore_index=True)

    def finished(self) -> dict[int, dict[str, Any]]:
        """Trial -> row of every trial that ended for good."""
        found = self.table("trials")
        rows = found[found["state"] == "finished"].to_dict("records") if len(found) else []
        return {row["trial"]: row for row in rows}

    def traced(self) -> dict[int, int]:
        """Trial -> the last step that training had reached; forgets what it returns."""
        steps: dict[int, int] = {}
        for path in self.root.glob("*.trace"):
            for line in path.read_text().splitlines():
                number, step = map(int, line.split())
                steps[number] = max(step, steps.get(number, 0))
            path.unlink()
        return steps

    def lines(self) -> list[int]:
        """The trials that chunks came of, a number a chunk."""
        return [int(line.split()[0]) for path in self.root.glob("*.trace") for line in path.read_text().splitlines()]

    def notices(self) -> list[int]:
        """The trials that started again because their node was lost, in order."""
        return [int(number) for number in re.findall(r"trial (\d+) starts again: node lost", self.log.read_text())]

    def says_more_than(self, told: int) -> bool:
        """Whether more trials than so many have started again."""
        return len(self.notices()) > told

    def trains_more_than(self, number: int, chunks: int) -> bool:
        """Whether more than so many chunks came of a trial."""
        return self.lines().count(number) > chunks

    def kept(self, number: int) -> int:
        """The step of a trial's checkpoint; 0 without one, or with one that was torn and not yet written again."""
        try:
            checkpoint = Checkpoints(self.folder).load(number)
        except DamagedError:
            return 0
        return 0 if checkpoint is None or not checkpoint.columns else int(checkpoint.columns["step"].max())

    def leftovers(self) -> list[str]:
        """Files that a finished sweep should not have."""
        allowed = {"space.yaml", "provenance.json", "study.journal", "launch.lock", "status.json", "ray.log"}
        files = [path.relative_to(self.folder.root) for path in self.folder.root.rglob("*") if path.is_file()]
        return sorted(str(path) for path in files if path.suffix != ".parquet" and str(path) not in allowed)


def run_to_the_end(sweep: Sweep) -> None:
    """Launch once and wait."""
    code = sweep.start().wait()
    if code != 0:
        raise SystemExit(f"the launch ended with {code}:\n{sweep.log.read_text()[-3000:]}")


def tear(sweep: Sweep, chance: random.Random) -> None:
    """Leave files as a crash may leave them: half-written ones beside whole ones, a journal with half a record."""
    with open(sweep.folder.journal, "ab") as journal:
        journal.write(b'{"op_code": 4, "worker_id": "torn')
    for folder in ("trials", "curves", "checkpoints"):
        beside = sweep.folder.root / folder / f".part-{chance.randrange(99):05d}.parquet.partial"
        if beside.parent.exists():
            beside.write_bytes(chance.randbytes(1000))
    for path in list(sweep.folder.checkpoints.glob("*.npz"))[:1]:
        if chance.random() < 0.25:
            path.write_bytes(path.read_bytes()[: chance.randrange(1, 2000)])


def under_fire(sweep: Sweep, kills: list[str], longest: float, chance: random.Random) -> Fire:
    """Launch until the sweep is finished, with a kill at a random instant of each launch while there are any.

    Args:
        sweep: a new one.
        kills: kinds of processes to kill, one a launch; workers are killed without ending the launch.
        longest: the latest instant, in seconds after a launch.
        chance: where instants and victims come from.
    """
    fire, known = Fire(), {}
    queue = list(kills)
    while True:
        before = sweep.log.stat().st_size if sweep.log.exists() else 0
        began, process, killed_at = time.monotonic(), sweep.start(), 0.0
        fire.launches += 1
        instant, kind = chance.uniform(0.5, longest), queue.pop(0) if queue else ""
        heard = False
        while process.poll() is None:
            time.sleep(0.05)
            if not heard and any(sweep.root.glob("*.trace")):
                heard = True
                fire.back.append(time.monotonic() - began)
            if kind and time.monotonic() - began >= instant:
                victims = [process.pid] if kind == "driver" else sweep.victims(kind)
                if not victims:
                    continue  # not started yet
                os.kill(chance.choice(victims), signal.SIGKILL)
                fire.kills[kind] = fire.kills.get(kind, 0) + 1
                killed_at = time.monotonic() if kind in ("raylet", "gcs") else 0.0
                instant += chance.uniform(0.5, longest)
                kind = queue.pop(0) if kind == "worker" and queue[:1] == ["worker"] else ""
        if kind:
            queue.insert(0, kind)  # the launch was over before its time came
        if killed_at:
            fire.ended.append(time.monotonic() - killed_at)
            fire.said += wrong_words(sweep.log.read_bytes()[before:].decode(), process.returncode)
        now = sweep.finished()
        fire.lost += len(known.keys() - now.keys())
        fire.repeated += sum(now[n]["finished"] != known[n]["finished"] for n in known.keys() & now.keys())
        known = now
        reached = sweep.traced()
        if process.returncode == 0:
            fire.orphans = sweep.wait_until_alone()
            return fire
        fire.redone += [max(step - sweep.kept(number), 0) for number, step in reached.items() if number not in now]
        if sweep.folder.journal.exists():
            tear(sweep, chance)


def wrong_words(said: str, code: int) -> list[str]:
    """What is wrong with the end of a launch that lost its Ray."""
    found = [f"exit code {code}"] * (code != RunnerError.exit_code)
    last = said.strip().splitlines()[-1:]
    found += [f"last words: {last}"] * (not (last and _LAST_WORDS.fullmatch(last[0])))
    return found + [f"Ray's words: {each}" for each in _RAYS_WORDS.findall(said)[:1]]


def under_losses(sweep: Sweep, nodes: Nodes, losses: int, longest: float, chance: random.Random) -> Fire:
    """One launch on a cluster that loses a worker and gets another one, again and again.

    Args:
        sweep: a new one, on the cluster.
        nodes: the cluster.
        losses: how many; fewer when the sweep is finished before.
        longest: seconds between two of them, at most.
        chance: where instants and victims come from.
    """
    fire, process = Fire(launches=1), sweep.start()

    def wait(condition: Callable[[], object], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            if condition():
                return True
            time.sleep(0.05)
        return False

    wait(lambda: any(sweep.root.glob("*.trace")), 120)
    for _ in range(losses):
        wait(lambda: False, chance.uniform(1, longest))
        if process.poll() is not None:
            break
        told, trained = len(sweep.notices()), Counter(sweep.lines())
        victim = chance.choice([node for node in nodes.nodes[1:] if node.processes()])
        lost_at = time.monotonic()
        victim.kill()
        fire.kills["node"] = fire.kills.get("node", 0) + 1
        if wait(partial(sweep.says_more_than, told), 60):
            fire.detected.append(time.monotonic() - lost_at)
            number = sweep.notices()[told]
            if wait(partial(sweep.trains_more_than, number, trained[number]), 120):
                fire.recovered.append(time.monotonic() - lost_at)
        nodes.join(1)
    if process.wait() != 0:
        raise SystemExit(f"the launch ended with {process.returncode}:\n{sweep.log.read_text()[-3000:]}")
    fire.orphans = sweep.wait_until_alone()
    return fire


def differences(sweep: Sweep, undisturbed: Sweep) -> int:
    """Trials whose rows or curves differ from the undisturbed sweep's, or that are there more than once."""
    changed: set[int] = set()
    for name in ("trials", "runs", "curves"):
        mine, theirs = (
            each.table(name).drop(columns=[c for c in each.table(name) if any(clock in c for clock in CLOCKS)])
            for each in (sweep, undisturbed)
        )
        for number in set(mine["trial"]) | set(theirs["trial"]):
            left, right = (each[each["trial"] == number].reset_index(drop=True) for each in (mine, theirs))
            if not left.equals(right):
                changed.add(number)
    return len(changed)


@contextmanager
def studied(sweep: Sweep) -> "Iterator[Study]":
    """What Optuna's journal holds of a sweep."""
    from sweeper.search.storage import Journal  # noqa: PLC0415  # keeps the driver's import short
    from sweeper.search.study import Study  # noqa: PLC0415

    loaded = load(sweep.folder.space)
    with closing(Journal(sweep.folder.journal)) as journal:
        yield Study(journal, loaded.space, loaded.spec.sampler, places=1)


def disagreements(sweep: Sweep) -> int:
    """Trials of which Optuna's journal and the tables say different things."""
    with studied(sweep) as study:
        told, unfinished = study.values(), len(study.unfinished())
    trials = sweep.table("trials")
    written = {row["trial"]: row["value"] for row in trials.to_dict("records") if row["phase"] != "confirm"}
    return unfinished + sum(told.get(number) != value for number, value in written.items()) + len(told.keys() - written)


def campaign(root: Path, kills: Mapping[str, int], seed: int, each: int, where: str = "ray") -> Fire:
    """Sweeps under fire until there have been so many kills; at most `each` in a sweep."""
    chance = random.Random(seed)
    undisturbed = Sweep(root / "undisturbed", where)
    began = time.monotonic()
    run_to_the_end(undisturbed)
    calm = time.monotonic() - began
    longest = min(calm, _LONGEST_SECONDS)
    print(f"undisturbed: {calm:.0f} s, {len(undisturbed.finished())} trials", flush=True)
    total = Fire()
    for kind, count in kills.items():
        while total.kills.get(kind, 0) < count:
            done = total.kills.get(kind, 0)
            sweep = Sweep(root / f"{kind}-{done}", where)
            fire = under_fire(sweep, [kind] * min(each, count - done), longest, chance)
            total.add(judged(fire, sweep, undisturbed))
    return total


def node_campaign(root: Path, losses: int, seed: int) -> Fire:
    """Sweeps on a cluster of a head and two workers that loses so many of them."""
    chance, total = random.Random(seed), Fire()
    (root / "n").mkdir(parents=True)
    with Nodes(root / "n", workers=(1, 1)) as nodes:
        on = {"where": nodes.address, "environment": nodes.environment, "question": LONGER}
        undisturbed = Sweep(root / "calm", **on)
        run_to_the_end(undisturbed)
        while total.kills.get("node", 0) < losses:
            sweep = Sweep(root / f"losses-{total.launches}", **on)
            fire = under_losses(sweep, nodes, losses - total.kills.get("node", 0), 5.0, chance)
            total.add(judged(fire, sweep, undisturbed))
    return total


def judged(fire: Fire, sweep: Sweep, undisturbed: Sweep) -> Fire:
    """With what came of the finished sweep."""
    fire.changed = differences(sweep, undisturbed) + disagreements(sweep)
    fire.leftovers = sweep.leftovers()
    print(f"{sweep.root.name}: {json.dumps(asdict(fire))}", flush=True)
    return fire


def summary(fire: Fire) -> dict[str, Any]:
    """What goes into the figures."""
    found = asdict(fire)
    found["redone"] = {
        "unfinished trials": len(fire.redone),
        "median steps": statistics.median(fire.redone) if fire.redone else None,
        "most steps": max(fire.redone, default=None),
    }
    for name in ("back", "detected", "recovered", "ended"):
        seconds = getattr(fire, name)
        found[name] = {
            "times": len(seconds),
            "median seconds": round(statistics.median(seconds), 1) if seconds else None,
        }
    return found


def main() -> None:
    """Parse and run."""
    if sys.argv[1:2] == ["drive"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("space", type=Path)
        parser.add_argument("where")
        asked = parser.parse_args(sys.argv[2:])
        drive(asked.space, asked.where)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    for kind, count in (("driver", 50), ("worker", 10), ("raylet", 10), ("gcs", 10), ("node", 10)):
        parser.add_argument(f"--{kind}", type=int, default=count, help=f"kills of a {kind}")
    parser.add_argument("--each", type=int, default=10, help="kills in one sweep, at most")
    parser.add_argument("--where", choices=["ray", "here"], default="ray", help="here: in one process, without Ray")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the sweeps")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    asked = parser.parse_args()
    found = {}
    kills = {kind: getattr(asked, kind) for kind in _VICTIMS}
    if any(kills.values()):
        found[f"on this machine, {asked.where}"] = campaign(asked.folder, kills, asked.seed, asked.each, asked.where)
    if asked.node:
        found["on a cluster"] = node_campaign(asked.folder, asked.node, asked.seed)
    figures = {name: summary(fire) for name, fire in found.items()}
    print(json.dumps(figures, indent=1))
    if asked.write:
        before = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        FIGURES.write_text(json.dumps(before | figures, indent=1) + "\n")
    sys.exit(0 if all(fire.clean for fire in found.values()) else 1)


if __name__ == "__main__":
    main()
