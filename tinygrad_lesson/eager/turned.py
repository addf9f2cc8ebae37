"""What a derivative makes of the body of a loop, and what a batch does: bodies again, traced once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.batched import Batch, Batched
from tinygrad_lesson.eager.forward import jvp
from tinygrad_lesson.eager.reverse import BELOW, Noted, Reverse
from tinygrad_lesson.eager.stepped import Body, derived_body
from tinygrad_lesson.engine.backprop import backprop

Function = Callable[..., Any]


class Made(NamedTuple):
    """A body, and for each input (or result) of that it was made of the place of its derivative among the results."""

    body: Body
    places: Sequence[int | None]


def taken(each: Iterator[Any], *parts: Sequence[Any]) -> list[list[Any]]:
    """The next tensors, as many as are in each part."""
    return [[next(each) for _ in part] for part in parts]


def is_float(x: Any) -> bool:
    """Whether there is a derivative by it."""
    return bool(x.dtype.kind == "f")


def chosen(xs: Sequence[Any], flags: Sequence[Any]) -> list[Any]:
    """Those with a flag."""
    return [x for x, flag in zip(xs, flags, strict=True) if flag]


def filled_in(each: Iterator[Any], flags: Sequence[Any]) -> list[Any]:
    """The next for each flag that is set, None for the others."""
    return [next(each) if flag else None for flag in flags]


def pulled(body: Body, inputs: Sequence[Any], gs: Sequence[Any]) -> list[Any]:
    """The gradients of inputs for cotangents of results; None where no path leads, or none is asked for."""
    floats, tape = [is_float(x) for x in inputs], Reverse()
    with tape.entered():
        own = [tape.watch(t) if flag else t for t, flag in zip(inputs, floats, strict=True)]
        ys = body.again(own)
    pairs = zip(ys, gs, strict=True)
    heads = [(y, g) for y, g in pairs if g is not None and isinstance(y, Noted) and y.level is tape]
    return filled_in(iter(backprop(BELOW, heads, chosen(own, floats))), floats)


def pushed(body: Body, inputs: Sequence[Any], along: Sequence[Any], moves: Sequence[bool]) -> list[Any]:
    """The tangents of results for those of the inputs that `moves` tells; None for what has none."""

    def function(*given: Any) -> Any:
        mixed = filled_in(iter(given), moves)
        return tuple(body.again([x if t is None else t for t, x in zip(mixed, inputs, strict=True)]))

    found = jvp(function, chosen(inputs, moves), along)[1]
    return [t if is_float(x) else None for t, x in zip(found, body.examples, strict=True)]


def reversed_body(body: Body, begin: int, end: int, come: Sequence[bool]) -> Made:
    """The body of the way back; inputs from `begin` to `end` are states, and `come` tells which y have cotangents.

    It sees what the body sees. Its states are sums of the gradients of that, then the cotangents of the states. Its
    rows are the states before each step, the others, and the cotangents that have come.
    """
    inputs, outputs = [x for _, x in body.leaves], body.examples
    seen, states, xs = inputs[:begin], inputs[begin:end], inputs[end:]
    flags = [*map(is_float, outputs[: end - begin]), *come]
    moving, gys = [x for x in states if is_float(x)], chosen(outputs[end - begin :], come)

    def gradients(*tensors: Any) -> list[Any]:
        """Of all that is seen: there is None where no path leads."""
        firsts, *parts, later = taken(iter(tensors), moving, seen, states, xs, gys)
        return pulled(body, [t for part in parts for t in part], filled_in(iter([*firsts, *later]), flags))

    def back(*tensors: Any) -> list[Any]:
        own, sums, firsts, *parts = taken(iter(tensors), seen, summed, moving, states, xs, gys)
        found = gradients(*firsts, *own, *[t for part in parts for t in part])
        totals = iter(sums)
        found[:begin] = [
            F.add(next(totals), g) if flag else None for g, flag in zip(found[:begin], reached, strict=True)
        ]
        for i in range(begin, end):
            if is_float(inputs[i]) and found[i] is None:
                found[i] = F.full(shape=inputs[i].shape, value=0.0, dtype=str(inputs[i].dtype))
        return found

    places = derived_body("scan", gradients, [*moving, *inputs, *gys])[1]
    reached = [place is not None for place in places[:begin]]
    summed = chosen(seen, reached)
    return Made(*derived_body("scan", back, [*seen, *summed, *moving, *states, *xs, *gys]))


def pushed_body(body: Body, begin: int, end: int, moves: Sequence[bool]) -> Made:
    """The body that hands on tangents; `moves` tells which inputs have one.

    It sees what the body sees and the tangents of that. Its states are tangents. Its rows are the states before each
    step, the others, and the tangents of these.
    """
    inputs = [x for _, x in body.leaves]
    count = sum(moves[:end])
    along = chosen(inputs, moves)

    def tangents(*tensors: Any) -> Any:
        seen, early, rest, late = taken(
            iter(tensors), inputs[:begin], along[:count], inputs[begin:], along[count:]
        )
        return pushed(body, [*seen, *rest], [*early, *late], moves)

    given = [*inputs[:begin], *along[:count], *inputs[begin:], *along[count:]]
    return Made(*derived_body("scan", tangents, given))


def batched_body(body: Body, count: int, flags: Sequence[bool], wanted: Sequence[bool]) -> Made:
    """The body for a batch of `count`: inputs with a flag have an axis in front, and so have all `wanted` results.

    The places are 1 for a result that differs from sample to sample, else 0.
    """
    differ: list[int] = []

    def whole(*tensors: Any) -> list[Any]:
        level = Batch(count)
        with level.entered():
            ys = body.again(
                [Batched(level, t) if flag else t for t, flag in zip(tensors, flags, strict=True)]
            )
        differ[:] = [isinstance(y, Batched) and y.level is level for y in ys]
        return [
            y.below if own else F.broadcast_to(y, shape=(count, *y.shape)) if want else y
            for y, own, want in zip(ys, differ, wanted, strict=True)
        ]

    examples = [x for _, x in body.leaves]
    examples = [
        np.broadcast_to(x, (count, *x.shape)) if flag else x for x, flag in zip(examples, flags, strict=True)
    ]
    return Made(derived_body("scan", whole, examples)[0], tuple(differ))
