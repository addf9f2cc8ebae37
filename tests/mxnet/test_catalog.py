"""MXNet's operators: names, attributes and their texts, as MXNet 1.9.1 recorded them in `golden_symbol.json`."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from golden import DATA
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson import cpu, sym
from tinygrad_lesson.errors import AttributeValueError, DTypeError, LessonError
from tinygrad_lesson.mxnet.register import OPERATORS, parameters_of, parse
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise, op
from tinygrad_lesson.symbol import AttrScope, NameManager, Prefix
from tinygrad_lesson.train import initializer

FACTS = json.loads((DATA / "golden_symbol.json").read_text())
IN_SCOPES = {
    "with mx.name.Prefix": lambda S, V: S.Activation(
        S.FullyConnected(V("data"), num_hidden=3), act_type="relu", name="act"
    ),
    "with mx.AttrScope": lambda S, V: S.FullyConnected(V("data", attr={"a": "b"}), num_hidden=3, name="f"),
}
SCOPES = {
    "with mx.name.Prefix": Prefix("pre_"),
    "with mx.AttrScope": AttrScope(__group__="4", __ctx_group__="dev1"),
}


def is_known(fact):
    """Whether all operators of a recorded symbol are in the catalog, with the attributes it uses."""
    nodes = fact.get("json", {"nodes": []})["nodes"]
    try:
        for node in nodes:
            if node["op"] != "null":
                plain = {key: text for key, text in node.get("attrs", {}).items() if not key.startswith("__")}
                OPERATORS[node["op"]].make(plain)
    except (KeyError, AttributeValueError):
        return False
    return True


def evaluate(source):
    """The symbol that `source` describes, with fresh counters."""
    mx = SimpleNamespace(init=initializer)
    with NameManager():
        for start, scope in SCOPES.items():
            if source.startswith(start):
                with scope:
                    return IN_SCOPES[start](sym, sym.Variable)
        return eval(source, {"S": sym, "V": sym.Variable, "mx": mx})  # the sources are in our own test data


GRAPHS = json.loads((DATA / "graphs.json").read_text())["graphs"]
NAMED = [fact for fact in FACTS["names"] if "error" not in fact and is_known(fact)]
REFUSED = [fact for fact in FACTS["names"] if "error" in fact]


@pytest.mark.parametrize("fact", GRAPHS, ids=lambda fact: fact["source"])
def test_a_file_has_the_names_hidden_outputs_and_first_values_that_mxnet_writes(fact):
    symbol = evaluate(fact["source"])
    found = json.loads(symbol.tojson())
    assert {key: found[key] for key in fact["json"]} == fact["json"]
    assert symbol.list_outputs() == fact["outputs"]
    assert symbol.get_internals().list_outputs() == fact["internals"]


@pytest.mark.parametrize("fact", NAMED, ids=lambda fact: fact["source"])
def test_names_are_those_of_mxnet(fact):
    symbol = evaluate(fact["source"])
    children = symbol.get_children()
    assert symbol.list_arguments() == fact["arguments"]
    assert symbol.list_outputs() == fact["outputs"]
    assert symbol.list_auxiliary_states() == fact["auxiliary_states"]
    assert symbol.get_internals().list_outputs() == fact["internals"]
    assert (None if children is None else children.list_outputs()) == fact["children"]
    assert symbol.name == fact["name"]
    assert len(symbol) == fact["num_outputs"]
    assert json.loads(symbol.tojson()) == fact["json"]
    if "attr_dict" in fact:
        assert symbol.attr_dict() == fact["attr_dict"]


@pytest.mark.parametrize("fact", REFUSED, ids=lambda fact: fact["source"])
def test_what_mxnet_refuses_is_refused(fact):
    with pytest.raises((LessonError, AttributeError)):
        evaluate(fact["source"])


def test_all_recorded_names_are_compared():
    assert len(NAMED) + len(REFUSED) == len(FACTS["names"])


@pytest.mark.parametrize("name", FACTS["nets"])
def test_networks_are_listed_as_in_mxnet(name):
    def plain(names):
        counted = ("_plusscalar", "log", "broadcast_mul", "mean", "_rminusscalar")
        return [
            name.removesuffix("_output").rstrip("0123456789") if name.startswith(counted) else name
            for name in names
        ]

    net, fact = sym.load(str(DATA / "nets" / f"{name}-symbol.json")), FACTS["nets"][name]
    assert net.list_arguments() == fact["arguments"]
    assert net.list_outputs() == fact["outputs"]
    assert net.list_auxiliary_states() == fact["auxiliary_states"]
    assert plain(net.get_internals().list_outputs()) == plain(fact["internals"])
    assert plain(net.get_children().list_outputs()) == plain(fact["children"])
    assert (net.name, len(net)) == (fact["name"], fact["num_outputs"])


def test_attributes_are_those_of_mxnet():
    fact = FACTS["attributes"]
    x = sym.Variable(
        "x", shape=(2, 3), lr_mult=2.0, wd_mult=0.5, dtype="float64", init=initializer.Uniform(0.1)
    )
    symbol = sym.FullyConnected(x, num_hidden=3, name="f", attr={"__mood__": "happy"})
    assert symbol.attr_dict() == fact["attr_dict"]
    assert symbol.list_attr() == fact["list_attr"]
    assert symbol.attr("mood") == fact["attr_mood"]
    assert symbol.attr("missing") is fact["attr_missing"] is None
    assert sym.BatchNorm(sym.Variable("x"), name="bn").attr_dict() == fact["bn"]


def test_a_scope_of_attributes_reaches_variables_that_are_made_for_it():
    with AttrScope(__lr_mult__="0"):
        inner = sym.FullyConnected(sym.Variable("x"), num_hidden=2, name="inner")
    outer = sym.FullyConnected(inner, num_hidden=2, name="outer")
    told = {name for name, texts in outer.attr_dict().items() if texts.get("lr_mult") == "0"}
    assert told == {"x", "inner_weight", "inner_bias", "inner"}


def test_scopes_nest_and_end():
    with Prefix("a_"):
        with Prefix("b_"):
            assert sym.relu(sym.Variable("x")).name == "b_relu0"
        assert sym.relu(sym.Variable("x")).name == "a_relu0"
    with AttrScope(__a__="1"):
        with AttrScope(__b__="2"):
            assert sym.Variable("x").list_attr() == {"__a__": "1", "__b__": "2"}
        assert sym.Variable("x").list_attr() == {"__a__": "1"}
    assert sym.Variable("x").list_attr() == {}


def test_a_scope_takes_texts_only():
    with pytest.raises(AttributeValueError, match="AttrScope: __lr_mult__ is 2, expected a string"):
        AttrScope(__lr_mult__=2)


def test_an_unknown_attribute_names_the_node_and_the_nearest_one():
    with pytest.raises(AttributeValueError) as caught:
        sym.FullyConnected(sym.Variable("x"), num_hiden=3, name="fc1")
    assert str(caught.value) == (
        "fc1 (FullyConnected): unknown attribute 'num_hiden'; did you mean 'num_hidden'? "
        "it takes num_hidden, no_bias, flatten"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: sym.FullyConnected(x, name="fc1"), "fc1 (FullyConnected): attribute 'num_hidden' is missing; expected an integer"),
        (lambda x: sym.FullyConnected(x, num_hidden=0, name="fc1"), "fc1 (FullyConnected): num_hidden is 0, expected at least 1"),
        (lambda x: sym.FullyConnected(x, num_hidden=2.5, name="fc1"), "fc1 (FullyConnected): num_hidden is 2.5, expected an integer"),
        (lambda x: sym.FullyConnected(x, num_hidden="ten"), "FullyConnected: num_hidden is 'ten', expected an integer"),
        (lambda x: sym.FullyConnected(x, num_hidden=True), "FullyConnected: num_hidden is True, expected an integer"),
        (
            lambda x: sym.Activation(x, act_type="rleu", name="a1"),
            "a1 (Activation): act_type is 'rleu', expected one of relu, sigmoid, tanh, softrelu, softsign",
        ),
        (lambda x: sym.Activation(x, act_type=5), "Activation: act_type is 5, expected {'relu', 'sigmoid', 'softrelu', 'softsign', 'tanh'}"),
        (lambda x: sym.BatchNorm(x, fix_gamma="maybe"), "BatchNorm: fix_gamma is 'maybe', expected True or False"),
        (lambda x: sym.BatchNorm(x, eps="tiny", name="bn"), "bn (BatchNorm): eps is 'tiny', expected a number"),
        (lambda x: sym.Dropout(x, p=1.5, name="drop"), "drop (Dropout): p is 1.5, expected at most 1"),
        (lambda x: sym.Concat(name="c"), "c (Concat): no input is given, it takes one or more"),
        (lambda x: sym.relu(x, x, name="r"), "r (relu): 2 inputs given, it takes data"),
        (lambda x: sym.FullyConnected(x, wieght=x, num_hidden=2, name="f"), "f (FullyConnected): 'wieght' is no input or given twice; it takes data, weight, bias"),
        (lambda x: sym.FullyConnected(x, data=x, num_hidden=2, name="f"), "f (FullyConnected): 'data' is no input or given twice; it takes data, weight, bias"),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_wrong_attribute_is_named(make, message):
    with pytest.raises(AttributeValueError) as caught:
        make(sym.Variable("x"))
    assert str(caught.value) == message


def test_an_input_that_is_no_symbol_is_named():
    with pytest.raises(
        DTypeError, match=r"fc1 \(FullyConnected\): input data must be a Symbol, not array\(3\)"
    ):
        sym.FullyConnected(np.array(3), num_hidden=2, name="fc1")
    with pytest.raises(DTypeError, match="relu: the name must be a string, not 7"):
        sym.relu(sym.Variable("x"), name=7)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        (" 3 ", int, 3),
        ("(3, 4)", tuple[int, ...], (3, 4)),
        ("[3,4]", tuple[int, ...], (3, 4)),
        ("(2L, 3L)", tuple[int, ...], (2, 3)),
        ("()", tuple[int, ...], ()),
        ("None", int | None, None),
        ("1e-3", float, 1e-3),
        ("1", float, 1.0),
        ("True", bool, True),
        ("true", bool, True),
        ("0", bool, False),
        ("(0, 1)", str, "(0, 1)"),
        ("rows", str | None, "rows"),
    ],
)  # fmt: skip
def test_texts_of_attributes_are_read(text, kind, value):
    found = parse(text, kind, "here")
    assert found == value
    assert type(found) is type(value)


HOSTILE = [
    "__import__('os').system('true')", "().__class__.__mro__", "open('/etc/passwd').read()", "1 if 1 else 2",
    "9**9**9", "lambda: 0", "{[]}", "{1: 2}", "'x' * 10", "1+2j", "f'{1}'", "(" * 900, "[" * 5000, "9" * 5000, "-" * 999,
    "1e999999x", "\0", "\ud800", "(3, 'a')", "(3, (4,))", "((1, 2), 3)", "nan", "", " ", "(3 4)", "3, 4, x", "()()", "x" * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("kind", [int, float, bool, tuple[int, ...], int | tuple[int, ...] | None])
def test_hostile_texts_are_refused_at_once(text, kind):
    start = time.process_time()
    with pytest.raises(AttributeValueError, match="^here is .{0,200}$") as caught:
        parse(text, kind, "here")
    assert len(str(caught.value)) < 200
    assert time.process_time() - start < 0.5


@given(text=st.text(max_size=40) | st.text(alphabet="()[]{},.-+e0123456789 LTrueFalsN'", max_size=30))
def test_any_text_is_read_or_refused(text):
    for kind in (int, float, bool, tuple[int, ...], float | None):
        try:
            value = parse(text, kind, "here")
        except AttributeValueError:
            continue
        assert value is None or isinstance(value, int | float | tuple)


@given(
    value=st.one_of(
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.lists(st.integers()),
    )
)
def test_what_is_written_is_read_again(value):
    kind = tuple[int, ...] if isinstance(value, list) else type(value)
    expected = tuple(value) if isinstance(value, list) else value
    assert parse(str(expected), kind, "here") == expected


def test_numbers_of_numpy_are_written_as_numbers():
    symbol = sym.Reshape(sym.Variable("x"), shape=tuple(np.array([2, 3])))
    assert symbol.list_attr() == {"shape": "(2, 3)"}
    symbol = sym.FullyConnected(sym.Variable("x"), num_hidden=np.int64(3))
    assert symbol.list_attr() == {"num_hidden": "3"}


@pytest.mark.parametrize("name", [name for name, known in OPERATORS.items() if not known.within])
def test_every_operator_tells_what_it_takes(name):
    known = OPERATORS[name]
    for parameter in parameters_of(known.build).values():
        assert parameter.annotation is not parameter.empty
    assert callable(getattr(sym, name))
    assert name in dir(sym)


def test_an_operator_is_a_method_too():
    x = sym.Variable("x")
    total = (x.sum(axis=1) * 2).exp()
    (y,) = total.eval(cpu(), x=np.array([[0.25, 0.25], [0.5, 0.0]], np.float32))
    np.testing.assert_allclose(y, np.exp([1.0, 1.0]), rtol=1e-6)
    with pytest.raises(AttributeError, match="a Symbol has no 'summ'"):
        x.summ()
    with pytest.raises(AttributeError, match="there is no operator 'Convolutoin'"):
        sym.Convolutoin


def test_ops_that_mxnet_does_not_have_are_no_operators():
    x = sym.Variable("x")
    inner = {name for table in (OPS, FUNCTIONS) for name, cls in table.items() if cls.ours}
    assert len(inner - set(OPERATORS)) > 200  # otherwise the test says nothing
    for name in inner - set(OPERATORS) - set(sym.__all__):
        with pytest.raises(AttributeError):
            getattr(sym, name)
        assert name not in dir(sym)
        if name.islower():
            with pytest.raises(AttributeError):
                getattr(x, name)


def test_the_near_name_is_told():
    with pytest.raises(AttributeError, match=r"no operator 'top_k'; did you mean 'topk'\?"):
        sym.top_k


def test_an_op_of_a_user_is_an_operator_at_once():
    @op
    class Thricefold(Elementwise):
        """Three times `x`."""

        def forward(self, xp, x, out=None):
            return xp.multiply(x, 3, out=out)

        def vjp(self, F, g, y, x):
            return (g * 3,)

    try:
        assert {"Thricefold", "thricefold"} <= set(dir(sym))
        x = sym.Variable("x")
        for made in (sym.Thricefold(x), sym.thricefold(x), x.thricefold()):
            np.testing.assert_array_equal(made.eval(cpu(), x=np.ones(2, np.float32))[0], [3, 3])
    finally:
        del OPS["Thricefold"], FUNCTIONS["thricefold"], sym.mxnet.Thricefold, sym.mxnet.thricefold
