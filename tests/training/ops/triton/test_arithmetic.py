"""Three tf32 products against one of float32, by arithmetic that rounds: the interpreter keeps all bits of tf32.

Factors are rounded as the compiled kernels do it (`cvt.rna`: 10 bits, to nearest). A tensor core adds eight products at
a time, exactly, to a sum that it then cuts off to float32: assumed here, the worse of what is known of such units
(Ootomo and Yokota, 2022). Plain float32 adds one product after the other, rounded to nearest.
"""

import numpy as np
import pytest

_AT_ONCE = 8


def tf32(x: np.ndarray) -> np.ndarray:
    """Rounded to 10 bits of mantissa, ties away from zero."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def cut_off(x: np.ndarray) -> np.ndarray:
    """To float32, towards zero."""
    nearest = x.astype(np.float32)
    beyond = np.abs(nearest.astype(np.float64)) > np.abs(x)
    return np.where(beyond, np.nextafter(nearest, np.float32(0)), nearest)


def by_tensor_cores(a: np.ndarray, b: np.ndarray, total: np.ndarray) -> np.ndarray:
    for k in range(0, a.shape[1], _AT_ONCE):
        eight = a[:, k : k + _AT_ONCE].astype(np.float64) @ b[k : k + _AT_ONCE].astype(np.float64)
        total = cut_off(total.astype(np.float64) + eight)
    return total


def three_products(a: np.ndarray, b: np.ndarray, depth: int = 32) -> np.ndarray:
    """As `tl.dot` does it with `tf32x3`, a step of the loop after the other: the small products first."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(0, a.shape[1], depth):
        x, y = a[:, k : k + depth], b[k : k + depth]
        x_high, y_high = tf32(x), tf32(y)
        x_low, y_low = tf32(x - x_high), tf32(y - y_high)
        found = by_tensor_cores(x_low, y_high, np.zeros_like(total))
        found = by_tensor_cores(x_high, y_low, found)
        found = by_tensor_cores(x_high, y_high, found)
        total = total + found
    return total


def one_after_the_other(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Plain float32; the product is exact before it is added, as fused units do it."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total = (total.astype(np.float64) + a[:, k, None].astype(np.float64) * b[k].astype(np.float64)).astype(
            np.float32
        )
    return total


def one_tf32_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return by_tensor_cores(tf32(a), tf32(b), np.zeros((len(a), b.shape[1]), np.float32))


@pytest.mark.parametrize("inner", [128, 512, 1218])
def test_three_tf32_products_err_no_more_than_one_of_float32(inner: int) -> None:
    generator = np.random.default_rng(inner)
    a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((64, inner), (inner, 64)))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error = {
        name: np.sqrt(np.mean((each(a, b) - exact) ** 2)) / np.sqrt(np.mean(exact**2))
        for name, each in (("three", three_products), ("float32", one_after_the_other), ("tf32", one_tf32_product))
    }
    assert error["three"] <= error["float32"] < 1e-6
    assert 1e-4 < error["tf32"] < 1e-3
