"""Linear algebra with NumPy's parameters: decompositions, equations, norms, functions of matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.diagonals import matrix_diagonal as diagonal
from tinygrad_lesson.eager.functions.diagonals import matrix_trace as trace
from tinygrad_lesson.eager.functions.diagonals import tril, triu
from tinygrad_lesson.eager.functions.moves import matrix_transpose, moveaxis
from tinygrad_lesson.eager.functions.products import array_tensordot as tensordot
from tinygrad_lesson.eager.functions.products import product as matmul
from tinygrad_lesson.eager.functions.products import vecdot
from tinygrad_lesson.eager.functions.products import vector_cross as cross
from tinygrad_lesson.eager.functions.products import vector_outer as outer
from tinygrad_lesson.eager.functions.reductions import max as largest
from tinygrad_lesson.eager.functions.reductions import min as smallest
from tinygrad_lesson.eager.functions.table import known, like, tensor
from tinygrad_lesson.eager.protocol import ABSENT, holds_recorded
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import normalize_axis, show


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """Orthogonal columns and an upper triangle."""

    Q: Any
    R: Any


class SVDResult(NamedTuple):
    """Orthogonal columns, singular values, orthogonal rows."""

    U: Any
    S: Any
    Vh: Any


class SlogdetResult(NamedTuple):
    """Sign and logarithm of a determinant."""

    sign: Any
    logabsdet: Any


@like("linalg.inv")
def inv(a: Any) -> Any:
    """The inverse of each matrix; NaN where there is none."""
    return F.inv(tensor(a))


@like("linalg.det")
def det(a: Any) -> Any:
    """The determinant of each matrix; its gradient is NaN where that is 0."""
    return F.det(tensor(a))


@like("linalg.slogdet")
def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinant of each matrix, and the logarithm of its absolute value."""
    return SlogdetResult(*F.slogdet(tensor(a)))


@like("linalg.cholesky")
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower triangle whose product with its transpose is `a`, or the upper one; NaN if not positive definite.

    The gradient is symmetric; of a matrix that is not the symmetric part is taken.
    """
    y = F.cholesky(tensor(a))
    return matrix_transpose(y) if upper else y


@like("linalg.eigh")
def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of symmetric matrices, of others of their symmetric part, whatever `UPLO` says.

    Equal eigenvalues: the gradient of their vectors is infinite or NaN.
    """
    if UPLO.upper() not in ("L", "U"):
        raise AttributeValueError(f"eigh: UPLO is {UPLO!r}, expected 'L' or 'U'")
    return EighResult(*F.eigh(tensor(a)))


@like("linalg.eigvalsh")
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of symmetric matrices, in ascending order."""
    return eigh(a, UPLO).eigenvalues


@like("linalg.qr")
def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthogonal columns and an upper triangle whose product is `a`; with mode "r" the triangle alone.

    "complete" is there for matrices that have no more rows than columns: further columns have no derivative.
    """
    a = tensor(a)
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r", "complete") or (mode == "complete" and m > n):
        raise AttributeValueError(
            f"qr: mode {mode!r} of {show(a.shape)} has no gradient, expected 'reduced' or 'r'"
        )
    if m >= n:
        q, r = F.qr(a)
    else:
        q, r = F.qr(a[..., :m])
        r = F.concat(r, F.matmul(matrix_transpose(q), a[..., m:]), dim=-1)
    return r if mode == "r" else QRResult(q, r)


