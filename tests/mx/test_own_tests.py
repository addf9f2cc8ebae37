"""What MXNet's own tests ask for beside operators: sizes that are not known, what only arrays have, helpers of tests."""

import json
import warnings

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.errors import ShapeError
from tinygrad_lesson.mx import test_utils as t

X = mx.sym.Variable("x")
RROI = [
    [[[38.578369140625, 33.12740707397461], [46.87259292602539, 41.421634674072266]]],
    [[[28.698841094970703, 55.78132247924805], [0.0, 16.313762664794922]]],
]


def test_under_np_shape_an_unknown_size_is_minus_1_and_an_unknown_shape_none():
    y = mx.sym.transpose(X, axes=(0, 2, 1))
    assert y.infer_shape_partial(x=(0, 3, 4))[1] == [(0, 4, 3)]
    with mx.np_shape():
        assert mx.is_np_shape()
        assert y.infer_shape_partial(x=(-1, 3, 4))[1] == [(-1, 4, 3)]
        assert y.infer_shape_partial()[1] == [None]
        assert y.infer_shape(x=(0, 3, 4))[1] == [(0, 4, 3)]
        assert y.infer_shape(x=(-1, 3, 4)) == (None, None, None)
        with mx.np_shape(False):
            assert y.infer_shape_partial()[1] == [()]
    assert not mx.is_np_shape()
    assert mx.util.use_np_shape(mx.is_np_shape)()
    assert mx.set_np_shape(True) is False
    assert mx.set_np_shape(False) is True
    with pytest.raises(ShapeError, match="0 for an unknown one"):
        y.infer_shape(x=(-1, 3, 4))


@pytest.mark.parametrize(
    "name", ["asnumpy", "asscalar", "backward", "detach", "as_in_context", "copy", "wait_to_read", "__bool__"]
)
def test_what_only_arrays_have_is_refused_by_a_symbol(name):
    with pytest.raises(mx.base.NotImplementedForSymbol, match="<Symbol x>: a Symbol is an expression"):
        getattr(X, name)()


def test_sizes_are_learnt_from_a_part_of_a_split():
    a = mx.sym.Variable("a", shape=(0, 15, 0))
    total = mx.sym.SliceChannel(a, num_outputs=3)[1] + mx.sym.Variable("c", shape=(3, 5, 2))
    assert total.infer_shape()[0] == [(3, 15, 2), (3, 5, 2)]
    a = mx.sym.Variable("a", shape=(0, 10))
    total = mx.sym.SliceChannel(a, num_outputs=10, axis=1, squeeze_axis=True)[1] + mx.sym.Variable(
        "c", shape=(5,)
    )
    assert total.infer_shape()[0] == [(5, 10), (5,)]


def test_an_image_is_learnt_from_a_convolution_where_windows_lie_side_by_side():
    a = mx.sym.Variable("a", shape=(0, 10, 0, 0))
    made = {"num_filter": 21, "kernel": (3, 3), "dilate": (2, 1), "pad": (2, 1)}
    total = mx.sym.Convolution(a, **made) + mx.sym.Variable("c", shape=(5, 21, 32, 30))
    assert total.infer_shape()[0][0] == (5, 10, 32, 30)
    total = mx.sym.Convolution(a, **made, stride=(2, 1)) + mx.sym.Variable("c", shape=(5, 21, 32, 30))
    assert total.infer_shape_partial()[0][0] == (5, 10, 0, 30)


def test_a_shape_is_learnt_from_the_right_hand_side():
    w, shift = mx.sym.Variable("weight"), mx.sym.Variable("shift", shape=(1,))
    wt = mx.sym._internal._identity_with_attr_like_rhs(mx.sym.broadcast_add(w, shift), w)
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), weight=wt, num_hidden=11, no_bias=True)
    assert dict(zip(net.list_arguments(), net.infer_shape(data=(7, 100))[0], strict=True))["weight"] == (
        11,
        100,
    )


def test_types_that_are_not_known_are_none():
    net = mx.sym.FullyConnected(X, num_hidden=2)
    assert net.infer_type_partial() == ([None] * 3, [None], [])
    assert net.infer_type_partial(x="float64")[0] == [np.float64] * 3


def test_functions_of_two_numbers_give_one():
    assert (mx.sym.pow(2, 3), mx.sym.maximum(2, 3), mx.sym.minimum(2, 3), mx.sym.hypot(3, 4)) == (8, 3, 2, 5)


def test_the_head_alone_has_variables_for_inputs():
    net = mx.sym.FullyConnected(mx.sym.relu(X), num_hidden=2, name="fc", attr={"__mood__": "happy"})
    assert net._gen_atomic_symbol().list_arguments() == ["fc_data", "fc_weight", "fc_bias"]
    net._set_attr(mood="calm")
    assert net.attr("mood") == "calm"


