"""Polynomials, by their coefficients from the highest power to the constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.diagonals import vander
from tinygrad_lesson.eager.functions.joins import append, concatenate
from tinygrad_lesson.eager.functions.linalg import lstsq
from tinygrad_lesson.eager.functions.products import convolve
from tinygrad_lesson.eager.functions.table import beside, constant, known, like, tensor
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import show


@like("polyadd")
def polyadd(a1: Any, a2: Any) -> Any:
    """The sum of two polynomials."""
    a, b = (F.reshape(tensor(x), shape=(-1,)) for x in (a1, a2))
    size = max(a.size, b.size)
    a, b = (concatenate([np.zeros(size - x.size, x.dtype), x]) for x in (a, b))
    return a + b


@like("polysub")
def polysub(a1: Any, a2: Any) -> Any:
    """The difference of two polynomials."""
    return polyadd(a1, F.negative(tensor(a2)))


@like("polymul")
def polymul(a1: Any, a2: Any) -> Any:
    """The product of two polynomials."""
    return convolve(F.reshape(tensor(a1), shape=(-1,)), F.reshape(tensor(a2), shape=(-1,)))


@like("polydiv")
def polydiv(u: Any, v: Any) -> tuple[Any, Any]:
    """How often one polynomial goes into another, and what is left."""
    u, v = tensor(u), tensor(v)
    if u.ndim > 1 or v.ndim > 1:
        raise ShapeError(f"polydiv: u is {show(u.shape)} and v is {show(v.shape)}, expected one axis of each")
    rest, v = (F.reshape(x, shape=(-1,)) for x in (u, v))
    found, count = [], rest.size - v.size + 1
    for _ in range(max(count, 0)):
        share = rest[0] / v[0]
        found.append(share)
        rest = concatenate([rest[1 : v.size] - share * v[1:], rest[v.size :]])
    rest = rest if rest.size else tensor(np.zeros(1, rest.dtype))
    values = known(rest)
    while rest.size > 1 and np.allclose(values[0], 0, rtol=1e-14):  # as NumPy does
        rest, values = rest[1:], values[1:]
    return F.stack(*found) if found else tensor(np.zeros(1)), rest


@like("polyder")
def polyder(p: Any, m: int = 1) -> Any:
    """The derivative of a polynomial, `m` times."""
    p = tensor(p)
    for _ in range(m):
        p = p[:-1] * beside(list(range(p.size - 1, 0, -1)), p)
    return p


@like("polyint")
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The integral of a polynomial, `m` times; `k` holds the constants."""
    p = tensor(p)
    constants = np.broadcast_to(0.0 if k is None else constant("polyint: k", k), (m,)).astype(
        floating(p.dtype)
    )
    for i in range(m):
        p = append(p / beside(list(range(p.size, 0, -1)), p), constants[i : i + 1])
    return p


def characteristic(a: Any) -> Any:
    """The characteristic polynomial of a matrix, by Faddeev and Le Verrier: products of matrices and traces."""
    one = np.eye(a.shape[0], dtype=floating(a.dtype))
    found, power = [np.ones(1, one.dtype)], tensor(one)
    for k in range(1, len(one) + 1):
        power = F.matmul(a, power)
        last = F.reshape(F.sum(F.diagonal(power)), shape=(1,)) / -float(k)
        found.append(last)
        power = power + last * one
    return concatenate(found)


@like("poly")
def poly(seq_of_zeros: Any) -> Any:
    """The polynomial with these roots, or the characteristic one of a matrix."""
    zeros = tensor(seq_of_zeros)
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1]:
        return characteristic(zeros)
    if zeros.ndim != 1:
        raise ShapeError(f"poly: {zeros.shape}, expected a vector of roots or a square matrix")
    one, nothing = np.ones(1, floating(zeros.dtype)), np.zeros(1, floating(zeros.dtype))
    y = tensor(one)
    for i in range(zeros.size):
        y = concatenate([y, nothing]) - concatenate([nothing, y * zeros[i]])
    return y


@like("polyval")
def polyval(p: Any, x: Any) -> Any:
    """A polynomial at `x`, by Horner's rule: coefficients from the highest power to the constant."""
    p = tensor(p)
    x = beside(x, p)
    y = F.full_like(x, 0.0)
    for i in range(len(p)):
        y = y * x + p[i]
    return y


@like("polyfit")
def polyfit(
    x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: bool = False
) -> Any:
    """Coefficients, from the highest power, of the polynomial nearest to points, by least squares with weights `w`."""
    if full or cov:
        raise AttributeValueError("polyfit: full and cov are not taken")
    x, y = tensor(x), tensor(y)
    left = vander(x, deg + 1)
    if w is not None:
        w = beside(w, x)
        left, y = left * F.reshape(w, shape=(-1, 1)), y * (F.reshape(w, shape=(-1, 1)) if y.ndim == 2 else w)
    scale = F.stop_gradient(F.sqrt(F.sum(F.square(left), axis=0)))
    rcond = x.size * np.finfo(x.dtype).eps if rcond is None else rcond
    found = lstsq(left / scale, y, rcond)[0]
    return found / (F.reshape(scale, shape=(-1, 1)) if found.ndim == 2 else scale)
