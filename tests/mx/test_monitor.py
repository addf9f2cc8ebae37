"""Monitors: what they are told, and when. Names and numbers are what MXNet 1.9.1 prints for the same calls."""

import logging

import numpy as np
import pytest

from tinygrad_lesson import mx

S = mx.sym
FC = S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc1")
NET = S.SoftmaxOutput(FC, name="softmax")


def heard(symbol, monitor_all, is_train=True, **shapes):
    """The names that a callback is told in one forward run."""
    told = []
    executor = symbol.simple_bind(mx.cpu(), **shapes)
    executor.set_monitor_callback(lambda name, array: told.append(name), monitor_all=monitor_all)
    executor.forward(is_train=is_train)
    return [mx.base.py_str(name) for name in told]


@pytest.mark.parametrize("is_train", [True, False])
def test_a_callback_is_told_of_each_result_or_also_of_what_goes_in(is_train):
    pool = S.Pooling(S.Variable("data"), kernel=(2, 2), name="pool")
    assert heard(pool, False, is_train, data=(2, 3, 4, 4)) == ["pool_output"]
    assert heard(pool, True, is_train, data=(2, 3, 4, 4)) == ["data", "pool_data", "pool_output"]
    parts = S.Concat(*S.SliceChannel(S.Variable("data"), num_outputs=3, name="sl"), name="cc")
    assert heard(parts, True, is_train, data=(2, 3)) == [
        "data", "sl_data", "sl_output0", "sl_output1", "sl_output2", "cc_arg0", "cc_arg1", "cc_arg2", "cc_output",
    ]  # fmt: skip
    net = S.Activation(FC, act_type="relu", name="act")
    net = S.SoftmaxOutput(S.broadcast_add(net, S.Variable("b"), name="plus"), name="softmax")
    results = ["fc1_output", "act_output", "plus_output", "softmax_output"]
    assert heard(net, False, is_train, data=(4, 5), b=(1, 2)) == results
    assert heard(net, True, is_train, data=(4, 5), b=(1, 2)) == [
        "data", "fc1_data", "fc1_weight", "fc1_weight", "fc1_bias", "fc1_bias", "fc1_output", "act_input0", "act_output",
        "plus_lhs", "b", "plus_rhs", "plus_output", "softmax_data", "softmax_label", "softmax_label", "softmax_output",
    ]  # fmt: skip


