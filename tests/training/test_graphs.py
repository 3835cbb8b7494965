"""Bodies run once each, captured or not; what a GPU replays is what it would have computed step by step."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.training.cohort import Cohort, Techniques
from sweeper.training.device import prepare
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import Learner
from sweeper.training.ops.matmul import exact
from tests.fakes.runs import make_run, objective, task

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

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


# ---- on a CPU


@pytest.mark.parametrize("enabled", [True, False])
def test_on_a_cpu_a_body_is_called_once_for_every_run(enabled: bool) -> None:
    graphs, body = Graphs(CPU, enabled), Count(CPU)
    for run in range(1, 4):
        graphs.run("body", [body.state], body)
        assert (body.calls, body.state.item()) == (run, run)
    graphs.forget()
    graphs.run("body", [body.state], body)
    assert (body.calls, body.state.item()) == (4, 4)


def test_on_a_cpu_every_run_calls_the_body_that_it_is_given_whatever_its_key() -> None:
    graphs, one, other = Graphs(CPU), Count(CPU), Count(CPU)
    graphs.run("key", [one.state], one)
    graphs.run("key", [other.state], other)
    assert (one.calls, other.calls) == (1, 1)


def test_on_a_cpu_a_body_that_raises_is_not_called_again_and_its_error_is_passed_on() -> None:
    graphs, count = Graphs(CPU), Count(CPU)

    def body() -> None:
        count()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match=r"^no$"):
        graphs.run("body", [count.state], body)
    assert count.calls == 1


# ---- on a GPU


def gpu() -> torch.device:
    return torch.device("cuda")


def cohort(runs: list[Run], graphs: bool, dtype: torch.dtype = torch.float64, **changes: object) -> Cohort:
    return Cohort(Learner(task()), runs, objective(**changes), gpu(), dtype=dtype, techniques=Techniques(graphs=graphs))


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


@needs_gpu
def test_a_captured_body_is_done_once_for_every_run() -> None:
    graphs, body = Graphs(gpu()), Count(gpu())
    for run in range(1, 6):
        graphs.run("body", [body.state], body)
        assert body.state.item() == run
    # Warm-up and capture call it; replays do not.
    calls = body.calls
    graphs.run("body", [body.state], body)
    assert body.calls == calls and body.state.item() == 6


@needs_gpu
def test_each_key_and_each_time_after_forgetting_is_captured_anew() -> None:
    graphs, one, other = Graphs(gpu()), Count(gpu()), Count(gpu())
    graphs.run("one", [one.state], one)
    graphs.run("other", [other.state], other)
    graphs.forget()
    moved = Count(gpu())
    graphs.run("one", [moved.state], moved)
    assert [each.state.item() for each in (one, other, moved)] == [1, 1, 1]


@needs_gpu
def test_a_body_that_asks_the_gpu_for_a_number_goes_on_eagerly_with_one_warning() -> None:
    graphs, state = Graphs(gpu()), torch.zeros(1, device=gpu())

    def asks() -> None:
        if state.item() >= 0:
            state.add_(1)

    with pytest.warns(UserWarning, match=r"^training goes on without CUDA graphs, more slowly: \S.+") as found:
        graphs.run("asks", [state], asks)
    assert len(found) == 1 and "\n" not in str(found[0].message)
    assert state.item() == 1
    body = Count(gpu())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphs.run("asks", [state], asks)
        graphs.run("body", [body.state], body)
    assert state.item() == 2
    # Nothing is captured any more, also where it could be.
    assert (body.calls, body.state.item()) == (1, 1)


@needs_gpu
def test_a_body_that_raises_leaves_the_state_as_it_was() -> None:
    graphs, state = Graphs(gpu()), torch.full((3,), 7.0, device=gpu())

    def body() -> None:
        state.mul_(2)
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        graphs.run("body", [state], body)
    assert state.tolist() == [7, 7, 7]


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_training_by_graphs_is_training_without_them(schedule: dict[str, object], dtype: torch.dtype) -> None:
    # The horizon lies beyond the updates compared; for captures near it see the next test.
    runs = [make_run(0, **schedule), make_run(1)]
    found, expected = (cohort(runs, graphs, dtype) for graphs in (True, False))
    for _ in range(8):
        found.update(5)
        expected.update(5)
    torch.testing.assert_close(found.stack.flat, expected.stack.flat, rtol=1e-5, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize(("horizon", "every"), [(10, 10), (20, 10), (40, 10), (25, 10), (40, 1), (31, 30)])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_curves_by_graphs_are_those_without_them_up_to_the_horizon(
    schedule: dict[str, object], horizon: int, every: int
) -> None:
    runs = [make_run(0, **schedule), make_run(1)]
    found, expected = (curves(cohort(runs, graphs, horizon=horizon, evaluate_every=every)) for graphs in (True, False))
    assert_same(found, expected, 1e-5)


@needs_gpu
@pytest.mark.parametrize("count", [1, 5])
def test_the_first_updates_are_not_done_twice_by_their_capture(count: int) -> None:
    found, expected = (cohort([make_run()], graphs) for graphs in (True, False))
    for _ in range(3):
        found.update(count)
        expected.update(count)
        torch.testing.assert_close(found.stack.flat, expected.stack.flat, rtol=0, atol=1e-10)


@needs_gpu
def test_runs_that_leave_the_stack_take_their_graphs_along() -> None:
    ends = {"until": "train_accuracy > 0.3", "horizon": 200}
    runs = [make_run(replicate) for replicate in range(4)]
    found, expected = (curves(cohort(runs, graphs, **ends)) for graphs in (True, False))
    assert len({len(columns["replicate"]) for columns in expected}) > 1
    assert_same(found, expected, 1e-5)


@needs_gpu
def test_a_gpu_trains_as_a_cpu_does() -> None:
    runs = [make_run(0, **GROWING), make_run(1)]
    on_cpu = Cohort(Learner(task()), runs, objective(horizon=40), CPU, dtype=torch.float64)
    expected = [{name: v for name, v in columns.items() if name != "seconds"} for columns in on_cpu.train()]
    assert_same(curves(cohort(runs, True, horizon=40)), expected, 1e-7)


@pytest.fixture
def own_settings_of_torch() -> Iterator[None]:
    """Threads and precision are set for the process; they are put back."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@needs_gpu
@pytest.mark.usefixtures("own_settings_of_torch")
def test_tf32_rounds_the_factors_to_10_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(2, 512, 512, generator=generator).to(gpu()) for _ in range(2))
    right = torch.bmm(x.double(), weight.double())
    errors = []
    for precision in ("float32", "tf32"):
        prepare(1, precision)
        errors.append(((exact(x, weight) - right).norm() / right.norm()).item())
    assert errors[0] < 1e-5 < errors[1] < 1e-2


@needs_gpu
@pytest.mark.usefixtures("own_settings_of_torch")
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_training_in_low_precision_runs_by_graphs_and_learns(precision: str) -> None:
    run = make_run(0, width=32)
    losses = {}
    for each in ("float32", precision):
        device = prepare(1, each)
        evaluations = list(Cohort(Learner(task()), [run], objective(horizon=60), device, each).train())
        losses[each] = [columns["train_loss"][0] for columns in evaluations]
    assert losses[precision][-1] < losses[precision][0] - 0.1
    np.testing.assert_allclose(losses[precision], losses["float32"], rtol=0.05)
    if precision == "bfloat16":
        assert losses["bfloat16"] != losses["float32"]
