"""Batches, against what MXNet 1.9.1's NDArrayIter gives (`ndarrayiter.json`), and iterators of one's own."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lesson.errors import AttributeValueError, DTypeError, LessonError, ShapeError
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train.data import LARGE, BatchIterator, NDArrayIter, as_batches, as_iterator

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "ndarrayiter.json").read_text())
X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) * 10


@pytest.mark.parametrize(
    "case", GOLDEN["epochs"], ids=lambda c: f"{c['rows']}-{c['batch_size']}-{c['last_batch_handle']}"
)
def test_batches_are_those_of_mxnet(case):
    n = case["rows"]
    iterator = NDArrayIter(
        np.arange(2 * n).reshape(n, 2),
        np.arange(n) * 10,
        case["batch_size"],
        last_batch_handle=case["last_batch_handle"],
    )
    for epoch in case["epochs"]:
        ours = [
            {"data": b.data[0][:, 0].tolist(), "label": b.label[0].tolist(), "pad": b.pad} for b in iterator
        ]
        assert ours == epoch
        iterator.reset()


@pytest.mark.parametrize(
    "case", GOLDEN["resets"], ids=lambda c: f"{c['last_batch_handle']}-{c['taken']}-{c['reset']}"
)
def test_a_reset_leads_where_it_does_in_mxnet(case):
    iterator = NDArrayIter(np.arange(10), None, 3, last_batch_handle=case["last_batch_handle"])
    taken = [next(iterator, None) for _ in range(case["taken"])]
    assert [None if batch is None else batch.data[0].tolist() for batch in taken] == case["got"]
    getattr(iterator, case["reset"])()
    batch = iterator.next()
    assert (batch.data[0].tolist(), batch.pad) == (case["then"], case["pad"])


INPUTS = {
    "array": (np.zeros((4, 3)), np.zeros(4, int), {}),
    "one in a list": ([np.zeros((4, 3))], [np.zeros(4, int)], {}),
    "list": ([np.zeros((4, 3)), np.zeros((4, 2, 5))], [np.zeros(4, int), np.zeros((4, 3))], {}),
    "dict": ({"z": np.zeros((4, 3)), "a": np.zeros((4, 2, 5))}, {"label": np.zeros(4, int)}, {}),
    "no label": (np.zeros((4, 3)), None, {}),
    "names": (np.zeros((4, 3)), np.zeros(4, int), {"data_name": "x", "label_name": "t"}),
}


@pytest.mark.parametrize(("kind", "expected"), GOLDEN["provide"], ids=lambda value: str(value)[:14])
def test_names_and_shapes_are_those_of_mxnet(kind, expected):
    data, label, options = INPUTS[kind]
    iterator = NDArrayIter(data, label, 2, **options)
    provided = [[[d.name, list(d.shape)] for d in x] for x in (iterator.provide_data, iterator.provide_label)]
    assert [*provided, str(iterator.data[0][1].dtype)] == expected


@given(st.integers(1, 30), st.integers(1, 12), st.sampled_from(["pad", "roll_over"]), st.integers(0, 9))
def test_shuffled_epochs_hold_every_row(rows, batch_size, last_batch_handle, seed):
    iterator = NDArrayIter(
        np.arange(rows), None, batch_size, True, last_batch_handle, generator=MXNetGenerator(seed)
    )
    counts = np.zeros(rows, int)
    for epoch in range(1, 4):
        for batch, pad in as_batches(iterator):
            assert batch["data"].shape == (batch_size,)
            np.add.at(counts, batch["data"][: batch_size - pad].astype(int), 1)
        waiting = epoch * rows - counts.sum()
        assert waiting == (0 if last_batch_handle == "pad" else epoch * rows % batch_size)
        assert counts.max() <= epoch


def test_each_epoch_has_an_order_of_its_own_that_a_seed_repeats():
    def orders(seed):
        iterator = NDArrayIter(X, Y, 5, shuffle=True, generator=MXNetGenerator(seed))
        return [[batch.index.tolist() for batch in (iterator.reset(), *iterator)[1:]] for _ in range(2)]

    first, second = orders(1)
    assert first != second
    assert orders(1) == [first, second]
    assert orders(2) != [first, second]


def test_data_and_labels_stay_together():
    iterator = NDArrayIter(X, Y, 3, shuffle=True)
    for batch in iterator:
        np.testing.assert_array_equal(batch.data[0], X[batch.index])
        np.testing.assert_array_equal(batch.label[0], Y[batch.index])


def test_another_element_type_is_kept_on_request():
    assert next(NDArrayIter(X, Y, 2, dtype=np.float64)).data[0].dtype == np.float64


class OwnIterator:
    """The lesson's iterator: rows in order, and random ones to fill the last batch."""

    batch_size = 4

    def reset(self):
        self.batch = -1

    def iter_next(self):
        self.batch += 1
        return self.batch < 3

    def value(self):
        rows = np.arange(self.batch * 4, self.batch * 4 + 4) % 10
        return {"data": X[rows], "label": Y[rows].tolist()}


