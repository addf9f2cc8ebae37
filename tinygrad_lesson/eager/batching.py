"""How each op is carried out for a batch: from what its declaration says of axes, or from a table by family.

A rule `(n, op, xs, flags) -> results` is given the inputs, of which those with a flag have a batch axis of `n` samples
in front, and gives all results with a batch axis in front; None where it knows no way but a loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.engine.backprop import unbroadcast
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import normalize_axis, reduced_axes
from tinygrad_lesson.ops.advanced import AdvancedPut, AdvancedSlice

Rule = Callable[[int, Any, Sequence[Any], Sequence[bool]], Any]
ALL = ("slice", None, None, None)


def visible(x: Any, flag: bool) -> tuple[int, ...]:
    """The shape that a sample sees."""
    return x.shape[1:] if flag else x.shape  # type: ignore[no-any-return]


def in_front(n: int, x: Any, flag: bool) -> Any:
    """An input with a batch axis."""
    return x if flag else F.broadcast_to(x, shape=(n, *x.shape))


def all_in_front(n: int, xs: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """All inputs with a batch axis."""
    return [in_front(n, x, flag) for x, flag in zip(xs, flags, strict=True)]


def widened(x: Any, flag: bool, rank: int) -> Any:
    """An input that has axes of size 1 behind the batch axis, so that it broadcasts with inputs of `rank` axes."""
    missing = rank - (x.ndim - 1)
    return F.reshape(x, shape=(x.shape[0], *[1] * missing, *x.shape[1:])) if flag and missing > 0 else x


def done(op: Op, xs: Sequence[Any]) -> list[Any]:
    """All results of an op."""
    y = apply(op, xs, every=True)
    return list(y) if isinstance(y, tuple) else [y]


def changed(op: Any, **attributes: Any) -> Any:
    """An op with other attributes."""
    known = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
    return type(op)(**{**known, **attributes})


def elementwise(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Inputs broadcast behind the batch axis."""
    ranks = [len(visible(x, flag)) for x, flag in zip(xs, flags, strict=True)]
    rank = max(ranks)
    if getattr(op, "rows", False):
        if ranks[0] == 1 < rank:  # one truth for each row
            xs = [F.reshape(xs[0], shape=(*xs[0].shape, *[1] * (rank - 1))), *xs[1:]]
        op = changed(op, rows=False)
    op = changed(op, same_shape=False) if getattr(op, "same_shape", False) else op
    return done(op, [widened(x, flag, rank) for x, flag in zip(xs, flags, strict=True)])


