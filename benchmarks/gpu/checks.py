"""The checks of tests/training/on_devices.py, without pytest."""

import traceback
from collections.abc import Iterator

import torch

from benchmarks.gpu.section import Record, Setting, record
from tests.training.on_devices import ANYWHERE, ON_A_GPU


def measure(setting: Setting) -> Iterator[Record]:
    """One record for each check that fails, and their number."""
    checks = ANYWHERE | (ON_A_GPU if setting.device == "cuda" else {})
    if setting.tiny:
        checks = dict(list(checks.items())[:4])
    failed = 0
    for name, check in checks.items():
        try:
            check(torch.device(setting.device))
        except Exception as error:  # noqa: BLE001  # whatever a check raises is what it found
            failed += 1
            reason = (str(error).strip().splitlines() or [""])[0]
            yield record(name, f"{type(error).__name__}: {reason}"[:100], traceback=traceback.format_exc())
    yield record("checks failed", failed, f"of {len(checks)}", goal=0)