def test_memory_is_told_before_the_first_run():
    square = X
    for _ in range(5):
        square = square * square

    def taken(net, **named):
        text = net.simple_bind(mx.cpu(), x=(10, 3, 256, 256), **named).debug_str()
        return int(text.rpartition("Total ")[2].split()[0])

    assert taken(square) > taken(square, grad_req="null")
    assert taken(mx.sym.stop_gradient(square)) == taken(square, grad_req="null")


def test_a_picture_of_two_variables_of_one_name_warns():
    one, two = (mx.sym.FullyConnected(x, name="fc", num_hidden=3) for x in (X, mx.sym.relu(X)))
    with pytest.warns(
        UserWarning, match="multiple variables with the same name in your graph.*: fc_bias, fc_weight"
    ):
        mx.viz.plot_network(one + two, shape={"x": (2, 3)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.viz.plot_network(one, shape={"x": (2, 3)})


def test_all_parameters_of_a_fused_cell_get_their_first_values():
    """The numbers are MXNet 1.9.1's, after the same seed."""
    cell = mx.rnn.FusedRNNCell(
        3, num_layers=2, mode="lstm", prefix="lstm_", forget_bias=2.0, bidirectional=True
    )
    outputs, _ = cell.unroll(4, mx.sym.var("data"), layout="NTC", merge_outputs=True)
    net = mx.sym.LinearRegressionOutput(mx.sym.sum(outputs, axis=(1, 2)), name="lro")
    mx.random.seed(3)
    module = mx.mod.Module(net, label_names=["lro_label"])
    module.bind([("data", (2, 4, 5))], [("lro_label", (2,))])
    module.init_params(mx.init.Xavier())
    packed = module.get_params()[0]
    first = packed["lstm_parameters"].asnumpy()
    np.testing.assert_allclose(first[:4], [0.14774781, -0.13569313, -0.10151362, -0.29873174], rtol=1e-7)
    np.testing.assert_allclose(first.sum(), 46.289467, rtol=1e-6)
    assert cell.unpack_weights(packed)["lstm_l0_i2h_f_bias"].asnumpy().tolist() == [2, 2, 2]
    told = mx.init.FusedRNN(mx.init.Uniform(0.1), 3, 1, "gru").dumps()
    assert told == (
        '["fusedrnn", {"init": "[\\"uniform\\", {\\"scale\\": 0.1}]", "num_hidden": 3, "num_layers": 1, '
        '"mode": "gru", "bidirectional": false, "forget_bias": 1.0}]'
    )


def test_numpys_functions_that_call_a_method_give_an_array_of_mxnet():
    a = mx.nd.array([[0.3, 0.7], [0, 1]])
    assert isinstance(np.argmax(a, axis=1), mx.nd.NDArray)
    assert isinstance(np.sum(a), mx.nd.NDArray)
    assert np.concatenate([a, a]).shape == (4, 2)


def test_a_row_of_scores_for_each_label_of_two_axes():
    metric = mx.metric.create("acc")
    scores = mx.nd.array([[0.3, 0.7], [0, 1.0], [0.4, 0.6], [0.8, 0.2], [0.3, 0.5], [0.6, 0.4]])
    metric.update([mx.nd.array([[0, 1, 1], [1, 0, 1]])], [scores])
    assert metric.get() == ("accuracy", 2 / 6)


def test_random_numbers_are_told_from_others():
    rng = np.random.default_rng(0)
    buckets, probs = t.gen_buckets_probs_with_ppf(lambda q: q * 2 - 1, 5)
    np.testing.assert_allclose(buckets, [(-1 + 0.4 * i, -0.6 + 0.4 * i) for i in range(5)])
    even = lambda n: rng.uniform(-1, 1, n)  # noqa: E731
    t.verify_generator(even, buckets, probs, nsamples=10_000)
    with pytest.raises(AssertionError, match="0 of 5 times"):
        t.verify_generator(lambda n: rng.normal(0, 0.5, n), buckets, probs, nsamples=10_000)
    p, hits, expected = t.chi_square_check(lambda n: rng.integers(0, 2, n), [0, 1], [0.5, 0.5], nsamples=1000)
    assert 0 < p < 1
    assert hits.sum() == expected.sum() == 1000
    assert t.mean_check(lambda n: rng.normal(3, 2, n), 3, 2, alpha=1e-6, nsamples=10_000)
    assert not t.mean_check(lambda n: rng.normal(3, 2, n), 3.2, 2, nsamples=10_000)
    assert t.var_check(lambda n: rng.normal(3, 2, n), 2, alpha=1e-6, nsamples=10_000)
    assert not t.var_check(lambda n: rng.normal(3, 2, n), 2.2, nsamples=10_000)


def test_helpers_of_tests():
    x = np.arange(6.0).reshape(2, 3)
    assert t.assign_each(x, lambda n: n + 1).tolist() == (x + 1).tolist()
    assert t.assign_each2(x, x, lambda a, b: a * b).tolist() == (x * x).tolist()
    once = t.DummyIter(mx.io.NDArrayIter(x, batch_size=1))
    assert next(once).data[0] is next(once).data[0]
    assert t.check_speed(mx.sym.relu(X), N=1, x=(2, 3)) > 0
    with pytest.raises(NotImplementedError, match=r"mx.test_utils.get_mnist is not here"):
        t.get_mnist()


@pytest.mark.parametrize(
    ("x", "like", "bounds", "shape"),
    [
        ((30, 7), (15, 2, 4), {"lhs_begin": 0, "lhs_end": 1, "rhs_begin": 0, "rhs_end": 2}, (15, 2, 7)),
        ((30, 7), (15, 2, 4), {"lhs_end": 1, "rhs_end": 2}, (15, 2, 7)),
        ((30, 7), (15, 2, 4), {"lhs_begin": -2, "lhs_end": -1, "rhs_begin": -3, "rhs_end": -1}, (15, 2, 7)),
        (
            (30, 12),
            (4, 2, 2, 3),
            {"lhs_begin": -1, "lhs_end": None, "rhs_begin": 1, "rhs_end": None},
            (30, 2, 2, 3),
        ),
    ],
)
def test_some_axes_are_reshaped_like_some_of_another_array(x, like, bounds, shape):
    """The shapes are MXNet 1.9.1's."""
    data = np.random.default_rng(0).normal(size=x).astype("f")
    y = mx.nd.reshape_like(mx.nd.array(data), mx.nd.ones(like), **bounds)
    np.testing.assert_array_equal(y.asnumpy(), data.reshape(shape))
    net = mx.sym.reshape_like(X, mx.sym.Variable("like"), **bounds)
    assert net.infer_shape(x=x, like=like)[1] == [shape]
    t.check_numeric_gradient(net, [data, np.ones(like, "f")], grad_nodes=["x"])
    with pytest.raises(ShapeError):
        net.infer_shape(x=(31, 7), like=like)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "float32"])
