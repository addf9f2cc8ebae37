"""Derivatives of functions, nested as one likes, against formulas and NumPy."""

import collections
import dataclasses

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, grad, hessian, jacobian, jvp, no_grad, value_and_grad, vjp
from tinygrad_lesson.errors import DTypeError, GraphError, ShapeError

A = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 4.0]])
V = np.array([1.0, -2.0, 0.5])


def quadratic(x):
    return 0.5 * (x @ (A @ x))


def test_gradients_of_tensors_are_given_in_order_and_leave_grad_alone():
    x, w = Tensor(3.0, requires_grad=True), Tensor(4.0, requires_grad=True)
    dw, dx = grad(x * x * w, [w, x])
    assert (dw.item(), dx.item()) == (9, 24)
    assert x.grad is None
    assert grad(x * 2, x)[0].item() == 2
    assert grad(x * 2, [w])[0].numpy() == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: grad(x * x, [Tensor(1.0)]), GraphError, "tensor 0 was not recorded"),
        (lambda x: grad(x * x, [x, 1.0]), GraphError, "tensor 1 was not recorded"),
        (lambda x: grad(x.detach() * 2, [x]), GraphError, "grad: this tensor was computed without recording"),
        (lambda x: grad(3.0), DTypeError, r"expected a Tensor or a function, not 3\.0"),
        (
            lambda x: grad(lambda t: t * np.ones(2))(1.0),
            ShapeError,
            r"gave \(2,\), expected a tensor with one",
        ),
        (
            lambda x: grad(lambda t: None)(1.0),
            DTypeError,
            "gave None, expected a Tensor or a number: is a `return` missing",
        ),
        (lambda x: grad(lambda t: t * t)(3), DTypeError, "a tensor of int64 has no gradient"),
        (lambda x: grad(x * np.ones(2), [x]), ShapeError, r"a result of shape \(2,\) needs its own gradient"),
        (
            lambda x: jvp(quadratic, [V], [np.ones(2)]),
            ShapeError,
            r"the tangents are \(2,\), expected \(3,\)",
        ),
        (
            lambda x: jvp(quadratic, [V], [V, V]),
            ShapeError,
            "2 tangents are given for 1 inputs",
        ),
    ],
)
def test_an_error_says_what_is_missing(make, error, message):
    with pytest.raises(error, match=message):
        make(Tensor(2.0, requires_grad=True))


def test_a_gradient_function_takes_any_arguments_by_number():
    f = lambda a, b, power=1: a**power * b  # noqa: E731
    assert grad(f)(2.0, 5.0).item() == 5
    assert grad(f, 1)(2.0, 5.0, power=3).item() == 8
    assert [g.item() for g in grad(f, (1, 0))(2.0, 5.0, power=2)] == [4, 20]
    value, (da,) = value_and_grad(f, (0,))(2.0, 5.0)
    assert (value.item(), da.item()) == (10, 5)
    assert not value.requires_grad
    assert not da.requires_grad


@pytest.mark.parametrize(("order", "expected"), list(enumerate([16, 32, 48, 48, 24, 0])))
def test_derivatives_of_any_order_are_right(order, expected):
    f = lambda x: x**4  # noqa: E731
    for _ in range(order):
        f = grad(f)
    assert f(Tensor(2.0)).item() == expected


@pytest.mark.parametrize(
    ("f", "third"),
    [
        (tl.tanh, lambda x: (6 * np.tanh(x) ** 2 - 2) * (1 - np.tanh(x) ** 2)),
        (tl.exp, np.exp), (tl.log, lambda x: 2 / x**3), (tl.sqrt, lambda x: 3 / 8 * x**-2.5),
        (lambda x: 1 / x, lambda x: -6 / x**4), (lambda x: x**2.5, lambda x: 15 / 8 * x**-0.5),
        (lambda x: 2**x, lambda x: np.log(2) ** 3 * 2**x), (tl.expm1, np.exp), (tl.rsqrt, lambda x: -15 / 8 * x**-3.5),
    ],
)  # fmt: skip
def test_third_derivatives_are_those_of_calculus(f, third):
    assert grad(grad(grad(f)))(0.7).item() == pytest.approx(third(0.7))


def test_a_created_graph_is_differentiated_again():
    x = Tensor(V, requires_grad=True)
    (dx,) = grad((x * x * x).sum(), [x], create_graph=True)
    np.testing.assert_allclose(dx.numpy(), 3 * V**2)
    ((dx * dx).sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), 36 * V**3)


