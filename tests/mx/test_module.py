"""`mx.mod`: the same numbers as MXNet 1.9.1, and what is refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson import mx
from tinygrad_lesson.errors import BindError, FormatError

HERE = Path(__file__).parent
NUMBER = re.compile(r"-?\d+\.\d*(?:e-?\d+)?")
X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)


def test_modules_train_as_those_of_mxnet():
    """Fit with SGD, Adam and an optimizer of one's own, gradients of inputs, files, sequences and buckets."""
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lesson.mx", HERE / "modules.py"], capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [x for x in done.stdout.splitlines() if "Time cost" not in x and not x.startswith("Saved")]
    found, expected = "\n".join(lines), (DATA / "mx_modules.txt").read_text().rstrip("\n")
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (found, expected)]
    assert words[0] == words[1]
    numbers = [np.array(NUMBER.findall(text), float) for text in (found, expected)]
    assert numbers[0].size > 300
    np.testing.assert_allclose(*numbers, rtol=1e-4, atol=3e-5)


def network():
    """One layer, with a loss."""
    return mx.sym.SoftmaxOutput(
        mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc"), name="softmax"
    )


def bound(**more):
    """A module that can go through batches of ten."""
    module = mx.mod.Module(network())
    module.bind([("data", (10, 4))], [("softmax_label", (10,))], **more)
    module.init_params(mx.init.One())
    return module


def test_batches_of_every_size_share_the_parameters():
    module = bound()
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 1.0})
    for rows in (10, 3, 10, 7):
        before = module.get_params()[0]["fc_weight"].asnumpy()
        module.forward_backward(mx.io.DataBatch([mx.nd.array(X[:rows])], [mx.nd.array(Y[:rows])]))
        assert module.get_outputs()[0].shape == (rows, 2)
        module.update()
        assert (module.get_params()[0]["fc_weight"].asnumpy() != before).any()


def test_arrays_of_a_batch_are_those_of_the_shapes_in_their_order():
    """As `NDArrayIter` gives them, which sorts its names."""
    net = mx.sym.var("b") - mx.sym.var("a")
    module = mx.mod.Module(net, data_names=["b", "a"], label_names=None)
    module.bind([("a", (1,)), ("b", (1,))], inputs_need_grad=True)
    module.init_params()
    module.forward(mx.io.DataBatch([mx.nd.array([1]), mx.nd.array([10])]), is_train=True)
    assert module.get_outputs()[0].asnumpy().tolist() == [9]
    module.backward([mx.nd.ones(1)])
    assert [g.asscalar() for g in module.get_input_grads()] == [-1, 1]


def test_half_precision_weights_may_have_a_copy_in_single():
    """Whose steps are too small for them."""
    optimizer = mx.optimizer.SGD(1e-4, multi_precision=True)
    half, single = mx.nd.ones(3, dtype="float16"), mx.nd.ones(3)
    update, plain = mx.optimizer.get_updater(optimizer), mx.optimizer.get_updater(mx.optimizer.SGD(1e-4))
    for _ in range(20):
        update(0, mx.nd.ones(3, dtype="float16"), half)
        plain(0, mx.nd.ones(3), single)
    np.testing.assert_array_equal(half.asnumpy(), single.asnumpy().astype(np.float16))
    assert half.asnumpy()[0] < 1


def test_fixed_parameters_stay_and_gradients_may_add_up():
    module = mx.mod.Module(network(), fixed_param_names=["fc_bias"])
    module.bind([("data", (10, 4))], [("softmax_label", (10,))], grad_req="add")
    module.init_params(mx.init.One())
    module.init_optimizer()
    batch = mx.io.DataBatch([mx.nd.array(X[:10])], [mx.nd.array(Y[:10])])
    module.forward_backward(batch)
    once = module.executor.grad_dict["fc_weight"].asnumpy()
    module.forward_backward(batch)
    np.testing.assert_allclose(module.executor.grad_dict["fc_weight"].asnumpy(), 2 * once, rtol=1e-6)
    module.update()
    assert module.get_params()[0]["fc_bias"].asnumpy().tolist() == [0, 0]


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path):
    batch = mx.io.DataBatch([mx.nd.array(X[:10])], [mx.nd.array(Y[:10])])
    prefix = str(tmp_path / "m")
    module = bound()
    module.init_optimizer(optimizer="adam")
    for n in range(4):
        module.forward_backward(batch)
        module.update()
        if n == 1:
            module.save_checkpoint(prefix, 2, save_optimizer_states=True)
    again = mx.mod.Module.load(prefix, 2, load_optimizer_states=True)
    again.bind([("data", (10, 4))], [("softmax_label", (10,))])
    again.init_optimizer(optimizer="adam")
    for _ in range(2):
        again.forward_backward(batch)
        again.update()
    for one, other in zip(module.get_params()[0].values(), again.get_params()[0].values(), strict=True):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())
    (tmp_path / "wrong").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(FormatError):
        again.load_optimizer_states(str(tmp_path / "wrong"))