def test_the_largest_come_first_whatever_their_type(dtype):
    data = np.array([3, 0, 7, 127, 1, -128 if dtype == "int8" else 100]).astype(dtype)
    order = np.argsort(data.astype(float))[::-1]
    x = mx.nd.array(data, dtype=dtype)
    assert mx.nd.argsort(x, is_ascend=False).asnumpy().tolist() == order.tolist()
    assert mx.nd.topk(x, k=2, dtype="int32").asnumpy().tolist() == order[:2].tolist()


def test_what_tests_import_is_there():
    features = mx.runtime.Features()
    assert features.is_enabled("INT64_TENSOR_SIZE")
    assert not features.is_enabled("cuda")
    with pytest.raises(RuntimeError, match="'NOPE' is unknown"):
        features.is_enabled("NOPE")
    assert mx.runtime.Feature("CUDA", False) in mx.runtime.feature_list()
    with mx.engine.bulk(3):
        assert mx.engine.set_bulk_size(4) == 3
    assert mx.base._as_list((1, 2)) == [1, 2]
    a = mx.nd.arange(3)
    b = mx.nd.from_dlpack(a.to_dlpack_for_write())
    b += 1
    assert a.asnumpy().tolist() == [1, 2, 3]
    for used in (mx.profiler.set_config, mx.image.imread, mx.nd.imdecode):
        with pytest.raises(NotImplementedError, match="is not here: "):
            used("x")


# Optimizers in MXNet's form, and modules.


class ByHand(mx.optimizer.Optimizer):
    """Momentum, written as MXNet's own optimizers are."""

    def __init__(self, momentum=0.0, multi_precision=False, **settings):
        super().__init__(**settings)
        self.momentum, self.multi_precision = momentum, multi_precision

    def create_state(self, index, weight):
        return mx.nd.zeros(weight.shape, weight.context, dtype=weight.dtype, stype=weight.stype)

    def update(self, index, weight, grad, state):
        self._update_count(index)
        rate, decay = self._get_lr(index), self._get_wd(index)
        state[:] = self.momentum * state - rate * (decay * weight + self.rescale_grad * grad)
        weight[:] += state


