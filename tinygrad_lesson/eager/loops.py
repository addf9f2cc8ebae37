"""Loops and choices that all transformations understand: `scan` and `cond`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import FEW
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.chosen import Cond, by_element
from tinygrad_lesson.eager.custom import checkpoint as computed_again
from tinygrad_lesson.eager.differential import leaves
from tinygrad_lesson.eager.nested import mapped
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.ruled import same_state
from tinygrad_lesson.eager.scanned import Scan, changed
from tinygrad_lesson.eager.stepped import Body, Stepping, derived_body, known_body
from tinygrad_lesson.eager.tensor import Tensor, operand
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.shapes import show, size_of

Function = Callable[..., Any]
LEAST = 16  # steps from which on a loop is one op
LIGHT = 20  # ops on elements that take no longer than a choice between them


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

    From 16 steps on it is one op, `Scan`: `f` is called once, for a graph of what it does, whose plan is carried out in
    each step. Where `f` looks at a value, draws random numbers or changes a state, it is called in each step. The same
    holds for a shorter loop. What `f` does beside, as `print` of a text, it does as often as it is called.

    The gradient keeps the states before each step, and computes the rest of a step again. With `checkpoint` it keeps
    but a part of the states: memory grows as the square root of the number of steps, for one more forward pass.
    Tensors that `f` finds outside get their gradients.

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
    init = mapped(lambda x: x if x is None else operand(x), init)
    checkpoint = checkpoint and any(x is not None for x in leaves(init))
    if count >= LEAST:
        with contextlib.suppress(UnfitError):
            return rolled(f, init, xs, count, reverse, checkpoint)
    if not checkpoint or count < 4:
        return steps(f, init, xs, count, reverse)
    part = math.isqrt(count - 1) + 1
    places = list(range(part, count, part))
    parts = apart(xs, len(places) + 1, lambda x: F.split_at(x, places=tuple(places), axis=0))
    ends = list(zip([0, *places], [*places, count], strict=True))
    state, found = init, []
    for i in range(len(parts))[:: -1 if reverse else 1]:
        state, ys = again(f, state, parts[i], ends[i][1] - ends[i][0], reverse)
        found.append(ys)
    return state, joined(found[:: -1 if reverse else 1], F.concat, dim=0)


class UnfitError(LessonError):
    """A body that no graph can stand for: it looks at a value, draws, changes a state."""


def rolled(f: Function, init: Any, xs: Any, count: int, reverse: bool, checkpoint: bool) -> tuple[Any, Any]:
    """The loop as one op: `f` is called once, for a step.

    Errors
        UnfitError where it has to be called in every step.
    """
    rows = [operand(x) for x in leaves(xs) if x is not None]
    states = [t for t in leaves(init) if t is not None]
    level = Stepping("scan")
    generator = random.default_generator()
    before = generator.seed, generator.get_state()
    with level.entered():
        try:
            own = [level.variable(t.example()) for t in states]
            firsts = [level.variable(t.example()[-1 if reverse else 0]) for t in rows]
            each, first = iter(own), iter(firsts)
            state = mapped(lambda t: t if t is None else next(each), init)
            x = None if xs is None else mapped(lambda x: x if x is None else next(first), xs)
            state, y = one_step(f, state, x)
            heads = [level.head(t) for t in (*leaves(state), *leaves(y)) if t is not None]
            if not same_state(before, (generator.seed, generator.get_state())):
                raise GraphError("scan: the function draws random numbers")
        except GraphError as error:
            generator.set_state(*before)
            raise UnfitError(str(error)) from error
    places = len(own) + len(firsts)
    every = list(zip(level.leaves, level.examples, strict=True))
    body = known_body(Body([*every[places:], *every[:places]], heads, ()))
    op = Scan(body, count, len(own), len(rows), reverse)
    given = [*[t for _, t in level.outside.values()], *states, *rows]
    found = iter(in_parts(op, given) if checkpoint else carried_out(op, given))
    last = mapped(lambda t: t if t is None else next(found), init)
    return last, mapped(lambda t: t if t is None else next(found), y)


def carried_out(op: Scan, given: Sequence[Any]) -> tuple[Any, ...]:
    """The results of a loop, which keeps the states before each step where a derivative may be asked for."""
    recorded = RECORDING.on and any(t.node is not None for t in given)
    found = apply(op.with_states() if recorded or RECORDING.tracing or RECORDING.levels else op, given)
    return found if isinstance(found, tuple) else (found,)


def in_parts(op: Scan, given: Sequence[Any]) -> list[Any]:
    """The results of a loop over loops, of which the outer one alone keeps states; what is left over comes last."""
    part = math.isqrt(op.length - 1) + 1
    whole, left = divmod(op.length, part)
    seen, states, xs = op.parts(given)
    cut = left if op.reverse else whole * part
    first, last = ([x[:cut] for x in xs], [x[cut:] for x in xs])[:: -1 if op.reverse else 1]
    first = [F.reshape(x, shape=(whole, part, *x.shape[1:])) for x in first]
    inner = changed(op, length=part)

    def body(*tensors: Any) -> Any:
        found = apply(inner, tensors)
        return found if isinstance(found, tuple) else (found,)

    examples = [np.asarray(t.example()) for t in (*seen, *states)] + [np.array(x.example()[0]) for x in first]
    outer = changed(op, body=derived_body("scan", body, examples)[0], length=whole)
    found = list(carried_out(outer, (*seen, *states, *first)))
    found[op.carried :] = [F.reshape(y, shape=(whole * part, *y.shape[2:])) for y in found[op.carried :]]
    if not left:
        return found
    rest = carried_out(changed(op, length=left), (*seen, *found[: op.carried], *last))
    pairs = zip(found[op.carried :], rest[op.carried :], strict=True)
    return [*rest[: op.carried], *[F.concat(*pair[:: -1 if op.reverse else 1], dim=0) for pair in pairs]]


def again(f: Function, state: Any, xs: Any, count: int, reverse: bool) -> Any:
    """The loop itself, of which a backward pass computes all but the result once more."""
    form: list[Any] = []

    def some(state: Any, xs: Any) -> list[Any]:
        form[:] = steps(f, state, xs, count, reverse)
        return [t for t in leaves(form) if t is not None]

    each = iter(computed_again(some)(state, xs))
    return mapped(lambda t: t if t is None else next(each), form)


def steps(f: Function, state: Any, xs: Any, count: int, reverse: bool) -> tuple[Any, Any]:
    """The loop itself."""
    rows = apart(xs, count, lambda x: F.split(x, num_outputs=count, axis=0, squeeze_axis=True))
    found = []
    for x in rows[:: -1 if reverse else 1]:
        state, y = one_step(f, state, x)
        found.append(y)
    return state, joined(found[:: -1 if reverse else 1], F.stack, axis=0)


def one_step(f: Function, state: Any, x: Any) -> tuple[Any, Any]:
    """The next state, and the result.

    Errors
        DTypeError if the function gives no pair; ShapeError or DTypeError if the state is another.
    """
    pair = f(state, x)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise DTypeError(f"scan: the function gave {pair!r:.80}, expected a pair (state, y)")
    return mapped(alike, state, pair[0]), pair[1]


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
    if before is None and after is not None:
        raise DTypeError(f"scan: the state is {after!r:.80} after a step, None before")
    if not isinstance(before, Tensor):
        return after
    after = F.stack(*after, axis=0) if isinstance(after, list | tuple) else operand(after)
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

    Where the condition is a value that is there, the other function is not called. Inside of `jit` and of `scan` both
    are called once, for a graph each, and the choice is one op, `Cond`, which carries out one of them. But few ops on
    the elements of small arrays take less time than that: both are carried out, and `tl.where` chooses between their
    results, as also where the condition differs between samples of `vmap`, or where no graph can stand for a function.
    Neither may fail or change a state then where it is not meant. The gradient of the one that is not taken is 0 by
    the operands, also where its own would be infinite or NaN; what it finds outside is not guarded.

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
    if not differs(chosen):
        with contextlib.suppress(UnfitError):
            return as_op(chosen, true, false, operands)
    return by_element(chosen, true, false, operands)


def as_op(condition: Any, true: Function, false: Function, operands: Sequence[Any]) -> Any:
    """The choice as one op: each function is called once.

    Errors
        UnfitError where both may as well be carried out, or where no graph can stand for one.
    """
    level = Stepping("cond")
    given = [x for x in leaves(tuple(operands)) if isinstance(x, Tensor)]
    with level.entered():
        try:
            each = iter([level.variable(t.example()) for t in given])
            own = mapped(lambda x: next(each) if isinstance(x, Tensor) else x, tuple(operands))
            found = [f(*own) for f in (true, false)]
            heads = [[level.head(t) for t in leaves(y) if t is not None] for y in found]
        except GraphError as error:
            raise UnfitError(str(error)) from error
    mapped(lambda a, b: None, *found)  # which refuses what is not built alike
    pairs = list(zip(level.leaves, level.examples, strict=True))
    bodies = [known_body(Body(pairs, part, ())) for part in heads]
    if bodies[0].results != bodies[1].results or not bodies[0].heads or all(map(is_light, bodies)):
        raise UnfitError("cond: both functions take no time, or differ in the shape of what they give")
    made = apply(Cond(*bodies), [condition, *given, *[t for _, t in level.outside.values()]])
    each = iter(made if isinstance(made, tuple) else (made,))
    return mapped(lambda t: t if t is None else next(each), found[0])


def is_light(body: Body) -> bool:
    """Whether it takes less time than the choice itself: a few ops on the elements of small arrays."""
    ops = [node.op for node in body.order]
    sizes = [size_of(shape) for shape, _ in (*body.specs, *body.results)]
    return (
        len(ops) <= LIGHT and all(isinstance(op, Elementwise | Constant) for op in ops) and max(sizes) <= FEW
    )


def differs(x: Any) -> bool:
    """Whether samples of `vmap` may have each its own."""
    while x.level is not None:
        if x.level.name == "vmap":
            return True
        x = x.below
    return False


def is_hidden(x: Any) -> bool:
    """Whether there is no single value to look at."""
    if x.level is None:
        return bool(RECORDING.tracing and x.node is not None)
    return x.level.name in ("vmap", "scan", "cond") or is_hidden(x.below)
