"""Functions with a derivative of their own, `custom_vjp` and `custom_jvp`, and `checkpoint`: each call is one op."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import zeros_like
from tinygrad_lesson.eager.differential import gradients, leaves, new_tape, pass_by
from tinygrad_lesson.eager.nested import is_tree, mapped
from tinygrad_lesson.eager.recording import RECORDING, recording, replaying, unhidden
from tinygrad_lesson.eager.ruled import Call, Function, Ruled, is_real
from tinygrad_lesson.eager.tensor import operand, wrap
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import COUNT
from tinygrad_lesson.engine.shapes import show


def custom_vjp(f: Function, nondiff_argnums: Sequence[int] = ()) -> CustomVjp:
    """`f` with a backward rule of its own, as in JAX: ``f = custom_vjp(f)``, then ``f.defvjp(forward, backward)``.

    ``forward(*inputs)`` gives the result and what the rule needs later. ``backward(needed, g)`` gives a tuple with the
    gradient for each argument, built like it, or None for zero. Arguments in `nondiff_argnums` have no gradient, and
    come before these two. Arguments and results may be nested in containers. Derivatives of higher order follow from
    the ops of both functions. In `jit` the function itself stays a step in Python, while its rule is compiled.

    Errors
        ShapeError or GraphError naming the function if a gradient does not fit; GraphError if `f` uses a recorded
        tensor that is no argument, whose gradient would get lost.

    Example
        >>> @custom_vjp
        ... def kept_small(x):
        ...     return x
        >>> kept_small.defvjp(lambda x: (x, None), lambda needed, g: (g.clip(-1, 1),))
        >>> from tinygrad_lesson import Tensor
        >>> x = Tensor([2.0], requires_grad=True)
        >>> (3.0 * kept_small(x)).backward()
        >>> x.grad.numpy()
        array([1.])
    """
    return CustomVjp(f, nondiff_argnums)


def custom_jvp(f: Function, nondiff_argnums: Sequence[int] = ()) -> CustomJvp:
    """`f` with a rule for its derivative along a direction, as in JAX: ``f.defjvp(rule)`` or ``f.defjvps(...)``.

    ``rule(inputs, tangents)`` gives the result and its tangent, which is linear in `tangents`; arguments in
    `nondiff_argnums` come before these two. ``f.defjvps(a, b)`` has for each argument a function
    ``a(tangent, result, *inputs)``, or None for zero. Backward the map of the tangents is transposed. All else is as
    in `custom_vjp`.

    Example
        >>> square = custom_jvp(lambda x: x * x)
        >>> square.defjvps(lambda tangent, y, x: 2 * x * tangent)
        >>> from tinygrad_lesson import Tensor
        >>> x = Tensor([3.0], requires_grad=True)
        >>> square(x).backward()
        >>> x.grad.numpy()
        array([6.])
    """
    return CustomJvp(f, nondiff_argnums)


def checkpoint(f: Function) -> Function:
    """`f`, of whose work only the result is kept for the backward pass, which computes the rest again.

    Memory then holds one block of a deep function at a time, for one more forward pass. Numbers and gradients are the
    same, bit for bit; only what `f` uses several times has a gradient that is summed in another order. What `f` draws
    from `tl.random` is drawn once, and the moving means of a batch normalization move once. What asks for a gradient
    is an argument, or part of `f` where that is a layer, a dataclass; recorded tensors that `f` finds outside get their
    gradients too. Inside of `jit` it is `f` itself: a plan decides what it computes again.

    Errors
        GraphError if a recorded tensor from outside has changed before the backward pass.

    Example
        >>> import tinygrad_lesson as tl
        >>> block = tl.checkpoint(lambda x: tl.exp(x) * x)
        >>> float(tl.grad(block)(0.0))
        1.0
    """
    return Checkpoint(f)


class CustomVjp(Ruled):
    """A function with a backward rule: see `custom_vjp`."""

    kind = "custom_vjp"
    rule: tuple[Function, Function] | None = None

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Say how: ``forward(*inputs) -> (result, needed)`` and ``backward(*fixed, needed, g) -> gradients``."""
        self.rule = forward, backward

    def rules(self) -> tuple[Function, Function]:
        """Both functions."""
        if self.rule is None:
            raise GraphError(f"{self.label()} has no rule yet: write {self.name}.defvjp(forward, backward)")
        return self.rule

    def forward(self, given: Sequence[Any]) -> tuple[Any, Any]:
        """As told."""
        pair = unhidden(self.rules()[0], given, {})
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise DTypeError(
                f"{self.label()}: forward gave {pair!r:.80}, expected (result, what backward needs)"
            )
        return pair

    def pull(self, call: Call, tensors: Sequence[Any], needed: Any, g: Any) -> Sequence[Any]:
        """As told."""
        fixed = [x for i, x in enumerate(call.forms) if i in self.fixed]
        return call.flat(unhidden(self.rules()[1], (*fixed, needed, g), {}), tensors)