def test_a_cotangent_may_itself_be_differentiated():
    x, g = Tensor(V, requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    (dx,) = grad(x * x, [x], gradient=g, create_graph=True)
    np.testing.assert_allclose(grad(dx.sum(), [g])[0].numpy(), 2 * V)


def test_vjp_and_jvp_are_two_sides_of_one_matrix():
    f = lambda x, y: tl.tanh(A @ x) * y.sum()  # noqa: E731
    x, y, g = V, np.array([1.0, 2.0]), np.array([1.0, 0.0, -1.0])
    value, pull = vjp(f, x, y)
    slope = (1 - np.tanh(A @ V) ** 2)[:, None] * A * 3
    np.testing.assert_allclose(value.numpy(), np.tanh(A @ V) * 3)
    dx, dy = pull(g)
    np.testing.assert_allclose(dx.numpy(), g @ slope)
    np.testing.assert_allclose(dy.numpy(), np.full(2, g @ np.tanh(A @ V)))
    value, tangent = jvp(f, [x, y], [V, np.array([1.0, 1.0])])
    np.testing.assert_allclose(value.numpy(), np.tanh(A @ V) * 3)
    np.testing.assert_allclose(tangent.numpy(), slope @ V + 2 * np.tanh(A @ V))


def test_jacobians_hold_every_derivative():
    np.testing.assert_allclose(jacobian(lambda x: A @ x, V).numpy(), A)
    dx, dy = jacobian(lambda x, y: x.reshape(3, 1) * y, V, np.array([1.0, 2.0]))
    assert (dx.shape, dy.shape) == ((3, 2, 3), (3, 2, 2))
    np.testing.assert_allclose(dx.numpy(), np.eye(3)[:, None] * np.array([1.0, 2.0])[:, None])
    np.testing.assert_allclose(dy.numpy(), V[:, None, None] * np.eye(2))
    assert jacobian(quadratic, V).shape == (3,)
    assert jacobian(lambda x: x[3:], V).shape == (0, 3)


def test_hessians_are_those_of_calculus():
    np.testing.assert_allclose(hessian(quadratic, V).numpy(), (A + A.T) / 2)
    x = np.array([1.0, 1.0])
    rosenbrock = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2  # noqa: E731
    np.testing.assert_allclose(hessian(rosenbrock, x).numpy(), [[802, -400], [-400, 200]])
    assert hessian(lambda x: (x * x).sum(), np.ones((2, 3))).shape == (2, 3, 2, 3)


def test_a_hessian_times_a_vector_comes_from_nesting_either_way():
    f = lambda x: tl.exp(quadratic(x) * 0.1)  # noqa: E731
    expected = hessian(f, V).numpy() @ V
    forward_over_reverse = jvp(grad(f), [V], [V])[1]
    reverse_over_forward = grad(lambda x: jvp(f, [x], [V])[1])(V)
    reverse_over_reverse = grad(lambda x: (grad(f)(x) * V).sum())(V)
    for found in (forward_over_reverse, reverse_over_forward, reverse_over_reverse):
        np.testing.assert_allclose(found.numpy(), expected)


def test_nested_derivatives_do_not_confuse_their_variables():
    # Siskind and Pearlmutter 2005: d/dx (x * d/dy (x + y)) = 1
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0).item() == 1
    assert grad(lambda x: x * grad(lambda y: x + y)(x))(1.0).item() == 1
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(3.0).item() == 6
    assert grad(lambda x: jvp(lambda y: x * y, [x], [x])[1])(3.0).item() == 6
    assert grad(lambda x: vjp(lambda y: x * y * y, x)[1](1.0)[0])(3.0).item() == 4 * 3


def test_an_inner_derivative_depends_on_what_its_function_captured():
    assert grad(lambda x: grad(lambda y: x * y * y)(3.0))(2.0).item() == 6
    assert grad(lambda x: jacobian(lambda y: x * y, V).sum())(2.0).item() == 3
    w = Tensor(2.0, requires_grad=True)
    grad(lambda y: w * w * y * y)(5.0).backward()
    assert w.grad.item() == 2 * 2 * 2 * 5


def test_derivatives_can_be_taken_inside_no_grad_but_are_not_recorded_there():
    x = Tensor(3.0, requires_grad=True)
    with no_grad():
        dx = grad(lambda t: t * t)(x)
        assert jvp(lambda t: t * t, [x], [1.0])[1].item() == 6
        assert grad(grad(lambda t: t * t * t))(x).item() == 18
    assert dx.item() == 6
    assert not dx.requires_grad


def test_a_function_that_does_not_depend_on_its_argument_has_derivative_zero():
    assert grad(lambda x: Tensor(3.0))(1.0).item() == 0
    assert hessian(lambda x: x.sum(), V).numpy().tolist() == np.zeros((3, 3)).tolist()
    assert jvp(lambda x: Tensor(V), [V], [V])[1].numpy().tolist() == [0, 0, 0]


def test_derivatives_stay_in_float32():
    x = V.astype(np.float32)
    f = lambda x: (tl.tanh(x) ** 2).sum()  # noqa: E731
    for y in (grad(f)(x), hessian(f, x), jvp(f, [x], [x])[1], jacobian(tl.tanh, x)):
        assert y.dtype == np.float32


