#!/usr/bin/env bash
# Triton 3.7.1, compiled for sm_90: with eight warps on 64 rows, two of the three products of input_precision="tf32x3" are computed twice.
#
# `tl.dot(..., input_precision="tf32x3")` multiplies three times in tf32 for the accuracy of float32, so three times the instructions of
# "tf32" are expected. With four warps (one warpgroup) that is so. With eight, "tf32" lays two warpgroups side by side along the columns
# (warpsPerCTA [4, 2]), but two of the three products get warps [8, 1], along the rows, of which 64 are only enough for one warpgroup: both
# compute the same 64 x 64 tile, twice as many instructions each, and the result changes its layout between the products. Twenty instructions
# for twelve. No GPU is needed to see it, and nothing warns. With 128 rows, or four warps, each product is computed once.
#
# Output seen:
#   64 rows, 4 warps: tf32 4 wgmma, warps [4, 1]; tf32x3 12 wgmma, warps [4, 1]
#   64 rows, 8 warps: tf32 4 wgmma, warps [4, 2]; tf32x3 20 wgmma, warps [4, 2] and [8, 1]
#   128 rows, 8 warps: tf32 4 wgmma, warps [8, 1]; tf32x3 12 wgmma, warps [8, 1]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'triton==3.7.1'
cd "$folder"
cat > product.py <<'PYTHON'
import re

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def product(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, HOW: tl.constexpr):
    rows, columns, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left = tl.load(a + rows[:, None] * K + inner[None, :])
    right = tl.load(b + inner[:, None] * N + columns[None, :])
    tl.store(out + rows[:, None] * N + columns[None, :], tl.dot(left, right, input_precision=HOW))


def compiled(rows, warps, how):
    pointers = dict.fromkeys(("a", "b", "out"), "*fp32")
    source = ASTSource(product, pointers, {"M": rows, "N": 128, "K": 32, "HOW": how})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    count = len(re.findall(r"wgmma\.mma_async", made.asm["ptx"]))
    layouts = re.findall(r"nvidia_mma<\{[^}]*warpsPerCTA = (\[\d+, \d+\])", made.asm["ttgir"])
    return f"{how} {count} wgmma, warps {' and '.join(sorted(set(layouts)))}"


for rows, warps in ((64, 4), (64, 8), (128, 8)):
    print(f"{rows} rows, {warps} warps: " + "; ".join(compiled(rows, warps, how) for how in ("tf32", "tf32x3")))
PYTHON
TRITON_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" product.py | tee seen
diff seen - <<'SEEN'
64 rows, 4 warps: tf32 4 wgmma, warps [4, 1]; tf32x3 12 wgmma, warps [4, 1]
64 rows, 8 warps: tf32 4 wgmma, warps [4, 2]; tf32x3 20 wgmma, warps [4, 2] and [8, 1]
128 rows, 8 warps: tf32 4 wgmma, warps [8, 1]; tf32x3 12 wgmma, warps [8, 1]
SEEN