def test_an_optimizer_written_as_mxnets_are_goes_on_its_own_way():
    settings = {"momentum": 0.9, "learning_rate": 0.1, "wd": 0.03, "rescale_grad": 0.14}
    for dtype in ("float32", "float64"):
        t.compare_optimizer(ByHand(**settings), mx.optimizer.SGD(**settings), (3, 4), dtype)
    with pytest.raises(AssertionError, match="not equal"):
        t.compare_optimizer(
            ByHand(**{**settings, "wd": 0.5}), mx.optimizer.SGD(**settings), (3, 4), "float32"
        )
    one = ByHand()
    one.update(7, *[mx.nd.ones(2) for _ in range(3)])
    assert one._index_update_count == {7: 1}


def test_optimizers_are_registered_by_their_class():
    mx.optimizer.Optimizer.register(ByHand)
    assert isinstance(mx.optimizer.create("byhand", momentum=0.5), ByHand)
    assert mx.optimizer.Optimizer.create_optimizer("SGD", learning_rate=0.3).lr == 0.3
    assert mx.optimizer.Optimizer.opt_registry["sgd"] is mx.optimizer.SGD
    del mx.optimizer.Optimizer.opt_registry["byhand"]


@pytest.mark.parametrize(
    ("name", "place"), [("SGD", 1), ("NAG", 1), ("LARS", 1), ("Signum", 0), ("AdaGrad", 0)]
)
def test_the_copy_in_single_precision_stands_where_mxnet_has_it(name, place):
    momentum = {} if name == "AdaGrad" else {"momentum": 0.9}
    optimizer = getattr(mx.optimizer, name)(multi_precision=True, **momentum)
    weight = mx.nd.ones((2,), dtype="float16")
    states = optimizer.create_state_multi_precision(0, weight)
    assert (states[place].tolist(), states[place].dtype) == ([1, 1], np.float32)
    optimizer.update_multi_precision(0, weight, mx.nd.ones((2,), dtype="float16"), states)
    assert (states[place] < 1).all()


def test_the_rate_is_that_of_a_schedule():
    schedule = mx.lr_scheduler.FactorScheduler(step=1)
    optimizer = mx.optimizer.Optimizer(lr_scheduler=schedule, learning_rate=0.3)
    assert optimizer.learning_rate == 0.3
    schedule.base_lr = 0.4
    assert optimizer.learning_rate == 0.4
    with pytest.raises(UserWarning, match="lr_scheduler tells it"):
        optimizer.set_learning_rate(0.5)
    kept = mx.lr_scheduler.FactorScheduler(step=1, base_lr=1024)
    assert mx.optimizer.Optimizer(lr_scheduler=kept).learning_rate == 1024


def test_multipliers_of_the_symbol_are_shown():
    bias = mx.sym.Variable("fc1_bias", lr_mult=1.0)
    first = mx.sym.FullyConnected(X, bias=bias, name="fc1", num_hidden=10, lr_mult=0)
    module = mx.mod.Module(mx.sym.FullyConnected(first, name="fc2", num_hidden=10, wd_mult=0.5), ["x"], None)
    module.bind([("x", (5, 10))])
    module.init_params()
    module.init_optimizer()
    assert module._optimizer.lr_mult == {"fc1_bias": 1.0, "fc1_weight": 0.0}
    assert module._optimizer.wd_mult == {"fc2_bias": 0.5, "fc2_weight": 0.5, "fc1_bias": 0.0}


def test_a_module_on_several_devices_hands_out_their_shares():
    net = mx.sym.Activation(mx.sym.Variable("data"), act_type="relu", __layout__="TNC")
    module = mx.mod.Module(net, ("data",), None, context=[mx.cpu(0), mx.cpu(1)])
    module.bind([mx.io.DataDesc("data", (3, 8, 7), layout="TNC")])
    module.init_params()
    x = mx.nd.array(np.arange(168).reshape(3, 8, 7))
    module.forward(mx.io.DataBatch([x]))
    whole, (parts,) = module.get_outputs()[0], module.get_outputs(merge_multi_context=False)
    assert [part.shape for part in parts] == [(3, 4, 7)] * 2
    np.testing.assert_array_equal(np.concatenate([p.asnumpy() for p in parts], axis=1), x.asnumpy())
    module.forward(mx.io.DataBatch([x * 0]))
    assert whole.asnumpy().any()  # a copy, as MXNet merges one


