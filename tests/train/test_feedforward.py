"""`FeedForward`: learning, answering, keeping, and what it says of bad input.

`softmax_output.json` was computed by MXNet 1.9.1, whose `FeedForward` trained the same network on the same rows.
"""

import json

import numpy as np
import pytest
from golden import DATA
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import (
    AttributeValueError,
    BindError,
    DTypeError,
    LessonError,
    NonFiniteError,
    ShapeError,
)
from tinygrad_lesson.lesson import networks
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.callback import log_line
from tinygrad_lesson.train.initializer import Xavier
from tinygrad_lesson.train.metric import Accuracy
from tinygrad_lesson.train.monitor import GradientMonitor


def network(hidden=4):
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=hidden, name="fc1")
    x = sym.FullyConnected(sym.Activation(x, act_type="tanh"), num_hidden=2, name="fc2")
    return sym.softmax(x, axis=1, name="out")


def loss_of(prediction):
    return sym.MakeLoss(0 - sym.mean(sym.broadcast_mul(sym.log(prediction + 1e-8), sym.Variable("label"))))


def rows(count=40, seed=0):
    """Two kinds of points, told apart by the sign of their first coordinate."""
    x = np.random.RandomState(seed).randn(count, 3).astype(np.float32)
    return x, np.eye(2, dtype=np.float32)[(x[:, 0] > 0).astype(int)]


def model(**more):
    prediction = network()
    settings = {
        "num_epoch": 30,
        "optimizer": "adam",
        "learning_rate": 0.05,
        "seed": 0,
        "numpy_batch_size": 10,
    }
    return tl.FeedForward(loss_of(prediction), prediction=prediction, **{**settings, **more})


