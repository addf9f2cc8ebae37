"""`vmap`: a function of one sample as a function of many; the world of tensors with a batch axis in front."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS, apply
from tinygrad_lesson.eager.batching_layers import ALONE, rule_of
from tinygrad_lesson.eager.captured import Captured
from tinygrad_lesson.eager.compiled import Compiled, Program
from tinygrad_lesson.eager.nested import holds_numbers, is_tree, mapped
from tinygrad_lesson.eager.recording import RECORDING, unhidden
from tinygrad_lesson.eager.reverse import Reverse
from tinygrad_lesson.eager.ruled import OwnRule
from tinygrad_lesson.eager.tensor import Tensor, operand, wrap
from tinygrad_lesson.eager.tracer import Level, Tracer, results_shown
from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import normalize_axis, show

Function = Callable[..., Any]
LOOPED: dict[
    str, int
] = {}  # ops that had no rule for a batch -> how often they were carried out sample by sample
F = TENSORS


class Batched(Tracer):
    """A tensor of each sample. `below` has them all, along its first axis."""

    __slots__ = ()

    def __init__(self, level: Batch, below: Any) -> None:
        self.level, self.below = level, below

    @property
    def array(self) -> Any:  # type: ignore[override]
        """There is one for each sample."""
        self.check()
        raise GraphError(
            "vmap: the function looks at a value, and there is one for each sample; choose with tl.where or tl.cond"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes of one sample."""
        return self.below.shape[1:]  # type: ignore[no-any-return]

    def example(self) -> Any:
        """The elements of the first sample."""
        return self.below.example()[0]

    def seen(self, what: str) -> Any:
        """There is no single value."""
        return self.array


