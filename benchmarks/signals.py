"""Ends launches by signals at random instants, and checks that nothing is lost, repeated or left unsaid.

A sweep of short trials is launched again and again in one folder. Each launch, and it alone (so do `kill` and `docker
stop`), gets one signal at a random instant, from its first import on. Checked of every launch: the exit code (128 + the
signal), the last words, that no line is Ray's, and that it ended within the grace. Checked of the sweep: every trial
that a launch named as over is in the tables, as it was and once, and no evaluation is there twice.

    python -m benchmarks.signals --runs 50 --signals SIGTERM SIGHUP SIGUSR1 --modes here ray pid1
    python -m benchmarks.signals --runs 10 --signals SIGKILL --modes raylet gcs

Under `raylet` and `gcs` that process of the Ray of a launch gets the signal, from its start on, and the launch ends in
one sentence with exit code 1.
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
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeper.folder.layout import SweepFolder
from sweeper.results.query import query

GRACE = 25.0
TOY = """\
import time

from sweeper import LoopTask


class Toy(LoopTask):
    def train(self, run):
        for step in range(1, len(run.batch_sizes) + 1):
            time.sleep(0.002)
            if run.evaluates(step):
                yield {"train_loss": 1 / step, "val_loss": 1 / step}
"""
SPACE = """\
name: toy
task: {name: toy:Toy}
objective: {until: val_loss < 0.006, horizon: 200, evaluate_every: 10, replicates: 2}
search: {batch.max: {int: [1, 4096]}}
sampler: {name: random}
stop: none
budget: {trials: 4000}
"""
OVER = re.compile(r"^trial (\d+)\b.*: (?:reached|censored)", re.MULTILINE)
VICTIMS = {"raylet": "/raylet/raylet", "gcs": "/gcs/gcs_server"}
RAYS = re.compile(r"raylet|gcs_server|core_worker|\[20\d\d-\d\d-\d\d |\(pid=|Traceback|\*\*\* ", re.MULTILINE)


@dataclass
class Ended:
    """One launch that a signal ended.

    Attributes:
        after, took: seconds before the signal, and from there to the end.
        code: the exit code, as a shell has it.
        last: the last line that was printed.
        wrong: what was not as it should be.
    """

    mode: str
    signal: str
    after: float
    took: float
    code: int
    last: str
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    """Run what is asked for, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="of each signal and mode")
    parser.add_argument("--signals", nargs="+", default=["SIGTERM", "SIGHUP", "SIGUSR1"])
    parser.add_argument(
        "--modes", nargs="+", default=["here", "ray", "pid1"], choices=["here", "ray", "pid1", *VICTIMS]
    )
    parser.add_argument("--longest", type=float, default=12.0, help="seconds before a signal, at most")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/figures/signals.json"))
    asked = parser.parse_args()
    chance = random.Random(0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored, and by every launch too
    found: list[Ended] = []
    for mode in asked.modes:
        for name in asked.signals:
            with tempfile.TemporaryDirectory(prefix="signals-") as home:
                for ended in _sweep(Path(home), mode, signal.Signals[name], asked.runs, asked.longest, chance):
                    found.append(ended)
                    _write(found, asked.output)
            _summary([each for each in found if (each.mode, each.signal) == (mode, name)])


def _sweep(  # noqa: PLR0917  # one call
    home: Path, mode: str, number: signal.Signals, runs: int, longest: float, chance: random.Random
) -> Iterator[Ended]:
    """Launch one sweep as often as `runs`, and end every launch by a signal."""
    (home / "toy.py").write_text(TOY)
    (home / "toy.yaml").write_text(SPACE)
    folder = SweepFolder(home / "results/toy")
    over: dict[int, tuple[object, ...]] = {}
    for _ in range(runs):
        ended, said = _launch(home, mode, number, chance.uniform(0, longest))
        rows = _finished(folder)
        named = [int(each) for each in OVER.findall(said)]
        ended.wrong += [f"trial {each} is lost" for each in named if each not in rows]
        ended.wrong += [f"trial {each} was trained again" for each in named if each in over]
        ended.wrong += [f"trial {each} has changed" for each, row in over.items() if rows.get(each) != row]
        over = rows
        if folder.table("curves").is_dir():
            twice = "SELECT count(*) AS n FROM curves GROUP BY trial, operation, replicate, step HAVING count(*) > 1"
            ended.wrong += ["evaluations are there twice"] * bool(query(folder, twice).num_rows)
        yield ended


def _launch(home: Path, mode: str, number: signal.Signals, after: float) -> tuple[Ended, str]:
    command = [sys.executable, "-m", "sweeper", "launch", "toy.yaml", *(["--here"] if mode in ("here", "pid1") else [])]
    if mode == "pid1":
        command = ["unshare", "--pid", "--fork", "--mount-proc", *command]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), str(home)]), "COLUMNS": "120"}
    with (home / "said").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        target = process.pid
        if mode == "pid1":
            target = _process_1(process.pid, number)
        elif mode in VICTIMS:
            target = child(process.pid, VICTIMS[mode])
        time.sleep(after)
        at = time.monotonic()
        os.kill(target, number)
        try:
            code = process.wait(4 * GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        took = time.monotonic() - at
        time.sleep(0.5 if mode in VICTIMS else 0)  # a process that Ray ends in C++ has its last words said for it
        output.seek(0)
        said = output.read()
    code = 128 - code if code < 0 else code  # as a shell has it
    last = said.strip().splitlines()[-1] if said.strip() else ""
    ended = Ended(mode, number.name, round(after, 2), round(took, 2), code, last)
    ended.wrong += [f"exit code {code}"] * (code != (1 if mode in VICTIMS else 128 + number))
    # Before the first line of ours runs, Python itself ends without a word.
    words = "Ray was lost: " if mode in VICTIMS else f"stopped by {number.name}"
    ended.wrong += ["no last words"] * (words not in last and bool(said.strip() or mode in VICTIMS))
    ended.wrong += [f"a line of Ray's: {each}" for each in RAYS.findall(said.strip().removesuffix(last))[:1]]
    ended.wrong += ["past the grace"] * (took > GRACE and mode not in VICTIMS)
    return ended, said


def _process_1(parent: int, number: signal.Signals) -> int:
    """The child that is process 1 of its namespace, once it catches the signal: what comes before, the kernel drops."""
    while True:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{child}/status").read_text())
            if caught and int(caught[1], 16) & 1 << (number - 1):
                return int(child)
        time.sleep(0.01)


def child(parent: int, program: str) -> int:
    """The child of a process that runs a program, once there is one."""
    while True:
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                above = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                if above == parent and (place / "cmdline").read_bytes().split(b"\0")[0].endswith(program.encode()):
                    return int(place.name)
        time.sleep(0.05)


def _finished(folder: SweepFolder) -> dict[int, tuple[object, ...]]:
    """Trial -> what must never change of it."""
    if not folder.table("trials").is_dir():
        return {}
    rows = query(folder, "SELECT trial, started, finished, value FROM trials WHERE state = 'finished'").to_pylist()
    return {row["trial"]: tuple(row.values()) for row in rows}


def _write(found: list[Ended], output: Path) -> None:
    output.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")


def _summary(found: list[Ended]) -> None:
    took = [each.took for each in found]
    wrong = [each for each in found if each.wrong]
    print(
        f"{found[0].mode} {found[0].signal}: {len(found)} launches, {len(wrong)} not as they should be; "
        f"ended after {statistics.median(took):.1f} s (median), {max(took):.1f} s at most",
        flush=True,
    )
    for each in wrong:
        print(f"  after {each.after:.1f} s: {'; '.join(each.wrong)} (last line: {each.last!r})", flush=True)


if __name__ == "__main__":
    main()