def test_states_between_batches_are_set_in_shares():
    cell = mx.rnn.LSTMCell(num_hidden=4, prefix="l_")
    begin = cell.begin_state(func=mx.sym.Variable)
    _, states = cell.unroll(3, begin_state=begin, inputs=mx.sym.Variable("data"))
    names = [s.name for s in begin]
    module = mx.mod.Module(
        mx.sym.Group(states), context=[mx.cpu(0), mx.cpu(1)], label_names=None, state_names=names
    )
    module.bind([("data", (5, 3))], None, for_training=False)
    module.init_params()
    module.set_states(value=1)
    module.forward(mx.io.DataBatch([mx.nd.zeros((5, 3))], []))
    found = module.get_outputs(merge_multi_context=False)
    module.set_states(states=found)
    for state, parts in zip(module.get_states(), found, strict=True):
        np.testing.assert_array_equal(state.asnumpy(), np.concatenate([p.asnumpy() for p in parts]))


def test_a_loss_written_in_python_stands_behind_a_module():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), name="fc", num_hidden=3)
    loss = mx.mod.PythonLossModule(
        grad_func=lambda scores, labels: scores.asnumpy() * 0 + labels.asnumpy()[:, None]
    )
    chain = mx.mod.SequentialModule().add(mx.mod.Module(net, label_names=[]))
    chain.add(loss, take_labels=True, auto_wiring=True)
    chain.bind([("data", (4, 2))], [("softmax_label", (4,))])
    chain.init_params(mx.init.Zero())
    chain.init_optimizer(optimizer_params={"learning_rate": 1.0})
    chain.forward(mx.io.DataBatch([mx.nd.ones((4, 2))], [mx.nd.array([1, 2, 3, 6])]))
    chain.backward()
    chain.update()
    assert chain.get_params()[0]["fc_bias"].asnumpy().tolist() == [-3, -3, -3]  # the mean over four rows
    assert chain.output_shapes == [("pyloss_output", (4, 3))]
    loss.grad_func = None
    with pytest.raises(NotImplementedError, match="give grad_func"):
        chain.backward()


def test_a_batch_may_be_any_tuple_with_data():
    import collections

    module = mx.mod.Module(mx.sym.Variable("data") * 2, label_names=None)
    module.bind([("data", (1, 10))])
    module.init_params()
    module.forward(collections.namedtuple("Batch", "data")([mx.nd.ones((3, 5))]))
    assert module.get_outputs()[0].shape == (3, 5)


def test_whether_a_gradient_was_written_is_told():
    x, y = mx.nd.ones(2), mx.nd.ones(2)
    for a in (x, y):
        a.attach_grad()
    with mx.autograd.record():
        z = (x + 2).detach() + y
    assert (x._fresh_grad, y._fresh_grad) == (False, False)
    z.backward()
    assert (x._fresh_grad, y._fresh_grad) == (False, True)


def test_a_reader_of_lines_hands_out_one_array(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    lines = mx.io.CSVIter(data_csv=str(tmp_path / "x.csv"), data_shape=(2,), batch_size=2)
    assert lines.iter_next()
    assert lines.getdata().asnumpy().tolist() == [[1, 2], [3, 4]]
    lines.reset()
    assert next(lines).data[0].shape == (2, 2)


def test_labels_are_those_that_an_iterator_provides_whatever_their_name():
    net = mx.sym.LinearRegressionOutput(
        mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=1), mx.sym.var("y")
    )
    x = np.ones((4, 2), np.float32)
    rows = mx.io.NDArrayIter(x, {"y": np.full((4, 1), 3.0)}, 2)
    model = mx.model.FeedForward(net, num_epoch=30, learning_rate=0.2)
    model.fit(rows, eval_metric="mse")
    assert model.score(rows, eval_metric="mse") < 1e-3


def test_a_model_takes_mxnets_arguments_and_an_iterator_that_is_a_generator():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(40, 3)).astype("f")

    class Rows(mx.io.DataIter):
        def __init__(self):
            super().__init__(10)
            self.provide_data, self.provide_label = [("data", (10, 3))], [("softmax_label", (10,))]

        def __iter__(self):
            for k in range(0, 40, 10):
                yield mx.io.DataBatch([mx.nd.array(x[k : k + 10])], [mx.nd.array(x[k : k + 10, 0] > 0.5)])

    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2), name="softmax")
    model = mx.model.FeedForward(net, [mx.cpu(0), mx.cpu(1)], 30, None, "sgd", learning_rate=2.0)
    model.fit(
        Rows(),
        None,
        None,
        "acc",
        None,
        mx.callback.Speedometer(10, 2, auto_reset=False),
        "local",
        monitor=None,
    )
    assert model.score(mx.io.NDArrayIter(x, (x[:, 0] > 0.5).astype("f"), 10)) > 0.9
    with pytest.raises(ValueError, match="ResizeIter"):
        mx.model.FeedForward(net, epoch_size=3)
    with pytest.raises(ValueError, match="monitor is not here"):
        model.fit(x, x[:, 0] > 0.5, monitor=mx.mon.Monitor(1))


