"""`mx.io`: iterators over batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.files import Cursor
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train.batches import (
    CSVIter,
    DataBatch,
    DataDesc,
    DataIter,
    PrefetchingIter,
    ResizeIter,
    part_of,
)
from tinygrad_lesson.train.data import NDArrayIter


class MNISTIter(NDArrayIter):
    """Batches of the images and labels of MNIST's files; rows that fill no batch are left out.

    `num_parts` and `part_index` take one of equal parts of the rows. With `shuffle` each epoch has an order of its own,
    which is not MXNet's.

    Shapes
        data (batch_size, 1, 28, 28), or (batch_size, 784) if `flat`, from 0 to 1; softmax_label (batch_size,)
    Errors
        FormatError, with the place in the file, for one that is not as it should be; ShapeError if there are not
        as many labels as images.
    Source
        MXNet 1.9, ``mx.io.MNISTIter``; the files are described at http://yann.lecun.com/exdb/mnist.
    """

    def __init__(
        self,
        image: str = "./train-images-idx3-ubyte",
        label: str = "./train-labels-idx1-ubyte",
        batch_size: int = 128,
        shuffle: bool = True,
        flat: bool = False,
        silent: bool = False,
        seed: int = 0,
        input_shape: Any = None,
        num_parts: int = 1,
        part_index: int = 0,
        **_: Any,
    ) -> None:
        images, labels = read_bytes(image, 3), read_bytes(label, 1)
        if len(images) != len(labels):
            raise ShapeError(
                f"MNISTIter: {len(images)} images in {image!r} and {len(labels)} labels in {label!r}"
            )
        part = part_of(len(images), part_index, num_parts)
        data, rows = images[part].astype(np.float32) * np.float32(1 / 256), part.stop - part.start
        data = data.reshape(rows, -1) if flat else data[:, None]
        super().__init__(
            data.reshape(rows, *input_shape) if input_shape else data, labels[part], batch_size, shuffle, "discard",
            generator=MXNetGenerator(seed),
        )  # fmt: skip
        self.num_parts = num_parts


def read_bytes(path: str, axes: int) -> np.ndarray:
    """The array of bytes in a file of MNIST: four bytes that say so and the number of axes, the sizes, the elements."""
    with Cursor(path) as cursor:
        if bytes(cursor.take(4, "the kind of file")) != bytes([0, 0, 8, axes]):
            raise cursor.error(f"no file of MNIST with {axes} axes", at=0)
        shape = [int.from_bytes(cursor.take(4, "a size"), "big") for _ in range(axes)]
        found = np.frombuffer(cursor.take(math.prod(shape), "the elements"), np.uint8)
        return found.reshape(shape)


__all__ = [
    "CSVIter",
    "DataBatch",
    "DataDesc",
    "DataIter",
    "MNISTIter",
    "NDArrayIter",
    "PrefetchingIter",
    "ResizeIter",
]