def test_fit_learns_and_score_tells():
    m = model()
    x, y = rows()
    history = m.fit(x, y)
    assert history.loss[-1] < history.loss[0] / 5
    assert m.score(*rows(seed=1)) > 0.9
    assert history.steps == 30 * 4
    assert history.seconds > 0
    assert list(history.mean_abs_grad) == ["fc1_weight", "fc2_weight"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    weights = []
    for seed in (0, 0, 1):
        m = model(seed=seed)
        m.fit(*rows(), shuffle=True)
        weights.append(m.arg_params["fc1_weight"].tobytes())
    assert weights[0] == weights[1] != weights[2]


def test_parameters_of_the_epochs_asked_for_are_kept_and_change_nothing():
    plain, keeping = model(), model()
    x, y = rows()
    losses = plain.fit(x, y).loss
    kept = keeping.fit(x, y, keep=(5, 5, 12, 30, 99)).parameters
    assert keeping.history.loss == losses
    assert list(plain.history.parameters) == [0, 1, 30]
    assert list(kept) == [0, 1, 5, 12, 30]
    for name, last in keeping.arg_params.items():
        np.testing.assert_array_equal(kept[30][name], last)
        np.testing.assert_array_equal(plain.history.parameters[1][name], kept[1][name])
    shorter = model(num_epoch=5)
    shorter.fit(x, y)
    for name, last in shorter.arg_params.items():
        np.testing.assert_array_equal(kept[5][name], last)


def test_keep_takes_epochs_only():
    with pytest.raises(DTypeError, match="keep is 10, expected epochs"):
        model().fit(*rows(), keep=10)


def test_a_users_own_iterator_serves():
    x, y = rows()

    class Own:
        batch_size = 20

        def reset(self):
            self.at = 0

        def iter_next(self):
            self.at += 1
            return self.at <= 2

        def value(self):
            part = slice((self.at - 1) * 20, self.at * 20)
            return {"data": x[part], "label": y[part]}

    mine, arrays = model(), model(numpy_batch_size=20)
    assert mine.fit(Own()).loss == arrays.fit(x, y).loss


def test_predict_of_a_last_short_batch_drops_the_padding():
    m = model(num_epoch=1)
    m.fit(*rows())
    x, _ = rows(23)
    whole = m.predict(x)
    assert whole.shape == (23, 2)
    for i in (0, 9, 22):
        np.testing.assert_allclose(m.predict(x[i : i + 1])[0], whole[i], rtol=1e-6)


class Turned(tl.NDArrayIter):
    """An iterator of one's own over rows: their signs change from epoch to epoch."""

    epochs = 0

    def reset(self):
        super().reset()
        self.epochs += 1

    def value(self):
        return {n: -a if n == "data" and self.epochs % 2 else a for n, a in super().value().items()}


class Given(Turned):
    """The same, by what MXNet's users override."""

    value = tl.NDArrayIter.value

    def getdata(self):
        return [-a if self.epochs % 2 else a for a in super().getdata()]


class Changed(tl.NDArrayIter):
    """The same, by what `reset` does to the rows."""

    def reset(self):
        super().reset()
        self.data = [(name, -array) for name, array in self.data]


class Named:
    """The same without a base, and with attributes whose names mean something else here."""

    batch_size, epoch, repeats, once, num_data, shuffle = 20, 3, True, "x", "many", print

    def __init__(self, *rows):
        self.inside = Turned(*rows)

    def __getattr__(self, name):
        if name not in ("reset", "iter_next", "value"):
            raise AttributeError(name)
        return getattr(self.inside, name)


@pytest.mark.parametrize("runner", available_runners())
def test_batches_are_those_that_a_users_iterator_gives_whatever_else_it_has(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    x, y = rows()
    settings = {"optimizer": "sgd", "numpy_batch_size": 20}
    by_hand, taught = [], None
    for epoch in range(6):
        one = model(num_epoch=epoch + 1, begin_epoch=epoch, arg_params=taught, **settings)
        by_hand += one.fit(x if epoch % 2 == 0 else -x, y).loss  # the first look was an epoch too
        taught = one.arg_params
    for kind in (Turned, Given, Changed, Named):
        asked = model(num_epoch=6, **settings)
        assert asked.fit(kind({"data": x}, {"label": y}, 20)).loss == by_hand
        turned = kind({"data": x}, {"label": y}, 20)
        np.testing.assert_array_equal(asked.predict(turned), asked.predict(-x))
        assert asked.score(turned, y) == asked.score(x, y)  # one look later


def test_predictions_follow_the_parameters_of_a_second_fit():
    m = model(num_epoch=1)
    x, y = rows()
    m.fit(x, y)
    before = m.predict(x)
    m.fit(x, y)
    assert not np.array_equal(before, m.predict(x))


def test_fit_goes_on_from_given_parameters():
    first = model(num_epoch=3)
    first.fit(*rows())
    second = model(num_epoch=1, arg_params=first.arg_params)
    assert second.fit(*rows()).loss[0] < first.history.loss[0]


def test_save_and_load_predict_the_same(tmp_path):
    m = model(num_epoch=2)
    m.fit(*rows())
    m.save(str(tmp_path / "m"))
    again = tl.FeedForward.load(str(tmp_path / "m"), 2)
    np.testing.assert_array_equal(again.predict(rows()[0]), m.predict(rows()[0]))


def test_callbacks_are_told_epochs_batches_and_parameters():
    batches, epochs = [], []
    m = model(num_epoch=2)
    m.fit(
        *rows(),
        batch_end_callback=lambda param: batches.append((param.epoch, param.nbatch)),
        epoch_end_callback=[
            lambda epoch, symbol, arguments, states: epochs.append((epoch, sorted(arguments)))
        ],
    )
    assert batches == [(e, n) for e in (0, 1) for n in (1, 2, 3, 4)]
    assert epochs == [(e, ["fc1_bias", "fc1_weight", "fc2_bias", "fc2_weight"]) for e in (0, 1)]


def test_log_lines_come_in_the_lessons_form_after_the_first_five_and_every_tenth_epoch():
    lines = []
    model(num_epoch=21).fit(*rows(), log=lines.append)
    assert [int(line.split(":")[0].split("= ")[1]) for line in lines] == [1, 2, 3, 4, 5, 10, 20]
    assert log_line(3, 0.36594, 1234.567) == "epoch = 3: loss = 0.3659 (Speed: 1234.57 sample/secs)"


def test_evaluation_data_is_scored_after_every_epoch():
    m = model(num_epoch=3)
    history = m.fit(*rows(), eval_data=rows(seed=1))
    assert len(history.accuracy) == 3
    assert history.accuracy[-1] == m.score(*rows(seed=1))


def test_monitor_tells_mean_absolute_gradients():
    gradients = np.array([1.0, -3.0, 5.0, -2.0], np.float32)
    monitor = GradientMonitor(
        gradients, {"a_weight": slice(0, 2), "a_bias": slice(2, 3), "b_weight": slice(3, 4)}
    )
    monitor.batch()
    gradients *= 3
    monitor.batch()
    monitor.epoch()
    assert monitor.mean_abs_grad == {"a_weight": [4.0], "b_weight": [4.0]}
    assert monitor.per_batch[0].tolist() == [[2.0, 2.0], [6.0, 6.0]]


def test_the_monitor_divides_what_a_runner_has_noted_among_epochs():
    monitor = GradientMonitor(np.zeros(2, np.float32), {"a_weight": slice(0, 1), "b_weight": slice(1, 2)})
    noted = np.arange(12, dtype=np.float32).reshape(6, 2)
    for part in (noted[:4], noted[4:]):
        monitor.add_batches(part)
    monitor.epoch(3)
    assert monitor.mean_abs_grad == {"a_weight": [1.0, 5.0, 9.0], "b_weight": [2.0, 6.0, 10.0]}
    assert [part.tolist() for part in monitor.per_batch] == [noted[i : i + 2].tolist() for i in (0, 2, 4)]


def test_nan_in_the_data_is_refused_and_named_and_nothing_is_learnt():
    m = model()
    x, y = rows()
    x[13, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"data has nan at \(3, 1\) of batch 2"):
        m.fit(x, y)
    assert m.arg_params is None


def test_a_loss_that_runs_away_is_named():
    prediction = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc")
    loss = sym.MakeLoss(sym.mean(sym.square(prediction - sym.Variable("label"))))
    m = tl.FeedForward(
        loss, prediction=prediction, num_epoch=200, learning_rate=50.0, numpy_batch_size=10, seed=0
    )
    with pytest.raises(
        NonFiniteError, match=r"the loss is (nan|inf) in epoch \d+, batch \d+; .*learning_rate"
    ):
        m.fit(*rows())


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda x, y: (x, y[:30]), ShapeError, "30 rows, expected 40"),
        (
            lambda x, y: (x, np.eye(3, dtype=np.float32)[[0] * 40]),
            ShapeError,
            r"broadcast_mul\d+ .*\(10, 2\) and \(10, 3\)",
        ),
        (lambda x, y: (x[:, :0], y), LessonError, r"data is \(10, 0\)"),
        (lambda x, y: (x, None), BindError, "needs 'label'"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_names_and_shapes(change, error, said):
    with pytest.raises(error, match=said):
        model().fit(*change(*rows()))


def test_unknown_settings_are_refused():
    with pytest.raises(LessonError, match="learning_speed"):
        model(learning_speed=3)
    with pytest.raises(LessonError, match="unknown optimizer 'adan'"):
        model(optimizer="adan")
    with pytest.raises(DTypeError, match="expected a Symbol"):
        tl.FeedForward("net")


def test_asking_before_learning_says_so(tmp_path):
    with pytest.raises(BindError, match="call fit or load first"):
        model().predict(rows()[0])
    with pytest.raises(BindError, match="call fit first"):
        model().save(str(tmp_path / "m"))
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_of_a_wrong_shape_is_named():
    m = model(arg_params={"fc1_weight": np.zeros((4, 5), np.float32)})
    with pytest.raises(ShapeError, match=r"'fc1_weight' is \(4, 5\), expected \(4, 3\)"):
        m.fit(*rows())


MXNET = json.loads((DATA / "softmax_output.json").read_text())["fit"]
X, Y = np.array(MXNET["X"], np.float32), np.array(MXNET["y"])  # 25 rows of three kinds


def classifier(**more):
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=5, name="fc1")
    x = sym.FullyConnected(sym.Activation(x, act_type="tanh", name="tanh1"), num_hidden=3, name="fc2")
    return sym.SoftmaxOutput(x, name="softmax", **more)


def cross_entropy(probabilities, kinds):
    return -np.mean(np.log(probabilities[np.arange(len(kinds)), kinds].astype(float)))


@pytest.mark.parametrize("fact", MXNET["runs"], ids=lambda fact: fact["settings"]["optimizer"])
@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("watched", [False, True])
def test_a_network_that_ends_in_softmax_output_learns_as_in_mxnet(fact, runner, watched, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    first = {name: np.array(value, np.float32) for name, value in MXNET["first"].items()}
    m = tl.FeedForward(classifier(), num_epoch=4, numpy_batch_size=10, arg_params=first, **fact["settings"])
    m.fit(X, Y, batch_end_callback=(lambda param: None) if watched else None)
    for name, value in fact["last"].items():
        np.testing.assert_allclose(m.arg_params[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(m.predict(X), fact["predicted"], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif("vm" not in available_runners(), reason="llvmlite is not installed")
def test_a_step_with_softmax_output_is_interpreted_as_a_whole():
    m = tl.FeedForward(classifier(), seed=0)
    executor = m.bind_training({"data": X, "softmax_label": Y.astype(np.float32)})
    assert executor.runner(True).tape is not None


def test_what_is_reported_of_softmax_output_is_the_cross_entropy_before_each_step():
    m = tl.FeedForward(classifier(), num_epoch=1, seed=0, learning_rate=0.5)
    m.fit(X, Y)
    p = m.predict(X)
    m.fit(X, Y)
    assert m.history.loss == [pytest.approx(cross_entropy(p, Y), rel=1e-6)]
    m.fit(X, np.eye(3)[Y])
    assert m.history.loss[0] < cross_entropy(p, Y)


@pytest.mark.parametrize("attributes", [{}, {"normalization": "valid"}, {"multi_output": True}])
def test_ignored_labels_do_not_count_in_what_is_reported(attributes):
    m = tl.FeedForward(
        classifier(use_ignore=True, ignore_label=1, **attributes), num_epoch=1, seed=0, learning_rate=1e-9
    )
    labels = Y.reshape(-1, 1) if attributes.get("multi_output") else Y
    m.fit(X, labels)
    kept = Y != 1
    assert m.history.loss == [pytest.approx(cross_entropy(m.predict(X)[kept], Y[kept]), rel=1e-6)]
    m.fit(X, np.ones_like(labels))
    assert m.history.loss == [0]


def test_gradients_are_divided_by_the_batch_unless_told_otherwise():
    weights = []
    for settings in (
        {},
        {"rescale_grad": 1 / 25},
        {"optimizer": tl.train.optimizer.create("sgd", learning_rate=0.1 / 25)},
    ):
        settings = settings if "optimizer" in settings else {"learning_rate": 0.1, **settings}
        m = tl.FeedForward(classifier(), num_epoch=1, seed=0, **settings)
        m.fit(X, Y)
        weights.append(m.arg_params["fc2_weight"])
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-6)
    np.testing.assert_allclose(weights[2], weights[0], rtol=1e-6)


def test_the_usual_script_for_softmax_output_learns_predicts_scores_saves_and_loads(tmp_path):
    m = tl.FeedForward(
        classifier(), num_epoch=200, learning_rate=0.5, numpy_batch_size=10, initializer=Xavier(), seed=0
    )
    history = m.fit(X, Y, eval_data=(X, Y))
    assert history.loss[-1] < 0.1 < 0.5 < history.loss[0]
    assert history.accuracy[-1] == m.score(X, Y) == 1
    p = m.predict(X)
    assert (p.shape, p.dtype) == ((25, 3), np.float32)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert m.score(tl.NDArrayIter(X, Y, 10)) == 1
    assert [len(layers) for layers in history.layers.values()] == [2, 2]
    m.save(str(tmp_path / "net"))
    np.testing.assert_array_equal(tl.FeedForward.load(str(tmp_path / "net"), 200).predict(X), p)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, BindError, r"fit: the batches hold data \(.*, 4\); the symbol also needs 'softmax_label'"),
        (
            np.eye(4)[Y],
            ShapeError,
            r"softmax \(SoftmaxOutput\): label is \(25, 4\), expected \(25,\) with a class",
        ),
        (Y[:20], ShapeError, "softmax_label has 20 rows, expected 25 as data has"),
    ],
)
def test_labels_that_do_not_fit_are_named(y, error, message):
    with pytest.raises(error, match=message):
        tl.FeedForward(classifier(), num_epoch=1).fit(X, y)


class Table:
    """What a table of another library is to NumPy."""

    def __init__(self, rows):
        self.rows = rows

    def __array__(self, dtype=None, copy=None):
        return np.array(self.rows, dtype)


def fitted(X, y=None, **more):
    settings = {"num_epoch": 2, "seed": 0, "learning_rate": 0.5, "numpy_batch_size": 10, **more}
    m = tl.FeedForward(classifier(), **settings)
    m.fit(X, y)
    return m


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X.tolist(), Y.tolist()),
        (tuple(map(tuple, X.tolist())), tuple(Y.tolist())),
        (list(X), list(Y)),
        (Table(X), Table(Y)),
        (X, Y[:, None]),
        (X.tolist(), Y[:, None].tolist()),
        (X.astype(np.float64), Y.astype(np.uint8)),
        ({"data": X}, {"softmax_label": Y}),
        (np.asfortranarray(X), Y.astype(np.float16)),
        ((X, Y), None),
    ],
    ids=range(10),
)
def test_whatever_numpy_makes_arrays_of_is_learnt_from_alike(x, y):
    m, plain = fitted(x, y), fitted(X, Y)
    assert m.history.loss == plain.history.loss
    np.testing.assert_array_equal(m.arg_params["fc1_weight"], plain.arg_params["fc1_weight"])
    rows = x[0] if y is None else x
    np.testing.assert_array_equal(m.predict(rows), plain.predict(X))
    assert m.score(*((x,) if y is None else (rows, Y))) == plain.score(X, Y)


