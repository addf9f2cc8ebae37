"""`mx.model.FeedForward` hands out MXNet's arrays and learns what the other one learns."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import mx
from tinygrad_lesson.engine.errors import AttributeValueError


def test_parameters_are_arrays_of_mxnet_and_the_numbers_are_the_same(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.float32)
    net = mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=2, name="fc"), name="softmax")
    models = []
    for kind in (tl.FeedForward, mx.model.FeedForward):
        model = kind(net, num_epoch=3, numpy_batch_size=10, learning_rate=0.5, seed=1)
        model.fit(X, y)
        models.append(model)
    plain, model = models
    for name in ("arg_params", "aux_params"):
        for key, value in getattr(model, name).items():
            assert isinstance(value, mx.nd.NDArray)
            np.testing.assert_array_equal(value.asnumpy(), getattr(plain, name)[key])
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    model.save(str(tmp_path / "m"))
    again = mx.model.FeedForward.load(str(tmp_path / "m"), 3)
    assert isinstance(again.arg_params["fc_weight"], mx.nd.NDArray)
    np.testing.assert_array_equal(again.predict(X), plain.predict(X))
    created = mx.model.FeedForward.create(net, X, y, num_epoch=1)
    assert isinstance(created.arg_params["fc_bias"], mx.nd.NDArray)


def test_a_score_takes_the_metric_second_and_some_batches():
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.float32)
    y[20:] = 1 - y[20:]  # so that the first batches fare otherwise
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
    model = mx.model.FeedForward(mx.sym.SoftmaxOutput(net, name="softmax"), num_epoch=1)
    weight = np.array([[-9, 0, 0], [9, 0, 0]], "f")
    model.arg_params = {"fc_weight": weight, "fc_bias": np.zeros(2, "f")}
    rows = mx.io.NDArrayIter(X, y, batch_size=10)
    assert model.score(rows, "acc", 2) == 1
    assert model.score(rows, "acc") == pytest.approx(0.4)
    assert model.score(X, y=y) == pytest.approx(0.4)
    answers, data, labels = model.predict(mx.io.NDArrayIter(X, y, batch_size=20), return_data=True)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(answers, model.predict(X))
    assert len(model.predict(rows, 2, True)[1]) == 20
    with pytest.raises(AttributeValueError, match="batch_end_callback is not here"):
        model.score(rows, "acc", None, print)


def test_parts_are_written_by_the_operators_of_internal():
    x, out = mx.nd.ones((2, 3)), mx.nd.zeros((2, 3))
    mx.nd._internal._crop_assign(x, mx.nd.zeros((1, 2)), begin=(0, 0), end=(1, 2), out=out)
    assert out.asnumpy().tolist() == [[0, 0, 1], [1, 1, 1]]
    assert x.asnumpy().tolist() == [[1, 1, 1], [1, 1, 1]]
    mx.nd._internal._slice_assign_scalar(x, scalar=5, begin=(1, 0), end=(2, 3), out=x)
    assert x.asnumpy().tolist() == [[1, 1, 1], [5, 5, 5]]


def test_dlpack_shares_the_memory():
    x = mx.nd.zeros((2, 3))
    np.from_dlpack(mx.nd.to_dlpack_for_write(x))[0] = 7
    assert mx.nd.from_dlpack(mx.nd.to_dlpack_for_read(x)).asnumpy().tolist() == [[7, 7, 7], [0, 0, 0]]
