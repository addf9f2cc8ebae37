"""The one reverse sweep, in each of its three worlds."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor
from tinygrad_lesson.backprop import backprop, gradient_graph
from tinygrad_lesson.graph import EDGES, Edge, Label, Node, toposort
from tinygrad_lesson.op import FUNCTIONS, OPS, Op, op
from tinygrad_lesson.tensor import recorded_sweep, sweep


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
    class AskedForTest(Op):
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


def test_a_gradient_graph_is_a_graph_that_can_be_differentiated_again():
    x, g = Edge(Node(None, label=Label("x"))), Edge(Node(None, label=Label("g")))
    y = x * x * x
    (dx,) = gradient_graph([(y, g)], [x])
    (ddx,) = gradient_graph([(dx, g)], [x])
    (dddx,) = gradient_graph([(ddx, g)], [x])
    given = {x.node: Tensor(5.0), g.node: Tensor(1.0)}
    assert [float(value_of(e, given)) for e in (y, dx, ddx, dddx)] == [125, 75, 30, 6]


def test_a_gradient_graph_names_what_has_no_gradient():
    x, g = Edge(Node(None)), Edge(Node(None))
    assert gradient_graph([(EDGES.sign(x), g)], [x]) == [None]
    assert gradient_graph([(EDGES.make_loss(x), g)], [x])[0].node.op == OPS["FullLike"](value=1.0)


def test_all_variables_are_swept_when_none_is_named():
    x, w = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    found = dict(sweep([(x * w * x, np.ones(()))], None))
    assert found == {x.node: 12, w.node: 4}
    assert backprop(None, [], None, None) == []
