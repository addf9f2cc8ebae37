"""Products of vectors, matrices and arrays of more axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.moves import expand_dims, moveaxis
from tinygrad_lesson.eager.functions.table import cast, like, refuse, tensor
from tinygrad_lesson.eager.operators import matmul
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.shapes import normalize_axis, show

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@like("matmul", "linalg.matmul")
def product(x1: Any, x2: Any, /) -> Any:
    """Product of matrices as NumPy's `@`: vectors count as one row or one column; leading axes broadcast."""
    return matmul(x1, x2)


@like("matvec")
def matvec(x1: Any, x2: Any, /) -> Any:
    """Matrices times vectors: (..., m, n), (..., n) -> (..., m)."""
    return F.squeeze(F.matmul(tensor(x1), F.expand_dims(tensor(x2), axis=-1)), axis=-1)


@like("vecmat")
def vecmat(x1: Any, x2: Any, /) -> Any:
    """Vectors, conjugated if complex, times matrices: (..., m), (..., m, n) -> (..., n)."""
    return F.squeeze(F.matmul(F.expand_dims(conjugated(x1), axis=-2), tensor(x2)), axis=-2)


def conjugated(x: Any) -> Any:
    """The complex conjugate, of real numbers themselves."""
    x = tensor(x)
    return F.conj(x) if x.dtype.kind == "c" else x


@like("vecdot", "linalg.vecdot")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Scalar products along an axis, the first vector conjugated if complex."""
    return F.sum(conjugated(x1) * x2, axis=axis)


@like("dot")
def dot(a: Any, b: Any, out: None = None) -> Any:
    """Sums over the last axis of `a` and the last but one of `b`, or its only one; with a number, the product."""
    refuse("dot", out=out)
    if not np.ndim(a) or not np.ndim(b):
        return F.multiply(a, b)
    a, b = tensor(a), tensor(b)
    if a.ndim <= 2 and b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((a.ndim - 1,), (max(b.ndim - 2, 0),)))


@like("vdot")
def vdot(a: Any, b: Any, /) -> Any:
    """The scalar product of all elements, those of `a` conjugated if complex."""
    return matmul(F.reshape(conjugated(a), shape=(-1,)), F.reshape(tensor(b), shape=(-1,)))


@like("inner")
def inner(a: Any, b: Any, /) -> Any:
    """Sums over the last axis of both; with a number, the product."""
    return F.multiply(a, b) if not np.ndim(a) or not np.ndim(b) else tensordot(a, b, ((-1,), (-1,)))


@like("outer")
def outer(a: Any, b: Any, out: None = None) -> Any:
    """Each element of `a`, as a vector, times each one of `b`."""
    refuse("outer", out=out)
    return F.reshape(tensor(a), shape=(-1, 1)) * F.reshape(tensor(b), shape=(1, -1))


@like("linalg.outer")
def vector_outer(x1: Any, x2: Any, /) -> Any:
    """Each element of one vector times each one of another."""
    if tensor(x1).ndim != 1 or tensor(x2).ndim != 1:
        raise ShapeError(f"linalg.outer: {tensor(x1).shape} and {tensor(x2).shape}, expected two vectors")
    return outer(x1, x2)


@like("tensordot")
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sums over axes of both: the last `axes` of `a` and the first of `b`, or those of two lists."""
    a, b = tensor(a), tensor(b)
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    lists = [[i] if isinstance(i, int | np.integer) else list(i) for i in axes]
    left, right = ([normalize_axis(int(i), x.ndim) for i in s] for x, s in zip((a, b), lists, strict=True))
    sizes = [a.shape[i] for i in left]
    if sizes != [b.shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: {show(a.shape)} along {left} and {show(b.shape)} along {right} do not fit"
        )
    free, own = ([i for i in range(x.ndim) if i not in s] for x, s in ((a, left), (b, right)))
    count = math.prod(sizes)
    shapes = [a.shape[i] for i in free], [b.shape[i] for i in own]
    rows = F.reshape(F.transpose(a, axes=(*free, *left)), shape=(math.prod(shapes[0]), count))
    columns = F.reshape(F.transpose(b, axes=(*right, *own)), shape=(count, math.prod(shapes[1])))
    return F.reshape(F.matmul(rows, columns), shape=(*shapes[0], *shapes[1]))


