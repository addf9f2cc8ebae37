"""An op that nobody has told the interpreter about runs there by its calls; one whose calls it does not know, as NumPy."""

from unittest import mock

import numpy as np
import pytest

pytest.importorskip("numba", reason="the interpreter is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, Op
from tinygrad_lesson.run.lower import CALLS, KERNELS
from tinygrad_lesson.run.segment import Segment

X = np.linspace(-3, 3, 60, dtype=np.float32).reshape(12, 5)


@pytest.fixture(autouse=True)
def tables():
    """Ops declared in a test are forgotten after it."""
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        yield


def swish():
    """An op as a user writes it."""

    @op
    class Swish(Elementwise):
        """A number times its share: ``y = x / (1 + exp(-x))``."""

        def forward(self, xp, x, out=None):
            return xp.multiply(x, xp.divide(1, xp.add(1, xp.exp(xp.negative(x)))), out=out)

        def vjp(self, F, g, y, x):
            s = F.sigmoid(x)
            return (g * (s + x * s * (1 - s)),)

    return Swish


def test_an_op_of_a_user_runs_as_instructions_and_gives_the_numbers_of_numpy():
    swish()
    executor = sym.MakeLoss(sym.sum(sym.Swish(sym.Variable("x")))).simple_bind(
        tl.cpu(), runner="vm", x=X.shape
    )
    executor.forward(is_train=True, x=X)
    executor.backward()
    runner = executor.runner(True)
    assert runner.tape is not None  # no step in NumPy
    assert "Swish()  calls: negative exp add divide multiply" in str(runner)
    exact = X.astype(float)
    s = 1 / (1 + np.exp(-exact))
    np.testing.assert_allclose(executor.outputs[0], (exact * s).sum(), rtol=1e-6)
    np.testing.assert_allclose(executor.grad_dict["x"], s + exact * s * (1 - s), rtol=1e-5, atol=1e-6)


def test_an_op_of_a_user_is_joined_with_others_in_one_loop():
    swish()
    x = np.linspace(-3, 3, 200_000, dtype=np.float32)
    f = tl.jit(lambda x: tl.sum(tl.swish(x) * tl.tanh(x)), runner="vm")
    value = f(tl.Tensor(x)).item()
    (program,) = f.programs.values()
    assert "joined_loop" in str(program.runner)
    assert [type(call) for call in program.runner.calls[1]] == [Segment]
    exact = x.astype(float)
    assert value == pytest.approx((exact / (1 + np.exp(-exact)) * np.tanh(exact)).sum(), rel=1e-6)


def shifted(xp, x):
    y = xp.empty(x.shape, x.dtype)
    y[1:], y[:1] = x[:-1], 0
    return y


def smeared(xp, x):
    y = xp.positive(x)
    y[1:] = y[:-1]
    return y


def doubled(xp, x):
    y = xp.positive(x)
    return xp.add(y, y, out=y)


def squared(xp, x):
    y = xp.matmul(x.T, x)
    return xp.matmul(y, y, out=y)


NATIVE = {
    "add": lambda xp, x: xp.add(x[::-1], x[:1]),
    "subtract": lambda xp, x: 2 - x.T,
    "multiply": lambda xp, x: xp.multiply(x, True),
    "divide": lambda xp, x: xp.divide(x, 4),
    "maximum": lambda xp, x: xp.maximum(x, np.float32(0.5)),
    "minimum": lambda xp, x: xp.minimum(1, x[:, ::-1]),
    "negative": lambda xp, x: -x[::2, 1::2],
    "square": lambda xp, x: xp.square(x[3]),
    "sqrt": lambda xp, x: xp.sqrt(xp.abs(x)),
    "sign": lambda xp, x: xp.sign(xp.broadcast_to(x[:, :1], x.shape)),
    "exp": lambda xp, x: xp.exp(xp.reshape(x, (6, 10))),
    "log": lambda xp, x: xp.log(x + 4),
    "tanh": lambda xp, x: xp.tanh(x) - xp.exp(x),
    "log1p": lambda xp, x: xp.log1p(x * x),
    "absolute": lambda xp, x: xp.absolute(x),
    "positive": lambda xp, x: xp.positive(x.T),
    "copy": lambda xp, x: xp.copy(x),
    "copyto": shifted,
    "matmul": lambda xp, x: xp.matmul(x.T, x),
    "dot": lambda xp, x: xp.dot(x, x.T),
    "add.reduce": lambda xp, x: xp.sum(x, 1, keepdims=True) + xp.sum(x, axis=(0, 1)) + xp.sum(x * x),
    "full": lambda xp, x: x + xp.full((5,), 2.5, dtype="float32"),
    "zeros": lambda xp, x: xp.zeros(x.shape, x.dtype) + x[0],
    "ones": lambda xp, x: x * xp.ones((12, 1), dtype=x.dtype),
    "clip": lambda xp, x: xp.clip(x, None, 1) + xp.clip(x.T[0], -0.5, None)[:, None] * xp.clip(x, -1, 2.5),
    "concatenate": lambda xp, x: xp.concatenate((x, x[:3] * 2, x), -2),
    "add twice": doubled,
    "add down": lambda xp, x: np.add.reduce(x),
}
IN_NUMPY = {
    "np.power has no instruction": lambda xp, x: xp.power(x, 3),
    "np.greater has no instruction for bool": lambda xp, x: xp.where(xp.greater(x, 0), x, 0),
    "np.multiply has no instruction for float64": lambda xp, x: xp.multiply(x, np.float64(2)),
    "np.add has no instruction for float64": lambda xp, x: xp.add(x, x, dtype="float64"),
    "np.copyto writes over what it reads": smeared,
    "np.matmul writes over what it reads": squared,
    "np.add.reduce of (12, 5) has no instruction": lambda xp, x: xp.sum(x, axis=0, initial=3),
    "np.add.reduce of (3, 4, 5) has no instruction": lambda xp, x: xp.sum(xp.reshape(x, (3, 4, 5)), axis=1),
    "np.add of (12, 5) (12, 5) has no instruction": lambda xp, x: xp.add(x, x, dtype="float32"),
    "np.concatenate of (12, 5) (12, 5) has no instruction": lambda xp, x: xp.concatenate((x, x), axis=None),
    "np.clip of (12, 5) (5,) has no instruction": lambda xp, x: xp.clip(x, x[0], 1),
    "looks at a value to decide what to do": lambda xp, x: x if x[0, 0] > 0 else xp.add(x, 1),
}  # fmt: skip


def carried_out(calls):
    """The runner of an op that does this, once its numbers are those of NumPy."""

    @op
    class Written(Op):
        """Whatever is to be tried."""

        differentiable = False

        def shape(self, x):
            return calls(np, np.zeros(x, np.float32)).shape

        def dtype(self, x):
            return calls(np, np.zeros(X.shape, np.float32)).dtype

        def forward(self, xp, x):
            return calls(xp, x)

        def vjp(self, F, g, y, x):
            return (None,)

    executor = sym.Written(sym.Variable("x")).simple_bind(tl.cpu(), runner="vm", grad_req="null", x=X.shape)
    (y,) = executor.forward(x=X)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y, calls(np, X), rtol=1e-5, atol=1e-6)
    return executor.runner(False)


@pytest.mark.parametrize("name", NATIVE)
def test_a_call_with_a_kernel_is_an_instruction(name):
    runner = carried_out(NATIVE[name])
    assert all(isinstance(call, Segment) for call in runner.calls[0])
    assert name.split()[0] in str(runner).partition("calls: ")[2] or name == "add down"


def test_every_call_with_a_kernel_was_tried():
    assert set(CALLS) <= set(NATIVE)
    assert set(KERNELS) <= set(CALLS)


@pytest.mark.parametrize("reason", IN_NUMPY)
def test_a_call_without_one_runs_as_numpy_and_it_says_why(reason):
    runner = carried_out(IN_NUMPY[reason])
    assert not any(isinstance(call, Segment) for call in runner.calls[0])
    assert f"({reason})" in str(runner)
