"""An op of ten lines is everywhere that ours are: nothing else has to be written for it."""

import json
from math import atan

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import Tensor, check, sym, viz
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise, Methods
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.run import available_runners, reference

X = np.linspace(-2, 2, 6).reshape(2, 3)


@pytest.fixture
def arctangent():
    """The op, and afterwards the tables as they were."""

    @tl.op
    class ArctangentForTest(Elementwise):
        """The angle whose tangent is `x`: ``y = atan(x)``."""

        def forward(self, xp, x, out=None):
            return xp.arctan(x, out=out)

        def vjp(self, F, g, y, x):
            return (g / (1 + x * x),)

        def oracle(self, x):
            return np.vectorize(atan, otypes=[float])(x)

    yield ArctangentForTest
    del OPS["ArctangentForTest"], FUNCTIONS["arctangent_for_test"]
    delattr(Methods, "arctangent_for_test")


@pytest.fixture
def symbol(arctangent):
    return sym.ArctangentForTest(sym.Variable("x"), name="angle")


def slope(x):
    return 1 / (1 + x**2)


def bend(x):
    return -2 * x / (1 + x**2) ** 2


def test_it_is_a_function_and_a_method_of_tensors_and_differentiated_twice(arctangent):
    def total(x):
        return tl.sum(tl.arctangent_for_test(x))

    np.testing.assert_allclose(Tensor(X).arctangent_for_test().numpy(), np.arctan(X))
    np.testing.assert_allclose(tl.grad(total)(X).numpy(), slope(X))
    np.testing.assert_allclose(tl.grad(lambda x: tl.sum(tl.grad(total)(x)))(X).numpy(), bend(X))
    np.testing.assert_allclose(tl.jit(tl.grad(total))(X).numpy(), slope(X))


@pytest.mark.parametrize("runner", available_runners())
def test_it_is_a_symbol_on_every_runner(symbol, runner):
    executor = symbol.simple_bind(x=X.shape, runner=runner)
    y = executor.forward(is_train=True, x=X)[0]
    executor.backward(np.ones_like(y))
    np.testing.assert_allclose(y, np.arctan(X), rtol=1e-6)
    np.testing.assert_allclose(executor.grad_dict["x"], slope(X), rtol=1e-6)


def test_it_is_in_json_in_plans_in_programs_and_in_pictures(symbol, tmp_path):
    assert sym.load_json(symbol.tojson()).list_outputs() == symbol.list_outputs()
    assert "ArctangentForTest" in viz.draw(symbol, shape={"x": (2, 3)}, backward=True).source
    program = viz.show_program(symbol, shape={"x": X.shape})
    place = {"x": X}
    exec(program, place)
    np.testing.assert_allclose(place[program.names.gradients["x"]], slope(X), rtol=1e-6)
    executor = symbol.simple_bind(x=X.shape)
    executor.plan().save(tmp_path / "plan.json")
    calls = [
        c["call"]
        for step in json.loads((tmp_path / "plan.json").read_text())["forward"]
        for c in step["calls"]
    ]
    assert calls == ["arctan"]
    loaded = Plan.load(tmp_path / "plan.json")
    named = {a.name: np.ones(a.shape, a.dtype) for a in loaded.arrays if a.name}
    arrays = reference.bound(loaded, {**named, "x": X.astype("f")})
    reference.run(loaded.forward, arrays)
    np.testing.assert_allclose(arrays[loaded.outputs["output 0"]], np.arctan(X), rtol=1e-6)


def test_it_is_checked_against_differences_and_its_own_oracle(arctangent):
    assert check.gradients(arctangent(), X, order=2).ok
    check.property_test(arctangent, seed=0)()
    arctangent.oracle = lambda self, x: np.tan(x)
    with pytest.raises(check.OpError, match="the oracle gives"):
        check.property_test(arctangent, seed=0)()
