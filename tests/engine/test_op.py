"""Declaring ops, and calling them as functions."""

import inspect
from unittest import mock

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, attr, check, grad, op, sym
from tinygrad_lesson.engine.namespace import Namespace
from tinygrad_lesson.errors import AttributeValueError, LessonError
from tinygrad_lesson.graph import EDGES, Edge, Node
from tinygrad_lesson.mxnet.register import OPERATORS
from tinygrad_lesson.op import (
    FUNCTIONS,
    OPS,
    Elementwise,
    Op,
    array_namespace,
    exactly,
    result_dtypes,
    snake_case,
)
from tinygrad_lesson.ops.choices import Clip
from tinygrad_lesson.ops.elementwise import Tanh
from tinygrad_lesson.ops.ramps import LeakyReLU
from tinygrad_lesson.ops.reduce import Constant, Sum
from tinygrad_lesson.run import available_runners

F = array_namespace(np)


@pytest.fixture
def cube():
    """An op of a user's own, forgotten after the test."""

    @op
    class CubeForTest(Elementwise):
        """The cube of each element, times a factor: ``y = factor * x**3``."""

        factor: float = attr(1.0, minimum=0, doc="what the cube is multiplied by")

        def forward(self, xp, x, out=None):
            return xp.multiply(x * x * x, self.factor, out=out)

        def vjp(self, F, g, y, x):
            return (g * (3 * self.factor) * F.square(x),)

    yield CubeForTest
    del OPS["CubeForTest"], FUNCTIONS["cube_for_test"]


def test_a_users_op_is_a_function_a_method_and_a_node_and_has_every_derivative(cube):
    f = tl.cube_for_test
    assert f(2.0).item() == 8
    assert Tensor(2.0).cube_for_test(factor=10).item() == 80
    assert grad(lambda x: f(x, factor=2))(3.0).item() == 54
    assert grad(grad(grad(f)))(3.0).item() == 6
    edge = EDGES.cube_for_test(Edge(Node(None)), factor=2)
    assert edge.node.op == cube(factor=2)
    assert (cube.name, cube.function, cube.inputs) == ("CubeForTest", "cube_for_test", ("x",))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "op Broken has no docstring"),
        ({"__doc__": "Something."}, "op Broken declares no `forward`"),
        ({"__doc__": "Something.", "forward": lambda self, xp, x: x}, "op Broken declares no `vjp`"),
    ],
)
def test_an_incomplete_declaration_is_refused(body, message):
    with pytest.raises(LessonError, match=message):
        op(type("Broken", (Op,), body))
    assert "Broken" not in OPS


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(
        LessonError, match=r"op Tanh is declared in tinygrad_lesson\.ops\.elementwise already"
    ):
        op(type("Tanh", (Op,), {"__doc__": "x", "forward": lambda self, xp, x: x, "vjp": lambda *a: ()}))
    assert OPS["Tanh"] is Tanh


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tl.dropout(1.0, -0.1), "Dropout: p is -0.1, expected at least 0"),
        (lambda: tl.dropout(1.0, 2), "Dropout: p is 2, expected at most 1"),
        (
            lambda: F.dropout(1.0, mode="never"),
            "Dropout: mode is 'never', expected one of 'training', 'always'",
        ),
        (
            lambda: F.sum(1.0, axes=0),
            "sum: unknown attribute axes; it takes x, axis, keepdims, exclude, vector",
        ),
        (lambda: F.sum(1.0, 0, False, False, False, 5), "sum: unknown attribute 5"),
        (
            lambda: F.expand_dims(1.0),
            r"expand_dims: axis is missing \(where the new axis stands in the result\)",
        ),
        (lambda: tl.add(1.0), "add: 1 inputs given, expected a, b"),
        (lambda: tl.tanh(), "tanh: 0 inputs given, expected x"),
        (lambda: tl.fully_connected(1.0, 1.0, num_hidden=3), "2 inputs given, expected data, weight, bias"),
    ],
)
def test_a_call_with_wrong_attributes_or_inputs_says_what_is_right(make, message):
    with pytest.raises(AttributeValueError, match=message):
        make()


def test_help_shows_the_signature_with_defaults_and_what_each_attribute_means():
    assert str(inspect.signature(tl.layer_norm)) == "(data, gamma, beta, eps=1e-05, axis=-1)"
    assert str(inspect.signature(tl.broadcast_axes_like)) == "(x, like, lhs_axes=(), rhs_axes=())"
    assert str(inspect.signature(F.concat)) == "(*args, axis=1)"
    assert "eps: added to the variance (at least 0)" in tl.layer_norm.__doc__
    assert "(one of 'training', 'always')" in F.dropout.__doc__


