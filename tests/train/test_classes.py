"""Labels that name no class: refused wherever class numbers are learnt from or counted."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import AttributeValueError
from tinygrad_lesson.ops import loss
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.train.classes import per_label
from tinygrad_lesson.train.metric import accuracy

X = np.random.RandomState(0).randn(24, 3).astype(np.float32)
LABELS = sym.Variable("softmax_label")


def model(kinds=3, label=LABELS, **attributes):
    scores = sym.FullyConnected(sym.Variable("data"), num_hidden=kinds, name="fc")
    network = sym.SoftmaxOutput(scores, label, name="softmax", **attributes)
    return tl.FeedForward(network, num_epoch=2, numpy_batch_size=5, seed=0, learning_rate=0.1)


WAYS = {
    "arrays": lambda m, y: m.fit(X, y),
    "iterator": lambda m, y: m.fit(tl.NDArrayIter(X, y, 5)),
    "shuffled": lambda m, y: m.fit(tl.NDArrayIter(X, y, 5, shuffle=True)),
    "rolling": lambda m, y: m.fit(tl.NDArrayIter(X, y, 5, last_batch_handle="roll_over")),
    "column": lambda m, y: m.fit(X, y[:, None]),
    "step by step": lambda m, y: m.fit(X, y, batch_end_callback=lambda param: None),
    "evaluation": lambda m, y: m.fit(X, y * 0, eval_data=(X, y)),
    "evaluation by an iterator": lambda m, y: m.fit(X, y * 0, eval_data=tl.NDArrayIter(X, y, 5)),
    "score": lambda m, y: (m.fit(X, y * 0), m.score(X, y)),
}


@given(
    way=st.sampled_from(sorted(WAYS)),
    runner=st.sampled_from(available_runners()),
    kinds=st.integers(2, 5),
    named=st.lists(st.integers(-3, 8) | st.sampled_from([0.5, -0.25, 1e9]), min_size=1, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_labels_are_learnt_from_if_and_only_if_each_names_a_class(way, runner, kinds, named):
    m = model(kinds)
    y = np.resize(np.array(named, np.float32), len(X))
    right = all(label in range(kinds) for label in named)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_LESSON_RUNNER", runner)
        if right:
            WAYS[way](m, y)
            assert m.arg_params is not None
        else:
            with pytest.raises(
                AttributeValueError,
                match=f"expected (whole numbers )?0 to {kinds - 1}|expected a whole number",
            ):
                WAYS[way](m, y)
            assert (m.arg_params is None) == (way != "score")  # nothing was learnt before


@given(kinds=st.integers(2, 5), first=st.integers(-9, 9).filter(bool), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_the_way_that_is_told_leads_to_labels_that_are_taken(kinds, first, seed):
    y = np.random.RandomState(seed).permutation(np.resize(np.arange(kinds), len(X))) + first
    last = first + kinds - 1
    with pytest.raises(AttributeValueError, match=f"labels are {first} to {last}, expected 0 to") as caught:
        model(kinds).fit(X, y)
    way = re.search(r"pass label ([-+]) (\d+)$", str(caught.value))
    if way is None:  # only -1 is out of place
        assert first == -1
        assert "use_ignore=True, ignore_label=-1" in str(caught.value)
        return
    model(kinds).fit(X, y - int(way[2]) if way[1] == "-" else y + int(way[2]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([10, 20, 30], "labels are 10 to 30, expected 0 to 2; .* np.unique"),
        ([0, 1, 2, 3], "labels are 0 to 3, .* they name 4 classes, and the network has an output for 3"),
        ([0, 1.5], r"fit: softmax_label, read by softmax \(SoftmaxOutput\): labels hold 1.5, expected whole"),
        ([0, np.nan], "labels hold nan, expected whole numbers 0 to 2"),
        ([0, np.inf], "labels are 0 to inf, expected 0 to 2"),
    ],
)
def test_the_message_tells_what_the_labels_are(labels, message):
    with pytest.raises(AttributeValueError, match=message):
        model().fit(X, np.resize(labels, len(X)))


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize("ignored", [-1, 255, 1])
def test_the_ignored_label_is_allowed_and_does_not_count(runner, ignored, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    m = model(use_ignore=True, ignore_label=ignored)
    y = np.resize([0, ignored, 2], len(X))
    m.fit(X, y, eval_data=(X, y))
    kept = y != ignored
    assert m.score(X, y) == m.history.accuracy[-1] == accuracy(m.predict(X)[kept], y[kept])
    with pytest.raises(AttributeValueError, match="expected 0 to 2"):
        model(use_ignore=True, ignore_label=ignored).fit(X, np.resize([0, ignored, 7], len(X)))
    with pytest.raises(AttributeValueError, match="expected 0 to 2"):
        model().fit(X, np.resize([0, ignored if ignored != 1 else -1, 2], len(X)))


@pytest.mark.parametrize("shape", [(8, 4), (8, 2, 2), (8, 1, 2, 2)])
def test_labels_of_places_are_checked_and_scored(shape):
    symbol = sym.SoftmaxOutput(
        sym.Convolution(sym.Variable("data"), kernel=(1, 1), num_filter=3, name="c"),
        LABELS,
        multi_output=True,
        name="softmax",
    )
    x = np.random.RandomState(1).randn(8, 2, 2, 2).astype(np.float32)
    y = np.random.RandomState(2).randint(0, 3, shape)
    m = tl.FeedForward(symbol, num_epoch=1, numpy_batch_size=4, seed=0, learning_rate=0.1)
    m.fit(x, y, eval_data=(x, y))
    right = m.predict(x).argmax(axis=1).reshape(8, 4) == y.reshape(8, 4)
    assert m.score(x, y) == m.history.accuracy[-1] == right.mean()
    with pytest.raises(AttributeValueError, match="labels are 1 to 3, expected 0 to 2; .* label - 1"):
        m.fit(x, y + 1)
    with pytest.raises(AttributeValueError, match="labels are 1 to 3, expected 0 to 2"):
        m.score(x, y + 1)


def test_rows_of_labels_along_the_last_axis_are_told_from_those_along_the_first():
    op = loss.SoftmaxOutput(preserve_shape=True)
    symbol = sym.SoftmaxOutput(sym.Variable("data"), preserve_shape=True)
    p, y = np.random.RandomState(0).rand(5, 3, 3), np.random.RandomState(1).randint(0, 3, (5, 3))
    rows, flat = per_label(symbol, p, y)
    assert op.classes(p.shape, y.shape) == (1, -1, None)
    assert accuracy(rows, flat) == np.mean(p.argmax(axis=-1) == y)


@pytest.mark.parametrize("runner", available_runners())
def test_labels_that_the_network_reshapes_are_checked_too(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    y = np.resize([0, 1, 2], len(X))
    model(label=sym.Reshape(LABELS, shape=(-1,))).fit(X, y[:, None])
    model(label=sym.Reshape(LABELS, shape=(-1,)) - 1).fit(X, y[:, None] + 1)
    with pytest.raises(AttributeValueError, match="labels are 1 to 3, expected 0 to 2"):
        model(label=sym.Reshape(LABELS, shape=(-1,))).fit(X, y[:, None] + 1)
    with pytest.raises(AttributeValueError, match="labels are -1 to 1, expected 0 to 2"):
        model(label=sym.Reshape(LABELS, shape=(-1,)) - 1).fit(X, y[:, None])


@pytest.mark.parametrize("runner", available_runners())
def test_labels_of_ones_own_iterator_are_checked_in_every_epoch(runner, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)

    class Turning:
        batch_size, epochs = 6, -1

        def reset(self):
            self.at, self.epochs = -1, self.epochs + 1

        def iter_next(self):
            self.at += 1
            return self.at < 4

        def value(self):
            rows = slice(self.at * 6, self.at * 6 + 6)
            return {"data": X[rows], "softmax_label": np.full(6, 3 if self.epochs > 3 else 2)}

    m = model()
    m.num_epoch = 10
    with pytest.raises(AttributeValueError, match="labels are 3 to 3, expected 0 to 2"):
        m.fit(Turning())
    assert 1 <= len(m.history.loss) <= 3


def test_probabilities_are_no_class_numbers():
    m = model()
    m.fit(X, np.resize([[0.5, 0.25, 0.25], [0, 0, 1]], (24, 3)))
    assert m.history.steps == 10


def test_one_output_for_two_classes_is_refused():
    for y in (np.resize([0, 1], 24), np.resize([0, 1], (24, 1))):
        with pytest.raises(
            AttributeValueError, match="they name 2 classes, and the network has an output for 1"
        ):
            model(1).fit(X, y)
