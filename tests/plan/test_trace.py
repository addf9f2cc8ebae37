"""An op's `forward` as a list of calls: carried out again they give the same numbers, nothing allocated, nothing stale."""

import tracemalloc

import numpy as np
import pytest
from one_op import Compiled

from tinygrad_lesson.op import FUNCTIONS, OPS, Op, op
from tinygrad_lesson.ops.choices import Where
from tinygrad_lesson.ops.elementwise import Tanh
from tinygrad_lesson.ops.index import Concat, Slice, freeze
from tinygrad_lesson.ops.linear import FullyConnected
from tinygrad_lesson.ops.movement import Reshape, Transpose
from tinygrad_lesson.ops.nn import BatchNorm, Softmax
from tinygrad_lesson.ops.ramps import Relu
from tinygrad_lesson.ops.reduce import Mean, Sum
from tinygrad_lesson.ops.scalars import WithScalar
from tinygrad_lesson.plan.inferred import NotTraceableError
from tinygrad_lesson.plan.trace import spec_of, trace
from tinygrad_lesson.run.calls import Scratch


class Noted(Op):
    """Any function of one array as an op."""

    def __init__(self, function):
        object.__setattr__(self, "function", function)

    def forward(self, xp, *arrays):
        return self.function(*arrays)


def noted(function, *arrays):
    """The calls of `function` on the arrays themselves, and the array of its result."""
    with np.errstate(all="ignore"):
        like = np.asarray(function(*map(np.array, arrays)))
    made = trace(Noted(function), [spec_of(a) for a in arrays], [spec_of(np.empty_like(like))], False)
    calls, (result,) = Scratch().prepare(made, [*arrays, np.empty_like(like)])
    return calls, result


def carry_out(calls):
    for call in calls:
        call()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.tanh(x) * 2 + x,
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: np.sum(x, axis=0),
        lambda x: np.max(x, axis=(0, 1), keepdims=True),
        lambda x: np.mean(x, axis=1),
        lambda x: np.mean(np.square(x)),
        lambda x: np.where(x > 0, x, 0),
        lambda x: np.where(x, 1.0, x),
        lambda x: np.reshape(x.T, (-1,)) + 1,
        lambda x: x.reshape(6)[::2] * x[0, 1:2],
        lambda x: np.transpose(x, (1, 0)) @ x,
        lambda x: np.concatenate([x, x * x], axis=1),
        lambda x: np.stack([x, np.negative(x)]),
        lambda x: np.clip(x, -0.5, 0.5),
        lambda x: np.split(x, 3, axis=1)[2] - 1,
        lambda x: np.broadcast_to(x[0], (4, 3)) * 2,
        lambda x: np.var(x, axis=0),
        lambda x: np.prod(x, axis=1),
        lambda x: np.squeeze(np.expand_dims(x, 0) + x),
        lambda x: np.add.reduce(x, axis=1),
        lambda x: x.sum(),
        lambda x: x.copy() + 1,
        lambda x: x[[0, 1, 0]],
        lambda x: x[0, 0] * x,
        np.sort,
        np.cumsum,
        lambda x: np.flip(x, 1)[::-1],
        lambda x: np.pad(x, 1),
        lambda x: np.einsum("ij,kj->ik", x, x),
    ],
)
def test_notes_give_what_the_function_gives_for_new_elements(function):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3))
    calls, result = noted(function, x)
    x[...] = rng.normal(size=(2, 3))
    expected = function(x)
    carry_out(calls)
    np.testing.assert_allclose(result, expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x if x.sum() > 0 else -x, lambda x: x * float(x[0, 0]), lambda x: np.asarray(x) + 1,
        lambda x: x[x > 0], lambda x: x.tolist(), lambda x: np.ones(int(x[0, 0])), np.unique,
    ],
)  # fmt: skip
def test_what_cannot_be_noted_is_refused(function):
    with pytest.raises(NotTraceableError):
        trace(Noted(function), [spec_of(np.ones((2, 3)))], [None], False)


def test_assignment_into_a_slice_is_noted():
    def function(x):
        x[0] = x[1] * 2
        return x

    x = np.arange(4.0).reshape(2, 2)
    calls, _ = noted(function, x)
    x[...] = [[0, 0], [5, 6]]
    carry_out(calls)
    assert x.tolist() == [[10, 12], [5, 6]]


BATCH = np.random.default_rng(0).normal(size=(400, 60)).astype(np.float32)
VECTOR = np.ones(60, np.float32)


@pytest.mark.parametrize(
    ("operation", "arrays"),
    [
        (Tanh(), [BATCH]), (Relu(), [BATCH]), (WithScalar(binary=OPS["Add"](), scalar=2.0), [BATCH]),
        (FullyConnected(num_hidden=400), [BATCH, BATCH, np.ones(400, np.float32)]),
        (BatchNorm(is_train=True, fix_gamma=False), [BATCH, VECTOR, VECTOR, VECTOR, VECTOR]),
        (Softmax(), [BATCH]), (Mean(), [BATCH]), (Sum(axis=0), [BATCH]), (Concat(dim=1), [BATCH, BATCH]),
        (Transpose(), [BATCH]), (Slice(key=freeze(slice(0, 5))), [BATCH]), (Where(), [BATCH > 0, BATCH, BATCH]),
        (Reshape(to=(60, 400)), [BATCH]),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)  # fmt: skip
def test_after_the_first_run_nothing_is_allocated(operation, arrays):
    compiled = Compiled(operation, arrays)
    g = [np.ones_like(y) for y in compiled.forward(arrays, True)]
    compiled.backward(g)
    runner = compiled.executor.runner(True)
    tracemalloc.start()
    try:
        runner.forward()
        runner.backward()
        assert tracemalloc.get_traced_memory()[1] < BATCH.nbytes  # what NumPy itself buffers is less
    finally:
        tracemalloc.stop()


def declare(**rules):
    """An op of a test's own."""
    return op(type("NotedForTest", (Op,), {"__doc__": "For a test.", **rules}))


@pytest.fixture
def forget():
    yield
    OPS.pop("NotedForTest", None)
    FUNCTIONS.pop("noted_for_test", None)


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize("view", [False, True])
def test_an_op_that_cannot_be_noted_is_run_itself(view):
    cls = declare(
        view=view,
        shape=lambda self, x: x,
        forward=lambda self, xp, x: np.asarray(x) + 1,
        vjp=lambda self, F, g, y, x: (g,),
    )
    compiled = Compiled(cls(), [BATCH])
    for x in (BATCH, -BATCH):
        (y,) = compiled.forward([x], True)
        np.testing.assert_array_equal(y, x + 1)
        np.testing.assert_array_equal(compiled.backward([BATCH])[0], [BATCH])


@pytest.mark.usefixtures("forget")
def test_an_op_that_looks_at_values_is_run_itself_():
    cls = declare(
        shape=lambda self, x: x,
        forward=lambda self, xp, x: xp.positive(x) if xp.sum(x) > 0 else xp.negative(x),
        vjp=lambda self, F, g, y, x: (g,),
    )
    compiled = Compiled(cls(), [BATCH])
    for x in (np.abs(BATCH), -np.abs(BATCH)):
        np.testing.assert_array_equal(compiled.forward([x], True), [np.abs(x)])
