"""Shape algebra. A shape is a tuple of sizes; a size, or a whole shape, that is not known yet is None."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_lesson.engine.errors import ShapeError

Size = Any  # an int, or None while it is not known
Shape = tuple[Size, ...]
Axis = int | tuple[int, ...] | None


def is_complete(shape: Shape | None) -> bool:
    """Whether every size of `shape` is known."""
    return shape is not None and None not in shape


def size_of(shape: Shape) -> Size:
    """Number of elements, None when a size is unknown."""
    return None if None in shape else math.prod(shape)  # type: ignore[arg-type]


def merge(a: Shape | None, b: Shape | None) -> Shape | None:
    """What two partial descriptions of one shape say together.

    Errors
        ShapeError if they contradict each other.
    """
    if a is None or b is None or a == b:
        return b if a is None else a
    if len(a) != len(b) or any(m != n for m, n in zip(a, b, strict=True) if m is not None and n is not None):
        raise ShapeError(f"{show(a)} is not {show(b)}")
    return tuple(n if m is None else m for m, n in zip(a, b, strict=True))


def broadcast(*shapes: Shape) -> Shape:
    """Shape of an elementwise result, by NumPy's rules; an unknown size gives way to a known one above 1.

    Errors
        ShapeError if two sizes differ and neither is 1.
    """
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        large = {n for n in sizes if n != 1 and n is not None}
        if len(large) > 1:
            raise ShapeError(f"{' and '.join(map(show, shapes))} do not broadcast together")
        result.append(large.pop() if large else None if None in sizes else 1)
    return tuple(result)


def normalize_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front.

    Errors
        ShapeError if there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"there is no axis {axis} in {rank} dimensions")
    return axis % rank


def normalize_axes(axes: int | Iterable[int], rank: int) -> list[int]:
    """`axes` counted from the front; a number stands for itself.

    Errors
        ShapeError if there is no such axis, or one is named twice.
    """
    given = [axes] if isinstance(axes, int) else list(axes)
    found = [normalize_axis(a, rank) for a in given]
    if len(set(found)) < len(found):
        raise ShapeError(
            f"axes are {tuple(given)}, which name one twice in {rank} dimensions; expected each once"
        )
    return found


def reduced_axes(rank: int, axis: Axis, exclude: bool = False) -> tuple[int, ...]:
    """Axes that a reduction runs over: `axis`, or with `exclude` all others; None means every axis.

    As in NumPy, axis 0 or -1 of a number without axes is the number itself.
    """
    if axis is None:
        return () if exclude else tuple(range(rank))
    axes = normalize_axes(axis, rank or 1)
    return tuple(a for a in range(rank) if (a in axes) != exclude)


def reduced(shape: Shape, axes: Iterable[int], keepdims: bool) -> Shape:
    """Shape after a reduction over `axes`."""
    gone = set(axes)
    if keepdims:
        return tuple(1 if a in gone else n for a, n in enumerate(shape))
    return tuple(n for a, n in enumerate(shape) if a not in gone)


def reshaped(shape: Shape, wanted: Sequence[Size]) -> Shape:
    """`wanted` with its one -1 filled in from the number of elements of `shape`.

    Errors
        ShapeError if the numbers of elements differ.
    """
    total, known = size_of(shape), math.prod(n for n in wanted if n is not None and n != -1)
    if list(wanted).count(-1) > 1:
        raise ShapeError(f"{show(tuple(wanted))} leaves more than one size open")
    if total is None or None in wanted:
        return tuple(None if n == -1 else n for n in wanted)
    if -1 in wanted:
        if known == 0 or total % known:
            raise ShapeError(f"{show(shape)} has {total} elements, which {show(tuple(wanted))} cannot hold")
        return tuple(total // known if n == -1 else n for n in wanted)
    if known != total:
        raise ShapeError(f"{show(shape)} has {total} elements, {show(tuple(wanted))} has {known}")
    return tuple(wanted)


def show(shape: Shape | None) -> str:
    """A shape for an error message: unknown sizes as a question mark."""
    if shape is None:
        return "unknown"
    inner = ", ".join("?" if n is None else str(n) for n in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
