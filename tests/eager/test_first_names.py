"""Names that are tried first: `tl.tensor`, `set_grad_enabled`, `concat` by position, `convolution` without attributes."""

import importlib
import threading

import numpy as np
import pytest
from scipy import linalg, special, stats

import tinygrad_lesson as tl
from tinygrad_lesson.eager.recording import NEEDS_SLOW_PATH
from tinygrad_lesson.errors import DTypeError, GraphError, ShapeError

A = np.arange(6.0).reshape(2, 3)


def test_tensor_is_a_function_and_a_module():
    x = tl.tensor([1.0, 2.0], dtype="float32", requires_grad=True)
    assert isinstance(x, tl.tensor.Tensor)
    assert x.requires_grad
    assert x.dtype == np.float32


def test_what_is_recorded_can_be_chosen():
    x = tl.tensor(2.0, requires_grad=True)
    assert tl.is_grad_enabled()
    with tl.no_grad():
        assert not tl.is_grad_enabled()
        with tl.enable_grad():
            assert (x * x).requires_grad
    with tl.set_grad_enabled(False):
        assert not (x * x).requires_grad
        with tl.set_grad_enabled(True):
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad


def test_what_is_chosen_holds_until_it_is_chosen_otherwise():
    x, before = tl.tensor([2.0], requires_grad=True), len(NEEDS_SLOW_PATH)
    others = []
    tl.set_grad_enabled(False)
    tl.set_grad_enabled(False)
    try:
        assert not (x * x).requires_grad
        thread = threading.Thread(target=lambda: others.append((x * x).requires_grad))
        thread.start()
        thread.join()
    finally:
        tl.set_grad_enabled(True)
    assert others == [True]
    assert (x * x).requires_grad
    assert len(NEEDS_SLOW_PATH) == before
    with pytest.raises(GraphError, match="jit: no_grad has no meaning"):
        tl.jit(lambda x: tl.set_grad_enabled(False) or x)(x)


def test_random_numbers_as_in_pytorch():
    tl.manual_seed(3)
    first = tl.rand(2, 3), tl.randn((4,)), tl.rand()
    tl.random.seed(3)
    again = tl.random.uniform(size=(2, 3)), tl.random.normal(size=4), tl.random.uniform(size=())
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_takes_its_axis_by_position(axis):
    x = tl.tensor(A, requires_grad=True)
    np.testing.assert_array_equal(tl.concat([x, A], axis).numpy(), np.concatenate([A, A], axis))
    np.testing.assert_array_equal(tl.concat((x, 2 * x), axis).numpy(), np.concatenate([A, 2 * A], axis))
    np.testing.assert_array_equal(
        tl.concat([[1.0]], [[2.0]], dim=axis).numpy(), np.concatenate([[[1]], [[2]]], axis)
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("pad", "stride"), [((), ()), (1, 2)])
def test_a_convolution_knows_its_filters(axes, pad, stride):
    rng = np.random.default_rng(0)
    x, k, b = rng.normal(size=(2, 3, *[6] * axes)), rng.normal(size=(4, 3, *[3] * axes)), rng.normal(size=4)
    padded = np.pad(x, [(0, 0)] * 2 + [(pad or 0,) * 2] * axes)
    windows = np.lib.stride_tricks.sliding_window_view(padded, [3] * axes, axis=tuple(range(2, 2 + axes)))
    windows = windows[(slice(None),) * 2 + (slice(None, None, stride or 1),) * axes]
    told = np.einsum(
        "nc...k,ock->no...", windows.reshape(*windows.shape[: 2 + axes], -1), k.reshape(4, 3, -1)
    )
    np.testing.assert_allclose(
        tl.convolution(x, k, pad=pad, stride=stride).numpy(), told, rtol=1e-12, atol=1e-12
    )
    told = told + b.reshape(-1, *[1] * axes)
    y = tl.tensor(x).convolution(k, b, 3, stride, pad)
    np.testing.assert_allclose(y.numpy(), told, rtol=1e-12, atol=1e-12)


def test_pooling_takes_one_number():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    parts = x.reshape(2, 3, 2, 2, 3, 2)
    np.testing.assert_array_equal(tl.pooling(x, 2, 2).numpy(), parts.max((3, 5)))
    np.testing.assert_allclose(
        tl.pooling(x, 2, stride=2, pool_type="avg").numpy(), parts.mean((3, 5)), rtol=1e-14
    )


