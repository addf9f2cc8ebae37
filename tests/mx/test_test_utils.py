"""`mx.test_utils`: what compares has to see what differs."""

import os
import sys

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.errors import DTypeError
from tinygrad_lesson.mx import test_utils as t


def test_arrays_that_agree_pass_and_others_are_named():
    a = mx.nd.array([[1, 2], [3, 4]])
    t.assert_almost_equal(a, a.asnumpy() * (1 + 1e-5))
    with pytest.raises(AssertionError, match=r"at \(1, 0\): a = 3, b = 3.5"):
        t.assert_almost_equal(a, np.array([[1, 2], [3.5, 4]], np.float32))
    t.assert_almost_equal(np.array([np.nan, 1]), np.array([np.nan, 1]), equal_nan=True)
    with pytest.raises(AssertionError, match=r"at \(0,\)"):
        t.assert_almost_equal(np.array([np.nan, 1]), np.array([np.nan, 1]))
    with pytest.raises(AssertionError, match="shapes"):
        t.assert_almost_equal(np.ones(2), np.ones((1, 2)), use_broadcast=False)
    assert t.almost_equal(np.ones(2), np.ones(2) + 1e-7)
    assert not t.almost_equal(np.ones(2), np.ones(2) + 1e-3)
    assert t.same(a, a.asnumpy())
    assert not t.same(a, a.asnumpy() + 1e-6)


def test_tolerances_are_those_of_the_less_exact_type():
    half, double = np.ones(2, np.float16), np.ones(2) * 1.05
    t.assert_almost_equal(half, double)
    with pytest.raises(AssertionError):
        t.assert_almost_equal(half, double, rtol=1e-3, atol=0)
    with pytest.raises(AssertionError):
        t.assert_almost_equal(np.array([1, 2]), np.array([1, 3]))
    assert t.get_tols(half, double, {np.dtype("float16"): 0.5}, None) == (0.5, 0.1)


def test_a_share_of_elements_may_differ_and_nan_may_be_left_out():
    a, b = np.ones(10), np.ones(10)
    b[0] = 2
    t.assert_almost_equal_with_err(a, b, etol=0.1)
    with pytest.raises(AssertionError):
        t.assert_almost_equal_with_err(a, b, etol=0.05)
    b[0] = np.nan
    t.assert_almost_equal_ignore_nan(a, b)
    b[1] = 3
    with pytest.raises(AssertionError):
        t.assert_almost_equal_ignore_nan(a, b)


def test_arrays_are_made():
    assert t.rand_ndarray((2, 3), dtype="float64").dtype == np.float64
    with pytest.raises(DTypeError, match="csr"):
        t.rand_ndarray((2, 3), "csr")
    assert all(1 <= n <= 4 for _ in range(50) for n in (*t.rand_shape_nd(3, dim=4), *t.rand_shape_2d(4, 4)))
    assert t.random_arrays((2,), (3,))[1].shape == (3,)
    assert t.create_2d_tensor(2, 3).asnumpy().tolist() == [[0] * 3, [1] * 3]
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(t.np_reduce(x, (0, -1), True, np.sum), x.sum((0, 2), keepdims=True))
    np.testing.assert_array_equal(t.collapse_sum_like(x, (3, 1)), x.sum((0, 2)).reshape(3, 1))


def test_symbols_are_run_and_compared():
    x = mx.sym.var("x")
    assert t.simple_forward(mx.sym.exp(x), x=np.zeros(2, np.float32)).tolist() == [1, 1]
    t.check_symbolic_forward(mx.sym.square(x), [mx.nd.array([2, 3])], [np.array([4, 9])])
    with pytest.raises(AssertionError):
        t.check_symbolic_backward(
            mx.sym.square(x), [mx.nd.array([2, 3])], [mx.nd.ones(2)], [np.array([4, 7])]
        )
    t.check_numeric_gradient(mx.sym.square(x), [mx.nd.array([2, 3])], numeric_eps=1e-3, rtol=1e-2)
    assert t.same_symbol_structure(mx.sym.exp(x), mx.sym.exp(mx.sym.var("y")))
    assert not t.same_symbol_structure(mx.sym.exp(x), mx.sym.log(x))
    a = mx.nd.ones((2, 2))
    assert t.same_array(a, a[0])
    assert not t.same_array(a, a.copy())


def test_optimizers_are_compared():
    opt = mx.optimizer
    t.compare_optimizer(opt.SGD(0.1, momentum=0.9), opt.SGD(0.1, momentum=0.9), (2, 3), "float32")
    with pytest.raises(AssertionError):
        t.compare_optimizer(opt.SGD(0.1), opt.SGD(0.2), (2, 3), "float32")


def test_what_is_around_a_test(capsys, monkeypatch):
    monkeypatch.setenv("MX_ONE", "1")
    with t.environment({"MX_ONE": None, "MX_TWO": "2"}):
        assert (os.environ.get("MX_ONE"), os.environ["MX_TWO"]) == (None, "2")
    assert (os.environ["MX_ONE"], os.environ.get("MX_TWO")) == ("1", None)
    with t.discard_stderr():
        print("lost", file=sys.stderr)
    assert capsys.readouterr().err == ""
    tries = []

    @t.retry(3)
    def shaky():
        tries.append(1)
        assert len(tries) == 3

    shaky()
    with pytest.raises(AssertionError):
        t.retry(2)(lambda: t.assert_almost_equal(1.0, 2.0))()
    t.assert_exception(lambda: mx.nd.ones(2)[5], IndexError)
    with pytest.raises(AssertionError):
        t.assert_exception(lambda: None, ValueError)


def test_a_star_brings_what_scripts_do_not_import_themselves():
    found = {}
    exec("from tinygrad_lesson.mx.test_utils import *", found)
    assert found["np"] is np
    assert found["mx"].nd.array is found["array"]
    assert found["current_context"]() == found["Context"]("cpu", 0)
    assert {"os", "sys", "time", "json", "logging", "assert_almost_equal"} <= found.keys()
