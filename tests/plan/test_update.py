"""The update part of a plan: rules over arrays that change in place, against the same rules in NumPy."""

import numpy as np
import pytest

from tinygrad_lesson import sym
from tinygrad_lesson.engine.graph import Label, Node
from tinygrad_lesson.engine.world import Arrays
from tinygrad_lesson.errors import BindError, DTypeError, GraphError, OptimizerError
from tinygrad_lesson.ops.index import freeze
from tinygrad_lesson.plan import Builder, Compiler, Given, Passes, Task, update_plan
from tinygrad_lesson.plan.fusion import BLOCK, FEWEST
from tinygrad_lesson.run import NumpyRunner, available_runners, runner
from tinygrad_lesson.train.optimizer import SGD, Adam, Optimizer

SIZES = [5, FEWEST * BLOCK + 7]  # in whole arrays, and block by block
HALVES = ((0, 2), (2, 5))


def norms(F, given):
    return given.per_parameter(F, lambda w: F.sqrt(F.sum(w * w)), given.weight)


def part(F, x, of):
    return F.slice(x, key=freeze(of))


def largest_early(F, given, m):
    half = m * 0.5  # blocks begin here, and what is read of the old weights comes after them
    largest = F.max(given.weight)
    return given.weight * 2, half + largest


def half_read(F, given, m):
    half = m * 0.5
    new = half + given.gradient
    return given.weight + half, new


def made_of_the_new(F, given, m):
    new = m * 0.5 + given.weight * given.gradient
    return -(new / given.rate), new


RULES = {
    "nothing changes": lambda F, given, m: (given.weight, m),
    "one moves": lambda F, given, m: (given.weight - given.gradient * given.rate, m),
    "they change places": lambda F, given, m: (m, given.weight),
    "the old weights are read last": lambda F, given, m: (given.weight * 0.5, m + given.weight),
    "the old moment is read last": lambda F, given, m: (given.weight + m, m * 0.9 + given.gradient),
    "the weights are made of the new moment": made_of_the_new,
    "the new moment is read": lambda F, given, m: (given.weight + m * 0.5, m * 0.5),
    "what it was made of is read": half_read,
    "both are the same": lambda F, given, m: (given.weight + m, given.weight + m),
    "backwards": lambda F, given, m: (part(F, given.weight, slice(None, None, -1)), part(F, m, slice(None, None, -1)) * 2),
    "a view and its array": lambda F, given, m: (m * 2, F.reshape(F.reshape(given.weight, shape=(1, -1)), shape=(-1,))),
    "not in place": lambda F, given, m: (F.where(F.greater(m, 0), given.weight, m), F.where(F.greater(m, 0), m, given.weight)),
    "a part of the old": lambda F, given, m: (given.weight * 3, m + F.sum(part(F, given.weight, slice(0, 3)))),
    "the length": lambda F, given, m: (given.weight / norms(F, given), m + norms(F, given)),
    "the length of the new": lambda F, given, m: (given.weight + m, m - F.sum(given.weight + m)),
    "the largest of the old, late": lambda F, given, m: (given.weight * 2, m * F.max(given.weight)),
    "the largest of the old, early": largest_early,
}  # fmt: skip


class Ruled(Optimizer):
    def moments(self):
        return 1


def arrays(size, dtype=np.float32):
    rng = np.random.default_rng(size)
    named = {name: rng.normal(size=size).astype(dtype) for name in ("weight", "gradient", "moment0")}
    return {**named, "rate": np.array(0.1, dtype), "decay": np.array(0.0, dtype)}


def expected_after(rule, named, steps, segments=()):
    """What the rule gives on NumPy's arrays, again and again."""
    named = {key: np.array(x) for key, x in named.items()}
    for _ in range(steps):
        given = Given(named["weight"], named["gradient"], named["rate"], named["decay"], segments=segments)
        new = rule(Arrays(), given, named["moment0"])
        named["weight"], named["moment0"] = map(np.array, new)
    return named