def net(w, x):
    return tl.sum(tl.tanh(w * x))


def of_x(w):
    return lambda x: net(w, x)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda w: tl.sum(grad(of_x(w))(V) ** 2), lambda w: tl.sum(grad(lambda w: net(w, V))(w) ** 2),
        lambda w: value_and_grad(of_x(w))(V)[0] + tl.sum(value_and_grad(of_x(w))(V)[1] ** 2),
        lambda w: tl.sum(vjp(lambda x: tl.tanh(w * x), V)[1](np.ones(3))[0] ** 2),
        lambda w: tl.sum(jvp(lambda x: tl.tanh(w * x), [V], [V])[1] ** 2), lambda w: jvp(of_x(w), [V], [V])[1] ** 2,
        lambda w: jvp(lambda w: net(w, V), [w], [V])[1] ** 2, lambda w: tl.sum(jacobian(lambda x: tl.tanh(w * x), V) ** 2),
        lambda w: tl.sum(hessian(of_x(w), V) ** 2), lambda w: tl.sum(grad(lambda x: grad(of_x(w))(x).sum())(V) ** 2),
    ],
)  # fmt: skip
def test_a_loop_over_a_penalty_on_a_derivative_keeps_no_graph(penalty):
    w = tensor = Tensor(np.array([0.5, -0.3, 0.2]))
    for _ in range(20):
        tensor = tensor - 0.01 * grad(penalty)(tensor)
        assert tensor.node is None
    h, expected = 1e-5, w.numpy()  # the same by differences
    for _ in range(20):
        slopes = [
            (penalty(Tensor(expected + u)).item() - penalty(Tensor(expected - u)).item()) / (2 * h)
            for u in h * np.eye(3)
        ]
        expected = expected - 0.01 * np.array(slopes)
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-5)


def test_a_penalty_on_a_derivative_is_still_recorded_for_a_leaf_that_asks():
    w = Tensor(0.7, requires_grad=True)
    y = grad(lambda x: w * w * x * x)(3.0)  # 2 w^2 x
    y.backward()
    assert w.grad.item() == pytest.approx(4 * 0.7 * 3)


# Trees, several arguments and results.


@dataclasses.dataclass
class Layer:
    """Weights, and what is none."""

    w: object
    b: object
    name: str = "layer"


Pair = collections.namedtuple("Pair", "a b")


def test_a_gradient_is_built_like_its_argument():
    x = np.array([[1.0, 2.0]])
    params = {"first": Layer(A[:2], np.zeros(3)), "rest": [Pair(A[0], 2.0), (None, 3, "relu")]}

    def f(p, x):
        y = tl.tanh(x @ p["first"].w + p["first"].b) * p["rest"][0].a
        return (y * p["rest"][0].b).sum()

    g = grad(f)(params, x)
    inner = np.tanh(x @ A[:2])
    slope = 2 * A[0] * (1 - inner**2)
    np.testing.assert_allclose(g["first"].w.numpy(), x.T @ slope)
    np.testing.assert_allclose(g["first"].b.numpy(), slope[0])
    np.testing.assert_allclose(g["rest"][0].a.numpy(), 2 * inner[0])
    np.testing.assert_allclose(g["rest"][0].b.item(), (inner * A[0]).sum())
    assert g["first"].name is None
    assert g["rest"][1] == (None, None, None)
    both = grad(f, argnums=(1, 0))(params, x)
    np.testing.assert_allclose(both[0].numpy(), slope @ A[:2].T)
    np.testing.assert_allclose(both[1]["first"].b.numpy(), slope[0])


def test_lists_of_numbers_alone_are_an_array():
    assert grad(lambda x: (x * x).sum())([1.0, 2.0]).numpy().tolist() == [2, 4]
    found = grad(lambda x: (x[0] * x[1]).sum())([np.array([1.0]), np.array([2.0, 3.0])])
    assert [g.numpy().tolist() for g in found] == [[5], [1, 1]]


def test_a_gradient_of_a_tree_is_differentiated_again():
    slope = lambda a: grad(lambda d: d["a"] ** 3 * d["b"])({"a": a, "b": 2.0})["a"]  # noqa: E731
    assert grad(slope)(2.0).item() == 2 * 6 * 2


def test_a_function_may_give_more_than_its_result():
    f = lambda x: (x**2, {"cube": x**3, "text": "t"})  # noqa: E731
    g, more = grad(f, has_aux=True)(2.0)
    assert (g.item(), more["cube"].item(), more["text"]) == (4, 8, "t")
    assert not more["cube"].requires_grad
    (value, more), g = value_and_grad(f, has_aux=True)(2.0)
    assert (value.item(), more["cube"].item(), g.item()) == (4, 8, 4)
    with pytest.raises(DTypeError, match=r"has_aux: the function gave Tensor.*expected a pair"):
        grad(lambda x: x * x, has_aux=True)(1.0)


