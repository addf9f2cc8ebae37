"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import (
    cast,
    like,
    refuse,
    tensor,
)
from tinygrad_lesson.engine.errors import ShapeError


@like("diag")
def diag(v: Any, k: int = 0, **axes: Any) -> Any:
    """A matrix with the vector `v` on a diagonal, or the diagonal of a matrix, `k` above the main one."""
    return F.diag(tensor(v), k=k, **axes)


@like("diagflat")
def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with all elements of `v` on a diagonal."""
    return F.diag(F.reshape(tensor(v), shape=(-1,)), k=k)


@like("diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, `offset` above the main one; it becomes the last axis."""
    return F.diagonal(tensor(a), offset=offset, axis1=axis1, axis2=axis2)


@like("linalg.diagonal")
def matrix_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonal of the last two axes."""
    return F.diagonal(tensor(x), offset=offset, axis1=-2, axis2=-1)


@like("trace")
def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Any:
    """The sum of a diagonal of two axes."""
    refuse("trace", out=out)
    return F.sum(cast(diagonal(a, offset, axis1, axis2), dtype), axis=-1)


@like("linalg.trace")
def matrix_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the diagonal of the last two axes."""
    return trace(x, offset, -2, -1, dtype)


@like("tril")
def tril(m: Any, k: int = 0) -> Any:
    """What lies on and below a diagonal of the last two axes; zeros above."""
    m = tensor(m)
    rows, columns = m.shape[-2:] if m.ndim > 1 else 2 * m.shape
    return F.where(np.tri(rows, columns, k=k, dtype=bool), m, False)


@like("triu")
def triu(m: Any, k: int = 0) -> Any:
    """What lies on and above a diagonal of the last two axes; zeros below."""
    m = tensor(m)
    rows, columns = m.shape[-2:] if m.ndim > 1 else 2 * m.shape
    return F.where(np.tri(rows, columns, k=k - 1, dtype=bool), False, m)


@like("vander")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of a vector as columns: from the highest, or from ``x**0`` on."""
    x = tensor(x)
    if x.ndim != 1:
        raise ShapeError(f"vander: {x.shape}, expected one vector")
    count = x.size if N is None else N
    columns: list[Any] = [F.full_like(x, 1.0)]
    for _ in range(count - 1):
        columns.append(columns[-1] * x)
    y = F.stack(*columns[: count or 1], axis=1)[:, :count]
    return y if increasing else F.flip(y, axis=1)
