"""Every kernel as an H100 would run it, compiled without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
TENSOR_CORES = {
    "product": "wgmma tf32",
    "weights": "wgmma tf32",
    "gather": "wgmma tf32",
    "feed": "wgmma tf32",
    "feed_backward": "wgmma tf32",
    "embed_backward": "mma tf32",
}
KERNELS = {
    *TENSOR_CORES, "adamw", "arrange", "attend", "attend_backward", "batch", "cross_entropy", "cross_entropy_backward",
    "draw", "embed", "norm", "norm_backward", "squares", "tally",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles on Linux")
def test_every_kernel_of_an_update_compiles_for_sm_90_without_spills_and_with_tensor_cores(tmp_path: Path) -> None:
    # In a process of its own, where kernels are made to be compiled; here they may be made for the interpreter.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.predict_gpu", "--resources"],
        cwd=ROOT, env=environment | {"TRITON_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {each["name"] for each in found} == KERNELS
    for each in found:
        assert each["spilled"] == 0, each
        assert each["shared"] < 227 * 1024, each
        wanted = TENSOR_CORES.get(each["name"])
        assert each["tensor_cores"] == ([wanted] if wanted else []), each
