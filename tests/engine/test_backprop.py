"""The one reverse sweep, in each of its three worlds."""

import functools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.errors import LessonError, ShapeError
from tinygrad_lesson.graph import Edge, Label, Node, outputs_of, toposort
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise, Op, op
from tinygrad_lesson.plan import Builder, Passes
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.symbol import Symbol
from tinygrad_lesson.tensor import ARRAYS, TENSORS, recorded_sweep, sweep


def value_of(edge, given):
    """What an edge of a graph is worth, computed eagerly."""
    values = {}
    for node in toposort([edge.node]):
        result = given[node] if node.op is None else Tensor.F.apply(node.op, [values[e] for e in node.inputs])
        values.update(
            {Edge(node, i): r for i, r in enumerate(result if isinstance(result, tuple) else (result,))}
        )
    return values[edge].numpy()


def arrays(heads, wrt):
    return sweep(heads, wrt)


def tensors(heads, wrt):
    found = recorded_sweep([(y, Tensor(g)) for y, g in heads], wrt)
    return [None if g is None else g.numpy() for g in found]


WORLDS = pytest.mark.parametrize("world", [arrays, tensors])


@WORLDS
def test_a_value_used_several_times_counts_every_use(world):
    x = Tensor(3.0, requires_grad=True)
    y = x * x
    assert world([(y + y + x, np.ones(()))], [x])[0] == 13
    assert world([(x * x * x, np.ones(()))], [x])[0] == 27


@WORLDS
def test_both_sides_of_a_diamond_are_added(world):
    x = Tensor(0.5, requires_grad=True)
    left, right = tl.exp(x), tl.sigmoid(x)
    expected = np.exp(0.5) * right.item() + np.exp(0.5) * right.item() * (1 - right.item())
    assert world([(left * right, np.ones(()))], [x])[0] == pytest.approx(expected)


@WORLDS
def test_a_ladder_of_diamonds_is_swept_once_per_node(world):
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200):
        y = y + y
    assert world([(y, np.ones(()))], [x])[0] == 2.0**200


@WORLDS
def test_several_heads_add_up_and_a_head_may_be_asked_for_itself(world):
    x = Tensor([1.0, 2.0], requires_grad=True)
    y, z = x * 2, x * x
    gradients = world([(y, np.array([1.0, 1.0])), (z, np.array([10.0, 100.0]))], [x, y, z])
    assert [g.tolist() for g in gradients] == [[22, 402], [1, 1], [10, 100]]


@WORLDS
def test_where_no_path_leads_the_answer_is_none(world):
    x, other = Tensor(1.0, requires_grad=True), Tensor(1.0, requires_grad=True)
    assert world([(x * 2, np.ones(()))], [other, x])[0] is None


@WORLDS
def test_intermediate_results_can_be_asked_for(world):
    x = Tensor(2.0, requires_grad=True)
    y = x * x
    assert world([(y * x, np.ones(()))], [y, x]) == [2, 12]


@WORLDS
def test_unused_results_of_an_op_count_as_zero(world):
    x = Tensor(np.arange(6.0), requires_grad=True)
    parts = tl.split(x, 3)
    (g,) = world([(parts[1] * 5, np.ones(2))], [x])
    assert g.tolist() == [0, 0, 5, 5, 0, 0]


def test_what_is_not_wanted_is_not_computed():
    asked = []

    @op
    class AskedForTest(Elementwise):
        """A sum that notes which of its gradients are asked for."""

        def forward(self, xp, a, b):
            return xp.add(a, b)

        def vjp(self, F, g, y, a, b):
            return (lambda: asked.append("a") or g), (lambda: asked.append("b") or g)

    try:
        a, b = Tensor(1.0, requires_grad=True), Tensor(1.0, requires_grad=True)
        sweep([(tl.asked_for_test(a, b), np.ones(()))], [b])
    finally:
        del OPS["AskedForTest"], FUNCTIONS["asked_for_test"]
    assert asked == ["b"]


def scalars(*names):
    """A world of edges, and numbers in it."""
    F = Builder(Passes())
    return F, *[F.variable(Node(None, label=Label(name)), (), float) for name in names]


