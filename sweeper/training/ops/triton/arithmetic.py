"""Matrix products inside kernels, in the chosen precision; see `sweeper.training.ops.matmul`.

`float32` is three products on tensor cores: a factor is split into two tf32 numbers, a = high + low, and
a b = high_a high_b + high_a low_b + low_a high_b. What is left out is of the size of float32's own rounding (Ootomo and
Yokota, "Recovering single precision accuracy from Tensor Cores", 2022, arXiv:2203.03341).
"""

import triton
import triton.language as tl


@triton.jit
def dot(a, b, total, PRECISION: tl.constexpr):
    """total + a b."""
    if PRECISION == "bfloat16":
        found = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    elif PRECISION == "tf32":
        found = tl.dot(a, b, total, input_precision="tf32")
    else:
        found = tl.dot(a, b, total, input_precision="tf32x3")
    return found


@triton.jit
def finished(product, PRECISION: tl.constexpr):
    """A product as its precision leaves it: bfloat16 rounds results as well as factors."""
    if PRECISION == "bfloat16":
        product = product.to(tl.bfloat16).to(tl.float32)
    return product
