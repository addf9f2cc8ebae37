"""Operators in MXNet's `CustomOp` and `CustomOpProp`, in both faces, saved, drawn and checked."""

import json
from unittest import mock

import numpy as np
import pytest
from scipy.special import softmax

import tinygrad_lesson as tl
from tinygrad_lesson import check, operator, sym
from tinygrad_lesson.errors import (
    AttributeValueError,
    DTypeError,
    FormatError,
    GraphError,
    LessonError,
    ShapeError,
)
from tinygrad_lesson.graph import Edge, Label, Node
from tinygrad_lesson.mxnet.custom import Custom
from tinygrad_lesson.plan import Builder, Passes
from tinygrad_lesson.run import RUNNERS
from tinygrad_lesson.viz.network import plot_network

X = np.linspace(-1.5, 2, 6).reshape(2, 3)


class Power(operator.CustomOp):
    """``y = scale * x**2``, with a slope that can be wrong on purpose."""

    def __init__(self, scale, slope):
        self.scale, self.slope = scale, slope

    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], self.scale * in_data[0].asnumpy() ** 2)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], self.slope * self.scale * in_data[0] * out_grad[0])


class PowerProp(operator.CustomOpProp):
    def __init__(self, scale="1", slope="2"):
        super().__init__(need_top_grad=True)
        self.scale, self.slope = float(scale), float(slope)

    def create_operator(self, ctx, in_shapes, in_dtypes):
        return Power(self.scale, self.slope)


class SoftmaxLoss(operator.CustomOp):
    """The example of MXNet's tutorial, to the letter but for `mx.nd`."""

    def forward(self, is_train, req, in_data, out_data, aux):
        x = in_data[0].asnumpy()
        y = np.exp(x - x.max(axis=1).reshape((x.shape[0], 1)))
        y /= y.sum(axis=1).reshape((x.shape[0], 1))
        self.assign(out_data[0], req[0], y)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        label = in_data[1].asnumpy().ravel().astype(int)
        y = out_data[0].asnumpy()
        y[np.arange(label.shape[0]), label] -= 1.0
        self.assign(in_grad[0], req[0], y)


class SoftmaxLossProp(operator.CustomOpProp):
    def __init__(self):
        super().__init__(need_top_grad=False)

    def list_arguments(self):
        return ["data", "label"]

    def infer_shape(self, in_shape):
        return [in_shape[0], (in_shape[0][0],)], [in_shape[0]], []

    def infer_type(self, in_type):
        return [in_type[0], np.int32], [in_type[0]], []

    def create_operator(self, ctx, in_shapes, in_dtypes):
        return SoftmaxLoss()


class Counted(operator.CustomOp):
    """Sum and difference of two inputs; a state counts the runs in training."""

    def forward(self, is_train, req, in_data, out_data, aux):
        self.kept = in_data[0] - in_data[1]
        self.assign(out_data[0], req[0], in_data[0] + in_data[1])
        self.assign(out_data[1], req[1], self.kept**2)
        if is_train:
            aux[0][:] += 1

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        inner = 2 * self.kept * out_grad[1]  # what `forward` of this very node has kept
        self.assign(in_grad[0], req[0], out_grad[0] + inner)
        self.assign(in_grad[1], req[1], out_grad[0] - inner)


class CountedProp(operator.CustomOpProp):
    def __init__(self):
        super().__init__(need_top_grad=True)

    def list_arguments(self):
        return ["a", "b"]

    def list_outputs(self):
        return ["sum", "square"]

    def list_auxiliary_states(self):
        return ["runs"]

    def infer_shape(self, in_shape):
        return [in_shape[0], in_shape[0]], [in_shape[0], in_shape[0]], [(1,)]

    def create_operator(self, ctx, in_shapes, in_dtypes):
        return Counted()


@pytest.fixture(autouse=True)
def registered():
    """The operators above, known for the time of a test."""
    with mock.patch.dict(operator.REGISTERED, clear=True):
        operator.register("power")(PowerProp)
        operator.register("softmax_loss")(SoftmaxLossProp)
        operator.register("counted")(CountedProp)
        yield


def power(**more):
    return sym.Custom(data=sym.Variable("data"), op_type="power", name="p", **more)


@pytest.mark.parametrize("runner", RUNNERS)
def test_symbol_computes_and_pulls_back_whatever_the_runner(runner):
    executor = power(scale=3).simple_bind(data=X.shape, type_dict={"data": "float64"})
    executor.runner_name = runner
    for x in (X, X + 1):
        (y,) = executor.forward(is_train=True, data=x)
        np.testing.assert_allclose(y, 3 * x**2, rtol=1e-12)
        executor.backward([X])
        np.testing.assert_allclose(executor.grad_dict["data"], 6 * x * X, rtol=1e-12)


def test_eager_face_records_and_pulls_back():
    x = tl.Tensor(X, requires_grad=True)
    y = tl.custom(x, op_type="power", scale=3)
    np.testing.assert_allclose(y.numpy(), 3 * X**2)
    tl.sum(y * X).backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X * X)
    assert tl.custom(data=x, op_type="power").shape == (2, 3)
    compiled = tl.jit(lambda x: tl.sum(tl.custom(x, op_type="power")))
    np.testing.assert_allclose(tl.grad(compiled)(X).numpy(), 2 * X)


