"""Cells of recurrent networks beside MXNet 1.9.1, whose answers are in ``tests/data/mx_rnn.json``."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "mx_rnn.json").read_text())
HELPERS = (
    "split", "reverse", "activation", "_", "slicechannel", "concat", "expand", "flatten", "swapaxis", "zeros", "sum",
    "tile", "dropout", "broadcast",
)  # fmt: skip
R = mx.rnn


def stack():
    cell = R.SequentialRNNCell()
    cell.add(R.LSTMCell(5, prefix="a_"))
    cell.add(R.DropoutCell(0.0))
    cell.add(R.ResidualCell(R.GRUCell(5, prefix="b_")))
    return cell


CASES = {
    "rnn": lambda: R.RNNCell(5),
    "lstm": lambda: R.LSTMCell(5, prefix="l_"),
    "gru": lambda: R.GRUCell(5),
    "lstm_tnc": lambda: R.LSTMCell(5),
    "list": lambda: R.LSTMCell(5),
    "stack": stack,
    "bi": lambda: R.BidirectionalCell(R.LSTMCell(3, prefix="l_"), R.GRUCell(3, prefix="r_")),
    **{
        f"unfused_{mode}": lambda mode=mode: R.FusedRNNCell(3, 2, mode, True, prefix="f_").unfuse()
        for mode in ("lstm", "gru", "rnn_tanh")
    },
}


def unrolled(name, steps=3):
    """The outputs and the states of a case, and the shapes of its inputs."""
    layout = "TNC" if name == "lstm_tnc" else "NTC"
    if name == "list":
        inputs = [mx.sym.Variable(f"x{i}") for i in range(steps)]
        shapes = {f"x{i}": (2, 4) for i in range(steps)}
    else:
        inputs, shapes = mx.sym.Variable("x"), {"x": (2, steps, 4) if layout == "NTC" else (steps, 2, 4)}
    outputs, states = CASES[name]().unroll(steps, inputs, layout=layout, merge_outputs=name != "list")
    return mx.sym.Group(outputs) if isinstance(outputs, list) else outputs, states, shapes


@pytest.mark.parametrize("name", CASES)
def test_cells_name_compute_and_differentiate_as_mxnet(name):
    expected = GOLDEN[name]
    symbol, states, shapes = unrolled(name)
    assert symbol.list_arguments() == expected["args"]
    assert [re.sub(r"concat\d+", "concat", n) for n in symbol.list_outputs()] == [
        re.sub(r"concat\d+", "concat", n) for n in expected["outs"]
    ]  # whose numbers count what was made before
    assert len(states) == expected["states"]
    if "internals" in expected:
        named = [
            n for n in symbol.get_internals().list_outputs() if not n.startswith(HELPERS) and "begin" not in n
        ]
        assert sorted(named) == expected["internals"]
    executor, draws = symbol.simple_bind(mx.cpu(), **shapes), np.random.RandomState(5)
    for argument in sorted(executor.arg_dict):
        array = executor.arg_dict[argument]
        array[:] = draws.normal(size=array.shape) * 0.5
    for y, z in zip(executor.forward(is_train=True), expected["values"], strict=True):
        np.testing.assert_allclose(y.asnumpy(), z, rtol=1e-5, atol=2e-6)
    executor.backward([mx.nd.ones(y.shape) for y in executor.outputs])
    for argument, z in expected["grads"].items():
        np.testing.assert_allclose(executor.grad_dict[argument].asnumpy(), z, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "cell", "size"),
    [
        ("pack", lambda: R.LSTMCell(3, prefix="p_"), None),
        ("f", lambda: R.FusedRNNCell(3, 2, "lstm", True, prefix="f_"), 720),
    ],
)
def test_weights_are_unpacked_gate_by_gate_and_packed_again(name, cell, size):
    if size is None:
        shapes = {"i2h_weight": (12, 4), "i2h_bias": (12,), "h2h_weight": (12, 3), "h2h_bias": (12,)}
        args = {f"p_{k}": mx.nd.arange(int(np.prod(s))).reshape(s) for k, s in shapes.items()}
        expected = GOLDEN["unpack"]
    else:
        expected = GOLDEN["funpack"]
        args = {"f_parameters": mx.nd.arange(sum(np.size(x) for x in expected.values()))}
    parts = cell().unpack_weights(args)
    assert {k: v.asnumpy().tolist() for k, v in parts.items()} == expected
    again = cell().pack_weights(parts)
    assert again.keys() == args.keys()
    for k, v in args.items():
        assert (again[k].asnumpy() == v.asnumpy()).all()


@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn_relu", "rnn_tanh"])
@pytest.mark.parametrize("layout", ["NTC", "TNC"])
def test_one_operator_computes_what_its_cells_compute(mode, layout):
    shape = (2, 4, 5) if layout == "NTC" else (4, 2, 5)
    fused = R.FusedRNNCell(3, 2, mode, True, prefix="f_", get_next_state=True)
    x = mx.sym.Variable("x")
    one, states = fused.unroll(4, x, layout=layout)
    assert len(states) == 1 + (mode == "lstm")
    executor = one.simple_bind(mx.cpu(), x=shape)
    draws = np.random.RandomState(1)
    for array in executor.arg_dict.values():
        array[:] = draws.normal(size=array.shape) * 0.5
    parts = fused.unpack_weights({"f_parameters": executor.arg_dict["f_parameters"]})
    cells = fused.unfuse()
    other, _ = cells.unroll(4, x, layout=layout, merge_outputs=True)
    packed = cells.pack_weights(parts)
    bound = other.simple_bind(mx.cpu(), x=shape)
    bound.copy_params_from({**packed, "x": executor.arg_dict["x"]})
    np.testing.assert_allclose(
        bound.forward()[0].asnumpy(), executor.forward()[0].asnumpy(), rtol=1e-5, atol=1e-6
    )


def test_sentences_go_into_buckets_as_in_mxnet():
    sentences = [[1, 2], [3, 4], [5, 6, 7], [1, 1, 1], [9] * 9]
    batches = R.BucketSentenceIter(sentences, 2, buckets=[2, 4], invalid_label=0)
    found = sorted(
        [b.bucket_key, list(b.data[0].shape), sorted(b.data[0].asnumpy().tolist()), sorted(b.label[0].asnumpy().tolist())]
        for b in batches
    )  # fmt: skip
    assert found == GOLDEN["iter"]
    assert [list(batches.provide_data[0][:1]), batches.default_bucket_key] == [["data"], 4]
    coded, words = R.encode_sentences([["a", "b"], ["b", "c", "a"]], invalid_label=0, start_label=1)
    assert (coded, words) == ([[1, 2], [2, 3, 1]], {"\n": 0, "a": 1, "b": 2, "c": 3})
    with pytest.raises(AttributeValueError, match="unknown token 'd'"):
        R.encode_sentences([["d"]], vocab=words)
    assert R.encode_sentences([["d", "a"]], vocab={"a": 1, "?": 2}, unknown_token="?")[0] == [[2, 1]]


def test_a_language_is_learnt_in_buckets(tmp_path):
    rows = [[1, 2, 3, 4, 5, 6][i:] for i in range(4) for _ in range(8)]
    batches = R.BucketSentenceIter(rows, 8, buckets=[3, 4, 6], invalid_label=0)
    cell = R.SequentialRNNCell()
    cell.add(R.LSTMCell(12, prefix="lstm_"))

    def network(length):
        cell.reset()
        embedded = mx.sym.Embedding(mx.sym.Variable("data"), input_dim=8, output_dim=6, name="embed")
        outputs, _ = cell.unroll(length, embedded, merge_outputs=True)
        scores = mx.sym.FullyConnected(mx.sym.Reshape(outputs, shape=(-1, 12)), num_hidden=8, name="pred")
        label = mx.sym.Reshape(mx.sym.Variable("softmax_label"), shape=(-1,))
        return mx.sym.SoftmaxOutput(scores, label, name="softmax"), ("data",), ("softmax_label",)

    module = mx.mod.BucketingModule(network, default_bucket_key=batches.default_bucket_key)
    mx.random.seed(1)
    module.fit(
        batches, num_epoch=20, eval_metric=mx.metric.Perplexity(0), optimizer="adam",
        optimizer_params={"learning_rate": 0.05}, initializer=mx.init.Xavier(),
    )  # fmt: skip
    assert dict(module.score(batches, mx.metric.Perplexity(0)))["perplexity"] < 1.3
    symbol = network(3)[0]
    R.save_rnn_checkpoint(cell, str(tmp_path / "lm"), 20, symbol, *module.get_params())
    _, arguments, _ = R.load_rnn_checkpoint(cell, str(tmp_path / "lm"), 20)
    for name, array in module.get_params()[0].items():
        assert (arguments[name].asnumpy() == array.asnumpy()).all()


def test_zoneout_keeps_numbers_of_the_step_before():
    cell = R.ZoneoutCell(R.RNNCell(50), zoneout_outputs=0.5)
    outputs, _ = cell.unroll(2, mx.sym.Variable("x"))
    executor = mx.sym.Group(outputs).simple_bind(mx.cpu(), x=(4, 2, 3))
    for array in executor.arg_dict.values():
        array[:] = np.random.RandomState(0).normal(size=array.shape)
    first, second = (y.asnumpy() for y in executor.forward(is_train=True))
    assert 0.3 < (first == 0).mean() < 0.7  # of the step before the first
    assert 0.2 < (second == first).mean() < 0.8


def test_wrong_use_is_told():
    x = mx.sym.Variable("x")
    with pytest.raises(GraphError, match="use unroll"):
        R.FusedRNNCell(3)(x, [])
    with pytest.raises(GraphError, match="use unroll"):
        R.BidirectionalCell(R.RNNCell(2, prefix="a_"), R.RNNCell(2, prefix="b_"))(x, [])
    with pytest.raises(AttributeValueError, match="mode is 'lstmm'"):
        R.FusedRNNCell(3, mode="lstmm")
    with pytest.raises(DTypeError, match="2 inputs given, expected one symbol, or 3"):
        R.RNNCell(2).unroll(3, [x, x])
    held = R.RNNCell(2)
    R.SequentialRNNCell().add(held)
    with pytest.raises(GraphError, match="given to another one"):
        held.begin_state()
