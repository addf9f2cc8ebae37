"""Iterators around others and over files, against what those of MXNet 1.9.1 handed out (`iterators.json`)."""

import json

import numpy as np
import pytest
from golden import DATA

from tinygrad_lesson import sym
from tinygrad_lesson.errors import ShapeError
from tinygrad_lesson.train.batches import CSVIter, DataBatch, DataDesc, DataIter, PrefetchingIter, ResizeIter
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward

FACTS = json.loads((DATA / "iterators.json").read_text())
X, Y = np.arange(10.0).reshape(5, 2), np.arange(5.0)


def rows():
    return NDArrayIter(X, Y, 2)


def csv(folder, *, label=True, **settings):
    np.savetxt(folder / "x.csv", X, delimiter=",")
    np.savetxt(folder / "y.csv", Y, delimiter=",")
    more = {"label_csv": folder / "y.csv", "label_shape": (1,)} if label else {}
    return CSVIter(data_csv=str(folder / "x.csv"), **more, **settings)


CASES = {
    "resize 2": lambda _: ResizeIter(rows(), 2),
    "resize 5": lambda _: ResizeIter(rows(), 5),
    "resize 5 on": lambda _: ResizeIter(rows(), 5, reset_internal=False),
    "prefetch": lambda _: PrefetchingIter(rows()),
    "csv": lambda folder: csv(folder, data_shape=(2,), batch_size=2),
    "csv no round": lambda folder: csv(folder, data_shape=(2,), batch_size=2, round_batch=False),
    "csv no label": lambda folder: csv(folder, label=False, data_shape=(1, 2), batch_size=3),
}


@pytest.mark.parametrize("name", CASES)
def test_batches_are_those_of_mxnet(name, tmp_path):
    iterator = CASES[name](tmp_path)
    for epoch, expected in enumerate(FACTS[name]):
        if epoch:
            iterator.reset()
        found = [
            {
                "data": b.data[0].asnumpy().ravel().tolist(),
                "label": b.label[0].asnumpy().ravel().tolist(),
                "pad": b.pad,
            }
            for b in iterator
        ]
        assert found == expected


def test_arrays_of_several_iterators_get_other_names():
    more = NDArrayIter({"more": X}, {"other": Y}, 2)
    names = [{"data": "a"}, {"more": "b"}], [{"softmax_label": "l"}, {"other": "m"}]
    both = PrefetchingIter([rows(), more], rename_data=names[0], rename_label=names[1])
    provided = [[d.name, list(d.shape)] for d in both.provide_data + both.provide_label]
    assert provided == FACTS["prefetch of two"]
    assert both.iter_next()
    assert list(both.value()) == ["a", "b", "l", "m"]
    with pytest.raises(ShapeError, match="do not have the same number of rows"):
        list(PrefetchingIter([rows(), NDArrayIter(X[:4], Y[:4], 2)]))


def test_descriptions_are_those_of_mxnet(tmp_path):
    desc = DataDesc("data", (2, 3))
    axes = DataDesc.get_batch_axis("TNC"), DataDesc.get_batch_axis(None)
    assert [str(desc), [desc[0], list(desc[1])], np.dtype(desc.dtype).name, desc.layout, *axes] == FACTS[
        "desc"
    ]
    pairs = [("a", (2,)), ("b", (3,))]
    found = DataDesc.get_list(pairs, [("a", np.float32), ("b", np.float64)])
    assert [[d.name, list(d.shape)] for d in found] == FACTS["get_list"]
    assert [d.dtype for d in found] == [np.float32, np.float64]
    provided = csv(tmp_path, data_shape=(2,), batch_size=2)
    found = [[d.name, list(d.shape)] for d in provided.provide_data + provided.provide_label]
    assert found == FACTS["csv provides"]


def test_a_line_that_is_too_short_is_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"x\.csv.*expected \(3,\) numbers in each line"):
        csv(tmp_path, data_shape=(3,), batch_size=2)
    np.savetxt(tmp_path / "z.csv", Y[:3])
    with pytest.raises(ShapeError, match="3 lines of labels for 5 of data"):
        CSVIter(tmp_path / "x.csv", (2,), 2, tmp_path / "z.csv")


class Own(DataIter):
    """Two batches, as users of MXNet write an iterator."""

    def __init__(self):
        super().__init__(batch_size=2)
        self.provide_data, self.provide_label = [DataDesc("data", (2, 2))], [DataDesc("softmax_label", (2,))]
        self.at = 0

    def reset(self):
        self.at = 0

    def iter_next(self):
        self.at += 1
        return self.at <= 2

    def getdata(self):
        return [X[2 * self.at - 2 : 2 * self.at]]

    def getlabel(self):
        return [Y[2 * self.at - 2 : 2 * self.at] % 2]


@pytest.mark.parametrize("make", [Own, lambda: ResizeIter(Own(), 2), lambda: PrefetchingIter(Own())])
def test_a_model_is_fitted_with_an_iterator_of_ones_own(make):
    assert all(isinstance(batch, DataBatch) for batch in make())
    net = sym.SoftmaxOutput(sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc"), name="softmax")
    settings = {"num_epoch": 2, "seed": 0, "learning_rate": 0.1}
    model, other = FeedForward(net, **settings), FeedForward(net, numpy_batch_size=2, **settings)
    model.fit(make())
    other.fit(NDArrayIter(X[:4], Y[:4] % 2, 2))
    np.testing.assert_array_equal(model.arg_params["fc_weight"], other.arg_params["fc_weight"])
