"""The interpreter's kernels: each works on offsets into one float32 array.

Offsets and sizes are unsigned, so that no test for negative indices stands in the loops. Compiled by
numba once per machine and cached beside this file.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from tinygrad_lesson.run.simd import add_rows, divide_rows, multiply_rows, product1, product5, subtract_rows
from tinygrad_lesson.run.transcendental import exp32, log32, sigmoid32, tanh32

U = np.uint64
U0, U1, U5, U16 = U(0), U(1), U(5), U(16)
F = np.float32
ZERO, ONE = F(0), F(1)
OPTIONS: dict[str, Any] = {
    "error_model": "numpy", "fastmath": {"nsz", "arcp", "contract", "reassoc"}, "nogil": True,
}  # fmt: skip


def kernel(function: Callable[..., Any]) -> Any:
    """Compile when first called."""
    return njit(**OPTIONS)(function)


element = njit(forceinline=True, **OPTIONS)


@kernel
def product(A, x, x_row, x_step, w, w_step, o, o_row, start, start_row, start_lanes, m, k, n):  # type: ignore[no-untyped-def]
    """`o` (m, n) = start + x (m, k) @ w (k, n); rows of w and o are contiguous."""
    j = U0
    while j < n:
        lanes = min(n - j, U16)
        begun = lanes if start_lanes != U0 else U0
        i = U0
        while i < m:
            if m - i >= U5:
                product5(A, x + i * x_row, x_row, x_step, w + j, w_step, o + i * o_row + j, o_row,
                         start + i * start_row + j, start_row, begun, k, lanes)  # fmt: skip
                i += U5
            else:
                product1(A, x + i * x_row, x_row, x_step, w + j, w_step, o + i * o_row + j, o_row,
                         start + i * start_row + j, start_row, begun, k, lanes)  # fmt: skip
                i += U1
        j += U16


@kernel
def transposed(A, x, x_row, o, m, n):  # type: ignore[no-untyped-def]
    """`o` (n, m) = x (m, n) transposed."""
    for i in range(m):
        for j in range(n):
            A[o + j * m + i] = A[x + i * x_row + j]


def binary_kernel(f: Any, narrow: Any = add_rows, narrow_up_to: Any = U0) -> Any:
    """`o[i, j] = f(a[i, j], b[i, j])`, the operands with a stride along each axis.

    `narrow` is a faster way for rows of at most `narrow_up_to` elements.
    """

    @kernel
    def run(A, o, o_row, a, a_row, a_step, b, b_row, b_step, m, n):  # type: ignore[no-untyped-def]
        if n <= narrow_up_to and m > U1 and a_step == U1 and b_step == U1:
            narrow(A, o, o_row, a, a_row, b, b_row, m, n)
            return
        for i in range(m):
            p, q, r = o + i * o_row, a + i * a_row, b + i * b_row
            if a_step == U1 and b_step == U1:
                for j in range(n):
                    A[p + j] = f(A[q + j], A[r + j])
            elif a_step == U1 and b_step == U0:
                v = A[r]
                for j in range(n):
                    A[p + j] = f(A[q + j], v)
            elif a_step == U0 and b_step == U1:
                u = A[q]
                for j in range(n):
                    A[p + j] = f(u, A[r + j])
            else:
                for j in range(n):
                    A[p + j] = f(A[q + j * a_step], A[r + j * b_step])

    return run


def unary_kernel(f: Any) -> Any:
    """`o[i, j] = f(a[i, j])`."""

    @kernel
    def run(A, o, o_row, a, a_row, a_step, m, n):  # type: ignore[no-untyped-def]
        for i in range(m):
            p, q = o + i * o_row, a + i * a_row
            if a_step == U1:
                for j in range(n):
                    A[p + j] = f(A[q + j])
            else:
                for j in range(n):
                    A[p + j] = f(A[q + j * a_step])

    return run


add = binary_kernel(element(lambda a, b: a + b), add_rows, U16)
subtract = binary_kernel(element(lambda a, b: a - b), subtract_rows, U16)
multiply = binary_kernel(element(lambda a, b: a * b), multiply_rows, U16)
divide = binary_kernel(element(lambda a, b: a / b), divide_rows, U16)
maximum = binary_kernel(element(lambda a, b: a if (a >= b or a != a) else b))
minimum = binary_kernel(element(lambda a, b: a if (a <= b or a != a) else b))
pass_sign = binary_kernel(element(lambda g, y: g * (ONE if y > ZERO else y if y == ZERO or y != y else -ONE)))

negative = unary_kernel(element(lambda x: -x))
square = unary_kernel(element(lambda x: x * x))
root = unary_kernel(element(lambda x: np.sqrt(x)))
inverse_root = unary_kernel(element(lambda x: ONE / np.sqrt(x)))
absolute = unary_kernel(element(lambda x: abs(x)))
sign = unary_kernel(element(lambda x: ONE if x > ZERO else (-ONE if x < ZERO else x)))
relu = unary_kernel(element(lambda x: x if (x > ZERO or x != x) else ZERO))
exponential = unary_kernel(exp32)
logarithm = unary_kernel(log32)
hyperbolic_tangent = unary_kernel(tanh32)
logistic = unary_kernel(sigmoid32)
log_1_plus = unary_kernel(element(lambda x: F(math.log1p(x))))
copied = unary_kernel(element(lambda x: x))


@kernel
def filled(A, o, value, n):  # type: ignore[no-untyped-def]
    """All `n` elements become the one at `value`."""
    v = A[value]
    for i in range(n):
        A[o + i] = v


@kernel
def leaky(A, o, o_row, x, x_row, x_step, g, g_row, g_step, slope, m, n):  # type: ignore[no-untyped-def]
    """`g` where x is positive, else slope * g."""
    s = A[slope]
    for i in range(m):
        for j in range(n):
            v, c = A[x + i * x_row + j * x_step], A[g + i * g_row + j * g_step]
            A[o + i * o_row + j] = c if v > ZERO else s * c


@kernel
def row_sums(A, x, x_row, x_step, o, m, n):  # type: ignore[no-untyped-def]
    """`o` (m,) = sums along the rows of x (m, n)."""
    for i in range(m):
        total = ZERO
        for j in range(n):
            total += A[x + i * x_row + j * x_step]
        A[o + i] = total


@kernel
def softmax(A, x, x_row, o, m, n):  # type: ignore[no-untyped-def]
    """Probabilities along each row; all exponentials in one loop."""
    for i in range(m):
        p, q = x + i * x_row, o + i * n
        top = A[p]
        for j in range(U1, n):
            top = max(top, A[p + j])
        for j in range(n):
            A[q + j] = A[p + j] - top
    for i in range(m * n):
        A[o + i] = exp32(A[o + i])
    for i in range(m):
        q = o + i * n
        total = ZERO
        for j in range(n):
            total += A[q + j]
        for j in range(n):
            A[q + j] = A[q + j] / total


@kernel
def batch_norm(
    A, x, gamma, beta, mean, var, o, new_mean, new_var, settings, train, fixed, m, n, old_mean, old_var
):  # type: ignore[no-untyped-def]
    """`BatchNorm` of x (m, n) along its columns; `settings` are epsilon and momentum.

    `var` ends as the inverse deviation, the op's third result.
    """
    eps, momentum = A[settings], A[settings + U1]
    if train != U0:
        for j in range(n):
            A[mean + j] = ZERO
            A[var + j] = ZERO
        for i in range(m):
            for j in range(n):
                A[mean + j] += A[x + i * n + j]
        for j in range(n):
            A[mean + j] /= F(m)
        for i in range(m):
            for j in range(n):
                v = A[x + i * n + j] - A[mean + j]
                A[o + i * n + j] = v
                A[var + j] += v * v
        for j in range(n):
            A[var + j] /= F(m)
            A[new_mean + j] = A[old_mean + j] * momentum + A[mean + j] * (ONE - momentum)
            A[new_var + j] = A[old_var + j] * momentum + A[var + j] * (ONE - momentum)
    else:
        for j in range(n):
            A[mean + j] = A[new_mean + j] = A[old_mean + j]
            A[var + j] = A[new_var + j] = A[old_var + j]
        for i in range(m):
            for j in range(n):
                A[o + i * n + j] = A[x + i * n + j] - A[mean + j]
    for j in range(n):
        deviation = np.sqrt(A[var + j] + eps)
        A[var + j] = ONE / deviation
        scale = (ONE if fixed != U0 else A[gamma + j]) / deviation
        for i in range(m):
            A[o + i * n + j] = A[o + i * n + j] * scale + A[beta + j]


@kernel
def adam(A, w, g, mean, square_, n, settings, rate):  # type: ignore[no-untyped-def]
    """One step of Adam; `settings` are beta1, 1 - beta1, beta2, 1 - beta2, epsilon."""
    b1, r1, b2, r2 = A[settings], A[settings + U1], A[settings + U(2)], A[settings + U(3)]
    epsilon, lr = A[settings + U(4)], A[rate]
    for i in range(n):
        q = A[g + i]
        a = A[mean + i] * b1 + q * r1
        b = A[square_ + i] * b2 + q * r2 * q
        A[mean + i] = a
        A[square_ + i] = b
        A[w + i] -= a * lr / (np.sqrt(b) + epsilon)


@kernel
def sgd(A, w, g, moment, n, settings, rate):  # type: ignore[no-untyped-def]
    """One step of gradient descent with momentum; the one setting is the momentum."""
    momentum, lr = A[settings], A[rate]
    for i in range(n):
        a = A[moment + i] * momentum - A[g + i] * lr
        A[moment + i] = a
        A[w + i] += a


@kernel
def mean_magnitudes(A, g, segments, count, o):  # type: ignore[no-untyped-def]
    """For each segment (start, size; two numbers in `segments`) the mean of |g|."""
    for s in range(count):
        start, size = segments[s, 0], segments[s, 1]
        total = ZERO
        for i in range(size):
            total += abs(A[g + start + i])
        A[o + s] = total / F(size)
