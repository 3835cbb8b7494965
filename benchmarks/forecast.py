"""The forecast of `sweeper check` beside what the launch then took: five spaces, with `--here` and on Ray.

    python -m benchmarks.forecast

For each space: forecasts with `--measure` for both ways, then both launches; then the forecast for Ray from what they
recorded, and another launch on Ray, under another name and with another seed of the sampler. The figure is the forecast
divided by the wall time of the whole command. Raw figures go to benchmarks/figures/.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sweeper.config.loading import load
from sweeper.environment import machine
from sweeper.sweep import plan

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "figures" / "forecast.json"
MODULE = '''
import torch
from torch import nn

from sweeper import Examples, LoopTask, ModuleTask


class Spirals(ModuleTask):
    """Which of two spirals a point lies on."""

    @property
    def scores(self):
        return {"accuracy": "Share of points on the right spiral.", "loss": "Mean cross-entropy, in nats."}

    def data(self, seed):
        n, generator = 400, torch.Generator().manual_seed(seed)
        radius, which = 9 * torch.rand(2 * n, generator=generator).sqrt(), torch.arange(2 * n) % 2
        angle = radius + 3.1416 * which
        x = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1) / 9
        return Examples(x[:n], which[:n], x[n:], which[n:])

    def model(self, hidden: int = 32, layers: int = 2):
        sizes = [2] + [hidden] * layers
        blocks = [each for a, b in zip(sizes, sizes[1:]) for each in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*blocks, nn.Linear(hidden, 2))

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def measures(self, outputs, targets):
        return {"accuracy": outputs.argmax(1) == targets}


class Descent(LoopTask):
    """A line through points, by gradient descent with momentum."""

    def train(self, run):
        torch.manual_seed(run.seeds.init)
        model = nn.Linear(3, 1).to(run.device)
        x = torch.randn(200, 3, generator=torch.Generator().manual_seed(run.seeds.data)).to(run.device)
        y = x.sum(1, keepdim=True)
        order = torch.Generator().manual_seed(run.seeds.order)
        optimiser = torch.optim.SGD(model.parameters(), lr=run.settings.learning_rate, momentum=0.9)
        for step, size in enumerate(run.batch_sizes, 1):
            rows = torch.randint(100, (int(size),), generator=order)
            loss = (model(x[rows]) - y[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if run.evaluates(step):
                with torch.no_grad():
                    validation = (model(x[100:]) - y[100:]).square().mean()
                yield {"train_loss": loss.item(), "val_loss": validation.item()}
'''
OWN = {
    "spirals": """\
task: {name: "forecast_tasks:Spirals"}
objective: {until: val_accuracy > 0.97, horizon: 2000, evaluate_every: 20, replicates: 3}
search:
  model.hidden: {int: [16, 64], log: true}
  model.layers: {int: [1, 3]}
  learning_rate: {float: [0.002, 0.03], log: true}
baselines: {plain: {model.hidden: 32, model.layers: 2, learning_rate: 0.01}}
stop: cap
confirm: {top: 2, replicates: 6}
budget: {trials: 16}
""",
    "descent": """\
task: {name: "forecast_tasks:Descent"}
objective: {until: val_loss < 0.000001, horizon: 4000, evaluate_every: 20, replicates: 3}
search:
  learning_rate: {float: [0.0001, 0.01], log: true}
  batch.max: {int: [4, 64], log: true}
stop: none
confirm: {top: 1, replicates: 4}
budget: {trials: 14}
""",
    "modulus-11": """\
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 11, train_fraction: 0.7}
objective: {until: val_accuracy > 0.9, horizon: 800, evaluate_every: 10, replicates: 3}
search:
  weight_decay: {float: [0.2, 2.0], log: true}
  depth: {int: [1, 2]}
  learning_rate: {float: [0.001, 0.01], log: true}
