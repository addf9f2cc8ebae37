"""`mx.io.MNISTIter` on small files; the numbers are what MXNet 1.9.1 gives for the same files."""

import json

import numpy as np
import pytest

from tinygrad_lesson import mx

SIZES = (7).to_bytes(4, "big")


@pytest.fixture
def files(tmp_path):
    pixels = (np.arange(7 * 784) % 256).astype(np.uint8).tobytes()
    image = bytes([0, 0, 8, 3]) + SIZES + (28).to_bytes(4, "big") * 2 + pixels
    (tmp_path / "images").write_bytes(image)
    (tmp_path / "labels").write_bytes(bytes([0, 0, 8, 1]) + SIZES + bytes(range(7)))
    return {"image": str(tmp_path / "images"), "label": str(tmp_path / "labels")}


@pytest.mark.parametrize(
    ("settings", "shape", "labels"),
    [
        ({}, (3, 1, 28, 28), [[0, 1, 2], [3, 4, 5]]),
        ({"flat": True}, (3, 784), [[0, 1, 2], [3, 4, 5]]),
        ({"num_parts": 2, "part_index": 1}, (3, 1, 28, 28), [[3, 4, 5]]),
    ],
)
def test_batches_of_mnist(files, settings, shape, labels):
    batches = mx.io.MNISTIter(**files, batch_size=3, shuffle=False, **settings)
    found = list(batches)
    assert [b.label[0].asnumpy().tolist() for b in found] == labels
    assert [b.data[0].shape for b in found] == [shape] * len(labels)
    pixels = found[-1].data[0].asnumpy().reshape(-1)
    assert pixels[[1, 255]].tolist() == [0.19140625, 0.18359375]
    assert batches.provide_data[0].shape == shape


def test_shuffled_batches_hold_the_same_rows_each_epoch(files):
    batches = mx.io.MNISTIter(**files, batch_size=7, seed=3)
    for _ in range(2):
        (batch,) = list(batches)
        assert sorted(batch.label[0].asnumpy().tolist()) == list(range(7))
        batches.reset()


def test_files_that_are_none_or_do_not_fit_are_refused(files, tmp_path):
    with pytest.raises(mx.MXNetError, match=r"labels: byte 0: no file of MNIST with 3 axes"):
        mx.io.MNISTIter(image=files["label"], label=files["label"])
    (tmp_path / "short").write_bytes((tmp_path / "labels").read_bytes()[:-1])
    with pytest.raises(mx.MXNetError, match=r"short: byte 8: "):
        mx.io.MNISTIter(image=files["image"], label=str(tmp_path / "short"))
    (tmp_path / "few").write_bytes(bytes([0, 0, 8, 1]) + (2).to_bytes(4, "big") + bytes(2))
    with pytest.raises(mx.MXNetError, match="7 images in .* and 2 labels in"):
        mx.io.MNISTIter(image=files["image"], label=str(tmp_path / "few"))


def test_a_batch_says_its_shapes():
    batch = mx.io.DataBatch([mx.nd.ones((2, 3))], [mx.nd.ones(2)])
    assert str(batch) == "DataBatch: data shapes: [(2, 3)] label shapes: [(2,)]"
    assert str(mx.io.DataBatch([mx.nd.ones(2)])) == "DataBatch: data shapes: [(2,)] label shapes: None"


@pytest.mark.parametrize("name", ["acc", "f1", "mcc", "pearsonr", "loss"])
def test_a_metric_is_made_from_what_it_tells_of_itself(name):
    metric = mx.metric.create(name)
    assert mx.metric.create(json.dumps(metric.get_config())).get_config() == metric.get_config()


def test_a_metric_of_all_batches_and_of_the_last_ones():
    metric = mx.metric.create("acc")
    metric.update([mx.nd.array([1])], [mx.nd.array([[0, 1.0]])])
    metric.reset_local()
    metric.update([mx.nd.array([0])], [mx.nd.array([[0, 1.0]])])
    assert metric.get_name_value() == [("accuracy", 0.0)]
    assert metric.get_global_name_value() == [("accuracy", 0.5)]


def test_as_many_labels_as_predictions():
    with pytest.raises(ValueError, match=r"Shape of labels 1 does not match shape of predictions 2"):
        mx.metric.check_label_shapes([1], [1, 2])
    with pytest.raises(ValueError, match=r"Shape of labels \(3,\) does not"):
        mx.metric.check_label_shapes(mx.nd.ones(3), mx.nd.ones((3, 1)), shape=True)
    labels, preds = mx.metric.check_label_shapes(mx.nd.ones(3), mx.nd.ones(3), wrap=True)
    assert (len(labels), len(preds)) == (1, 1)
