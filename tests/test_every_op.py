"""Properties that hold for every op; the table of ops is the list of cases."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from one_op import (
    Compiled,
    along_some_direction,
    cotangents_for,
    derivative,
    dtypes_of,
    eager,
    forward,
    inner,
    learnable,
    pull,
    pull_twice,
    recorded,
    spread_out,
)
from oracles import LOSS_GRADIENTS, oracle_of

from tinygrad_lesson import check
from tinygrad_lesson.check.strategies import samples
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.shapes import merge
from tinygrad_lesson.op import OPS, Elementwise
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.plan.step import takes_out
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.tensor import Tensor, recorded_sweep, sweep_as_told

CLASSES = list(OPS.values())
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
FEW = settings(max_examples=settings.default.max_examples if NIGHTLY else 8)  # where numbers matter less
STOPS = {
    "StopGradient",
    "MultiBoxTarget",
    "MultiBoxDetection",
    "MultiSumSq",
    "Proposal",
}  # which have none where there would be one
KINDS = (np.float64, np.float32, np.float16, np.int64, np.int32)


def each_op(condition=lambda cls: True):
    """One case for every op of which `condition` holds."""
    return pytest.mark.parametrize("cls", list(filter(condition, CLASSES)), ids=lambda cls: cls.name)


def sample(draw, cls):
    """An op and its inputs in order."""
    op, inputs = draw.sample(cls)
    return op, list(inputs.values())


def assert_same(found, expected, tolerance=1e-10):
    """Lists of arrays are equal in shape, type and, up to rounding, in value; None stands for zeros."""
    for y, z in zip(found, expected, strict=True):
        if y is None or z is None:
            assert not np.any(z if y is None else y)
            continue
        assert (y.shape, y.dtype) == (z.shape, z.dtype)
        np.testing.assert_allclose(y, z, rtol=tolerance, atol=tolerance)


@each_op()
def test_op_is_documented_and_sampled_and_has_an_oracle(cls):
    assert cls.__doc__.strip()[0] != cls.name[0] or not cls.__doc__.startswith(f"{cls.name}(")
    assert inspect.cleandoc(cls.__doc__).partition("\n\n")[0].endswith((".", "x`", "x)`"))
    for field in dataclasses.fields(cls):
        assert field.metadata["doc"], f"{cls.name}.{field.name} says nothing"
    op, inputs = Draw(0).sample(cls)
    assert op.name_inputs(len(inputs)) == tuple(inputs)
    assert oracle_of(cls) is not None
    assert bool(cls.is_loss) == (cls.name in LOSS_GRADIENTS)


@each_op()
@given(draw=samples())
def test_forward_agrees_with_its_oracle(cls, draw):
    op, arrays = sample(draw, cls)
    expected = oracle_of(cls)(op, *arrays)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for y, z in zip(forward(op, arrays), expected, strict=True):
        assert y.shape == np.shape(z)
        np.testing.assert_allclose(y, z, rtol=1e-12, atol=1e-13)


@each_op()
@given(draw=samples())
def test_rules_tell_the_shapes_and_types_that_forward_returns(cls, draw):
    op, arrays = sample(draw, cls)
    kind = draw.choice(KINDS)
    if kind(0.5) == 0:  # integers for which every op is defined
        arrays = [np.abs(x).round() + 1 if x.dtype == np.float64 else x for x in arrays]
    arrays = [x.astype(kind) if x.dtype == np.float64 else x for x in arrays]
    with np.errstate(all="ignore"):
        found = forward(op, arrays)
    shapes = op.shape(*[x.shape for x in arrays])
    shapes = [shapes] if op.results == 1 else list(shapes)
    assert [y.shape for y in found] == shapes
    assert op.complete([x.shape for x in arrays], [None] * op.results)[1] == shapes
    for y, dtype in zip(found, dtypes_of(op, arrays), strict=True):
        assert dtype in (None, y.dtype)


@each_op()
@FEW
@given(draw=samples())
def test_rules_tell_the_truth_where_sizes_are_unknown(cls, draw):
    op, arrays = sample(draw, cls)
    known = [tuple(n if draw.boolean() else None for n in x.shape) for x in arrays]
    truth = [x.shape for x in arrays], [y.shape for y in forward(op, arrays)]
    told = op.complete(known, [None] * op.results)
    for partial, whole in zip([*told[0], *told[1]], [*truth[0], *truth[1]], strict=True):
        assert merge(partial, whole) == whole


@each_op(lambda cls: cls.differentiable and not cls.is_loss)
@given(draw=samples())
def test_vjp_agrees_with_central_differences(cls, draw):
    op, arrays = sample(draw, cls)
    g = cotangents_for(op, arrays, draw.generator)
    gradients, wanted = pull(op, arrays, g), learnable(op, arrays)
    for i, gradient in enumerate(gradients):
        if gradient is not None:
            assert i in wanted
            assert gradient.shape == arrays[i].shape
    for i in wanted:
        v, expected = along_some_direction(
            lambda moved: inner(g, forward(op, moved)[: op.visible]), arrays, i, draw.generator
        )
        assert inner([gradients[i]], [v]) == pytest.approx(expected, rel=1e-7, abs=1e-8), f"input {i}"


@each_op(lambda cls: cls.is_loss)
@given(draw=samples())
def test_gradient_of_a_loss_is_what_it_says_whatever_comes_from_above(cls, draw):
    op, arrays = sample(draw, cls)
    expected = LOSS_GRADIENTS[cls.name](op, *arrays)
    for g in (cotangents_for(op, arrays, draw.generator), [None] * op.visible):
        assert_same(pull(op, arrays, g), expected)


@each_op(lambda cls: cls.differentiable)
@given(draw=samples())
def test_second_vjp_agrees_with_differences_of_the_first(cls, draw):
    op, arrays = sample(draw, cls)
    wanted = learnable(op, arrays)
    g = cotangents_for(op, arrays, draw.generator)
    weights = [draw.generator.uniform(-1, 1, arrays[i].shape) for i in wanted]

    def first(moved):
        gradients = pull(op, moved[: len(arrays)], moved[len(arrays) :])
        return inner([gradients[i] for i in wanted], weights)

    everything = [*arrays, *g]
    for i, found in pull_twice(op, arrays, g, weights).items():
        v, expected = along_some_direction(first, everything, i, draw.generator)
        assert inner([found], [v]) == pytest.approx(expected, rel=1e-7, abs=1e-7), f"input {i}"


@each_op(
    lambda cls: not (cls.differentiable or cls.immediate or cls.random)
)  # steps and draws move without gradient
@given(draw=samples())
def test_op_without_gradient_is_constant_around_the_sample(cls, draw):
    op, arrays = sample(draw, cls)
    g = [np.asarray(draw.generator.uniform(1, 2, y.shape)) for y in forward(op, arrays)]
    assert pull(op, arrays, g) == [None] * len(arrays)
    for i in learnable(op, arrays):
        _, slope = along_some_direction(lambda moved: inner(g, forward(op, moved)), arrays, i, draw.generator)
        assert cls.name in STOPS or abs(slope) < 1e-9
        assert cls.name != "StopGradient" or abs(slope) > 1e-9


@each_op(takes_out)
@given(draw=samples())
def test_forward_into_out_equals_forward_without(cls, draw):
    op, arrays = sample(draw, cls)
    (expected,) = forward(op, arrays)
    out = np.full(expected.shape, 77, expected.dtype)
    np.testing.assert_array_equal(op.forward(np, *arrays, out=out), expected)
    if not issubclass(cls, Elementwise):
        return
    np.testing.assert_array_equal(out, expected)
    for i, x in enumerate(arrays):
        if (x.shape, x.dtype) == (out.shape, out.dtype):
            own = x.copy()
            op.forward(np, *arrays[:i], own, *arrays[i + 1 :], out=own)
            np.testing.assert_array_equal(own, expected)


@each_op()
@FEW
@given(draw=samples())
def test_inputs_stay_as_they_are_wherever_they_lie(cls, draw):
    op, arrays = sample(draw, cls)
    g = cotangents_for(op, arrays, draw.generator)
    spread = [spread_out(x.shape, x.dtype) for x in (*arrays, *g)]
    for x, values in zip(spread, (*arrays, *g), strict=True):
        x[...] = values
        x.flags.writeable = False
    assert_same(forward(op, spread[: len(arrays)]), forward(op, arrays))
    assert_same(pull(op, spread[: len(arrays)], spread[len(arrays) :]), pull(op, arrays, g))


@each_op()
@given(draw=samples())
def test_float32_stays_float32(cls, draw):
    op, arrays = sample(draw, cls)
    g = cotangents_for(op, arrays, draw.generator)
    short = [[x.astype(np.float32) if x.dtype == np.float64 else x for x in part] for part in (arrays, g)]
    found = [*forward(op, short[0]), *pull(op, *short)]
    expected = [*forward(op, arrays), *pull(op, arrays, g)]
    declared = [*dtypes_of(op, short[0]), *[x.dtype for x in short[0]]]
    for y, z, dtype in zip(found, expected, declared, strict=True):
        if z is None:
            assert y is None
            continue
        np.testing.assert_allclose(y, z, rtol=1e-3, atol=1e-4)
        assert dtype in (None, y.dtype)


@each_op()
@FEW
@given(draw=samples())
def test_both_faces_agree_run_after_run_whatever_the_passes(cls, draw):
    op, arrays = sample(draw, cls)
    runner = draw.choice(available_runners())
    kind, tolerance = draw.choice(((np.float64, 1e-10), (np.float32, 1e-3)))
    arrays = [x.astype(kind) if x.dtype == np.float64 else x for x in arrays]
    passes = Passes(*[draw.boolean() for _ in dataclasses.fields(Passes)])
    compiled = Compiled(op, arrays, passes, runner, strided=draw.boolean())
    training, prediction = op.at_mode(True), op.at_mode(False)
    for values in (arrays, [elsewhere(x, draw.generator) for x in arrays]):
        expected = forward(prediction, values)[: op.visible]
        assert_same(
            adapted(compiled.forward(values, False), expected, prediction, arrays), expected, tolerance
        )
        g = cotangents_for(training, values, draw.generator)
        expected, expected_gradients = eager(training, values, g)
        assert_same(adapted(compiled.forward(values, True), expected, training, arrays), expected, tolerance)
        gradients, states = compiled.backward(g)
        assert_same(gradients, expected_gradients, tolerance)
        assert_same(states, forward(training, values)[len(op.outputs) :], tolerance)


def adapted(found, expected, op, arrays):
    """The results that were found, numbers among them in the type that is expected, since they adapt."""
    declared = dtypes_of(op, arrays)[: op.visible]
    return [y if d else y.astype(z.dtype) for y, z, d in zip(found, expected, declared, strict=True)]


def elsewhere(x, generator):
    """Other numbers for which an op is as smooth: those of `x`, a little larger, in another order."""
    mixed = generator.permutation(x.ravel()).reshape(x.shape)
    return ~mixed if x.dtype == bool else mixed * x.dtype.type(1.02)


@each_op()
def test_all_that_an_op_promises_holds_wherever_hypothesis_looks(cls):
    """First order against differences, the oracle, both faces and all runners, special values; nightly the second too."""
    check.property_test(cls, order=2 if NIGHTLY else 1, oracle=oracle_of(cls))()


TOMORROW = '''
"""An op that somebody declares tomorrow: its second derivative is wrong, and nobody has written a test."""

from oracles import ORACLES

from tinygrad_lesson.op import Elementwise, op


@op
class Tomorrow(Elementwise):
    """The cube: ``y = x**3``."""

    def forward(self, xp, x, out=None):
        return xp.multiply(x * x, x, out=out)

    def vjp(self, F, g, y, x):
        return (3 * g * x * F.stop_gradient(x),)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}


ORACLES["Tomorrow"] = lambda op, x: x**3
'''


def test_an_op_declared_tomorrow_is_checked_with_no_test_written_for_it(tmp_path):
    (tmp_path / "tomorrow.py").write_text(TOMORROW)
    folder = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tomorrow", "-k", "Tomorrow]", str(folder / "test_every_op.py")],
        env={**os.environ, "HYPOTHESIS_PROFILE": "nightly", "PYTHONPATH": os.pathsep.join([str(tmp_path), str(folder)])},
        cwd=folder.parent, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    failed = set(re.findall(r"^FAILED \S+::(\w+)\[", done.stdout, re.MULTILINE))
    assert failed == {
        "test_second_vjp_agrees_with_differences_of_the_first",
        "test_all_that_an_op_promises_holds_wherever_hypothesis_looks",
    }, done.stdout
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 8, done.stdout


@each_op(lambda cls: cls.differentiable)
@FEW
@given(draw=samples())
def test_gradients_have_the_shapes_and_types_of_their_inputs_in_every_world(cls, draw):
    op, arrays = sample(draw, cls)  # our own rules are held to this here, and not at every call
    kind = draw.choice((np.float64, np.float32))
    arrays = [x.astype(kind) if x.dtype == np.float64 else x for x in arrays]
    expected = [(arrays[i].shape, arrays[i].dtype) for i in learnable(op, arrays)]
    tensors, y = recorded(op, arrays)
    wrt = [tensors[i] for i in learnable(op, arrays)]
    heads = [
        (out, g) for out, g in zip(y, cotangents_for(op, arrays, draw.generator), strict=True) if out.node
    ]
    with np.errstate(all="ignore"):
        again = recorded_sweep([(out, Tensor(g)) for out, g in heads], wrt)
        for found in (sweep_as_told(heads, wrt), again):
            for g, wanted in zip(found, expected, strict=True):
                assert g is None or (g.shape, g.dtype) == wanted


@each_op(lambda cls: cls.analytic and not cls.is_loss)
@given(draw=samples())
def test_an_analytic_rule_holds_for_complex_numbers(cls, draw):
    op, arrays = sample(draw, cls)
    wanted = learnable(op, arrays)
    around = draw.generator.permutation
    turned = [
        x + 0.3j * around(x.ravel()).reshape(x.shape) if i in wanted else x for i, x in enumerate(arrays)
    ]
    result = forward(op, turned)[0]
    g = draw.generator.normal(size=result.shape) + (0.5j if result.dtype.kind == "c" else 0)
    gradients = pull(op, turned, [g, *[None] * (op.visible - 1)])
    for i in (i for i in wanted if gradients[i] is not None):
        v = draw.generator.uniform(-1, 1, arrays[i].shape)
        for direction in (v, 1j * v):  # the cotangent of z is dL/dRe(z) - i dL/dIm(z)

            def value(t, i=i, direction=direction):
                moved = [*turned[:i], turned[i] + t * direction, *turned[i + 1 :]]
                return float(np.sum(g * forward(op, moved)[0]).real)

            found = float(np.sum(gradients[i] * direction).real)
            assert found == pytest.approx(derivative(value, 1e-3), rel=1e-6, abs=1e-7)