fixed: {width: 32, heads: 2}
stop: none
confirm: {top: 2, replicates: 6}
budget: {trials: 12}
""",
}
SHIPPED = {
    "quickstart": ("quickstart.yaml", ("budget.trials=8", "confirm={top: 1, replicates: 4}")),
    "m-height-small": ("m_height_small.yaml", ("budget.trials=8", "confirm={top: 1, replicates: 4}")),
}
"""Name -> the file in search_spaces, and what is smaller here."""


def forecast(space: Path, overrides: list[str], *, here: bool, measure: bool) -> dict[str, Any]:
    """The forecast in seconds with its interval."""
    planned = plan.plan(load(space, overrides), machine.look(), here=here)
    found = plan.estimated(planned, space, overrides, here=here, measure=measure, price=None)
    assert found.span is not None, found.words
    return {"low": found.span.low, "likely": found.span.likely, "high": found.span.high}


def launched(space: Path, overrides: list[str], *, here: bool) -> float:
    """Wall seconds of the whole command."""
    settings = [word for each in overrides for word in ("--set", each)]
    command = [sys.executable, "-m", "sweeper", "launch", str(space), *(["--here"] if here else []), *settings]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.monotonic() - began


def measure(name: str, folder: Path) -> list[dict[str, Any]]:
    """The rows of one space: three forecasts of two launches."""
    if name in SHIPPED:
        file, smaller = SHIPPED[name]
        space, overrides = ROOT / "search_spaces" / file, [*smaller]
    else:
        space, overrides = folder / f"{name}.yaml", []
        space.write_text(f"name: {name}\n{OWN[name]}")
    first = [*overrides, f"results={folder / 'results'}", f"name={name}-here"]
    second = [*overrides, f"results={folder / 'results'}", f"name={name}-ray"]
    third = [*overrides, f"results={folder / 'results'}", f"name={name}-again", "sampler={name: tpe, seed: 1}"]
    told = {where: forecast(space, first, here=where == "here", measure=True) for where in ("here", "ray")}
    load_here = os.getloadavg()[0]
    took_here = launched(space, first, here=True)
    load_ray = os.getloadavg()[0]
    took_ray = launched(space, second, here=False)
    recorded = forecast(space, third, here=False, measure=False)
    load_again = os.getloadavg()[0]
    took_again = launched(space, third, here=False)
    rows = [
        ("here", "measured", told["here"], took_here, load_here),
        ("ray", "measured", told["ray"], took_ray, load_ray),
        ("ray", "recorded", recorded, took_again, load_again),
    ]
    return [
        {"space": name, "where": where, "from": source, **found, "took": took, "load": round(busy, 1)}
        for where, source, found, took, busy in rows
    ]


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", choices=[*SHIPPED, *OWN], help="Some of the spaces; the figures of the others stay."
    )
    chosen = parser.parse_args().only or [*SHIPPED, *OWN]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "forecast_tasks.py").write_text(MODULE)
        sys.path.insert(0, str(folder))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
        for each in chosen:
            found = measure(each, folder)
            rows += found
            for row in found:
                ratio, inside = row["likely"] / row["took"], row["low"] <= row["took"] <= row["high"]
                print(
                    f"{row['space']:15} {row['where']:5} {row['from']:9} {row['likely']:6.0f} s "
                    f"({row['low']:.0f} to {row['high']:.0f}), took {row['took']:6.0f} s: x{ratio:.2f}"
                    f"{'' if inside else ', outside the interval'}; load {row['load']}",
                    flush=True,
                )
    apart = [max(row["likely"] / row["took"], row["took"] / row["likely"]) for row in rows]
    within = sum(each <= 1.5 for each in apart)
    print(f"within a factor 1.5: {within} of {len(apart)}; median factor {statistics.median(apart):.2f}")
    kept = json.loads(FIGURES.read_text())["rows"] if FIGURES.exists() else []
    rows = [*(each for each in kept if each["space"] not in chosen), *rows]
    about = {"cores": machine.cores(), "python": platform.python_version()}
    FIGURES.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