def test_a_callback_is_told_of_outputs_that_are_hidden_else():
    """As MXNet 1.9.1 tells them: `var` is one over the deviation."""
    net = S.tanh(S.BatchNorm(S.Variable("x"), name="bn", eps=0), name="tanh")
    names = ["bn_output", "bn_mean", "bn_var", "tanh_output"]
    assert heard(net, False, True, x=(4, 2)) == heard(net, False, False, x=(4, 2)) == names
    executor, told = net.simple_bind(mx.cpu(), x=(4, 2)), {}
    executor.set_monitor_callback(lambda name, array: told.update({name: array.asnumpy()}))
    x = np.arange(8).reshape(4, 2) ** 2
    executor.forward(is_train=True, x=x)
    np.testing.assert_allclose(told[b"bn_mean"], x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(told[b"bn_var"], 1 / x.std(axis=0), rtol=1e-6)


def test_a_monitor_tells_arguments_too_every_so_many_batches():
    executor = NET.simple_bind(mx.cpu(), data=(2, 3))
    for array in executor.arg_arrays:
        array[:] = 1
    monitor = mx.mon.Monitor(2)
    monitor.install(executor)
    told = []
    for _ in range(3):
        monitor.tic()
        executor.forward(is_train=True)
        told.append(monitor.toc())
    first = [
        ("fc1_output", "4.0\t"), ("softmax_output", "0.5\t"), ("data", "1.0\t"), ("fc1_weight", "1.0\t"), ("fc1_bias", "1.0\t"),
        ("softmax_label", "1.0\t"),
    ]  # fmt: skip
    assert told == [[(1, *one) for one in first], [], [(3, *one) for one in first]]


def test_a_monitor_of_all_with_a_pattern_and_sorted():
    executor = NET.simple_bind(mx.cpu(), data=(2, 3))
    for array in executor.arg_arrays:
        array[:] = 1
    monitor = mx.monitor.Monitor(1, pattern=".*weight|softmax.*", sort=True, monitor_all=True)
    monitor.install(executor)
    monitor.tic()
    executor.forward()
    names = ["fc1_weight"] * 3 + ["softmax_data"] + ["softmax_label"] * 3 + ["softmax_output"]
    told = ["1.0\t"] * 3 + ["4.0\t"] + ["1.0\t"] * 3 + ["0.5\t"]
    assert monitor.toc() == [(1, name, text) for name, text in zip(names, told, strict=True)]


def test_a_statistic_may_be_several_arrays_and_nothing_else():
    executor = NET.simple_bind(mx.cpu(), data=(2, 3))
    monitor = mx.monitor.Monitor(1, lambda x: [x.min(), x.max()], pattern="fc1_output")
    monitor.install(executor)
    monitor.tic()
    executor.forward(data=np.ones((2, 3), np.float32), fc1_weight=[[1, 1, 1], [2, 2, 2]])
    assert monitor.toc() == [(1, "fc1_output", "3.0\t6.0\t")]
    monitor.stat_func = lambda x: 1.5
    monitor.tic()
    executor.forward()
    with pytest.raises(TypeError, match=r"stat_func gave 1.5 for 'fc1_output', expected an NDArray"):
        monitor.toc()


def test_results_are_those_of_the_run_and_gradients_stay_what_they_are():
    rng = np.random.default_rng(0)
    values = {"data": (2, 3), "fc1_weight": (2, 3), "fc1_bias": (2,)}
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in values.items()}
    found = {}
    plain, watched = (NET.simple_bind(mx.cpu(), data=(2, 3)) for _ in range(2))
    watched.forward()
    watched.set_monitor_callback(lambda name, array: found.update({name: array.asnumpy()}))
    for executor in (plain, watched):
        executor.forward(is_train=True, softmax_label=[1, 0], **values)
        executor.backward()
    np.testing.assert_allclose(
        found[b"fc1_output"], values["data"] @ values["fc1_weight"].T + values["fc1_bias"], rtol=1e-5
    )
    for name, gradient in plain.grad_dict.items():
        np.testing.assert_array_equal(gradient.asnumpy(), watched.grad_dict[name].asnumpy())
    found.clear()
    watched.set_monitor_callback(None)
    watched.forward(is_train=True)
    assert not found


def test_fit_of_a_module_prints_what_its_monitor_sees_for_batches_of_every_size(caplog):
    caplog.set_level(logging.INFO)
    rng = np.random.default_rng(0)
    batches = mx.io.NDArrayIter(rng.normal(size=(8, 3)), np.arange(8) % 2, 4)
    module, monitor = mx.mod.Module(NET), mx.mon.Monitor(1, pattern="fc1_(output|weight)")
    module.fit(batches, num_epoch=2, monitor=monitor)
    seen = [
        record.getMessage().split() for record in caplog.records if record.getMessage().startswith("Batch:")
    ]
    assert [(words[1], words[2]) for words in seen] == [
        (str(step), name) for step in (1, 2, 3, 4) for name in ("fc1_output", "fc1_weight")
    ]
    monitor.tic()
    module.forward(mx.io.DataBatch([mx.nd.ones((2, 3))], [mx.nd.ones(2)]), is_train=True)
    assert [name for _, name, _ in monitor.toc()] == ["fc1_output", "fc1_weight"]


def test_a_monitor_sees_all_buckets_and_all_modules_of_a_sequence():
    def generate(key):
        return (
            S.SoftmaxOutput(
                S.FullyConnected(S.sum(S.Variable("data"), axis=1), num_hidden=2, name="fc1"), name="softmax"
            ),
            ["data"],
            ["softmax_label"],
        )

    module = mx.mod.BucketingModule(generate, default_bucket_key=5)
    module.bind([("data", (2, 5, 3))], [("softmax_label", (2,))])
    module.init_params()
    monitor = mx.mon.Monitor(1, pattern="fc1_output")
    module.install_monitor(monitor)
    for key in (5, 4):
        monitor.tic()
        module.forward(
            mx.io.DataBatch(
                [mx.nd.ones((2, key, 3))], [mx.nd.ones(2)], bucket_key=key, provide_data=[("data", (2, key, 3))],
                provide_label=[("softmax_label", (2,))],
            )
        )  # fmt: skip
        assert [name for _, name, _ in monitor.toc()] == ["fc1_output"]
    chain = mx.mod.SequentialModule().add(mx.mod.Module(FC, label_names=None))
    chain.bind([("data", (2, 3))])
    chain.init_params()
    chain.install_monitor(monitor)
    monitor.tic()
    chain.forward(mx.io.DataBatch([mx.nd.ones((2, 3))], None))
    assert [name for _, name, _ in monitor.toc()] == ["fc1_output"]


