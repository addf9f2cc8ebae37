"""`Symbol`: composition, arithmetic, outputs, and what is refused; behaviour of MXNet 1.9.1 from `golden_symbol.json`."""

import copy
import json
import pickle
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from golden import DATA
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import cpu, sym
from tinygrad_lesson.engine.graph import toposort
from tinygrad_lesson.errors import AttributeValueError, DTypeError, GraphError, ShapeError
from tinygrad_lesson.mxnet import asked
from tinygrad_lesson.mxnet.register import OPERATORS
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.symbol import NameManager

BEHAVIOUR = json.loads((DATA / "golden_symbol.json").read_text())["executor"]
A, B = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), np.array([[2.0, 2.0], [-1.0, 0.5]], np.float32)


def value(symbol, **arguments):
    """The one output for float32 arrays, as a plain array."""
    return symbol.eval(cpu(), **arguments)[0].asnumpy()


def two_layers():
    """The network that MXNet's recordings call fc2."""
    x = sym.relu(sym.FullyConnected(sym.Variable("data"), num_hidden=10, name="fc1"), name="r1")
    return sym.FullyConnected(x, num_hidden=3, name="fc2")


@pytest.mark.parametrize(
    "expression",
    [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
        lambda a, b: a + 2, lambda a, b: 2 + a, lambda a, b: a - 2, lambda a, b: 2 - a, lambda a, b: a * 3,
        lambda a, b: 3 * a, lambda a, b: a / 4, lambda a, b: 4 / a, lambda a, b: -a, lambda a, b: a ** 2,
        lambda a, b: 2.0 ** a, lambda a, b: (a * a) ** b, lambda a, b: np.float32(2) * a + a * np.int64(3),
    ],
    ids=range(17),
)  # fmt: skip
def test_arithmetic_is_that_of_numpy(expression):
    b = sym.Variable("b")
    found = value(expression(sym.Variable("a"), b) + b * 0, a=A, b=B)
    np.testing.assert_allclose(found, expression(A, B), rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    "expression",
    [
        lambda a, b: a == b, lambda a, b: a != b, lambda a, b: a > b, lambda a, b: a >= b, lambda a, b: a < b,
        lambda a, b: a <= b, lambda a, b: a == 3, lambda a, b: a > 1, lambda a, b: a < 1, lambda a, b: a <= 0.5,
    ],
    ids=range(10),
)  # fmt: skip
def test_comparisons_answer_in_the_type_of_their_inputs_as_in_mxnet(expression):
    symbol = expression(sym.Variable("a"), sym.Variable("b"))
    given = {"a": A, "b": B} if len(symbol.list_arguments()) == 2 else {"a": A}
    found = value(symbol, **given)
    np.testing.assert_array_equal(found, expression(A, B).astype(np.float32), strict=True)


def test_maximum_minimum_and_power_take_numbers_on_either_side():
    a, b = sym.Variable("a"), sym.Variable("b")
    np.testing.assert_array_equal(value(sym.maximum(a, b), a=A, b=B), np.maximum(A, B))
    np.testing.assert_array_equal(value(sym.maximum(1, a), a=A), np.maximum(A, 1))
    np.testing.assert_array_equal(value(sym.minimum(a, 1), a=A), np.minimum(A, 1))
    np.testing.assert_allclose(value(sym.pow(a, 2), a=A), A**2)
    np.testing.assert_allclose(value(sym.pow(2, a), a=A), 2**A)


def test_zeros_and_ones_need_no_argument():
    assert value(sym.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert value(sym.ones(2, dtype="float64")).dtype == np.float64
    with pytest.raises(DTypeError, match="shape is 'ab', expected a tuple of sizes"):
        sym.zeros("ab")


def test_plus_does_not_broadcast():
    with pytest.raises(ValueError, match="broadcast_add would repeat it"):
        (sym.Variable("a") + sym.Variable("b")).infer_shape(a=(2, 3), b=(1, 3))


STRICT = "elemwise_add elemwise_sub elemwise_mul elemwise_div _power _maximum _minimum _hypot _mod _equal _not_equal"
STRICT += " _greater _greater_equal _lesser _lesser_equal _logical_and _logical_or _logical_xor"


@pytest.mark.parametrize("name", STRICT.split())
def test_an_operator_of_one_shape_learns_it_and_names_the_operator_that_broadcasts(name):
    y = getattr(sym, name)(sym.Variable("a"), sym.Variable("b"))
    assert y.infer_shape(b=(2, 3)) == ([(2, 3), (2, 3)], [(2, 3)], [])
    with pytest.raises(ShapeError, match="would repeat it") as error:
        y.infer_shape(a=(2, 3), b=(1, 3))
    assert re.search(r"broadcast_\w+", str(error.value))[0] in OPERATORS


def test_a_node_used_twice_is_one_node():
    x = sym.exp(sym.Variable("x"), name="e")
    with NameManager():
        assert (x * x).get_internals().list_outputs() == ["x", "e_output", "_mul0_output"]


def test_outputs_are_chosen_by_number_name_or_node():
    parts = sym.split(sym.Variable("a"), num_outputs=3, name="sp")
    assert [part.list_outputs() for part in parts] == BEHAVIOUR["symbol_iter"]
    assert parts["sp_output2"].list_outputs() == ["sp_output2"]
    assert parts[-1].list_outputs() == ["sp_output2"]
    with pytest.raises(GraphError, match="3 outputs are called 'sp'"):
        parts["sp"]
    with pytest.raises(IndexError):
        parts[3]


def test_an_unknown_output_is_answered_with_the_nearest():
    with pytest.raises(GraphError) as caught:
        two_layers().get_internals()["fc1_ouput"]
    assert str(caught.value).startswith("<Symbol group [data, fc1_weight,")
    assert "no output is called 'fc1_ouput'; did you mean 'fc1_output'? it takes data, fc1_weight" in str(
        caught.value
    )


def test_inner_outputs_are_symbols_of_their_own():
    inner = two_layers().get_internals()["r1_output"]
    assert inner.list_arguments() == ["data", "fc1_weight", "fc1_bias"]
    assert two_layers().get_internals()["fc1_weight"].get_children() is None


def test_a_symbol_of_several_outputs_is_no_input():
    parts = sym.split(sym.Variable("a"), num_outputs=2, name="sp")
    with pytest.raises(
        GraphError, match=r"r \(relu\): input data has 2 outputs; choose one, such as 'sp_output0'"
    ):
        sym.relu(parts, name="r")


def test_texts_are_those_of_mxnet():
    assert str(sym.relu(sym.Variable("x"), name="r")) == BEHAVIOUR["str"]
    assert repr(sym.relu(sym.Variable("x"), name="r")) == BEHAVIOUR["repr"]
    pair = sym.Group([sym.relu(sym.Variable("x"), name="r"), sym.relu(sym.Variable("x"), name="q")])
    assert repr(pair) == BEHAVIOUR["repr_group"]
    assert two_layers().debug_str() == BEHAVIOUR["debug_str"]


def test_a_symbol_has_no_truth_value():
    assert BEHAVIOUR["symbol_bool"].startswith("NotImplementedForSymbol")
    with pytest.raises(DTypeError, match="the truth value of .*: a Symbol is an expression without numbers"):
        bool(sym.Variable("a") == sym.Variable("b"))


def test_eval_is_that_of_mxnet():
    a, b = sym.Variable("a"), sym.Variable("b")
    assert value(a + b, a=[1.0, 1.0], b=[1.0, 1.0]).tolist() == BEHAVIOUR["eval"]


def test_composition_replaces_variables():
    net = two_layers()
    before = net.tojson()
    whole = net(data=sym.exp(sym.Variable("z"), name="e"), name="whole")
    assert whole.list_arguments() == ["z", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias"]
    assert whole.name == "whole"
    assert net.tojson() == before
    weights = {"fc1_weight": np.ones((10, 2), np.float32), "fc1_bias": np.zeros(10, np.float32)}
    weights |= {"fc2_weight": np.ones((3, 10), np.float32), "fc2_bias": np.zeros(3, np.float32)}
    np.testing.assert_allclose(value(whole, z=A, **weights), value(net, data=np.exp(A), **weights), rtol=1e-6)


def test_composition_takes_symbols_in_the_order_of_the_variables():
    a, b = sym.Variable("a"), sym.Variable("b")
    assert (a - b)(b, a).list_arguments() == ["b", "a"]
    np.testing.assert_array_equal(value((a - b)(b, a), a=A, b=B), B - A)


@pytest.mark.parametrize(
    ("compose", "error", "message"),
    [
        (lambda net: net(dta=sym.Variable("z")), GraphError, "no variable 'dta'; did you mean 'data'?"),
        (lambda net: net(data=3), DTypeError, "data must be a Symbol, not 3"),
        (
            lambda net: net(*[sym.Variable(f"v{i}") for i in range(6)]),
            GraphError,
            "6 symbols for 5 variables",
        ),
    ],
)
def test_a_wrong_composition_is_refused(compose, error, message):
    with pytest.raises(error, match=message):
        compose(two_layers())


def test_variables_tell_shape_type_and_multipliers():
    x = sym.Variable("x", shape=(2, 3), dtype="float16", lr_mult=0.5)
    assert sym.relu(x).infer_shape() == ([(2, 3)], [(2, 3)], [])
    assert sym.relu(x).infer_type() == ([np.float16], [np.float16], [])
    assert x.attr("lr_mult") == "0.5"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sym.Variable(3), DTypeError, "Variable: the name must be a string, not 3"),
        (lambda: sym.Variable("x", shapes=(2,)), AttributeValueError, "unknown attribute 'shapes'; own ones look like __shapes__"),
        (lambda: sym.Variable("x", dtype="float99"), DTypeError, "Variable 'x': dtype is 'float99', expected an element type"),
        (lambda: sym.Variable("x", shape=5), ShapeError, "Variable 'x': shape is 5, expected a tuple of sizes"),
        (lambda: sym.Group([]), GraphError, "Group: the list of symbols is empty"),
        (lambda: sym.Group([sym.Variable("x"), 3]), DTypeError, "Group: 3 is no Symbol"),
        (lambda: sym.Variable("x") + "y", DTypeError, "plus of a Symbol and 'y': expected a Symbol or a number"),
        (lambda: sym.Variable("x") + True, DTypeError, "plus of a Symbol and True: expected a Symbol or a number"),
        (lambda: sym.Variable("x") + np.ones(2), DTypeError, "expected a Symbol or a number"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_makes_no_symbol_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_symbols_are_copied_by_sharing_their_graph():
    net = two_layers()
    for twin in (copy.copy(net), copy.deepcopy(net)):
        assert twin.tojson() == net.tojson()
        assert twin.heads[0].node is net.heads[0].node


def test_symbols_are_keys_of_dicts_though_equality_builds_a_node():
    a, b = sym.Variable("a"), sym.Variable("b")
    assert {a: 1, b: 2}[a] == 1


def test_counters_of_names_belong_to_a_thread():
    names = []

    def build():
        names.append(sym.relu(sym.Variable("x")).name)

    with NameManager():
        build()
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
        build()
    assert names == ["relu0", "relu0", "relu1"]


def test_threads_that_share_a_name_manager_get_names_of_their_own():
    class Slow(str):
        def __hash__(self):
            time.sleep(1e-6)  # another thread may go on here
            return super().__hash__()

    manager, kind = NameManager(), Slow("fc")
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: manager.get(None, kind), range(500)))
    assert sorted(names) == sorted(f"fc{i}" for i in range(500))


def test_everything_works_on_ten_thousand_layers():
    x = sym.Variable("x")
    for _ in range(10_000):
        x = x + 1
    assert x.list_arguments() == ["x"]
    assert x.infer_shape(x=(2,)) == ([(2,)], [(2,)], [])
    assert len(x.get_internals()) == 10_001
    assert sym.load_json(x(x=sym.Variable("y")).tojson()).list_arguments() == ["y"]
    assert x.debug_str().count("\n") > 10_000


def test_threads_can_ask_one_symbol_at_once(monkeypatch):
    def slowly(heads):
        time.sleep(1e-2)  # another thread may go on here
        return toposort(heads)

    def ask(i):
        values = np.full((4, i % 5 + 1), i, np.float32)
        shapes = net.infer_shape(data=values.shape)[1]
        return shapes[0], (sym.sum(x * x, axis=1) + i).eval(x=values)[0].asnumpy()

    net, x = two_layers(), sym.Variable("x")
    monkeypatch.setattr(asked, "toposort", slowly)
    with ThreadPoolExecutor(8) as pool:
        for i, (shape, y) in enumerate(pool.map(ask, range(60))):
            assert shape == (4, 3)
            np.testing.assert_array_equal(y, np.full(4, i * i * (i % 5 + 1) + i, np.float32))


def test_a_slice_of_outputs_is_a_group():
    parts = sym.split(sym.Variable("a"), num_outputs=3, name="sp")
    assert parts[1:].list_outputs() == ["sp_output1", "sp_output2"]
    assert parts[::2].list_outputs() == ["sp_output0", "sp_output2"]
    with pytest.raises(GraphError, match=r"no output is in slice\(3, None, None\)"):
        parts[3:]
    with pytest.raises(DTypeError, match=r"chosen by its number or its name, not by 1\.5"):
        parts[1.5]


def test_composing_replaces_every_variable_of_a_name():
    twice = sym.exp(sym.Variable("p")) + sym.Variable("p") * sym.Variable("q")
    composed = twice(p=sym.Variable("z") * 2)
    assert composed.list_arguments() == ["z", "q"]
    same = sym.Variable("z")
    assert value(twice(p=same), z=A, q=B) == pytest.approx(np.exp(A) + A * B)
    assert value(twice(same, sym.Variable("r")), z=A, r=B) == pytest.approx(np.exp(A) + A * B)


def test_composing_refuses_what_it_would_pass_over():
    net = two_layers()
    with pytest.raises(GraphError, match="has two symbols for 'data'"):
        net(sym.Variable("a"), data=sym.Variable("b"))
    with pytest.raises(GraphError, match="has no variable 'dta'; did you mean 'data'"):
        net(dta=sym.Variable("b"))


