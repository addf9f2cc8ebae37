"""Predictions: over the model's parameters as they are, by several threads, in bounded memory."""

import copy
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygrad_lesson import sym
from tinygrad_lesson.errors import BindError, LessonError
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.predictors import KEPT

FEATURES, HIDDEN = 5, 7


def parameters(seed=0, dtype=np.float32, results=3):
    rng = np.random.RandomState(seed)
    shapes = {
        "f1_weight": (HIDDEN, FEATURES),
        "f1_bias": (HIDDEN,),
        "f2_weight": (results, HIDDEN),
        "f2_bias": (results,),
    }
    return {name: rng.randn(*shape).astype(dtype) for name, shape in shapes.items()}


def network(results=3):
    hidden = sym.tanh(sym.FullyConnected(sym.Variable("data"), num_hidden=HIDDEN, name="f1"))
    return sym.FullyConnected(hidden, num_hidden=results, name="f2")


def by_hand(p, x):
    return (
        np.tanh(x @ np.asarray(p["f1_weight"]).T + p["f1_bias"]) @ np.asarray(p["f2_weight"]).T + p["f2_bias"]
    )


def rows(count, seed=1):
    return np.random.RandomState(seed).randn(count, FEATURES).astype(np.float32)


def test_threads_get_the_answers_to_their_own_rows():
    model = FeedForward(network(), arg_params=parameters(), numpy_batch_size=8)
    batches = [rows(1 + i % 12, seed=i) for i in range(100)]

    def ask(x):
        score = model.score(x, np.zeros(len(x)))
        return model.predict(x), score

    with ThreadPoolExecutor(8) as pool:
        for x, (y, score) in zip(batches, pool.map(ask, batches), strict=True):
            expected = by_hand(model.arg_params, x)
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
            assert score == pytest.approx((expected.argmax(axis=1) == 0).mean())


def test_executors_for_many_batch_sizes_are_bounded():
    model = FeedForward(network(), arg_params=parameters(), numpy_batch_size=200)
    for count in range(1, 40):
        x = rows(count)
        np.testing.assert_allclose(model.predict(x), by_hand(model.arg_params, x), rtol=1e-5, atol=1e-6)
        assert len(model.predictors.known) <= KEPT
    first = next(iter(model.predictors.known.values())).executor
    model.predict(rows(40 - KEPT))  # the one that was used least lately is used again, and stays
    model.predict(rows(100))
    assert first in [known.executor for known in model.predictors.known.values()]


def test_parameters_are_not_copied_for_every_batch_size(monkeypatch):
    monkeypatch.setenv(
        "TINYGRAD_LESSON_RUNNER", "numpy"
    )  # the interpreter keeps the weights in another order as well
    wide = 2000
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=wide, name="f", no_bias=True)
    model = FeedForward(net, arg_params={"f_weight": np.ones((wide, wide), np.float32)})
    model.predict(np.ones((1, wide)))
    tracemalloc.start()
    try:
        for count in range(2, 2 + KEPT):
            model.predict(np.ones((count, wide)))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < wide * wide * 4 / 2


@pytest.mark.parametrize("results", [1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: p, lambda p: {k: a.astype(np.float64) for k, a in p.items()},
        lambda p: {k: np.asfortranarray(a) for k, a in p.items()},
        lambda p: {k: unaligned(a) for k, a in p.items()},
    ],
)  # fmt: skip
def test_answers_follow_the_parameters_however_these_change(make, results):
    model, x = FeedForward(network(results), arg_params=make(parameters(results=results))), rows(4)

    def check():
        np.testing.assert_allclose(model.predict(x), by_hand(model.arg_params, x), rtol=1e-5, atol=1e-6)

    check()
    model.arg_params["f1_weight"][0] += 1
    check()
    model.arg_params["f2_bias"][:] = 3
    check()
    model.arg_params["f2_bias"] = model.arg_params["f2_bias"].copy()
    check()
    model.arg_params["f2_bias"][:] = 4
    check()
    model.arg_params = make(parameters(seed=5, results=results))
    check()


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(array.tobytes(), np.uint8)
    return raw.view(array.dtype).reshape(array.shape)


def test_predicting_leaves_the_parameters_as_they_are():
    net = sym.BatchNorm(
        sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="f"), name="bn"
    )  # gamma is fixed at 1
    given = {
        "f_weight": np.ones((2, 3), np.float32),
        "f_bias": np.zeros(2, np.float32),
        "bn_gamma": np.full(2, 7, np.float32),
    }
    given["bn_beta"] = np.zeros(2, np.float32)
    states = {"bn_moving_mean": np.zeros(2, np.float32), "bn_moving_var": np.ones(2, np.float32)}
    for array in (*given.values(), *states.values()):
        array.flags.writeable = False
    model = FeedForward(net, arg_params=given, aux_params=states)
    np.testing.assert_allclose(model.predict(np.ones((1, 3))), [[3 / np.sqrt(1 + 1e-3)] * 2], rtol=1e-6)
    np.testing.assert_array_equal(model.arg_params["bn_gamma"], [7, 7])


def test_an_executor_that_predicts_does_not_write_into_the_model():
    model = FeedForward(network(), arg_params=parameters())
    executor = model.predictor({"data": rows(2)})
    for write in (
        lambda: executor.copy_params_from(parameters(seed=3)),
        lambda: executor.arg_dict.update(parameters()),
    ):
        with pytest.raises(BindError, match="read-only"):
            write()
    np.testing.assert_array_equal(model.arg_params["f1_weight"], parameters()["f1_weight"])


def test_a_copy_of_a_model_answers_for_itself():
    model = FeedForward(network(), arg_params=parameters())
    model.predict(rows(2))
    again = copy.deepcopy(model)
    again.arg_params["f2_bias"][:] = 50
    for one in (model, again):
        np.testing.assert_allclose(
            one.predict(rows(2)), by_hand(one.arg_params, rows(2)), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda model: model.arg_params.update(f1_bias=np.zeros(3, np.float32)),
            r"'f1_bias' is \(3,\), expected \(7,\)",
        ),
        (lambda model: model.arg_params.update(f1_bias=np.zeros(HIDDEN) * 1j), "'f1_bias' is complex128"),
        (lambda model: model.predict(np.ma.array(rows(2))), "X is a masked array"),
        (lambda model: model.predict(rows(2) * 1j), "X is complex64"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    model = FeedForward(network(), arg_params=parameters())
    model.predict(rows(2))

    def changed():
        change(model)
        model.predict(rows(2))

    with pytest.raises(LessonError, match=words):
        changed()
