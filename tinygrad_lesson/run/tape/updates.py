"""The steps of plain optimizers, each in one pass over flat arrays."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.run.tape.vector import I64, Contracted, Memory, in_parts, itemsize, lanes_of


def adam(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """One step of Adam: a kernel.

    Words: the offsets of weight, gradient, mean, mean square; how many; of beta1, 1 - beta1, beta2, 1 - beta2, epsilon;
    and of the rate of the first step.
    """
    memory, size = Memory(builder, base, words, lanes_of(kind)), itemsize(kind)
    w, g, mean, square, n, settings, rates = memory.take(7)
    known = [Contracted(builder, memory.number(builder.add(settings, I64(i * size)), kind)) for i in range(5)]
    b1, r1, b2, r2, epsilon = known
    rate = Contracted(builder, memory.number(memory.at(rates, step, I64(size)), kind))

    def some(j: Any, mask: Any, _: Any) -> None:
        places = [memory.at(at, j, I64(size)) for at in (w, g, mean, square)]
        weight, q, a, b = [Contracted(builder, memory.load(at, kind, mask)) for at in places]
        a = a * b1 + q * r1
        b = b * b2 + q * r2 * q
        new = weight - a * rate / (b.called("sqrt") + epsilon)
        for at, value in zip((places[0], *places[2:]), (new, a, b), strict=True):
            memory.store(at, value.value, kind, mask)

    in_parts(memory, n, some)


def sgd(builder: Any, base: Any, words: Any, step: Any, kind: str) -> None:
    """One step of gradient descent with momentum: a kernel.

    Words: the offsets of weight, gradient, moment; how many; of the momentum; of the rate of the first step.
    """
    memory, size = Memory(builder, base, words, lanes_of(kind)), itemsize(kind)
    w, g, moment, n, settings, rates = memory.take(6)
    momentum = Contracted(builder, memory.number(settings, kind))
    rate = Contracted(builder, memory.number(memory.at(rates, step, I64(size)), kind))

    def some(j: Any, mask: Any, _: Any) -> None:
        places = [memory.at(at, j, I64(size)) for at in (w, g, moment)]
        weight, q, a = [Contracted(builder, memory.load(at, kind, mask)) for at in places]
        a = a * momentum - q * rate
        for at, value in zip((places[0], places[2]), (weight + a, a), strict=True):
            memory.store(at, value.value, kind, mask)

    in_parts(memory, n, some)
