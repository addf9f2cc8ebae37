"""Softmax along rows, and the slopes of it and of its logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_lesson.run.tape import functions
from tinygrad_lesson.run.tape.expressions import larger
from tinygrad_lesson.run.tape.reductions import fold_of, summed, total_of
from tinygrad_lesson.run.tape.vector import I64, Memory, Vector, in_parts, itemsize, lanes_of, loop, splat


def softmax(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """Probabilities along rows: a kernel. Words: offset and row stride of x; offset of the dense o; m, n."""
    memory = Memory(builder, base, words, lanes_of(kind))
    x, x_row, o, m, n = memory.take(5)
    b, size = builder, I64(itemsize(kind))
    o_row = b.mul(n, size)
    with loop(b, m) as i:
        source, target = memory.at(x, i, x_row), memory.at(o, i, o_row)

        def element(j: Any, mask: Any, source: Any = source) -> Vector:
            return Vector(b, memory.load(memory.at(source, j, size), kind, mask))

        top = fold_of(memory, larger, Vector(b, memory.number(source, kind)), n, element)
        most = Vector(b, splat(b, top, memory.lanes))

        def less(
            j: Any, mask: Any, _: Any, element: Any = element, target: Any = target, most: Any = most
        ) -> None:
            memory.store(memory.at(target, j, size), (element(j, mask) - most).value, kind, mask)

        in_parts(memory, n, less)

    def exponential(j: Any, mask: Any, _: Any) -> None:
        at = memory.at(o, j, size)
        memory.store(at, functions.exp(Vector(b, memory.load(at, kind, mask))).value, kind, mask)

    in_parts(memory, b.mul(m, n), exponential)
    with loop(b, m) as i:
        target = memory.at(o, i, o_row)
        total = Vector(b, splat(b, summed(memory, target, n, kind, lambda v: v), memory.lanes))

        def share(j: Any, mask: Any, _: Any, target: Any = target, total: Any = total) -> None:
            at = memory.at(target, j, size)
            value = Vector(b, memory.load(at, kind, mask)) / total
            memory.store(at, value.value, kind, mask)

        in_parts(memory, n, share)


# What is added up of a cotangent and a result, and what becomes of both and of that sum.
SLOPES: dict[str, tuple[Callable[..., Vector], Callable[..., Vector]]] = {
    "softmax": (lambda g, y: g * y, lambda g, y, total: (g - total) * y),
    "log_softmax": (lambda g, y: g, lambda g, y, total: g - functions.exp(y) * total),
}


def slope(builder: Any, base: Any, words: Any, step: Any, name: str, kind: str) -> None:
    """The slope by the inputs, along rows that are dense: a kernel. Words: offsets of g, of y, of the result; m, n."""
    memory = Memory(builder, base, words, lanes_of(kind))
    g, y, o, m, n = memory.take(5)
    (of, then), b, size = SLOPES[name], builder, I64(itemsize(kind))
    width = b.mul(n, size)
    with loop(b, m) as i:
        beyond = b.mul(i, width)

        def pair(j: Any, mask: Any, beyond: Any = beyond) -> list[Vector]:
            along = b.add(beyond, b.mul(j, size))
            return [Vector(b, memory.load(b.add(at, along), kind, mask)) for at in (g, y)]

        def term(j: Any, mask: Any, _: Any, pair: Any = pair) -> Any:
            return of(*pair(j, mask))

        found = total_of(memory, n, kind, term)
        total = Vector(b, splat(b, found, memory.lanes))

        def put(
            j: Any, mask: Any, _: Any, pair: Any = pair, beyond: Any = beyond, total: Any = total
        ) -> None:
            at = b.add(o, b.add(beyond, b.mul(j, size)))
            memory.store(at, then(*pair(j, mask), total).value, kind, mask)

        in_parts(memory, n, put)
