"""A stand-in for the capture of CUDA graphs: it replays bodies by calling them, and only where a graph could be."""

import inspect
from dataclasses import fields

import torch

from sweeper.training.buffers import Buffers
from sweeper.training.graphs import Body, Graphs
from sweeper.training.stack import Stack


class Recording:
    """A recorder that keeps the body, and replays it by calling it.

    Raises:
        AssertionError: a tensor of the body's stack has moved, which a graph would not know.
    """

    def __init__(self) -> None:
        self.warmed = 0

    def warm_up(self, body: Body) -> None:
        self.warmed += 1
        body()

    def record(self, body: Body) -> Body:
        if not inspect.isfunction(body):
            return body
        names = inspect.getclosurevars(body).nonlocals
        before = addresses(names["stack"], names["buffers"])

        def replay() -> None:
            assert addresses(names["stack"], names["buffers"]) == before
            body()

        return replay


def recorded(device: torch.device, enabled: bool = True) -> Graphs:
    """Graphs as a cohort makes them, by the stand-in."""
    return Graphs(device, enabled, Recording())


def addresses(stack: Stack, buffers: Buffers) -> list[int]:
    """Where the tensors are that updates and evaluations read and write."""
    optimiser = stack.optimiser
    tensors = [
        *(stack.parameters.values, *stack.parameters.leaves.values()),
        *(optimiser._parameters, optimiser._betas, optimiser._epsilon),
        *(optimiser.first, optimiser.second, optimiser.updates),
        *(stack.seeds, stack.train.rows, stack.train.counts, stack.validation.rows, stack.validation.counts),
        *(getattr(buffers, each.name) for each in fields(buffers)),
    ]
    return [each.data_ptr() for each in tensors]
