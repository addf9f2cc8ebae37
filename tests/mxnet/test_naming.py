"""Attributes of nodes: where they come from, which of them an operator takes, and that a file keeps them."""

import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.errors import AttributeValueError, FormatError
from tinygrad_lesson.mxnet.naming import HIDDEN
from tinygrad_lesson.symbol import AttrScope

X = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]], np.float32)


@pytest.mark.parametrize(
    "key", ["__lr_mult", "_lr_mult", "lr_mult_", "lr_mult__", "___lr_mult__", "_wd_mult"]
)
def test_an_attribute_that_is_nearly_a_hidden_one_is_refused_and_not_ignored(key):
    right = key.strip("_")
    with pytest.raises(AttributeValueError, match=f"'{key}' means nothing; write {right}='0'"):
        sym.Variable("w", attr={key: "0"})
    with pytest.raises(AttributeValueError, match=f"'{key}' means nothing"), sym.AttrScope(**{key: "0"}):
        sym.Variable("w")
    assert sym.Variable("w", attr={right: "0"}).attr(right) == "0"


def value(symbol):
    """What a symbol of `x` alone gives for X."""
    return symbol.eval(cpu(), x=X)[0].asnumpy()


def softmax(axis):
    """By NumPy."""
    e = np.exp(X - X.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def again(symbol):
    """The symbol that was saved and loaded."""
    return sym.load_json(symbol.tojson())


# What an operator takes from a scope.


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("said", ["scope", "attr"])
def test_an_operators_own_attribute_wins_in_memory_and_in_the_file(axis, said):
    x, other = sym.Variable("x"), str(1 - axis)
    if said == "scope":
        with AttrScope(axis=other):
            y = sym.softmax(x, axis=axis)
    else:
        y = sym.softmax(x, axis=axis, attr={"axis": other})
    for symbol in (y, again(y), again(again(y))):
        np.testing.assert_allclose(value(symbol), softmax(axis), rtol=1e-6)
        assert symbol.list_attr() == {"axis": str(axis)}


@pytest.mark.parametrize("axis", [0, 1])
def test_what_an_operator_is_not_told_it_takes_from_the_scope_as_in_mxnet(axis):
    with AttrScope(axis="7"), AttrScope(axis=str(axis)):
        y = sym.softmax(sym.Variable("x"))
    for symbol in (y, again(y)):
        np.testing.assert_allclose(value(symbol), softmax(axis), rtol=1e-6)


def test_an_attribute_of_a_scope_that_an_operator_does_not_have_becomes_none_of_its_own():
    with AttrScope(axis="0", num_hidden="3", mood="odd"):
        y = sym.relu(sym.exp(sym.Variable("x"), name="e"), name="r")
    for symbol in (y, again(y)):
        np.testing.assert_allclose(value(symbol), np.exp(X), rtol=1e-6)
        assert symbol.attr_dict()["r"] == {"__axis__": "0", "__num_hidden__": "3", "__mood__": "odd"}
        assert symbol.attr("mood") == "odd"


OPERATORS = {
    "FullyConnected": lambda x: sym.FullyConnected(x, num_hidden=2, no_bias=True, name="op"),
    "Convolution": lambda x: sym.Convolution(x, kernel=(1,), num_filter=2, name="op"),
    "Concat": lambda x: sym.Concat(x, x, dim=0, name="op"),
    "SliceChannel": lambda x: sym.split(x, num_outputs=3, name="op")[1],
    "Reshape": lambda x: sym.Reshape(x, shape=(3, 2), name="op"),
    "BatchNorm": lambda x: sym.BatchNorm(x, eps=0.5, name="op"),
    "Dropout": lambda x: sym.Dropout(x, p=0.25, name="op"),
    "_PlusScalar": lambda x: x + 1,
    "sum": lambda x: sym.sum(x, axis=1, name="op"),
    "Variable": lambda x: x,
}
KEYS = st.text(max_size=8).map(lambda t: t.replace("_", "-")) | st.sampled_from(
    ["self", "attr", "name", "axis", "p", "dim", "shape", "num_args", "scalar", "ctx_group", "op", "data", "__mood__", "é ü"]
)  # fmt: skip


@pytest.mark.parametrize("kind", OPERATORS)
@given(attributes=st.dictionaries(KEYS, st.text(max_size=12), max_size=4), in_scope=st.booleans())
def test_any_attribute_with_any_text_survives_a_file_and_changes_no_operator(kind, attributes, in_scope):
    make, taken = OPERATORS[kind], ("axis", "p", "dim", "shape", "scalar", "eps")
    attributes = {k: text for k, text in attributes.items() if k not in taken or kind in ("Variable", "exp")}
    plain = sym.exp(make(sym.Variable("x")), name="last")
    with AttrScope(**attributes if in_scope else {}):
        x = sym.Variable("x", attr=None if in_scope else attributes)
        told = sym.exp(make(x), name="last", attr=None if in_scope else attributes)
    loaded = again(told)
    assert loaded.attr_dict() == told.attr_dict()
    assert loaded.tojson() == told.tojson()
    for symbol in (told, loaded):
        assert [node.op for node in symbol.nodes] == [node.op for node in plain.nodes]
        for key, text in attributes.items():
            assert symbol.attr(key) == text
            assert symbol.get_internals()["x"].attr(key) == text


@pytest.mark.parametrize("key", HIDDEN)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_mxnet_hides_is_written_as_mxnet_writes_it(key, wrapped, tmp_path):
    with AttrScope(**{f"__{key}__" if wrapped else key: "1"}):
        net = sym.FullyConnected(sym.Variable("x"), num_hidden=2, name="f")
    net.save(str(tmp_path / "net.json"))
    saved = json.loads((tmp_path / "net.json").read_text())
    for node in saved["nodes"]:
        assert node["attrs"][f"__{key}__"] == "1"
        assert key not in node["attrs"]
    assert sym.load(str(tmp_path / "net.json")).attr_dict() == net.attr_dict()
    assert net.attr(key) == net.attr(f"__{key}__") == "1"


@pytest.mark.parametrize("part", ["attrs", "attr", "param"])
def test_files_with_hidden_attributes_under_their_plain_names_load(part):
    graph = json.loads(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc").tojson())
    hidden = {"ctx_group": "dev1", "lr_mult": "2", "weight_lr_mult": "0.5", "bias_wd_mult": "3"}
    del graph["nodes"][-1]["attrs"]
    graph["nodes"][-1][part] = {"num_hidden": "3", **hidden}
    graph["nodes"][0][part] = {"force_mirroring": "True"}
    net = sym.load_json(json.dumps(graph))
    told = net.attr_dict()
    assert told["fc"] == {
        "num_hidden": "3", "__ctx_group__": "dev1", "ctx_group": "dev1", "__lr_mult__": "2", "lr_mult": "2"
    }  # fmt: skip
    assert told["fc_weight"]["__lr_mult__"] == "0.5"
    assert told["fc_bias"]["__wd_mult__"] == "3"
    assert told["data"]["__force_mirroring__"] == "True"
    assert again(net).attr_dict() == told


def test_a_users_attribute_of_an_old_file_survives_a_new_one():
    graph = json.loads(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc").tojson())
    graph["nodes"][-1] |= {"param": graph["nodes"][-1].pop("attrs"), "attr": {"mood": "happy"}}
    net = sym.load_json(json.dumps(graph))
    assert net.attr("mood") == again(net).attr("mood") == "happy"


# Scopes.


def test_a_scope_that_is_entered_again_keeps_nothing_of_the_scopes_around_it():
    scope = AttrScope(__a__="1")
    with AttrScope(__b__="2", __a__="0"), scope:
        assert sym.Variable("x").list_attr() == {"__a__": "1", "__b__": "2"}
    with scope:
        assert sym.Variable("x").list_attr() == {"__a__": "1"}


@given(keys=st.lists(st.sampled_from(["lr_mult", "__lr_mult__"]), min_size=1, max_size=4))
def test_the_innermost_scope_wins_however_it_spells_an_attribute(keys):
    def inside(i):
        if i == len(keys):
            return sym.Variable("x")
        with AttrScope(**{keys[i]: str(i)}):
            return inside(i + 1)

    assert inside(0).attr("lr_mult") == str(len(keys) - 1)


def test_threads_have_scopes_of_their_own():
    shared, found, barrier = AttrScope(__shared__="1"), {}, threading.Barrier(8)

    def work(i):
        for _ in range(50):
            with AttrScope(__own__=str(i)):
                barrier.wait()
                with shared:
                    barrier.wait()
                    found.setdefault(i, set()).add(tuple(sorted(sym.Variable("x").list_attr().items())))

    with AttrScope(__outer__="1"):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {i: {(("__own__", str(i)), ("__shared__", "1"))} for i in range(8)}


# What is refused.


@pytest.mark.parametrize(
    "make",
    [
        lambda x: sym.FullyConnected(x, num_hidden=2, weight_lr_mult=0),
        lambda x: sym.FullyConnected(x, num_hidden=2, attr={"weight_lr_mult": "0"}),
        lambda x: sym.Variable("w", attr={"weight_lr_mult": "0"}),
        lambda x: within(AttrScope(weight_lr_mult="0"), lambda: sym.FullyConnected(x, num_hidden=2)),
    ],
)
def test_a_multiplier_of_an_input_is_refused_as_in_mxnet_with_what_to_write(make):
    with pytest.raises(AttributeValueError, match=r"weight=Variable\('weight', lr_mult='0'\)"):
        make(sym.Variable("x"))


def within(scope, make):
    """What `make` gives inside a scope."""
    with scope:
        return make()


@pytest.mark.parametrize("attr", ["text", 3, {"a": None}, {"a": [1]}, {1: "a"}, {"a": b"1"}])
def test_attributes_that_are_no_texts_are_refused(attr):
    with pytest.raises(AttributeValueError, match="Variable 'w': attr .*expected texts by name"):
        sym.Variable("w", attr=attr)
    with pytest.raises(AttributeValueError, match=r"r \(relu\): attr .*expected texts by name"):
        sym.relu(sym.Variable("x"), name="r", attr=attr)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shpae": (3,)}, "unknown attribute 'shpae'; own ones look like __shpae__; did you mean 'shape'?"),
        ({"lr_mul": 0}, "did you mean 'lr_mult'?"),
        ({"__mood": "1"}, "unknown attribute '__mood'; own ones look like __mood__"),
        ({"init": 3}, "init is 3, expected an initializer or its name"),
    ],
)
def test_what_a_variable_does_not_take_is_refused(given, message):
    with pytest.raises((AttributeValueError, TypeError)) as caught:
        sym.Variable("w", **given)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["float16", "8", "12", "-2", "", "2.0", "\N{SUPERSCRIPT TWO}"])
