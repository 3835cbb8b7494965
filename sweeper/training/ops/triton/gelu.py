"""GELU and its slope, exact (Hendrycks and Gimpel 2016, arXiv:1606.08415), as parts of other kernels."""

import triton
import triton.language as tl


@triton.jit
def gelu(z):
    """z times the standard normal distribution function of z."""
    return z * (0.5 + 0.5 * tl.erf(z * 0.7071067811865476))


@triton.jit
def gelu_slope(z):
    """The derivative: the distribution function, plus z times the density."""
    return 0.5 + 0.5 * tl.erf(z * 0.7071067811865476) + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