@like("linalg.svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular values, and with `compute_uv` the orthogonal columns and rows beside them.

    `full_matrices` is for square ones: further columns of others have no derivative. Equal singular values: the
    gradient of their vectors is infinite or NaN.
    """
    a = tensor(a)
    if compute_uv and full_matrices and a.shape[-1] != a.shape[-2]:
        if not RECORDING.tracing and not (RECORDING.on and holds_recorded(a)):
            return SVDResult(*map(tensor, np.linalg.svd(known(a))))
        raise AttributeValueError(
            f"svd: full matrices of {show(a.shape)} have columns without a derivative; say full_matrices=False"
        )
    found = SVDResult(*F.svd(a))
    return found if compute_uv else found.S


@like("linalg.svdvals")
def svdvals(x: Any, /) -> Any:
    """The singular values of each matrix, in descending order."""
    return svd(x, compute_uv=False)


@like("linalg.solve")
def solve(a: Any, b: Any) -> Any:
    """The solution of linear equations: `y` for which ``a @ y = b``; one right side (a vector), or columns of them."""
    a, b = tensor(a), tensor(b)
    vector = b.ndim == 1
    b = F.expand_dims(b, axis=-1) if vector else b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (F.broadcast_to(x, shape=(*batch, *x.shape[-2:])) for x in (a, b))
    y = F.solve(a, b)
    return F.squeeze(y, axis=-1) if vector else y


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    *,
    upper: bool | None = None,
    **unused: Any,
) -> Any:
    """As `solve`, of the upper or lower triangle of `a`, or of its transpose (`trans`). As in SciPy.

    PyTorch's `upper` says which, too.
    """
    a = tensor(a)
    lower = lower if upper is None else not upper
    a = tril(a) if lower else triu(a)
    if unit_diagonal:
        one = np.eye(a.shape[-1], dtype=bool)
        a = F.where(one, 1.0, a)
    return solve(matrix_transpose(a) if trans in (1, "T", 2, "C") else a, b)


@like("linalg.pinv")
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The pseudoinverse; singular values below `rcond` of the largest count as 0. Its gradient keeps the rank."""
    a = tensor(a)
    cutoff = rcond if rcond is not None else rtol
    given = 1e-15 if cutoff is None else float(known(cutoff))
    return F.pinv(a, rcond=given)


@like("linalg.lstsq")
def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Any, Any, int, Any]:
    """The shortest `x` for which ``a @ x`` is nearest to `b`; the sums of squares left, the rank, singular values."""
    a, b = tensor(a), tensor(b)
    s = svdvals(a)
    cutoff = np.finfo(a.dtype).eps * max(a.shape) if rcond is None else max(rcond, np.finfo(a.dtype).eps)
    values = known(s)
    rank = int(np.sum(values > cutoff * values.max(initial=0)))
    x = matmul(F.pinv(a, rcond=float(cutoff)), b)
    full = rank == a.shape[1] < a.shape[0]
    rest = F.sum(F.square(b - matmul(a, x)), axis=0) if full else tensor(np.zeros(0))
    return x, (F.reshape(rest, shape=(-1,)) if full else rest), rank, s


@like("linalg.matrix_power")
def matrix_power(a: Any, n: int) -> Any:
    """Square matrices to an integer power, a negative one of the inverse."""
    a = tensor(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"matrix_power: {show(a.shape)}, expected square matrices (..., n, n)")
    if n < 0:
        return matrix_power(inv(a), -n)
    if n == 0:
        return F.full_like(a, 0.0) + np.eye(a.shape[-1], dtype=a.dtype)
    y = None
    while n:
        if n & 1:
            y = a if y is None else F.matmul(y, a)
        n >>= 1
        a = F.matmul(a, a) if n else a
    return y


