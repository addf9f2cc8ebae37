"""Tangents of every op: the way forward against the way back."""

import numpy as np
import pytest
from hypothesis import given
from one_op import SEED, cotangents_for, forward, inner, learnable, pull, pull_twice

import tinygrad_lesson as tl
from tinygrad_lesson import random
from tinygrad_lesson.check.strategies import samples
from tinygrad_lesson.op import OPS
from tinygrad_lesson.tensor import apply

SMOOTH = [cls for cls in OPS.values() if cls.ours and cls.differentiable]


def each_smooth_op():
    return pytest.mark.parametrize("cls", SMOOTH, ids=lambda cls: cls.name)


class Sampled:
    """An op as a function of its learnable inputs, with a direction for these and cotangents for its results."""

    def __init__(self, cls, draw):
        self.op, inputs = draw.sample(cls)
        self.arrays = list(inputs.values())
        self.wanted = learnable(self.op, self.arrays)
        self.xs = [self.arrays[i] for i in self.wanted]
        self.ts, self.ws = ([draw.generator.uniform(-1, 1, x.shape) for x in self.xs] for _ in range(2))
        self.gs = cotangents_for(self.op, self.arrays, draw.generator)

    def __call__(self, *xs):
        given = [tl.Tensor(x) for x in self.arrays]
        for i, x in zip(self.wanted, xs, strict=True):
            given[i] = x
        random.seed(SEED)
        y = apply(self.op, given)
        return y if isinstance(y, tuple) else (y,)

    def pull(self, *xs):
        """Gradients of the learnable inputs."""
        return tl.vjp(self, *xs)[1](tuple(self.gs))


def numbers(tensors):
    return [t.numpy() for t in tensors]


@each_smooth_op()
@given(draw=samples())
def test_forward_is_reverse_transposed(cls, draw):
    f = Sampled(cls, draw)
    y, moved = tl.jvp(f, f.xs, f.ts)
    for a, b in zip(numbers(y), forward(f.op, f.arrays), strict=False):
        np.testing.assert_array_equal(a, b)
    if not f.xs:
        return
    for t, a in zip(moved, y, strict=True):
        assert (t.shape, t.dtype) == (a.shape, a.dtype)
    back, constant = (
        [gradients[i] for i in f.wanted]
        for gradients in (pull(f.op, f.arrays, gs) for gs in (f.gs, [0 * g for g in f.gs]))
    )  # the gradient of a loss has a part that no cotangent moves
    expected = inner(back, f.ts) - inner(constant, f.ts)
    assert inner(f.gs, numbers(moved)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@each_smooth_op()
@given(draw=samples())
def test_second_derivatives_by_every_mixture_are_those_of_reverse_over_reverse(cls, draw):
    """Of losses the gradient is no derivative of the result: what is made of tangents is compared with itself."""
    f = Sampled(cls, draw)
    if not f.xs:
        return

    def along(*xs):
        return tl.jvp(f, xs, f.ts)[1]

    twice = pull_twice(f.op, f.arrays, f.gs, f.ws)
    expected = inner([twice[i] for i in f.wanted], f.ts)
    _, moved = tl.jvp(f.pull, f.xs, f.ts)
    assert inner(numbers(moved), f.ws) == pytest.approx(expected, rel=1e-8, abs=1e-8)
    (_, further), (_, back) = tl.jvp(along, f.xs, f.ws), tl.vjp(along, *f.xs)
    backwards = inner(numbers(back(tuple(f.gs))), f.ws)
    assert inner(f.gs, numbers(further)) == pytest.approx(backwards, rel=1e-8, abs=1e-8)
    if not cls.is_loss:
        assert backwards == pytest.approx(expected, rel=1e-8, abs=1e-8)
