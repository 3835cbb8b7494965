"""Steps of training captured as CUDA graphs: a GPU replays hundreds of small kernels without waiting for Python.

A body captured here reads and writes tensors at fixed addresses and never reads a number from the GPU. Where a capture
fails, training continues eagerly, with a warning that names the reason; on a CPU bodies are simply called.
"""

import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

Body = Callable[[], None]


@dataclass(frozen=True)
class Captures:
    """How many bodies were captured, and the seconds that took, warm-up included."""

    count: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Captures") -> "Captures":
        return Captures(self.count + other.count, self.seconds + other.seconds)

    def __sub__(self, other: "Captures") -> "Captures":
        return Captures(self.count - other.count, self.seconds - other.seconds)


class Recorder(Protocol):
    """Captures bodies."""

    def warm_up(self, body: Body) -> None:
        """Call the body eagerly, as libraries need before a capture."""
        ...

    def record(self, body: Body) -> Body:
        """A function that replays the body. Capturing does not run the body."""
        ...


class CudaRecorder:
    """CUDA's stream capture: see `Recorder`."""

    def __init__(self, device: torch.device):
        self._device = device
        # Graphs are replayed one after the other and leave their results outside, so that they may share memory.
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, body: Body) -> None:
        """See `Recorder`: libraries choose their algorithms, allocate workspaces and load kernels."""
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            body()
        torch.cuda.current_stream(self._device).wait_stream(side)

    def record(self, body: Body) -> Body:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            body()
        return graph.replay


class Graphs:
    """Captured bodies by key.

    Args:
        device: where they run.
        enabled: False runs everything eagerly, for comparisons.
        recorder: what captures; CUDA's on a GPU, and nothing on a CPU, unless it is given.

    Attributes:
        captures: those of this object.
    """

    def __init__(self, device: torch.device, enabled: bool = True, recorder: Recorder | None = None):
        on_a_gpu = enabled and device.type == "cuda"
        self._recorder = recorder or (CudaRecorder(device) if on_a_gpu else None)
        self._captured: dict[Hashable, Body] = {}
        self._warm: set[Hashable] = set()
        self.captures = Captures()

    def run(self, key: Hashable, state: Sequence[torch.Tensor], body: Body, kind: Hashable = None) -> None:
        """Do what the body does, once.

        Args:
            key: names the body and every shape in it.
            state: the tensors that the body changes. Warming up changes them too; they are put back.
            body: reads and writes tensors that live as long as this object.
            kind: bodies of one kind do the same to the same shapes, more or less often; the first one warms up for
                all of them. Tables that depend on a shape are made then. Without it the key.
        """
        if self._recorder is not None and key not in self._captured:
            self._capture(self._recorder, key, state, body, key if kind is None else kind)
        self._captured.get(key, body)()

    def forget(self) -> None:
        """Drop every capture: tensors have moved."""
        self._captured.clear()
        self._warm.clear()

    def _capture(  # `run` passes what it was given
        self, recorder: Recorder, key: Hashable, state: Sequence[torch.Tensor], body: Body, kind: Hashable
    ) -> None:
        before, began = [tensor.clone() for tensor in state], time.perf_counter()
        try:
            if kind not in self._warm:
                recorder.warm_up(body)
                self._warm.add(kind)
                _put_back(state, before)
            self._captured[key] = recorder.record(body)
            self.captures += Captures(1, time.perf_counter() - began)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._recorder = None
            reason = str(error).splitlines()[0]
            warnings.warn(f"training goes on without CUDA graphs, more slowly: {reason}", stacklevel=2)
        finally:
            _put_back(state, before)


def _put_back(state: Sequence[torch.Tensor], before: Sequence[torch.Tensor]) -> None:
    for tensor, value in zip(state, before, strict=True):
        tensor.copy_(value)