@like("linalg.multi_dot")
def multi_dot(arrays: Any, *, out: None = None) -> Any:
    """The product of matrices in the order that costs least; the first and the last may be vectors."""
    parts = [tensor(x) for x in arrays]
    first, last = parts[0].ndim == 1, parts[-1].ndim == 1
    parts[0] = F.reshape(parts[0], shape=(1, -1)) if first else parts[0]
    parts[-1] = F.reshape(parts[-1], shape=(-1, 1)) if last else parts[-1]
    sizes = [parts[0].shape[0], *[x.shape[1] for x in parts]]
    costs: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(len(parts))}
    for length in range(1, len(parts)):
        for i in range(len(parts) - length):
            j = i + length
            costs[i, j] = min(
                (costs[i, k][0] + costs[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def joined(i: int, j: int) -> Any:
        k = costs[i, j][1]
        return parts[i] if i == j else F.matmul(joined(i, k), joined(k + 1, j))

    y = joined(0, len(parts) - 1)
    gone = tuple(a for a, drop in ((0, first), (1, last)) if drop)
    return F.squeeze(y, axis=gone) if gone else y


@like("linalg.tensorinv")
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of an array whose first `ind` axes are rows and whose others are columns."""
    a = tensor(a)
    rows, columns = a.shape[:ind], a.shape[ind:]
    return F.reshape(F.inv(F.reshape(a, shape=(math.prod(rows), -1))), shape=(*columns, *rows))


@like("linalg.tensorsolve")
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """`y` for which ``tensordot(a, y, y.ndim) = b``; `axes` of `a` are moved to the end first."""
    a, b = tensor(a), tensor(b)
    if axes is not None:
        a = moveaxis(a, axes, range(-len(axes), 0))
    columns = a.shape[b.ndim :]
    rows = F.reshape(a, shape=(-1, math.prod(columns)))
    return F.reshape(solve(rows, F.reshape(b, shape=(-1,))), shape=columns)


@like("linalg.matrix_rank")
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """How many singular values are not 0; it has no gradient."""
    more = {} if rtol is None else {"rtol": rtol}
    return tensor(np.linalg.matrix_rank(known(A), tol, hermitian, **more))


@like("linalg.cond")
def cond(x: Any, p: Any = None) -> Any:
    """The condition number: the norm of each matrix times that of its inverse; without `p` by singular values."""
    x = tensor(x)
    if p in (None, 2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))


# Norms.


@like("linalg.norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, **more: Any) -> Any:
    """The norm of vectors (`axis` one number) or matrices (two), by default the root of the sum of squares.

    `ord` of vectors: any number, infinity, 0 (how many are not 0); of matrices: "fro", "nuc", 1, 2, infinity, and
    their negatives. Where all elements are 0 the slope is taken as 0; of largest ones that tie each has a share.
    """
    x = tensor(x)
    x = x if x.dtype.kind in "fc" else F.cast(x, dtype="float64")
    if axis is None and ord is None:
        y = F.norm(F.reshape(magnitude(x), shape=(-1,)), **more)
        return F.reshape(y, shape=(1,) * x.ndim) if keepdims else y
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(normalize_axis(i, x.ndim) for i in axes)
    if len(axes) == 1 or (len(axes) == 2 and ord is None):
        return length(magnitude(x), 2 if ord is None else ord, axes, keepdims, **more)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ShapeError(f"norm: {len(axes)} axes {axes}, expected one of vectors or two of matrices")
    return of_matrices(x, ord, axes, keepdims)


def magnitude(x: Any) -> Any:
    """The absolute values of complex numbers; real ones as they are."""
    return F.abs(x) if x.dtype.kind == "c" else x


def length(x: Any, ord: Any, axes: Any, keepdims: bool, **more: Any) -> Any:
    """The norm of vectors of real numbers."""
    if ord in (1, 2):
        return F.norm(x, axis=axes, keepdims=keepdims, ord=int(ord), **more)
    if isinstance(ord, str):
        raise AttributeValueError(f"norm: {ord!r} is a norm of matrices, not of vectors")
    size = F.abs(x)
    if abs(ord) == math.inf:
        return (largest if ord > 0 else smallest)(size, axes, keepdims=keepdims)
    if ord == 0:
        return F.sum(F.cast(F.not_equal(x, 0), dtype=str(x.dtype)), axis=axes, keepdims=keepdims)
    return F.power(F.sum(F.power(size, float(ord)), axis=axes, keepdims=keepdims), 1.0 / ord)


def of_matrices(x: Any, ord: Any, axes: Any, keepdims: bool) -> Any:
    """The norm of matrices, whose rows run along the first of two axes."""
    row, column = axes
    if ord in (None, "fro", "f"):
        return length(magnitude(x), 2, axes, keepdims)
    pick = smallest if not isinstance(ord, str) and ord < 0 else largest
    if ord in (1, -1, math.inf, -math.inf):
        summed, left = (row, column) if abs(ord) == 1 else (column, row)
        return pick(F.sum(F.abs(x), axis=summed, keepdims=True), (summed, left), keepdims=keepdims)
    if ord not in (2, -2, "nuc"):
        raise AttributeValueError(
            f"norm: ord is {ord!r}, expected 'fro', 'nuc', 1, 2, inf or a negative of matrices"
        )
    s = svdvals(moveaxis(x, (row, column), (-2, -1)))
    y = F.sum(s, axis=-1) if ord == "nuc" else pick(s, -1)
    return F.reshape(y, shape=tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else y


@like("linalg.vector_norm")
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of vectors along `axis`, several axes counting as one."""
    x = magnitude(tensor(x))
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    return length(x, ord, tuple(normalize_axis(i, x.ndim) for i in axes), keepdims)


@like("linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of the matrices of the last two axes."""
    return norm(x, ord, (-2, -1), keepdims)


def expm(A: Any) -> Any:
    """The exponential of each matrix. As in SciPy."""
    return F.expm(tensor(A))


matrix_exp = expm  # as PyTorch has it


def __getattr__(name: str) -> Any:
    told = f"; write {ABSENT[name]}" if name in ABSENT else ""
    raise AttributeError(f"tinygrad_lesson.linalg has no {name!r}{told}")


__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "expm", "inv", "lstsq", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip
