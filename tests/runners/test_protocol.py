"""What becomes of a trial whose training function raises."""

import pytest
import torch

from sweeper.runners.protocol import EndedError, ending_of
from sweeper.stats.events import BESIDE_OTHERS, DEVICE_FAILED, ERROR, FINISHED, OUT_OF_MEMORY, UNUSABLE_STATE
from sweeper.trial import BesideOthersError, UnusableStateError

Accelerator = getattr(torch, "AcceleratorError", RuntimeError)  # not in older versions
ASKED = "\nCUDA kernel errors might be asynchronously reported at some other API call."


class Own(torch.OutOfMemoryError):
    """Someone's own."""


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB."), OUT_OF_MEMORY),
        (Own("no room"), OUT_OF_MEMORY),
        (MemoryError("too large"), OUT_OF_MEMORY),
        (MemoryError(), OUT_OF_MEMORY),
        (Accelerator(f"CUDA error: out of memory{ASKED}"), OUT_OF_MEMORY),
        (RuntimeError(f"CUDA error: out of memory{ASKED}"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
            OUT_OF_MEMORY,
        ),
        (Accelerator(f"CUDA error: an illegal memory access was encountered{ASKED}"), DEVICE_FAILED),
        (RuntimeError(f"CUDA error: uncorrectable ECC error encountered{ASKED}"), DEVICE_FAILED),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"), DEVICE_FAILED),
        (UnusableStateError("KeyError: 'parameters'"), UNUSABLE_STATE),
        (UnusableStateError("RuntimeError: CUDA error: in a state"), UNUSABLE_STATE),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), ERROR),
        (ValueError("CUDA error: so says the user's code"), ERROR),
        (OSError(28, "No space left on device"), ERROR),
        (ZeroDivisionError(), ERROR),
        (Exception(), ERROR),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__} {value}"[:50],
)
def test_the_cause_and_the_traceback_of_what_was_raised(error: Exception, why: str) -> None:
    try:
        raise error
    except Exception as raised:  # noqa: BLE001  # as runners catch it
        ending = ending_of(raised)
    assert (ending.kind, ending.why) == ("failed", why)
    assert ending.detail.startswith("Traceback (most recent call last):\n")
    *_, last = [line for line in ending.detail.splitlines() if type(error).__name__ in line]
    assert last.endswith(f"{type(error).__name__}: {error}".splitlines()[0] if str(error) else type(error).__name__)


@pytest.mark.parametrize(
    ("error", "why"),
    [(ValueError("mine"), BESIDE_OTHERS), (MemoryError("mine"), OUT_OF_MEMORY), (EndedError(FINISHED), "")],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_that_several_trials_share_is_nobody_s_own_but_other_causes_stay_what_they_are(
    error: Exception, why: str
) -> None:
    shared = BesideOthersError("shared")
    shared.__cause__ = error
    assert ending_of(shared).why == why