@pytest.mark.parametrize("symbols", [sym.Variable("x"), 3, "text", [sym.Variable("x"), 3]])
def test_a_group_of_what_is_no_list_of_symbols_is_refused(symbols):
    with pytest.raises(DTypeError, match="Group: .* is no (list of symbols|Symbol)"):
        sym.Group(symbols)


def test_a_group_of_groups_is_chosen_from_by_number_and_name():
    inner = sym.Group([sym.relu(sym.Variable("x"), name="r"), sym.Variable("y")])
    outer = sym.Group(iter([inner, sym.exp(sym.Variable("z"), name="e")]))
    assert outer.list_outputs() == ["r_output", "y", "e_output"]
    assert outer["e_output"].list_arguments() == ["z"]
    assert outer[1].list_outputs() == ["y"]


@given(names=st.lists(st.text(min_size=1, max_size=5), min_size=3, max_size=3, unique=True))
def test_any_names_are_saved_and_loaded(names):
    x = sym.FullyConnected(sym.Variable(names[0]), num_hidden=2, name=names[1])
    net = sym.Group([sym.relu(x, name=names[2]), x])
    again = sym.load_json(net.tojson())
    for what in ("list_arguments", "list_outputs", "attr_dict", "tojson"):
        assert getattr(again, what)() == getattr(net, what)()
    assert again.infer_shape(**{names[0]: (4, 3)}) == net.infer_shape(**{names[0]: (4, 3)})


def test_nodes_of_one_name_are_saved_and_loaded_as_they_are():
    x = sym.exp(sym.relu(sym.Variable("same"), name="same"), name="same")
    again = sym.load_json(x.tojson())
    assert again.get_internals().list_outputs() == ["same", "same_output", "same_output"]
    np.testing.assert_allclose(value(again, same=A), np.exp(np.maximum(A, 0)), rtol=1e-6)
    with pytest.raises(GraphError, match="2 outputs are called 'same_output'"):
        again.get_internals()["same_output"]


def test_a_deep_symbol_can_be_pickled_and_computes_the_same():
    s = sym.Variable("x", shape=(2,))
    for _ in range(3000):
        s = s + 1
    whole = sym.Group([s, sym.square(s)])
    pair = pickle.loads(pickle.dumps(whole))
    assert pair.tojson() == whole.tojson()
    first, second = pair.bind(tl.cpu(), {"x": np.array([1.0, 2.0])}).forward()
    assert (first.tolist(), second.tolist()) == ([3001, 3002], [3001**2, 3002**2])


@pytest.mark.parametrize("name", ["sign", "negative"])
def test_truth_values_that_an_operator_is_not_made_for_are_refused_in_words(name):
    s = getattr(sym, name)(sym.Variable("x"))
    for runner in available_runners():
        with pytest.raises(DTypeError, match=r"cannot be computed for bool; bind float32 instead"):
            s.bind(tl.cpu(), {"x": np.array([True, False])}, runner=runner).forward()


@pytest.mark.parametrize(
    "name", ["LinearRegressionOutput", "MAERegressionOutput", "LogisticRegressionOutput"]
)
def test_the_label_of_a_regression_is_inferred_as_in_mxnet(name):
    net = getattr(sym, name)(sym.Variable("x"), sym.Variable("label"))
    for x, label in (((3, 1), (3,)), ((3,), (3,)), ((3, 2), (3, 2)), ((3, 1, 1), (3, 1, 1))):
        assert net.infer_shape(x=x)[0] == [x, label]
    assert net.infer_shape(x=(3, 1), label=(3, 1))[0] == [(3, 1), (3, 1)]
    with pytest.raises(ShapeError, match=r"label is \(6,\), expected \(3, 2\)"):
        net.infer_shape(x=(3, 2), label=(6,))


def test_the_index_of_a_pick_is_inferred_as_in_mxnet():
    x, index = sym.Variable("x"), sym.Variable("index")
    assert sym.pick(x, index, axis=1).infer_shape(x=(3, 4, 2)) == ([(3, 4, 2), (3, 2)], [(3, 2)], [])
    assert sym.pick(x, index, axis=1, keepdims=True).infer_shape(x=(3, 4, 2))[:2] == (
        [(3, 4, 2), (3, 2)],
        [(3, 1, 2)],
    )
    assert sym.choose_element_0index(x, index).infer_shape(x=(3, 4))[0] == [(3, 4), (3,)]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_the_weight_of_an_embedding_is_in_single_precision_as_in_mxnet(dtype):
    net = sym.Embedding(sym.Variable("a"), input_dim=3, output_dim=2, name="e")
    types, results, _ = net.infer_type(a=dtype)
    assert [np.dtype(t).name for t in (*types, *results)] == [dtype, "float32", "float32"]
