"""`mx.nd` and `mx.autograd`: what MXNet 1.9.1 gives, which `record_arrays.py` has written down, and what is ours."""

import copy
import gc
import json
import pickle
import threading
import weakref

import numpy as np
import pytest
from golden import DATA
from record_arrays import lines, value

import tinygrad_lesson as tl
from tinygrad_lesson import mx
from tinygrad_lesson.errors import BindError, FormatError, GraphError, LessonError, ShapeError
from tinygrad_lesson.mx import autograd, nd
from tinygrad_lesson.mxnet.params import load_params

RECORDED = json.loads((DATA / "mx_arrays.json").read_text())


def assert_same(found, expected):
    """Compare values as `record_arrays.plain` writes them."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        assert (found["dtype"], found["shape"]) == (expected["dtype"], expected["shape"])
        np.testing.assert_allclose(found["values"], expected["values"], rtol=2e-6, atol=1e-7)
    elif isinstance(expected, str) and expected.startswith("refused"):
        assert found.startswith("refused")
    else:
        assert found == expected


@pytest.mark.parametrize("line", RECORDED)
def test_arrays_do_what_those_of_mxnet_do(line):
    assert_same(value(line, mx), RECORDED[line])


def test_every_case_is_recorded():
    assert lines() == list(RECORDED)


def recorded(function, *arrays):
    """Its result, recorded, and the arrays as variables."""
    for x in arrays:
        x.attach_grad()
    with autograd.record():
        return function(*arrays)


def test_what_a_graph_has_recorded_does_not_change():
    x = nd.array([1, 2])
    y = recorded(lambda x: x * x, x)
    z = y.copy()
    y[:] = 100
    x[:] = 100
    with autograd.record():
        w = y * 1
    assert w.asnumpy().tolist() == [100, 100]
    x[:] = [1, 2]
    y = recorded(lambda x: x * x * x, x)
    y.detach()[:] = 9
    assert y.asnumpy().tolist() == [1, 8]
    x[:] = 7
    y.backward()
    assert x.grad.asnumpy().tolist() == [3, 12]
    assert z.asnumpy().tolist() == [1, 4]


def test_large_arrays_are_recorded_as_they_were():
    x = nd.ones((100, 100))
    y = recorded(lambda x: x * x, x)
    x *= 5
    y.backward()
    assert (x.grad.asnumpy() == 2).all()


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(0)
    a, b = (nd.array(rng.normal(size=(3, 4)), dtype="float64") for _ in range(2))

    def f(a, b):
        h = nd.tanh(a) * b + nd.exp(-a * a).sum(axis=0)
        return nd.softmax(h, axis=1)[1:, [0, 2]].mean() + 2 ** a.max() % 7

    recorded(f, a, b).backward()
    for x in (a, b):
        for place in ((0, 0), (1, 2), (2, 3)):
            told, sides = x.grad[place].asscalar(), []
            for step in (1e-6, -2e-6):
                x[place] = x[place] + step
                sides.append(f(a, b).asscalar())
            x[place] = x[place] + 1e-6
            np.testing.assert_allclose(told, (sides[0] - sides[1]) / 2e-6, rtol=1e-6, atol=1e-9)


def test_a_graph_is_let_go_by_backward_and_with_its_results():
    x = nd.ones(3)
    h = recorded(lambda x: x * 2, x)
    node = weakref.ref(h.tensor.node)
    with autograd.record():
        y = h * 3
    del h
    assert node() is not None
    y.backward()
    gc.collect()
    assert node() is None
    with pytest.raises(mx.MXNetError, match="retain_graph=True"):
        y.backward()


def test_threads_record_on_their_own():
    seen = []
    with autograd.record():
        thread = threading.Thread(target=lambda: seen.append(autograd.is_recording()))
        thread.start()
        thread.join()
        assert autograd.is_recording()
    assert seen == [False]


def test_modes_end_with_their_block_after_an_error_too():
    with pytest.raises(ZeroDivisionError), autograd.record():
        1 / 0
    assert (autograd.is_recording(), autograd.is_training()) == (False, False)
    assert autograd.set_recording(True) is False
    assert autograd.set_recording(False) is True


def test_memory_is_shared_with_numpy_and_with_executors():
    source = np.zeros(3, np.float32)
    x = nd.from_numpy(source)
    x[1] = 5
    assert source.tolist() == [0, 5, 0]
    assert np.shares_memory(np.asarray(x), source)
    w = nd.ones((2,))
    executor = mx.sym.exp(mx.sym.var("w")).bind(mx.cpu(), {"w": w})
    w[:] = 0
    assert executor.forward()[0].asnumpy().tolist() == [1, 1]
    executor.arg_dict["w"] += 1
    assert w.asnumpy().tolist() == [1, 1]
    executor.outputs[0][:] = 7
    assert nd.ones(2, dtype="float32").copyto(executor.outputs[0]) is executor.outputs[0]
    assert executor.outputs[0].asnumpy().tolist() == [1, 1]
    with pytest.raises(BindError, match="cannot be written"):
        executor.forward()[0][1:][:] = 1


def test_numpy_makes_its_own_arrays_of_them():
    x = nd.array([[1, 4], [9, 16]])
    assert np.sqrt(x).tolist() == [[1, 2], [3, 4]]
    assert type(np.ones(2) + x) is type(x - np.ones(2)) is np.ndarray
    assert np.concatenate([x, x]).shape == (4, 2)
    assert np.mean(x) == 7.5
    assert type(tl.exp(x)) is tl.Tensor


def test_they_are_pickled_and_copied():
    x = nd.array([1, 2], dtype="int32")
    for y in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        y[:] = 3
        assert (y.dtype, x.asnumpy().tolist()) == (np.int32, [1, 2])


def test_files_of_arrays(tmp_path):
    path = tmp_path / "a.params"
    nd.save(path, [nd.ones(2), nd.zeros((1, 2), dtype="int32")])
    first, second = nd.load(path)
    assert (first.asnumpy().tolist(), second.dtype, second.shape) == ([1, 1], np.int32, (1, 2))
    nd.save(path, {"w": nd.ones(2)})
    assert nd.load(path)["w"].asnumpy().tolist() == [1, 1]
    nd.save(path, nd.ones(1))
    assert len(nd.load(path)) == 1
    with pytest.raises(FormatError, match="1 arrays but 0 names"):
        load_params(path)
    with pytest.raises(LessonError, match="needs to either be a NDArray"):
        nd.save(path, [1.0])


def test_the_symbol_of_what_was_recorded_gives_the_same_numbers():
    x = nd.array([[0.5, -1]])
    y = recorded(lambda x: nd.Activation(x * 2 - 1, act_type="tanh").sum(axis=1), x)
    symbol = autograd.get_symbol(y)
    (name,) = symbol.list_arguments()
    assert "Activation" in symbol.tojson()
    np.testing.assert_allclose(symbol.eval(**{name: x})[0].asnumpy(), y.asnumpy(), rtol=1e-6)


def test_custom_operators_take_arrays():
    @mx.operator.register("doubled_in_place")
    class Prop(mx.operator.CustomOpProp):
        def __init__(self):
            super().__init__(need_top_grad=True)

        def create_operator(self, ctx, shapes, dtypes):
            class Doubled(mx.operator.CustomOp):
                def forward(self, is_train, req, in_data, out_data, aux):
                    self.assign(out_data[0], req[0], in_data[0] * 2)

                def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
                    self.assign(in_grad[0], req[0], out_grad[0] * 2)

            return Doubled()

    x = nd.array([1, 2])
    y = recorded(lambda x: nd.Custom(x, op_type="doubled_in_place") * x, x)
    y.backward()
    assert (y.asnumpy().tolist(), x.grad.asnumpy().tolist()) == ([2, 8], [4, 8])


@pytest.mark.parametrize("call", [
    lambda: nd.FullyConnected(nd.ones((1, 2)), num_hidden=2), lambda: nd.exp(np.ones(2)), lambda: nd.exp(),
    lambda: nd.exp(nd.ones(2), nd.ones(2)), lambda: nd.exp(nd.ones(2), wrong=1), lambda: nd.ones(2) + "a",
    lambda: nd.exp(nd.ones(2), out=nd.ones(3)), lambda: nd.ones(2).attach_grad("what"), lambda: nd.nothing,
    lambda: autograd.grad(nd.ones(2), []), lambda: nd.ones(2, ctx=mx.gpu(0)), lambda: nd.ones(2).tostype("csr"),
    lambda: autograd.mark_variables([nd.ones(2)], [nd.ones(3)]), lambda: nd.ones(2).reshape(shape=(2,), what=1),
])  # fmt: skip
def test_what_is_wrong_is_told(call):
    with pytest.raises((LessonError, AttributeError, TypeError)):
        call()


def test_a_function_whose_gradients_do_not_fit_is_told():
    class Short(autograd.Function):
        def forward(self, x, y):
            return x * y

        def backward(self, g):
            return g

    y = recorded(lambda x, y: Short()(x, y), nd.ones(2), nd.ones(2))
    with pytest.raises(GraphError, match="gave 1 gradients for 2 inputs"):
        y.backward()
    x = nd.ones(2)
    y = recorded(lambda x: x * 2, x)
    with pytest.raises(ShapeError, match="head gradient"):
        y.backward(nd.ones(3))


def test_arrays_come_from_the_bytes_of_a_file_too(tmp_path):
    nd.save(tmp_path / "a", {"w": nd.ones(2)})
    data = (tmp_path / "a").read_bytes()
    assert nd.load_frombuffer(data)["w"].asnumpy().tolist() == [1, 1]
    with pytest.raises(FormatError, match="the buffer: byte"):
        nd.load_frombuffer(data[:-3])


def test_a_device_may_hold_for_a_block():
    with mx.cpu(0) as ctx:
        assert nd.ones(1).context == ctx
    with pytest.raises(mx.MXNetError), mx.gpu(0):
        pass


def test_what_only_looks_is_numpys_where_mxnet_has_nothing():
    x = np.array([[0.123, 2.0], [3.0, -4.0]], np.float32)
    a = mx.nd.array(x)
    assert (a == a).all()
    assert f"{a[1, 1]:.2f} {a.sum():.3f} {a[0]}" == f"-4.00 1.123 {a[0]!r}"
    np.testing.assert_array_equal(a.round(1).asnumpy(), x.round(1))
    np.testing.assert_array_equal(a.round().asnumpy(), x.round())
    np.testing.assert_allclose(a.std(), x.std())
    np.testing.assert_array_equal((a @ a).asnumpy(), x @ x)
    np.testing.assert_array_equal(a @ x, x @ x)
    np.testing.assert_array_equal(a // 2, x // 2)
    with pytest.raises(AttributeError, match="asnumpy"):
        a.fill(1)  # it would change a copy
    a.attach_grad()
    with mx.autograd.record():
        y = (a @ a).sum()
    y.backward()
    np.testing.assert_allclose(a.grad.asnumpy(), np.ones((2, 2)) @ x.T + x.T @ np.ones((2, 2)), rtol=1e-6)
