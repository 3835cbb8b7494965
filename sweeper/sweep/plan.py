"""The plan of a sweep before it starts: `sweeper check`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.config.loading import Loaded
from sweeper.config.model import Confirm, SweepSpec
from sweeper.environment.machine import Machine
from sweeper.errors import plural
from sweeper.folder.address import address_of, in_store, working_folder
from sweeper.folder.layout import SweepFolder
from sweeper.space.parameters import Choice, Float, Int
from sweeper.stats.forecast import Span, about
from sweeper.stats.significance import too_few


@dataclass(frozen=True)
class Plan:
    """The plan as data.

    Attributes:
        loaded: the checked space.
        address: where results go.
        folder: the folder that the sweep runs in.
        machine: what this machine has.
        at_once: trials that fit on it together; at most, where the share of a GPU is measured at launch.
        runs_a_trial: operations x replicates.
        most_steps: updates of single models, if no run ended before its horizon; None without a limit on trials.
        trials: of the search and the baselines; None without a limit on trials.
    """

    loaded: Loaded
    address: str
    folder: SweepFolder
    machine: Machine
    at_once: int
    runs_a_trial: int
    most_steps: int | None
    trials: int | None


UNKNOWN = "not known: no sweep like it in the results; --measure tries some configurations"


@dataclass(frozen=True)
class Estimate:
    """How long a launch will take.

    Attributes:
        span: seconds; None where nothing limits the launch, or nothing is known.
        words: where the figure comes from, or how to get one.
        price: of this machine, an hour; None for none given.
    """

    span: Span | None
    words: str
    price: float | None = None


def plan(loaded: Loaded, machine: Machine, *, here: bool = False) -> Plan:
    """Work out a plan; `here`: one trial at a time, as `launch --here` trains them."""
    spec = loaded.spec
    at_once = 1 if here else int(machine.cores / spec.resources.cpu)
    share = spec.resources.gpu
    if share and share != "auto":
        fits = machine.gpus * int(1 / share + 1e-6) if share <= 1 else machine.gpus // int(share)
        at_once = min(at_once, fits)
    runs = len(spec.task.operations) * spec.objective.replicates
    trials = _most_trials(spec)
    confirmed = (spec.confirm.top + len(spec.baselines)) * spec.confirm.replicates if spec.confirm else 0
    most = None
    if trials is not None:
        most = (trials * runs + confirmed * len(spec.task.operations)) * spec.objective.horizon
    address = address_of(spec.results, spec.name)
    return Plan(loaded, address, SweepFolder(working_folder(address)), machine, at_once, runs, most, trials)


def estimated(
    plan: Plan, space: Path, overrides: list[str] | None, *, here: bool, measure: bool, price: float | None
) -> Estimate:
    """The forecast of a launch.

    Args:
        plan: its plan.
        space, overrides: as for `launch`.
        here: whether it trains in one process.
        measure: whether to try configurations for some seconds.
        price: of this machine, an hour.
    """
    root = plan.folder.root.parent
    if measure or any(root.glob("*/" + plan.folder.space.name)):
        from sweeper.sweep.estimate import estimate  # noqa: PLC0415  # reading tables imports pyarrow; most checks need none

        return estimate(plan, space, overrides, here=here, measure=measure, price=price)
    return Estimate(None, UNKNOWN)


def render(plan: Plan) -> RenderableType:
    """The plan for people."""
    spec, machine = plan.loaded.spec, plan.machine
    facts = _facts()
    _fact(facts, "sweep", spec.name)
    _fact(facts, "task", spec.task.title)
    objective = spec.objective
    _fact(facts, "objective", f"fewest {objective.minimize} until {objective.until}, up to {objective.horizon:,} steps")
    _fact(facts, "trials", _trials(plan))
    if spec.confirm:
        _fact(facts, "confirm", _confirmations(spec, spec.confirm))
    if plan.most_steps:
        _fact(facts, "steps", f"at most {plan.most_steps:,} model updates")
    _fact(facts, "resources", _resources(plan))
    if spec.resources.gpu == "auto":
        here = f"{machine.gpus} GPU" if machine.gpus else "no GPU, so 0"
        _fact(facts, "gpu", f"auto: measured at launch; this machine has {here}")
    if spec.resources.engine != "off":
        _fact(facts, "engine", _engine(spec))
    state = " (exists: launch continues it)" if plan.folder.space.exists() else ""
    through = f", through {plan.folder.root}" if in_store(plan.address) else ""
    _fact(facts, "results", f"{plan.address}{through}{state}")
    parts: list[RenderableType] = [facts]
    if spec.search:
        parts += [Text(), _dimensions(plan.loaded)]
    if plan.at_once < 1:
        parts.append(Text("No trial fits on this machine; a cluster may have room for it.", style="bold red"))
    return Group(*parts)


def render_estimate(estimate: Estimate) -> RenderableType:
    """How long a launch will take, for people; below the plan."""
    facts = _facts()
    for name, words in _estimate(estimate):
        _fact(facts, name, words)
    return Group(Text(), facts)


def _most_trials(spec: SweepSpec) -> int | None:
    """How many trials the search and the baselines train: all baselines, whatever the budget. None: no limit."""
    baselines = len(spec.baselines)
    if not spec.search:
        return baselines
    return None if spec.budget.trials is None else max(spec.budget.trials, baselines)


def _facts() -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", min_width=len("objective"))
    facts.add_column(overflow="fold")
    return facts


def _fact(facts: Table, name: str, words: str) -> None:
    facts.add_row(name, Text(words))


def _trials(plan: Plan) -> str:
    spec = plan.loaded.spec
    limit = _most_trials(spec)
    count = "as many as fit" if limit is None else f"{limit}"
    hours = f", in at most {spec.budget.hours:g} hours over all launches" if spec.budget.hours else ""
    baselines = len(spec.baselines)
    listed = ", one of them a baseline" if baselines == 1 else f", {baselines} of them baselines" if baselines else ""
    if baselines and baselines == limit:
        listed = ", a baseline" if baselines == 1 else ", all of them baselines"
    return f"{count}{listed}{hours}; {plural(plan.runs_a_trial, 'run')} each"


def _confirmations(spec: SweepSpec, confirm: Confirm) -> str:
    best = "the best" if confirm.top == 1 else f"the {confirm.top} best"
    baselines = " and the baseline" + "s" * (len(spec.baselines) > 1) if spec.baselines else ""
    after = ", beyond those hours" if spec.budget.hours else ""
    comparisons = confirm.top * len(spec.baselines) + confirm.top - 1
    few = too_few(confirm.replicates, comparisons) if comparisons else ""
    return f"{best}{baselines} again, {plural(confirm.replicates, 'fresh seed')} each{after}" + (
        f"; {few}" if few else ""
    )


def _resources(plan: Plan) -> str:
    resources, machine = plan.loaded.spec.resources, plan.machine
    share = f" and {resources.gpu:g} GPU" if resources.gpu and resources.gpu != "auto" else ""
    has = f"{machine.cores} CPU, {machine.gpus} GPU, {machine.memory / 2**30:.0f} GiB"
    at_once = f"{'at most ' if resources.gpu == 'auto' and machine.gpus else ''}{plan.at_once} at once"
    return f"{resources.cpu:g} CPU{share} a trial; this machine has {has}: {at_once}"


def _engine(spec: SweepSpec) -> str:
    where = "the trials on a device train in one process there, stacked where they are alike"
    if spec.resources.engine == "on":
        return f"on: {where}"
    if spec.resources.gpu == "auto":
        return f"auto: if trials come to share a GPU, {where}"
    shared = f"on, for trials share a GPU: {where}"
    return f"auto: {shared if spec.resources.engines else 'off, for no trials share a GPU'}"


def _estimate(estimate: Estimate) -> Iterator[tuple[str, str]]:
    span = estimate.span
    if span is None:
        yield "time", estimate.words
        return
    yield "time", f"{about(span.likely, (span.low, span.high))}, {estimate.words}"
    if estimate.price is not None:
        low, likely, high = (f"{each * estimate.price / 3600:,.2f}" for each in (span.low, span.likely, span.high))
        yield "cost", f"about {likely} ({low} to {high}) at {estimate.price:,.2f} an hour"


def _dimensions(loaded: Loaded) -> RenderableType:
    count = len(loaded.spec.search)
    title = f"{count} dimension{'' if count == 1 else 's'}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("parameter", "values", "when"):
        table.add_column(column, overflow="fold")
    for key, parameter in loaded.space.parameters.items():
        table.add_row(key, Text(_values(parameter)), Text(parameter.when or ""))
    return table


def _values(parameter: Choice | Int | Float) -> str:
    if isinstance(parameter, Choice):
        return " | ".join(map(str, parameter.choice))
    low, high = parameter.bounds
    kind = "whole" if isinstance(parameter, Int) else "real"
    how = ", log" if parameter.log else f", step {parameter.step:g}" if parameter.step else ""
    return f"{low:g} to {high:g} ({kind}{how})"
