"""Everything that is claimed of training on a GPU, measured by one command in under 8 minutes.

    python benchmarks/on_a_gpu.py [--published PATH-TO-A-CHECKOUT-OF-AI-Scientist]
    python benchmarks/on_a_gpu.py --device cpu --tiny       # shows that it runs

Every section (`benchmarks/gpu/`) is a process of its own: it survives what breaks another, and what was measured before
an error or the end of its time is kept. One JSON with all raw figures goes to benchmarks/figures/, one table is shown.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu.section import Setting

SECTIONS = {
    "checks": 60,
    "accuracy": 60,
    "scale": 100,
    "profiled": 40,
    "shared": 45,
    "paired": 120,
    "sweep": 150,
    "rounding": 90,
}
"""The longest that each may take, in seconds, in the order in which they run."""
WHOLE = 465
"""Seconds after which nothing more is begun and what runs is ended."""


def section(name: str, options: argparse.Namespace) -> None:
    """In a process of its own: import, wait for a line, and print each record as it is measured."""
    module = importlib.import_module(f"benchmarks.gpu.{name}")
    out, sys.stdout = sys.stdout, sys.stderr  # Ray and torch print as they like
    sys.stdin.readline()
    failed = False
    try:
        for each in module.measure(Setting(options.device, options.tiny, options.published)):
            print(json.dumps(each, default=float), file=out, flush=True)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the other sections go on
        failed = True
        reason = (str(error).strip().splitlines() or [""])[0]
        broken = {"what": "broke", "value": f"{type(error).__name__}: {reason}"[:200], "unit": "", "goal": 0}
        print(json.dumps(broken | {"traceback": traceback.format_exc()}), file=out, flush=True)
    os._exit(int(failed))


def run(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All sections: they import at the same time, and measure one after the other."""
    started, processes, found = time.monotonic(), {}, []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in options.sections:
        command = [sys.executable, "-W", "ignore", __file__, "--section", name, *sys.argv[1:]]
        with (folder / f"{name}.out").open("w") as out, (folder / f"{name}.err").open("w") as err:
            processes[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=err, text=True, env=environment
            )
    for name, process in processes.items():
        began = time.monotonic()
        try:
            left = min(SECTIONS[name], WHOLE - (began - started))
            process.communicate("go\n", timeout=None if options.tiny else max(1.0, left))
            ended = ""
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ended = "out of time; what was measured is above"
        records = [json.loads(line) for line in (folder / f"{name}.out").read_text().splitlines()]
        if not ended and process.returncode and not any(each["what"] == "broke" for each in records):
            ended = f"the process ended with {process.returncode}"
        if ended:
            said = (folder / f"{name}.err").read_text()[-4000:]
            records.append({"what": "broke", "value": ended, "unit": "", "goal": 0, "said": said})
        seconds = time.monotonic() - began
        found += [each | {"section": name} for each in records]
        found.append({"section": name, "what": "section took", "value": seconds, "unit": "s", "goal": None})
        write(options, found)
    return found


def write(options: argparse.Namespace, records: list[dict[str, Any]]) -> Path:
    """The JSON with all that was measured so far."""
    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    about = {"device": device, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}
    options.out.mkdir(parents=True, exist_ok=True)
    path: Path = options.out / f"on-a-gpu-{options.device}.json"
    path.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")
    return path


def show(records: list[dict[str, Any]]) -> None:
    """One table."""
    table = Table()
    for heading in ("section", "what", "value", "unit", "goal"):
        table.add_column(heading, justify="right" if heading in ("value", "goal") else "left", overflow="fold")
    last = ""
    for each in records:
        value, goal = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in (each["value"], each["goal"]))
        goal = "" if each["goal"] is None else goal
        name = each["section"] if each["section"] != last else ""
        last = each["section"]
        table.add_row(name, each["what"], value, each["unit"], goal, end_section=False)
    Console(width=140).print(table)


def main() -> None:
    """Measure, write and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: shows that everything runs")
    parser.add_argument("--published", default="", help="checkout of SakanaAI/AI-Scientist; left out if not given")
    parser.add_argument("--sections", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures")
    options = parser.parse_args()
    if options.section:
        section(options.section, options)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        records = run(options, Path(folder))
    show(records)
    print(f"{time.monotonic() - started:.0f} s; raw figures in {write(options, records)}")


if __name__ == "__main__":
    main()