@like("linalg.tensordot")
def array_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """As `tensordot`."""
    return tensordot(x1, x2, axes)


@like("kron")
def kron(a: Any, b: Any) -> Any:
    """Each element of `a` times all of `b`, block by block."""
    a, b = tensor(a), tensor(b)
    rank = max(a.ndim, b.ndim)
    first, second = ((*(1,) * (rank - x.ndim), *x.shape) for x in (a, b))
    wide = F.reshape(a, shape=tuple(n for size in first for n in (size, 1)))
    deep = F.reshape(b, shape=tuple(n for size in second for n in (1, size)))
    return F.reshape(wide * deep, shape=tuple(m * n for m, n in zip(first, second, strict=True)))


@like("cross")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The vector product of vectors of three numbers along an axis."""
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ShapeError(f"cross: vectors of {a.shape[-1]} and {b.shape[-1]} numbers, expected 3")
    y = [a[..., i] * b[..., j] - a[..., j] * b[..., i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return moveaxis(F.stack(*y, axis=-1), -1, axisc)


@like("linalg.cross")
def vector_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The vector product of vectors of three numbers along an axis."""
    return cross(x1, x2, axis=axis)


@like("convolve")
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Sums of products of two vectors, the second backwards along the first; all places, "same" or "valid"."""
    return slid(tensor(a), tensor(v), mode, backwards=True)


@like("correlate")
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Sums of products of two vectors, the second, conjugated, moved along the first; "valid", "same" or all places."""
    return slid(tensor(a), conjugated(v), mode, backwards=False)


def slid(a: Any, v: Any, mode: str, backwards: bool) -> Any:
    """Products of a vector with windows of another, one for each place."""
    a, v = (F.reshape(x, shape=(1,)) if not x.ndim else x for x in (a, v))
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ShapeError(
            f"convolve: {show(a.shape)} and {show(v.shape)}, expected two vectors that are not empty; of images "
            f"write tl.convolution(a[None, None], v[None, None, ::-1, ::-1], pad=(rows - 1, columns - 1))[0, 0], "
            f"with rows, columns = v.shape"
        )
    v = F.flip(v) if not backwards else v
    if a.size < v.size:
        return finished(F.convolve(v, a), v.size, a.size, mode, odd=not backwards)
    return finished(F.convolve(a, v), a.size, v.size, mode)


