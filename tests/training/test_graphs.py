"""Bodies run once each, captured or not; what a GPU replays is what it would have computed step by step."""

import pytest
import torch

from sweeper.training.graphs import Graphs
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
