"""Every op for a batch at once: against the loop over its samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from one_op import SEED, cotangents_for, learnable

import tinygrad_lesson as tl
from tinygrad_lesson import random
from tinygrad_lesson.check.strategies import samples
from tinygrad_lesson.eager.batched import LOOPED
from tinygrad_lesson.eager.batching_layers import ALONE
from tinygrad_lesson.op import OPS
from tinygrad_lesson.tensor import Tensor, apply

pytestmark = pytest.mark.filterwarnings("ignore:vmap:UserWarning")
N = 3
TAKING = [cls for cls in OPS.values() if cls.ours and cls.inputs]


def each_op(classes):
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.name)


def other(x, k):
    """Other numbers for which an op is as smooth: a little larger, or in another order if they are whole."""
    if x.dtype.kind == "f" and np.any(x != np.round(x)):
        return x * x.dtype.type(1 + 0.01 * k)
    return np.roll(x, k, axis=-1) if x.ndim else x


class Sampled:
    """An op with a batch of inputs, of which some are shared."""

    def __init__(self, cls, draw):
        self.op, inputs = draw.sample(cls)
        self.arrays = [np.array(x) for x in inputs.values()]
        count = len(self.arrays)
        self.flags = [draw.boolean() for _ in range(count)]
        self.flags[draw.integer(0, count - 1)] = True
        for i in range(count - len(self.op.states), count):
            self.flags[i] = False
        if not any(self.flags):
            self.flags[0] = True
        self.xs = [
            np.stack([other(x, k) for k in range(N)]) if flag else x
            for x, flag in zip(self.arrays, self.flags, strict=True)
        ]
        self.axes = tuple([0 if flag else None for flag in self.flags])
        self.wanted = learnable(self.op, self.arrays)
        self.gs = cotangents_for(self.op, self.arrays, draw.generator)
        self.ts = [draw.generator.uniform(-1, 1, self.arrays[i].shape) for i in self.wanted]

    def __call__(self, *xs):
        y = apply(self.op, xs)
        return y if isinstance(y, tuple) else (y,)

    def of_wanted(self, xs):
        """The op as a function of its learnable inputs, and these."""

        def f(*moving):
            mixed = dict(enumerate(xs)) | dict(zip(self.wanted, moving, strict=True))
            return self(*mixed.values())

        return f, [xs[i] for i in self.wanted]

    def pull(self, *xs):
        """Gradients of the learnable inputs."""
        f, moving = self.of_wanted(xs)
        return tl.vjp(f, *moving)[1](tuple(self.gs))

    def push(self, *xs):
        """Tangents of the results."""
        f, moving = self.of_wanted(xs)
        return tl.jvp(f, moving, self.ts)[1]

    def whole(self, f):
        random.seed(SEED)
        return f(*self.given())

    def given(self):
        return [Tensor(np.array(x)) for x in self.xs]

    def each(self, f):
        random.seed(SEED)
        given = self.given()
        pairs = list(zip(given, self.flags, strict=True))
        rows = [f(*[x[i] if flag else x for x, flag in pairs]) for i in range(N)]
        return [np.stack([part.numpy() for part in column]) for column in zip(*rows, strict=True)]


def assert_same(found, expected):
    for y, z in zip(found, expected, strict=True):
        assert (y.shape, y.dtype) == (z.shape, z.dtype)
        np.testing.assert_allclose(y.numpy(), z, rtol=1e-9, atol=1e-11)


FEW = settings(max_examples=settings.default.max_examples // 3)


@each_op(TAKING)
@FEW
@given(draw=samples())
def test_a_batch_is_its_samples(cls, draw):
    f, before = Sampled(cls, draw), dict(LOOPED)
    with np.errstate(all="ignore"):
        assert_same(f.whole(tl.vmap(f, f.axes)), f.each(f))
    looped = {name for name, count in LOOPED.items() if count != before.get(name)}
    if not (cls.random or f.op.states):  # what draws, or moves a state, does so sample by sample
        assert looped <= ALONE.keys()


@each_op([cls for cls in TAKING if cls.differentiable])
@FEW
@given(draw=samples())
def test_derivatives_of_a_batch_are_those_of_its_samples(cls, draw):
    f = Sampled(cls, draw)
    derivative = f.pull if draw.boolean() else f.push
    if f.wanted:
        with np.errstate(all="ignore"):
            assert_same(f.whole(tl.vmap(derivative, f.axes)), f.each(derivative))
