"""Trials in a folder of Ray Tune results, and in a CSV export of Weights & Biases."""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import UserError, nearest
from sweeper.search.foreign import ForeignTrial

_TUNES_OWN = {
    *("time_this_iter_s", "time_total_s", "time_since_restore", "timestamp", "training_iteration", "pid"),
    *("iterations_since_restore", "done", "checkpoint_dir_name", "warmup_time", "episodes_total", "timesteps_total"),
}
"""Numbers that Tune adds to every result."""
_WANDBS_OWN = {"name", "state", "notes", "user", "tags", "created", "runtime", "sweep", "id", "group", "job type"}
_UNFINISHED = {"crashed", "failed", "killed", "running"}
_PREFIX = re.compile(r"^(config|summary)[./]")


def ray_trials(folder: Path, metric: str | None, mode: str | None) -> list[ForeignTrial]:
    """The trials of an experiment of Ray Tune; a trial's value is that of its last result.

    Args:
        folder: the experiment's, or one above it.
        metric: a number of the results.
        mode: `min` or `max`; by default as the metric's name suggests.

    Raises:
        UserError: there are no trials, or no such metric.
    """
    found = [(path.parent, json.loads(path.read_text())) for path in sorted(folder.rglob("params.json"))]
    if not found:
        raise UserError(f"{folder}: holds no trial of Ray Tune, which is a folder with params.json and result.json")
    results = {trial: _last_line(trial / "result.json") for trial, _ in found}
    names = {name for result in results.values() for name, value in result.items() if _is_number(value)}
    chosen, sign = _metric(metric, mode, names - _TUNES_OWN, str(folder))
    return [
        ForeignTrial(
            trial.name,
            _flat(parameters),
            sign * results[trial][chosen] if _is_number(results[trial].get(chosen)) else None,
            "failed" if (trial / "error.txt").exists() else "" if results[trial] else "without a result",
        )
        for trial, parameters in found
    ]


def wandb_trials(file: Path, metric: str | None, mode: str | None, known: Iterable[str]) -> list[ForeignTrial]:
    """The runs of a table that was exported as CSV; configuration and summary are columns beside each other.

    Args:
        file: the CSV file.
        metric: a column with numbers.
        mode: `min` or `max`; by default as the metric's name suggests.
        known: names that parameters have; other columns than the metric are taken for parameters as well.

    Raises:
        UserError: it is no such file, or has no such column.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read as CSV ({error})") from None
    if not rows:
        raise UserError(f"{file}: has no rows; export the table of runs as CSV")
    plain = [{_PREFIX.sub("", name): _value(text) for name, text in row.items() if name} for row in rows]
    names = {name for row in plain for name, value in row.items() if _is_number(value)}
    chosen, sign = _metric(
        metric, mode, {each for each in names - set(known) if each.lower() not in _WANDBS_OWN}, str(file)
    )
    found = []
    for number, row in enumerate(plain):
        own = {name.lower(): value for name, value in row.items()}
        state = str(own.get("state") or "").lower()
        parameters = {
            name: value
            for name, value in row.items()
            if name != chosen and name.lower() not in _WANDBS_OWN and value is not None
        }
        value = sign * row[chosen] if _is_number(row.get(chosen)) else None
        name = str(own.get("name") or f"row-{number + 1}")
        found.append(ForeignTrial(name, parameters, value, state if state in _UNFINISHED else ""))
    return found


def _metric(metric: str | None, mode: str | None, names: set[str], where: str) -> tuple[str, float]:
    """The metric, and the sign that makes it smaller for better. Raises UserError."""
    known = sorted(names)
    if metric is None and len(known) == 1:
        metric = known[0]
    if metric is None or metric not in names:
        got = f"no {metric!r}{nearest(metric, known)}" if metric else "several metrics"
        raise UserError(f"{where}: {got}; give --metric with one of {', '.join(known) or 'none: there are no numbers'}")
    lower = metric.lower()
    if mode is None:
        mode = (
            "max"
            if "acc" in lower
            else "min"
            if any(word in lower for word in ("loss", "err", "step", "time"))
            else None
        )
    if mode is None:
        raise UserError(f"{where}: is more or less of {metric} better? give --mode max or --mode min")
    return metric, -1.0 if mode == "max" else 1.0


def _last_line(file: Path) -> dict[str, Any]:
    """The last result that was written whole; empty where there is none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:  # the trial was killed while it wrote
            continue
        if isinstance(found, dict):
            return _flat({name: value for name, value in found.items() if name != "config"})
    return {}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys with dots between them."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _value(text: str | None) -> Any:
    """What a cell holds: a number, a flag, a list or a word; None where it is empty."""
    if text is None or not text.strip():
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        found = json.loads(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
    return found if isinstance(found, int | float | list) else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
