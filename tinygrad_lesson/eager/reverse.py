"""Reverse mode on top of another transformation: what is computed is noted, and swept in the world around it.

A plain derivative is recorded by the tensors themselves. Inside of `jvp` or `vmap` the values are tracers, of which a
tape is kept here: so the sweep is carried out with tangents, or with a batch, as everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.arrays import held, zeros_like
from tinygrad_lesson.eager.apply import TENSORS, Tensors, apply
from tinygrad_lesson.eager.operators import seed_of
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import Tensor, operand, same, wrap
from tinygrad_lesson.eager.tracer import Level, Tracer, results_shown
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.errors import DTypeError, ShapeError
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show


class Noted(Tracer):
    """A tensor of which a tape is kept."""

    __slots__ = ("index", "node")
    node: Any
    index: int

    def __init__(self, level: Any, below: Any, node: Any, index: int = 0) -> None:
        self.level, self.below, self.node, self.index = level, below, node, index

    def again(self) -> tuple[Tensor, Any]:
        """Another tensor for the same result of the tape, and what that has of it."""
        return Noted(self.level, self.below, self.node, self.index), self.below


CONSTANT = Tensor(0.0)  # stands in a tape for whatever has no gradient


class Reverse(Level):
    """The world of a tape."""

    name = "grad"

    def watch(self, x: Any) -> Any:
        """A value that a gradient is asked for."""
        x = operand(x)
        if x.dtype.kind not in "fc":
            raise DTypeError(
                f"a tensor of {x.dtype} has no gradient; make it a float: Tensor(data, dtype=float)"
            )
        x = x if isinstance(x, Tracer) else same(x, held(x.capture()))
        return Noted(self, x, Node(None))

    def apply(self, op: Op, tensors: Sequence[Tensor], every: bool) -> Any:
        """Results of an op, noted where a gradient may go through it."""
        below = tuple([t.below if t.level is self else t for t in tensors])
        y = apply(op, below, every=True)
        ys = y if isinstance(y, tuple) else (y,)
        if not (op.differentiable and RECORDING.on):
            return results_shown(op, ys, every)
        return results_shown(op, self.note(op, tensors, below, ys), every)

    def note(self, op: Op, tensors: Sequence[Tensor], below: Sequence[Any], ys: Sequence[Any]) -> list[Any]:
        """The results of an op as noted tensors."""
        edges = tuple([t if t.level is self else CONSTANT for t in tensors])
        node = Node(op, edges, values=tuple(ys), operands=below)
        return [Noted(self, y, node, i) for i, y in enumerate(ys)]

    def finish(
        self, ys: Sequence[Any], flat: Sequence[Any]
    ) -> tuple[Callable[[Any], Any], Callable[..., Any]]:
        """What results stand on, as a function; and the map from their cotangents to those of `flat`."""

        def below(y: Any) -> Any:
            return y.below if isinstance(y, Noted) and y.level is self else y

        def pull(gs: Sequence[Any]) -> list[Any]:
            heads = [(y, cotangent(y, g)) for y, g in zip(ys, gs, strict=True) if y.level is self]
            found = backprop(BELOW, heads, flat)
            return [zeros(x) if g is None else operand(g) for x, g in zip(flat, found, strict=True)]

        return below, pull


def cotangent(y: Any, g: Any) -> Tensor:
    """The cotangent of a result in its type: 1 for a single number, else what the caller gives.

    Errors
        ShapeError if it does not fit.
    """
    if g is None or not isinstance(g, Tensor):
        return wrap(seed_of(y, g))
    if g.shape != y.shape:
        raise ShapeError(f"vjp: the cotangent is {show(g.shape)}, expected {show(y.shape)}")
    return g if g.dtype == y.dtype else TENSORS.cast(g, dtype=str(y.dtype))  # type: ignore[no-any-return]


def zeros(x: Any) -> Tensor:
    """The gradient of what no path leads to."""
    return wrap(zeros_like(x))


class Below(Tensors):
    """The tensors that noted ones stand on."""

    def results(self, node: Any) -> Sequence[Any]:
        """As noted."""
        return node.values  # type: ignore[no-any-return]

    def inputs(self, node: Any) -> Sequence[Any]:
        """As noted."""
        return node.operands  # type: ignore[no-any-return]


BELOW = Below()
Reverse.tape = Reverse
