"""Kernels run on a GPU where there is one, and in Triton's interpreter, on CPU tensors, where there is none."""

import os

import pytest
import torch

ON_A_GPU = torch.cuda.is_available()
if not ON_A_GPU:
    # Kernels are made for the interpreter or for a GPU when their module is imported.
    os.environ["TRITON_INTERPRET"] = "1"

from sweeper.training.ops import triton  # noqa: E402


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where the kernels serve."""
    kind = "cuda" if ON_A_GPU else "cpu"
    monkeypatch.setattr(triton, "devices", {kind})
    monkeypatch.setattr(triton, "_works", {kind: True})
    return torch.device(kind)