def finished(y: Any, long: int, short: int, mode: str, odd: bool = False) -> Any:
    """The places that `mode` keeps."""
    if mode not in ("full", "same", "valid"):
        raise ShapeError(f"convolve: mode {mode!r}, expected 'full', 'same' or 'valid'")
    start = {"full": 0, "valid": short - 1, "same": (short - (not odd)) // 2}[mode]
    size = {"full": long + short - 1, "valid": long - short + 1, "same": long}[mode]
    return y[start : start + size]


# Sums over indices that are named by letters.


@like("einsum")
def einsum(*operands: Any, out: None = None, dtype: Any = None, optimize: Any = False, **memory: Any) -> Any:
    """Sums of products over named axes: ``einsum("ij,jk->ik", a, b)`` is ``a @ b``. Every form that NumPy takes.

    Letters that are not in the result are summed; without ``->`` those that occur once are kept, in order of the
    alphabet. A letter twice in one operand takes its diagonal; ``...`` stands for axes that broadcast.
    The order of several products is chosen well whatever `optimize` says.
    """
    refuse("einsum", out=out)
    if len(operands) == 2 and isinstance(operands[1], list | tuple):  # PyTorch takes them in a list, too
        operands = operands[0], *operands[1]
    terms, result, arrays = spelled(operands)
    made = [alone(x, term) for x, term in zip(arrays, terms, strict=True)]
    sizes: dict[str, int] = {}
    for x, term in made:
        for letter, n in zip(term, x.shape, strict=True):
            if n != 1 and sizes.setdefault(letter, n) != n:
                raise ShapeError(f"einsum: {letter!r} has size {sizes[letter]} and {n}")
    made = [without_ones(x, term, sizes) for x, term in made]
    used = [set(term) for _, term in made]
    for i, (x, term) in enumerate(made):
        elsewhere = set(result).union(*used[:i], *used[i + 1 :])
        gone = tuple(a for a, letter in enumerate(term) if letter not in elsewhere)
        made[i] = (F.sum(x, axis=gone) if gone else x), "".join(t for t in term if t in elsewhere)
    found = set("".join(term for _, term in made))
    single = "".join(letter for letter in result if letter in found)
    arrays, terms = [cast(x, dtype) for x, _ in made], [term for _, term in made]
    if len(arrays) == 1:
        y = F.transpose(arrays[0], axes=tuple(terms[0].index(letter) for letter in single))
    else:
        y = F.einsum(*arrays, subscripts=f"{','.join(terms)}->{single}")
    ones = tuple(i for i, letter in enumerate(result) if letter not in found)
    return expand_dims(y, ones) if ones else y


def spelled(operands: Any) -> tuple[list[str], str, list[Any]]:
    """What `einsum` is given, as a term of letters for each operand, one for the result, and the operands."""
    if not isinstance(
        operands[0], str
    ):  # arrays and lists of numbers in turn, then perhaps that of the result
        pairs = list(zip(operands[::2], operands[1::2], strict=False))
        text = ",".join(letters(numbers) for _, numbers in pairs)
        text += f"->{letters(operands[-1])}" if len(operands) % 2 else ""
        operands = (text, *[x for x, _ in pairs])
    text, arrays = operands[0].replace(" ", ""), [tensor(x) for x in operands[1:]]
    before, arrow, result = text.partition("->")
    terms = before.split(",")
    if len(terms) != len(arrays):
        raise ShapeError(f"einsum: {len(arrays)} operands for {len(terms)} terms in {text!r}")
    extra = [x.ndim - len(term.replace("...", "")) for x, term in zip(arrays, terms, strict=True)]
    if any(n < 0 or (n and "..." not in term) for n, term in zip(extra, terms, strict=True)):
        raise ShapeError(f"einsum: {text!r} does not fit operands of shapes {[x.shape for x in arrays]}")
    most = max([n for n, term in zip(extra, terms, strict=True) if "..." in term], default=0)
    free = "".join([t for t in LETTERS if t not in text][:most])
    terms = [term.replace("...", free[most - n :]) for n, term in zip(extra, terms, strict=True)]
    if not arrow:
        together = "".join(terms)
        result = free + "".join(sorted(t for t in set(together) if together.count(t) == 1 and t not in free))
    result = result.replace("...", free)
    if len(set(result)) < len(result) or not set(result) <= set("".join(terms)):
        raise ShapeError(f"einsum: the result of {text!r} names an index twice, or one that no operand has")
    return terms, result, arrays


def letters(numbers: Any) -> str:
    """Axes that are named by numbers, named by letters."""
    return "".join("..." if k is ... else LETTERS[k] for k in numbers)


def alone(x: Any, term: str) -> tuple[Any, str]:
    """An operand with the diagonals of letters that it has twice."""
    for letter in set(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ShapeError(f"einsum: {letter!r} has size {x.shape[first]} and {x.shape[second]}")
            x = F.diagonal(x, offset=0, axis1=first, axis2=second)
            term = "".join(t for i, t in enumerate(term) if i not in (first, second)) + letter
    return x, term


def without_ones(x: Any, term: str, sizes: dict[str, int]) -> tuple[Any, str]:
    """An operand without the axes of size 1 that broadcast, or that are 1 everywhere."""
    gone = tuple(i for i, n in enumerate(x.shape) if n == 1)
    kept = "".join(t for i, t in enumerate(term) if i not in gone)
    return (F.squeeze(x, axis=gone) if gone else x), kept