def reduction(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Over the same axes, which come one later."""
    (x,) = xs
    axes, shape = op.axes(x.ndim - 1), op.shape(x.shape[1:])
    op = changed(op, axis=tuple([a + 1 for a in axes]), exclude=False, vector=False)
    return [F.reshape(y, shape=(n, *shape)) if y.shape != (n, *shape) else y for y in done(op, xs)]


def leading(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops that work on the last axes, whatever is before them."""
    return done(op, all_in_front(n, xs, flags))


def along(*names: str) -> Rule:
    """Of ops that work along axes which attributes name."""

    def rule(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
        xs = all_in_front(n, xs, flags)
        rank = xs[0].ndim - 1
        if not rank or any(getattr(op, name) is None for name in names):
            return None
        ys = done(changed(op, **{name: normalize_axis(getattr(op, name), rank) + 1 for name in names}), xs)
        if getattr(op, "vector", False):  # a result without axes has one
            ys = [F.reshape(ys[0], shape=(n, *op.shape(*[x.shape[1:] for x in xs])))]
        return ys

    return rule


def flattening(rule: Rule) -> Rule:
    """Of ops that flatten their input where no axis is named."""

    def flat(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
        if op.axis is not None and xs[0].ndim > 1:
            return rule(n, op, xs, flags)
        if op.axis is not None:
            return None
        shape = op.shape(xs[0].shape[1:])
        shapes = [shape] if op.results == 1 else shape
        ys = rule(n, changed(op, axis=0), [F.reshape(xs[0], shape=(n, -1))], flags)
        return [F.reshape(y, shape=(n, *shape)) for y, shape in zip(ys, shapes, strict=True)]

    return flat


def reshaping(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops that give the same elements another shape, which may be that of a second input."""
    shape = op.shape(*[visible(x, flag) for x, flag in zip(xs, flags, strict=True)])
    return [F.reshape(in_front(n, xs[0], flags[0]), shape=(n, *shape))]


def repeating(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops that broadcast the first input to some shape."""
    shape = op.shape(*[visible(x, flag) for x, flag in zip(xs, flags, strict=True)])
    return [F.broadcast_to(widened(xs[0], flags[0], len(shape)), shape=(n, *shape))]


def summing(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """A sum to the shape of a second input."""
    x, like = in_front(n, xs[0], flags[0]), visible(xs[1], flags[1])
    wide = (n, *[1] * (x.ndim - 1 - len(like)), *like)
    return [F.reshape(unbroadcast(F, x, x.shape, wide), shape=(n, *like))]


def slicing(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """A part as large as a second input."""
    key = op.key(*[visible(x, flag) for x, flag in zip(xs, flags, strict=True)])
    return [in_front(n, xs[0], flags[0])[(slice(None), *key)]]


def filling(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops that look at the shape of their input alone."""
    y = op.forward(np, np.zeros(visible(xs[0], flags[0]), xs[0].dtype))
    return [in_front(n, F.identity(np.asarray(y)), False)]


def transposing(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """The batch axis stays in front."""
    rank = xs[0].ndim - 1
    axes = op.axes if op.axes else range(rank)[::-1]
    return done(changed(op, axes=(0, *[normalize_axis(a, rank) + 1 for a in axes])), xs)


def flipping(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Axes that come one later."""
    axes = reduced_axes(len(visible(xs[0], flags[0])), op.axis, getattr(op, "exclude", False))
    later = {"axis": tuple([a + 1 for a in axes])} | ({"exclude": False} if hasattr(op, "exclude") else {})
    return done(changed(op, **later), all_in_front(n, xs, flags))


def joining(name: str, more: int) -> Rule:
    """Of ops that put arrays together along an axis, a new one (`more` is 1) or one that they have."""

    def rule(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
        xs = all_in_front(n, xs, flags)
        return done(changed(op, **{name: normalize_axis(getattr(op, name), xs[0].ndim - 1 + more) + 1}), xs)

    return rule


def keyed(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """A part of each sample, or where it is put."""
    return done(changed(op, key=(ALL, *op.key), **further(n, op)), xs)


def further(n: int, op: Any) -> dict[str, Any]:
    """The shape of the result with a batch axis, where the op states it."""
    return {"to": (n, *op.to)} if hasattr(op, "to") else {}


def padding(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Nothing is added to the batch axis."""
    return done(changed(op, pad_width=((0, 0), *op.pad_width)), xs)


def tiling(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Copies of each sample side by side."""
    reps = op.reps if isinstance(op.reps, tuple) else (op.reps,)
    rank = max(len(reps), xs[0].ndim - 1)
    return done(changed(op, reps=(1, *[1] * (rank - len(reps)), *reps)), [widened(xs[0], True, rank)])


def product(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Leading axes broadcast: a matrix that all samples share is used once."""
    rank = max(len(visible(x, flag)) for x, flag in zip(xs, flags, strict=True))
    return done(op, [widened(x, flag, rank) for x, flag in zip(xs, flags, strict=True)])


def taking(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Places that all samples share, an array that they share, or each sample's own places in its own array."""
    x, indices = xs
    axis = normalize_axis(op.axis, len(visible(x, flags[0])))
    if not flags[1]:
        return done(changed(op, axis=axis + 1), xs)
    if not flags[0]:
        (y,) = done(op, xs)
        axes = (axis, *range(axis), *range(axis + 1, y.ndim))
        return [F.transpose(y, axes=axes)]
    places = [numbers(n, indices.ndim), inside(op, indices, x.shape[axis + 1])]
    (y,) = done(AdvancedSlice(key=(("array", 0), *[ALL] * axis, ("array", 1))), [x, *places])
    first = indices.ndim + axis
    return [
        F.transpose(y, axes=(0, *range(indices.ndim, first), *range(1, indices.ndim), *range(first, y.ndim)))
    ]


def adding(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Parts of each sample at places that all share, or at places of its own."""
    x, indices = in_front(n, xs[0], flags[0]), xs[1]
    axis, to = normalize_axis(op.axis, len(op.to)), (n, *op.to)
    if not flags[1]:
        return done(changed(op, axis=axis + 1, to=to), [x, indices])
    end = axis + indices.ndim
    x = F.transpose(x, axes=(0, *range(axis + 1, end), *range(1, axis + 1), *range(end, x.ndim)))
    places = [numbers(n, indices.ndim), inside(op, indices, op.to[axis])]
    return done(AdvancedPut(key=(("array", 0), *[ALL] * axis, ("array", 1)), to=to), [x, *places])


def numbers(n: int, rank: int) -> Any:
    """The number of each sample, which broadcasts with places of `rank` axes."""
    return np.arange(n).reshape(n, *[1] * (rank - 1))


def inside(op: Any, indices: Any, size: int) -> Any:
    """Places as NumPy takes them, those beyond the ends as the op has it."""
    whole = F.trunc(indices) if indices.dtype.kind == "f" else indices
    if op.mode != "raise":
        whole = F.clip(whole, 0, size - 1) if op.mode == "clip" else F.remainder(whole, size)
    return F.cast(whole, dtype="int64")


def coordinates(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """One coordinate more: the number of the sample."""
    x, indices = xs
    if op.name == "GatherNd" and not flags[0]:
        return done(op, [x, F.swapaxes(indices, 0, 1)])
    indices = F.cast(in_front(n, indices, flags[1]), dtype="int64")
    first = F.broadcast_to(numbers(n, indices.ndim), shape=(n, 1, *indices.shape[2:]))
    places = F.swapaxes(F.concat(first, indices, dim=1), 0, 1)
    return done(changed(op, **further(n, op)), [in_front(n, x, flags[0]), places])


def choosing(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Places that all samples share behind the batch axis; places of their own together with its number.

    What places of their own choose comes in front, and so does what NumPy chooses by arrays that are not side by side.
    """
    x, whole = in_front(n, xs[0], flags[0]), len(op.to if hasattr(op, "to") else visible(xs[0], flags[0]))
    placed = [i for i, k in enumerate(op.key) if isinstance(k, int) or takes_places(k)]
    together = placed == list(range(placed[0], placed[-1] + 1))
    if together and not any(flags[1:]):
        return done(changed(op, key=(ALL, *op.key), **further(n, op)), [x, *xs[1:]])
    if ("flag", True) in op.key:
        return None
    rank = max(len(visible(i, flag)) for i, flag in zip(xs[1:], flags[1:], strict=True))
    places = [widened(i, flag, rank) for i, flag in zip(xs[1:], flags[1:], strict=True)]
    later = [("array", k[1] + 1) if takes_places(k) else k for k in op.key]
    made = changed(op, key=(("array", 0), *later), **further(n, op))
    before = placed[0] if together else 0
    if ... in op.key[:before]:
        before += whole - sum(k is not None for k in op.key)
    chosen, others = range(before + 1, before + 1 + rank), range(1, before + 1)
    if hasattr(op, "to"):
        x = F.transpose(x, axes=(0, *chosen, *others, *range(before + 1 + rank, x.ndim)))
        return done(made, [x, numbers(n, rank + 1), *places])
    (y,) = done(made, [x, numbers(n, rank + 1), *places])
    axes = (0, *range(rank + 1, rank + 1 + before), *range(1, rank + 1), *range(before + 1 + rank, y.ndim))
    return [F.transpose(y, axes=axes)]


def takes_places(part: Any) -> bool:
    """Whether a part of an index stands for an array of places."""
    return isinstance(part, tuple) and part[0] in ("array", "flag")


def einsum(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """One more letter."""
    before, arrow, after = op.subscripts.replace(" ", "").partition("->")
    unused = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in op.subscripts]
    if not arrow or not unused or "." in before:
        return None
    parts = [unused[0] + part if flag else part for part, flag in zip(before.split(","), flags, strict=True)]
    return done(changed(op, subscripts=f"{','.join(parts)}->{unused[0]}{after}"), xs)


def diagonal(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Two axes that come one later."""
    rank = len(op.to) if hasattr(op, "to") else xs[0].ndim - 1
    axes = {name: normalize_axis(getattr(op, name), rank) + 1 for name in ("a", "b")}
    return done(changed(op, **axes, **further(n, op)), xs)


def on_diagonal(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """A vector put on a diagonal, or the diagonal of a matrix."""
    return diagonal(n, op.made(xs[0].shape[1:]), xs, flags)


def with_shape(rule: Rule) -> Rule:
    """Of ops that state the shape of their result."""
    return lambda n, op, xs, flags: rule(n, changed(op, **further(n, op)), xs, flags)


def matrices(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of ops on matrices, which take any leading axes."""
    ranks = {len(visible(x, flag)) for x, flag in zip(xs, flags, strict=True)}
    return None if len(ranks) > 1 or ranks == {1} else leading(n, op, xs, flags)


def determinants(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """Of matrices; of one for each sample the results may have an axis of size 1."""
    shape = op.shape(xs[0].shape[1:])
    shapes = shape if op.results > 1 else (shape,)
    return [F.reshape(y, shape=(n, *shape)) for y, shape in zip(done(op, xs), shapes, strict=True)]


def raveling(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """The axis of coordinates stays in front."""
    return done(op, [F.swapaxes(xs[0], 0, 1)])


def unraveling(n: int, op: Any, xs: Sequence[Any], flags: Sequence[bool]) -> Any:
    """The axis of coordinates comes in front."""
    return [F.swapaxes(y, 0, 1) for y in done(op, xs)]


def table(rule: Rule, names: str) -> dict[str, Rule]:
    """One rule for several ops."""
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **table(leading, "Identity Cast AmpMulticast StopGradient OneHot GradientMultiplier Unstopped FullLike"),
    **table(leading, "SumOverRanks Cofactors Extracttrian Maketrian KeptBoxes BipartiteMatching"),
    **table(matrices, "Inverse Solve Cholesky Eigh Qr Svd Pinv Slogdet Expm Syevd Gelqf"),
    **table(determinants, "Det SignAndLog"),
    **table(reshaping, "Reshape ReshapeLike IdentityLike Flatten ExpandDims Squeeze"),
    **table(repeating, "BroadcastTo BroadcastLike"),
    **table(along("axis"), "Softmax LogSoftmax Dft Rdft Irdft Split SplitAt Pick TakeAlongAxis Trapezoid"),
    **table(along("axis"), "Cumprod CumprodGradient Recurrence Slope SlopeBack PlacesInOrder"),
    **table(along("a", "b"), "SwapAxes"),
    **table(flattening(along("axis")), "Cumsum Sort Argsort Argmax Argmin Repeat"),
    **table(flipping, "Flip ProductOfOthers"),
    **table(diagonal, "Diagonal PutDiagonal"),
    **table(filling, "ShapeArray SizeArray ArangeLike IndexArray MultiBoxPrior"),
    **table(keyed, "Slice Put"),
    **table(choosing, "AdvancedSlice AdvancedPut"),
    **table(coordinates, "GatherNd ScatterNd"),
    **table(padding, "Pad Unpad"),
    "AddAlongAxis": with_shape(along("axis")),
    "AddAt": adding,
    "Concat": joining("dim", 0),
    "Diag": on_diagonal,
    "Einsum": einsum,
    "MatMul": product,
    "RavelMultiIndex": raveling,
    "SliceLike": slicing,
    "Stack": joining("axis", 1),
    "SumLike": summing,
    "Take": taking,
    "Tile": tiling,
    "Transpose": transposing,
    "UnravelIndex": unraveling,
}