def test_a_dictionary_is_cut_into_batches_of_rows_not_of_names():
    assert fitted({"data": X}, Y).history.steps == 2 * 3
    assert fitted(X, Y, numpy_batch_size=10**12).history.steps == 2


NOT_NUMBERS = [
    (np.ma.masked_array(X, X > 0), DTypeError, "is a masked array, whose mask would be lost"),
    (X + 1j, DTypeError, "complex64, expected real numbers"),
    (X.astype(object), DTypeError, "object, expected real numbers"),
    (X.astype(str), DTypeError, "<U32, expected real numbers"),
    ([[1.0, 2.0], [3.0]], ShapeError, "no array"),
    ((row for row in X), DTypeError, r"is a generator, which can be gone through but once; .*write list"),
    (map(list, X), DTypeError, r"is a map, which can be gone through but once"),
    (None, DTypeError, "is a NoneType; expected an array"),
    (3.5, DTypeError, "is a float; expected an array"),
]


@pytest.mark.parametrize(("given", "error", "message"), NOT_NUMBERS, ids=range(len(NOT_NUMBERS)))
def test_what_is_no_array_of_numbers_is_refused_by_its_name(given, error, message):
    with pytest.raises(error, match=f"fit: X.*{message}") as caught:
        fitted(given, Y)
    assert "\n" not in str(caught.value)
    if given is not None:
        with pytest.raises(error, match=f"fit: y.*{message}"):
            fitted(X, given)
    with pytest.raises(error, match=f"predict: X.*{message}"):
        fitted(X, Y).predict(given)