def test_a_type_that_is_no_number_of_mxnets_is_refused(text):
    with pytest.raises(FormatError, match="variable 'w' has the dtype .*2 for float16"):
        sym.Variable("w", __dtype__=text).infer_type()


def test_values_of_own_keywords_become_texts_as_in_mxnet():
    assert sym.Variable("w", __shape__=(3, 2)).infer_shape()[0] == [(3, 2)]
    assert sym.relu(sym.Variable("x"), __mood__=[1, None]).attr("mood") == "(1, None)"


def test_a_type_by_mxnets_number_is_taken():
    assert sym.Variable("w", __dtype__="2").infer_type()[0] == [np.float16]
    assert sym.Variable("w", __dtype__="-1").infer_type()[0] == [np.float32]


@pytest.mark.parametrize("make", [sym.Concat, sym.stack])
def test_a_number_of_inputs_that_is_not_theirs_is_refused(make):
    a, b = sym.Variable("a"), sym.Variable("b")
    assert make(a, b, num_args=2, name="c").tojson() == make(a, b, num_args="2", name="c").tojson()
    with pytest.raises(AttributeValueError, match="num_args is 3, but 2 inputs are given"):
        make(a, b, num_args=3)
    text = make(a, b, name="c").tojson()
    with pytest.raises(FormatError, match=r"node 2 \(c\): .*num_args is 3, but 2 inputs are given"):
        sym.load_json(text.replace('"num_args": "2"', '"num_args": "3"'))
    with pytest.raises(AttributeValueError, match="unknown attribute 'num_args'"):
        sym.FullyConnected(a, num_hidden=2, num_args=1)


# Texts where numbers are meant.


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (lambda x: sym.FullyConnected(x, num_hidden="2", no_bias="True", name="f"), lambda x: sym.FullyConnected(x, num_hidden=2, no_bias=True, name="f")),
        (lambda x: sym.softmax(x, axis="0", name="f"), lambda x: sym.softmax(x, axis=0, name="f")),
        (lambda x: sym.sum(x, axis="(0,)", keepdims="1", name="f"), lambda x: sym.sum(x, axis=(0,), keepdims=True, name="f")),
        (lambda x: sym.clip(x, a_min="-1", a_max="1e0", name="f"), lambda x: sym.clip(x, a_min=-1, a_max=1, name="f")),
        (lambda x: sym.Reshape(x, shape="(3, 2)", name="f"), lambda x: sym.Reshape(x, shape=(3, 2), name="f")),
    ],
)  # fmt: skip
def test_texts_are_the_numbers_that_they_say(texts, values):
    x = sym.Variable("x")
    for symbol in (texts(x), again(texts(x))):
        assert symbol.heads[0].node.op == values(x).heads[0].node.op
