"""The data behind the interactive part of the report: every trial on three clocks, and learning curves of the best."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.config.model import SweepSpec
from sweeper.folder.layout import SweepFolder
from sweeper.report.as_json import plain
from sweeper.report.figures.subject import Row, Subject, label, numbered, subject
from sweeper.report.leaderboard import limit_on
from sweeper.report.leaderboard_table import bound
from sweeper.results.query import query, records
from sweeper.space.hyperparameters import Value
from sweeper.space.parameters import Choice
from sweeper.stats.events import CLOCKS, Clock

_CURVES = 200
"""Trials whose learning curves are in the page: the best, the baselines and the confirmations."""
_PLACES = 80
"""Evaluations of a run's curve in the page, at most."""


def explorer(folder: SweepFolder, spec: SweepSpec) -> dict[str, Any]:
    """Everything that the interactive figures show, as plain data.

    Returns:
        name, event, metric, threshold, clock, horizon: of the sweep.
        limits: clock -> where restricted means are restricted.
        given: hyperparameters that no trial varies and that have no default.
        dimensions: the searched hyperparameters, or those in which the baselines differ where nothing is searched: key,
            log, words (the values of a choice as text, null of a range).
        trials: column -> one entry a trial, the best first: trial, label, phase, state, sign (of the mean: `≥` for runs
            censored at the horizon, `≤` for a trial that was cut short), reached, runs, mean (clock -> means), values
            (key -> values, exact; null where a hyperparameter has no effect), confirmation (a trial's number, or null).
        curves: trial -> one entry a run: run, steps, examples, seconds, and the event's metric.

    Raises:
        UserError: a table is damaged.
    """
    found = subject(folder, spec)
    limits = {clock: limit_on(folder, spec, clock) for clock in CLOCKS}
    event = spec.objective.event
    rows = found.seen
    return {
        "name": spec.name,
        "event": spec.objective.until,
        "metric": event.metric,
        "threshold": event.threshold,
        "clock": spec.objective.minimize,
        "limits": limits,
        "given": spec.given,
        "dimensions": [_dimension(found, key) for key in spec.search]
        or [_difference(spec, key) for key in _varied(spec)],
        "trials": _trials(found, rows, limits),
        "curves": _curves(found, [*_with_curves(rows), *(row["trial"] for row in found.confirmations)]),
    }


def _dimension(found: Subject, key: str) -> dict[str, Any]:
    parameter = found.space.parameters[key]
    if isinstance(parameter, Choice):
        return {"key": key, "log": False, "words": [_word(value) for value in parameter.grid()]}
    return {"key": key, "log": parameter.log, "words": None}


def _varied(spec: SweepSpec) -> list[str]:
    """Hyperparameters in which the baselines differ."""
    keys = dict.fromkeys(key for values in spec.baselines.values() for key in values)
    return [key for key in keys if len({_word(values.get(key)) for values in spec.baselines.values()}) > 1]


def _difference(spec: SweepSpec, key: str) -> dict[str, Any]:
    """A dimension of a sweep without a search; words unless all values are numbers."""
    values = [each[key] for each in spec.baselines.values() if key in each]
    words = None if all(_is_number(value) for value in values) else [*dict.fromkeys(map(_word, values))]
    return {"key": key, "log": False, "words": words}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_baselines(spec: SweepSpec, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Key -> the value of each baseline, null where it does not set one."""
    shown: dict[str, list[Any]] = {}
    for dimension in (_difference(spec, key) for key in _varied(spec)):
        values = [spec.baselines.get(row["name"], {}).get(dimension["key"]) for row in rows]
        shown[dimension["key"]] = [_word(each) if dimension["words"] and each is not None else each for each in values]
    return shown


def _trials(found: Subject, rows: Sequence[Row], limits: dict[Clock, float]) -> dict[str, Any]:
    values = [found.values(row) for row in rows]
    repeats = {row["name"]: row["trial"] for row in found.confirmations}
    means = {
        clock: {row["trial"]: row["rmst"] for row in rows} if clock == found.clock else _means(found, clock, limit)
        for clock, limit in limits.items()
    }
    return {
        "trial": [row["trial"] for row in rows],
        "label": [label(row) for row in rows],
        "phase": [row["phase"] for row in rows],
        "state": [row["state"] for row in rows],
        "sign": [bound(row).strip() for row in rows],
        "reached": [row["reached"] for row in rows],
        "runs": [row["runs"] for row in rows],
        "mean": {clock: [_short(mine.get(row["trial"])) for row in rows] for clock, mine in means.items()},
        "values": {key: [_shown(found, key, each) for each in values] for key in found.spec.search}
        or _of_baselines(found.spec, rows),
        "confirmation": [repeats.get(str(row["trial"])) for row in rows],
    }


def _shown(found: Subject, key: str, values: Mapping[str, Value]) -> Any:
    """A trial's value of a hyperparameter, null where it has no effect."""
    if key not in values:
        return None
    return _word(values[key]) if isinstance(found.space.parameters[key], Choice) else values[key]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value))


def _means(found: Subject, clock: Clock, limit: float) -> dict[int, float]:
    """Trial -> restricted mean time on a clock, over operations the geometric mean."""
    rows = records(
        found.folder,
        f"""
        SELECT trial, exp(avg(ln(greatest(mean, 1e-9)))) AS mean FROM (
            SELECT trial, operation,
                   avg(CASE WHEN outcome = 'reached' THEN least(sustained_{clock}, {limit}) ELSE {limit} END) AS mean
            FROM runs GROUP BY trial, operation
        ) GROUP BY trial
        """,
    )
    return {row["trial"]: row["mean"] for row in rows}


def _with_curves(rows: Sequence[Row]) -> list[int]:
    baselines = [row["trial"] for row in rows if row["phase"] == "baseline"]
    return [*baselines, *(row["trial"] for row in rows if row["phase"] != "baseline")][:_CURVES]


def _curves(found: Subject, trials: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The last evaluation of each of `_PLACES` equal parts of the horizon, run by run."""
    metric, horizon = found.spec.objective.event.metric, found.spec.objective.horizon
    table = query(
        found.folder,
        f"""
        SELECT trial, operation || ' ' || replicate AS run, max(step) AS steps, max(examples) AS examples,
               max(seconds)::DOUBLE AS seconds, arg_max({metric}, step)::DOUBLE AS metric
        FROM curves WHERE trial IN ({numbered(trials)})
        GROUP BY trial, operation, replicate, (step - 1) * {_PLACES} // {horizon} ORDER BY trial, run, steps
        """,
    )
    names = ("steps", "examples", "seconds", "metric")
    columns = {name: [_short(value) for value in table[name].to_pylist()] for name in names}
    trial, run = table["trial"].to_numpy(), np.array(table["run"].to_pylist(), dtype=object)
    begins = np.r_[True, (trial[1:] != trial[:-1]) | (run[1:] != run[:-1])][: len(trial)]
    starts = np.flatnonzero(begins).tolist()
    curves: dict[int, list[dict[str, Any]]] = {}
    for start, stop in zip(starts, [*starts[1:], len(trial)], strict=True):
        part = {name: values[start:stop] for name, values in columns.items()}
        curves.setdefault(int(trial[start]), []).append({"run": run[start], **part})
    return curves


def _short(value: Any) -> Any:
    """A number with the five digits that a screen can show."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
