"""Batches of rows: MXNet's iterator over arrays, and the protocol for an iterator of one's own.

A trainer asks `as_batches` for one epoch, whatever it was given.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, LessonError, ShapeError
from tinygrad_lesson.mxnet.bound import as_ndarray, as_numbers
from tinygrad_lesson.random import MXNetGenerator, default_generator
from tinygrad_lesson.train.batches import DataBatch, DataDesc, DataIter, handed_out, part_of
from tinygrad_lesson.train.rows import as_size, is_array_like

Array = npt.NDArray[Any]
Arrays = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]


LARGE = 65536  # rows; a batch with more rows than there are is refused from here on


@runtime_checkable
class BatchIterator(Protocol):
    """What an iterator must have to be trained with; `NDArrayIter` has it, and so may one of your own.

    An attribute ``padding``, if there is one, tells how many of the last rows only fill the batch. What its epochs
    depend on is saved with a training if it is a `generator`, or if there are ``get_state``, which gives arrays by
    name, and ``set_state``, which takes them.
    """

    batch_size: int

    def reset(self) -> None:
        """Go to the start of an epoch."""

    def iter_next(self) -> bool:
        """Go to the next batch; False if there is none."""

    def value(self) -> Mapping[str, npt.ArrayLike]:
        """The batch as it is now, by the names of its arrays."""


def is_iterator(x: Any) -> TypeGuard[BatchIterator]:
    """Whether `x` has what an iterator must have, by `__getattr__` too, where `isinstance` no longer looks in 3.12."""
    return all(hasattr(x, name) for name in ("batch_size", "reset", "iter_next", "value"))


class NDArrayIter:
    """Batches of the rows of arrays.

    `data` and `label` are an array, a list of arrays, or a dictionary by name; two or more in a list are called
    ``_0_data``, ``_1_data`` and so on. A list of numbers, or of lists of them, is one array. A last batch that is not
    full is filled with the first rows (`last_batch_handle` ``"pad"``), left out (``"discard"``), or kept to begin the
    next epoch with (``"roll_over"``). With `shuffle`, each epoch has its own order, drawn from `generator`. `num_parts`
    and `part_index` take one of equal parts of the rows, for one of several ranks.

    Shapes
        Each array (rows, ...), with the same number of rows; in a batch (batch_size, ...).
    Errors
        ShapeError if the numbers of rows differ, or if no batch can ever be full; DTypeError for what is no
        array of real numbers.
    Source
        MXNet 1.9, ``mx.io.NDArrayIter``. As there, arrays become float32 (unless `dtype` says otherwise) and
        are sorted by name, and `getpad` is also the number of rows that rolled over. Not as there,
        `iter_next` is False when the rows left make no batch, and `DataBatch.index` is filled in.

    Example
        >>> import tinygrad_lesson as tl
        >>> rows = tl.NDArrayIter([[1.0], [2.0], [3.0]], [0, 1, 0], batch_size=2)
        >>> [batch.data[0].asnumpy().ravel().tolist() for batch in rows]
        [[1.0, 2.0], [3.0, 1.0]]
    """

    def __init__(
        self,
        data: Arrays,
        label: Arrays | None = None,
        batch_size: int = 1,
        shuffle: bool = False,
        last_batch_handle: str = "pad",
        data_name: str = "data",
        label_name: str = "softmax_label",
        *,
        generator: MXNetGenerator | None = None,
        dtype: npt.DTypeLike = np.float32,
        num_parts: int = 1,
        part_index: int = 0,
    ) -> None:
        """Go to the start of the first epoch."""
        if last_batch_handle not in ("pad", "discard", "roll_over"):
            expected = "pad, discard or roll_over"
            raise AttributeValueError(f"last_batch_handle is {last_batch_handle!r}, expected {expected}")
        self.data = _named(data, data_name, dtype)
        self.label = [] if label is None else _named(label, label_name, dtype)
        self.num_parts, part = num_parts, part_of(_rows(self.data + self.label), part_index, num_parts)
        self.data, self.label = ([(key, x[part]) for key, x in held] for held in (self.data, self.label))
        self.num_data: int = part.stop - part.start
        most = self.num_data if last_batch_handle == "discard" else max(self.num_data, LARGE)
        if not 1 <= as_size(batch_size, "batch_size") <= most:
            raise ShapeError(f"batch_size is {batch_size}, expected 1 to {self.num_data}, the number of rows")
        self.batch_size = as_size(batch_size, "batch_size")
        self.shuffle = shuffle
        self.last_batch_handle = last_batch_handle
        self.generator = generator or default_generator()
        self._cursor = -batch_size
        self.hard_reset()

    @property
    def provide_data(self) -> list[DataDesc]:
        """Names and shapes of the data in a batch."""
        return [DataDesc(name, (self.batch_size, *array.shape[1:])) for name, array in self.data]

    @property
    def provide_label(self) -> list[DataDesc]:
        """Names and shapes of the labels in a batch."""
        return [DataDesc(name, (self.batch_size, *array.shape[1:])) for name, array in self.label]

    @property
    def idx(self) -> Array:
        """The rows of this epoch in their order, those that rolled over or are repeated among them."""
        return self._epoch

    def hard_reset(self) -> None:
        """Go to the start of an epoch and forget the rows that would roll over."""
        self._begin(np.arange(0))

    def reset(self) -> None:
        """Go to the start of an epoch; after a whole one, rows roll over."""
        ended = self._cursor >= self._epoch.size
        self._begin(self._left if ended else self._left[:0])

    def iter_next(self) -> bool:
        """Go to the next batch; False if there is none."""
        self._cursor += self.batch_size
        return self._cursor < self._epoch.size

    def next(self) -> DataBatch:
        """The next batch."""
        if not self.iter_next():
            raise StopIteration
        return DataBatch(self.getdata(), self.getlabel(), self.getpad(), self.getindex())

    def __iter__(self) -> NDArrayIter:
        """The batches that are left in this epoch."""
        return self

    def __next__(self) -> DataBatch:
        """The next batch."""
        return self.next()

    def getindex(self) -> Array:
        """Which rows the batch holds.

        Errors
            LessonError before the first batch of an epoch and after the last.
        """
        if not 0 <= self._cursor < self._epoch.size:
            raise LessonError("NDArrayIter: there is no batch now, expected iter_next() or next() before")
        return self._epoch[self._cursor : self._cursor + self.batch_size]

    def getdata(self) -> list[Any]:
        """The data of the batch."""
        rows = self.getindex()
        return [as_ndarray(array[rows]) for _, array in self.data]

    def getlabel(self) -> list[Any]:
        """The labels of the batch."""
        rows = self.getindex()
        return [as_ndarray(array[rows]) for _, array in self.label]

    def getpad(self) -> int:
        """`padding`; in a batch that begins with rows of the epoch before, their number."""
        return self._rolled if self._cursor == 0 and self._rolled else self.padding

    @property
    def padding(self) -> int:
        """How many of the last rows only fill the batch."""
        if self.last_batch_handle != "pad":
            return 0
        return max(0, self._cursor + self.batch_size - self.num_data)

    def value(self) -> dict[str, Array]:
        """The batch, data and labels, by name."""
        names = [name for name, _ in self.data + self.label]
        return dict(zip(names, map(np.asarray, [*self.getdata(), *self.getlabel()]), strict=True))

    def epoch(self) -> dict[str, Array]:
        """All batches that are left in this epoch, by name.

        Shapes
            (batches, batch_size, ...)
        """
        rows = self._epoch[max(self._cursor + self.batch_size, 0) :]
        self._cursor = self._epoch.size
        shape = (-1, self.batch_size)
        if self._in_order:  # no copy
            whole = self._epoch.size
            parts = {name: array[whole - rows.size : whole] for name, array in self.data + self.label}
            return {name: x.reshape(*shape, *x.shape[1:]) for name, x in parts.items()}
        return {name: array[rows.reshape(shape)] for name, array in self.data + self.label}

    def once(self) -> NDArrayIter:
        """An iterator of its own over an epoch in which rows that would roll over fill a batch with padding."""
        made = copy.copy(self)
        made.last_batch_handle = "pad" if self.last_batch_handle == "roll_over" else self.last_batch_handle
        made.hard_reset()
        return made

    @property
    def repeats(self) -> bool:
        """Whether every epoch has the same batches."""
        return not self.shuffle and self.last_batch_handle != "roll_over"

    def get_state(self) -> dict[str, Array]:
        """What the next epoch depends on, beside the generator: the rows that roll over."""
        ended = self._cursor >= self._epoch.size
        return {"left": np.array(self._left if ended else self._left[:0], np.int64)}

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Stand at the end of the epoch after which `get_state` gave this.

        Errors
            ShapeError if these rows cannot be left of an epoch of this iterator.
        """
        left = np.asarray(state.get("left"))
        most = self.batch_size - 1 if self.last_batch_handle == "roll_over" else 0
        inside = left.dtype.kind == "i" and ((left >= 0) & (left < self.num_data)).all()
        if left.ndim != 1 or left.size > most or not inside:
            raise ShapeError(
                f"rows {left.tolist()!r:.80} roll over, expected {most} at most, below {self.num_data}"
            )
        self._cursor, self._left = self._epoch.size, left

    def _begin(self, rolled: Array) -> None:
        """Lay out the rows of an epoch, the rows that rolled over first."""
        n, size = self.num_data, self.batch_size
        order = self.generator.permutation(n) if self.shuffle else np.arange(n)
        rows = np.concatenate([rolled, order]) if rolled.size else order
        whole = rows.size // size * size
        if self.last_batch_handle == "pad" and whole < rows.size:
            rows = np.resize(rows, -(-n // size) * size)  # the first rows again
            whole = rows.size
        self._epoch = rows[:whole]
        self._left = rows[whole:] if self.last_batch_handle == "roll_over" else rows[:0]
        self._rolled = rolled.size
        self._in_order = not self.shuffle and not self._rolled and whole <= n
        self._cursor = -size


def is_plain(iterator: Any) -> bool:
    """Whether this is an `NDArrayIter` and no class of one's own, whose `reset` may change what it likes."""
    return type(iterator) is NDArrayIter


def count_batches(iterator: Any) -> int:
    """How many batches an epoch of `iterator` has, where that is known before it; else 0."""
    return -(-iterator.num_data // iterator.batch_size) if is_rows(iterator) else 0


def is_rows(iterator: Any) -> bool:
    """Whether `epoch` gives the batches: a class of one's own may make others of the rows."""
    makers = ("iter_next", "getindex", "getdata", "getlabel", "value", "epoch")
    own = type(iterator)
    return isinstance(iterator, NDArrayIter) and all(
        getattr(own, name) is getattr(NDArrayIter, name) for name in makers
    )


def as_pair(given: Any, what: str) -> Any:
    """Data and labels as a tuple, the labels as an array; an iterator, or None, as it is.

    Errors
        DTypeError or ShapeError, which call it `what`, if it is none of these.
    """
    if given is None or is_iterator(given):
        return given
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise DTypeError(f"{what} is a {type(given).__name__}, expected (data, label) or an iterator")
    if not is_array_like(given[1]):
        raise DTypeError(f"{what}: y is a {type(given[1]).__name__}, expected an array or a list")
    return given[0], as_numbers(given[1], f"{what}: y")


def as_iterator(source: Any, **options: Any) -> BatchIterator:
    """An iterator over `source`: one already, or an array, or ``(data, label)``.

    `options` are those of `NDArrayIter`, for arrays.

    Errors
        DTypeError if `source` is none of these.
    """
    if is_iterator(source):
        return source
    if isinstance(source, tuple):
        return NDArrayIter(*source, **options)
    if isinstance(source, Mapping) or is_array_like(source):
        return NDArrayIter(source, **options)
    needed = ("batch_size", "reset", "iter_next", "value")
    missing = ", ".join(name for name in needed if not hasattr(source, name))
    raise DTypeError(
        f"cannot take batches from {type(source).__name__}: it has no {missing}; "
        "expected an iterator, an array, or (data, label)"
    )


def as_batches(source: Any, **options: Any) -> Iterator[tuple[dict[str, Array], int]]:
    """One epoch: each batch by the names of its arrays, and how many of its last rows only fill it.

    `source` and `options` are those of `as_iterator`.
    """
    iterator = as_iterator(source, **options)
    iterator.reset()
    if (
        isinstance(iterator, DataIter) and type(iterator).iter_next is DataIter.iter_next
    ):  # it only has `next`
        yield from (handed_out(iterator, batch) for batch in iterator)
        return
    while iterator.iter_next():
        batch = iterator.value()
        if not isinstance(batch, Mapping):
            kind = type(iterator).__name__
            raise DTypeError(f"{kind}.value() is a {type(batch).__name__}, expected arrays by name")
        arrays = {name: as_numbers(array, f"the iterator's {name!r}") for name, array in batch.items()}
        yield arrays, getattr(iterator, "padding", 0)


def _named(arrays: Arrays, name: str, dtype: npt.DTypeLike) -> list[tuple[str, Array]]:
    """Arrays with their names, sorted; those of a list are called after `name`."""
    named: dict[str, Any]
    if isinstance(arrays, Mapping):
        named = dict(arrays)
    elif not isinstance(arrays, list) or (arrays and not any(map(np.ndim, filter(_is_array, arrays)))):
        named = {name: arrays}
    elif len(arrays) == 1:
        named = {name: arrays[0]}
    else:
        named = {f"_{i}_{name}": array for i, array in enumerate(arrays)}
    if not named:
        raise ShapeError(f"{name}: there are no arrays, expected one at least")
    with np.errstate(
        over="ignore"
    ):  # what is too large for the type becomes infinite, which a trainer refuses
        return sorted((key, as_numbers(array, key).astype(dtype, copy=False)) for key, array in named.items())


def _is_array(given: Any) -> bool:
    """Whether it is more than Python's numbers and lists."""
    return hasattr(given, "__array__")


def _rows(named: list[tuple[str, Array]]) -> int:
    """The number of rows, which all arrays must share."""
    for name, array in named:
        if array.ndim == 0:
            raise ShapeError(f"{name}: shape is (), expected (rows, ...)")
    first, rows = named[0][0], len(named[0][1])
    for name, array in named:
        if len(array) != rows:
            raise ShapeError(f"{name} has {len(array)} rows, expected {rows} as {first} has")
    if rows == 0:
        raise ShapeError(f"{first} has no rows, expected one at least")
    return rows
