"""The program: lines of NumPy that compute, on their own, what the executor computes. A second way to every number."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from one_op import forward

import tinygrad_lesson as tl
from tinygrad_lesson import sym, viz
from tinygrad_lesson.check.strategies import samples
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.op import OPS, Elementwise, Op, op
from tinygrad_lesson.plan.trace import spec_of, trace
from tinygrad_lesson.viz.printer import Printer, Word

SHAPES = {"data": (20, 4), "label": (20, 3)}


@pytest.fixture(autouse=True)
def unprinted(capsys):
    yield
    capsys.readouterr()


def bound(symbol, seed=0, dtype="float32", **shapes):
    """An executor whose arrays are drawn at random, states positive."""
    executor = symbol.simple_bind(type_dict=dict.fromkeys(shapes, dtype), **shapes)
    draw = np.random.default_rng(seed)
    for array in executor.arguments.values():
        array[...] = draw.normal(size=array.shape)
    for array in executor.states.values():
        array[...] = draw.uniform(0.5, 2, array.shape)
    return executor


def run(program, arrays):
    names = {program.names.arguments[name]: np.copy(array) for name, array in arrays.items()}
    exec(compile(program, "program", "exec"), names)
    return names


@pytest.mark.parametrize("name", NETWORKS)
def test_the_lines_agree_with_the_executor_on_every_network(name):
    symbol = cross_entropy(NETWORKS[name].build())
    executor = bound(symbol, dtype="float64", **SHAPES)
    program = tl.show_program(executor)
    found = run(program, {**executor.arguments, **executor.states})
    (loss,) = executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_allclose(found[program.names.outputs[0]], loss, rtol=1e-12)
    assert set(program.names.gradients) == set(executor.arguments)
    largest = max(np.abs(g).max() for g in executor.gradients.values())
    for argument, gradient in program.names.gradients.items():
        expected = executor.gradients[argument]
        np.testing.assert_allclose(
            found[gradient], expected, rtol=1e-9, atol=1e-12 * largest, err_msg=argument
        )


def test_new_states_are_those_of_the_executor():
    symbol = cross_entropy(NETWORKS["bn8"].build())
    executor = bound(symbol, **SHAPES)
    program = tl.show_program(symbol, **SHAPES)
    found = run(program, {**executor.arguments, **executor.states})
    executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_allclose(found["bn3_new_moving_var"], executor.states["bn3_moving_var"], rtol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_prediction_has_no_backward_part(name):
    symbol = NETWORKS[name].build()
    executor = bound(symbol, data=(5, 4))
    program = tl.show_program(symbol, data=(5, 4), is_train=False)
    found = run(program, {**executor.arguments, **executor.states})
    np.testing.assert_allclose(found[program.names.outputs[0]], executor.forward()[0], rtol=1e-5, atol=1e-7)
    assert "backward" not in program


def test_the_lines_run_with_nothing_but_numpy():
    program = tl.show_program(cross_entropy(NETWORKS["bn8"].build()), **SHAPES)
    names = {}
    exec(program, names)
    assert np.isfinite(names["d_fc1_weight"]).all()
    assert re.findall("^(?:import|from) .*", program, re.MULTILINE) == ["import numpy as np"]
    assert "tinygrad" not in program


def test_a_function_is_written_with_its_inputs_and_agrees_with_grad():
    def f(x, w):
        return tl.sum(tl.tanh(x @ w) ** 2 / (1 + tl.exp(-x)))

    x, w = np.arange(4.0).reshape(2, 2), np.array([[0.3, -1.0], [2.0, 0.1]])
    program = tl.show_program(f, x, w)
    names = {}
    exec(program, names)
    np.testing.assert_allclose(
        names[program.names.outputs[0]], f(tl.Tensor(x), tl.Tensor(w)).numpy(), rtol=1e-12
    )
    for argument, i in (("x", 0), ("w", 1)):
        np.testing.assert_allclose(names[f"d_{argument}"], tl.grad(f, i)(x, w).numpy(), rtol=1e-12)


def test_what_is_printed_is_what_is_returned(capsys):
    program = tl.show_program(lambda x: tl.exp(x), [1.0, 2.0])
    assert capsys.readouterr().out == f"{program}\n"
    assert "exp = np.exp(x)" in program
    assert "np" not in repr(program)  # a prompt does not show it again


def test_names_of_any_kind_become_names_of_python():
    net = sym.FullyConnected(sym.Variable("np"), num_hidden=2, name="1; import os\nos.abort()")
    net = sym.FullyConnected(net, num_hidden=2, name="lambda")
    net = sym.FullyConnected(net, num_hidden=2, name="\u0444\u043a \u202e")
    executor = bound(net, np=(3, 4))
    program = tl.show_program(net, np=(3, 4), is_train=False)
    found = run(program, executor.arguments)
    np.testing.assert_allclose(found[program.names.outputs[0]], executor.forward()[0], rtol=1e-5)
    assert "import os" not in re.sub("#.*", "", program)


PLAIN = [cls for cls in OPS.values() if not cls.random and cls.traceable is True]


@pytest.mark.parametrize(
    "cls", [cls for cls in OPS.values() if not cls.traceable and cls.ours], ids=lambda cls: cls.name
)
def test_an_op_that_runs_code_of_its_own_is_named_where_a_program_is_wanted(cls):
    op, arrays = Draw(0).sample(cls)

    def f(*inputs):
        y = inputs[0].F.apply(op, inputs)
        return tl.sum(y[0] if isinstance(y, tuple) else y)

    with pytest.raises(LessonError, match=cls.name):
        viz.show_program(f, *arrays.values())


@pytest.mark.parametrize("cls", PLAIN, ids=lambda cls: cls.name)
@settings(max_examples=10)
@given(draw=samples())
def test_every_op_is_written_as_lines_that_compute_the_same(cls, draw):
    op, sampled = draw.sample(cls)
    arrays = list(sampled.values())
    printer = Printer()
    names = {printer.free_name(f"x{i}"): np.array(array) for i, array in enumerate(arrays)}
    made = trace(op, list(map(spec_of, names.values())), [None] * op.results, False)
    with np.errstate(all="ignore"):
        written = printer.write(made, list(map(Word, names)), [f"y{i}" for i in range(op.results)])
        expected = forward(op, [np.array(array) for array in arrays])
        exec("\n".join(printer.lines), {"np": np}, names)
    for value, array in zip(written, expected, strict=True):
        np.testing.assert_array_equal(names[value.text], array)
        assert np.asarray(names[value.text]).dtype == array.dtype


@op
class ScatterStep(Op):
    """Twice `x`, written piece by piece."""

    def shape(self, x):
        return x

    def forward(self, xp, x):
        y = xp.zeros_like(x)
        y[1:] = x[1:] * 2
        y[:1] = x[:1] * 2
        return y

    def vjp(self, F, g, y, x):
        return (g * 2,)


@op
class LooksAtValues(Elementwise):
    """Does one thing or another."""

    def forward(self, xp, x):
        return x if x.sum() > 0 else -x

    def vjp(self, F, g, y, x):
        return (g,)


def test_an_op_that_writes_into_an_array_is_written_step_by_step():
    program = tl.show_program(lambda x: tl.scatter_step(x), [1.0, 2.0, 3.0])
    names = {}
    exec(program, names)
    assert names["scatter_step"].tolist() == [2, 4, 6]
    assert names["d_x"].tolist() == [2, 2, 2]


def test_what_cannot_be_written_is_refused_by_name():
    with pytest.raises(GraphError, match=r"an op \(LooksAtValues\) looks at a value"):
        tl.show_program(lambda x: tl.looks_at_values(x), [1.0])
    data = sym.Variable("data")
    with pytest.raises(GraphError, match=r"drop \(Dropout\) draws random numbers.*is_train=False"):
        tl.show_program(sym.Dropout(data, name="drop"), data=(2, 2))
    assert "drop = np.asarray(data" in tl.show_program(
        sym.Dropout(data, name="drop"), data=(2, 2), is_train=False
    )
    with pytest.raises(ShapeError, match="the shape of 'data' is unknown; give those of the inputs"):
        tl.show_program(sym.FullyConnected(data, num_hidden=2))
    with pytest.raises(DTypeError, match="3 is neither a Symbol, nor an Executor, nor a function"):
        tl.show_program(3)