def test_a_gradient_graph_is_a_graph_that_can_be_differentiated_again():
    F, x, g = scalars("x", "g")
    y = x * x * x
    (dx,) = F.gradients([(y, g)], [x])
    (ddx,) = F.gradients([(dx, g)], [x])
    (dddx,) = F.gradients([(ddx, g)], [x])
    given = {x.node: Tensor(5.0), g.node: Tensor(1.0)}
    assert [float(value_of(e, given)) for e in (y, dx, ddx, dddx)] == [125, 75, 30, 6]


def test_a_gradient_graph_names_what_has_no_gradient():
    F, x, g = scalars("x", "g")
    assert F.gradients([(F.sign(x), g)], [x]) == [None]
    assert F.gradients([(F.make_loss(x), g)], [x])[0].node.op == OPS["Full"](to=(), value=1.0, type="float64")


def test_all_variables_are_swept_when_none_is_named():
    x, w = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    found = dict(sweep([(x * w * x, np.ones(()))], None))
    assert found == {x.node: 12, w.node: 4}
    assert backprop(ARRAYS, [], None) == []


def rule(name, vjp, forward=lambda self, xp, a, b: xp.multiply(a, b), base=Elementwise):
    """An op of a user, out of the tables, whose gradient is `vjp`."""
    body = {"__doc__": "x.", "__module__": __name__, "forward": forward, "vjp": vjp}
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        return op(type(name, (base,), body))()


class Broadcasting(Op):
    """An op that repeats its inputs, but does not declare that it does."""

    def shape(self, *shapes):
        return np.broadcast_shapes(*shapes)


def products(self, F, g, y, a, b):
    return (lambda: g * b), (lambda: g * a)


def sums_of_products(self, F, g, y, a, b):
    return F.sum_like(g * b, a), F.sum_like(g * a, b)


UNSUMMED = rule("Unsummed", products, base=Broadcasting)
SUMMED = rule("Summed", sums_of_products, base=Broadcasting)
SWEPT = rule("Swept", products)
SWEPT_TOO = rule("SweptToo", sums_of_products)


def of_tensors(op, a, b, create_graph=False):
    leaves = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    y = tl.sum(TENSORS.apply(op, leaves))
    return [g.numpy() for g in tl.grad(y, leaves, create_graph=create_graph)]


def of_an_executor(op, a, b, runner):
    heads = outputs_of(Node(op, [Edge(Node(None, label=Label(name))) for name in "ab"], Label("y")))
    arrays = {"a": np.array(a, "f"), "b": np.array(b, "f")}
    gradients = {n: np.zeros_like(x) for n, x in arrays.items()}
    executor = Symbol(heads).bind(tl.cpu(), arrays, args_grad=gradients, runner=runner)
    y = executor.forward(is_train=True)[0]
    executor.backward([np.ones_like(y)])
    return [np.array(executor.grad_dict[n]) for n in "ab"]


EVERYWHERE = {
    "arrays": of_tensors,
    "tensors": lambda op, a, b: of_tensors(op, a, b, create_graph=True),
    "jit": lambda op, a, b: list(
        tl.jit(tl.grad(lambda a, b: tl.sum(TENSORS.apply(op, (a, b))), (0, 1)))(a, b)
    ),
    **{runner: functools.partial(of_an_executor, runner=runner) for runner in available_runners()},
}


@pytest.mark.parametrize("world", EVERYWHERE)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [((3, 2), (2,), r"^Unsummed\(\): vjp gives a gradient of shape \(3, 2\) for b, which is \(2,\); .*F.sum_like\(gradient, b\)"),
     ((1, 2), (3, 2), r"Unsummed\(\): vjp gives a gradient of shape \(3, 2\) for a, which is \(1, 2\)"),
     ((), (3,), r"Unsummed\(\): vjp gives a gradient of shape \(3,\) for a, which is \(\)")],
)  # fmt: skip
def test_a_gradient_of_another_shape_than_its_input_is_refused(world, a, b, message):
    arrays = [np.arange(1.0, 1 + np.prod(s, dtype=int)).reshape(s) for s in (a, b)]
    with pytest.raises(ShapeError, match=message):
        EVERYWHERE[world](UNSUMMED, *arrays)
    one = np.ones(np.broadcast_shapes(a, b))
    for right in (SUMMED, SWEPT, SWEPT_TOO):
        da, db = EVERYWHERE[world](right, *arrays)
        for found, other, like in ((da, arrays[1], a), (db, arrays[0], b)):
            whole = one * other  # summed to the shape of the input, by NumPy
            whole = whole.sum(axis=tuple(range(whole.ndim - len(like))))
            whole = whole.sum(axis=tuple(i for i, n in enumerate(like) if n < whole.shape[i]), keepdims=True)
            np.testing.assert_allclose(np.asarray(found), whole.reshape(like))


