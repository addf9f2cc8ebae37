"""Forward mode: tensors that carry a tangent, `jvp`, and derivatives that go forward or mix both ways."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, at, placed_at, zeros_like
from tinygrad_lesson.eager.apply import ARRAYS, TENSORS, apply, own, refuse_complex
from tinygrad_lesson.eager.batched import vmap
from tinygrad_lesson.eager.captured import Captured
from tinygrad_lesson.eager.compiled import Compiled, Program
from tinygrad_lesson.eager.differential import as_result, grad, leaves, vjp
from tinygrad_lesson.eager.nested import holds_numbers, is_tree, mapped
from tinygrad_lesson.eager.recording import RECORDING, unhidden
from tinygrad_lesson.eager.reverse import Reverse
from tinygrad_lesson.eager.tensor import Tensor, of_array, operand, wrap
from tinygrad_lesson.eager.tracer import Level, Tracer, results_shown
from tinygrad_lesson.engine.errors import DTypeError, ShapeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.engine.tangents import fitted, push, summed

Function = Callable[..., Any]


class Dual(Tracer):
    """A tensor with a tangent."""

    __slots__ = ("tangent",)
    tangent: Any

    def __init__(self, level: Forward, below: Any, tangent: Any) -> None:
        self.level, self.below, self.tangent = level, below, tangent


class Forward(Level):
    """The world of tangents. Nothing is kept of what was computed."""

    name, tape = "jvp", Reverse

    def apply(self, op: Op, tensors: Sequence[Tensor], every: bool) -> Any:
        """Results of an op with their tangents."""
        if (
            op.ours
            and op.results == 1
            and op.differentiable
            and (op.multilinear or isinstance(op, Elementwise))
        ):
            found = self.bare(op, tensors)
            if found is not None:
                return found
        below = tuple([t.below if t.level is self else t for t in tensors])
        y = apply(op, below, every=True)
        ys = y if isinstance(y, tuple) else (y,)
        if not op.differentiable:
            return results_shown(op, ys, every)
        tangents = [t.tangent if t.level is self else None for t in tensors]  # type: ignore[attr-defined]
        if not op.analytic:
            refuse_complex(op, [t for t in tangents if t is not None])
        if not MODULES and is_plain((*ys, *below, *tangents)):
            parts = [[None if t is None else t.array for t in part] for part in (tangents, ys, below)]
            along = [t for t in tangents if t is not None]
            moved = [None if t is None else own(np.asarray(t), along) for t in push(ARRAYS, op, *parts)]
        else:
            moved = push(TENSORS, op, tangents, ys, below)
        pairs = zip(ys, moved, strict=True)
        return results_shown(op, [y if t is None else Dual(self, y, t) for y, t in pairs], every)

    def bare(self, op: Op, tensors: Sequence[Any]) -> Dual | None:
        """The result of bare arrays, on the shortest way; None where there is more to do."""
        below, tangents, along = [], [], []
        for i, t in enumerate(tensors):
            if t.level is self:
                tangent, t = t.tangent, t.below
                if tangent.__class__ is not Tensor or tangent.node is not None or tangent.dtype.kind != "f":
                    return None
                tangents.append(tangent)
                along.append((i, tangent.array))
            if t.__class__ is not Tensor or t.node is not None:
                return None
            below.append(t)
        if RECORDING.tracing or MODULES:
            return None
        arrays = [t.array for t in below]
        try:
            y = np.asarray(op.forward(np, *arrays))
        except Exception:
            return None  # `apply` says what is wrong
        moved = summed(ARRAYS, op, along, y, arrays)
        if moved is None:
            return None
        if moved.shape != y.shape or moved.dtype != y.dtype:
            moved = fitted(ARRAYS, moved, y)
        return Dual(self, own(y, below), own(np.asarray(moved), tangents))

    def parts(self, y: Any) -> tuple[Any, Any]:
        """A result of the function, and its tangent; None, which a gradient may hold, is its own."""
        if y is None:
            return None, None
        if isinstance(y, Dual) and y.level is self:
            return y.below, y.tangent
        return y, wrap(zeros_like(y))


def is_plain(tensors: Sequence[Any]) -> bool:
    """Whether nothing has to be recorded of what is done with these: bare arrays will do."""
    return not RECORDING.tracing and all(
        t is None or (t.__class__ is Tensor and t.node is None) for t in tensors
    )


def jvp(f: Function, inputs: Any, tangents: Any, *, has_aux: bool = False) -> Any:
    """The value of `f` and its derivative along `tangents`: ``J v``; with `has_aux` what it gives beside that, too.

    One pass forward, in which each op hands on a tangent beside its result: nothing is recorded. Inputs and results
    may be trees, and tangents are built like them. One array alone is the one input.

    Errors
        ShapeError if a tangent differs from its input in shape.

    Example
        >>> value, slope = jvp(lambda x: x * x, [3.0], [1.0])
        >>> float(value), float(slope)
        (9.0, 6.0)
    """
    if not isinstance(inputs, list | tuple):
        inputs, tangents = [inputs], [tangents]
    check_shapes(inputs, tangents)
    level = Forward()
    with level.entered():
        duals = [mapped(functools.partial(dual, level), *pair) for pair in zip(inputs, tangents, strict=True)]
        y, more = unhidden(f, duals, {}), None
        if has_aux:
            y, more = y
    y = mapped(lambda part: part if part is None else as_result(f, part), y)
    value, tangent = (mapped(lambda part, i=i: level.parts(part)[i], y) for i in (0, 1))
    if not has_aux:
        return value, tangent
    return value, tangent, mapped(lambda x: level.parts(x)[0] if isinstance(x, Tensor) else x, more)


def check_shapes(inputs: Sequence[Any], tangents: Sequence[Any]) -> None:
    """Refuse tangents that are not built like the inputs."""
    if len(inputs) != len(tangents):
        raise ShapeError(f"jvp: {len(tangents)} tangents are given for {len(inputs)} inputs")
    shapes: tuple[list[Any], list[Any]] = [], []

    def note(*pair: Any) -> None:
        for side, x in zip(shapes, pair, strict=True):
            side += [operand(x).shape] if holds_numbers(x) else []

    for x, t in zip(inputs, tangents, strict=True):
        mapped(note, x, t)
    if shapes[0] != shapes[1]:
        expected, found = (", ".join(map(show, side)) for side in shapes)
        raise ShapeError(f"jvp: the tangents are {found}, expected {expected} as the inputs")


def dual(level: Forward, x: Any, t: Any) -> Any:
    """A leaf of an argument with its tangent; what has no derivative stays as it is."""
    if not holds_numbers(x):
        return x
    x = operand(x)
    if x.dtype.kind not in "fc" or t is None:
        return x
    x, t = of_array(x), of_array(operand(t))
    return Dual(level, x, t if t.dtype == x.dtype else TENSORS.cast(t, dtype=str(x.dtype)))


def of_compiled(self: Compiled, F: Any, tangents: Sequence[Any], y: Any, *args: Any) -> Any:
    """The plan of the tangents, for those inputs that have one."""
    program = self.program
    places = tuple([i for i, t in enumerate(tangents) if t is not None])
    ys = y if len(program.shapes) > 1 else (y,)
    floats = [i for i, (_, dtype) in enumerate(program.shapes[: program.shown]) if dtype.kind == "f"]
    found: list[Any] = [None] * len(ys)
    if places and floats:
        given = (*[tangents[i] for i in places], *program.draws(ys), *args)
        moved = F.apply(Compiled(program=pushed(program, places, floats)), given)
        for i, t in zip(floats, moved if isinstance(moved, tuple) else (moved,), strict=True):
            found[i] = t
    return found if len(found) > 1 else found[0]


def pushed(program: Program, places: tuple[int, ...], floats: Sequence[int]) -> Program:
    """The program of ``(tangents, draws, inputs) -> tangents``."""
    if places not in program.derived:
        begin, count = len(places), len(program.drawn)

        def moved(*tensors: Any) -> Any:
            draws, inputs = tensors[begin : begin + count], tensors[begin + count :]

            def results(*xs: Any) -> Any:
                mixed = dict(enumerate(inputs)) | dict(zip(places, xs, strict=True))
                found = program.again(draws, list(mixed.values()))
                return tuple([found[i] for i in floats])

            return jvp(results, [inputs[i] for i in places], tensors[:begin])[1]

        zeros = [np.zeros_like(program.examples[i]) for i in places]
        tensors = [wrap(x) for x in (*zeros, *program.drawn, *program.examples)]
        program.derived[places] = Program(moved, tensors, program.settings, Captured([]))
    return program.derived[places]


Compiled.jvp = of_compiled


def jacobian(f: Function, *inputs: Any, argnums: int | Sequence[int] = 0) -> Any:
    """The derivative of every element of ``f(*inputs)`` for every element of each input.

    Without inputs a function that gives it: ``jacobian(f)(x)``, for the arguments `argnums`. It goes forward where
    there are fewer elements of inputs than of the result, else backward.

    Shapes
        (shape of the result, shape of the input) for each input; a list where there are several. Of an input that is a
        tree, as a dict, it is built like that.

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.jacobian(lambda x: x * x)([1.0, 3.0])
        Tensor([[2., 0.],
                [0., 6.]], dtype=float64)
    """
    if not inputs:
        return for_arguments(jacobian, f, argnums)
    if any(map(is_tree, inputs)):
        return like_trees(inputs, of_leaves(jacobian, f, inputs))
    y, pull = vjp(lambda *xs: as_result(f, f(*xs)), *inputs)
    if y.dtype.kind == "c":
        raise DTypeError(
            "jacobian: the function gives complex numbers; make a real one of it, such as tl.abs of its result"
        )
    if sum(operand(x).size for x in inputs) < y.size:
        return columns(f, *inputs)
    if not y.size:
        whole = [wrap(np.zeros((*y.shape, *operand(x).shape), y.dtype)) for x in inputs]
    else:
        rows = vmap(lambda g: tuple(pull(g)))(units(y))
        whole = [TENSORS.reshape(row, (*y.shape, *row.shape[1:])) for row in rows]
    return whole if len(whole) > 1 else whole[0]


def columns(f: Function, *inputs: Any) -> Any:
    """A Jacobian by forward mode, one pass for all elements of an input."""
    whole = []
    for i, x in enumerate(inputs):

        def of_this(x: Any, i: int = i) -> Any:
            return f(*inputs[:i], x, *inputs[i + 1 :])

        x = operand(x)
        if x.size:
            slopes = vmap(lambda t, x=x, f=of_this: jvp(f, [x], [t])[1], out_axes=-1)(units(x))
            whole.append(TENSORS.reshape(slopes, (*slopes.shape[:-1], *x.shape)))
        else:
            y = f(*inputs)
            whole.append(wrap(np.zeros((*y.shape, *x.shape), y.dtype)))
    return whole if len(whole) > 1 else whole[0]


def units(x: Any) -> Any:
    """Arrays like `x` with a single 1 each."""
    if MODULES:
        with at(placed_at(x.example())):
            return TENSORS.reshape(TENSORS.eye(x.size, type=str(x.dtype)), (x.size, *x.shape))
    return np.eye(x.size, dtype=x.dtype).reshape((x.size, *x.shape))


def for_arguments(derivative: Function, f: Function, argnums: int | Sequence[int]) -> Function:
    """A function that gives a derivative of `f` for some of its arguments, the others held fast."""
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def function(*inputs: Any, **named: Any) -> Any:
        def of_these(*changed: Any) -> Any:
            given = list(inputs)
            for i, x in zip(numbers, changed, strict=True):
                given[i] = x
            return f(*given, **named)

        found = derivative(of_these, *[inputs[i] for i in numbers])
        return [found] if several and len(numbers) == 1 else found

    return function


def of_leaves(derivative: Function, f: Function, inputs: Sequence[Any]) -> list[Any]:
    """A derivative for each array in arguments that are trees."""

    def function(*xs: Any) -> Any:
        found = like_trees(inputs, xs)
        return f(*found) if len(inputs) > 1 else f(found)

    return listed(derivative(function, *[x for tree in inputs for x in leaves(tree)]))


def like_trees(inputs: Sequence[Any], parts: Sequence[Any]) -> Any:
    """Arguments, or one, with other things in the places of their arrays."""
    each = iter(parts)
    found = [mapped(lambda _: next(each), x) for x in inputs]
    return found if len(found) > 1 else found[0]


def hessian(f: Function, *inputs: Any, argnums: int | Sequence[int] = 0) -> Any:
    """Second derivatives of a function with one result, forward over reverse.

    Without inputs a function that gives them: ``hessian(f)(x)``.

    Shapes
        (shape of x, shape of x); of several inputs a list of rows, the blocks for each pair of them; of trees built
        like them, twice

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.hessian(lambda x: x[0] * x[1])([1.0, 3.0])
        Tensor([[0., 1.],
                [1., 0.]], dtype=float64)
    """
    if not inputs:
        return for_arguments(hessian, f, argnums)
    if any(map(is_tree, inputs)):
        rows = of_leaves(hessian, f, inputs)
        return like_trees(inputs, [like_trees(inputs, listed(row)) for row in rows])
    if len(inputs) == 1:
        return columns(grad(f), *inputs)
    return [listed(columns(grad(f, i), *inputs)) for i in range(len(inputs))]


def listed(x: Any) -> list[Any]:
    """One or several as a list."""
    return x if isinstance(x, list) else [x]


def hvp(f: Function, inputs: Any = None, vectors: Any = None) -> Any:
    """The Hessian of a function with one result times a vector, without the Hessian: forward over reverse.

    Of a function alone the function that gives it: ``hvp(f)(x, v)``.

    Shapes
        `vectors` and the result are built like `inputs`: an array, or a tuple or list of one for each argument of `f`

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.hvp(lambda x: (x * x * x).sum())([1.0, 2.0], [1.0, 0.0])
        Tensor([6., 0.], dtype=float64)
    """
    if inputs is None:
        return functools.partial(hvp, f)
    several = isinstance(inputs, list | tuple) and is_tree(inputs)
    xs, vs = (list(inputs), list(vectors)) if several else ([inputs], [vectors])
    if len(xs) != len(vs):
        raise ShapeError(f"hvp: {len(vs)} vectors for {len(xs)} inputs")
    found = jvp(grad(f, tuple(range(len(xs)))), xs, vs)[1]
    return list(found) if several else found[0]