def test_what_is_not_there_says_what_to_write():
    with pytest.raises(ShapeError, match=r"convolution: weight is \(3,\), expected \(filters, channels"):
        tl.convolution(np.ones((1, 1, 3)), np.ones(3))
    for name, told in (
        ("save", "np.savez"),
        ("linearize", "tl.jvp"),
        ("while_loop", "tl.scan"),
        ("set_printoptions", "np.set_printoptions"),
    ):
        with pytest.raises(AttributeError, match=f"has no '{name}'; .*{told}"):
            getattr(tl, name)
    for name, told in (
        ("ModuleList", "a list of layers"),
        ("Embedding", "weight"),
        ("Sinc", "tl.sinc"),
    ):
        with pytest.raises(AttributeError, match=f"nn has no '{name}'; .*{told}"):
            getattr(tl.nn, name)


@pytest.mark.parametrize(
    "name", ["sum", "mean", "argmax", "prod", "cumsum", "all", "softmax", "logsumexp", "argsort"]
)
def test_functions_take_the_axis_as_pytorch_calls_it(name):
    f, x = getattr(tl, name), tl.tensor(A - 2.5)
    np.testing.assert_array_equal(f(x, dim=0).numpy(), f(x, axis=0).numpy())
    assert f(x, dim=1).numpy().tobytes() == getattr(x, name)(axis=1).numpy().tobytes()


def test_functions_of_pytorch_that_are_one_line():
    x = tl.tensor(A, requires_grad=True)
    np.testing.assert_array_equal(tl.cat([x, x], dim=1).numpy(), np.concatenate([A, A], 1))
    tl.cat([x, 2 * x]).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 3.0))
    assert tl.as_tensor(x) is x
    assert tl.as_tensor([1, 2], dtype=tl.float32).dtype == np.float32
    assert [tl.is_tensor(x), tl.is_tensor(A)] == [True, False]
    assert tl.device("cpu") == tl.cpu()
    assert tl.device("cuda:1") == tl.gpu(1)
    assert sorted(tl.randperm(5).tolist()) == [0, 1, 2, 3, 4]
    assert tl.randint(3, 4, (2,)).tolist() == [3, 3]
    assert tl.normal(5.0, 0.0, (2,)).tolist() == [5.0, 5.0]
    assert tl.randn_like(tl.tensor(A.astype("float32"))).dtype == np.float32
    image, weight = np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 2, 2))
    np.testing.assert_array_equal(
        tl.conv2d(image, weight, stride=2).numpy()[0, 0], [[10.0, 18.0], [42.0, 50.0]]
    )
    np.testing.assert_array_equal(tl.max_pool2d(image, 2).numpy()[0, 0], [[5.0, 7.0], [13.0, 15.0]])
    values, places = tl.tensor([[1.0, 3.0, 2.0]]).topk(2)
    assert (values.tolist(), places.tolist()) == ([[3.0, 2.0]], [[1, 2]])


def test_methods_that_change_a_tensor():
    x = tl.tensor([1.0, -2.0])
    for change, expected in (
        (lambda: x.add_(1), [2, -1]), (lambda: x.mul_([2, 3]), [4, -3]), (lambda: x.sub_(1), [3, -4]),
        (lambda: x.clamp_(-2, 2), [2, -2]), (lambda: x.abs_(), [2, 2]), (lambda: x.div_(4), [0.5, 0.5]),
        (lambda: x.copy_(3), [3, 3]), (lambda: x.fill_(7), [7, 7]), (lambda: x.zero_(), [0, 0]),
    ):  # fmt: skip
        assert change() is x
        assert x.tolist() == expected
    with pytest.raises(ShapeError, match=r"x.add_\(...\): the result is \(2, 2\)"):
        x.add_(np.ones((2, 2)))


def test_what_is_recorded_is_not_changed_by_a_method():
    w = tl.tensor([1.0, 2.0], requires_grad=True)
    y = w * w
    with pytest.raises(GraphError, match=r"with tl.no_grad\(\): x.mul_"):
        w.mul_(2)
    with pytest.raises(GraphError, match=r"what was recorded is not changed; write `x = x.mul\(...\)`"):
        y.mul_(2)
    with pytest.raises(GraphError, match="what was recorded is not changed"):
        tl.grad(lambda v: (v * 2).add_(1).sum())(w)
    with pytest.raises(GraphError, match="what was recorded is not changed"):
        tl.tensor([0.0, 0.0]).add_(y)
    with tl.no_grad():
        w.mul_(3)
    y.sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]  # the graph keeps what it was made of
    assert w.tolist() == [3.0, 6.0]
    w.grad.zero_()
    assert w.grad.tolist() == [0.0, 0.0]


