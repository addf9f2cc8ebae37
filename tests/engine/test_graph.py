"""Recording, walking and rebuilding graphs."""

import numpy as np
import pytest

from tinygrad_lesson.errors import DTypeError, GraphError
from tinygrad_lesson.graph import (
    EDGES,
    Edge,
    Label,
    Node,
    ancestors,
    between,
    check_names,
    outputs_of,
    substitute,
    toposort,
)
from tinygrad_lesson.ops.elementwise import Multiply
from tinygrad_lesson.ops.reduce import Constant


def variable(name="x"):
    return Edge(Node(None, label=Label(name)))


def test_inputs_come_before_users_left_to_right_and_every_node_once():
    a, b = variable("a"), variable("b")
    ab = a * b
    y = (b + ab) * ab
    order = toposort([y.node])
    assert [n.name or n.op.name for n in order] == ["b", "a", "Multiply", "Add", "Multiply"]
    assert toposort([y.node, ab.node]) == order
    assert toposort([]) == []


@pytest.mark.parametrize("walk", [toposort, ancestors])
def test_a_walk_gives_every_node_after_its_inputs_however_deep(walk):
    x = variable()
    y = x
    for _ in range(100_000):
        y = y + x
    order = walk([y.node])
    place = {node: i for i, node in enumerate(order)}
    assert len(order) == 100_001
    assert all(place[edge.node] < i for node, i in place.items() for edge in node.inputs)


def test_between_are_the_nodes_from_which_a_path_leads_back():
    a, b = variable("a"), variable("b")
    left, right = EDGES.tanh(a), EDGES.tanh(b)
    y = left + right
    found = between(toposort([y.node]), [a.node])
    assert found == {a.node, left.node, y.node}


def test_edges_compute_with_numbers_and_refuse_arrays():
    x = variable()
    y = 2 - x / np.float64(4)
    assert [n.op.label() for n in toposort([y.node]) if n.op] == [
        "Constant(value=2)", "Constant(value=4.0)", "Divide()", "Subtract()",
    ]  # fmt: skip
    for value in (np.ones(2), "a", None):
        with pytest.raises(DTypeError, match="is neither an edge of a graph nor a number"):
            x + value


def test_results_of_a_node_are_numbered():
    parts = EDGES.split(variable(), num_outputs=3)
    assert [edge.index for edge in parts] == [0, 1, 2]
    assert len({edge.node for edge in parts}) == 1
    assert outputs_of(parts[0].node) == parts


def test_a_graph_is_rebuilt_only_where_a_rule_changes_it():
    x, y = variable("x"), variable("y")
    kept, changed = EDGES.tanh(y), x * x
    new, same = substitute([changed + kept, kept], lambda node, inputs: (y,) if node is x.node else None)
    assert same == kept
    left, right = new.node.inputs
    assert left.node.op == Multiply()
    assert left.node.inputs == (y, y)
    assert right == kept


def test_names_used_twice_are_refused():
    check_names([variable("a").node, variable("b").node], "arguments")
    with pytest.raises(GraphError, match="two arguments are called 'a'"):
        check_names([variable("a").node, variable("b").node, variable("a").node], "arguments")


def test_nodes_show_what_they_are():
    x = variable("data")
    assert repr(x.node) == "<Variable data>"
    assert repr(EDGES.sum(x, axis=0).node) == "<Sum(axis=0) >"
    assert not x.node.op
    assert isinstance((x * 1).node.inputs[1].node.op, Constant)