def test_inputs_can_be_given_by_name_and_attributes_by_position_or_alias():
    x = np.arange(6.0).reshape(2, 3)
    assert F.subtract(b=1.0, a=x)[0, 0] == -1
    assert F.sum(x, 0).tolist() == F.sum(x, axis=[0]).tolist() == F.sum(x=x, axis=np.array([0])).tolist()
    assert F.reshape(x, shape=(3, 2)).shape == F.reshape(x, to=(3, 2)).shape == (3, 2)
    assert F.concat([x, x], axis=0).shape == F.concat(x, x, dim=0).shape == (4, 3)


def test_a_call_is_remembered_with_the_types_of_its_attributes():
    x = Tensor(np.arange(3))
    assert [tl.clip(x, low, high).dtype.kind for low, high in ((0.0, 1.0), (0, 1), (0.0, 1.0))] == [
        "f",
        "i",
        "f",
    ]
    assert tl.sum(np.ones((2, 2)), axis=1).shape == (2,)
    assert tl.sum(np.ones((2, 2)), axis=None, keepdims=True).shape == (1, 1)


def test_a_call_of_any_number_of_inputs_is_remembered():
    x, made = np.ones((2, 3)), []
    F = Namespace(lambda op, inputs: made.append((op, tuple(inputs))))
    for args, named in (
        ((x, x), {"dim": 1}),
        ((x, x, x), {"dim": 1}),
        ((x, x), {"dim": 0}),
        (([x, x], 1), {}),
    ):
        F.concat(*args, **named)
    ops = [op for op, _ in made]
    assert ops[0] is ops[1]
    assert [op.dim for op in ops] == [1, 1, 0, 1]
    assert [len(inputs) for _, inputs in made] == [2, 3, 2, 2]


def test_a_single_edge_is_no_list_of_inputs():
    x = Edge(Node(None))
    assert EDGES.concat(x, dim=0).node.inputs == (x,)
    assert EDGES.concat([x, x]).node.inputs == (x, x)


def test_equal_ops_are_equal_and_hash_alike_and_print_what_differs_from_the_defaults():
    assert LeakyReLU(slope=0.1) == LeakyReLU(slope=0.1) != LeakyReLU()
    assert len({Sum(axis=[0, 1]), Sum(axis=(0, 1)), Sum()}) == 2
    assert [repr(o) for o in (Tanh(), Sum(axis=0), Clip(low=0.0))] == [
        "Tanh()",
        "Sum(axis=0)",
        "Clip(low=0.0)",
    ]
    with pytest.raises(AttributeError):
        Sum().axis = 1


@pytest.mark.parametrize(
    ("name", "snake"),
    [("FullyConnected", "fully_connected"), ("MatMul", "mat_mul"), ("LogSumExp", "log_sum_exp"), ("RNN", "rnn"),
     ("SumLike", "sum_like"), ("Log1p", "log1p"), ("CTCLoss", "ctc_loss")],
)  # fmt: skip
def test_names_become_snake_case(name, snake):
    assert snake_case(name) == snake


def test_inputs_of_a_variadic_op_are_numbered():
    assert OPS["Concat"]().name_inputs(3) == ("args0", "args1", "args2")
    assert OPS["ProductOfOthers"]().name_inputs(3) == ("x", "along0", "along1")
    assert OPS["BatchNorm"]().name_inputs(5)[-1] == "moving_var"


@pytest.mark.parametrize("namespace", [F, Tensor.F], ids=["arrays", "tensors"])
def test_what_comes_of_numbers_alone_is_a_number(namespace):
    y = namespace.where(namespace.equal(2, 0), 1, namespace.log(2))
    value = y.value if isinstance(y, Tensor) else y
    assert type(value) is float
    assert value == np.log(2)


def test_edges_of_numbers_alone_are_one_number_in_double_precision():
    edge = EDGES.where(EDGES.equal(2, 0), 1, EDGES.log(2))
    assert edge.node.op == Constant(value=float(np.log(2)))


def test_an_unknown_op_is_no_attribute():
    with pytest.raises(AttributeError, match="there is no op called 'tangh'"):
        _ = F.tangh


