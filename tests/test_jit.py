"""`jit`: the same numbers as without, gradients inside and outside, and clear words where it cannot."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.errors import GraphError, LessonError


@pytest.fixture(params=["numpy", "vm"])
def runner(request):
    if request.param == "vm":
        pytest.importorskip("numba", reason="the interpreter is an extra: pip install '.[fast]'")
    return request.param


def chain(x):
    return tl.sum(tl.tanh(x) * tl.exp(-x * x) + tl.log(1 + x * x))


def numbers(*shape, dtype=np.float64, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_traced_function_gives_what_the_function_gives(runner, dtype):
    f = tl.jit(chain, runner=runner)
    for seed in (0, 1):  # the second run must not replay the first one's numbers
        x = numbers(3, 4, dtype=dtype, seed=seed)
        found = f(tl.Tensor(x))
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), chain(tl.Tensor(x)).numpy(), rtol=1e-5)


def test_gradient_outside(runner):
    x = numbers(5)
    found = tl.grad(tl.jit(chain, runner=runner))(tl.Tensor(x))
    np.testing.assert_allclose(found.numpy(), tl.grad(chain)(tl.Tensor(x)).numpy(), rtol=1e-12)


def test_gradient_inside(runner):
    x = numbers(5)
    value, gradient = tl.jit(tl.value_and_grad(chain), runner=runner)(tl.Tensor(x))
    np.testing.assert_allclose(value.numpy(), chain(tl.Tensor(x)).numpy())
    np.testing.assert_allclose(gradient.numpy(), tl.grad(chain)(tl.Tensor(x)).numpy(), rtol=1e-12)


def test_gradient_of_a_gradient_through_and_inside(runner):
    x, expected = numbers(4), None
    for f in (chain, tl.jit(chain, runner=runner)):
        twice = tl.grad(lambda x, f=f: (tl.grad(f)(x) ** 2).sum())(tl.Tensor(x)).numpy()
        expected = twice if expected is None else expected
        np.testing.assert_allclose(twice, expected, rtol=1e-10)
    inside = tl.jit(tl.grad(lambda x: (tl.grad(chain)(x) ** 2).sum()), runner=runner)(tl.Tensor(x))
    np.testing.assert_allclose(inside.numpy(), expected, rtol=1e-10)


def test_backward_reaches_the_leaves_through_several_results():
    f = tl.jit(lambda a, b: (a @ b, a * 2))
    a, b = (tl.Tensor(numbers(3, 3, seed=i), requires_grad=True) for i in (0, 1))
    y, z = f(a, b)
    (y.sum() + (z * z).sum()).backward()
    np.testing.assert_allclose(b.grad.numpy(), a.numpy().T @ np.ones((3, 3)))
    np.testing.assert_allclose(a.grad.numpy(), np.ones((3, 3)) @ b.numpy().T + 8 * a.numpy())


def test_results_come_in_the_form_in_which_the_function_gives_them():
    x = tl.Tensor([1.0, 2.0])
    assert isinstance(tl.jit(lambda x: [x, -x])(x), list)
    assert list(tl.jit(lambda x: {"up": x, "down": -x})(x)) == ["up", "down"]
    np.testing.assert_array_equal(tl.jit(lambda x: (x, x + 1))(x)[1].numpy(), [2, 3])


def test_it_is_traced_once_per_shape_type_and_plain_argument():
    traces = []

    def f(x, power):
        traces.append((x.shape, x.dtype, power))
        return x**power

    g = tl.jit(f)
    for x in (numbers(2), numbers(2), numbers(3), numbers(2).astype(np.float32)):
        for power in (2, 3):
            np.testing.assert_allclose(g(x, power).numpy(), x**power, rtol=1e-6)
    assert len(traces) == 6
    for n in range(100):
        g(numbers(2), n)
    assert len(g.programs) <= 64


def test_results_are_the_callers_own():
    f = tl.jit(lambda x: x + 1)
    first = f(tl.Tensor([1.0]))
    f(tl.Tensor([5.0]))
    assert first.numpy() == [2.0]


def test_arrays_from_outside_are_constants():
    w = numbers(3)
    f = tl.jit(lambda x: x * w + tl.Tensor([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(f(tl.Tensor(numbers(3, seed=1))).numpy(), numbers(3, seed=1) * w + 1)


def test_comparisons_and_where_are_traced():
    f = tl.jit(lambda x: tl.where(x > 0, x, 2 * x))
    for seed in (0, 1):
        x = numbers(6, seed=seed)
        np.testing.assert_array_equal(f(tl.Tensor(x)).numpy(), np.where(x > 0, x, 2 * x))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x * float(x.sum()),
        lambda x: x * x.numpy(),
        lambda x: x * x.sum().item(),
    ],
)
def test_a_function_that_looks_at_a_value_is_refused(f):
    with pytest.raises(GraphError, match=r"looks at a value while it is traced.*tl\.where"):
        tl.jit(f)(tl.Tensor([1.0, 2.0]))
    assert float(tl.Tensor([1.0]).sum()) == 1  # and eager tensors go on as before


def test_a_recorded_tensor_from_outside_is_refused():
    w = tl.Tensor([2.0], requires_grad=True)
    with pytest.raises(GraphError, match="pass it as an argument"):
        tl.jit(lambda x: x * w)(tl.Tensor([1.0]))


def test_a_result_that_is_no_tensor_is_refused():
    with pytest.raises(LessonError, match="expected a tensor"):
        tl.jit(lambda x: 3)(tl.Tensor([1.0]))


def test_detached_values_stay_detached():
    f = tl.jit(lambda x: (x * x.detach()).sum())
    np.testing.assert_allclose(tl.grad(f)(tl.Tensor([3.0])).numpy(), [3.0])
