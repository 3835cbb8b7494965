"""Checks of training that take a device; benchmarks/on_a_gpu.py calls them without pytest.

`ANYWHERE` holds on every device; `ON_A_GPU` is about what CPUs do not have: captures, and matrix units that round.
"""

import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.training.ops.matmul import exact
from sweeper.training.techniques import Techniques
from tests.fakes.reference import PlainTransformer
from tests.fakes.runs import CPU, make_run, objective, task

Check = Callable[[torch.device], None]

GROWING = {"batch.shape": "linear", "batch.min": 5, "batch.max": 40, "batch.every": 1, "batch.period": 30}
ADAPTIVE = {"batch.shape": "noise_scale", "batch.min": 8, "batch.max": 64, "batch.every": 5}
SCHEDULES: dict[str, dict[str, object]] = {"constant": {}, "growing": GROWING, "adaptive": ADAPTIVE}


class Count:
    """A body that counts its calls, in Python and in a tensor."""

    def __init__(self, device: torch.device):
        self.calls = 0
        self.state = torch.zeros(1, device=device)

    def __call__(self) -> None:
        self.calls += 1
        self.state += 1


def cohort(
    device: torch.device, runs: list[Run], graphs: bool, dtype: torch.dtype = torch.float64, **changes: object
) -> Cohort:
    techniques = Techniques(graphs=graphs)
    return Cohort(
        ModularArithmeticLearner(task()), runs, objective(**changes), device, dtype=dtype, techniques=techniques
    )


def curves(of: Cohort) -> list[dict[str, Any]]:
    return [{name: values for name, values in columns.items() if name != "seconds"} for columns in of.train()]


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]], rtol: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name, values in other.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(one[name], values, rtol=rtol, atol=rtol, err_msg=name)
            else:
                assert one[name].tolist() == values.tolist(), name


# ---- anywhere


def a_body_is_done_once_for_every_run(device: torch.device) -> None:
    graphs, body = Graphs(device), Count(device)
    for run in range(1, 6):
        graphs.run("body", [body.state], body)
        assert body.state.item() == run


def each_key_is_a_body_of_its_own(device: torch.device) -> None:
    graphs, one, other = Graphs(device), Count(device), Count(device)
    graphs.run("one", [one.state], one)
    graphs.run("other", [other.state], other)
    assert [each.state.item() for each in (one, other)] == [1, 1]


def what_was_forgotten_is_captured_anew(device: torch.device) -> None:
    graphs, one, moved = Graphs(device), Count(device), Count(device)
    graphs.run("one", [one.state], one)
    graphs.forget()
    graphs.run("one", [moved.state], moved)
    assert [each.state.item() for each in (one, moved)] == [1, 1]


def training_by_graphs_is_training_without_them(schedule: str, dtype: torch.dtype, device: torch.device) -> None:
    # The horizon lies beyond the updates compared; for captures near it see the next check.
    runs = [make_run(0, **SCHEDULES[schedule]), make_run(1)]
    found, expected = (cohort(device, runs, graphs, dtype) for graphs in (True, False))
    for _ in range(8):
        found.update(5)
        expected.update(5)
    torch.testing.assert_close(found.parameters.values, expected.parameters.values, rtol=1e-5, atol=1e-5)


def curves_by_graphs_are_those_without_them(schedule: str, horizon: int, every: int, device: torch.device) -> None:
    runs = [make_run(0, **SCHEDULES[schedule]), make_run(1)]
    found, expected = (
        curves(cohort(device, runs, graphs, horizon=horizon, evaluate_every=every)) for graphs in (True, False)
    )
    assert_same(found, expected, 1e-5)


def the_first_updates_are_not_done_twice_by_their_capture(count: int, device: torch.device) -> None:
    found, expected = (cohort(device, [make_run()], graphs) for graphs in (True, False))
    for _ in range(3):
        found.update(count)
        expected.update(count)
        torch.testing.assert_close(found.parameters.values, expected.parameters.values, rtol=0, atol=1e-10)


def runs_leave_the_stack_with_graphs_as_without_them(device: torch.device) -> None:
    ends = {"until": "train_accuracy > 0.15", "horizon": 200}
    runs = [make_run(replicate) for replicate in range(4)]
    found, expected = (curves(cohort(device, runs, graphs, **ends)) for graphs in (True, False))
    assert len({len(columns["replicate"]) for columns in expected}) > 1
    assert_same(found, expected, 1e-5)


def a_device_trains_as_the_cpu_does(device: torch.device) -> None:
    runs = [make_run(0, **GROWING), make_run(1)]
    found, expected = (curves(cohort(each, runs, True, horizon=40)) for each in (device, CPU))
    assert_same(found, expected, 1e-7)


