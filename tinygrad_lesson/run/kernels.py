"""The interpreter's kernels: each works on offsets into one float32 array.

Offsets and sizes are unsigned, so that no test for negative indices stands in the loops. Compiled by
numba once per machine and cached beside this file.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from tinygrad_lesson.run.expressions import EXPRESSIONS, signs
from tinygrad_lesson.run.microkernels import normalized_columns, product1, product5
from tinygrad_lesson.run.simd import Vector, elementwise

U = np.uint64
U0, U1, U5, U16 = U(0), U(1), U(5), U(16)
F = np.float32
BLOCK = U(2048)  # elements that are added up in float32 before they join a total
ZERO, ONE = F(0), F(1)
OPTIONS: dict[str, Any] = {
    "error_model": "numpy", "fastmath": {"nsz", "arcp", "contract", "reassoc"}, "nogil": True,
}  # fmt: skip


def kernel(function: Callable[..., Any]) -> Any:
    """Compile when first called."""
    return njit(**OPTIONS)(function)


@kernel
def product(A, x, x_row, x_step, w, w_step, o, o_row, start, start_row, flags, m, k, n):  # type: ignore[no-untyped-def]
    """`o` (m, n) = start + x (m, k) @ w (k, n); rows of w and o are contiguous. `flags` 1 there is a start, 2 relu."""
    j, positive = U0, flags >> U1
    while j < n:
        lanes = min(n - j, U16)
        begun = lanes * (flags & U1)
        i = U0
        while i < m:
            if m - i >= U5:
                product5(A, x + i * x_row, x_row, x_step, w + j, w_step, o + i * o_row + j, o_row,
                         start + i * start_row + j, start_row, begun, k, lanes, positive)  # fmt: skip
                i += U5
            else:
                product1(A, x + i * x_row, x_row, x_step, w + j, w_step, o + i * o_row + j, o_row,
                         start + i * start_row + j, start_row, begun, k, lanes, positive)  # fmt: skip
                i += U1
        j += U16


@kernel
def transposed(A, x, x_row, o, m, n):  # type: ignore[no-untyped-def]
    """`o` (n, m) = x (m, n) transposed."""
    for i in range(m):
        for j in range(n):
            A[o + j * m + i] = A[x + i * x_row + j]


def binary_kernel(expression: Callable[[Vector, Vector], Vector]) -> Any:
    """`o[i, j] = expression(a[i, j], b[i, j])`, the operands with a stride along each axis."""
    loop = elementwise(expression, 2)

    @kernel
    def run(A, o, o_row, a, a_row, a_step, b, b_row, b_step, m, n):  # type: ignore[no-untyped-def]
        loop(A, o, o_row, a, a_row, a_step, b, b_row, b_step, m, n)

    return run


def unary_kernel(expression: Callable[[Vector], Vector]) -> Any:
    """`o[i, j] = expression(a[i, j])`."""
    loop = elementwise(expression, 1)

    @kernel
    def run(A, o, o_row, a, a_row, a_step, m, n):  # type: ignore[no-untyped-def]
        loop(A, o, o_row, a, a_row, a_step, m, n)

    return run


add, subtract, multiply, divide, maximum, minimum = (
    binary_kernel(EXPRESSIONS[name])
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")
)
pass_sign = binary_kernel(lambda g, y: g * signs(y))

negative, square, root, inverse_root, absolute, sign, relu = (
    unary_kernel(EXPRESSIONS[name]) for name in ("negative", "square", "sqrt", "rsqrt", "abs", "sign", "relu")
)
exponential, logarithm, hyperbolic_tangent, logistic, log_1_plus, copied = (
    unary_kernel(EXPRESSIONS[name]) for name in ("exp", "log", "tanh", "sigmoid", "log1p", "copy")
)


@kernel
def filled(A, o, value, n):  # type: ignore[no-untyped-def]
    """All `n` elements become the one at `value`."""
    v = A[value]
    for i in range(n):
        A[o + i] = v


@kernel
def long_sum(A, x, x_step, n):  # type: ignore[no-untyped-def]
    """The sum of any number of elements: block by block, so that small numbers are not lost in a large total."""
    total, begin = np.float64(0), U0  # in float64
    while begin < n:
        part = ZERO
        for j in range(begin, min(n, begin + BLOCK)):
            part += A[x + j * x_step]
        total += part
        begin += BLOCK
    return F(total)


@kernel
def row_sums(A, x, x_row, x_step, o, m, n):  # type: ignore[no-untyped-def]
    """`o` (m,) = sums along the rows of x (m, n)."""
    if n > BLOCK:
        for i in range(m):
            A[o + i] = long_sum(A, x + i * x_row, x_step, n)
        return
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
    exponential(A, o, U0, o, U0, U1, U1, m * n)
    for i in range(m):
        q = o + i * n
        total = long_sum(A, q, U1, n)
        for j in range(n):
            A[q + j] = A[q + j] / total


@kernel
def batch_norm(
    A, x, gamma, beta, mean, inverse, o, new_mean, new_var, settings, flags, m, n, old_mean, old_var
):  # type: ignore[no-untyped-def]
    """`BatchNorm` of x (m, n) by column; `settings` epsilon and momentum, `flags` 1 training, 2 fixed, 4 relu."""
    normalized_columns(A, x, gamma, beta, mean, inverse, o, new_mean, new_var, settings, flags & U1, flags >> U1 & U1,
                       flags >> U(2), m, n, old_mean, old_var)  # fmt: skip


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
        total, i = np.float64(0), U0  # in float64, as a `long_sum`
        while i < size:
            part = ZERO
            for j in range(min(size - i, BLOCK)):
                part += abs(A[g + start + i + j])
            total += part
            i += BLOCK
        A[o + s] = F(total / size)