@pytest.mark.parametrize("name", available_runners())
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_changes_its_arrays_in_place_as_numpy_does(rule, size, name):
    class Tried(Ruled):
        def rule(self, F, given, *moments):
            return RULES[rule](F, given, *moments)

    named = arrays(size)
    expected = expected_after(RULES[rule], named, 3)
    run = runner(name)(update_plan(Tried(), size, np.dtype(np.float32), (False, False)), named, None)
    for _ in range(3):
        run.update()
    for key in ("weight", "moment0"):
        if name == "numpy" and size < BLOCK:
            np.testing.assert_array_equal(named[key], expected[key])
        else:  # sums are taken block by block
            np.testing.assert_allclose(named[key], expected[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9, wd=0.1), Adam(wd=0.1, clip_gradient=1.0)])
def test_an_optimizer_allocates_no_array_for_its_moments(optimizer):
    """Whatever its rule: each is computed in its own place, and not copied there."""
    plan = update_plan(optimizer, 100, np.dtype(np.float32), (True, True))
    assert "Identity" not in str(plan)
    first = {v: i for i, step in reversed(list(enumerate(plan.update))) for v in step.targets}
    for i in range(optimizer.moments()):
        step = plan.update[first[plan.arguments[f"moment{i}"]]]
        assert step.sources[0] == step.targets[0]


def test_a_parameter_has_a_norm_of_its_own():
    class Tried(Ruled):
        def rule(self, F, given, m):
            return given.weight, norms(F, given)

    named = arrays(5, np.float64)
    plan = update_plan(Tried(), 5, np.dtype(np.float64), (False, False), HALVES)
    NumpyRunner(plan, named, None).update()
    lengths = [np.linalg.norm(named["weight"][start:stop]) for start, stop in HALVES]
    np.testing.assert_allclose(named["moment0"], np.repeat(lengths, [2, 3]), rtol=1e-14)


@pytest.mark.parametrize(
    "rule",
    [lambda given, m: given.weight, lambda given, m: (given.weight, m, m), lambda given, m: (given.weight, given.rate)],
)  # fmt: skip
def test_a_rule_that_forgets_a_result_or_its_shape_is_refused(rule):
    class Wrong(Ruled):
        def rule(self, F, given, m):
            return rule(given, m)

    with pytest.raises(OptimizerError, match=r"Wrong: the rule gives .*, expected \(5,\), \(5,\)"):
        update_plan(Wrong(), 5, np.dtype(np.float32), (False, False))


def bound(net, **settings):
    return sym.MakeLoss(net).simple_bind(**settings)


def test_what_cannot_be_updated_is_refused():
    x, w = sym.Variable("data"), sym.Variable("w", shape=(3,))
    product = sym.sum(sym.broadcast_mul(x, w))
    with pytest.raises(BindError, match="an optimizer needs gradients"):
        bound(product, data=(2, 3)).plan(False, SGD())
    with pytest.raises(BindError, match="an optimizer needs gradients"):
        bound(product, data=(2, 3), grad_req="null").plan(True, SGD())
    with pytest.raises(BindError, match="plan: optimizer is 'sgd', expected one such as SGD"):
        bound(product, data=(2, 3)).plan(True, "sgd")
    with pytest.raises(GraphError, match="'rate': a plan with an optimizer calls an array so"):
        bound(sym.sum(sym.Variable("rate") * 2), rate=(2, 3)).plan(True, SGD())
    both = sym.Group(
        [sym.MakeLoss(sym.sum(sym.Variable(kind, dtype=kind))) for kind in ("float32", "float64")]
    )
    with pytest.raises(DTypeError, match="parameters of several types, float32, float64"):
        both.simple_bind(float32=(2,), float64=(2,)).plan(True, SGD())


def test_the_update_part_computes_anew_what_an_earlier_part_has_computed():
    """That may lie in a gradient, which a caller may have scaled since."""
    F = Builder(Passes())
    w, gradient = np.array([1, 2, 3], np.float32), np.zeros(3, np.float32)
    edge = F.variable(Node(None, label=Label("w")), (3,), w.dtype)
    task = Task(
        [], [("gradient w", edge * 2, False)], {"gradient w": ((3,), w.dtype)}, [("w", edge * 2 + 1, False)]
    )
    run = NumpyRunner(Compiler(F, F.passes).compile(task), {"w": w, "gradient w": gradient}, None)
    run.backward()
    np.testing.assert_array_equal(gradient, [2, 4, 6])
    gradient *= 10
    run.update()
    np.testing.assert_array_equal(w, [3, 5, 7])


def test_a_plan_without_an_optimizer_has_no_update_part():
    assert bound(sym.sum(sym.Variable("x")), x=(2,)).plan(True).update == ()