def test_calls_with_attributes_that_are_equal_but_not_the_same_are_told_apart():
    x = np.ones(2)
    zeros = [tl.full_like(x, value).numpy() for value in (0.0, -0.0, 0.0)]
    assert [np.signbit(z).tolist() for z in zeros] == [[False] * 2, [True] * 2, [False] * 2]
    bounds = [tl.clip(x, 0.0, 5.0), tl.clip(np.arange(2), 0, 5), tl.clip(np.arange(2), 0.0, 5.0)]
    assert [y.dtype for y in bounds] == [np.float64, np.int64, np.float64]
    assert exactly(Clip(low=0.0)) != exactly(Clip(low=-0.0))
    assert exactly(Clip(low=1)) != exactly(Clip(low=True))
    assert exactly((1, 0.0)) == exactly((1, 0.0))


def test_an_integer_beyond_all_bounds_is_refused_with_its_size():
    with pytest.raises(
        AttributeValueError, match="Clip: high is an integer of 1329 bits, expected at most 1023"
    ):
        tl.clip(np.ones(3), 0, 10**400)
    with pytest.raises(AttributeValueError, match="BroadcastTo: shape is an integer of 133 bits"):
        tl.broadcast_to(np.ones(1), (10**40,))


@pytest.mark.parametrize(
    ("op", "dtypes", "numbers", "result"),
    [
        (OPS["Add"](), ["int64", None], [0.5], "float64"),
        (OPS["Add"](), ["int8", None], [300], "int8"),
        (OPS["Add"](), ["bool", None], [1], "int64"),
        (OPS["Add"](), ["bool", None], [True], "bool"),
        (OPS["Add"](), ["float32", None], [0.5], "float32"),
        (OPS["Add"](), ["float16", None], [1], "float16"),
        (OPS["Where"](), ["bool", None, None], [1, 0.5], "float64"),
        (OPS["Where"](), ["bool", "int64", None], [0.5], "float64"),
    ],
)
def test_numbers_give_results_the_types_of_numpy(op, dtypes, numbers, result):
    known = [None if d is None else np.dtype(d) for d in dtypes]
    assert result_dtypes(op, known, numbers) == (np.dtype(result),)


def scaled(name, factor, qualname=None, function=None):
    """The class of an op that multiplies by a factor, as a notebook's cell declares it."""

    def forward(self, xp, x, out=None):
        return xp.multiply(x, factor, out=out)

    body = {"__doc__": "x.", "__module__": __name__, "__qualname__": qualname or name, "forward": forward}
    body["vjp"] = lambda self, F, g, y, x: (g * factor,)
    return type(name, (Elementwise,), body | ({"function": function} if function else {}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Matmul", "op Matmul would be called as `matmul`, which is op MatMul of tinygrad_lesson.ops.linear"),
        ("LeakyRelu", "op LeakyRelu would be called as `leaky_relu`, which is op LeakyReLU of"),
        ("SWAPAxes", "op SWAPAxes would be called as|op SWAPAxes: `swap_axes`"),
        ("SwapAxis", "op SwapAxis: `SwapAxis` is an operator of MXNet already"),
        ("BlockGrad", "op BlockGrad: `BlockGrad` is an operator of MXNet already"),
        ("BroadcastAdd", "op BroadcastAdd: `broadcast_add` is an operator of MXNet already"),
        ("Linear", "op Linear: `linear` is tinygrad_lesson.linear already"),
        ("Jit", "op Jit: `jit` is tinygrad_lesson.jit already"),
    ],
)
def test_an_op_whose_function_or_spelling_is_taken_is_refused_and_leaves_nothing_behind(name, message):
    if name == "SWAPAxes":
        assert snake_case(name) == "swap_axes"
        FUNCTIONS["swap_axes"] = OPS["SwapAxes"]
    before = dict(FUNCTIONS), dict(OPS)
    try:
        with pytest.raises(LessonError, match=message):
            op(scaled(name, 2.0))
        assert before == (FUNCTIONS, OPS)
    finally:
        if name == "SWAPAxes":
            del FUNCTIONS["swap_axes"]
    assert tl.matmul(np.eye(2), np.ones(2)).numpy().tolist() == [1, 1]


def test_every_name_of_the_catalog_is_reserved():
    for name in OPERATORS:
        if name not in OPS and name not in FUNCTIONS and name.isidentifier():
            with pytest.raises(LessonError, match=f"`{name}` is an operator of MXNet already"):
                op(scaled(name, 2.0))


@pytest.fixture
def tables():
    """What a test declares is forgotten after it."""
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        yield