def test_an_iterator_of_ones_own_is_taken_as_it_is():
    iterator = OwnIterator()
    assert as_iterator(iterator) is iterator
    for _ in range(2):
        batches = list(as_batches(iterator))
        assert [pad for _, pad in batches] == [0, 0, 0]
        np.testing.assert_array_equal(batches[2][0]["data"], X[[8, 9, 0, 1]])
        np.testing.assert_array_equal(batches[2][0]["label"], [80, 90, 0, 10])
        assert isinstance(batches[2][0]["label"], np.ndarray)


def test_mxnets_iterator_follows_the_protocol():
    iterator = NDArrayIter(X, Y, 4)
    assert isinstance(iterator, BatchIterator)
    batches = list(as_batches(iterator))
    assert [sorted(batch) for batch, _ in batches] == [["data", "softmax_label"]] * 3
    assert [pad for _, pad in batches] == [0, 0, 2]


def test_rows_that_rolled_over_are_not_padding():
    iterator = NDArrayIter(X, Y, 4, last_batch_handle="roll_over")
    assert [pad for _ in range(2) for _, pad in as_batches(iterator)] == [0] * 5


def test_arrays_become_an_iterator():
    (first, _), *_ = as_batches((X, Y), batch_size=5, label_name="label")
    np.testing.assert_array_equal(first["label"], Y[:5])
    (first, _), *_ = as_batches({"x": X}, batch_size=5)
    np.testing.assert_array_equal(first["x"], X[:5])


def test_what_gives_no_batches_is_refused():
    with pytest.raises(DTypeError, match="int: it has no batch_size, reset, iter_next, value"):
        as_iterator(3)

    class Lists(OwnIterator):
        def value(self):
            return [X, Y]

    with pytest.raises(DTypeError, match=r"Lists.value\(\) is a list, expected arrays by name"):
        list(as_batches(Lists()))


def test_a_batch_outside_an_epoch_is_refused():
    iterator = NDArrayIter(X, Y, 5)
    with pytest.raises(LessonError, match="there is no batch now"):
        iterator.getdata()
    list(iterator)
    with pytest.raises(LessonError, match="there is no batch now"):
        iterator.value()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y[:9]), {}, ShapeError, "softmax_label has 9 rows, expected 10 as data has"),
        (({"a": X, "b": X[1:]},), {}, ShapeError, "b has 9 rows, expected 10 as a has"),
        ((X, 3), {}, ShapeError, r"softmax_label: shape is \(\), expected \(rows, ...\)"),
        (([],), {}, ShapeError, "data: there are no arrays"),
        ((X[:0],), {}, ShapeError, "data has no rows"),
        ((X,), {"batch_size": 0}, ShapeError, "batch_size is 0, expected 1 to 10"),
        ((X,), {"batch_size": 2.5}, DTypeError, "batch_size is 2.5, expected a whole number"),
        ((X,), {"batch_size": 11, "last_batch_handle": "discard"}, ShapeError, "batch_size is 11"),
        (
            (X,),
            {"last_batch_handle": "keep"},
            AttributeValueError,
            "'keep', expected pad, discard or roll_over",
        ),
    ],
)
def test_what_does_not_fit_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        NDArrayIter(*arguments, **options)


