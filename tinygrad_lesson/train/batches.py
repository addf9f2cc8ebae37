"""What iterators hand out, and iterators around others: MXNet's `mx.io`."""

from __future__ import annotations

import operator
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.mxnet.bound import as_ndarray, as_numbers

Array = npt.NDArray[Any]


class DataDesc(namedtuple("DataDesc", ["name", "shape"])):
    """The name and the shape of an array that an iterator provides; beside them its `dtype` and `layout`."""

    dtype: Any
    layout: str

    def __new__(cls, name: str, shape: Any, dtype: Any = np.float32, layout: str = "NCHW") -> Self:
        """The pair, with what is known beside it."""
        self = super().__new__(cls, name, shape)
        self.dtype, self.layout = dtype, layout
        return self

    def __repr__(self) -> str:
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    @staticmethod
    def get_batch_axis(layout: str | None) -> int:
        """Along which axis the rows lie: that of N, the first if there is no layout."""
        return 0 if layout is None else layout.find("N")

    @staticmethod
    def get_list(
        shapes: Sequence[tuple[str, Any]], types: Sequence[tuple[str, Any]] | None
    ) -> list[DataDesc]:
        """One for each pair of a name and a shape, with the type that has the same name."""
        known = dict(types or ())
        return [DataDesc(name, shape, *([known[name]] if types else [])) for name, shape in shapes]


@dataclass
class DataBatch:
    """Rows of all arrays of data and of labels; `index` tells which rows of the whole they are."""

    data: list[Any]
    label: list[Any] | None = None
    pad: int | None = 0
    index: Array | None = None
    bucket_key: Any = None
    provide_data: list[DataDesc] | None = None
    provide_label: list[DataDesc] | None = None

    def __str__(self) -> str:
        shapes = [None if part is None else [x.shape for x in part] for part in (self.data, self.label)]
        return "{}: data shapes: {} label shapes: {}".format(type(self).__name__, *shapes)


def part_of(rows: int, part_index: int, num_parts: int) -> slice:
    """Part number `part_index` of as many rows, in `num_parts` parts of one size; rows left over are in none.

    Errors
        AttributeValueError for a part that is not there; ShapeError where there are more parts than rows.
    """
    if not 0 <= part_index < num_parts:
        raise AttributeValueError(
            f"part_index is {part_index}, expected 0 to {num_parts - 1}, below num_parts"
        )
    if rows < num_parts:
        raise ShapeError(f"num_parts is {num_parts}, but there are {rows} rows")
    each = rows // num_parts
    return slice(part_index * each, (part_index + 1) * each)


class DataIter:
    """An iterator over batches; one of your own has `next`, or `iter_next`, `getdata`, `getlabel`, and the lists
    `provide_data` and `provide_label`.

    Source
        MXNet 1.9, ``mx.io.DataIter``.
    """

    provide_data: list[DataDesc]
    provide_label: list[DataDesc]

    def __init__(self, batch_size: int = 0) -> None:
        self.batch_size = batch_size

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> DataBatch:
        """The next batch."""
        return self.next()

    def reset(self) -> None:
        """Go to the start of an epoch."""

    def next(self) -> DataBatch:
        """The next batch; StopIteration if there is none."""
        if not self.iter_next():
            raise StopIteration
        return DataBatch(as_list(self.getdata()), as_list(self.getlabel()), self.getpad(), self.getindex())

    def iter_next(self) -> bool:
        """Go to the next batch; False if there is none."""
        raise NotImplementedError

    def getdata(self) -> list[Any]:
        """The data of this batch."""
        raise NotImplementedError

    def getlabel(self) -> list[Any] | None:
        """The labels of this batch."""
        raise NotImplementedError

    def getpad(self) -> int | None:
        """How many of the last rows only fill the batch."""
        return 0

    @property
    def padding(self) -> int:
        """As `getpad`."""
        return self.getpad() or 0

    def getindex(self) -> Array | None:
        """Which rows of the whole they are, if that is known."""
        return None

    def value(self) -> dict[str, Any]:
        """The batch as it is now, by the names of its arrays."""
        names = [name for name, *_ in (*self.provide_data, *(self.provide_label or ()))]
        return dict(zip(names, [*as_list(self.getdata()), *(as_list(self.getlabel()) or ())], strict=False))