def test_rows_that_are_missing_or_do_not_pair_are_refused():
    with pytest.raises(ShapeError, match="data has no rows"):
        fitted([], [])
    with pytest.raises(ShapeError, match="softmax_label has 20 rows, expected 25 as data has"):
        fitted(X.tolist(), Y[:20].tolist())
    with pytest.raises(BindError, match="brings its own labels, so y has to be left out"):
        fitted(tl.NDArrayIter(X, Y, 5), Y)
    with pytest.raises(NonFiniteError, match="data has inf at"), np.errstate(all="raise"):
        fitted(np.full((25, 4), 1e300), Y)
    with pytest.raises(DTypeError, match=r"numpy_batch_size is 2.5, expected a whole number"):
        fitted(X, Y, numpy_batch_size=2.5)


@pytest.mark.parametrize("runner", available_runners())
def test_an_iterators_batches_of_different_sizes_are_named(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)

    class Short(tl.NDArrayIter):
        def value(self):
            rows = self.getindex()[: 5 if self._cursor >= 20 else 10]
            return {name: array[rows] for name, array in self.data + self.label}

    with pytest.raises(ShapeError, match=r"is \(5, 4\)( in batch 3)?, expected \(10, 4\)"):
        fitted(Short(X, Y, 10))


@pytest.mark.parametrize("runner", available_runners())
def test_no_epochs_train_nothing_and_leave_a_model_that_can_be_asked(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    m = fitted(X, Y, num_epoch=0)
    assert (m.history.loss, m.history.steps) == ([], 0)
    for name, first in m.history.parameters[0].items():
        np.testing.assert_array_equal(m.arg_params[name], first)
    assert m.predict(X).shape == (25, 3)
    again = fitted(X, Y, num_epoch=0, arg_params=fitted(X, Y).arg_params)
    np.testing.assert_array_equal(again.predict(X), fitted(X, Y).predict(X))
    assert fitted(X, Y, num_epoch=None).history.epochs == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_epoch": -1}, AttributeValueError, "num_epoch is -1, expected 0 or more"),
        ({"num_epoch": 2.5}, DTypeError, "num_epoch is 2.5, expected a whole number"),
        ({"num_epoch": 3, "begin_epoch": 3}, BindError, "so that no epoch is left; .* 4 trains one more"),
        ({"num_epoch": 2, "begin_epoch": 5}, BindError, "num_epoch is 2, but begin_epoch is 5"),
        ({"begin_epoch": -2}, AttributeValueError, "begin_epoch is -2"),
    ],
)
def test_epochs_that_cannot_be_trained_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        fitted(X, Y, **settings)


