"""What large arrays are treated with: other ways to the same numbers, beside NumPy's."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.engine.blocks import BLOCK, FEW, choose, in_blocks
from tinygrad_lesson.ops.order import PACKED, packed_order

N = FEW + 904
STRANGE = [
    (np.inf, np.inf),
    (-np.inf, -np.inf),
    (np.inf, -np.inf),
    (-np.inf, 1),
    (np.nan, 1),
    (1, np.nan),
    (0.0, -0.0),
]


@pytest.fixture
def generator():
    return np.random.default_rng(5)


@pytest.mark.parametrize("kind", "fdeliD")
def test_a_choice_by_bits_is_that_of_numpy_to_the_last_bit(kind, generator):
    condition = generator.random((50, 100)) < 0.5
    a, b = ((generator.normal(size=(50, 100)) * 5).astype(kind) for _ in range(2))
    if kind in "fde":
        a.flat[:2], b.flat[2:4] = (np.nan, -0.0), (np.inf, -0.0)
    for p in (a, a.T.copy().T, a[:1], 0, -0.0, 1.5, np.float32(2), True):
        for q in (b, b[0], 0, -0.0, 2.5, np.float64(1)):
            x, y = np.where(condition, p, q), choose(np, condition, p, q)
            assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


def test_blocks_give_what_one_call_gives(generator):
    x = generator.normal(size=(3, BLOCK))
    np.testing.assert_array_equal(
        in_blocks(np, lambda a, s, out: np.multiply(np.exp(a), s, out=out), x, 2.0), np.exp(x) * 2
    )
    np.testing.assert_array_equal(in_blocks(np, np.exp, x.T), np.exp(x.T))


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_write_where_they_are_told_to(order, generator):
    x = generator.normal(size=(2, BLOCK))
    out = np.zeros(x.shape, order=order)
    assert in_blocks(np, lambda a, out: np.exp(a, out=out), x, out=out) is out
    np.testing.assert_array_equal(out, np.exp(x))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    [
        "erf",
        "erfc",
        "gelu",
        "silu",
        "elu",
        "selu",
        "smooth_l1",
        "sigmoid",
        "softplus",
        "softsign",
        "leaky_relu",
        "hard_sigmoid",
        "log_ndtr",
        "relu",
        "relu6",
    ],
)
def test_a_large_array_has_the_values_and_slopes_of_its_parts(name, kind, generator):
    def both(x, g=None):
        t = tl.Tensor(x, requires_grad=True)
        y = getattr(tl, name)(t)
        (dx,) = tl.grad(tl.sum(y), [t]) if g is None else tl.grad(y, [t], gradient=g)
        return y.numpy(), dx.numpy()

    x, g = (generator.normal(size=(2, BLOCK)).astype(kind) * 3 for _ in range(2))
    x[0, :3] = 0, np.inf, np.nan
    parts = [slice(i, i + 1000) for i in (0, BLOCK - 1000)]
    with np.errstate(invalid="ignore"):
        for given in (None, g):
            for whole, *some in zip(
                both(x, given),
                *[both(x[:, p], given if given is None else g[:, p]) for p in parts],
                strict=True,
            ):
                for p, part in zip(parts, some, strict=True):
                    np.testing.assert_allclose(whole[:, p], part, rtol=4 * np.finfo(kind).eps)


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize(("shape", "axis"), [((3000,), 0), ((40, 50), 0), ((5, 40, 30), 1)])
def test_the_packed_order_is_the_stable_one(kind, shape, axis, generator):
    x = generator.integers(0, 60, shape).astype(kind)
    if x.dtype.kind == "f":
        x = (x - 30) / 4
        for value in (np.nan, -np.nan, -0.0, np.inf, -np.inf):
            x[generator.random(shape) < 0.05] = value
        x = x.astype(kind)
    np.testing.assert_array_equal(packed_order(x, axis), np.argsort(x, axis=axis, kind="stable"))


@pytest.mark.parametrize("size", [1, 2, 700, 20_000])
@pytest.mark.parametrize("zeros", [(), (0.5,), (0.3, 0.5)])
def test_a_running_product_has_its_gradient_whatever_its_length_and_its_zeros(size, zeros, generator):
    x, g = generator.uniform(0.9, 1.1, size), generator.normal(size=size)
    x[[int(at * size) for at in zeros]] = 0
    t = tl.Tensor(x, requires_grad=True)
    tl.cumprod(t).backward(g)
    before = np.concatenate([[1], np.cumprod(x.astype(np.longdouble))])
    expected, later = np.zeros(size, np.longdouble), np.longdouble(0)
    for j in reversed(range(size)):
        later = g[j] + (x[j + 1] * later if j + 1 < size else 0)
        expected[j] = before[j] * later
    np.testing.assert_allclose(t.grad.numpy(), expected.astype(float), rtol=1e-11, atol=1e-12)


def test_a_running_product_that_is_infinite_on_the_way_spoils_no_zero():
    x = np.full(4032, 1e8)
    t = tl.Tensor(x, requires_grad=True)
    with np.errstate(over="ignore", invalid="ignore"):
        tl.cumprod(t).backward(np.eye(1, 4032)[0])
    np.testing.assert_array_equal(t.grad.numpy()[:30], np.eye(1, 30)[0])


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor", "logical_not"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_truth_values_of_many_floats_are_those_of_numpy(name, kind, generator):
    a, b = (np.trunc(generator.normal(size=(2, N))).astype(kind) for _ in range(2))
    a[0, :5], b[1, :5] = [[np.nan, -0.0, np.inf, 5e-324, -1e-45]] * 2
    inputs = (a,) if name == "logical_not" else (a, b)
    y = getattr(tl, name)(*inputs).numpy()
    np.testing.assert_array_equal(y, getattr(np, name)(*inputs))
    assert y.dtype == bool


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, (0, 1), 0, 1])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_large_product_is_that_of_numpy(kind, axis, keepdims, generator):
    x = generator.uniform(0.99, 1.01, (3, N)).astype(kind)
    for number in (1, 0, np.inf, np.nan):
        x[1, -1] = number
        y = tl.prod(x, axis, keepdims=keepdims).numpy()
        expected = np.prod(x.astype(np.longdouble), axis, keepdims=keepdims)
        np.testing.assert_allclose(y, expected.astype(float), rtol=1e4 * np.finfo(kind).eps)
        assert (y.dtype, y.shape) == (kind, expected.shape)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_a_large_product_has_its_gradient_whatever_its_zeros(zeros, generator):
    x = generator.uniform(0.9, 1.1, N)
    x[:zeros] = 0
    t = tl.Tensor(x, requires_grad=True)
    tl.prod(t).backward()
    rest = np.array([np.prod(np.delete(x, i)) for i in range(zeros + 2)])
    np.testing.assert_allclose(t.grad.numpy()[: zeros + 2], rest, rtol=1e-11)


@pytest.mark.parametrize("nans", [0, 3])
def test_a_large_sum_without_nan_and_its_gradient(nans, generator):
    x = generator.normal(size=(2, N))
    x[1, :nans] = np.nan
    t = tl.Tensor(x, requires_grad=True)
    y = tl.nansum(t, 1)
    np.testing.assert_array_equal(y.numpy(), np.nansum(x, 1))
    y.backward([1.0, 2.0])
    np.testing.assert_array_equal(t.grad.numpy(), np.where(np.isnan(x), 0, [[1.0], [2.0]]))


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_large_logaddexp_is_that_of_numpy(name, kind, generator):
    a, b = ((generator.normal(size=N) * 30).astype(kind) for _ in range(2))
    b[:500] = a[:500]
    for i, pair in enumerate(STRANGE):
        a[i], b[i] = pair
    with np.errstate(invalid="ignore"):
        expected = getattr(np, name)(a, b)
    y = getattr(tl, name)(a, b).numpy()
    assert y.dtype == kind
    np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(kind).eps, atol=np.finfo(kind).eps)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_slopes_at_equal_and_other_distances(edge_order, generator):
    x = generator.normal(size=(40, 60))
    for axis in (0, 1):
        for h in (0.3, np.cumsum(generator.uniform(0.1, 1, x.shape[axis]))):
            y = tl.gradient(x, h, axis=axis, edge_order=edge_order).numpy()
            np.testing.assert_allclose(
                y, np.gradient(x, h, axis=axis, edge_order=edge_order), rtol=1e-11, atol=1e-11
            )


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_large_transforms_are_numpys_with_scipy_and_without(kind, axis, norm, monkeypatch):
    x = np.random.default_rng(6).normal(size=(600, 601)).astype(kind)
    exact = np.fft.fft(x.astype(float), axis=axis, norm=norm)
    steps = np.finfo(kind).eps * np.log2(x.shape[axis])  # each rounds once
    allowed, there = (
        {"rtol": 0, "atol": steps * np.abs(exact).max()},
        {"rtol": 0, "atol": steps * np.abs(x).max()},
    )
    for present in (True, False):
        if not present:
            monkeypatch.setattr("tinygrad_lesson.ops.fourier.of_scipy", lambda: None)
        y = tl.fft.fft(x, axis=axis, norm=norm).numpy()
        half = tl.fft.rfft(x, axis=axis, norm=norm)
        n = half.shape[axis]
        back = tl.fft.irfft(half, x.shape[axis], axis=axis, norm=norm).numpy()
        assert y.dtype == half.numpy().dtype == np.result_type(kind, np.complex64)
        np.testing.assert_allclose(y, exact, **allowed)
        np.testing.assert_allclose(half.numpy(), np.take(exact, range(n), axis), **allowed)
        np.testing.assert_allclose(back, x, **there)
        again = tl.fft.ifft(y, axis=axis, norm=norm).numpy()
        np.testing.assert_allclose(again, x, **there)
