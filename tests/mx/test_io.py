"""`mx.io.MNISTIter` on small files; the numbers are what MXNet 1.9.1 gives for the same files."""

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
