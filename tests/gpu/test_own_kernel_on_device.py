"""An op of the user's that exists on CuPy alone, as a kernel in CUDA C: it runs, and its gradient is checked."""

from unittest import mock

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.op import FUNCTIONS, OPS, Op

pytestmark = pytest.mark.strict_arrays
CUBE = """extern "C" __global__ void cube(const double* x, double* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = x[i] * x[i] * x[i]; }"""


def cube(slope):
    """The op, with the derivative ``slope * x * x``."""

    @tl.op
    class OwnCube(Op):
        """Third power of each element, by a kernel of its own."""

        def shape(self, x):
            return x

        def forward(self, xp, x):
            y = xp.empty_like(x)
            xp.RawKernel(CUBE, "cube")((-(-x.size // 32),), (32,), (x, y, np.int32(x.size)))
            return y

        def vjp(self, F, g, y, x):
            return (g * slope * x * x,)

        @classmethod
        def sample(cls, draw):
            return cls(), {"x": draw.array(draw.shape())}

    return OwnCube


def test_it_runs_and_its_gradient_is_checked(blocks):
    x = tl.Tensor(np.linspace(-2, 2, 40).reshape(5, 8), device=tl.gpu(0))
    for slope, right in ((3.0, True), (2.0, False)):
        with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
            cube(slope)
            np.testing.assert_allclose(tl.own_cube(x).numpy(), x.numpy() ** 3, rtol=1e-14)
            assert bool(tl.check.gradients(tl.own_cube, x)) is right


def test_it_runs_in_a_plan(blocks):
    x = tl.Tensor(np.linspace(-2, 2, 40).reshape(5, 8), device=tl.gpu(0))
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        cube(3.0)
        jitted = tl.jit(lambda x: tl.own_cube(x) * 2 + x)
        for _ in range(2):
            np.testing.assert_allclose(jitted(x).numpy(), 2 * x.numpy() ** 3 + x.numpy(), rtol=1e-14)