def test_an_argument_may_be_asked_for_twice_and_from_the_end():
    f = lambda x, y: x * x * y  # noqa: E731
    assert [g.item() for g in grad(f, (0, 0, -1, -2))(3.0, 5.0)] == [30, 30, 9, 30]


def test_a_missing_argument_is_named():
    with pytest.raises(ShapeError, match="argument 2 is asked for, and 1 are given by position"):
        grad(lambda x: x * x, argnums=2)(1.0)


def test_a_pullback_takes_and_gives_trees():
    y, pull = vjp(lambda p, x: (p["w"] * x, {"sum": p["w"].sum()}), {"w": V, "n": np.array([3])}, V)
    np.testing.assert_allclose(y[0].numpy(), V * V)
    dp, dx = pull((A[0], {"sum": 2.0}))
    np.testing.assert_allclose(dp["w"].numpy(), A[0] * V + 2)
    np.testing.assert_allclose(dx.numpy(), A[0] * V)
    assert dp["n"] is None
    with pytest.raises(DTypeError, match="is not built like"):
        pull(A[0])
    with pytest.raises(ShapeError, match=r"the gradient is \(2,\), expected \(3,\)"):
        pull((np.ones(2), {"sum": 1.0}))


def test_derivatives_of_functions_are_functions():
    f = lambda x, y: (x**2 * y).sum()  # noqa: E731
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    np.testing.assert_allclose(jacobian(lambda x: x**2)(x).numpy(), np.diag(2 * x))
    np.testing.assert_allclose(jacobian(lambda x, y: x * y, argnums=1)(x, y).numpy(), np.diag(x))
    np.testing.assert_allclose(hessian(f)(x, y).numpy(), np.diag(2 * y))
    blocks = hessian(f, x, y)
    expected = [[np.diag(2 * y), np.diag(2 * x)], [np.diag(2 * x), np.zeros((2, 2))]]
    np.testing.assert_allclose([[b.numpy() for b in row] for row in blocks], expected)
    again = hessian(f, argnums=(0, 1))(x, y)
    np.testing.assert_allclose([[b.numpy() for b in row] for row in again], expected)


def test_a_hessian_is_multiplied_without_being_made():
    f = lambda x: tl.sum(tl.exp(x) * x[0] * x[2])  # noqa: E731
    v = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(tl.hvp(f, V, v).numpy(), hessian(f, V).numpy() @ v)
    pair = tl.hvp(lambda x, y: (x**2 * y).sum(), (V, A[0]), (v, v))
    np.testing.assert_allclose(pair[0].numpy(), 2 * A[0] * v + 2 * V * v)
    np.testing.assert_allclose(pair[1].numpy(), 2 * V * v)
    with pytest.raises(ShapeError, match="1 vectors for 2 inputs"):
        tl.hvp(lambda x, y: x * y, (V, V), (V,))


def test_cotangents_of_several_results_may_be_plain_numbers():
    pull = vjp(lambda x: (x.sum(), [x.prod()]), V)[1]
    np.testing.assert_allclose(pull((2.0, [3]))[0].numpy(), 2 + 3 * V.prod() / V)
    pull = vjp(lambda x: (x.sum(), x.prod()), V)[1]
    np.testing.assert_allclose(pull((2.0, 3.0))[0].numpy(), 2 + 3 * V.prod() / V)


def test_the_slope_of_a_standard_deviation_is_zero_where_all_are_equal():
    assert grad(lambda x: x.std())(np.full(3, 2.0)).numpy().tolist() == [0, 0, 0]
    assert grad(lambda x: np.nanstd(x))(np.array([2.0, np.nan, 2.0])).numpy().tolist() == [0, 0, 0]
    found = grad(lambda x: x.std(1).sum())(np.array([[1.0, 3.0], [2.0, 2.0]])).numpy()
    assert found.tolist() == [[-0.5, 0.5], [0, 0]]


def test_the_derivative_of_a_constant_is_zero():
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert float(grad(lambda x: 3.0)(1.0)) == 0
    assert grad(lambda x, y: np.sum(x), 1)(a, b).tolist() == [0, 0]
    assert [float(y) for y in tl.value_and_grad(lambda x: 3)(1.0)] == [3, 0]
    assert [float(y) for y in tl.jvp(lambda x: 3.0, [1.0], [1.0])] == [3, 0]
    assert tl.jacobian(lambda x: b, a).tolist() == [[0, 0], [0, 0]]
    assert tl.hessian(lambda x: 3.0, a).tolist() == [[0, 0], [0, 0]]
    assert float(tl.grad(tl.grad(lambda x: 2.0 * x))(1.0)) == 0
