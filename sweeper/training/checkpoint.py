"""When training keeps its state, and as which bytes.

Keeping costs time twice: the state is copied from the device and packed, and the receiver of the chunk writes it
somewhere. Both are measured, and the next state is kept when the last one's cost is a small share of the training
since.
"""

import io
import time
from collections.abc import Callable
from typing import Any

import torch

from sweeper.trial import UnusableStateError

SHARE = 0.01
"""The most of training time that keeping states takes."""
FIRST_SECONDS = 2.0
"""Training before the first state is kept; a trial that is over sooner keeps none."""


def pack(state: dict[str, Any]) -> bytes:
    """Numbers, lists and tensors as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, Any]:
    """The inverse of `pack`; tensors on the CPU. Bytes from elsewhere can run no code: `weights_only`.

    Raises:
        UnusableStateError: the bytes are none that `pack` made.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and its archive reader happen to
        raise UnusableStateError(f"{type(error).__name__}: {error}") from error
    kinds = {"stack": int, "cohort": dict}
    if not isinstance(state, dict) or any(not isinstance(state.get(name), kind) for name, kind in kinds.items()):
        raise UnusableStateError("a state has the keys stack, a whole number, and cohort")
    return state


class Pace:
    """Says when the next state is due.

    Args:
        clock: seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._since, self._wait = clock(), FIRST_SECONDS
        self._began: float | None = None

    @property
    def due(self) -> bool:
        """Whether enough has been trained since the last state was kept."""
        return self._clock() - self._since >= self._wait

    def begin(self) -> None:
        """A state is about to be kept."""
        self._began = self._clock()

    def resume(self) -> None:
        """Training goes on; where a state was kept since, it is written by now, and its cost is known."""
        if self._began is not None:
            now = self._clock()
            self._since, self._wait = now, (now - self._began) / SHARE
            self._began = None