@pytest.mark.parametrize("world", EVERYWHERE)
def test_a_gradient_is_summed_from_exactly_the_shape_that_its_input_was_repeated_to(world):
    twice = rule("Twice", lambda self, F, g, y, a, b: (F.stack([g * b, g * b]), g * a))
    with pytest.raises(
        ShapeError, match=r"^Twice\(\): vjp gives a gradient of shape \(2, 3, 2\) for a, which is \(2,\)"
    ):
        EVERYWHERE[world](twice, np.ones(2), np.ones((3, 2)))
    lost = rule("Lost", lambda self, F, g, y, a, b: (g * b, F.sum(g)))
    with pytest.raises(
        ShapeError, match=r"^Lost\(\): vjp gives a gradient of shape \(\) for b, which is \(3, 2\)"
    ):
        EVERYWHERE[world](lost, np.ones(2), np.ones((3, 2)))


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_that_nobody_wants_is_not_compared(create_graph):
    half = rule("Half", lambda self, F, g, y, a, b: (F.sum_like(g * b, a), F.sum(g)))
    a = Tensor(np.ones(2), requires_grad=True)
    y = tl.sum(TENSORS.apply(half, (a, np.ones((3, 2)))))
    assert tl.grad(y, [a], create_graph=create_graph)[0].numpy().tolist() == [3, 3]


@pytest.mark.parametrize("world", EVERYWHERE)
@pytest.mark.parametrize(
    ("vjp", "message"),
    [(lambda self, F, g, y, a, b: (g * b,), r"Wrong\(\): vjp gives 1 gradients, expected 2"),
     (lambda self, F, g, y, a, b: (g, g, g), r"Wrong\(\): vjp gives 3 gradients, expected 2"),
     (lambda self, F, g, y, a, b: g * b, r"Wrong\(\): vjp gives a .*, expected a tuple"),
     (lambda self, F, g, y, a, b: None, r"Wrong\(\): vjp gives a NoneType, expected a tuple"),
     (lambda self, F, g, y, a, b: 1 / 0, r"Wrong\(\): its vjp fails: ZeroDivisionError"),
     (lambda self, F, g, y, a, b: (lambda: [][1], None), r"Wrong\(\): its vjp fails: IndexError"),
     (lambda self, F, g, y, a, b: (F.no_such(g), g), r"Wrong\(\): its vjp fails: AttributeError: .*no_such")],
)  # fmt: skip
def test_a_rule_that_fails_or_gives_too_few_is_told_with_the_name_of_its_op(world, vjp, message):
    with pytest.raises(LessonError, match=message):
        EVERYWHERE[world](rule("Wrong", vjp), np.ones(2), np.ones(2))


@given(data=st.data())
def test_unsummed_gradients_are_refused_wherever_an_input_was_repeated(data):
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    a, b = (np.ones(s) for s in shapes)
    repeated = [s != np.broadcast_shapes(*shapes) for s in shapes]
    if any(repeated):
        with pytest.raises(ShapeError, match="vjp gives a gradient of shape"):
            of_tensors(UNSUMMED, a, b)
    else:
        assert [g.shape for g in of_tensors(UNSUMMED, a, b)] == list(shapes)


def test_what_an_observer_raises_is_no_fault_of_a_rule():
    def observe(node, operands):
        raise ValueError("the observer's own")

    x = tl.Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="^the observer's own$") as caught:
        backprop(ARRAYS, [(x * x, np.ones(1))], None, observe)
    assert caught.type is ValueError
