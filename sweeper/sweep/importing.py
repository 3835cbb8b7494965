"""Configurations of other tuners as points that a search starts from, and what cannot be taken of them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweeper.config.loading import Loaded, check, load
from sweeper.config.reader import dump, parse
from sweeper.errors import UserError, nearest
from sweeper.results.rows import column_of
from sweeper.search.foreign import ForeignTrial, is_optuna, optuna_trials
from sweeper.search.foreign_files import ray_trials, wandb_trials
from sweeper.space.hyperparameters import MODEL, identity, normalize, to_flat
from sweeper.space.parameters import Choice, index_of

ALIASES = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "batch_size": "batch.max",
    "num_layers": "depth",
    "n_layers": "depth",
    "num_heads": "heads",
    "n_heads": "heads",
    "d_model": "width",
    "hidden_size": "width",
    "warmup": "warmup_steps",
}
"""Names in common use -> ours."""
_SHOWN = 8


@dataclass(frozen=True)
class StartPoint:
    """A configuration to start from.

    Attributes:
        name: of the trial that had it.
        value: its result there, smaller is better.
        values: the searched hyperparameters.
    """

    name: str
    value: float
    values: dict[str, Any]


@dataclass(frozen=True)
class Imported:
    """What was found.

    Attributes:
        points: the best first.
        trials: how many trials there were.
        left: why a trial was not taken -> how many.
        unknown: parameters that have no place in the space -> why.
    """

    points: tuple[StartPoint, ...]
    trials: int
    left: Mapping[str, int]
    unknown: Mapping[str, str]


def import_points(
    source: str,
    space: Path,
    *,
    best: int = 10,
    metric: str | None = None,
    mode: str | None = None,
    study: str | None = None,
    names: Mapping[str, str] | None = None,
) -> Imported:
    """The best configurations of another tuner that lie in a space.

    Args:
        source: an Optuna journal or SQLite file, a folder of Ray Tune results, or a CSV export of Weights & Biases.
        space: the space.yaml that is to start from them.
        best: the most points to take.
        metric, mode: of Ray Tune and Weights & Biases: which number, and whether `min` or `max` is better.
        study: of Optuna, where there are several.
        names: their name -> our hyperparameter.

    Raises:
        UserError: the source cannot be read, or no configuration of it lies in the space.
        SpecError: the space.yaml has mistakes.
    """
    loaded = load(space)
    ours = _our_names(loaded, names or {})
    trials = _read(source, metric, mode, study, ours)
    left: Counter[str] = Counter()
    unknown: dict[str, str] = {}
    found: dict[str, StartPoint] = {}
    horizon = loaded.space.horizon
    for trial in sorted(trials, key=lambda each: math.inf if each.value is None else each.value):
        point = trial.state or _point(trial, loaded, ours, unknown)
        if isinstance(point, str):
            left[point] += 1
            continue
        same = found.setdefault(identity(loaded.space.settings(point.values), horizon), point)
        if same is not point:
            left["the same as a better one"] += 1
    if not found:
        raise UserError("\n".join([f"{source}: none of {len(trials)} trials can be taken", *_reasons(left, unknown)]))
    return Imported(tuple(found.values())[:best], len(trials), dict(left), unknown)


def section(found: Imported) -> str:
    """The points as the section `start` of a space.yaml."""
    lines = [f"  - {dump(each.values)}  # {each.name}: {each.value:g}" for each in found.points]
    return "\n".join(["start:", *lines, ""])


def with_section(space: Path, found: Imported) -> str:
    """The text of a space.yaml with the points in it.

    Raises:
        UserError: it has points already.
    """
    text = space.read_text(encoding="utf-8-sig")
    document = parse(text.encode(), str(space))
    if "start" in document.data:
        raise UserError(f"{space}:{document.line(('start',))}: has a section start already; remove it first")
    new = f"{text.rstrip()}\n{section(found)}"
    check(parse(new.encode(), str(space)))
    return new


def sentences(found: Imported) -> list[str]:
    """What was taken and what was not, in words."""
    count = len(found.points)
    return [f"{count} of {found.trials} trials are points to start from", *_reasons(found.left, found.unknown)]


def _reasons(left: Mapping[str, int], unknown: Mapping[str, str]) -> Iterator[str]:
    for why, count in sorted(left.items(), key=lambda each: -each[1])[:_SHOWN]:
        yield f"  not taken: {count} {why}"
    if len(left) > _SHOWN:
        yield f"  not taken for {len(left) - _SHOWN} other reasons: {sum(sorted(left.values())[:-_SHOWN])}"
    for name, why in sorted(unknown.items()):
        yield f"  without a place here: {name} ({why})"


def _read(
    source: str, metric: str | None, mode: str | None, study: str | None, ours: Mapping[str, str]
) -> list[ForeignTrial]:
    path = Path(source.removeprefix("sqlite:///"))
    if not path.exists():
        raise UserError(
            f"{source}: does not exist; give an Optuna journal or SQLite file, a folder of Ray Tune results, or a CSV "
            "export of Weights & Biases"
        )
    if path.is_dir():
        return ray_trials(path, metric, mode)
    if path.suffix == ".csv":
        return wandb_trials(path, metric, mode, ours)
    if is_optuna(source):
        return optuna_trials(source, study)
    raise UserError(
        f"{source}: neither an Optuna journal, nor SQLite, nor a file .csv, nor a folder of Ray Tune results"
    )


def _our_names(loaded: Loaded, given: Mapping[str, str]) -> dict[str, str]:
    """Their name -> our hyperparameter: our own names, as columns too, common ones, and those given."""
    known = list(loaded.spec.task.hyperparameters)
    for theirs, ours in given.items():
        if ours not in known:
            raise UserError(
                f"--map {theirs}={ours}: unknown hyperparameter{nearest(ours, known)}; allowed: {', '.join(known)}"
            )
    own = {key: key for key in known} | {column_of(key): key for key in known}
    short = {key.removeprefix(MODEL): key for key in known if key.startswith(MODEL)}
    return {**{name: key for name, key in ALIASES.items() if key in known}, **short, **own, **given}


def _point(trial: ForeignTrial, loaded: Loaded, ours: Mapping[str, str], unknown: dict[str, str]) -> StartPoint | str:
    """The trial as a point of the space, or why it is none; notes parameters that have no place there."""
    if trial.value is None or math.isnan(trial.value):
        return "without a value"
    spec, space = loaded.spec, loaded.space
    values: dict[str, Any] = {}
    for name, value in trial.parameters.items():
        key = ours.get(name)
        if key is None:
            unknown[name] = "no hyperparameter of that name; --map NAME=OURS gives it one"
        elif key not in spec.search:
            unknown[name] = f"{key} is not searched"
        else:
            legal = _legal(key, value, loaded)
            if legal is None:
                return f"with {name} = {value!r}, which {key} cannot be"
            values[key] = legal
    if not values:
        return "without any searched hyperparameter"
    settings = to_flat(space.settings(values))
    for key, parameter in space.parameters.items():
        if key in values and index_of(parameter, space.grids[key], normalize(key, values[key])) is None:
            allowed = list(parameter.choice) if isinstance(parameter, Choice) else list(parameter.bounds)
            return f"with {key} outside {allowed}"
    inside = {key: settings[key] for key in space.parameters}
    if space.encode(inside) is None:
        missing = sorted(space.parameters.keys() - values.keys() - space.conditions.keys())
        return f"outside the space, where {', '.join(missing)} has no value" if missing else "that break a requirement"
    return StartPoint(trial.name, trial.value, {key: values[key] for key in space.parameters if key in values})


def _legal(key: str, value: Any, loaded: Loaded) -> Any:
    """The value as the hyperparameter has it; None where it cannot."""
    adapter = loaded.spec.task.adapter(key)
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    for each in (value, whole, float(value) if isinstance(value, int) and not isinstance(value, bool) else value):
        try:
            adapter.validate_python(each)
        except ValidationError:
            continue
        parameter = loaded.space.parameters[key]
        if isinstance(parameter, Choice):
            same = [one for one in parameter.choice if one == each and isinstance(one, bool) == isinstance(each, bool)]
            return same[0] if same else each
        return each
    return None
