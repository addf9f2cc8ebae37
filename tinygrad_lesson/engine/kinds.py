"""Kinds of ops that share their shape rule: elementwise ones, comparisons, reductions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.dtypes import HALF, DType, in_type, roomy
from tinygrad_lesson.engine.namespace import Namespace
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import Axis, Shape, broadcast, merge, reduced, reduced_axes


class Elementwise(Op):
    """An op that treats each element alike; its inputs broadcast. `out` may be one of the inputs."""

    broadcasts: ClassVar[int | None] = 0

    def shape(self, *shapes: Shape) -> Shape:
        """The inputs, broadcast."""
        return broadcast(*shapes)

    def complete(self, shapes: Any, results: Any) -> Any:
        """As for every op; a single input has the shape of the result."""
        if len(shapes) == 1:
            shape = merge(shapes[0], results[0])
            return [shape], [shape]
        return super().complete(shapes, results)


def result_dtypes(op: Op, dtypes: Sequence[DType], numbers: Sequence[Any]) -> tuple[DType, ...]:
    """Element type of each result of `op`; `numbers` are those among its inputs, for which `dtypes` holds None.

    By NumPy's rules: a float makes integers and truth values float64, and leaves other types as they are.
    """
    kinds = [type(number)() for number in numbers]
    met = [d if d is None else np.result_type(d, *kinds) for d in dtypes] if kinds else dtypes
    found = op.dtype(*met)
    if found is None and kinds and len(kinds) < len(met) and isinstance(op, Elementwise):
        found = np.result_type(*kinds)  # an array chooses between numbers
    return found if isinstance(found, tuple) else (found,) * op.results


class Comparison(Elementwise):
    """An elementwise question; the answers are booleans and have no gradient."""

    differentiable = False

    def dtype(self, *dtypes: Any) -> np.dtype[Any]:
        """Boolean."""
        return np.dtype(bool)

    def vjp(self, F: Namespace, g: Any, y: Any, *inputs: Any) -> tuple[None, ...]:
        """No gradient: the answer is constant almost everywhere."""
        return (None,) * len(inputs)


@declares
class Reduction(Op):
    """An op that turns the elements along `axis` into one."""

    axis: Axis = attr(None, doc="axis or axes to reduce; None means all")
    keepdims: bool = attr(False, doc="keep the reduced axes with size 1")
    exclude: bool = attr(False, doc="reduce over all axes but `axis`")
    vector: bool = attr(False, doc="a result without axes gets shape (1,), as in MXNet")

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes that are reduced."""
        return reduced_axes(rank, self.axis, self.exclude)

    def shape(self, x: Shape) -> Shape:  # type: ignore[override]
        """`x` without the reduced axes, or with size 1 there."""
        shape = reduced(x, self.axes(len(x)), self.keepdims)
        return shape or (1,) if self.vector else shape

    def count(self, x: Shape) -> float:
        """How many elements become one."""
        return float(math.prod(x[a] for a in self.axes(len(x))))

    def spread(self, F: Any, y: Any, x: Any) -> Any:
        """The way back: `y`, of the shape of the result, repeated along the axes that `x` lost."""
        shape = F.shape(x)
        kept = reduced(shape, self.axes(len(shape)), keepdims=True)
        return F.broadcast_to(F.reshape(y, shape=kept), shape=shape)

    def reduce(self, reduction: Callable[..., Any], x: Any, out: Any) -> Any:
        """Apply NumPy's or CuPy's `reduction` as the attributes say."""
        axes = self.axes(x.ndim)
        if self.vector and len(axes) == x.ndim and not (self.keepdims and x.ndim):
            return reduction(x.reshape(-1), axis=0, out=out, keepdims=True)
        return reduction(x, axis=axes, out=out, keepdims=self.keepdims)

    def accumulate(self, xp: Any, reduction: Callable[..., Any], x: Any, out: Any) -> Any:
        """As `reduce`, for a reduction that adds or multiplies; half precision is accumulated in single."""
        if x.dtype != HALF:
            return self.reduce(reduction, x, out)
        return in_type(xp, self.reduce(functools.partial(reduction, dtype=roomy(HALF)), x, None), HALF)