@given(st.integers(1, 30), st.integers(1, 12), st.sampled_from(["pad", "roll_over"]), st.integers(0, 5))
def test_once_gives_every_row_once_and_leaves_the_iterator_as_it_is(rows, batch_size, handling, taken):
    iterator = NDArrayIter(np.arange(rows), None, batch_size, last_batch_handle=handling)
    twin = NDArrayIter(np.arange(rows), None, batch_size, last_batch_handle=handling)
    for _ in range(taken):
        if next(iterator, next(twin, None)) is None:
            iterator.reset(), twin.reset()
    given = [batch["data"][: batch_size - pad] for batch, pad in as_batches(iterator.once())]
    np.testing.assert_array_equal(np.concatenate(given), np.arange(rows))
    assert [b.data[0].tolist() for b in iterator] == [b.data[0].tolist() for b in twin]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0, 1, 2], {"data": (3,)}),
        ([np.float64(0), np.int64(1)], {"data": (2,)}),
        ([[0, 1, 2], [3, 4, 5]], {"data": (2, 3)}),
        ((np.arange(3), np.arange(3)), {"data": (2, 3)}),
        ([np.arange(3), np.arange(3)], {"_0_data": (3,), "_1_data": (3,)}),
        ([np.arange(3), [4, 5, 6]], {"_0_data": (3,), "_1_data": (3,)}),
        (range(4), {"data": (4,)}),
    ],
    ids=range(7),
)
def test_lists_of_numbers_are_one_array_and_lists_of_arrays_several(given, expected):
    assert {name: array.shape for name, array in NDArrayIter(given).data} == expected


@pytest.mark.parametrize("handling", ["pad", "discard", "roll_over"])
@pytest.mark.parametrize("size", [10**12, 2**40, LARGE + 1])
def test_a_batch_that_would_only_repeat_its_rows_is_refused_before_memory_is_asked_for(size, handling):
    tracemalloc.start()
    with pytest.raises(ShapeError, match=f"batch_size is {size}, expected 1 to 10, the number of rows"):
        NDArrayIter(X, Y, size, last_batch_handle=handling)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    many = np.zeros(LARGE + 5, np.int8)
    assert NDArrayIter(many, None, LARGE + 5, last_batch_handle=handling).next().data[0].shape == (LARGE + 5,)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ma.masked_array(X, X > 3), DTypeError, "data is a masked array"),
        (X + 1j, DTypeError, "data is complex128, expected real numbers"),
        ([[1, 2], [3]], ShapeError, "data is no array"),
        (["a", "b"], DTypeError, "data has elements of type <U1"),
        ({"x": [1, None]}, DTypeError, "x has elements of type object"),
    ],
)
def test_what_is_no_number_is_refused_by_its_name(given, error, message):
    with pytest.raises(error, match=message):
        NDArrayIter(given)
    with pytest.raises(error, match=message.replace("data", "softmax_label")):
        NDArrayIter(np.zeros(10), given)

    class Own(OwnIterator):
        def value(self):
            return given if isinstance(given, dict) else {"data": given}

    with pytest.raises(error, match=r"the iterator's '(data|x)' (is|has)"):
        list(as_batches(Own()))


@pytest.mark.parametrize(
    ("rows", "shuffle", "copied"), [(12, False, False), (10, False, True), (12, True, True)]
)
def test_the_batches_of_an_epoch_are_copied_only_if_rows_change_places(rows, shuffle, copied):
    x = np.arange(3.0 * rows, dtype=np.float32).reshape(rows, 3)
    one, other = (
        NDArrayIter(x, batch_size=4, shuffle=shuffle, generator=MXNetGenerator(1)) for _ in range(2)
    )
    found = one.epoch()["data"]
    np.testing.assert_array_equal(found, [batch.data[0].asnumpy() for batch in other])
    assert np.shares_memory(found, one.data[0][1]) is not copied


@pytest.mark.parametrize(("handle", "taken", "copied"), [("roll_over", 3, True), ("discard", 1, False)])
def test_an_epoch_has_the_batches_that_iterating_would_give(handle, taken, copied):
    x = np.arange(9, dtype=np.float32)
    one, other = (NDArrayIter(x, batch_size=4, last_batch_handle=handle) for _ in range(2))
    for iterator in (one, other):
        for _ in range(taken):  # batches before; of two that are whole, the third ends the epoch
            iterator.iter_next()
        if taken == 3:
            iterator.reset()
    found = one.epoch()["data"]
    np.testing.assert_array_equal(found, [batch.data[0].asnumpy() for batch in other])
    assert np.shares_memory(found, x) is not copied