def test_a_monitor_sees_the_gradients_of_a_backward_run():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc_0")
    net = mx.sym.Activation(net, act_type="sigmoid", name="act_0")
    net = mx.sym.FullyConnected(net, num_hidden=2, name="fc_1")
    net = mx.sym.Activation(net, act_type="sigmoid", name="act_1")
    net = mx.sym.LinearRegressionOutput(net, grad_scale=2, name="softmax")
    executor = net.simple_bind(mx.cpu(), data=(1, 2), softmax_label=(1, 2))
    given = {
        "data": [[0.05, 0.1]], "softmax_label": [[0.01, 0.99]], "fc_0_weight": [[0.15, 0.2], [0.25, 0.3]],
        "fc_0_bias": [0.35, 0.35], "fc_1_weight": [[0.4, 0.45], [0.5, 0.55]], "fc_1_bias": [0.6, 0.6],
    }  # fmt: skip
    for name, value in given.items():
        executor.arg_dict[name][:] = mx.nd.array(value)
    seen = {}
    executor.set_monitor_callback(lambda name, x: seen.update({name.decode(): x.asnumpy().copy()}))
    executor.forward(is_train=True)
    executor.backward()
    expected = {  # means of sizes that MXNet 1.9.1 tells; what it tells of data and label is not computed there
        "act_0_backward_output": 0.009362806, "act_1_backward_output": 0.088298395,
        "fc_0_backward_output1": 0.00070221035, "fc_0_backward_output2": 0.009362806,
        "fc_1_backward_output0": 0.038860314, "fc_1_backward_output1": 0.05254436,
        "fc_1_backward_output2": 0.088298395, "softmax_backward_output0": 0.4792183,
    }  # fmt: skip
    for name, size in expected.items():
        np.testing.assert_allclose(np.abs(seen[name]).mean(), size, rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(seen["fc_0_backward_output1"], executor.grad_dict["fc_0_weight"].asnumpy())
    np.testing.assert_array_equal(seen["fc_0_backward_output0"], executor.grad_dict["data"].asnumpy())


def test_what_several_nodes_use_has_the_sum_of_their_gradients_and_what_is_off_the_path_none():
    x = mx.sym.Variable("x")
    y = mx.sym.BatchNorm(mx.sym.tanh(x, name="t"), name="bn", fix_gamma=False)
    net = mx.sym.MakeLoss(mx.sym.sum(y * y + mx.sym.Dropout(y, p=0.5), name="s"), name="loss")
    executor = net.simple_bind(mx.cpu(), grad_req={"bn_gamma": "write"}, x=(4, 3))
    executor.arg_dict["x"][:] = mx.nd.array(np.linspace(-1, 1, 12).reshape(4, 3))
    executor.arg_dict["bn_gamma"][:] = 1
    seen = {}
    executor.set_monitor_callback(lambda name, x: seen.update({name.decode(): x.asnumpy().copy()}))
    executor.forward(is_train=True)
    executor.backward()
    assert "t_backward_output" not in seen  # nothing there is learnt
    np.testing.assert_array_equal(seen["bn_backward_output1"], executor.grad_dict["bn_gamma"].asnumpy())
    np.testing.assert_array_equal(seen["s_backward_output"], np.ones((4, 3)))


def test_numbers_are_told_with_the_digits_of_their_type():
    monitor = mx.mon.Monitor(1, stat_func=lambda x: mx.nd.array([0.1], dtype="float32"))
    executor = mx.sym.tanh(mx.sym.Variable("x"), name="t").simple_bind(mx.cpu(), x=(2,))
    monitor.install(executor)
    monitor.tic()
    executor.forward()
    assert {told for _, _, told in monitor.toc()} == {"0.1\t"}