def handed_out(iterator: DataIter, batch: Any) -> tuple[dict[str, Array], int]:
    """A batch by the names that its iterator tells, and how many of its last rows only fill it."""
    names = [name for name, *_ in (*iterator.provide_data, *(iterator.provide_label or ()))]
    pairs = zip(names, [*batch.data, *(batch.label or ())], strict=False)
    return {name: as_numbers(x, f"the iterator's {name!r}") for name, x in pairs}, getattr(
        batch, "pad", 0
    ) or 0


class Around(DataIter):
    """An iterator that hands out the batches of others."""

    current: DataBatch

    def getdata(self) -> list[Any]:
        """The data of this batch."""
        return self.current.data

    def getlabel(self) -> list[Any] | None:
        """The labels of this batch."""
        return self.current.label

    def getpad(self) -> int | None:
        """How many of the last rows only fill the batch."""
        return self.current.pad

    def getindex(self) -> Array | None:
        """Which rows of the whole they are, if that is known."""
        return self.current.index


class ResizeIter(Around):
    """`size` batches of another iterator make an epoch; it begins anew where it ends.

    With `reset_internal`, each epoch starts where the other one starts; else it goes on.
    """

    def __init__(self, data_iter: Any, size: int, reset_internal: bool = True) -> None:
        super().__init__(data_iter.batch_size)
        self.data_iter, self.size, self.reset_internal, self.cur = data_iter, size, reset_internal, 0
        self.provide_data, self.provide_label = data_iter.provide_data, data_iter.provide_label

    def reset(self) -> None:
        """Go to the start of an epoch."""
        self.cur = 0
        if self.reset_internal:
            self.data_iter.reset()

    def iter_next(self) -> bool:
        """Go to the next batch; False after `size` of them."""
        if self.cur == self.size:
            return False
        try:
            self.current = self.data_iter.next()
        except StopIteration:
            self.data_iter.reset()
            self.current = self.data_iter.next()
        self.cur += 1
        return True


class PrefetchingIter(Around):
    """The batches of several iterators side by side, whose arrays may get other names.

    MXNet fetches them in threads of their own. Here a batch of arrays in memory is a view, so nothing is fetched ahead.
    """

    def __init__(self, iters: Any, rename_data: Any = None, rename_label: Any = None) -> None:
        self.iters = iters if isinstance(iters, list) else [iters]
        self.rename_data, self.rename_label = rename_data, rename_label
        super().__init__(self.iters[0].batch_size)

    def _provided(self, what: str, renamed: Sequence[Mapping[str, str]] | None) -> list[DataDesc]:
        found = []
        for i, other in enumerate(self.iters):
            for desc in getattr(other, what):
                names = renamed[i] if renamed else {}
                found.append(DataDesc(names.get(desc.name, desc.name), desc.shape, desc.dtype))
        return found

    @property
    def provide_data(self) -> list[DataDesc]:  # type: ignore[override]
        """Names and shapes of the data."""
        return self._provided("provide_data", self.rename_data)

    @property
    def provide_label(self) -> list[DataDesc]:  # type: ignore[override]
        """Names and shapes of the labels."""
        return self._provided("provide_label", self.rename_label)

    def reset(self) -> None:
        """Go to the start of an epoch."""
        for other in self.iters:
            other.reset()

    def iter_next(self) -> bool:
        """Go to the next batch of each; False if there is none.

        Errors
            ShapeError where they end at different batches, or fill them differently.
        """
        found = [next(other, None) for other in self.iters]
        batches = [batch for batch in found if batch is not None]
        if 0 < len(batches) < len(found) or len({batch.pad for batch in batches}) > 1:
            raise ShapeError("PrefetchingIter: the iterators do not have the same number of rows")
        if not batches:
            return False
        data = [array for batch in batches for array in batch.data]
        labels = [array for batch in batches for array in batch.label or ()]
        self.current = DataBatch(data, labels, batches[0].pad, batches[0].index)
        return True