def the_plain_model_runs_where_its_examples_are(device: torch.device) -> None:
    torch.manual_seed(0)
    model = PlainTransformer(13, 11, depth=1, width=16, heads=2)
    tokens = torch.randint(13, (4, 5))
    expected = model(tokens)
    torch.testing.assert_close(model.to(device)(tokens.to(device)).cpu(), expected, rtol=1e-4, atol=1e-4)


def training_in_low_precision_learns(precision: Any, device: torch.device) -> None:
    losses = {}
    for each in ("float32", precision):
        prepare(1, each)
        learner, settings = ModularArithmeticLearner(task()), objective(horizon=60)
        evaluations = Cohort(learner, [make_run(0, width=32)], settings, device, precision=each).train()
        losses[each] = [columns["train_loss"][0] for columns in evaluations]
    assert losses[precision][-1] < losses[precision][0] - 0.1
    np.testing.assert_allclose(losses[precision], losses["float32"], rtol=0.05)
    if precision == "bfloat16":
        assert losses["bfloat16"] != losses["float32"]


# ---- on a GPU


def a_replay_does_not_call_its_body(device: torch.device) -> None:
    graphs, body = Graphs(device), Count(device)
    graphs.run("body", [body.state], body)
    calls = body.calls  # by warm-up and capture
    graphs.run("body", [body.state], body)
    assert (body.calls, body.state.item()) == (calls, 2)


def a_body_that_reads_a_number_from_the_gpu_goes_on_eagerly_with_one_warning(device: torch.device) -> None:
    graphs, state, body = Graphs(device), torch.zeros(1, device=device), Count(device)

    def reads() -> None:
        if state.item() >= 0:
            state.add_(1)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            graphs.run("reads", [state], reads)
        graphs.run("body", [body.state], body)
    said = [str(each.message) for each in found]
    assert len(said) == 1 and said[0].startswith("training goes on without CUDA graphs, more slowly: "), said
    assert "\n" not in said[0]
    assert state.item() == 2
    # Nothing is captured any more, also where it could be.
    assert (body.calls, body.state.item()) == (1, 1)


def a_body_that_raises_leaves_the_state_as_it_was(device: torch.device) -> None:
    graphs, state = Graphs(device), torch.full((3,), 7.0, device=device)

    def body() -> None:
        state.mul_(2)
        raise ValueError("no")

    error = ""
    try:
        graphs.run("body", [state], body)
    except ValueError as raised:
        error = str(raised)
    assert error == "no"
    assert state.tolist() == [7, 7, 7]


def tf32_rounds_the_factors_to_10_bits(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(2, 512, 512, generator=generator).to(device) for _ in range(2))
    right = torch.bmm(x.double(), weight.double())
    errors = []
    for precision in ("float32", "tf32"):
        prepare(1, precision)
        errors.append(((exact(x, weight) - right).norm() / right.norm()).item())
    assert errors[0] < 1e-5 < errors[1] < 1e-2


def _named(*checks: Check) -> dict[str, Check]:
    found = {}
    for check in checks:
        whole = check if isinstance(check, partial) else partial(check)
        values = "-".join(str(value).removeprefix("torch.") for value in whole.args)
        found[f"{whole.func.__name__}[{values}]" if values else whole.func.__name__] = check
    return found


ANYWHERE = _named(
    a_body_is_done_once_for_every_run,
    each_key_is_a_body_of_its_own,
    what_was_forgotten_is_captured_anew,
    *(
        partial(training_by_graphs_is_training_without_them, schedule, dtype)
        for schedule, dtype in product(SCHEDULES, (torch.float32, torch.float64))
    ),
    *(
        partial(curves_by_graphs_are_those_without_them, schedule, horizon, every)
        for schedule, (horizon, every) in product(
            SCHEDULES, [(10, 10), (20, 10), (40, 10), (25, 10), (40, 1), (31, 30)]
        )
    ),
    *(partial(the_first_updates_are_not_done_twice_by_their_capture, count) for count in (1, 5)),
    runs_leave_the_stack_with_graphs_as_without_them,
    a_device_trains_as_the_cpu_does,
    the_plain_model_runs_where_its_examples_are,
    *(partial(training_in_low_precision_learns, precision) for precision in ("tf32", "bfloat16")),
)
ON_A_GPU = _named(
    a_replay_does_not_call_its_body,
    a_body_that_reads_a_number_from_the_gpu_goes_on_eagerly_with_one_warning,
    a_body_that_raises_leaves_the_state_as_it_was,
    tf32_rounds_the_factors_to_10_bits,
)
