"""`NDArray`: an array as MXNet 1.x has it, written to in place; what is computed from it is recorded on request."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import (
    MODULES,
    Context,
    module_of,
    own_copy,
    read_only_memory,
    real,
    require_device,
)
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.tensor import Tensor, lent
from tinygrad_lesson.engine.errors import AttributeValueError, BindError, DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.held import IN_PLACE, MODE, Held
from tinygrad_lesson.mxnet.register import find, offered
from tinygrad_lesson.mxnet.spelled import is_number, with_number

MARKED: weakref.WeakKeyDictionary[Node, weakref.ref[NDArray]] = (
    weakref.WeakKeyDictionary()
)  # leaves -> whose they are


class NDArray(Held):
    """An array whose elements may be written to: ``a[:] = 0``, ``a += 1``.

    ``a[1:3]`` and ``a.reshape(...)`` are views: what is written there is written in `a`. Other parts, whose elements do
    not lie side by side, are copies. No result is without axes: ``a.sum()`` has shape (1,). Comparisons give 0 and 1 in
    the type of the array. The memory is NumPy's: ``np.asarray(a)`` shows it, ``a.asnumpy()`` copies it.

    Source
        MXNet 1.9, ``mx.nd.NDArray``.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.mx.nd.array([1.0, 2.0])
        >>> x += 1
        >>> x.asnumpy()
        array([2., 3.], dtype=float32)
    """

    __slots__ = ("_fresh_grad", "grad", "request")
    invoke: ClassVar[Callable[..., Any]]  # an operator by its name: `invoked.py` has it
    __array_priority__ = 1000.0

    def __init__(self, tensor: Tensor, place: Context = Context()) -> None:
        self.tensor, self.place = tensor, place
        self.grad: NDArray | None = None
        self.request = "null"
        self._fresh_grad = False  # whether `backward` has written `grad`, as MXNet calls it

    @property
    def T(self) -> Any:  # noqa: N802
        """Axes reversed."""
        return self.invoke("transpose", self)

    def __iter__(self) -> Iterator[NDArray]:
        return (self[i] for i in range(len(self)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if method == "__call__" and len(inputs) == 2 and isinstance(inputs[0], np.generic) and not named:
            name, number = REFLECTED.get(ufunc.__name__), inputs[0].item()
            if name is not None:
                return self.operate(name, number, self)
        return getattr(ufunc, method)(*map(bare, inputs), **{k: bare(x) for k, x in named.items()})

    def __reduce__(self) -> Any:
        return as_ndarray, (self.asnumpy(),)

    # Parts.

    def __getitem__(self, key: Any) -> NDArray:
        key = plain_key(key)
        array = self.tensor.array
        if MODE.recording and self.tensor.node is not None:
            y = self.tensor[key]
            return NDArray(y if y.ndim else TENSORS.reshape(y, (1,)), self.place)
        part = array[key]
        if not np.ndim(part):
            part = array[(*(key if isinstance(key, tuple) else (key,)), None)]
        shared = part.base is not None and part.flags.c_contiguous and not hasattr(self.tensor, "kept")
        return NDArray(lent(part if shared and is_basic(key) else part.copy()), self.place)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Copy `value` into a part.

        Errors
            BindError for an array that is read-only; DTypeError for a complex or masked array; ShapeError where the
            shapes do not fit.
        """
        key = plain_key(key)
        if MODE.recording and isinstance(value, NDArray) and value.tensor.node is not None:
            if self.tensor.node is not None or not is_whole(key):
                raise GraphError(IN_PLACE)
            put(self.invoke("broadcast_to", value, shape=self.shape), self)
            return
        memory = self.memory()
        if read_only_memory(memory):
            raise BindError(
                "a part of an executor's output, or a model's parameter, cannot be written to here; copy() first"
            )
        values = real(bare(value), "the value of an assignment")
        try:
            values = values if values.size != 1 else values.reshape(())
            if memory.__class__ in MODULES:
                is_one = isinstance(values, np.ndarray) and not values.ndim  # which a kernel is given
                values = values.item() if is_one else module_of(memory).asarray(values)
            memory[key] = values
        except ValueError as error:
            raise ShapeError(f"{show(values.shape)} does not fit into the part: {error}") from None

    def reshape(self, *shape: Any, reverse: bool = False, **named: Any) -> NDArray:
        """The same elements under another shape, in the same memory.

        0 keeps a size, -1 is what is left, -2 all further sizes, -3 the product of two, -4 splits one into two.
        """
        if shape and not isinstance(shape[0], int | np.integer):
            shape = tuple(shape[0])
        shape = tuple(named.pop("shape", shape))
        if named:
            raise AttributeValueError(f"reshape: unknown attribute {next(iter(named))!r}")
        shape = tuple(map(int, shape))
        if (MODE.recording and self.tensor.node is not None) or hasattr(self.tensor, "kept"):
            y: NDArray = self.invoke("Reshape", self, shape=shape, reverse=reverse)
            return y
        op: Any = find("Reshape").make({"shape": shape, "reverse": reverse})  # type: ignore[union-attr]
        return NDArray(lent(self.memory().reshape(op.shape(self.shape))), self.place)

    def slice_assign(self, rhs: NDArray, begin: Any, end: Any, step: Any = None) -> NDArray:
        """Write another array into a part: ``self[begin:end:step]`` along each axis."""
        self[tuple(map(slice, begin, end, step or (None,) * len(begin)))] = rhs
        return self

    def slice_assign_scalar(self, value: float, begin: Any, end: Any, step: Any = None) -> NDArray:
        """Write a number into a part."""
        return self.slice_assign(value, begin, end, step)  # type: ignore[arg-type]

    # Copies.

    def copy(self) -> NDArray:
        """The same elements in memory of their own."""
        return self.copyto(self.place)  # type: ignore[return-value]

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> NDArray:
        return self.copy()

    def copyto(self, other: NDArray | Context) -> NDArray:
        """Copy the elements into another array, or into a new one on a device.

        Errors
            ShapeError if the other has another shape.
        """
        if isinstance(other, Context):
            require_device(other)
            made: NDArray = self.invoke("_copy", self)
            if MODULES:
                made.tensor = made.tensor.to(other)
            made.place = other
            return made
        if other.shape != self.shape:
            raise ShapeError(f"copyto: an array of shape {self.shape} does not fit into {other.shape}")
        if other is not self:
            other[:] = self
        return other

    def as_in_context(self, context: Context) -> NDArray:
        """This array, or a copy on another device."""
        return self if context == self.context else self.copyto(context)

    as_in_ctx = as_in_context

    def astype(self, dtype: Any, copy: bool = True) -> NDArray:
        """The same numbers in another element type."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return self.invoke("Cast", self, dtype=np.dtype(dtype).name)  # type: ignore[no-any-return]

    def tostype(self, stype: str) -> NDArray:
        """This array.

        Errors
            DTypeError for sparse storage, which is not here.
        """
        if stype != "default":
            raise DTypeError(f"storage {stype!r} is not here: arrays hold all of their elements")
        return self

    def to_dlpack_for_read(self) -> np.ndarray:
        """The array for another library, in the same memory, to be read."""
        return np.asarray(self)

    def to_dlpack_for_write(self) -> np.ndarray:
        """The array for another library, in the same memory, to be written to."""
        return self.memory()

    def wait_to_read(self) -> None:
        """Wait until it is computed; on the processor what is called is done at once."""
        module = module_of(self.tensor.array)
        if module is not np:
            module.cuda.get_current_stream().synchronize()

    # Gradients.

    def attach_grad(self, grad_req: str = "write", stype: str | None = None) -> None:
        """Make this a variable that gradients are computed for: `backward` writes them into `grad`.

        Errors
            AttributeValueError if `grad_req` is none of write, add, null.
        """
        mark(self, as_ndarray(module_of(self.tensor.array).zeros(self.shape, self.dtype)), grad_req)

    def detach(self) -> NDArray:
        """The same elements, cut off from what was recorded: those of a result as they are now."""
        array = self.tensor.array
        return NDArray(lent(own_copy(array) if hasattr(self.tensor, "kept") else array), self.place)

    # Operators.

    def operate(self, mxnet_op: str, a: Any, b: Any) -> Any:
        """An operator of two arrays, which are broadcast, or of an array and a number."""
        if isinstance(a, NDArray) and isinstance(b, NDArray):
            return self.invoke("broadcast" + mxnet_op.lower(), a, b)
        number, reverse = (b, False) if isinstance(a, NDArray) else (a, True)
        if isinstance(number, bool):
            number = int(number)
        if not is_number(number):
            return NotImplemented
        name, scalar = with_number(mxnet_op, number, reverse)
        return self.invoke(name, self, scalar=scalar)

    def change(self, result: Any) -> NDArray:
        """Write the result of an operator here: `a += 1`."""
        if result is NotImplemented:
            return result  # type: ignore[no-any-return]
        if self.tensor.node is not None and MODE.recording:
            raise GraphError(IN_PLACE)
        return put(result, self)

    def __iadd__(self, other: Any) -> Any:
        return self.change(self + other)

    def __isub__(self, other: Any) -> Any:
        return self.change(self - other)

    def __imul__(self, other: Any) -> Any:
        return self.change(self * other)

    def __itruediv__(self, other: Any) -> Any:
        return self.change(self / other)

    def __imod__(self, other: Any) -> Any:
        return self.change(self % other)

    def __abs__(self) -> Any:
        return self.invoke("abs", self)

    def round(self, decimals: int = 0) -> Any:
        """The nearest whole numbers, or those with so many decimals."""
        return self.invoke("round", self) if not decimals else as_ndarray(np.asarray(self).round(decimals))

    def __format__(self, form: str) -> str:
        return format(self.item() if form else str(self), form)

    def __matmul__(self, other: Any) -> Any:
        return (
            self.invoke("linalg_gemm2", self, other) if isinstance(other, NDArray) else np.matmul(self, other)
        )

    def as_nd_ndarray(self) -> NDArray:
        """The array itself."""
        return self

    def __floordiv__(self, other: Any) -> Any:
        return np.floor_divide(self, other)

    def __getattr__(self, name: str) -> Any:
        """An operator as a method: `x.sum(axis=1)`; what only looks, and MXNet's arrays lack, is NumPy's."""
        if name in LOOKS:
            return getattr(np.asarray(self), name)
        if name.startswith("_") or not name.islower() or offered(name) is None:
            raise AttributeError(f"'NDArray' object has no attribute {name!r}; asnumpy() gives NumPy's array")
        return partial(self.invoke, name, self)


class Output(NDArray):
    """An output of an executor: what is written to it is in memory of its own, until the executor runs again."""

    __slots__ = ()

    def memory(self) -> np.ndarray:
        """The elements, to be written to."""
        if read_only_memory(self.tensor.array):
            self.tensor = lent(own_copy(self.tensor.array))
        return super().memory()

    def show(self, array: np.ndarray) -> None:
        """Be what the executor has computed now."""
        if self.tensor.array is not array:
            self.tensor = lent(array)


LOOKS = frozenset({
    "all", "any", "base", "conj", "data", "diagonal", "flags", "flat", "imag", "itemsize", "nbytes", "nonzero", "ravel",
    "real", "searchsorted", "std", "strides", "tobytes", "trace", "var", "view",
})  # fmt: skip
REFLECTED = {
    "add": "_Plus", "subtract": "_Minus", "multiply": "_Mul", "divide": "_Div", "power": "_Power", "remainder": "_Mod",
}  # fmt: skip


def as_ndarray(array: np.ndarray) -> NDArray:
    """The same memory as an `NDArray`."""
    return NDArray(lent(array))


def as_output(array: np.ndarray) -> Output:
    """The same memory as an output of an executor."""
    return Output(lent(array))


def bare(x: Any) -> Any:
    """An array as NumPy's, also in a list or a tuple; all else as it is."""
    if isinstance(x, list | tuple):
        return type(x)(map(bare, x)) if any(isinstance(part, NDArray) for part in x) else x
    return x.tensor.array if isinstance(x, NDArray) else x