def test_sizes_that_were_learnt_from_above_are_compared_with_what_made_them():
    v = mx.sym.Variable("v")
    total = mx.sym.transpose(v, name="turned") + (X + v)
    with pytest.raises(ShapeError, match="turned"):
        total.infer_shape(x=(2, 3))
    assert total.infer_shape(x=(2, 2))[0] == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("first", "other", "want"), [((2, 3), (-1, -1), (2, 3)), ((2, -1), (3, -1), (2, 3))], ids=["all", "each"]
)
def test_ones_of_unknown_sizes_have_those_of_what_they_meet(first, other, want):
    y = mx.sym.ones(shape=first) + mx.sym.transpose(mx.sym.ones(shape=other))
    executor = y.bind(mx.cpu(), {})
    np.testing.assert_array_equal(executor.forward()[0].asnumpy(), np.full(want, 2))
    json = mx.sym.load_json(y.tojson()).bind(mx.cpu(), {}).forward()[0]
    np.testing.assert_array_equal(json.asnumpy(), np.full(want, 2))


def test_an_executor_of_unknown_sizes_can_be_reshaped():
    y = X + mx.sym.ones(shape=(-1, 2))
    executor = y.simple_bind(mx.cpu(), x=(3, 2))
    assert executor.forward()[0].shape == (3, 2)
    assert executor.reshape(x=(2, 2)).forward()[0].shape == (2, 2)


def test_a_size_that_nothing_tells_names_its_operator():
    with pytest.raises(ShapeError, match=r"lonely .*: shape is \(\?, 3\), and nothing"):
        mx.sym.ones(shape=(-1, 3), name="lonely").bind(mx.cpu(), {})
    with pytest.raises(ShapeError, match=r"shape is \(-1, 3\)"):
        mx.nd.op._ones(shape=(-1, 3))


@pytest.mark.parametrize(
    ("settings", "want"),
    [({}, [0, 1, 2, 3, 4, 5]), ({"step": 0.5, "repeat": 2}, [0, 0, 0.5, 0.5, 1, 1])],
    ids=["ones", "halves"],
)
def test_arange_is_as_long_as_what_it_meets(settings, want):
    y = mx.sym.elemwise_add(
        mx.sym.arange(start=0, stop=None, infer_range=True, **settings), mx.sym.zeros(shape=(6,))
    )
    np.testing.assert_array_equal(y.bind(mx.cpu(), {}).forward()[0].asnumpy(), want)


def test_a_remainder_by_the_whole_number_0_has_no_slope():
    a, b = mx.nd.array([7.0, 8]), mx.nd.array([2.0, 0])
    for x in (a, b):
        x.attach_grad()
    with mx.autograd.record():
        y = a.astype("int32") % b.astype("int32")
    y.backward(mx.nd.zeros(2, dtype="int32"))
    np.testing.assert_array_equal(b.grad.asnumpy(), [0, 0])


def test_ctc_loss_does_not_look_at_rows_behind_the_length():
    data = np.random.default_rng(0).normal(size=(4, 1, 3)).astype(np.float32)
    spoiled = data.copy()
    spoiled[2:] = np.nan
    told = {"use_data_lengths": True, "data_lengths": mx.nd.array([2])}
    gradients = []
    for rows in (data, spoiled):
        x = mx.nd.array(rows)
        x.attach_grad()
        with mx.autograd.record():
            y = mx.nd.CTCLoss(x, mx.nd.array([[1, 0]]), **told)
        y.backward()
        gradients.append((y.asnumpy(), x.grad.asnumpy()))
    np.testing.assert_array_equal(gradients[0][1], gradients[1][1])
    np.testing.assert_array_equal(gradients[0][0], gradients[1][0])
    assert not gradients[1][1][2:].any()


@pytest.mark.parametrize("lower", [True, False])
def test_potrf_and_potri_have_a_lower_or_an_upper_factor(lower):
    a = np.array([[9.0, 3, -6], [3, 26, -7], [-6, -7, 9]])
    factor = mx.nd.linalg.potrf(mx.nd.array(a, dtype="float64"), lower=lower)
    want = np.linalg.cholesky(a)
    np.testing.assert_allclose(factor.asnumpy(), want if lower else want.T)
    np.testing.assert_allclose(mx.nd.linalg.potri(factor, lower=lower).asnumpy(), np.linalg.inv(a))


@pytest.mark.parametrize("name", ["round", "rint", "floor", "ceil", "trunc", "fix"])
def test_whole_numbers_are_rounded_to_themselves(name):
    x = mx.nd.array([50000001, -50000001], dtype="int32")
    y = getattr(mx.nd, name)(x)
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y.asnumpy(), x.asnumpy())


