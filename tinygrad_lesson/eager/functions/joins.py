"""Arrays put together, and parts of arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.moves import atleast_1d, atleast_2d, atleast_3d, moveaxis
from tinygrad_lesson.eager.functions.table import (
    cast,
    known,
    like,
    moved,
    numbers_of,
    picked,
    refuse,
    tensor,
)
from tinygrad_lesson.engine.shapes import normalize_axis


@like("concatenate", "concat")
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """Arrays one after the other along `axis`; None makes vectors of them first."""
    refuse("concatenate", out=out)
    parts = [tensor(x) for x in arrays]
    if axis is None:
        parts, axis = [F.reshape(x, shape=(-1,)) for x in parts], 0
    return cast(F.concat(*parts, dim=axis), dtype)


@like("stack")
def stack(
    arrays: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """Arrays of one shape side by side along a new axis."""
    refuse("stack", out=out)
    return cast(F.stack(*[tensor(x) for x in arrays], axis=axis), dtype)


@like("hstack")
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays one after the other along axis 1, vectors along their only axis."""
    parts = [atleast_1d(x) for x in tup]
    return concatenate(parts, 0 if parts and parts[0].ndim == 1 else 1, dtype=dtype)


@like("vstack", "row_stack")
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays one below the other; a vector is a row."""
    return concatenate([atleast_2d(x) for x in tup], 0, dtype=dtype)


@like("dstack")
def dstack(tup: Any) -> Any:
    """Arrays one behind the other, along axis 2."""
    return concatenate([atleast_3d(x) for x in tup], 2)


@like("column_stack")
def column_stack(tup: Any) -> Any:
    """Vectors as columns of a matrix, beside matrices."""
    parts = [x if x.ndim > 1 else F.reshape(x, shape=(-1, 1)) for x in map(tensor, tup)]
    return concatenate(parts, 1)


@like("block")
def block(arrays: Any) -> Any:
    """One array of blocks: nested lists, the innermost along the last axis."""

    def depth(x: Any) -> int:
        return 1 + depth(x[0]) if isinstance(x, list) else 0

    def leaves(x: Any) -> Any:
        return itertools.chain(*map(leaves, x)) if isinstance(x, list) else [tensor(x)]

    rank = max([depth(arrays), *[x.ndim for x in leaves(arrays)]])

    def joined(x: Any, level: int) -> Any:
        if not isinstance(x, list):
            x = tensor(x)
            return F.reshape(x, shape=(*(1,) * (rank - x.ndim), *x.shape))
        return concatenate([joined(part, level - 1) for part in x], -level)

    return joined(arrays, depth(arrays))


@like("append")
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` behind `arr` along `axis`; without one, both as vectors."""
    return concatenate([arr, values], axis)


@like("insert")
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`values` before the places `obj` of `arr` along `axis`; without one, of `arr` as a vector."""
    arr, values, obj = tensor(arr), tensor(values), obj if isinstance(obj, slice | int) else known(obj)
    values = F.cast(values, dtype=str(arr.dtype))
    return picked(np.insert(numbers_of(arr), obj, numbers_of(values) + arr.size, axis), arr, values)


@like("delete")
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """Without the parts `obj` along `axis`; without one, of `arr` as a vector."""
    return moved(np.delete, arr, obj if isinstance(obj, slice | int) else known(obj), axis)


@like("array_split")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along `axis`: so many, some perhaps longer by 1, or cut at these places."""
    ary = tensor(ary)
    axis = normalize_axis(axis, ary.ndim)
    cuts = indices_or_sections if isinstance(indices_or_sections, int) else known(indices_or_sections)
    parts = np.array_split(np.arange(ary.shape[axis]), cuts)
    before = (slice(None),) * axis
    starts = [(int(p[0]), int(p[-1]) + 1) if p.size else (0, 0) for p in parts]
    return [ary[(*before, slice(*start))] for start in starts]


@like("split")
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along `axis`: so many equal ones, or cut at these places."""
    if not isinstance(indices_or_sections, int):
        return array_split(ary, indices_or_sections, axis)
    parts = F.split(tensor(ary), num_outputs=indices_or_sections, axis=axis)
    return list(parts) if isinstance(parts, tuple) else [parts]


@like("hsplit")
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along axis 1, of a vector along its only axis."""
    ary = tensor(ary)
    return split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@like("vsplit")
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along axis 0."""
    return split(ary, indices_or_sections, 0)


@like("dsplit")
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along axis 2."""
    return split(ary, indices_or_sections, 2)


@like("unstack")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The parts along `axis`, without it."""
    return tuple(moveaxis(x, axis, 0))


def joined(own: Any, parts: tuple[Any, ...]) -> Any:
    """What NumPy's `r_` or `c_` makes of tensors, arrays, numbers, slices and words: `own` is shown their numbers."""
    arrays: list[Any] = []
    shown: list[Any] = []
    for i, part in enumerate(parts):
        if isinstance(part, str) and not i:
            shown.append(part)
            continue
        array = tensor(np.r_[part] if isinstance(part, slice) else part)
        start = sum(a.size for a in arrays)
        numbers = numbers_of(array) + start
        shown.append(numbers if array.ndim else int(numbers))
        arrays.append(array)
    return picked(own[tuple(shown)], *arrays)
