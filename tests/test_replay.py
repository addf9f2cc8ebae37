"""An op's `forward`, noted once and carried out again: same numbers, nothing allocated, nothing stale."""

import tracemalloc

import numpy as np
import pytest
from one_op import Compiled

from tinygrad_lesson.op import FUNCTIONS, OPS, Op, op
from tinygrad_lesson.ops.elementwise import Relu, Tanh, Where, WithScalar
from tinygrad_lesson.ops.index import Concat, Slice, freeze
from tinygrad_lesson.ops.linear import FullyConnected
from tinygrad_lesson.ops.movement import Reshape, Transpose
from tinygrad_lesson.ops.nn import BatchNorm, Softmax
from tinygrad_lesson.ops.reduce import Mean, Sum
from tinygrad_lesson.run.replay import NotReplayableError, Recorder


def noted(function, *arrays):
    """The recorder of one run of `function`, its result, and the arrays it was run on."""
    recorder = Recorder()
    recorder.begin()
    result = function(*[recorder.watch(a) for a in arrays])
    return recorder, np.asarray(result)


def carry_out(recorder):
    for function, arguments, named in recorder.calls:
        function(*arguments, **named)


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
    ],
)
def test_notes_give_what_the_function_gives_for_new_elements(function):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3))
    recorder, result = noted(function, x)
    np.testing.assert_allclose(result, function(x))
    x[...] = rng.normal(size=(2, 3))
    carry_out(recorder)
    np.testing.assert_allclose(result, function(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(), lambda x: x.copy(), lambda x: x.astype(int), lambda x: x[[0, 1]], lambda x: x[x > 0],
        lambda x: x[0, 0], np.sort, np.unique, lambda x: np.add.accumulate(x), lambda x: np.linalg.norm(x),
    ],
)  # fmt: skip
def test_what_cannot_be_noted_is_refused(function):
    with pytest.raises(NotReplayableError):
        noted(function, np.ones((2, 3)))


def test_assignment_into_a_slice_is_noted():
    def function(x):
        x[0] = x[1] * 2
        return x

    x = np.arange(4.0).reshape(2, 2)
    recorder, _ = noted(function, x)
    x[...] = [[0, 0], [5, 6]]
    carry_out(recorder)
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
def test_an_op_that_turns_out_not_replayable_is_run_itself(view):
    cls = declare(
        replayable=True,
        view=view,
        shape=lambda self, x: x,
        forward=lambda self, xp, x: x.copy() + 1,
        vjp=lambda self, F, g, y, x: (g,),
    )
    compiled = Compiled(cls(), [BATCH])
    for x in (BATCH, -BATCH):
        (y,) = compiled.forward([x], True)
        np.testing.assert_array_equal(y, x + 1)
        np.testing.assert_array_equal(compiled.backward([BATCH])[0], [BATCH])


@pytest.mark.usefixtures("forget")
def test_an_op_that_looks_at_values_is_run_itself_unless_it_says_otherwise():
    cls = declare(
        shape=lambda self, x: x,
        forward=lambda self, xp, x: xp.abs(x) if xp.sum(x) > 0 else xp.negative(x),
        vjp=lambda self, F, g, y, x: (g,),
    )
    compiled = Compiled(cls(), [BATCH])
    for x in (np.abs(BATCH), -np.abs(BATCH)):
        np.testing.assert_array_equal(compiled.forward([x], True), [np.abs(x)])