def plain_key(key: Any) -> Any:
    """An index in NumPy's words: arrays of floats count as whole numbers."""
    if isinstance(key, tuple):
        return tuple(map(plain_key, key))
    if isinstance(key, NDArray):
        key = key.asnumpy()
    if isinstance(key, np.ndarray) and key.dtype.kind == "f":
        return key.astype(np.int64)
    return np.asarray(key, None if len(key) else int) if isinstance(key, list) else key


def is_basic(key: Any) -> bool:
    """Whether an index has no arrays in it."""
    return not any(isinstance(part, np.ndarray) for part in (key if isinstance(key, tuple) else (key,)))


def is_whole(key: Any) -> bool:
    """Whether an index means the whole array."""
    return key is ... or (isinstance(key, slice) and key == slice(None))


def put(result: NDArray, out: NDArray) -> NDArray:
    """Write a result into an array that a caller has given for it; of what is recorded, it is the result then.

    Errors
        ShapeError if it does not fit; GraphError if the array is recorded already.
    """
    if result.shape != out.shape:
        told = f"Provided = {list(out.shape)}, inferred shape={list(result.shape)}"
        raise ShapeError(f"Shape inconsistent, {told}")
    if result.dtype != out.dtype and not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise DTypeError(f"the result is {result.dtype}, and the array for it {out.dtype}")
    memory = out.memory()
    if read_only_memory(memory):
        raise BindError("a part of an executor's output cannot be written to; copy() first")
    module_of(memory).copyto(memory, result.tensor.array, casting="same_kind")
    if MODE.recording and result.tensor.node is not None:
        out.tensor = result.tensor
    return out


def mark(x: NDArray, gradient: NDArray, request: str) -> None:
    """Make an array a variable, whose gradient goes into another.

    Errors
        AttributeValueError if the request is none of write, add, null.
    """
    if request not in ("write", "add", "null"):
        raise AttributeValueError(f"grad_req is {request!r}, expected one of write, add, null")
    array = x.tensor.array
    x.tensor = lent(own_copy(array) if hasattr(x.tensor, "kept") else array)
    x.grad, x.request, x._fresh_grad = gradient if request != "null" else None, request, False
    if request != "null":
        x.tensor.node = Node(None, values=weakref.ref(x.tensor))  # of whole numbers too
        MARKED[x.tensor.node] = weakref.ref(x)
