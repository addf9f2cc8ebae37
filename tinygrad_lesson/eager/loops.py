"""Loops and choices that all transformations understand: `scan` and `cond`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.custom import checkpoint as computed_again
from tinygrad_lesson.eager.differential import leaves
from tinygrad_lesson.eager.nested import mapped
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import Tensor, operand
from tinygrad_lesson.engine.errors import DTypeError, ShapeError
from tinygrad_lesson.engine.shapes import show

Function = Callable[..., Any]


def scan(
    f: Function,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    checkpoint: bool = False,
) -> tuple[Any, Any]:
    """A loop that hands a state on: ``state, y = f(state, x)`` for each x along the first axis of `xs`.

    It gives the last state and all y, stacked, in the order of `xs`, from whose end it begins with `reverse`. States, x
    and y may be trees; the state keeps its form, y may be None, and without `xs` there are `length` steps.

    The gradient keeps what every step computed. With `checkpoint` it keeps but a part of the states, and computes the
    rest again, a part at a time: memory grows as the square root of the number of steps, for one more forward pass.
    Tensors that `f` finds outside get their gradients. Inside of `jit` the steps stand one after the other in the plan.

    Errors
        ShapeError where the state changes its shape, or arrays in `xs` differ in length; DTypeError if `f` gives no
        pair.

    Example
        >>> total, sums = scan(lambda s, x: (s + x, s + x), 0.0, [1.0, 2.0, 3.0])
        >>> float(total), sums.numpy().tolist()
        (6.0, [1.0, 3.0, 6.0])
    """
    sizes = {operand(x).shape[:1] for x in leaves(xs) if x is not None}
    sizes |= set() if length is None else {(length,)}
    if len(sizes) != 1 or () in sizes:
        told = " and ".join(sorted(show(size) for size in sizes)) or "no length"
        raise ShapeError(f"scan: xs and length give {told}, expected one number of steps")
    ((count,),) = sizes
    init = mapped(operand, init)
    if not checkpoint or count < 4:
        return steps(f, init, xs, count, reverse)
    part = math.isqrt(count - 1) + 1
    places = list(range(part, count, part))
    parts = apart(xs, len(places) + 1, lambda x: F.split_at(x, places=tuple(places), axis=0))
    ends = list(zip([0, *places], [*places, count], strict=True))
    state, found = init, []
    for i in range(len(parts))[:: -1 if reverse else 1]:
        size = ends[i][1] - ends[i][0]
        again = computed_again(lambda state, xs, size=size: bare(steps(f, state, xs, size, reverse)))
        made = again(state, parts[i])
        state, ys = made if len(made) > 1 else (*made, None)
        found.append(ys)
    return state, joined(found[:: -1 if reverse else 1], F.concat, dim=0)


def bare(pair: tuple[Any, Any]) -> tuple[Any, ...]:
    """State and results, these left out where there are none."""
    return pair if pair[1] is not None else pair[:1]


def steps(f: Function, state: Any, xs: Any, count: int, reverse: bool) -> tuple[Any, Any]:
    """The loop itself."""
    rows = apart(xs, count, lambda x: F.split(x, num_outputs=count, axis=0, squeeze_axis=True))
    found = []
    for x in rows[:: -1 if reverse else 1]:
        pair = f(state, x)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise DTypeError(f"scan: the function gave {pair!r:.80}, expected a pair (state, y)")
        state = mapped(alike, state, pair[0])
        found.append(pair[1])
    return state, joined(found[:: -1 if reverse else 1], F.stack, axis=0)


def apart(xs: Any, count: int, split: Function) -> list[Any]:
    """A tree of arrays as a list of trees of their parts. One op splits each array: its gradient is one op, too."""
    if xs is None:
        return [None] * count
    columns = [split(operand(x)) if x is not None else None for x in leaves(xs)]
    columns = [column if column is None or isinstance(column, tuple) else (column,) for column in columns]

    def row(i: int) -> Any:
        each = iter(columns)
        return mapped(lambda _: column[i] if (column := next(each)) is not None else None, xs)

    return [row(i) for i in range(count)]


def alike(before: Any, after: Any) -> Any:
    """A part of the new state, which has the shape and type of the old one.

    Errors
        ShapeError or DTypeError if it has not.
    """
    if not isinstance(before, Tensor):
        return after
    after = operand(after)
    if after.shape != before.shape:
        raise ShapeError(f"scan: the state is {show(after.shape)} after a step, {show(before.shape)} before")
    if after.dtype != before.dtype:
        raise DTypeError(f"scan: the state is {after.dtype} after a step, {before.dtype} before")
    return after


def joined(trees: Sequence[Any], together: Function, **attributes: int) -> Any:
    """One tree of what is in the same place of many, put together; None where there is nothing."""
    if not trees or all(part is None for part in leaves(trees[0])):
        return None
    return mapped(lambda *parts: None if parts[0] is None else together(*parts, **attributes), *trees)


def cond(condition: Any, true: Function, false: Function, *operands: Any) -> Any:
    """``true(*operands)`` where the condition holds, else ``false(*operands)``.

    Where the condition is a value that is there, the other function is not called. Inside of `jit`, and where it
    differs between samples of `vmap`, both are, and `tl.where` chooses between their results, which are built alike:
    both take their time, and neither may fail or change a state where it is not meant. The gradient of the one that is
    not taken is 0 by the operands, also where its own would be infinite or NaN; what it finds outside is not guarded.

    Errors
        ShapeError if the condition has more than one element.

    Example
        >>> from tinygrad_lesson import Tensor
        >>> cond(Tensor(1.0) > 0, lambda x: x + 1, lambda x: x - 1, Tensor(1.0)).item()
        2.0
    """
    chosen = operand(condition)
    if chosen.size != 1:
        raise ShapeError(f"cond: the condition is {show(chosen.shape)}, expected one truth value")
    if not is_hidden(chosen):
        return true(*operands) if bool(chosen) else false(*operands)
    chosen = F.reshape(F.not_equal(chosen, 0), shape=())

    def only(x: Any, taken: bool) -> Any:
        """The same number, whose gradient ends where the function is not taken."""
        if not isinstance(x, Tensor) or x.dtype.kind not in "fc":
            return x
        pair = (x, F.stop_gradient(x)) if taken else (F.stop_gradient(x), x)
        return F.where(chosen, *pair)

    one, other = (mapped(lambda x, taken=taken: only(x, taken), operands) for taken in (True, False))
    return mapped(lambda a, b: a if a is None else F.where(chosen, a, b), true(*one), false(*other))


def is_hidden(x: Any) -> bool:
    """Whether there is no single value to look at."""
    while x.level is not None:
        if x.level.name == "vmap":
            return True
        x = x.below
    return bool(RECORDING.tracing and x.node is not None)