def test_checkpoints_are_written_after_epochs(tmp_path):
    module, prefix = mx.mod.Module(network()), str(tmp_path / "m")
    rows = mx.io.NDArrayIter(X, Y, batch_size=10)
    module.fit(rows, num_epoch=4, epoch_end_callback=mx.callback.module_checkpoint(module, prefix, 2, True))
    names = ["m-0002.params", "m-0002.states", "m-0004.params", "m-0004.states", "m-symbol.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    symbol, arguments, states = mx.model.load_checkpoint(prefix, 4)
    assert (symbol.list_outputs(), states) == (["softmax_output"], {})
    for name, x in module.get_params()[0].items():
        np.testing.assert_array_equal(arguments[name].asnumpy(), x.asnumpy())
    assert list(mx.model.load_params(prefix, 2)[0]) == list(arguments)


def test_parameters_go_through_files(tmp_path):
    module, other = bound(), bound()
    other.init_params(mx.init.Zero(), force_init=True)
    path = str(tmp_path / "p.params")
    module.save_params(path)
    other.load_params(path)
    assert (other.get_params()[0]["fc_weight"].asnumpy() == 1).all()
    mx.nd.save(path, [mx.nd.ones(1)])
    with pytest.raises(FormatError, match="Invalid param file"):
        other.load_params(path)


def test_a_module_predicts_arrays_and_iterators():
    module = bound(for_training=False)
    rows = mx.io.NDArrayIter(X[:17], batch_size=10)
    assert module.predict(rows).shape == (17, 2)
    assert [y[0].shape for y in module.predict(rows, merge_batches=False)] == [(10, 2), (7, 2)]
    assert module.predict(mx.nd.array(X[:4])).shape == (4, 2)
    assert len(module.predict(rows, always_output_list=True)) == 1
    assert module.predict(rows, num_batch=1).shape == (10, 2)


@pytest.mark.parametrize("call", [
    lambda: mx.mod.Module(network()).forward(mx.io.DataBatch([mx.nd.array(X)])),
    lambda: mx.mod.Module(network()).init_params(), lambda: bound().update(), lambda: bound().get_input_grads(),
    lambda: bound(for_training=False).backward(), lambda: mx.mod.Module(network(), data_names=["other"]),
    lambda: mx.mod.Module(network()).bind([("other", (10, 4))]),
    lambda: bound().set_params({"fc_weight": mx.nd.ones((2, 4))}, {}),
    lambda: bound().set_params({"fc_weight": mx.nd.ones((2, 4)), "wrong": mx.nd.ones(1)}, {}, allow_missing=True),
    lambda: bound().fit(mx.io.NDArrayIter(X, Y, batch_size=10)), lambda: mx.mod.SequentialModule().add(bound(), what=1),
    lambda: mx.mod.SequentialModule().bind([("data", (1, 2))]), lambda: mx.mod.BucketingModule(lambda key: None),
])  # fmt: skip
def test_what_comes_too_early_or_is_wrong_is_refused(call):
    with pytest.raises(BindError):
        call()


def test_a_bucketing_module_of_a_checkpoint(tmp_path):
    module = mx.mod.BucketingModule(buckets, default_bucket_key=4)
    module.bind([("data", (2, 4))], for_training=True)
    module.init_params(mx.init.Uniform(1))
    module.save_checkpoint(str(tmp_path / "net"), 3)
    assert sorted(x.name for x in tmp_path.iterdir()) == [
        "net-0003.params",
        "net-4-symbol.json",
        "net.buckets",
    ]
    assert mx.nd.load(str(tmp_path / "net.buckets"))[0].asnumpy().tolist() == [4]
    loaded = mx.mod.BucketingModule.load(str(tmp_path / "net"), 3, sym_gen=buckets, default_bucket_key=4)
    symbol = mx.sym.load(str(tmp_path / "net-4-symbol.json"))
    named = mx.mod.BucketingModule.load_dict(
        {4: symbol}, buckets, 4, *mx.model.load_params(str(tmp_path / "net"), 3)
    )
    assert named.symbol is symbol
    for again in (loaded, named):
        again.bind([("data", (2, 4))])
        assert again._default_bucket_key == again._curr_bucket_key == 4
        for name, x in module.get_params()[0].items():
            np.testing.assert_array_equal(again.get_params()[0][name], x)


def buckets(key):
    """The sum of a row, whatever its length, times a weight."""
    weight = mx.sym.Variable("a", shape=(1,), init=mx.init.One())
    total = mx.sym.sum(mx.sym.Variable("data"), axis=1)
    return mx.sym.make_loss(mx.sym.broadcast_mul(total, weight)), ("data",), None


@pytest.mark.parametrize(("request_", "sizes"), [("write", [2, 4]), ("add", [2, 6])])
def test_buckets_share_their_gradients(request_, sizes):
    """As in MXNet 1.9.1, so that with ``grad_req="add"`` they are added up over buckets."""
    module = mx.mod.BucketingModule(buckets, default_bucket_key=2)
    module.bind([("data", (1, 2))], for_training=True, grad_req=request_)
    module.init_params()
    for key, size in zip((2, 4), sizes, strict=True):
        shapes = [mx.io.DataDesc("data", (1, key), layout="N")]
        module.forward_backward(
            mx.io.DataBatch([mx.nd.ones((1, key))], None, bucket_key=key, provide_data=shapes)
        )
        assert module._curr_module._exec_group.execs[0].grad_dict["a"].asscalar() == size
        assert module._curr_module._grad_req == request_


def test_names_of_mxnets_own_and_shapes_that_are_none():
    module = mx.mod.Module(
        mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc"), label_names=None
    )
    with pytest.raises(TypeError, match="the shape of 'data' is no tuple of sizes, but a NDArray"):
        module.bind([("data", mx.nd.array([3, 4]))])
    assert not module.binded
    module.bind([("data", (3, 4))])
    module.init_params()
    module.init_optimizer()
    assert module._symbol is module.symbol
    assert module._optimizer is module.optimizer
    assert [len(x) for x in module._exec_group.param_arrays] == [1, 1]
    assert module._exec_group.grad_arrays[0][0].shape == (2, 4)
    with pytest.raises(AttributeError, match="Module has no '_nothing'"):
        module._nothing
