"""The table of layers, as MXNet prints it."""

import inspect
import math

import pytest

from tinygrad_lesson import sym, viz
from tinygrad_lesson.errors import DTypeError, ShapeError
from tinygrad_lesson.lesson.networks import NETWORKS

# What MXNet 1.9's `print_summary` prints by its source, line by line, for this net and line_length=60.
PRINTED = """\
____________________________________________________________
Layer (type)              Output ShapeParam Previous Layer  \n\
============================================================
data(null)                5           0                     \n\
____________________________________________________________
fc1(FullyConnected)       10          60    data            \n\
____________________________________________________________
relu1(Activation)         10          0     fc1             \n\
____________________________________________________________
fc2(FullyConnected)       10          110   relu1           \n\
____________________________________________________________
plus(elemwise_add)        10          0     fc2             \n\
                                            relu1           \n\
============================================================
Total params: 170
____________________________________________________________
"""


def small():
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=10, name="fc1")
    x = sym.Activation(x, act_type="relu", name="relu1")
    return sym.elemwise_add(sym.FullyConnected(x, num_hidden=10, name="fc2"), x, name="plus")


def test_the_table_is_mxnets(capsys):
    viz.print_summary(small(), shape={"data": (3, 5)}, line_length=60)
    assert capsys.readouterr().out == PRINTED


def test_parameters_are_those_of_mxnet(capsys):
    assert list(inspect.signature(viz.print_summary).parameters) == [
        "symbol",
        "shape",
        "line_length",
        "positions",
    ]
    viz.print_summary(small(), {"data": (3, 5)}, 80, [20, 40, 50, 80])
    assert capsys.readouterr().out.splitlines()[5][20:42] == "10                  60"[:22]


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_counted_right_in_every_network(name, capsys):
    symbol = NETWORKS[name].build()
    shapes = symbol.infer_shape(data=(20, 4))[0]
    expected = sum(math.prod(s) for n, s in zip(symbol.list_arguments(), shapes, strict=True) if n != "data")
    viz.print_summary(symbol, shape={"data": (20, 4)})
    printed = capsys.readouterr().out
    assert f"Total params: {expected}\n" in printed
    rows = [line for line in printed.splitlines() if "(" in line[1:50] and not line.startswith("Layer")]
    assert sum(int(row[76:88]) for row in rows) == expected
    ops = [node.name for node in symbol.nodes if node.op is not None]
    assert [row.split("(")[0] for row in rows] == ["data", *ops]


def test_a_shared_weight_is_counted_once(capsys):
    weight = sym.Variable("w")
    x = sym.FullyConnected(sym.Variable("data"), weight, num_hidden=4, no_bias=True, name="a")
    x = sym.FullyConnected(x, weight, num_hidden=4, no_bias=True, name="b")
    viz.print_summary(x, shape={"data": (2, 4)})
    assert "Total params: 16\n" in capsys.readouterr().out


def test_without_shapes_unknown_numbers_are_question_marks(capsys):
    viz.print_summary(small())
    printed = capsys.readouterr().out
    assert "Total params: ?" in printed
    assert "0" in printed


def test_bad_input_is_refused():
    with pytest.raises(DTypeError, match="expected a Symbol, not 3"):
        viz.print_summary(3)
    with pytest.raises(ShapeError, match="fc1"):
        viz.print_summary(small(), shape={"fc1_weight": (3, 4), "data": (2, 5)})
    with pytest.raises(ShapeError, match="the shape of 'data' is not known"):
        viz.print_summary(small(), shape={"fc1_bias": (10,)})


def test_a_hostile_name_breaks_no_line(capsys):
    viz.print_summary(sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="a\nb\x1b[31m" * 40))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert not any("\x1b" in line for line in lines)


def total(capsys, symbol, shape=None):
    """The number that the table ends with, and the sum of its rows."""
    viz.print_summary(symbol, shape=shape)
    lines = capsys.readouterr().out.splitlines()
    rows = [line[76:88].strip() for line in lines[3:-2] if line.strip("_=")]
    assert lines[-2] == f"Total params: {sum(int(row) for row in rows if row)}"
    return lines[-2].removeprefix("Total params: ")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda V: V("x", shape=(3,)), 3),
        (lambda V: V("x"), 0),
        (lambda V: V("x", shape=(0, 3)), 0),
        (lambda V: V("data", shape=(20, 4)), 0),
        (lambda V: V("softmax_label", shape=(20,)), 0),
        (lambda V: V("x", shape=(3,)) + V("y", shape=(3,)), 6),
        (lambda V: sym.broadcast_mul(V("data", shape=(2, 3)), V("scale", shape=(1, 3))), 3),
        (lambda V: sym.Group([V("x", shape=(3,)), V("y", shape=(2, 2))]), 7),
        (lambda V: group_of_used(V("x", shape=(3,))), 3),
        (lambda V: sym.SoftmaxOutput(V("data", shape=(4, 3)), V("y", shape=(4,))), 0),
        (lambda V: sym.BatchNorm(V("data", shape=(4, 3)), moving_mean=V("m", shape=(3,))), 6),
    ],
    ids=range(11),
)
def test_a_variable_of_a_known_shape_counts_unless_it_takes_data(make, expected, capsys):
    assert total(capsys, make(sym.Variable)) == str(expected)


def group_of_used(x):
    """A variable that is a result, and used by another one."""
    return sym.Group([x, sym.exp(x)])


def test_what_is_given_a_shape_is_data(capsys):
    x = sym.FullyConnected(sym.Variable("x"), num_hidden=2, name="fc") * sym.Variable("scale")
    assert total(capsys, x, shape={"x": (5, 3)}) == str(2 * 3 + 2 + 5 * 2)
    assert total(capsys, x, shape={"x": (5, 3), "scale": (5, 2)}) == "8"
