"""Loops and choices of symbols. The numbers are those of MXNet 1.9.1, and so is ``tests/data/foreach.json``."""

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lesson import mx
from tinygrad_lesson.engine.errors import DTypeError, FormatError, GraphError, LessonError, ShapeError

SAVED = (Path(__file__).parents[1] / "data" / "foreach.json").read_text()
DATA, STATE = mx.sym.Variable("data"), mx.sym.Variable("state")


def layer(x, states):
    h = mx.sym.FullyConnected(x, num_hidden=2, name="fc") + states[0]
    return [h * 2], [mx.sym.tanh(h)]


def foreach():
    outputs, states = mx.sym.contrib.foreach(layer, DATA, [STATE])
    return mx.sym.Group([*outputs, *states])


def counting():
    outputs, variables = mx.sym.contrib.while_loop(
        lambda i, s: i <= 5, lambda i, s: ([i + s], [i + 1, s + i * mx.sym.Variable("a")]),
        (mx.sym.Variable("i"), STATE), max_iterations=10,
    )  # fmt: skip
    return mx.sym.Group([*outputs, *variables])


def choice():
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    return mx.sym.contrib.cond(x * y < 5, lambda: (x + 5) * (y + 5), lambda: (x - 5) * (y - 5))


def again(symbol):
    with mx.name.NameManager():
        return mx.sym.load_json(symbol.tojson())


def differentiated(symbol, heads=None, **arrays):
    arrays = {name: mx.nd.array(x) for name, x in arrays.items()}
    gradients = {name: mx.nd.zeros(x.shape) for name, x in arrays.items()}
    executor = symbol.bind(mx.cpu(), arrays, args_grad=gradients)
    results = executor.forward(is_train=True)
    executor.backward([mx.nd.ones(y.shape) for y in results] if heads is None else heads)
    return [y.asnumpy() for y in results], {name: g.asnumpy() for name, g in gradients.items()}


def test_a_loop_is_saved_and_read_as_by_mxnet():
    with mx.name.NameManager():
        symbol = foreach()
    expected = json.loads(SAVED)
    for graph in (symbol, mx.sym.load_json(SAVED)):
        found = json.loads(graph.tojson())
        assert [entry["op"] for entry in found["nodes"]] == [entry["op"] for entry in expected["nodes"]]
        mine, its = found["nodes"][-1], expected["nodes"][-1]
        assert (mine["attrs"], mine["inputs"], mine["name"]) == (its["attrs"], its["inputs"], its["name"])
        assert found["node_row_ptr"] == expected["node_row_ptr"]
    assert json.loads(mx.sym.load_json(SAVED).tojson()) == expected
    assert symbol.list_arguments() == ["data", "state", "fc_weight", "fc_bias"]
    assert symbol.list_outputs() == ["_foreach0_output0", "_foreach0_output1"]


@pytest.mark.parametrize("symbol", [foreach(), mx.sym.load_json(SAVED)], ids=["made", "read"])
def test_a_loop_computes_and_differentiates_as_mxnet(symbol):
    shapes = [(3, 4, 5), (4, 2), (2, 5), (2,)], [(3, 4, 2), (4, 2)], []
    assert symbol.infer_shape(data=(3, 4, 5), state=(4, 2)) == shapes
    assert symbol.infer_shape(data=(3, 4, 5)) == shapes  # a state is like what follows it
    draws = np.random.RandomState(0)
    names = ("data", "state", "fc_weight", "fc_bias")
    arrays = {name: draws.uniform(-1, 1, shape) for name, shape in zip(names, shapes[0], strict=True)}
    results, gradients = differentiated(symbol, **arrays)
    last = [
        [-0.6083643, -0.94228965],
        [0.26557297, -0.72038966],
        [-0.6548943, -0.8707342],
        [-0.86014235, -0.7023319],
    ]
    np.testing.assert_allclose(results[1], last, rtol=1e-6)
    slopes = [
        [2.4049268, -1.7457697, 7.9671903, 5.5359244, -7.1464186],
        [2.9904637, 1.0541072, 5.7536273, 6.531919, -11.466083],
    ]
    np.testing.assert_allclose(gradients["fc_weight"], slopes, rtol=1e-6)