def test_a_gradient_that_is_infinite_comes_without_a_warning():
    x = mx.nd.array([0.0, 1])
    x.attach_grad()
    with mx.autograd.record():
        y = mx.nd.log(x)
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [np.inf, 1])


def test_an_index_out_of_bounds_is_an_index_error_too():
    with pytest.raises(IndexError, match="out of bounds"):
        mx.nd.gather_nd(mx.nd.ones((2, 3)), mx.nd.array([[0, 1], [0, 3]]))


def test_what_gather_nd_hands_back_is_an_operator():
    y = mx.nd._internal._backward_gather_nd(
        mx.nd.array([2, 3, 0]), mx.nd.array([[1, 1, 0]] * 2), shape=(2, 2)
    )
    np.testing.assert_array_equal(y.asnumpy(), [[0, 0], [0, 5]])


def test_a_check_of_no_gradient_passes():
    assert t.check_numeric_gradient(X * 2, [np.ones(2)], grad_nodes={"x": "null"})


def test_tile_wants_numbers_above_0():
    with pytest.raises(mx.MXNetError, match=r"tile.*: reps is \(1, 0, 3\), expected numbers of 1 or more"):
        mx.nd.tile(mx.nd.ones((2, 2)), (1, 0, 3))


def test_an_operator_of_a_part_is_the_same_function_each_time():
    assert mx.nd.contrib.SyncBatchNorm is mx.nd.contrib.SyncBatchNorm
    assert mx.sym.linalg.gemm is mx.sym.linalg.gemm


def test_col2im_takes_the_size_first():
    columns = mx.nd.im2col(mx.nd.ones((1, 2, 5, 4)), kernel=(3, 3), pad=(1, 1))
    y = mx.nd.col2im(columns, (5, 4), kernel=(3, 3), pad=(1, 1))
    np.testing.assert_array_equal(
        y.asnumpy(), mx.nd.col2im(columns, output_size=(5, 4), kernel=(3, 3), pad=(1, 1)).asnumpy()
    )


def test_arrays_that_are_too_large_are_an_mxnet_error():
    with pytest.raises(mx.MXNetError, match="no room"):
        mx.nd.zeros((2**31, 2**31, 2))


def test_from_numpy_locks_the_name_and_shares_the_memory():
    theirs = np.ones((2, 2), np.float32)
    for _ in range(2):
        ours = mx.nd.from_numpy(theirs)
        with pytest.raises(ValueError, match="read-only"):
            theirs[0, 0] = 2
        ours[0, 0] = theirs[0, 0] + 1
    assert theirs[0, 0] == 3
    free = np.ones(2, np.float32)
    mx.nd.from_numpy(free, zero_copy=False)
    free[0] = 2


def test_under_np_shape_arrays_without_axes_are_saved(tmp_path):
    """The bytes are those that MXNet 1.9.1 writes."""
    with mx.np_shape():
        mx.nd.save(tmp_path / "a", [mx.nd.array(np.float32(2)), mx.nd.zeros((0, 2))])
        found = mx.nd.load(tmp_path / "a")
    assert [x.shape for x in found] == [(), (0, 2)]
    assert (tmp_path / "a").read_bytes()[24:36] == bytes.fromhex("cafa93f90000000000000000")


