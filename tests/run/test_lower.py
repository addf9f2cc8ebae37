"""An op that nobody has told the interpreter about runs there by its calls; one whose calls it does not know, as NumPy."""

from unittest import mock

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, Op
from tinygrad_lesson.run import elements
from tinygrad_lesson.run.lower import CALLS, KERNELS
from tinygrad_lesson.run.segment import Segment, told
from tinygrad_lesson.run.threads import THREADS

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
    assert [type(call) for call in program.runner.calls[0]] == [Segment]
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
    "stack": lambda xp, x: xp.stack([x, x[::-1], x * 2], axis=1),
    "pad": lambda xp, x: xp.pad(x, ((1, 2), (0, 3)), constant_values=2.5),
    "pad with what is there": lambda xp, x: xp.pad(x, ((1, 2), (0, 3)), mode="reflect"),
    "[]": lambda xp, x: x[np.array([3, 0, 3, 11])],
    "reshape": lambda xp, x: xp.reshape(x.T, (6, 10)),
    "repeat": lambda xp, x: xp.repeat(x[:, ::2], 3, axis=0),
    "tile": lambda xp, x: xp.tile(x, (2, 3)),
    "roll": lambda xp, x: xp.roll(x, (2, -1), axis=(0, 1)),
    "ravel": lambda xp, x: xp.ravel(x.T),
    "take": lambda xp, x: xp.take(x, np.array([4, 0, -1]), axis=1),
    "zeros_like": lambda xp, x: xp.zeros_like(x) + x[0],
    "ones_like": lambda xp, x: xp.ones_like(x) * x[0],
    "full_like": lambda xp, x: xp.full_like(x, 3) * x[0],
    "arange": lambda xp, x: xp.equal(xp.floor(x), xp.arange(5)),
    "eye": lambda xp, x: xp.multiply(x[:5], xp.eye(5, dtype="float32")),
    "sin": lambda xp, x: xp.sin(x),
    "cos": lambda xp, x: xp.cos(x * 100),
    "tan": lambda xp, x: xp.tan(x),
    "arcsin": lambda xp, x: xp.arcsin(x / 3),
    "arccos": lambda xp, x: xp.arccos(x / 3),
    "arctan": lambda xp, x: xp.arctan(x),
    "degrees": lambda xp, x: xp.degrees(x),
    "radians": lambda xp, x: xp.radians(x),
    "cbrt": lambda xp, x: xp.cbrt(x),
    "exp2": lambda xp, x: xp.exp2(x),
    "log2": lambda xp, x: xp.log2(x + 4),
    "log10": lambda xp, x: xp.log10(x + 4),
    "sinh": lambda xp, x: xp.sinh(x),
    "cosh": lambda xp, x: xp.cosh(x),
    "arcsinh": lambda xp, x: xp.arcsinh(x),
    "arccosh": lambda xp, x: xp.arccosh(x + 5),
    "arctanh": lambda xp, x: xp.arctanh(x / 4),
    "arctan2": lambda xp, x: xp.arctan2(x, x[::-1]),
    "power": lambda xp, x: xp.power(x + 4, x[0]),
    "logaddexp": lambda xp, x: xp.logaddexp(x, x[0]),
    "logaddexp2": lambda xp, x: xp.logaddexp2(x, 2),
    "hypot": lambda xp, x: xp.hypot(x, 1.5),
    "cumsum": lambda xp, x: xp.cumsum(x, axis=0),
    "cumsum rows": lambda xp, x: xp.cumsum(x, axis=-1),
    "cumprod": lambda xp, x: xp.cumprod(x, axis=1),
    "fmod": lambda xp, x: xp.fmod(x, 0.7),
    "remainder": lambda xp, x: xp.remainder(x, 0.7),
    "floor_divide": lambda xp, x: xp.floor_divide(x, 0.7),
    "fmax": lambda xp, x: xp.fmax(x, x[0]),
    "fmin": lambda xp, x: xp.fmin(x, x[0]),
    "copysign": lambda xp, x: xp.copysign(x, x[0]),
    "heaviside": lambda xp, x: xp.heaviside(xp.floor(x), 0.5),
    "expm1": lambda xp, x: xp.expm1(x[::-1]),
    "reciprocal": lambda xp, x: xp.reciprocal(x + 4),
    "fabs": lambda xp, x: xp.fabs(x),
    "floor": lambda xp, x: xp.floor(x) + xp.trunc(x * 2),
    "ceil": lambda xp, x: xp.ceil(x),
    "trunc": lambda xp, x: xp.trunc(x),
    "rint": lambda xp, x: xp.rint(x * 2),
    "greater": lambda xp, x: xp.greater(x, 0),
    "greater_equal": lambda xp, x: xp.where(xp.greater_equal(x, 0), x, 0),
    "less": lambda xp, x: xp.multiply(xp.less(x, x.T[0, :5]), x),
    "less_equal": lambda xp, x: xp.less_equal(x, x[0]),
    "equal": lambda xp, x: xp.equal(xp.floor(x), xp.floor(x[:1])),
    "not_equal": lambda xp, x: xp.not_equal(x, x[::-1]),
    "logical_and": lambda xp, x: xp.logical_and(x > 0, x < 2),
    "logical_or": lambda xp, x: xp.logical_or(x > 1, x < -1),
    "logical_xor": lambda xp, x: xp.logical_xor(x, x > 1),
    "logical_not": lambda xp, x: xp.logical_not(x > 1),
    "isnan": lambda xp, x: xp.isnan(xp.log(x)),
    "isfinite": lambda xp, x: xp.isfinite(xp.divide(1, xp.floor(x))),
    "isinf": lambda xp, x: xp.isinf(xp.divide(1, xp.floor(x))),
    "where": lambda xp, x: xp.where(x[:1] > 0, x, xp.where(x > 1, 2, x[:, :1])),
    "maximum.reduce": lambda xp, x: xp.max(x, 1, keepdims=True) + xp.max(x, 0),
    "minimum.reduce": lambda xp, x: xp.min(xp.reshape(x, (3, 4, 5)), axis=(0, 2)),
    "multiply.reduce": lambda xp, x: xp.prod(x, axis=1),
    "logical_and.reduce": lambda xp, x: xp.all(x > -2, axis=1),
    "logical_or.reduce": lambda xp, x: xp.any(x > 2, axis=0),
    "positive to another type": lambda xp, x: xp.positive(x, dtype="int64", casting="unsafe"),
    "add.reduce in the middle": lambda xp, x: xp.sum(xp.reshape(x, (3, 4, 5)), axis=1),
    "add.reduce around": lambda xp, x: xp.sum(xp.reshape(x, (3, 2, 2, 5)), axis=(0, 2)),
    "add.reduce around the last": lambda xp, x: xp.sum(xp.reshape(x, (3, 4, 5)), axis=(0, 2)),
    "add.reduce of answers": lambda xp, x: xp.sum(x > 0, axis=1),
    "matmul of stacks": lambda xp, x: xp.matmul(xp.reshape(x, (3, 4, 5)), xp.reshape(x, (3, 5, 4))),
    "matmul of a stack": lambda xp, x: xp.matmul(xp.reshape(x, (3, 4, 5)), x[:5].T),
    "add in another type": lambda xp, x: xp.add(x, x, dtype="float64"),
    "multiply by a wider number": lambda xp, x: xp.multiply(x, np.float64(2)),
    "clip between arrays": lambda xp, x: xp.clip(x, x[0], 1),
    "add along four axes": lambda xp, x: xp.add(
        xp.reshape(x, (3, 2, 2, 5)), xp.reshape(x[:, 0], (3, 2, 2, 1))
    ),
    "add twice": doubled,
    "add down": lambda xp, x: np.add.reduce(x),
}
IN_NUMPY = {
    "np.argsort has no instruction": lambda xp, x: xp.argsort(x, axis=1),
    "np.sort has no instruction": lambda xp, x: xp.sort(x, axis=1),
    "np.copyto writes over what it reads": smeared,
    "np.matmul writes over what it reads": squared,
    "np.add.reduce of (12, 5) has no instruction": lambda xp, x: xp.sum(x, axis=0, initial=3),
    "np.concatenate of (12, 5) (12, 5) has no instruction": lambda xp, x: xp.concatenate((x, x), axis=None),
    "np.divide of (12, 5) has no instruction": lambda xp, x: xp.divide(xp.positive(x, dtype="int64", casting="unsafe"), 2),
    "np.positive has no instruction for float16": lambda xp, x: xp.negative(xp.positive(x, dtype="float16", casting="unsafe")),
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

    with np.errstate(all="ignore"):
        executor = sym.Written(sym.Variable("x")).simple_bind(
            tl.cpu(), runner="vm", grad_req="null", x=X.shape
        )
        (y,) = executor.forward(x=X)
        np.testing.assert_allclose(y, calls(np, X), rtol=1e-5, atol=1e-6)
    return executor.runner(False)


@pytest.mark.parametrize("name", NATIVE)
def test_a_call_with_a_kernel_is_an_instruction(name):
    runner = carried_out(NATIVE[name])
    assert all(isinstance(call, Segment) for call in runner.calls[0])
    assert name.split()[0] in str(runner).partition("calls: ")[2] or name == "add down"


@pytest.mark.parametrize("name", NATIVE)
def test_threads_share_a_call_and_give_the_same_bits(name, monkeypatch):
    one = carried_out(NATIVE[name])
    monkeypatch.setenv(THREADS, "3")
    monkeypatch.setattr(elements, "ENOUGH", 8)
    several = carried_out(NATIVE[name])
    assert one.result("output 0").tobytes() == several.result("output 0").tobytes()
    assert ("shared" in told(several.calls[0][0].tape)) or name not in (
        "exp",
        "where",
        "add.reduce",
        "maximum.reduce",
    )


def test_every_call_with_a_kernel_was_tried():
    assert set(CALLS) <= set(NATIVE)
    assert set(KERNELS) <= set(CALLS)


@pytest.mark.parametrize("reason", IN_NUMPY)
def test_a_call_without_one_runs_as_numpy_and_it_says_why(reason):
    runner = carried_out(IN_NUMPY[reason])
    assert not any(isinstance(call, Segment) for call in runner.calls[0])
    assert f"({reason})" in str(runner)
