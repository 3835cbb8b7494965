"""Suspends a launch for longer than its lease, lets another take its sweep over, and wakes it up: it may write nothing.

    python -m benchmarks.paused --tries 20

Two launches of one sweep on a server that speaks S3 (moto), each with a folder of its own, as on two machines. The
first gets SIGSTOP at a random instant, and SIGCONT while the second trains. Checked: the first ends with exit code 1
and says who took the sweep over, the second ends well, and the store holds byte for byte what the second has in its
folder.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyarrow import fs

from benchmarks.signals import SPACE, TOY
from sweeper.folder.manifest import is_kept
from tests.fakes import s3

LAG = 0.2
_TRIALS = 12
_TOY = TOY.replace("sleep(0.002)", "sleep(0.004)")


@dataclass
class Try:
    """One launch that was suspended.

    Attributes:
        after, for_: seconds until it was suspended, and for which it was.
        refused: how often the second was refused, and launched again.
        code, last: exit code and last words of the one that was suspended.
        wrong: what was not as it should be.
    """

    after: float
    for_: float
    refused: int = 0
    code: int = -1
    last: str = ""
    wrong: list[str] = field(default_factory=list)


def attempt(endpoint: str, number: int, chance: random.Random) -> Try:
    """Suspend one launch and wake it up."""
    bucket = f"paused-{number}-{chance.randrange(10**9)}"
    found = Try(round(chance.uniform(0.2, 5), 2), round(chance.uniform(0, 2), 2))
    with tempfile.TemporaryDirectory(prefix="paused-") as folder:
        home = Path(folder)
        (home / "toy.py").write_text(_TOY)
        (home / "toy.yaml").write_text(SPACE)
        environment = os.environ | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_REGION": "us-east-1",
            "SWEEPER_LAG": str(LAG),
            "PYTHONPATH": os.pathsep.join([os.getcwd(), folder]),
            "COLUMNS": "500",
        }
        keys = {"access_key": "nobody", "secret_key": "nothing"}
        store = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True, **keys)
        store.create_dir(bucket)

        def launch(name: str) -> "subprocess.Popen[bytes]":
            more = ["--here", "--set", f"results=s3://{bucket}/r", "--set", f"budget.trials={_TRIALS}"]
            command = [sys.executable, "-m", "sweeper", "launch", "toy.yaml", *more]
            with (home / name).open("w") as said:
                cache = {"SWEEPER_CACHE": str(home / f"cache-{name}")}
                return subprocess.Popen(command, cwd=home, env=environment | cache, stdout=said, stderr=said)

        with launch("first") as first:
            if not _waited(first, home / "first", "at once"):
                raise SystemExit((home / "first").read_text())
            time.sleep(found.after)
            first.send_signal(signal.SIGSTOP)
            with launch("second") as second:
                while not _waited(second, home / "second", "at once"):
                    # A beat that was on its way when the first was suspended came later than the second looked.
                    found.refused += 1
                    second = launch("second")  # noqa: PLW2901  # the one that counts
                time.sleep(found.for_)
                first.send_signal(signal.SIGCONT)
                found.code = first.wait(120)
                if second.wait(120) != 0:
                    found.wrong.append(f"the second ended with {second.returncode}")
        said = (home / "first").read_text().strip().splitlines()
        found.last = said[-1] if said else ""
        found.wrong += [f"exit code {found.code}"] * (found.code != 1)
        found.wrong += ["no last words"] * ("took this sweep over" not in found.last)
        found.wrong += ["nobody was taken over"] * ("taking over from" not in (home / "second").read_text())
        local = next((home / "cache-second").rglob("space.yaml")).parent
        found.wrong += _differences(store, f"{bucket}/r/toy", local)
    return found


def _waited(process: "subprocess.Popen[bytes]", said: Path, words: str) -> bool:
    """Whether a launch came to say these words; if not, it has ended."""
    while words not in said.read_text():
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    return True


def _differences(store: fs.FileSystem, root: str, local: Path) -> list[str]:
    """What the store has besides the sweep of that folder, lacks of it, or has otherwise."""
    infos = store.get_file_info(fs.FileSelector(root, recursive=True))
    names = {each.path.removeprefix(f"{root}/") for each in infos if each.type == fs.FileType.File}
    there = {name for name in names if is_kept(name)}
    here = {str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()}
    here = {name for name in here if is_kept(name)}
    found = [f"{name} is in one of them alone" for name in sorted(there ^ here)]
    for name in sorted(there & here):
        with store.open_input_stream(f"{root}/{name}") as stream:
            if stream.read() != (local / name).read_bytes():
                found.append(f"{name} is another")
    return found + [f"{name} was left" for name in sorted(names) if name.startswith(".staging")]


def main() -> None:
    """Run what is asked for, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/figures/paused.json"))
    asked = parser.parse_args()
    chance, found = random.Random(0), []
    with s3.running() as endpoint:
        for number in range(asked.tries):
            found.append(attempt(endpoint, number, chance))
            asked.output.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
            print(found[-1], flush=True)
    wrong = sum(bool(each.wrong) for each in found)
    print(f"{len(found)} launches suspended, {wrong} not as they should be")


if __name__ == "__main__":
    main()