@given(
    rows=st.integers(1, 23),
    batch_size=st.integers(1, 9),
    handling=st.sampled_from(["pad", "discard", "roll_over"]),
    shuffle=st.booleans(),
    fits=st.booleans(),
    taken=st.integers(0, 3),
)
@tries(max_examples=60, deadline=None)
def test_predict_gives_every_row_of_an_iterator_once_and_in_its_order(
    rows, batch_size, handling, shuffle, fits, taken
):
    if handling != "pad" and batch_size > rows:
        return
    x, y = np.random.RandomState(rows).randn(rows, 4).astype(np.float32), Y[:rows]
    iterator = tl.NDArrayIter(x, y, batch_size, shuffle, handling, generator=MXNetGenerator(3))
    m = fitted(X, Y, initializer=Xavier(magnitude=20))
    if fits:
        m.fit(iterator)
    for _ in range(taken):
        next(iterator, None)
    left = iterator._cursor, iterator._epoch.tobytes()
    answers, labels = m.answers(iterator)
    count = rows // batch_size * batch_size if handling == "discard" else rows
    assert len(answers) == len(labels) == count
    assert (iterator._cursor, iterator._epoch.tobytes()) == left
    alone = m.predict(x)
    if not shuffle:
        np.testing.assert_allclose(answers, alone[:count], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(labels, y[:count])
        assert m.score(iterator) == np.mean(alone[:count].argmax(axis=1) == labels)
    which = [np.abs(alone - row).sum(axis=1).argmin() for row in answers]
    np.testing.assert_allclose(answers, alone[which], rtol=1e-5, atol=1e-6)
    assert len(set(which)) == count
    np.testing.assert_array_equal(labels, y[which])


def test_metrics_are_names_functions_objects_or_lists():
    def hits(label, prediction):
        return np.mean(prediction.argmax(axis=1) == label)

    m = fitted(X, Y)
    right = m.score(X, Y)
    assert m.score(X, Y, "ACC") == m.score(X, Y, hits) == m.score(X, Y, Accuracy()) == right
    assert m.score(X, Y, Accuracy) == right
    assert m.score(X, Y, ["acc", hits, lambda label, prediction: (len(label), 5)]) == [right, right, 5]
    history = m.fit(X, Y, eval_data=[X.tolist(), Y.tolist()], eval_metric=lambda label, p: p[0, 0])
    assert history.accuracy[-1] == pytest.approx(m.predict(X)[0, 0])


def test_what_cannot_be_scored_is_refused():
    m = fitted(X, Y)
    with pytest.raises(AttributeValueError, match="unknown metric 'f9'"):
        m.fit(X, Y, eval_data=(X, Y), eval_metric="f9")
    for metric in (None, 3):
        with pytest.raises(DTypeError, match=f"metric is {metric}, expected a name, a function"):
            m.score(X, Y, metric)
    with pytest.raises(DTypeError, match="gives None, expected a number"):
        m.score(X, Y, lambda label, prediction: None)
    with pytest.raises(
        DTypeError, match=r"fit: eval_data is a ndarray, expected \(data, label\) or an iterator"
    ):
        m.fit(X, Y, eval_data=X)
    with pytest.raises(DTypeError, match="score: y is a generator, expected an array or a list"):
        m.score(X, (y for y in Y))
    with pytest.raises(BindError, match="X is an iterator that shuffles"):
        m.score(tl.NDArrayIter(X, Y, 5, shuffle=True), Y)


def test_complex_parameters_are_refused_when_a_model_is_made():
    for named in ({"arg_params": {"w": np.array([1j])}}, {"aux_params": {"w": np.array([1j])}}):
        with pytest.raises(DTypeError, match=r"_params\['w'\] is complex128, expected real numbers"):
            tl.FeedForward(sym.Variable("x"), **named)


def test_what_is_often_mistaken_is_told_in_words():
    prediction = networks.mlp(3)
    rows, labels = np.ones((20, 4), np.float32), np.eye(3, dtype=np.float32)[np.arange(20) % 3]
    with pytest.raises(DTypeError, match="'batch_size'; the rows of a batch are numpy_batch_size"):
        tl.FeedForward(prediction, batch_size=20)
    with pytest.raises(BindError, match="the symbol has no loss, for none of its arguments takes labels"):
        tl.FeedForward(prediction, num_epoch=1, seed=0).fit(rows, labels, progress=False)
    model = tl.FeedForward(networks.cross_entropy(prediction), prediction=prediction, num_epoch=2, seed=0)
    assert repr(model) == "<FeedForward softmax_layer_output: sgd, not trained>"
    history = model.fit(rows, labels, progress=False)
    with pytest.raises(
        ShapeError, match=r"'fc1_weight' is \(10, 4\), expected \(10, 5\) for rows data \(3, 5\)"
    ):
        model.predict(np.ones((3, 5), np.float32))
    assert repr(model) == "<FeedForward softmax_layer_output: sgd, trained for 2 epochs>"
    assert repr(history).startswith("<History: 2 epochs, 3 weights, loss 0.36")
    assert repr(history).endswith(", sgd>")
