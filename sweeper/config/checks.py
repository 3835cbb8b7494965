"""Checks across keys: hyperparameters, conditions, requirements, and whether all of them can be met."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from pydantic import ValidationError

from sweeper.config.model import SweepSpec
from sweeper.config.reader import Document, KeyPath
from sweeper.config.wording import message_of, short
from sweeper.errors import Problem, nearest
from sweeper.space import hyperparameters
from sweeper.space.batch_schedules import ALIASES
from sweeper.space.expressions import Expression, no_comparison
from sweeper.space.parameters import Choice, Float, Int
from sweeper.space.space import Space, condition
from sweeper.tasks.task import Task

Found = Iterator[tuple[KeyPath, str]]
SAMPLES = 50
"""Random configurations that are looked at for contradictory settings."""


def findings(document: Document, spec: SweepSpec, broken: set[KeyPath], samples: int = SAMPLES) -> list[Problem]:
    """All mistakes across keys.

    Args:
        document: the file, for line numbers.
        spec: the validated sections; those in `broken` are stand-ins and are not checked.
        broken: sections, and parameters under search, that already have mistakes.
        samples: random configurations to look at; 0: a launch has checked this file before.
    """
    checks: list[tuple[set[str], Callable[[SweepSpec], Found]]] = [
        ({"task"}, _task),
        ({"objective"}, _event),
        ({"task", "keep"}, _keep),
        ({"objective", "race", "stop"}, _race),
        ({"prior", "stop"}, _prior),
        ({"search"}, _search),
        ({"fixed"}, lambda s: _values(("fixed",), s.fixed, s)),
        ({"search", "fixed"}, _searched_and_fixed),
        ({"baselines"}, _baselines),
        ({"start", "search"}, _start),
        ({"search", "fixed"}, _conditions),
        ({"require"}, _requirements),
    ]
    found: list[tuple[KeyPath, str]] = []
    for needs, check in checks:
        if not any((section,) in broken for section in needs):
            found += check(spec)
    if not found and not broken and not document.problems:
        found += _whole_configurations(spec, samples)
    return [document.problem(path, message) for path, message in dict.fromkeys(found)]


def _task(spec: SweepSpec) -> Found:
    for key, message in spec.task.mistakes():
        yield ("task", key), message
    if untrainable := spec.task.untrainable():
        yield ("task",), untrainable


def _event(spec: SweepSpec) -> Found:
    metric, known = spec.objective.event.metric, spec.task.metrics
    if metric not in known:
        yield ("objective", "until"), f"unknown metric {metric!r}{nearest(metric, known)}; logged: {', '.join(known)}"
    elif spec.objective.screen:
        allowed = [f"val_{name} > ..." for name in spec.task.shares]
        if spec.task.sampled or not allowed:
            yield ("objective", "screen"), "got true; this task has no score that a part of its validation set bounds"
        elif f"{metric} {spec.objective.event.comparison} ..." not in allowed:
            yield (
                ("objective", "screen"),
                f"got true, and until: {spec.objective.until}; a screen works for {', '.join(allowed)}",
            )


def _keep(spec: SweepSpec) -> Found:
    if spec.keep is not None and (unkeepable := spec.task.unkeepable()):
        yield ("keep",), unkeepable


def _prior(spec: SweepSpec) -> Found:
    if spec.prior and spec.stop != "thaw":
        yield ("prior",), f"stop is {spec.stop}; only stop: thaw learns from curves"


def _race(spec: SweepSpec) -> Found:
    if spec.race is None:
        return
    if spec.stop != "cap":
        yield ("race",), f"stop is {spec.stop}; a race needs stop: cap"
    if spec.race.first >= spec.objective.replicates:
        limit = f"objective.replicates ({spec.objective.replicates})"
        yield ("race", "first"), f"got {spec.race.first}; it must be less than {limit}"


def _search(spec: SweepSpec) -> Found:
    for key, parameter in spec.search.items():
        path = ("search", key)
        unknown = _unknown_key(key, spec.task)
        if unknown:
            yield path, unknown
            continue
        kind = "choice" if isinstance(parameter, Choice) else "int" if isinstance(parameter, Int) else "float"
        values = parameter.choice if isinstance(parameter, Choice) else parameter.bounds
        for i, value in enumerate(values):
            for index, message in _value_mistakes(key, value, spec.task):
                yield (*path, kind, i, *index), message
        if isinstance(parameter, Choice):
            yield from (((*path, kind), message) for message in _duplicates(key, parameter.choice))


def _values(path: KeyPath, values: Mapping[str, Any], spec: SweepSpec) -> Found:
    for key, value in values.items():
        unknown = _unknown_key(key, spec.task)
        if unknown:
            yield (*path, key), unknown
        else:
            for index, message in _value_mistakes(key, value, spec.task):
                yield (*path, key, *index), message


def _searched_and_fixed(spec: SweepSpec) -> Found:
    for key in spec.search.keys() & spec.fixed.keys():
        yield ("fixed", key), "is also under search; remove one of the two"


def _baselines(spec: SweepSpec) -> Found:
    for name, values in spec.baselines.items():
        yield from _values(("baselines", name), values, spec)


def _start(spec: SweepSpec) -> Found:
    if spec.start and not spec.search:
        yield ("start",), "there is no search to begin with it; give parameters under search, or use baselines"
    for number, values in enumerate(spec.start):
        yield from _values(("start", number), values, spec)


def _conditions(spec: SweepSpec) -> Found:
    for key, parameter in spec.search.items():
        if parameter.when is None:
            continue
        path = ("search", key, "when")
        expression, problem = _parse(parameter.when, spec.task)
        if expression is None:
            yield path, problem
            continue
        if key in expression.names:
            yield path, f"got {parameter.when!r}; a parameter cannot depend on itself"
        yield from ((path, message) for message in _word_mistakes(expression, spec))


def _requirements(spec: SweepSpec) -> Found:
    for i, text in enumerate(spec.require):
        expression, problem = _parse(text, spec.task)
        if expression is None:
            yield ("require", i), problem
        else:
            yield from ((("require", i), message) for message in _word_mistakes(expression, spec))


def _whole_configurations(spec: SweepSpec, samples: int) -> Found:
    """Mistakes of whole configurations: cyclic conditions, unreachable values and contradictory settings."""
    if not spec.search and not spec.baselines:
        yield ("search",), "nothing to run; give parameters under search, configurations under baselines, or both"
        return
    space = spec.space
    try:
        space.order  # noqa: B018  # raises for cyclic conditions
    except ValueError as error:
        yield ("search",), str(error)
        return
    if samples == 0:
        return
    try:
        impossible = [*_impossible_values(space), *_unmet_requirements(space, spec)]
        yield from impossible or _conflicts(space, spec, samples)
    except (TypeError, KeyError) as error:
        yield ("require",), f"a condition compares values of different types: {error}"
        return
    if spec.sampler.name == "grid" and space.grid(100_000) is None:
        yield ("sampler", "name"), "grid needs a space of at most 100,000 configurations; give every float a step"


def _impossible_values(space: Space) -> Found:
    for key, parameter in space.parameters.items():
        if isinstance(parameter, Choice):
            for value in space.impossible_values(key):
                reason = _reason(space, key, value)
                yield ("search", key, "choice", parameter.choice.index(value)), f"got {short(value)}; {reason}"


def _unmet_requirements(space: Space, spec: SweepSpec) -> Found:
    """Requirements that mention no searched parameter and do not hold."""
    for i, text in enumerate(spec.require):
        requirement = condition(text, space.known)
        if requirement.names & space.parameters.keys():
            continue
        unset = sorted(requirement.names - space.given.keys())
        if unset:
            yield ("require", i), f"got {text!r}; {unset[0]} has no value: put it under search or fixed"
        elif not requirement.holds(space.given):
            yield ("require",), "no configuration meets every requirement; loosen one, or widen a range"


def _reason(space: Space, key: str, value: Any) -> str:
    try:
        settings = space.complete({**space.given, key: value})
    except ValidationError:
        return "no configuration can have this value under the requirements"
    found = dict(hyperparameters.conflicts(settings))
    return found.get(key, "no configuration can have this value under the requirements")


def _conflicts(space: Space, spec: SweepSpec, samples: int) -> Found:
    """Contradictory settings in random configurations of the space, and in baselines."""
    random = Random(0)
    if space.parameters:
        for _ in range(samples):
            coordinates = {key: _random_coordinate(parameter, random) for key, parameter in space.parameters.items()}
            try:
                values = space.decode(coordinates)
            except ValueError as error:
                yield ("require",), f"{error}; loosen one, or widen a range"
                return
            for key, message in hyperparameters.conflicts(space.complete(values)):
                yield _path_of(key, spec), message
    given: list[tuple[KeyPath, Mapping[str, Any]]] = [(("start", i), values) for i, values in enumerate(spec.start)]
    given += [(("baselines", name), values) for name, values in spec.baselines.items()]
    for path, configuration in given:
        settings = space.complete(configuration)
        for key, message in hyperparameters.conflicts(settings):
            yield (*path, key), message
        known = {key: value for key, value in hyperparameters.to_flat(settings).items() if value is not None}
        for requirement in space.requirements:
            if requirement.text in spec.require and requirement.names <= known.keys() and not requirement.holds(known):
                yield path, f"does not meet {requirement.text!r}"


def _random_coordinate(parameter: Choice | Int | Float, random: Random) -> Any:
    if isinstance(parameter, Choice):
        return random.randrange(len(parameter.choice))
    low, high = parameter.bounds
    if isinstance(parameter, Int):
        return random.randrange(int(low), int(high) + 1, parameter.step or 1)
    return random.choice(parameter.grid()) if parameter.step else random.uniform(low, high)


def _path_of(key: str, spec: SweepSpec) -> KeyPath:
    return ("fixed" if key in spec.fixed or not spec.search else "search", key)


def _unknown_key(key: str, task: Task) -> str:
    """A message if a task has no such hyperparameter; empty if it has."""
    known = list(task.hyperparameters)
    if key in known:
        return ""
    if key == "batch":
        return "write the settings of the batch schedule with dots, as in batch.shape"
    if key in task.without:
        return f"the models of {task.name} have none; allowed: {', '.join(known)}"
    return f"unknown hyperparameter{nearest(key, known)}; allowed: {', '.join(known)}"


def _value_mistakes(key: str, value: Any, task: Task) -> Iterator[tuple[KeyPath, str]]:
    """(index within the value, message) for every mistake of one value."""
    try:
        task.adapter(key).validate_python(value)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            index = tuple(part for part in details["loc"] if isinstance(part, int))
            if details["type"] != "none_required":
                yield index, message_of(details)


def _duplicates(key: str, values: Sequence[Any]) -> Iterator[str]:
    normal = [hyperparameters.normalize(key, value) for value in values]
    for i, value in enumerate(normal):
        if value in normal[:i]:
            yield f"got both {short(values[normal.index(value)])} and {short(values[i])}, which are the same; list one"


def _parse(text: str, task: Task) -> tuple[Expression | None, str]:
    try:
        return condition(text, task.hyperparameters), ""
    except ValueError as error:
        return None, str(error)


def _word_mistakes(expression: Expression, spec: SweepSpec) -> Iterator[str]:
    """Messages about words that are neither hyperparameters nor values of a hyperparameter in the expression."""
    for name in sorted(expression.names & hyperparameters.LISTS):
        yield f"got {expression.text!r}; {name} is a list, and conditions cannot compare lists"
    for name in sorted(expression.alone):
        if not _is_flag(name, spec.task):
            yield no_comparison(expression.text)
    texts = {key: words for key in spec.task.hyperparameters if (words := _texts(key, spec)) is not None}
    allowed = [word for name in sorted(expression.names) for word in texts.get(name, ())]
    unknown = sorted(expression.words - expression.alone - set(allowed) - set(ALIASES))
    for word in unknown:
        known = [*allowed, *spec.task.hyperparameters]
        values = f"; values: {', '.join(allowed)}" if allowed else ""
        yield f"unknown name {word!r} in {expression.text!r}{nearest(word, known)}{values}"
    if not unknown and expression.compares_text_with_number(texts):
        yield f"got {expression.text!r}, which compares text with a number"


def _is_flag(key: str, task: Task) -> bool:
    return key in task.hyperparameters and task.hyperparameters[key].annotation is bool


def _texts(key: str, spec: SweepSpec) -> tuple[str, ...] | None:
    """Words that a hyperparameter can have in this sweep; None if its values are not text."""
    words = spec.task.choices(key)
    if not words:
        if spec.task.hyperparameters[key].annotation is not str:
            return None
        parameter = spec.search.get(key)
        written = (
            values[key] for values in (spec.task.all_defaults, spec.fixed, *spec.baselines.values()) if key in values
        )
        words = (*(parameter.choice if isinstance(parameter, Choice) else ()), *written)
    return tuple(dict.fromkeys(word for word in words if isinstance(word, str)))