def test_arrays_of_numpy_take_what_is_not_recorded():
    x, b = tl.tensor(A), A.copy()
    b += x
    np.testing.assert_array_equal(b, 2 * A)
    np.multiply(x, 3, out=b)
    np.testing.assert_array_equal(b, 3 * A)
    x.requires_grad = True
    with pytest.raises(DTypeError, match="np.add into an array"):
        b += x
    np.testing.assert_array_equal(b, 3 * A)


B = np.array([[0.5, -1.2, 2.0, 0.1], [1.5, 0.3, -0.7, 2.2], [-2.0, 1.1, 0.9, -0.4]])
E = np.exp(B - B.max(1, keepdims=True))
SHARES = E / E.sum(1, keepdims=True)
MEAN, VAR = B.mean(1, keepdims=True), B.var(1, keepdims=True)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("pad(x, (1, 2))", np.pad(B, ((0, 0), (1, 2)))),
        ("pad(x, (1, 0, 0, 2), value=3.0)", np.pad(B, ((0, 2), (1, 0)), constant_values=3.0)),
        ("pad(x, (1, 1), mode='replicate')", np.pad(B, ((0, 0), (1, 1)), "edge")),
        ("layer_norm(x, (4,))", (B - MEAN) / np.sqrt(VAR + 1e-5)),
        ("layer_norm(x, 4, x[0], x[1])", (B - MEAN) / np.sqrt(VAR + 1e-5) * B[0] + B[1]),
        ("normalize(x)", B / np.linalg.norm(B, axis=1, keepdims=True)),
        ("normalize(x, p=1, dim=0)", B / np.abs(B).sum(0)),
        ("smooth_l1_loss(x, 2 * x, beta=0.5)", np.where(abs(B) < 0.5, B * B, abs(B) - 0.25).mean()),
        ("kl_div(x, softmax(x, dim=1), reduction='batchmean')", (SHARES * (np.log(SHARES) - B)).sum() / 3),
        ("elu(x, 2.0)", np.where(B > 0, B, 2 * np.expm1(B))),
        ("gelu(x)", B * stats.norm.cdf(B)),
        ("gelu(x, approximate='tanh')", B / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (B + 0.044715 * B**3)))),
        ("glu(x)", B[:, :2] / (1 + np.exp(-B[:, 2:]))),
        ("one_hot(np.array([0, 2]))", np.array([[1, 0, 0], [0, 0, 1]])),
        ("conv1d(x[None], x[None, :, :2], padding=1)", np.array([[[
            sum(np.pad(B, ((0, 0), (1, 1)))[c, i + k] * B[c, k] for c in range(3) for k in range(2)) for i in range(5)
        ]]])),
        ("max_pool1d(x[None], 2)", B.reshape(1, 3, 2, 2).max(-1)),
        ("avg_pool1d(x[None], 2)", B.reshape(1, 3, 2, 2).mean(-1)),
        ("dropout(x, 0.5, False)", B),
        ("embedding(np.array([2, 0]), x)", B[[2, 0]]),
        ("log_softmax(x, 1)", np.log(SHARES)),
        ("softmin(-x, dim=1)", SHARES),
        ("cosine_similarity(x, x + 1, dim=0)", (B * (B + 1)).sum(0) / np.linalg.norm(B, axis=0) / np.linalg.norm(B + 1, axis=0)),
        ("relu(x, inplace=True)", np.maximum(B, 0)),
        ("leaky_relu(x)", np.where(B > 0, B, 0.01 * B)),
        ("softplus(x, beta=2)", np.log1p(np.exp(2 * B)) / 2),
        ("logsigmoid(x)", -np.log1p(np.exp(-B))),
        ("hardtanh(x)", np.clip(B, -1, 1)),
        ("hardsigmoid(x)", np.clip(B / 6 + 0.5, 0, 1)),
        ("hardswish(x)", B * np.clip(B / 6 + 0.5, 0, 1)),
        ("tanhshrink(x)", B - np.tanh(B)),
        ("binary_cross_entropy_with_logits(x, x > 0)", np.log1p(np.exp(-abs(B))).mean()),
        ("scaled_dot_product_attention(x, x, x)", (lambda e: e / e.sum(1, keepdims=True))(np.exp(B @ B.T / 2)) @ B),
        ("mse_loss(x, 2 * x, reduction='sum')", (B * B).sum()),
    ],
)  # fmt: skip
def test_functional_has_the_arguments_of_pytorch(call, expected):
    found = eval(f"F.{call}", {**vars(tl.nn.functional), "F": tl.nn.functional, "x": tl.tensor(B), "np": np})
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda x: tl.transpose(x, 0, 1),
            r"axes are one tuple, as in transpose\(x, \(0, 1\)\); swapaxes\(x, 0, 1\)",
        ),
        (lambda x: tl.max(x, x), r"max: axis is an array; write maximum\(a, b\)"),
        (lambda x: tl.min(x, B), r"min: axis is an array; write minimum\(a, b\)"),
        (lambda x: x.index_copy(0, np.array([1]), x[:1]), r"no 'index_copy'; try x.at\[i\]"),
    ],
)
def test_what_means_something_else_elsewhere_says_what_to_write(call, told):
    with pytest.raises((tl.errors.AttributeValueError, AttributeError), match=told):
        call(tl.tensor(B))


