"""An op carried out on the processor and on device arrays, without a hidden transfer, and what both give compared."""

import numpy as np
import strict_cupy as xp

import tinygrad_lesson as tl
from tinygrad_lesson import random
from tinygrad_lesson.eager.apply import ARRAYS, ON_DEVICES, apply
from tinygrad_lesson.eager.operators import recorded_sweep, seed_of, sweep
from tinygrad_lesson.eager.tensor import wrap
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.philox import Philox

SEEDS = 4
ZERO_ROUNDING = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


def samples(cls, seeds=SEEDS):
    """Ops of a class with inputs, in single and in double precision."""
    for seed in range(seeds):
        op, inputs = Draw(seed).sample(cls)
        for kind in (np.float32, np.float64):
            yield op, [x.astype(kind) if x.dtype == np.float64 else x for x in inputs.values()]


def sent(x):
    """What a caller sends before it counts."""
    return xp.asarray(x) if isinstance(x, np.ndarray | np.generic) else x


def run(op, module, arrays, **named):
    """All results of `forward`; the draws of a random op are the same on both sides."""
    extra = {"generator": Philox(7).of(module)} if op.random else {}
    y = op.forward(module, *arrays, **extra, **named)
    return y if isinstance(y, tuple) else (y,)


def assert_same(found, wanted, what, drawn=False):
    """Device arrays hold what NumPy's do, in shape, type and, up to rounding, in value; numbers are drawn in float32."""
    for y, z in zip(found, wanted, strict=True):
        if y is None or z is None:
            assert y is z, f"{what}: one is None"
            continue
        assert isinstance(y, xp.ndarray | float | int | bool), f"{what}: gives {type(y).__name__}"
        y, z = y.get() if isinstance(y, xp.ndarray) else np.asarray(y), np.asarray(z)
        assert (y.shape, y.dtype) == (z.shape, z.dtype), what
        tolerance = ZERO_ROUNDING.get(np.dtype(np.float32) if drawn and z.dtype.kind == "f" else z.dtype, 0)
        np.testing.assert_allclose(y, z, rtol=tolerance, atol=tolerance, err_msg=what)


def check_forward(op, arrays):
    """`forward` of device arrays."""
    device = [sent(x) for x in arrays]
    with xp.no_transfers("in forward"):
        found = run(op, xp, device)
    assert_same(found, run(op, np, arrays), "forward")


def check_out(op, arrays):
    """`forward` into a device array, or beside it where the op declines."""
    want = run(op, np, arrays)
    target, device = sent(np.full_like(want[0], 5)), [sent(x) for x in arrays]
    with xp.no_transfers("in forward with out"):
        found = run(op, xp, device, out=target)
    assert_same(found, want, "out")
    assert (
        found[0].size == 0
        or found[0]._held is target._held
        or not np.shares_memory(found[0]._held, target._held)
    )


def check_vjp(op, arrays):
    """The rule of an op on device arrays."""
    y = run(op, np, arrays)
    g = cotangents(op, y)
    single = op.results == 1

    def pulled(F, send):
        told = [tuple(map(send, part)) for part in (g, y)]
        return apply_vjp(F, op, (*[part[0] if single else part for part in told], *map(send, arrays)))

    moved = {id(x): sent(x) for x in (*arrays, *y, *g)}
    with xp.no_transfers("in vjp"), tl.gpu(0):
        found = pulled(ON_DEVICES, lambda x: moved[id(x)])
    assert_same(found, pulled(ARRAYS, lambda x: x), "vjp")


def cotangents(op, y):
    """Random cotangents of the visible results; None for the others."""
    generator = np.random.default_rng(0)
    g = [generator.normal(size=np.shape(v)).astype(np.asarray(v).dtype) for v in y[: op.visible]]
    return (*g, *[None] * (op.results - len(g)))


class Draws:
    """In the place of the default generator: the same draws on every device."""

    def on(self, module):
        """A new beginning."""
        return Philox(7).of(module)


def eager(op, arrays, gs, order):
    """Results, gradients, and with `order` 2 those of the sum of their squares, of an op on tensors."""
    count = len(arrays) - len(op.states)
    tensors = [wrap(x) for x in arrays]
    for t in tensors[:count]:
        t.requires_grad = t.dtype.kind == "f"
    y = apply(op, tensors)
    y = y if isinstance(y, tuple) else (y,)
    results, wrt = [t.array for t in y], [t for t in tensors if t.requires_grad]
    heads = [(t, g) for t, g in zip(y, gs, strict=False) if t.requires_grad]
    if not heads or order == 1:
        return results, sweep(heads, wrt) if heads else [], []
    first = recorded_sweep([(t, wrap(g)) for t, g in heads], wrt)
    squares = [(g * g).sum() for g in first if g is not None and g.requires_grad]
    second = [sweep([(s, seed_of(s, None))], wrt) for s in squares]
    return results, [None if g is None else g.array for g in first], [x for row in second for x in row]


def check_eager(op, arrays, order, monkeypatch):
    """An op on tensors, and its gradients."""
    monkeypatch.setattr(random, "default_generator", Draws)
    gs = cotangents(op, run(op, np, arrays))[: op.visible]
    with tl.cpu():
        host = eager(op, [x.copy() for x in arrays], gs, order)
    device, there = [sent(x) for x in arrays], [sent(g) for g in gs]
    with xp.no_transfers("in the eager face"):
        found = eager(op, device, there, order)
    for part, wanted, what in zip(found, host, ("results", "gradients", "second gradients"), strict=True):
        assert_same(part, wanted, what)