def test_an_op_declared_again_takes_the_place_of_the_old_one_everywhere(tables):
    net = lambda: sym.AgainForTest(sym.Variable("x"))  # noqa: E731
    jitted = tl.jit(lambda x: tl.again_for_test(x))
    for factor in (2.0, 3.0):
        op(scaled("AgainForTest", factor))
        x = Tensor([1.0], requires_grad=True)
        edge = EDGES.again_for_test(Edge(Node(None)))
        assert F.again_for_test(np.ones(1)) == factor
        assert tl.again_for_test(x).item() == x.again_for_test().item() == factor
        assert grad(tl.again_for_test)(1.0).item() == grad(lambda t: t.again_for_test())(1.0).item() == factor
        assert edge.node.op.forward(np, 1.0) == factor
        executor = net().bind(tl.cpu(), {"x": np.ones(1, "f")}, args_grad={"x": np.zeros(1, "f")})
        assert executor.forward(is_train=True)[0].tolist() == [factor]
        executor.backward([np.ones(1, "f")])
        assert executor.grad_dict["x"].tolist() == [factor]
        assert jitted(np.ones(1)).item() == factor
        assert check.gradients("AgainForTest", np.ones(2)).verdict == "ok"


def test_an_op_declared_again_may_have_another_function(tables):
    op(scaled("AgainForTest", 2.0, function="first_for_test"))
    op(scaled("AgainForTest", 3.0, function="second_for_test"))
    assert tl.second_for_test(1.0).item() == 3
    assert "first_for_test" not in FUNCTIONS


def test_an_op_of_the_same_name_from_another_place_is_refused(tables):
    op(scaled("AgainForTest", 2.0))
    with pytest.raises(LessonError, match="op AgainForTest is declared in test_op already"):
        op(scaled("AgainForTest", 3.0, qualname="elsewhere.AgainForTest"))


def test_an_op_without_a_shape_rule_is_refused_where_it_is_declared(tables):
    body = {"forward": lambda self, xp, x, w: x * w, "vjp": lambda self, F, g, y, x, w: (g * w, g * x)}
    before = dict(FUNCTIONS), dict(OPS)
    with pytest.raises(
        LessonError, match=r"op ShapelessForTest declares no shape rule: write `def shape\(self, x, w\)`"
    ):
        op(type("ShapelessForTest", (Op,), {"__doc__": "x.", "__module__": __name__, **body}))
    assert before == (FUNCTIONS, OPS)


@pytest.mark.parametrize("name", ["Zeros", "Variable", "Load", "Pow", "Graph", "Errors", "Viz", "Files"])
def test_an_op_may_not_take_the_name_of_a_module_or_of_a_function_of_symbols(name):
    before = dict(FUNCTIONS), dict(OPS)
    with pytest.raises(LessonError, match=rf"op {name}: `{name}` is|op {name}: `{name.lower()}` is"):
        op(scaled(name, 2.0))
    assert before == (FUNCTIONS, OPS)


def test_an_attribute_that_is_an_array_without_axes_is_a_number():
    assert tl.sum(np.ones((2, 3)), axis=np.array(1)).shape == (2,)


WRONG = {  # what a forward may give where its shape rule says that of x, (3,)
    "a part": lambda xp, x: x[:2] * 1.0,
    "a part of what a function gives": lambda xp, x: xp.exp(x)[:2],
    "a sum that would be broadcast": lambda xp, x: xp.sum(x, axis=0, keepdims=True),
    "an axis more": lambda xp, x: xp.exp(x)[None],
    "what no trace follows": lambda xp, x: np.array(list(x)[:2]),
}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_result_of_another_shape_than_its_rule_says_is_refused_everywhere(wrong, several):
    class Misshapen(Op):
        """An op whose forward breaks its promise."""

        outputs = ("first", "second") if several else ("output",)

        def shape(self, x):
            return (x, x) if several else x

        def forward(self, xp, x):
            y = WRONG[wrong](xp, x)
            return (xp.exp(x), y) if several else y

        def vjp(self, F, g, y, x):
            return (None,)

    op(Misshapen)
    x = np.arange(3.0)
    message = r"Misshapen\(\): forward returns the shape \(.*\), its shape rule says \(3\)|its shape rule says \(3,\)"
    last = (lambda y: y[-1]) if several else (lambda y: y)
    try:
        with pytest.raises(LessonError, match=message):
            tl.misshapen(Tensor(x))
        for runner in available_runners():
            with pytest.raises(LessonError, match=message):
                tl.jit(lambda a: last(tl.misshapen(a)) + 1.0, runner=runner)(x)
            executor = (last(sym.Misshapen(sym.Variable("x"))) * 2.0).simple_bind(
                tl.cpu(), runner=runner, x=(3,)
            )
            with pytest.raises(LessonError, match=message):
                executor.forward(x=x)
    finally:
        del OPS["Misshapen"], FUNCTIONS["misshapen"]