@pytest.mark.parametrize("steps", [2, 40])
def test_a_loop_is_what_its_steps_are_one_after_the_other(steps):
    draws = np.random.RandomState(steps)
    weight = mx.sym.Variable("weight")
    scaled = weight * 3  # which the body finds outside

    def body(row, state):
        return mx.sym.tanh(row * scaled + state), state * 0.5 + row

    outputs, last = mx.sym.contrib.foreach(body, DATA, STATE)
    rows = mx.sym.SliceChannel(DATA, num_outputs=steps, axis=0, squeeze_axis=True)
    state, found = STATE, []
    for i in range(steps):
        y, state = body(rows[i], state)
        found.append(y)
    arrays = {
        "data": draws.normal(size=(steps, 3)),
        "weight": draws.normal(size=3),
        "state": draws.normal(size=3),
    }
    heads = [mx.nd.array(draws.normal(size=shape)) for shape in ((steps, 3), (3,))]
    one = differentiated(again(mx.sym.Group([outputs, last])), heads, **arrays)
    other = differentiated(mx.sym.Group([mx.sym.stack(*found, axis=0), state]), heads, **arrays)
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name, gradient in other[1].items():
        np.testing.assert_allclose(one[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_a_cell_is_unrolled_by_a_loop():
    cell = mx.rnn.LSTMCell(4, prefix="lstm_")
    begin = [mx.sym.Variable("h"), mx.sym.Variable("c")]
    outputs, states = mx.sym.contrib.foreach(lambda x, s: cell(x, s), DATA, begin)
    rolled = mx.sym.Group([outputs, *states])
    plain, last = mx.rnn.LSTMCell(4, prefix="lstm_").unroll(
        5, DATA, begin_state=begin, layout="TNC", merge_outputs=True
    )
    shapes = {"data": (5, 2, 3), "h": (2, 4), "c": (2, 4)}
    draws = np.random.RandomState(2)
    names = rolled.list_arguments()
    arrays = dict(zip(names, (draws.uniform(-1, 1, s) for s in rolled.infer_shape(**shapes)[0]), strict=True))
    one, other = (differentiated(s, **arrays) for s in (rolled, mx.sym.Group([plain, *last])))
    for a, b in zip((*one[0], *one[1].values()), (*other[0], *other[1].values()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: counting(), lambda: again(counting())], ids=["made", "read"])
def test_a_loop_ends_when_its_condition_does(make):
    symbol = make()
    assert symbol.list_arguments() == ["i", "state", "a"]
    assert symbol.infer_shape(i=(1,), state=(1,), a=(1,))[1] == [(10, 1), (1,), (1,)]
    results, gradients = differentiated(symbol, i=[1], state=[2], a=[3])
    assert results[0].ravel().tolist() == [3, 7, 14, 24, 37, 0, 0, 0, 0, 0]
    assert [y.tolist() for y in results[1:]] == [[6], [47]]
    assert {name: g.tolist() for name, g in gradients.items()} == {"i": [51], "state": [6], "a": [35]}
    results, gradients = differentiated(symbol, i=[6], state=[2], a=[3])  # not even once
    assert not results[0].any()
    assert {name: g.tolist() for name, g in gradients.items()} == {"i": [1], "state": [1], "a": [0]}


@pytest.mark.parametrize("make", [choice, lambda: again(choice())], ids=["made", "read"])
def test_one_of_two_graphs_is_carried_out(make):
    symbol = make()
    assert symbol.list_outputs()[0].endswith("_output")
    for x, result, slopes in ((1, 42, (7, 6)), (3, 6, (-3, -2))):
        results, gradients = differentiated(symbol, x=[x], y=[2])
        assert results[0].tolist() == [result]
        assert (gradients["x"].item(), gradients["y"].item()) == slopes


def test_outputs_and_states_come_back_in_the_lists_they_were_given_in():
    outputs, state = mx.sym.contrib.foreach(lambda x, s: ((x + s, [x * 2, s]), s + x), DATA, STATE)
    assert isinstance(state, mx.sym.Symbol)
    assert isinstance(outputs[1][0], mx.sym.Symbol)
    outputs, states = mx.sym.contrib.foreach(
        lambda x, s: (x[0] + x[1], [s[0], s[1] * x[0]]),
        [DATA, mx.sym.Variable("more")],
        [STATE, mx.sym.Variable("t")],
    )
    assert isinstance(outputs, mx.sym.Symbol)
    assert len(states) == 2
    results = mx.sym.contrib.cond(DATA < 3, lambda: [DATA, STATE], lambda: [STATE, DATA])
    assert [y.list_outputs()[0][-8:] for y in results] == ["_output0", "_output1"]


def test_what_draws_or_moves_a_state_has_no_place_in_a_loop():
    for layer, name in ((mx.sym.Dropout, "Dropout"), (mx.sym.BatchNorm, "BatchNorm")):
        outputs, _ = mx.sym.contrib.foreach(lambda x, s, layer=layer: (layer(x) + s, s), DATA, STATE)
        executor = outputs.simple_bind(mx.cpu(), data=(3, 2, 2), state=(2, 2))
        with pytest.raises(
            GraphError, match=rf"\({name}\) draws random numbers or changes a state.*unroll it"
        ):
            executor.forward()


def test_what_makes_no_loop_is_refused_with_a_word():
    loop, many = mx.sym.contrib.foreach, mx.sym.contrib.while_loop
    with pytest.raises(GraphError, match="foreach: the body does not use 'state'; leave it out"):
        loop(lambda x, s: (x * 2, [x]), DATA, [STATE])
    with pytest.raises(GraphError, match="the body gives 2 states, expected 1 as before"):
        loop(lambda x, s: (x, [s, s]), DATA, STATE)
    with pytest.raises(DTypeError, match=r"the body gave .*, expected a pair \(outputs, states\)"):
        loop(lambda x, s: x + s, DATA, STATE)
    with pytest.raises(DTypeError, match="a state is 3, expected a Symbol with one output"):
        loop(lambda x, s: (x, 3), DATA, STATE)
    with pytest.raises(DTypeError, match="max_iterations is missing"):
        many(lambda i: i < 3, lambda i: (i, [i + 1]), [STATE])
    with pytest.raises(GraphError, match="2 results or 1, expected as many"):
        mx.sym.contrib.cond(DATA < 3, lambda: [DATA, STATE], lambda: [DATA])
    _, grown = loop(lambda x, s: (x, mx.sym.concat(s, x, dim=0)), DATA, STATE)
    with pytest.raises(ShapeError):
        grown.infer_shape(data=(3, 2), state=(2,))


def entry(**changed):
    graph = json.loads(SAVED)
    node = graph["nodes"][-1]
    node["attrs"].update({key: text for key, text in changed.items() if key in node["attrs"]})
    node.update({key: text for key, text in changed.items() if key not in node["attrs"]})
    return json.dumps(graph)


@pytest.mark.parametrize(
    "text",
    [
        entry(in_data_locs="[1]"), entry(in_data_locs="[9]"), entry(remain_locs="[-1, 2]"), entry(num_out_data="7"),
        entry(num_outputs="3"), entry(num_args="9"), entry(subgraphs=[]), entry(subgraphs=None), entry(subgraphs={}),
        entry(subgraphs=[3]), entry(subgraphs=[{"nodes": [], "heads": []}]), entry(in_state_locs="many"),
        entry(subgraphs=json.loads(SAVED)["nodes"][-1]["subgraphs"] * 2), entry(inputs=[[0, 0, 0]]),
    ],
)  # fmt: skip
def test_a_damaged_loop_is_refused_with_its_place(text):
    with pytest.raises(LessonError, match="node 4|_foreach0|inputs given"):
        mx.sym.load_json(text).infer_shape(data=(3, 4, 5), state=(4, 2))


def test_graphs_within_graphs_have_an_end():
    inner = json.loads(SAVED)["nodes"][-1]
    graph = json.loads(SAVED)
    for _ in range(20):
        graph = {**graph, "nodes": [*graph["nodes"][:-1], {**inner, "subgraphs": [graph]}]}
    with pytest.raises(FormatError, match="lie in 16 others"):
        mx.sym.load_json(json.dumps(graph))


def test_numbers_that_are_none_are_found_in_symbols_too():
    x = mx.nd.array([1, np.nan, np.inf, -np.inf])
    for name, expected in (("isnan", [0, 1, 0, 0]), ("isinf", [0, 0, 1, 1]), ("isfinite", [1, 0, 0, 0])):
        executor = getattr(mx.sym.contrib, name)(DATA).bind(mx.cpu(), {"data": x})
        assert executor.forward()[0].asnumpy().tolist() == expected


def test_classes_are_drawn_as_often_as_is_expected():
    classes = mx.nd.array([0, 3, 7], dtype="int32")
    k = np.arange(20)
    expected = np.log((k + 2) / (k + 1)) / np.log(21) * 5000
    symbol = mx.sym.Group(mx.sym.contrib.rand_zipfian(mx.sym.Variable("classes"), 5000, 20))
    for drawn, of_classes, of_drawn in (
        mx.nd.contrib.rand_zipfian(classes, 5000, 20),
        symbol.bind(mx.cpu(), {"classes": classes}).forward(),
    ):
        counts = np.bincount(drawn.asnumpy(), minlength=20)
        assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()  # five standard deviations
        np.testing.assert_allclose(of_classes.asnumpy(), expected[[0, 3, 7]], rtol=1e-6)
        np.testing.assert_allclose(of_drawn.asnumpy(), expected[drawn.asnumpy()], rtol=1e-6)
