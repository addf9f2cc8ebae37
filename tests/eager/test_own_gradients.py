"""A gradient that `backward` leaves is an array of its own, copied only where somebody else has it too."""

import weakref

import numpy as np
import pytest

import tinygrad_lesson as tl

KEPT = np.array([5.0, 6.0])


@tl.custom_vjp
def from_outside(x):
    return x * 1.0


from_outside.defvjp(lambda x: (x * 1.0, None), lambda residuals, g: (KEPT,))

CASES = {
    "the cotangent itself": lambda x, z: tl.identity(x) + tl.identity(z),
    "made by a rule": lambda x, z: tl.exp(x) * tl.tanh(z),
    "a view": lambda x, z: tl.flip(x) + tl.reshape(tl.reshape(z, (2, 1)), (2,)),
    "twice": lambda x, z: x * x + z * z,
    "an array of the user's": lambda x, z: from_outside(x) + from_outside(z),
    "a constant": lambda x, z: x * KEPT + z,
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_share_no_memory_with_anything(case):
    x, z = (tl.Tensor([0.5, 1.5], requires_grad=True) for _ in range(2))
    g = np.array([1.0, 2.0])
    y = CASES[case](x, z)
    y.backward(g)
    arrays = [x.grad.value, z.grad.value, g, KEPT, x.array, z.array, y.array]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[i + 1 :])
    before, kept = z.grad.numpy(), KEPT.copy()
    x.grad.value[:] = 99
    np.testing.assert_array_equal(z.grad.numpy(), before)
    np.testing.assert_array_equal(KEPT, kept)
    y.backward(g)
    np.testing.assert_array_equal(z.grad.numpy(), 2 * before)


def test_an_array_that_only_the_sweep_has_is_not_copied():
    made = []

    @tl.custom_vjp
    def double(x):
        return x * 2.0

    def rule(residuals, g):
        gradient = np.asarray(g.array if isinstance(g, tl.Tensor) else g) * 2.0
        made.append(weakref.ref(gradient))
        return (gradient,)

    double.defvjp(lambda x: (x * 2.0, None), rule)
    x = tl.Tensor(np.ones(10), requires_grad=True)
    double(x).backward(np.ones(10))
    assert made[-1]() is x.grad.array
