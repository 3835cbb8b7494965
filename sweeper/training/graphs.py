"""Steps of training captured as CUDA graphs: a GPU replays hundreds of small kernels without waiting for Python.

A body captured here reads and writes tensors at fixed addresses and never asks the GPU for a number. Where a capture
fails, training goes on eagerly, with a warning that names the reason; on a CPU bodies are simply called.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence

import torch

_WARM_UP = 3
"""Eager calls before a capture: libraries choose their algorithms and allocate their workspaces then."""


class Graphs:
    """Captured bodies by key.

    Args:
        device: where they run.
        enabled: False runs everything eagerly, for comparisons.
    """

    def __init__(self, device: torch.device, enabled: bool = True):
        self._device = device
        self._enabled = enabled and device.type == "cuda"
        self._captured: dict[Hashable, torch.cuda.CUDAGraph] = {}
        # Graphs are replayed one after the other and leave their results outside, so that they may share memory.
        self._pool = torch.cuda.graph_pool_handle() if self._enabled else None

    def run(self, key: Hashable, state: Sequence[torch.Tensor], body: Callable[[], None]) -> None:
        """Do what the body does, once.

        Args:
            key: names the body and every shape in it.
            state: the tensors that the body changes. Warming up changes them too; they are put back.
            body: reads and writes tensors that live as long as this object.
        """
        if self._enabled and key not in self._captured:
            self._capture(key, state, body)
        if key in self._captured:
            self._captured[key].replay()
        else:
            body()

    def forget(self) -> None:
        """Drop every capture: tensors have moved."""
        self._captured.clear()

    def _capture(self, key: Hashable, state: Sequence[torch.Tensor], body: Callable[[], None]) -> None:
        before = [tensor.clone() for tensor in state]
        graph = torch.cuda.CUDAGraph()
        try:
            side = torch.cuda.Stream(self._device)
            side.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    body()
            torch.cuda.current_stream(self._device).wait_stream(side)
            with torch.cuda.graph(graph, pool=self._pool):
                body()
            self._captured[key] = graph
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._enabled = False
            reason = str(error).splitlines()[0]
            warnings.warn(f"training goes on without CUDA graphs, more slowly: {reason}", stacklevel=2)
        finally:
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
