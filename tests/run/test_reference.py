"""The reference runner: what it gives is what the NumPy runner gives, bit for bit where the calls are the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from one_op import Compiled

from tinygrad_lesson.check.strategies import samples
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.op import OPS
from tinygrad_lesson.plan.calls import program
from tinygrad_lesson.plan.saved import as_text, from_text
from tinygrad_lesson.run import reference

BATCH = {"data": (20, 4), "label": (20, 3)}


def with_numbers(executor, seed=0):
    """A copy of what is bound, after random numbers have been put there."""
    rng = np.random.default_rng(seed)
    for array in (*executor.arguments.values(), *executor.states.values()):
        array[...] = np.abs(rng.normal(size=array.shape)) * 0.3
    return {name: np.array(a) for name, a in {**executor.arguments, **executor.states}.items()}


def carried_out(made, named):
    """All parts of a program on arrays by name; those that are missing are made."""
    for a in made.arrays:
        if a.name and a.name not in named:
            named[a.name] = np.zeros(a.shape, a.dtype)
    arrays = reference.bound(made, named)
    for part in (made.setup, made.forward, made.backward):
        reference.run(part, arrays)
    return named, {name: arrays[v] for name, v in made.outputs.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_same_bits_by_the_reference_and_from_a_file(name):
    executor = cross_entropy(NETWORKS[name].build()).simple_bind(**BATCH, runner="numpy")
    before = with_numbers(executor)
    (loss,) = executor.forward(is_train=True)
    executor.backward()
    made = program(executor.plan(is_train=True))
    for read in (made, from_text(as_text(made), "a file")):
        named, outputs = carried_out(read, {key: np.array(x) for key, x in before.items()})
        np.testing.assert_array_equal(outputs["output 0"], loss)
        for argument, gradient in executor.gradients.items():
            np.testing.assert_allclose(named[f"gradient {argument}"], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "cls", [cls for cls in OPS.values() if cls.ours and not cls.random], ids=lambda cls: cls.name
)
@settings(max_examples=10)
@given(draw=samples())
def test_every_op_has_the_same_bits(cls, draw):
    op, sampled = draw.sample(cls)
    arrays = list(sampled.values())
    compiled = Compiled(op, arrays, runner="numpy")
    expected = [np.array(y) for y in compiled.forward(arrays, True)]
    made = program(compiled.executor.plan(is_train=True))
    untraced = [line.untraced for line in made.forward if line.untraced]
    assert (
        bool(untraced) != op.traceable
    )  # an op that declares it runs its own `forward`, and the plan says so
    if untraced:
        assert set(untraced) == {"runs code of its own"}
        return
    before = {**compiled.executor.arguments, **compiled.executor.states}
    before |= {name: x for name, x in sampled.items() if name in before}  # a state may have changed by now
    outputs = carried_out(made, {key: np.array(x) for key, x in before.items()})[1]
    for i, y in enumerate(expected):
        np.testing.assert_array_equal(outputs[f"output {i}"], y)