def test_functional_is_a_module():
    functional = importlib.import_module(
        "tinygrad_lesson.nn.functional"
    )  # import tinygrad_lesson.nn.functional as F
    assert functional is tl.nn.functional
    np.testing.assert_array_equal(functional.relu(tl.tensor(B)).numpy(), np.maximum(B, 0))
    with pytest.raises(AttributeError, match="no 'nothing'"):
        functional.nothing


def test_modules_of_pytorch_that_only_call_a_function():
    nn, x = tl.nn, tl.tensor(B)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Flatten(), nn.LeakyReLU(0.1), nn.Softmax(dim=1))
    np.testing.assert_allclose(model(x).sum(1).detach().numpy(), np.ones(3))
    assert len(list(model.parameters())) == 2
    model(x)[0, 0].backward()
    assert model[0].weight.grad is not None
    model.zero_grad()
    assert model[0].weight.grad is None
    assert float(nn.MSELoss(reduction="sum")(x, 2 * x)) == pytest.approx((B * B).sum())
    assert nn.Conv2d(1, 2, 3, padding=1)(tl.ones(1, 1, 4, 4)).shape == (1, 2, 4, 4)
    assert nn.BatchNorm1d(4)(x).shape == x.shape
    assert nn.Parameter(B).requires_grad


def test_other_words_of_pytorch():
    x = tl.tensor(B)
    assert tl.stack((x, x), dim=1).shape == (3, 2, 4)
    assert tl.linspace(0, 1, steps=5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert tl.randint(10, (3,)).shape == (3,)
    np.testing.assert_allclose(tl.linalg.norm(x, dim=1).numpy(), np.linalg.norm(B, axis=1))
    np.testing.assert_allclose(tl.einsum("ij,kj->ik", [x, x]).numpy(), B @ B.T)
    s = B @ B.T
    np.testing.assert_allclose(
        tl.linalg.solve_triangular(s, B, upper=False).numpy(), linalg.solve_triangular(s, B, lower=True)
    )
    assert [y.shape for y in np.linalg.svd(x)] == [(3, 3), (3,), (4, 4)]
    assert np.exp(x, dtype=np.float32).dtype == np.float32
    for order in (0, 1, 2):
        expected = special.polygamma(order, abs(B))
        np.testing.assert_allclose(tl.polygamma(order, abs(B)).numpy(), expected)
        np.testing.assert_allclose(tl.polygamma(abs(B), order).numpy(), expected)
    with tl.inference_mode():
        assert not tl.is_grad_enabled()
    assert tl.is_grad_enabled()


def test_derivatives_as_jax_and_autograd_spell_them():
    def cubes(x):
        return tl.sum(x**3)

    v = np.array([1.0, 2.0])
    assert tl.jacfwd(lambda x: x**2)(v).tolist() == tl.jacrev(lambda x: x**2)(v).tolist() == [[2, 0], [0, 4]]
    assert tl.hvp(cubes)(v, v).tolist() == [6, 24]
    assert [float(y) for y in tl.jvp(cubes, v, v)] == [9, 27]


def test_momentum_of_nesterov_as_in_pytorch():
    w, rate, momentum, decay = np.array([1.0, -2.0]), 0.1, 0.9, 0.01
    p, m = tl.tensor(w, requires_grad=True), np.zeros(2)
    opt = tl.optim.SGD([p], lr=rate, momentum=momentum, weight_decay=decay, nesterov=True)
    for _ in range(3):
        opt.zero_grad()
        (p**3).sum().backward()
        opt.step()
        g = 3 * w**2 + decay * w
        m = momentum * m + g
        w = w - rate * (g + momentum * m)
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12)
    opt.learning_rate = 0.05
    assert opt.learning_rate == opt.optimizer.rule.learning_rate == 0.05
    assert type(tl.optim.SGD(0.1, momentum=0.9, nesterov=False).rule).__name__ == "SGD"
