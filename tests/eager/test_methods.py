"""Names that users of NumPy and PyTorch type, against NumPy."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.eager.tensor import Spellings
from tinygrad_lesson.errors import (
    AttributeValueError,
    DeviceError,
    DTypeError,
    GraphError,
    LessonError,
    ShapeError,
)

A = np.arange(1.0, 7.0).reshape(2, 3)
V0 = np.float32(0.1)
MASK = np.array([[True, False, True], [False, False, True]])


def leaf(a=A):
    return Tensor(a, requires_grad=True)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: x.clone(), lambda a: a),
        (lambda x: x.copy(), lambda a: a),
        (lambda x: x.contiguous().cpu(), lambda a: a),
        (lambda x: x.view(3, 2), lambda a: a.reshape(3, 2)),
        (lambda x: x.view(-1), lambda a: a.reshape(-1)),
        (lambda x: x.view((3, 2)), lambda a: a.reshape(3, 2)),
        (lambda x: x.unsqueeze(-1), lambda a: a[..., None]),
        (lambda x: x.permute(1, 0), lambda a: a.T),
        (lambda x: x.t(), lambda a: a.T),
        (lambda x: x.expand(4, 2, 3), lambda a: np.broadcast_to(a, (4, 2, 3))),
        (lambda x: x[:, :1].expand(-1, 5), lambda a: np.broadcast_to(a[:, :1], (2, 5))),
        (lambda x: x[:, :1].expand((2, 5)), lambda a: np.broadcast_to(a[:, :1], (2, 5))),
        (lambda x: x.unbind()[1], lambda a: a[1]),
        (lambda x: x.unbind(dim=1)[2], lambda a: a[:, 2]),
        (lambda x: x.chunk(2, dim=1)[0], lambda a: a[:, :2]),
        (lambda x: x.chunk(2, dim=1)[1], lambda a: a[:, 2:]),
        (lambda x: x.narrow(1, 1, 2), lambda a: a[:, 1:3]),
        (lambda x: x.index_select(1, [2, 0]), lambda a: a[:, [2, 0]]),
        (lambda x: x.gather(1, np.array([[2], [0]])), lambda a: a[[0, 1], [2, 0]][:, None]),
        (lambda x: x.masked_fill(MASK, -1.0), lambda a: np.where(MASK, -1, a)),
        (lambda x: x.masked_select(MASK), lambda a: a[MASK]),
        (lambda x: x.roll(1), lambda a: np.roll(a, 1)),
        (lambda x: x.roll(1, dims=1), lambda a: np.roll(a, 1, 1)),
        (lambda x: x.ptp(axis=0), lambda a: np.ptp(a, 0)),
        (lambda x: x.clamp(2.5, 4.5), lambda a: a.clip(2.5, 4.5)),
        (lambda x: x.clamp(min=2.5), lambda a: a.clip(2.5, None)),
        (lambda x: x.pow(3).neg().sub(1).mul(2).div(4), lambda a: (-(a**3) - 1) * 2 / 4),
        (lambda x: x.mm(x.t()), lambda a: a @ a.T),
        (lambda x: x.sum(dim=1, keepdim=True), lambda a: a.sum(1, keepdims=True)),
        (lambda x: x.mean(dim=-1), lambda a: a.mean(-1)),
        (lambda x: x.cumsum(dim=0), lambda a: a.cumsum(0)),
        (lambda x: x.softmax(dim=1).log(), lambda a: a - np.log(np.exp(a).sum(1, keepdims=True))),
        (lambda x: x.logsumexp(dim=0), lambda a: np.log(np.exp(a).sum(0))),
        (lambda x: round(x / 3, 1) + x, lambda a: np.round(a / 3, 1) + a),
        (lambda x: x.double() + x.to("cpu") + x.to(tl.cpu()), lambda a: 3 * a),
        (lambda x: x.H, lambda a: a.T),
        (lambda x: x.mv(np.arange(3.0)), lambda a: a @ np.arange(3.0)),
        (lambda x: x[0].ger(x[1]), lambda a: np.outer(a[0], a[1])),
        (lambda x: x.adjoint() + x.mH, lambda a: 2 * a.T),
        (lambda x: (x[:, :2] + np.eye(2)).inverse(), lambda a: np.linalg.inv(a[:, :2] + np.eye(2))),
        (lambda x: x.pinverse(), np.linalg.pinv),
        (lambda x: (x.mm(x.t())).logdet(), lambda a: np.log(np.linalg.det(a @ a.T))),
        (lambda x: x[:, :2].matrix_power(2), lambda a: a[:, :2] @ a[:, :2]),
        (lambda x: x.lerp(x * x, 0.25), lambda a: a + 0.25 * (a * a - a)),
        (lambda x: (x * 1.3).frac(), lambda a: (a * 1.3) % 1),
        (lambda x: x.sgn() * x, lambda a: a),
        (lambda x: x[0].expand_as(x) * x.view_as(x), lambda a: a[0] * a),
        (lambda x: x.select(1, 2) * x.select(0, 1)[0], lambda a: a[:, 2] * a[1, 0]),
        (lambda x: x.movedim(0, 1).swapdims(0, 1), lambda a: a),
        (lambda x: x.repeat_interleave(2, dim=1)[0], lambda a: np.repeat(a, 2, 1)[0]),
        (lambda x: x.tensor_split(2, dim=1)[0] ** 2, lambda a: a[:, :2] ** 2),
        (lambda x: x.unflatten(1, (3, 1))[:, :, 0] + x.unflatten(-2, (1, 2))[0], lambda a: 2 * a),
        (lambda x: x.clamp_min(2.5).clamp_max(4.5), lambda a: a.clip(2.5, 4.5)),
        (lambda x: x.diff(dim=1) + x.amax(dim=1, keepdim=True), lambda a: np.diff(a, axis=1) + a.max(1, keepdims=True)),
        (lambda x: x.flip(dims=[0])[0] ** 2, lambda a: a[1] ** 2),
        (lambda x: x.tril().triu(-1), lambda a: np.triu(np.tril(a), -1)),
        (lambda x: x.flat[2:4], lambda a: a.reshape(-1)[2:4]),
        (lambda x: tl.unsqueeze(x, 0)[0] + tl.clamp(x, 2.5, 3.5), lambda a: a + a.clip(2.5, 3.5)),
        (lambda x: x.flatten() ** 2, lambda a: a.flatten() ** 2),
        (lambda x: x.flatten("F")[:4], lambda a: a.flatten("F")[:4]),
        (lambda x: x.flatten(order="F")[:4], lambda a: a.flatten("F")[:4]),
        (lambda x: x[None].flatten(1)[0, :2], lambda a: a.reshape(-1)[:2]),
        (lambda x: x[None].flatten(0, 1)[1], lambda a: a[1]),
        (lambda x: x[0, 0].flatten(), lambda a: a[:1, 0]),
        (lambda x: x.reshape(3, 2, order="F")[1], lambda a: a.reshape(3, 2, order="F")[1]),
        (lambda x: x.reshape((3, 2), order="F")[1], lambda a: a.reshape(3, 2, order="F")[1]),
    ],
)  # fmt: skip
def test_a_method_does_what_numpy_does_and_has_a_gradient(ours, theirs):
    x = leaf()
    y = ours(x)
    np.testing.assert_allclose(y.numpy(), theirs(A), rtol=1e-13)
    y.backward(np.ones(y.shape))
    slope, h = np.zeros(A.shape), 1e-6
    for i in np.ndindex(A.shape):
        step = np.zeros(A.shape)
        step[i] = h
        slope[i] = (theirs(A + step).sum() - theirs(A - step).sum()) / (2 * h)
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-6, atol=1e-6)


def test_an_array_tells_of_itself_what_numpys_does():
    x = Tensor(A.astype(np.float32))
    told = (x.nbytes, x.itemsize, x.strides, x.dim(), x.ndimension(), x.numel(), x.element_size())
    assert told == (24, 4, (12, 4), 2, 2, 6, 4)
    assert (x.device, x.is_contiguous(), x.T.is_contiguous(), x.is_floating_point()) == (
        tl.cpu(), True, False, True,
    )  # fmt: skip
    assert x.tolist() == A.tolist()
    assert Tensor(3.0).tolist() == 3.0
    y = leaf()
    assert (y.is_leaf, (y * 2).is_leaf, x.is_leaf) == (True, False, True)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float", "float32"), ("double", "float64"), ("half", "float16"), ("int", "int32"), ("long", "int64"), ("bool", "bool")],
)  # fmt: skip
def test_a_type_may_be_asked_for_by_pytorchs_name(name, dtype):
    assert getattr(Spellings, name)(Tensor(A)).dtype == dtype  # an op of the user's may have the name


def test_to_takes_a_device_or_a_type():
    x = Tensor(A)
    assert x.to("cpu") is x
    assert (
        x.to(np.float32).dtype
        == x.to(dtype="float32").dtype
        == x.to(Tensor(np.float32([1]))).dtype
        == "float32"
    )
    with pytest.raises(DeviceError, match=r"gpu\(0\)"):
        x.to("cuda")
    with pytest.raises(DeviceError, match=r"gpu\(1\)"):
        x.to(device=tl.gpu(1))


def test_truth_values_and_integers_have_logic():
    x, n = Tensor(A), np.arange(6).reshape(2, 3)
    assert ((x > 1) & (x < 4)).numpy().tolist() == ((A > 1) & (A < 4)).tolist()
    assert ((x < 2) | (x > 4)).numpy().tolist() == ((A < 2) | (A > 4)).tolist()
    assert (~(x > 1)).numpy().tolist() == (~(A > 1)).tolist()
    assert ((x > 1) ^ MASK).numpy().tolist() == ((A > 1) ^ MASK).tolist()
    assert (MASK & (x > 1)).numpy().tolist() == (MASK & (A > 1)).tolist()
    assert (Tensor(n) & 3).numpy().tolist() == (n & 3).tolist()
    assert (~Tensor(n)).numpy().tolist() == (~n).tolist()
    assert np.bitwise_or(Tensor(n), 8).numpy().tolist() == (n | 8).tolist()
    with pytest.raises(
        DTypeError, match=r"`&` of float64, float64, expected truth values or integers; compare first"
    ):
        x & x
    assert tl.jit(lambda x: tl.where((x > 1) & ~(x > 4), x, 0.0))(A).numpy().tolist() == [
        [0, 2, 3],
        [4, 0, 0],
    ]


def test_what_is_no_number_is_not_equal():
    x = Tensor(A)
    assert (x == None, x != None, x == "a", x != "a") == (False, True, False, True)  # noqa: E711
    assert x.grad == None  # noqa: E711
    assert 3.0 in x
    assert 7.0 not in x


@pytest.mark.parametrize("name", ["itemset", "kthvalue", "layout", "storage"])
def test_a_name_that_is_not_here_says_what_to_write(name):
    with pytest.raises(AttributeError, match=f"a Tensor has no '{name}'; try "):
        getattr(leaf(), name)
    assert not hasattr(leaf(), name)


def test_other_libraries_take_the_elements_by_dlpack():
    x = Tensor(A)
    assert np.from_dlpack(x).tolist() == A.tolist()
    assert tl.from_dlpack(A).numpy().tolist() == A.tolist()
    with pytest.raises(GraphError, match="the gradient would end here"):
        tl.grad(lambda x: tl.sum(x * np.from_dlpack(x)))(A)


# Changing a tensor.


def test_a_parameter_is_changed_in_place_without_recording():
    x = leaf(A.copy())
    same, loss = x, (x * x).sum()
    loss.backward()
    with tl.no_grad():
        x -= 0.1 * x.grad
    assert same is x
    assert x.requires_grad
    np.testing.assert_allclose(x.numpy(), 0.8 * A)
    loss.backward()  # of what was recorded
    np.testing.assert_allclose(x.grad.numpy(), 4 * A)
    x.zero_grad()
    assert x.grad is None
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1.6 * A)
    x.zero_grad(set_to_none=False)
    assert x.grad.numpy().tolist() == np.zeros((2, 3)).tolist()


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "**", "%", "//"])
def test_what_asks_for_no_gradient_is_changed_itself(sign):
    x, a = Tensor(A), A.copy()
    names = {"x": x, "a": a}
    held = x.detach()
    exec(f"y = x\ny {sign}= 2.5\na {sign}= 2.5", names)
    assert names["y"] is x
    np.testing.assert_allclose(x.numpy(), a)
    np.testing.assert_allclose(held.numpy(), A)


def test_a_graph_keeps_what_was_there_before_a_change():
    a, x = Tensor(A), leaf()
    loss = (a * x).sum()
    a *= 5
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), A)


def test_truth_values_are_changed_by_logic():
    x = Tensor(MASK)
    y = x
    x &= ~MASK
    assert y.numpy().any() == False  # noqa: E712
    with pytest.raises(DTypeError, match=r"x \+= y: the result is \(2,\) float64, expected \(2,\) int64"):
        exec("x += 0.5", {"x": Tensor([1, 2])})
    with pytest.raises(ShapeError, match=r"the result is \(2, 3\) float64, expected \(3,\) float64"):
        exec("x += a", {"x": Tensor([1.0, 2.0, 3.0]), "a": A})


def test_a_leaf_is_not_changed_while_it_is_recorded():
    with pytest.raises(GraphError, match=r"write `with tl.no_grad\(\): x -= y` to change it, or `x = x - y`"):
        exec("x -= 1", {"x": leaf()})


def test_inside_a_derivative_a_change_is_a_new_value():
    def f(x):
        x *= 3
        x += 1
        return (x * x).sum()

    given = Tensor(A)
    np.testing.assert_allclose(tl.grad(f)(given).numpy(), 6 * (3 * A + 1))
    np.testing.assert_allclose(tl.jit(f)(given).numpy(), ((3 * A + 1) ** 2).sum())
    np.testing.assert_allclose(given.numpy(), A)
    total, x = Tensor(0.0), leaf()
    for _ in range(3):
        total += (x * x).sum()
    total.backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * A)


# Hooks.


def test_hooks_see_and_change_a_gradient_in_their_order():
    x, seen = leaf(), []
    y = x * 3
    y.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: seen.append(g.numpy()))
    (y * y).sum().backward()
    np.testing.assert_allclose(seen, [2 * 2 * 3 * A])
    np.testing.assert_allclose(x.grad.numpy(), 3 * 4 * 3 * A)


def test_a_hook_of_a_leaf_is_called_once_with_the_whole_gradient():
    x, seen = leaf(), []
    hook = x.register_hook(lambda g: seen.append(g.numpy()) or -g)
    (x * x + x).sum().backward()
    np.testing.assert_allclose(seen, [2 * A + 1])
    np.testing.assert_allclose(x.grad.numpy(), -(2 * A + 1))
    hook.remove()
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * A)


def test_a_result_may_keep_its_gradient():
    x = leaf()
    y = x * 2
    y.retain_grad()
    x.retain_grad()
    (y * y).sum().backward()
    (y * 1.0).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * 2 * A + 1)
    np.testing.assert_allclose(x.grad.numpy(), 2 * (4 * A + 1))


def test_derivatives_of_any_order_pass_through_a_hook():
    def cube(x):
        y = x * x
        y.register_hook(lambda g: g * 2)
        return (y * x).sum()

    # without the hook x**3; with it the way through y counts twice
    np.testing.assert_allclose(tl.grad(cube)(A).numpy(), A**2 + 2 * 2 * A**2)
    np.testing.assert_allclose(tl.hvp(cube, A, np.ones_like(A)).numpy(), 2 * A + 2 * 2 * 2 * A)


def test_what_has_no_gradient_has_no_hook():
    with pytest.raises(GraphError, match="register_hook: this tensor was computed without recording"):
        Tensor(A).register_hook(print)
    with pytest.raises(GraphError, match="a hook has no meaning while a function is traced"):
        tl.jit(lambda x: [x, (x * 2).register_hook(print)])(A)
    x = leaf()
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ShapeError, match=r"the function gave a gradient of shape \(\), expected \(2, 3\)"):
        (x * x).sum().backward()


def test_backward_takes_what_pytorchs_users_write():
    x = leaf()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * A)
    with pytest.raises(GraphError, match=r"write tl.grad\(y, \[x\], create_graph=True\)"):
        y.backward(create_graph=True)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_result_is_copied_without_its_graph(again):
    y = again(leaf() * 2)
    assert not y.requires_grad
    np.testing.assert_allclose(y.numpy(), 2 * A)


# New tensors.


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda np: np.zeros((2, 3)), np.zeros((2, 3))),
        (lambda np: np.zeros(3, "float32"), np.zeros(3, "float32")),
        (lambda np: np.ones((2,), dtype="int64"), np.ones(2, int)),
        (lambda np: np.full((2, 2), 3), np.full((2, 2), 3)),
        (lambda np: np.full((2, 2), 3.5), np.full((2, 2), 3.5)),
        (lambda np: np.full(2, True), np.full(2, True)),
        (lambda np: np.full((2, 3), [1.0, 2.0, 3.0]), np.full((2, 3), [1.0, 2.0, 3.0])),
        (lambda np: np.full(2, -0.0), np.full(2, -0.0)),
        (lambda np: np.full(2, 2**62 + 1), np.full(2, 2**62 + 1)),
        (lambda np: np.full(2, 1 + 2j), np.full(2, 1 + 2j)),
        (lambda np: np.full(2, 3, "float32"), np.full(2, 3, "float32")),
        (lambda np: np.full(2, V0), np.full(2, V0)),
        (lambda np: np.arange(5), np.arange(5)),
        (lambda np: np.arange(2, 5), np.arange(2, 5)),
        (lambda np: np.arange(0, 1, 0.25), np.arange(0, 1, 0.25)),
        (lambda np: np.arange(5, dtype="float32"), np.arange(5, dtype="float32")),
        (lambda np: np.eye(3), np.eye(3)),
        (lambda np: np.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (lambda np: np.zeros_like(np.arange(3)), np.zeros(3, int)),
        (lambda np: np.ones_like(np.arange(3), dtype="float32"), np.ones(3, "float32")),
        (lambda np: np.ones_like(np.arange(3), shape=(2,)), np.ones(2, int)),
        (lambda np: np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])),
        (lambda np: np.array([1, 2], dtype="float32"), np.array([1, 2], "float32")),
        (lambda np: np.asarray(2.5), np.asarray(2.5)),
        (lambda np: np.array([]), np.array([])),
    ],
)
def test_new_tensors_are_numpys_arrays(make, expected):
    x = make(tl)
    assert isinstance(x, Tensor)
    assert (x.dtype, x.shape) == (expected.dtype, expected.shape)
    assert x.numpy().tobytes() == expected.tobytes()


def test_an_array_of_tensors_keeps_their_gradients():
    g = tl.grad(lambda x: tl.sum(tl.array([[x[0], 2.0], [x[1] * x[0], x[1]]])))(np.array([3.0, 5.0]))
    assert g.numpy().tolist() == [6, 4]
    x = leaf()
    assert tl.asarray(x) is x
    assert tl.array(x) is not x


def test_a_shape_may_be_given_in_parts():
    for name in ("zeros", "ones", "empty", "rand"):
        assert getattr(tl, name)(2, 3).shape == getattr(tl, name)((2, 3)).shape == (2, 3)
        assert getattr(tl, name)(2, requires_grad=True).requires_grad
    assert tl.zeros(2, 3, dtype="float32").dtype == tl.zeros((2, 3), np.float32).dtype == np.float32
    assert tl.full(2, 3).tolist() == [3, 3]
    assert tl.ones(2, device="cpu").shape == tl.tensor([1.0, 1.0], device="cpu").shape
    assert tl.arange(3.0, requires_grad=True).requires_grad
    with pytest.raises(LessonError):
        tl.zeros((10**6, 10**6, 10**6))


def test_element_types_and_numbers_have_numpys_names():
    assert (tl.float32, tl.newaxis, tl.pi, tl.inf) == (np.float32, None, np.pi, np.inf)
    assert Tensor([1], dtype=tl.float32).dtype == "float32"
    assert "float32" in dir(tl)


def test_more_that_an_array_tells_of_itself():
    x, n = Tensor(A), Tensor([5, 2])
    assert (x.item(4), x.item(1, 2)) == (5.0, 6.0)
    assert x.tobytes() == A.tobytes()
    assert (x.is_complex(), x.is_signed(), x.nelement(), x.is_cuda) == (False, True, 6, False)
    assert complex(Tensor(2.5)) == 2.5 + 0j
    assert divmod(13, n)[0].tolist() == [2, 6]
    assert divmod(13, n)[1].tolist() == [3, 1]
    assert [(n << 2).tolist(), (n >> 1).tolist(), (1 << n).tolist(), (64 >> n).tolist()] == [
        [20, 8], [2, 1], [32, 4], [2, 16],
    ]  # fmt: skip
    assert x.new_zeros(2, 2).tolist() == [[0, 0], [0, 0]]
    assert x.new_full((2,), 7.0).tolist() == [7, 7]
    assert x.new_tensor([1, 2]).dtype == x.new_ones((2,)).dtype == np.float64
    assert (x.allclose(A), x.count_nonzero().item(), x.argwhere().shape) == (True, 6, (6, 2))
    assert np.lexsort((x[0], x[1])).tolist() == [0, 1, 2]
    assert np.result_type(leaf(), np.float32) == np.float64


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (lambda x: x.kthvalue(2), r"try x.sort\(dim=-1\), which gives values"),
        (lambda x: x.addbmm(x, x), r"try x \+ \(a @ b\)"),
        (lambda x: x.scatter_reduce(0, 1, 2), "try x.at"),
        (lambda x: x.median(), "where PyTorch takes the lower one"),
        (lambda x: x.data_ptr(), "try x.numpy"),
        (lambda x: tl.load("w"), r"write np.load\(file\)"),
        (lambda x: tl.nn.Module(), "write a dataclass of tensors"),
        (lambda x: tl.nn.Linear(2, 3).eval(), "write model\\(x, is_train=False\\)"),
        (lambda x: tl.optim.SGD([x], 0.1).param_groups, "write opt.learning_rate = 0.01"),
        (lambda x: tl.optim.AdamW([x]), r"write Adam\(params, lr\)"),
        (lambda x: x.at[0].max(1.0), r"write x.at\[i\].set"),
        (lambda x: tl.cuda.is_available(), r"write tl.gpu\(0\)"),
        (lambda x: tl.linalg.eigvals(x), "write np.linalg.eigvalsh"),
        (lambda x: tl.polygamma(x, x), "Polygamma: n is Tensor"),
        (lambda x: tl.nn.Flatten1(2), "functions are in tl"),
        (lambda x: tl.ones((2, 2)).split([1, 1]), r"is \(1, 1\), expected at least 1"),
    ],
)
def test_what_is_not_here_says_what_to_write(look, told):
    with pytest.raises((AttributeError, AttributeValueError), match=told):
        look(leaf())
