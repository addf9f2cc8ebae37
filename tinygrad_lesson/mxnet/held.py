"""What an array of MXNet's holds, where it lies, and how it is told: `Held`, of which `NDArray` is made."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, Context, on_host, own_copy, read_only_memory, refuse_device
from tinygrad_lesson.eager.tensor import Tensor, lent
from tinygrad_lesson.engine.errors import GraphError, ShapeError
from tinygrad_lesson.mxnet.spelled import Spelled


class Mode(threading.local):
    """What `mx.autograd` has chosen for this thread."""

    recording = False
    training = False


MODE = Mode()
IN_PLACE = (
    "Inplace operations (+=, -=, x[:]=, etc) are not supported when recording with autograd: "
    "the array is part of what is recorded"
)


class Held(Spelled):
    """The elements of an array, and where they lie."""

    __slots__ = ("__weakref__", "place", "tensor")
    tensor: Tensor
    place: Context

    # What it looks like.

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        return self.tensor.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self.tensor.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.tensor.size

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.tensor.ndim

    @property
    def context(self) -> Context:
        """The device that it was made for."""
        return self.place if self.tensor.array.__class__ not in MODULES else self.tensor.device  # type: ignore[no-any-return]

    ctx = context

    @property
    def stype(self) -> str:
        """How the elements are stored: all of them, in order."""
        return "default"

    @property
    def writable(self) -> bool:
        """Whether elements may be written here."""
        return not read_only_memory(self.tensor.array)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"\n{self.asnumpy()}\n<NDArray {'x'.join(map(str, self.shape))} @{self.context}>"

    # What it holds.

    def asnumpy(self) -> np.ndarray:
        """A copy as a bare NumPy array."""
        return np.array(on_host(self.tensor.array), order="C")

    def asscalar(self) -> Any:
        """The one element.

        Errors
            ShapeError if there are more.
        """
        if self.size != 1:
            raise ShapeError(f"The current array is not a scalar: its shape is {self.shape}")
        return self.asnumpy().reshape(-1)[0]

    def item(self) -> Any:
        """The one element as a Python number."""
        return self.asscalar().item()

    def tolist(self) -> Any:
        """The elements as Python's numbers, in lists."""
        return on_host(self.tensor.array).tolist()

    def memory(self) -> np.ndarray:
        """The elements where they lie, to be written to.

        Errors
            GraphError while something is recorded that the array is part of.
        """
        node = self.tensor.node
        if node is not None and MODE.recording:
            raise GraphError(IN_PLACE)
        if hasattr(self.tensor, "kept"):  # the graph has it; what is written now is no part of that
            self.tensor = lent(own_copy(self.tensor.array))
        return self.tensor.array  # type: ignore[no-any-return]

    def taken(self) -> Tensor:
        """What an operator reads: without its node while nothing is recorded."""
        if MODE.recording or self.tensor.node is None:
            return self.tensor
        return lent(self.tensor.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.tensor.array
        refuse_device(array, "np.asarray(x)")
        if hasattr(self.tensor, "kept"):
            array = array.view()
            array.flags.writeable = False
        return np.array(array, dtype, copy=copy)

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ShapeError("The truth value of an NDArray with multiple elements is ambiguous.")
        return bool(self.size and self.asscalar())

    def __float__(self) -> float:
        return float(self.asscalar())

    def __int__(self) -> int:
        return int(self.asscalar())

    def __index__(self) -> int:
        return int(self.asscalar())