def test_errors_of_a_custom_operator_are_those_of_mxnet():
    @mx.operator.register("failing")
    class Prop(mx.operator.CustomOpProp):
        def create_operator(self, ctx, shapes, dtypes):
            return Failing()

    class Failing(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            raise KeyError("what")

    with pytest.raises(mx.MXNetError, match=r"forward of 'failing': KeyError: 'what'") as caught:
        mx.nd.Custom(mx.nd.ones(2), op_type="failing")
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_argument_that_is_none_is_a_type_error():
    executor = (X * 2).simple_bind(mx.cpu(), x=(2,))
    with pytest.raises(TypeError, match="'zz' is no argument"):
        executor.forward(zz=mx.nd.ones(2))


def test_metrics_of_torch_and_caffe_are_means_and_several_have_a_config():
    metric = mx.metric.create("torch")
    metric.update(None, [mx.nd.array([1.0, 3])])
    assert metric.get() == ("torch", 2)
    assert mx.metric.create("caffe").get()[0] == "caffe"
    several = mx.metric.create(["acc", "f1"]).get_config()
    assert [part["metric"] for part in several["metrics"]] == ["Accuracy", "F1"]


@pytest.mark.parametrize(
    ("given", "f", "want", "dtype"),
    [
        ([1.5, 2.5], lambda x: x.astype("int32") * 3, [3, 3], "float32"),
        ([1, 2], lambda x: (x * 2).sum(), [2, 2], "int32"),
        ([3, 4], lambda x: x * x, [6, 8], "int64"),
        ([4, 9], lambda x: mx.nd.sqrt(x.astype("float32")), [0, 0], "int32"),
        ([4, 9], lambda x: mx.nd.concat(x, x, dim=0), [2, 2], "uint8"),
        ([4, 6], lambda x: x / 2, [0, 0], "int32"),
    ],
    ids=["to whole numbers", "sum", "square", "root", "concat", "half"],
)
def test_gradients_go_through_whole_numbers(given, f, want, dtype):
    """The numbers are those of MXNet 1.9.1."""
    x = mx.nd.array(given, dtype=dtype)
    x.attach_grad()
    with mx.autograd.record():
        y = f(x)
    y.backward()
    assert x.grad.dtype == dtype
    np.testing.assert_array_equal(x.grad.asnumpy(), want)


def test_rows_of_whole_numbers_that_a_mask_leaves_add_up_their_gradients():
    a, mask = mx.nd.array([[1, 2], [3, 4]], dtype="int32"), mx.nd.array([0, 1])
    mx.autograd.mark_variables([a], [mx.nd.zeros_like(a)], grad_reqs="add")
    for _ in range(3):
        with mx.autograd.record():
            total = mx.nd.contrib.boolean_mask(a, mask).sum()
        total.backward()
    np.testing.assert_array_equal(a.grad.asnumpy(), [[0, 0], [3, 3]])


def test_idx_is_the_order_of_the_rows():
    rows = np.arange(10, dtype=np.float32)
    batches = mx.io.NDArrayIter(rows, batch_size=2, shuffle=True)
    order = batches.idx
    assert np.concatenate([b.data[0].asnumpy() for b in batches]).tolist() == rows[order].tolist()


@pytest.mark.parametrize(
    ("y", "want"),
    [
        (mx.sym.moments(X, axes=(0,), name="n"), "n_data"),
        (mx.sym.linalg.det(X, name="n"), "n_A"),
        (mx.sym.one_hot(X, depth=2, name="n"), "n_indices"),
        (mx.sym.cumsum(X, name="n"), "n_a"),
        (mx.sym.softmin(X, name="n"), "n_input0"),
        (mx.sym.softmax(X, name="n"), "n_data"),
        (mx.sym.log_softmax(X, name="n"), "n_data"),
        (mx.sym.LeakyReLU(X, name="n"), "n_data"),
        (mx.sym.exp(X, name="n"), "n_input0"),
        (mx.sym.flip(X, axis=0, name="n"), "n_data"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_monitor_has_the_names_of_inputs_that_mxnet_gives_it(y, want):
    executor, seen = y.simple_bind(mx.cpu(), x=(2, 2), grad_req="null"), []
    executor.set_monitor_callback(lambda name, _: seen.append(name.decode()), monitor_all=True)
    executor.forward()
    assert seen[:2] == ["x", want]


def test_regions_that_are_turned_are_those_of_mxnet():
    """Numbers of MXNet 1.9.1."""
    data = mx.nd.arange(0, 72).reshape((1, 1, 8, 9))
    rois = mx.nd.array([[0, 4, 4, 3, 2, 30], [0, 0.3, 7.5, 5, 5, 10]])
    y = mx.nd.contrib.RROIAlign(data, rois, pooled_size=(2, 2), spatial_scale=1.0, sampling_ratio=2)
    np.testing.assert_allclose(y.asnumpy(), RROI, rtol=1e-6)


def test_a_file_says_whether_0_is_a_size_and_old_ones_mean_an_unknown_one(tmp_path):
    weight = mx.sym.Variable("weight", shape=(3, 0))
    y = mx.sym.FullyConnected(mx.sym.Variable("data"), weight, num_hidden=3)
    y.save(str(tmp_path / "old.json"))
    assert "is_np_shape" not in y.tojson()
    with mx.np_shape():
        assert json.loads(y.tojson())["attrs"] == {"is_np_shape": ["int", 1], "mxnet_version": ["int", 10901]}
        assert mx.sym.load(str(tmp_path / "old.json")).infer_shape(data=(2, 4))[0][1] == (3, 4)
        with pytest.raises(ShapeError, match=r"weight is \(3, 0\)"):
            mx.sym.load_json(y.tojson()).infer_shape(data=(2, 4))


def test_several_metrics_are_made_from_their_config():
    metric = mx.metric.create(["acc", mx.metric.Perplexity(-1)])
    assert mx.metric.create(json.dumps(metric.get_config())).get_config() == metric.get_config()
