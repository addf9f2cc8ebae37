"""Every runner gives what the eager face gives: however arrays lie in memory, whatever stands in them, however many they are.

The tests know nothing of how a runner works: they hold for the next one, too.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.run import available_runners


class Own(np.ndarray):
    """A subclass of NumPy's arrays."""


pytestmark = [
    pytest.mark.parametrize("runner", available_runners()),
    pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning"),
]
WAYS = (
    "rows", "columns", "transposed", "steps", "backwards", "window", "unaligned", "swapped", "read-only", "broadcast",
    "matrix", "subclass",
)  # fmt: skip
SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple)


def as_it_lies(draw, values):
    """`values` in an array that lies in memory in some strange way."""
    shape = values.shape
    how = draw(st.sampled_from(WAYS))
    if not shape and how not in ("unaligned", "swapped", "read-only"):
        return values
    if how == "columns":
        return np.asfortranarray(values)
    if how == "transposed":
        axes = draw(st.permutations(range(values.ndim)))
        return np.ascontiguousarray(values.transpose(axes)).transpose(np.argsort(axes))
    if how in ("steps", "backwards"):
        steps = [draw(st.sampled_from([-3, -2, -1, 1, 2])) for _ in shape]
        wide = np.full([n * abs(s) for n, s in zip(shape, steps, strict=True)], np.nan, values.dtype)
        view = wide[tuple(slice(None, None, s) for s in steps)]
        view[...] = values
        return view
    if how == "window":
        wide = np.full([n + 2 for n in shape], np.nan, values.dtype)
        view = wide[(slice(1, -1),) * len(shape)]
        view[...] = values
        return view
    if how == "unaligned":
        view = np.zeros(values.nbytes + 5, np.uint8)[1 : 1 + values.nbytes].view(values.dtype).reshape(shape)
        view[...] = values
        return view
    if how == "swapped":
        return values.astype(values.dtype.newbyteorder())
    if how == "read-only":
        fixed = values.copy()
        fixed.flags.writeable = False
        return fixed
    if how == "broadcast" and values.ndim:
        return np.broadcast_to(values[:1], shape) if shape[0] else values
    if how == "matrix" and values.ndim == 2:
        return np.asmatrix(values)
    return values.view(Own) if how == "subclass" else values


@st.composite
def arrays(draw, shape=SHAPES):
    """An array in a strange place, of float32 more often than of other types."""
    shape = draw(shape)
    dtype = draw(st.sampled_from(["f4", "f4", "f4", "f8"]))
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(dtype)
    return as_it_lies(draw, values)


