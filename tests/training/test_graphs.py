"""Bodies run once each, captured or not; what a GPU replays is what it would have computed step by step."""

import pytest
import torch

from sweeper.training.graphs import Body, Graphs
from tests.fakes.recorder import Recording
from tests.fakes.runs import CPU
from tests.training.on_devices import ANYWHERE, ON_A_GPU, Check, Count

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("check", (ANYWHERE | ON_A_GPU).values(), ids=ANYWHERE | ON_A_GPU)
def test_on_a_gpu(check: Check) -> None:
    check(torch.device("cuda"))


SHORTEST = {name.partition("[")[0]: check for name, check in reversed(ANYWHERE.items())}
"""A case of each: on a CPU nothing is captured, so that they show that the checks themselves hold."""


@pytest.mark.slow
@pytest.mark.parametrize("check", SHORTEST.values(), ids=SHORTEST)
def test_on_a_cpu(check: Check) -> None:
    check(CPU)


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


def test_bodies_of_one_kind_warm_up_once_are_captured_once_each_and_are_counted() -> None:
    recorder = Recording()
    graphs, body = Graphs(CPU, recorder=recorder), Count(CPU)
    for key in ("one", "two", "one"):
        graphs.run(key, [body.state], body, kind="kind")
    # Warming up changed the state, and it was put back.
    assert body.state.item() == 3
    assert (recorder.warmed, graphs.captures.count) == (1, 2)
    assert graphs.captures.seconds > 0
    graphs.forget()
    graphs.run("one", [body.state], body, kind="kind")
    assert (recorder.warmed, graphs.captures.count, body.state.item()) == (2, 3, 4)


def test_a_capture_that_fails_leaves_the_state_and_everything_goes_on_eagerly_with_one_warning() -> None:
    class Failing(Recording):
        def record(self, body: Body) -> Body:
            body()
            raise RuntimeError("operation not permitted\nwhen capturing")

    graphs, body = Graphs(CPU, recorder=Failing()), Count(CPU)
    with pytest.warns(UserWarning, match=r"more slowly: operation not permitted$"):
        graphs.run("body", [body.state], body)
    graphs.run("other", [body.state], body)
    assert body.state.item() == 2 and graphs.captures.count == 0