class CustomJvp(Ruled):
    """A function with a rule for tangents: see `custom_jvp`."""

    kind = "custom_jvp"
    rule: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """Say how: ``rule(*fixed, inputs, tangents) -> (result, tangent)``."""
        self.rule = rule
        return rule

    def defjvps(self, *rules: Function | None) -> None:
        """Say how for each argument: ``rule(tangent, result, *inputs) -> tangent``; None for zero."""

        def rule(inputs: Sequence[Any], tangents: Sequence[Any]) -> Any:
            y = self(*inputs)
            pairs = zip(rules, tangents, strict=True)
            parts = [own(t, y, *inputs) for own, t in pairs if own is not None]
            return y, functools.reduce(lambda a, b: mapped(lambda p, q: p + q, a, b), parts) if parts else 0.0

        self.rule = rule

    def forward(self, given: Sequence[Any]) -> tuple[Any, Any]:
        """The function itself."""
        if self.rule is None:
            raise GraphError(f"{self.label()} has no rule yet: write {self.name}.defjvp(rule)")
        return unhidden(self.__wrapped__, given, {}), None

    def pull(self, call: Call, tensors: Sequence[Any], needed: Any, g: Any) -> Sequence[Any]:
        """The map of the tangents, transposed: the gradient by the tangents."""
        tape, create = new_tape(), RECORDING.on
        zeros = [wrap(zeros_like(x)) if is_real(x) else wrap(0.0) for x in tensors]
        with tape.entered():
            tangents = [tape.watch(t) if is_real(x) else t for x, t in zip(tensors, zeros, strict=True)]
            found = self.moved(call, tensors, tangents)
        heads = []
        for t, part in zip(found, leaves(g), strict=True):
            if t.node is not None and t.shape != part.shape:
                told = f"{show(t.shape)}, expected {show(part.shape)} as its result"
                raise ShapeError(f"{self.label()}: the rule gives a tangent of shape {told}")
            heads.append((t, part))
        wanted = [t for t in tangents if t.node is not None]
        if RECORDING.levels:
            each = iter(tape.finish([t for t, _ in heads], wanted)[1]([part for _, part in heads]))
        else:
            each = iter(gradients(heads, wanted, create_graph=create))
            pass_by(wanted)
        return [next(each) if t.node is not None else None for t in tangents]

    def push(self, call: Call, tensors: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """As told."""
        zeros = (wrap(zeros_like(x) if is_real(x) else 0.0) for x in tensors)
        return self.moved(
            call, tensors, [z if t is None else t for z, t in zip(zeros, tangents, strict=True)]
        )

    def moved(self, call: Call, tensors: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the results, by the rule."""
        given, along = call.given(tensors), call.given(tangents, other=0.0)
        fixed = [x for i, x in enumerate(given) if i in self.fixed]
        parts = [tuple(x for i, x in enumerate(xs) if i not in self.fixed) for xs in (given, along)]
        with recording(True, deriving=True):
            pair = unhidden(self.rule, (*fixed, *parts), {})
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise DTypeError(f"{self.label()}: the rule gave {pair!r:.80}, expected (result, tangent)")
        found: list[Any] = []
        mapped(lambda _, t: found.append(operand(t)), *pair)
        return found


class Checkpoint(Ruled):
    """A function that is run again in the backward pass: see `checkpoint`. A layer is an argument of it."""

    kind = "checkpoint"
    keeps = False
    closes = True

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: D102
        if RECORDING.tracing or RECORDING.levels:
            return self.__wrapped__(*arguments, **named)
        if is_tree(self.__wrapped__):
            return checkpoint(lambda layer, *xs: layer(*xs, **named))(self.__wrapped__, *arguments)
        return super().__call__(*arguments, **named)

    def forward(self, given: Sequence[Any]) -> tuple[Any, Any]:
        """The function itself."""
        return unhidden(self.__wrapped__, given, {}), None

    def pull(self, call: Call, tensors: Sequence[Any], needed: Any, g: Any) -> Sequence[Any]:
        """The function once more, recorded."""
        count = len(call.inputs)
        for before, t in zip(tensors[count:], call.outside, strict=True):
            if RECORDING.levels or not np.array_equal(before.array, t.array, equal_nan=True):
                why = "is inside of jvp or vmap here" if RECORDING.levels else "has changed since"
                raise GraphError(
                    f"{self.label()}: a recorded tensor from outside {why}; pass it as an argument"
                )
        tape, create = new_tape(), RECORDING.on
        with tape.entered(), call.replayed(), replaying(), recording(True, deriving=True):
            own = [tape.watch(x) if is_real(x) else x for x in tensors]
            began = next(COUNT)
            y = unhidden(self.__wrapped__, call.given(own[:count]), {})
        wanted = [x for x in own if x.node is not None]
        results = relinked([operand(t) for t in leaves(y)], began, call.outside, own[count:])
        pairs = list(zip(results, leaves(g), strict=True))
        if RECORDING.levels:
            found = tape.finish([t for t, _ in pairs], wanted)[1]([part for _, part in pairs])
        else:
            found = gradients(pairs, wanted, create_graph=create)
        each = iter(found)
        return [next(each) if x.node is not None else None for x in own]


def relinked(results: list[Any], began: int, outside: Sequence[Any], own: Sequence[Any]) -> list[Any]:
    """Results that were just recorded, as if each tensor of `outside` had been the one of `own` beside it.

    So a sweep ends there: where one of them was computed from another, it would count the way between them twice.
    """
    new = {(t.node, t.index): x for t, x in zip(outside, own, strict=True)}
    if not new:
        return results
    seen, waiting = set(), [t.node for t in results if t.node is not None]
    while waiting:
        node = waiting.pop()
        if node.number < began and node not in seen:  # it is younger
            seen.add(node)
            node.inputs = tuple([new.get((t.node, t.index), t) for t in node.inputs])
            waiting += [t.node for t in node.inputs if t.node is not None]
    return [new.get((t.node, t.index), t) for t in results]
