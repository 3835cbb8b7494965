import sys

import pytest
import torch

from sweeper.training.ops import triton


def test_without_triton_torchs_operations_serve_and_one_warning_says_why(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "_works", {})
    monkeypatch.delattr(triton, "tally", raising=False)
    monkeypatch.setitem(sys.modules, "sweeper.training.ops.triton.tally", None)
    with pytest.warns(UserWarning, match=r"^training goes on without Triton's kernels, more slowly: .*tally") as found:
        served = [triton.serve(torch.zeros(1, device=device)) for _ in range(2)]
    assert served == [False, False] and len(found) == 1


def test_kernels_serve_float32_where_they_can_be_compiled(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "_works", {})
    assert triton.serve(torch.zeros(1, device=device))
    assert not triton.serve(torch.zeros(1, device=device, dtype=torch.float64))