def test_attributes_reach_the_properties_as_texts():
    seen = {}

    @operator.register("spy")
    class SpyProp(PowerProp):
        def __init__(self, **arguments):
            super().__init__()
            seen.update(arguments)

    sym.Custom(sym.Variable("x"), op_type="spy", a=1, b=(2, 3), c="four", d=True)
    assert seen == {"a": "1", "b": "(2, 3)", "c": "four", "d": "True"}


def test_loss_infers_its_label_and_needs_no_gradient_from_above():
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc")
    net = sym.Custom(net, op_type="softmax_loss", name="sm")
    assert net.list_arguments() == ["data", "fc_weight", "fc_bias", "sm_label"]
    assert net.list_outputs() == ["sm_output"]
    assert net.infer_shape(data=(4, 5)) == ([(4, 5), (3, 5), (3,), (4,)], [(4, 3)], [])
    assert net.infer_type(data="float64")[0] == [np.float64, np.float64, np.float64, np.int32]
    executor = net.simple_bind(data=(4, 5))
    data, label = np.random.default_rng(0).normal(size=(4, 5)), np.array([0, 2, 1, 2])
    executor.arg_dict["fc_weight"][:] = np.linspace(-1, 1, 15).reshape(3, 5)
    (y,) = executor.forward(is_train=True, data=data, sm_label=label)
    expected = softmax(data @ np.linspace(-1, 1, 15).reshape(3, 5).T, axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    executor.backward()
    expected[np.arange(4), label] -= 1
    np.testing.assert_allclose(executor.grad_dict["fc_bias"], expected.sum(axis=0), rtol=1e-4, atol=1e-6)
    x = tl.Tensor(data[:, :3], requires_grad=True)
    tl.sum(5 * tl.custom(x, label, op_type="softmax_loss")).backward()
    expected = softmax(data[:, :3], axis=1)
    expected[np.arange(4), label] -= 1
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("runner", RUNNERS)
def test_several_outputs_a_state_and_what_forward_keeps_for_backward(runner):
    a, b = sym.Variable("a"), sym.Variable("b")
    both = sym.Custom(a=a, b=b, op_type="counted", name="first")
    net = sym.Custom(both[0], both[1], op_type="counted", name="second")
    assert net.list_auxiliary_states() == ["first_runs", "second_runs"]
    assert net.list_outputs() == ["second_sum", "second_square"]
    executor = net.simple_bind(a=(2, 3), type_dict={"a": "float64", "b": "float64"})
    executor.runner_name = runner

    def function(a, b):
        first = a + b, (a - b) ** 2
        return first[0] + first[1], (first[0] - first[1]) ** 2

    for n in (1, 2):
        found = executor.forward(is_train=True, a=X, b=X[::-1] * 2)
        expected = function(X, X[::-1] * 2)
        for y, z in zip(found, expected, strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-12)
        executor.backward([X, X + 1])
        tensors = [tl.Tensor(v, requires_grad=True) for v in (X, X[::-1] * 2)]
        results = function(*tensors)
        tl.sum(results[0] * X + results[1] * (X + 1)).backward()
        for name, tensor in zip("ab", tensors, strict=True):
            np.testing.assert_allclose(executor.grad_dict[name], tensor.grad.numpy(), rtol=1e-12)
        assert executor.aux_dict["first_runs"].tolist() == [n]
    executor.forward(is_train=False)
    assert executor.aux_dict["first_runs"].tolist() == [2]


def test_saved_graph_comes_back_and_computes_the_same(tmp_path):
    net = power(scale=2.5) + 1
    net.save(str(tmp_path / "net.json"))
    again = sym.load(str(tmp_path / "net.json"))
    assert again.tojson() == net.tojson()
    node = next(n for n in json.loads(net.tojson())["nodes"] if n["op"] == "Custom")
    assert node["attrs"] == {"op_type": "power", "scale": "2.5"}
    np.testing.assert_allclose(again.eval(data=X)[0], 2.5 * X**2 + 1, rtol=1e-6)


def test_loading_an_unknown_operator_says_which_and_how_to_register_it():
    text = power().tojson()
    del operator.REGISTERED["power"]
    with pytest.raises(
        FormatError, match=r"node 1 \(p\): .*'power' is not registered.*@operator.register\('power'\)"
    ):
        sym.load_json(text)


def test_it_is_a_node_of_the_gradient_graph_and_of_pictures():
    net = power(scale=3)
    F = Builder(Passes(), is_train=True)
    for node in net.nodes:
        if node.is_variable:
            F.leaf(node, X.shape, np.float32)
    (head,) = F.graph(net.heads)
    cotangent = F.variable(Node(None, label=Label("g")), X.shape, np.float32)
    (edge,) = F.gradients([(head, cotangent)], [Edge(node) for node in net.nodes if node.is_variable])
    assert edge.node.op.label() == "CustomBackward(op_type='power', scale='3')"
    back = sym.Symbol([edge])
    assert set(back.list_arguments()) == {"g", "data"}
    np.testing.assert_allclose(back.eval(g=X, data=X)[0], 6 * X * X, rtol=1e-6)
    assert r"p\nCustom(op_type='power', scale='3')" in plot_network(net).source


def test_check_finds_it_right_and_a_wrong_one_wrong():
    assert check.gradients(power(scale=3), {"data": X}).ok
    report = check.gradients(power(scale=3, slope=1), {"data": X})
    assert (report.verdict, report.cause, report.input) == ("wrong", "factor", "data")
    assert report.factor == pytest.approx(0.5)
    assert "Custom(op_type='power'" in str(report)
    deep = tl.sym.tanh(power(slope=3) * 0.5)
    assert "Custom(op_type='power'" in check.gradients(deep, {"data": X}).culprit.label


def test_second_order_is_refused_with_what_to_do():
    slope = tl.grad(lambda x: tl.sum(tl.custom(x, op_type="power")))
    with pytest.raises(GraphError, match="cannot be differentiated again; declare it with @op"):
        tl.grad(lambda x: tl.sum(slope(x)))(X)


def test_assign_does_what_is_requested():
    op, found = operator.CustomOp(), []
    for req in ("null", "write", "inplace", "add"):
        array = np.array([1.0, 2.0])
        op.assign(array, req, 10)
        found.append(array.tolist())
    assert found == [[1, 2], [10, 10], [10, 10], [11, 12]]
    with pytest.raises(AttributeValueError, match="req is 'sum', expected write, inplace, add or null"):
        op.assign(np.zeros(1), "sum", 1)


def test_requests_of_the_executor_are_kept():
    executor = power().simple_bind(data=X.shape, grad_req="add")
    executor.grad_dict["data"][:] = 100
    executor.forward(is_train=True, data=X)
    executor.backward([np.ones_like(X)])
    np.testing.assert_allclose(executor.grad_dict["data"], 100 + 2 * X, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: power(bias=2), AttributeValueError, r"p \(Custom\): op_type 'power' was given bias='2'.*unexpected"),
        (lambda: sym.Custom(sym.Variable("x")), AttributeValueError, "Custom: attribute 'op_type' is missing"),
        (
            lambda: sym.Custom(sym.Variable("x"), op_type="powr"), AttributeValueError,
            r"'powr' is not registered \(known: counted, power, softmax_loss\)",
        ),
        (lambda: tl.custom(op_type="power"), AttributeValueError, "'data' is missing; it takes data"),
        (lambda: tl.custom(X, X, op_type="power"), AttributeValueError, "2 inputs .* it takes data"),
        (lambda: tl.custom(X, np.ones(3), op_type="softmax_loss"), ShapeError, r"label is \(3,\), expected \(2,\)"),
        (lambda: operator.register("x")(Power), DTypeError, "expected a class of CustomOpProp"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_call_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


class Careless(operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        out_data[0] = in_data[0]

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        in_grad[0] = out_grad[0]


def careless(name, need_top_grad=True, **methods):
    """Properties with some methods replaced, registered as `name`."""
    own = {"__init__": lambda self: operator.CustomOpProp.__init__(self, need_top_grad), **methods}
    operator.register(name)(type("CarelessProp", (operator.CustomOpProp,), own))


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ({"create_operator": lambda *_: Careless()}, LessonError, r"forward of 'c' replaces out_data\[0\]"),
        (
            {"create_operator": lambda *_: None},
            DTypeError,
            "create_operator of 'c' gave None, expected a CustomOp",
        ),
        (
            {"infer_shape": lambda self, s: (s, [])},
            ShapeError,
            "infer_shape of 'c' gave .* 1, 1 and 0 entries",
        ),
        ({"infer_type": lambda self, s: None}, ShapeError, "infer_type of 'c' gave None"),
        ({}, NotImplementedError, "CarelessProp declares no create_operator"),
    ],
)
def test_a_mistake_in_the_declaration_is_named(methods, error, message):
    careless("c", **methods)
    with pytest.raises(error, match=message):
        tl.custom(X, op_type="c")


def test_backward_that_reads_what_it_did_not_ask_for_is_told_how_to_ask():
    careless("c", need_top_grad=False, create_operator=lambda *_: Power(1, 2))
    x = tl.Tensor(X, requires_grad=True)
    with pytest.raises(GraphError, match=r"backward of 'c' reads out_grad.*need_top_grad=True"):
        tl.sum(tl.custom(x, op_type="c")).backward()


def test_a_dependency_declared_by_hand_counts():
    assert Custom("softmax_loss").is_loss
    assert not Custom("power").is_loss
    careless("c", need_top_grad=False, declare_backward_dependency=lambda self, g, x, y: [*g, *x])
    assert not Custom("c").is_loss


def test_a_later_registration_takes_the_name_over():
    operator.register("power")(SoftmaxLossProp)
    assert Custom("power").input_names == ("data", "label")