FUNCTIONS = {
    "exp": tl.exp,
    "chain": lambda x: tl.tanh(x) * tl.exp(-x * x) + x,
    "sum": tl.sum,
    "sum of squares": lambda x: tl.sum(x * x, axis=-1) if x.ndim else x * x,
    "columns": lambda x: tl.sum(x, axis=0) if x.ndim else x + 1,
    "transposed": lambda x: tl.transpose(x) * 2,
    "product": lambda x: tl.transpose(x) @ x if x.ndim == 2 else x * x,
    "softmax": lambda x: tl.softmax(x, axis=-1) if x.ndim == 2 and x.size else x - 1,
    "copied": lambda x: (x + 0.5) - 0.5,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(x=arrays(), y=st.data())
def test_a_function_traced_and_called_with_arrays_that_lie_anywhere(runner, name, x, y):
    f = FUNCTIONS[name]
    made = tl.jit(f, runner=runner)
    for _ in range(3):
        wanted = f(tl.Tensor(x)).numpy()
        found = made(x).numpy()
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        wanted = tl.grad(lambda x: tl.sum(f(x)))(tl.Tensor(x)).numpy()
        np.testing.assert_allclose(
            tl.grad(lambda x: tl.sum(made(x)))(tl.Tensor(x)).numpy(), wanted, rtol=1e-5, atol=1e-5
        )
        if x.dtype.isnative:
            x = as_it_lies(y.draw, np.array(x, order="C"))


@pytest.mark.parametrize("turned", [np.transpose, np.flip, np.asfortranarray], ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_how_the_first_array_lies_says_nothing_of_the_next(runner, name, turned):
    f, x = FUNCTIONS[name], np.arange(6, dtype="f4").reshape(2, 3) / 5
    made = tl.jit(f, runner=runner)
    for a in (turned(x), np.array(turned(x), order="C"), turned(x) + 1):
        np.testing.assert_allclose(made(a).numpy(), f(tl.Tensor(a)).numpy(), rtol=1e-5, atol=1e-6)


@given(draw=st.data())
def test_arrays_of_the_user_are_bound_where_they_lie(runner, draw):
    shape = draw.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    rng = np.random.default_rng(draw.draw(st.integers(0, 99)))

    def array(*shape):
        values = rng.normal(size=shape).astype("f4")
        found = as_it_lies(draw.draw, values.copy())
        return (
            found if type(found) is np.ndarray and found.dtype == "f4" and found.flags.writeable else values
        )

    m, n = shape
    names, shapes = ["x", "w", "b", "c"], [(m, n), (3, n), (3,), (m, 3)]
    x, w, b, c = (sym.Variable(name) for name in names)
    symbol = sym.tanh(sym.FullyConnected(x, w, b, num_hidden=3)) * c + sym.exp(c)
    args = {name: array(*s) for name, s in zip(names, shapes, strict=True)}
    grads = {name: array(*s) for name, s in zip(names, shapes, strict=True)}
    start = {name: np.array(g) for name, g in grads.items()}
    request = draw.draw(st.sampled_from(["write", "add"]))
    executor = symbol.bind(tl.cpu(), args, args_grad=grads, grad_req=request, runner=runner)
    head = array(m, 3)
    for _ in range(2):
        (y,) = executor.forward(is_train=True, x=array(m, n))
        executor.backward([head])
        exact = {name: np.array(a, float) for name, a in args.items()}
        t = np.tanh(exact["x"] @ exact["w"].T + exact["b"])
        np.testing.assert_allclose(y, t * exact["c"] + np.exp(exact["c"]), rtol=1e-4, atol=1e-5)
        inner = head * exact["c"] * (1 - t * t)
        wanted = {
            "x": inner @ exact["w"],
            "w": inner.T @ exact["x"],
            "b": inner.sum(0),
            "c": head * (t + np.exp(exact["c"])),
        }
        for name, g in wanted.items():
            g = g + start[name] if request == "add" else g
            np.testing.assert_allclose(grads[name], g, rtol=1e-3, atol=1e-4, err_msg=name)
        start = {name: np.array(g) for name, g in grads.items()}


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_nothing_is_read_or_written_beside_an_unaligned_array(runner, size, shift):
    def unaligned(value):
        memory = np.full(4 * size + 8, 0x55, np.uint8)
        array = memory[shift : shift + 4 * size].view("f4")
        array[:] = value
        return memory, array

    (_, x), (memory, g) = unaligned(np.linspace(-2, 2, size)), unaligned(0)
    v = sym.Variable("x")
    executor = (sym.tanh(v) * sym.exp(v)).bind(tl.cpu(), {"x": x}, args_grad={"x": g}, runner=runner)
    (y,) = executor.forward(is_train=True)
    executor.backward([np.ones(size)])
    exact = x.astype(float)
    np.testing.assert_allclose(y, np.tanh(exact) * np.exp(exact), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        g, np.exp(exact) * (np.tanh(exact) + 1 - np.tanh(exact) ** 2), rtol=1e-4, atol=1e-6
    )
    assert (memory[:shift] == 0x55).all()
    assert (memory[shift + 4 * size :] == 0x55).all()


@pytest.mark.parametrize("how", ["columns", "steps", "unaligned", "swapped"])
def test_training_on_batches_that_lie_anywhere(runner, how, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(40, 4)).astype("f4"), rng.integers(0, 3, 40).astype("f4")
    strange = {
        "columns": np.asfortranarray(x),
        "steps": np.repeat(x, 2, axis=1)[:, ::2],
        "unaligned": np.frombuffer(b"1" + x.tobytes(), np.uint8)[1:].view("f4").reshape(x.shape),
        "swapped": x.astype(">f4"),
    }[how]
    symbol = sym.SoftmaxOutput(
        sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc"), name="softmax"
    )
    found = []
    for data in (x, strange):
        model = tl.FeedForward(symbol, num_epoch=3, numpy_batch_size=10, learning_rate=0.1, momentum=0.9)
        tl.random.seed(3)
        model.fit(data, labels)
        found.append((model.arg_params["fc_weight"], model.predict(data)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


SUMS = {
    "sum": (lambda x: tl.sum(x), lambda x: x.sum()),
    "mean": (lambda x: tl.mean(x), lambda x: x.mean()),
    "of squares": (lambda x: tl.sum(x * x + x), lambda x: (x * x + x).sum()),
    "norm": (lambda x: tl.sqrt(tl.sum(x * x)), lambda x: np.sqrt((x * x).sum())),
    "row": (lambda x: tl.sum(tl.reshape(x, (2, -1)), axis=1), lambda x: x.reshape(2, -1).sum(1)),
    "column": (lambda x: tl.sum(tl.reshape(x, (-1, 1)), axis=0), lambda x: x.reshape(-1, 1).sum(0)),
    "every other": (
        lambda x: tl.sum(tl.transpose(tl.reshape(x, (-1, 2))), axis=1),
        lambda x: x.reshape(-1, 2).sum(0),
    ),
    "softmax": (
        lambda x: tl.softmax(tl.reshape(x, (1, -1)))[:, :3],
        lambda x: (np.exp(x) / np.exp(x).sum())[None, :3],
    ),
    "product": (lambda x: tl.reshape(x, (1, -1)) @ tl.reshape(x, (-1, 1)), lambda x: (x @ x).reshape(1, 1)),
    "bias": (
        lambda x: tl.grad(lambda b: tl.sum(tl.reshape(x, (-1, 2)) * (tl.reshape(x, (-1, 2)) + b)))(x[:2]),
        lambda x: x.reshape(-1, 2).sum(0),
    ),
}


@pytest.mark.parametrize("size", [1000, 60_000, 250_000, 1_000_000])
@pytest.mark.parametrize("name", SUMS)
def test_long_sums_are_as_exact_as_those_of_numpy(runner, name, size):
    f, right = SUMS[name]
    x = np.random.default_rng(0).uniform(0.5, 1, size).astype("f4")
    exact = right(x.astype(float))

    def error(found):
        return np.max(np.abs(np.asarray(found, float) / exact - 1))

    assert error(tl.jit(f, runner=runner)(x).numpy()) <= max(error(right(x)) * 1.5, 4e-7)


@pytest.mark.parametrize("columns", [1, 3, 20])
def test_means_of_a_large_batch_are_as_exact_as_those_of_numpy(runner, columns):
    x = np.random.default_rng(0).uniform(999, 1001, (100_000, columns)).astype("f4")
    symbol = sym.BatchNorm(sym.Variable("x"), momentum=0, fix_gamma=True, name="bn")
    executor = symbol.simple_bind(tl.cpu(), x=x.shape, runner=runner)
    executor.forward(is_train=True, x=x)
    executor.backward([np.ones_like(x)])
    exact, plain = x.mean(0, dtype=float), x.mean(0)
    found = executor.aux_dict["bn_moving_mean"]
    assert np.abs(found / exact - 1).max() <= max(np.abs(plain / exact - 1).max() * 1.5, 4e-7)
    np.testing.assert_allclose(executor.aux_dict["bn_moving_var"], x.var(0, dtype=float), rtol=1e-3)


SPECIAL = np.array(
    [
        0,
        -0.0,
        np.nan,
        np.inf,
        -np.inf,
        1e-45,
        -1e-45,
        1e-40,
        -1e-40,
        2**-126,
        -(2.0**-126),
        1,
        -1,
        0.5,
        -0.5,
        2,
        -3,
        1.5,
    ]
    + [3.4e38, -3.4e38, 88.8, -88, -100, -104, 2e19, -2e19, 1e-20, 0.625, -9.9, 1 - 2**-24, 1 + 2**-23],
    np.float32,
)
ONE = {
    name: getattr(tl, name)
    for name in ("negative", "square", "sqrt", "rsqrt", "abs", "sign", "relu", "exp", "log", "tanh", "sigmoid", "log1p",
                 "softplus", "expm1")
} | {
    "clip": lambda x: tl.clip(x, -1.0, 1.0), "1 / x": lambda x: 1.0 / x, "0 - x": lambda x: 0.0 - x, "x * 0": lambda x: x * 0.0, "x * -1": lambda x: x * -1.0,
    "both zeros": lambda x: x / 0.0 + x / -0.0, "x ** -1": lambda x: x**-1.0, "x ** 3": lambda x: x**3.0,
    "2 ** x": lambda x: 2.0**x, "x ** .5": lambda x: x**0.5, "x != x": lambda x: x != x, "x > 0": lambda x: x > 0,
    "x - x": lambda x: x - x, "-abs": lambda x: -tl.abs(x), "1 / relu": lambda x: 1.0 / tl.relu(x),
    "1 / sign": lambda x: 1.0 / tl.sign(x), "1 / tanh": lambda x: 1.0 / tl.tanh(x), "rows": lambda x: tl.softmax(x),
    "slope of tanh": tl.grad(lambda x: tl.sum(tl.tanh(x))), "slope of relu": tl.grad(lambda x: tl.sum(tl.relu(x))),
    "slope of abs": tl.grad(lambda x: tl.sum(tl.abs(x))), "slope of log": tl.grad(lambda x: tl.sum(tl.log(x))),
}  # fmt: skip
TWO = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "**": lambda a, b: a**b, "max": tl.maximum, "min": tl.minimum, "<": lambda a, b: a < b, "==": lambda a, b: a == b,
    "where": lambda a, b: tl.where(a > b, a, b), "where a": lambda a, b: tl.where(a, a, b),
    "a b - a b": lambda a, b: a * b - a * b, "a a - b": lambda a, b: a * a - b, "sign": lambda a, b: tl.sign(a) * b,
}  # fmt: skip


def agrees(found, wanted, signs=True, ulp_of_one=0):
    """The same NaN, infinities and signed zeros; numbers to some units in the last place."""
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=max(ulp_of_one * 2.0**-23, 3e-45))
    if signs and wanted.dtype.kind == "f":
        zero = (wanted == 0) & (found == 0)
        np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("size", [len(SPECIAL), 31 * 16, 200_000])
@pytest.mark.parametrize("name", ONE)
def test_zeros_infinities_and_nan_keep_their_meaning(runner, name, size):
    x = np.resize(SPECIAL, size if size > 1000 else (size // len(SPECIAL), len(SPECIAL)))
    if name == "rows" and x.ndim == 1:
        x = x[:: len(SPECIAL)]
    f = ONE[name]
    found, wanted = tl.jit(f, runner=runner)(x).numpy(), f(tl.Tensor(x)).numpy()
    agrees(
        found, wanted, ulp_of_one=2 if name == "slope of tanh" else 0
    )  # 1 - tanh(x)**2, where that is nearly 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("way", ["flat", "large", "outer", "turned", "long"])
@pytest.mark.parametrize("name", TWO)
def test_zeros_infinities_and_nan_keep_their_meaning_beside_others(runner, name, way):
    a, b = np.meshgrid(SPECIAL, SPECIAL)
    a, b = {
        "flat": (a.ravel(), b.ravel()),
        "large": (np.resize(a, 200_000), np.resize(b, 200_000)),
        "outer": (SPECIAL[:, None], SPECIAL[None]),
        "turned": (np.asfortranarray(a), b),
        "long": (np.resize(SPECIAL, (1, 5000)), SPECIAL[:, None]),
    }[way]
    f = TWO[name]
    found, wanted = tl.jit(f, runner=runner)(a, b).numpy(), f(tl.Tensor(a), tl.Tensor(b)).numpy()
    if (
        name == "**"
    ):  # NumPy takes a root if one exponent lies beside many numbers: of -0 and -inf that is another answer
        root = (b == 0.5) & ((a == -np.inf) | ((a == 0) & np.signbit(a)))
        found, wanted = np.where(root, 0, found), np.where(root, 0, wanted)
    agrees(
        found, wanted, signs=name not in ("max", "min")
    )  # which of 0 and -0 NumPy takes depends on the processor


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_constants_that_differ_by_their_sign_alone_are_told_apart(runner):
    x = np.array([1, -1], "f4")
    f = tl.jit(lambda x: (x / 0.0, x / -0.0, x * -0.0, x * 0.0), runner=runner)
    for found, wanted in zip(f(x), (x / np.float32(0), x / np.float32(-0.0), x * -0.0, x * 0.0), strict=True):
        agrees(found.numpy(), wanted.astype("f4"))
    v = sym.Variable("v")
    executor = sym.Group([v / 0.0, v / -0.0]).bind(tl.cpu(), {"v": x}, runner=runner)
    one, other = executor.forward()
    assert one.tolist() == [math.inf, -math.inf]
    assert other.tolist() == [-math.inf, math.inf]


@pytest.mark.parametrize("name", ["arctan", "log1p", "where", "max", "softmax"])
def test_long_chains_through_ops_without_vector_code(runner, name):
    chain = {
        "arctan": lambda x: tl.arctan(x * x) * tl.exp(x) + x,
        "log1p": lambda x: tl.log1p(x * x) * tl.exp(x) + x,
        "where": lambda x: tl.where(x > 0, x * x, tl.exp(x)) * x + x,
        "max": lambda x: tl.maximum(x * x, tl.exp(x) - tl.log1p(x * x)) + tl.sum(x * x),
        "softmax": lambda x: tl.softmax(tl.log1p(x * x) * x) + x * x,
    }[name]
    x = np.linspace(-2, 2, 200_001, dtype="f4")
    np.testing.assert_allclose(
        tl.jit(chain, runner=runner)(x).numpy(), chain(tl.Tensor(x)).numpy(), rtol=1e-5, atol=1e-6
    )
    slope = tl.grad(lambda x: tl.sum(chain(x) * x))
    np.testing.assert_allclose(
        tl.jit(slope, runner=runner)(x).numpy(), slope(tl.Tensor(x)).numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (1,) * 9, (2,) * 10, (1,) * 20 + (3,)])
@pytest.mark.parametrize("name", ["exp", "chain", "sum", "sum of squares", "columns", "transposed", "copied"])
def test_shapes_of_no_axis_of_many_and_of_no_element(runner, name, shape):
    f = FUNCTIONS[name]
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    wanted = f(tl.Tensor(x)).numpy()
    found = tl.jit(f, runner=runner)(x).numpy()
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    back = tl.jit(tl.grad(lambda x: tl.sum(f(x))), runner=runner)(x).numpy()
    np.testing.assert_allclose(
        back, tl.grad(lambda x: tl.sum(f(x)))(tl.Tensor(x)).numpy(), rtol=1e-5, atol=1e-6
    )
