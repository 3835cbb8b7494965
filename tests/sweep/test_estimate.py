"""How long a launch will take: from what this sweep or one like it took here, or from configurations tried."""

import json
import platform
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.config.loading import Loaded, load
from sweeper.environment.machine import Machine
from sweeper.folder.layout import SweepFolder
from sweeper.stats.forecast import Span, Work, forecast
from sweeper.sweep import estimate, trying
from sweeper.sweep.opening import searched_before
from sweeper.sweep.plan import Estimate, estimated, plan, render_estimate
from tests.fakes import small
from tests.fakes.sweeps import PUBLISHED, QUESTION, Sweep
from tests.fakes.training import learns

MACHINE = Machine(cores=2, memory=2**33, gpus=0)


def recorded_sweep(root: Path, command: tuple[str, ...] = ("sweeper", "launch"), **changes: Any) -> Sweep:
    """A sweep of four trials that this machine has run."""
    sweep = Sweep(root, {"budget": {"trials": 4}} | changes)
    sweep.launch(learns(lambda *_: 20))
    launched = {"host": platform.node(), "command": list(command), "launched": "2026-01-01T00:00:00+00:00"}
    sweep.folder.provenance.write_text(json.dumps([launched]))
    return sweep


def question(sweep: Sweep, name: str, **changes: Any) -> Loaded:
    """The same question under another name beside it, with some changes."""
    path = sweep.root / "space.yaml"
    data = json.loads(path.read_text()) | {"name": name, "results": str(sweep.folder.root.parent)} | changes
    path.write_text(json.dumps(data))
    return load(path)


def test_the_most_similar_sweep_of_this_machine_is_what_an_estimate_is_made_from(tmp_path: Path) -> None:
    sweep = recorded_sweep(tmp_path)
    folder = SweepFolder(sweep.folder.root.parent / "again")
    same = estimate.recorded(question(sweep, "again"), folder, "ray")
    assert same is not None
    assert (len(same.took), same.words) == (4, "4 trials of made-up")
    wider = {"horizon": 200, "evaluate_every": 10, "replicates": 4}
    alike = estimate.recorded(question(sweep, "again", objective=wider), folder, "ray")
    assert alike is not None
    assert alike.took == pytest.approx([4 * each for each in same.took]), "twice the runs, twice the horizon"
    assert alike.doubt > same.doubt
    assert alike.words.startswith("4 trials of made-up, which has another space")
    here = estimate.recorded(question(sweep, "again", objective=QUESTION["objective"]), folder, "here")
    assert here is not None
    assert here.doubt > same.doubt, "its trials trained beside each other"
    other = {"name": "modular_arithmetic", "operation": "x_plus_y", "modulus": 97}
    assert estimate.recorded(question(sweep, "again", task=other), folder, "ray") is None
    sweep.folder.provenance.write_text(json.dumps([{"host": "another"}]))
    assert estimate.recorded(question(sweep, "again", task=QUESTION["task"]), folder, "ray") is None


def test_a_sweep_that_goes_on_has_only_the_rest_before_it(tmp_path: Path) -> None:
    sweep = recorded_sweep(tmp_path)
    loaded = question(sweep, "made-up", budget={"trials": 10})
    basis = estimate.recorded(loaded, sweep.folder, "ray")
    assert basis is not None
    assert basis.words == "4 trials of this sweep"
    basis = replace(basis, took=(10.0,) * 20, overhead=5.0)
    span = estimate.duration(basis, loaded.spec, 10, 2)
    assert span is not None
    assert span.likely == pytest.approx(5 + 6 * 10 / 2, rel=0.05)


def test_an_estimate_counts_confirmations_and_what_the_cap_will_save(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {"baselines": {"published": PUBLISHED}, "confirm": {"top": 2, "replicates": 6}})
    sweep.open()
    loaded = question(sweep, "new", stop="none", budget={"trials": 4})
    basis = estimate.measured([10.0] * 8, 8, SweepFolder(tmp_path / "new"), "here")
    span = estimate.duration(basis, loaded.spec, 4, 1)
    assert span is not None
    confirmed = 3 * 3 * 10  # the baseline and two finalists, with three times as many runs
    assert span.likely == pytest.approx(basis.overhead + 4 * 10 + confirmed, rel=0.1)
    assert span.low < 0.8 * span.likely < 1.2 * span.likely < span.high
    uneven = tuple(float(each) for each in range(5, 40, 5))
    whole, capped = (forecast(Work(uneven, search=30, cap=cap)).likely for cap in (None, 2))
    assert capped < 0.6 * whole


def test_hours_alone_are_the_time_of_the_search_and_nothing_limits_what_has_no_limit(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    sweep.open()
    loaded = question(sweep, "new", budget={"hours": 2})
    basis = estimate.measured([10.0] * 8, 8, SweepFolder(tmp_path / "new"), "here")
    span = estimate.duration(basis, loaded.spec, None, 1)
    assert span is not None
    assert span.likely == pytest.approx(7200 + basis.overhead, rel=0.01)
    used_up = estimate.duration(replace(basis, searched=7300.0), loaded.spec, None, 1)
    assert used_up is not None
    assert used_up.likely == pytest.approx(basis.overhead)


def test_a_time_budget_is_less_by_what_earlier_launches_searched(tmp_path: Path) -> None:
    sweep = recorded_sweep(tmp_path)
    loaded = question(sweep, "made-up", budget={"hours": 1})
    basis = estimate.recorded(loaded, sweep.folder, "ray")
    assert basis is not None
    assert basis.searched == searched_before(sweep.folder) > 0


def test_the_time_is_shown_with_its_interval_and_the_cost(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    sweep.open()
    planned = plan(question(sweep, "new"), MACHINE)
    nothing = estimated(planned, tmp_path, None, here=False, measure=False, price=None)
    assert nothing.span is None
    console = Console(file=StringIO(), width=100)
    console.print(render_estimate(Estimate(Span(1500, 2400, 3600), "from 9 trials of x", price=3.0)))
    assert isinstance(console.file, StringIO)
    shown = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "time about 40 min (25 to 60), from 9 trials of x" in shown
    assert "cost about 2.00 (1.25 to 3.00) at 3.00 an hour" in shown


@pytest.mark.slow
def test_configurations_that_are_tried_are_real_ones(tmp_path: Path) -> None:
    """In this process, as each process of a probe does."""
    space = small.write(tmp_path)
    took, ended = trying._try(space, [], 0, 0.5)
    assert 1 <= ended <= len(took)
    assert all(each > 0 for each in took)
    slow = ["objective.horizon=30000", "objective.until=train_accuracy > 2"]
    took, ended = trying._try(space, slow, 0, 0.5)
    assert ended == 0
    assert min(took) > 5, "what was not seen to end is expected on the way to its horizon"