class Batch(Level):
    """The world of a batch."""

    name, tape = "vmap", Reverse

    def __init__(self, size: int) -> None:
        self.count = size

    def apply(self, op: Op, tensors: Sequence[Tensor], every: bool) -> Any:
        """Results of an op for each sample."""
        if isinstance(op, Composite) and not (op.is_loss or op.random or op.states):
            made = op.compose(F, *tensors)
            return results_shown(op, made if op.results > 1 else (made,), every)
        if isinstance(op, OwnRule) and self.needs_no_rule(tensors):
            return results_shown(op, op.call.direct(tensors), every)
        below = [t.below if t.level is self else t for t in tensors]
        flags = [t.level is self for t in tensors]
        ys = None
        if op.vmap is not None:
            ys = op.vmap(self, below, flags)
        elif isinstance(op, Compiled):
            ys = self.compiled(op, below, flags)
        elif not op.random:
            ys = rule_of(op)(self.count, op, below, flags)
        if ys is None:
            ys = self.loop(op, below, flags)
        return results_shown(op, [Batched(self, y) for y in ys], every)

    def enter(self, x: Any, axis: Any) -> Any:
        """A leaf of an argument as one sample sees it."""
        return x if axis is None or not holds_numbers(x) else Batched(self, moved(operand(x), axis, 0))

    def leave(self, y: Any, axis: Any) -> Any:
        """A leaf of the result for all samples."""
        if not holds_numbers(y):
            return y
        y = operand(y)
        if y.level is not self:
            return y if axis is None else moved(F.broadcast_to(y, shape=(self.count, *y.shape)), 0, axis)
        if axis is None:
            raise ShapeError("vmap: a result with out_axes None differs from sample to sample")
        return moved(y.below, 0, axis)

    def needs_no_rule(self, tensors: Sequence[Any]) -> bool:
        """Whether there are bare arrays below."""
        below = [t.below if t.level is self else t for t in tensors]
        return not RECORDING.tracing and all(t.level is None and t.node is None for t in below)

    def loop(self, op: Op, below: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
        """Sample by sample; the first time of an op a warning says so."""
        if op.name not in LOOPED and not (op.random or op.states):
            why = f": {ALONE[op.name]}" if op.name in ALONE else ""
            warnings.warn(
                f"vmap: {op.name} has no rule for a batch and is carried out sample by sample{why}",
                stacklevel=2,
            )
        LOOPED[op.name] = LOOPED.get(op.name, 0) + 1
        rows = []
        for i in range(self.count):
            y = apply(op, [x[i] if flag else x for x, flag in zip(below, flags, strict=True)], every=True)
            rows.append(y if isinstance(y, tuple) else (y,))
        return [F.stack(*parts, axis=0) for parts in zip(*rows, strict=True)]

    def compiled(self, op: Compiled, below: Sequence[Any], flags: Sequence[bool]) -> list[Any] | None:
        """A traced function, traced once more for a batch; one that draws or has states is run sample by sample."""
        program, key = op.program, ("vmap", self.count, *flags)
        if program.drawn or program.moving:
            return None
        if key not in program.derived:
            axes = tuple([0 if flag else None for flag in flags])

            def whole(*tensors: Any) -> Any:
                each = vmap(lambda *xs: tuple(program.again([], xs)), axes, axis_size=self.count)
                return each(*tensors)

            zeros = [
                np.zeros((self.count, *x.shape) if flag else x.shape, x.dtype)
                for x, flag in zip(program.examples, flags, strict=True)
            ]
            program.derived[key] = Program(whole, list(map(wrap, zeros)), program.settings, Captured([]))
        y = apply(Compiled(program=program.derived[key]), below)
        return list(y) if isinstance(y, tuple) else [y]


def vmap(f: Function, in_axes: Any = 0, out_axes: Any = 0, *, axis_size: int | None = None) -> Function:
    """`f` of one sample as a function of many: each op is carried out once, for all of them.

    Arguments are taken apart along `in_axes`, results put together along `out_axes`: a number for all, or a tuple with
    one for each, or what is built like it; None for an argument that all samples share. Arguments by name are taken
    apart along axis 0. What `grad`, `jvp`, `jit` and `vmap` give is a function like any other.

    An op that has no rule for a batch is carried out sample by sample, which a warning says once; `vmap.loops` counts
    them. What draws random numbers draws for each sample.

    Errors
        ShapeError where sizes along the axes differ or an axis is not there; GraphError where `f` looks at a value.

    Example
        >>> rows, v = np.arange(6.0).reshape(2, 3), np.ones(3)
        >>> vmap(lambda x, v: x @ v, (0, None))(rows, v).numpy()
        array([ 3., 12.])
    """
    if not callable(f):
        raise DTypeError(f"vmap: expected a function, not {f!r}")

    def function(*inputs: Any, **named: Any) -> Any:
        listed = isinstance(in_axes, list | tuple)
        if listed and len(in_axes) != len(inputs):
            raise ShapeError(
                f"vmap: in_axes has {len(in_axes)} entries, and {len(inputs)} arguments are given"
            )
        axes = in_axes if listed else [in_axes] * len(inputs)
        sizes: set[int] = set() if axis_size is None else {axis_size}
        pairs = [*zip(inputs, axes, strict=True), *[(x, 0) for x in named.values()]]
        given = [spread(measured(sizes), x, axis) for x, axis in pairs]
        if len(sizes) != 1:
            told = f"sizes {', '.join(map(str, sorted(sizes)))} along them" if sizes else "no axis to map"
            raise ShapeError(f"vmap: the arguments have {told}, expected one size")
        level = Batch(sizes.pop())
        with level.entered():
            given = [spread(level.enter, x, axis) for x, axis in pairs]
            count = len(inputs)
            y = unhidden(f, given[:count], dict(zip(named, given[count:], strict=True)))
        return spread(level.leave, y, out_axes)

    function.__name__, function.__doc__ = getattr(f, "__name__", "function"), f.__doc__
    return function


vmap.loops = LOOPED  # type: ignore[attr-defined]


def spread(visit: Function, x: Any, axes: Any) -> Any:
    """A tree of what `visit(leaf, axis)` gives; `axes` is one for all, or built like the tree as far as it goes."""
    if isinstance(axes, list | tuple | dict) and is_tree(x):
        if isinstance(x, dict):
            return {key: spread(visit, x[key], axes[key]) for key in x}
        parts = [spread(visit, *pair) for pair in zip(x, axes, strict=True)]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    return mapped(lambda leaf: visit(leaf, axes), x)


def measured(sizes: set[int]) -> Function:
    """A function that notes the size of a leaf along its axis."""

    def visit(x: Any, axis: Any) -> Any:
        if axis is not None and holds_numbers(x):
            shape = operand(x).shape
            if not -len(shape) <= axis < len(shape):
                raise ShapeError(
                    f"vmap: there is no axis {axis} in an argument of shape {show(shape)}; in_axes=None shares it"
                )
            sizes.add(shape[axis])
        return x

    return visit


def moved(x: Any, source: int, target: int) -> Any:
    """`x` with one axis moved to another place."""
    source, target = (normalize_axis(axis, x.ndim) for axis in (source, target))
    axes = [axis for axis in range(x.ndim) if axis != source]
    axes.insert(target, source)
    return x if source == target else F.transpose(x, axes=tuple(axes))