def as_list(arrays: Any) -> Any:
    """Arrays in a list, also one alone; None stays."""
    return arrays if arrays is None or isinstance(arrays, list | tuple) else [arrays]


class CSVIter(DataIter):
    """Batches of the lines of a file with numbers between commas, and labels from another one, or 0.

    With `round_batch` a last batch that is not full is filled with the first lines, and the next epoch begins behind
    them; without, with lines of the batch before. `num_parts` and `part_index` take one of equal parts of the lines.

    Shapes
        data (batch_size, *data_shape), labels (batch_size, *label_shape), without an axis if that is (1,)
    Errors
        ShapeError if a line does not hold that many numbers.
    """

    def __init__(
        self,
        data_csv: Any,
        data_shape: Sequence[int],
        batch_size: int,
        label_csv: Any = None,
        label_shape: Sequence[int] = (1,),
        round_batch: bool = True,
        data_name: str = "data",
        label_name: str = "softmax_label",
        dtype: Any = np.float32,
        *,
        num_parts: int = 1,
        part_index: int = 0,
    ) -> None:
        super().__init__(operator.index(batch_size))
        self.data = read_lines(data_csv, tuple(data_shape), dtype)
        shape = () if tuple(label_shape) == (1,) else tuple(label_shape)
        rows = len(self.data)
        zeros = np.zeros((rows, *shape), np.float32)
        self.label = zeros if label_csv is None else read_lines(label_csv, shape, np.float32)
        if len(self.label) != rows:
            raise ShapeError(f"CSVIter: {len(self.label)} lines of labels for {rows} of data")
        self.num_parts, part = num_parts, part_of(rows, part_index, num_parts)
        self.data, self.label = self.data[part], self.label[part]
        self.round_batch, self.start, self.end = round_batch, -self.batch_size, 0
        self.provide_data = [DataDesc(data_name, (self.batch_size, *data_shape), dtype)]
        self.provide_label = [DataDesc(label_name, (self.batch_size, *shape))]
        self.rows = np.arange(self.batch_size)

    def reset(self) -> None:
        """Go to the start of an epoch: behind the lines that filled the last batch, if it is `round_batch`."""
        over = max(0, self.start + self.batch_size - len(self.data))
        self.start = (over if self.round_batch and self.start < len(self.data) else 0) - self.batch_size

    def iter_next(self) -> bool:
        """Go to the next batch; False if there is none."""
        if self.start + self.batch_size >= len(self.data):
            return False
        self.start += self.batch_size
        rows = np.arange(self.start, self.start + self.batch_size)
        filled = rows % len(self.data) if self.round_batch else self.rows
        self.rows = np.where(rows < len(self.data), rows, filled)
        return True

    def getdata(self) -> Any:
        """The data of this batch: one array, as MXNet's readers of files have it."""
        return as_ndarray(self.data[self.rows])

    def getlabel(self) -> Any:
        """The labels of this batch."""
        return as_ndarray(self.label[self.rows])

    def getpad(self) -> int:
        """How many of the last rows only fill the batch."""
        return max(0, self.start + self.batch_size - len(self.data))


def read_lines(path: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """The numbers of a file, one line of them in each row of this shape."""
    try:
        found = np.loadtxt(path, dtype=dtype, delimiter=",", ndmin=2)
        return found.reshape(len(found), *shape)
    except ValueError as error:
        raise ShapeError(f"CSVIter: {path}: {error}; expected {shape} numbers in each line") from None
