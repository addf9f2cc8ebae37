"""`mx.nd`: arrays that are written to in place. Every operator of MXNet that is here is a function of arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, Context, require_device, zeros_at
from tinygrad_lesson.engine.errors import BindError, DTypeError, ShapeError, near
from tinygrad_lesson.mx import sparse
from tinygrad_lesson.mx.absent import absent
from tinygrad_lesson.mx.contributed import Contrib, Internal
from tinygrad_lesson.mx.util import is_np_shape
from tinygrad_lesson.mxnet.bound import room_for_arrays
from tinygrad_lesson.mxnet.documented import documented, signature
from tinygrad_lesson.mxnet.functions import Prefixed, Random
from tinygrad_lesson.mxnet.held import MODE
from tinygrad_lesson.mxnet.invoked import NDArray, as_ndarray, finished, invoke, split_v2
from tinygrad_lesson.mxnet.ndarray import put
from tinygrad_lesson.mxnet.params import read_listed, save_params
from tinygrad_lesson.mxnet.recorded import evaluate
from tinygrad_lesson.mxnet.register import offered, offered_names

BINARY = {  # functions of two arrays, or of an array and a number, and the operators that they are
    "add": "_Plus", "subtract": "_Minus", "multiply": "_Mul", "divide": "_Div", "true_divide": "_Div",
    "modulo": "_Mod", "power": "_Power", "maximum": "_Maximum", "minimum": "_Minimum", "hypot": "_Hypot",
    "equal": "_equal", "not_equal": "_not_equal", "greater": "_greater", "greater_equal": "_greater_equal",
    "lesser": "_lesser", "lesser_equal": "_lesser_equal", "logical_and": "_logical_and", "logical_or": "_logical_or",
    "logical_xor": "_logical_xor",
}  # fmt: skip


def array_function(mxnet_op: str, hint: str = "") -> Callable[..., Any]:
    """The operator called `mxnet_op` as a function of arrays.

    Errors
        AttributeError if there is none.
    """
    known = offered(mxnet_op)
    if known is None:
        raise AttributeError(f"there is no operator {mxnet_op!r}; {near(mxnet_op, sorted(offered_names()))}")

    def function(*inputs: Any, **named: Any) -> Any:
        return invoke(mxnet_op, *inputs, **named)

    function.__name__, function.__doc__ = hint or mxnet_op, documented(known)
    function.__signature__ = signature(known)  # type: ignore[attr-defined]
    return function


def binary_function(name: str) -> Callable[..., Any]:
    """A function of two operands, one of which may be a number."""

    def function(lhs: Any, rhs: Any) -> Any:
        array = next((x for x in (lhs, rhs) if isinstance(x, NDArray)), None)
        if array is None:
            y = as_ndarray(np.full(1, lhs, np.float64)).operate(
                BINARY[name], as_ndarray(np.full(1, lhs, np.float64)), rhs
            )
            return y.item()
        y = array.operate(BINARY[name], lhs, rhs)
        if y is NotImplemented:
            raise DTypeError(f"{name}: {lhs!r:.80} and {rhs!r:.80}, expected arrays or numbers")
        return y

    function.__name__ = name
    function.__doc__ = (
        f"The operator `{BINARY[name]}` of two arrays, which are broadcast, or of an array and a number."
    )
    return function


def __getattr__(name: str) -> Callable[..., Any]:
    if name == "imdecode":
        return absent("mx.nd.imdecode", "read images by another library and hand their arrays to mx.nd.array")
    function = binary_function(name) if name in BINARY else array_function(name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *BINARY, *offered_names()})


def array(source_array: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """A copy of numbers: of float32, unless they come from an NDArray or `dtype` is given."""
    if dtype is None:
        dtype = source_array.dtype if isinstance(source_array, NDArray) else np.float32
    if isinstance(source_array, list | tuple):
        source_array = [x.asnumpy() if isinstance(x, NDArray) else x for x in source_array]
    made = as_ndarray(np.array(source_array, dtype))
    return placed(made, ctx)


def placed(made: NDArray, ctx: Context | None) -> NDArray:
    """An array, for a device."""
    if ctx is not None:
        require_device(ctx)
        made.tensor = made.tensor.to(ctx) if MODULES else made.tensor
        made.place = ctx
    return made


def empty(shape: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """An array of any numbers: zeros here."""
    return zeros(shape, ctx, dtype)


def zeros(
    shape: Any, ctx: Context | None = None, dtype: Any = None, stype: Any = None, **more: Any
) -> NDArray:
    """An array of zeros."""
    return full(shape, 0, ctx, dtype, **more)


def ones(shape: Any, ctx: Context | None = None, dtype: Any = None, **more: Any) -> NDArray:
    """An array of ones."""
    return full(shape, 1, ctx, dtype, **more)


def full(
    shape: Any, val: Any, ctx: Context | None = None, dtype: Any = None, out: NDArray | None = None
) -> NDArray:
    """An array of one number.

    Errors
        ShapeError for no axis, or one of size 0, unless `mx.np_shape` says that these are sizes.
    """
    shape = tuple(int(n) for n in np.atleast_1d(shape)) if np.size(shape) else ()
    if not is_np_shape() and (shape == () or 0 in shape):
        raise ShapeError(
            f"shape is {shape}, expected sizes above 0; within mx.np_shape() an array may be empty"
        )
    if out is not None:
        out[:] = val
        return out
    with room_for_arrays("full"):
        array = zeros_at(ctx or Context(), shape, np.dtype(dtype or np.float32))
    array[...] = val
    return placed(as_ndarray(array), ctx)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: Any = None,
    ctx: Context | None = None,
    dtype: Any = "float32",
) -> NDArray:
    """Numbers from `start` up to `stop`, `step` apart, each `repeat` times."""
    told = {"start": start, "stop": stop, "step": step, "repeat": repeat, "ctx": ctx}
    return invoke("_arange", **told, dtype=np.dtype(dtype or "float32").name)  # type: ignore[no-any-return]


def linspace(
    start: float,
    stop: float,
    num: int,
    endpoint: bool = True,
    ctx: Context | None = None,
    dtype: Any = "float32",
) -> NDArray:
    """`num` numbers from `start` to `stop`."""
    told = {"start": start, "stop": stop, "num": num, "endpoint": endpoint, "ctx": ctx}
    return invoke("_linspace", **told, dtype=np.dtype(dtype or "float32").name)  # type: ignore[no-any-return]


def eye(N: int, M: int = 0, k: int = 0, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """A matrix of zeros with ones on diagonal `k`."""
    return invoke("_eye", N=N, M=M, k=k, ctx=ctx, dtype=np.dtype(dtype or "float32").name)  # type: ignore[no-any-return]


def from_numpy(ndarray: np.ndarray, zero_copy: bool = True) -> NDArray:
    """The same memory as an array, or a copy of it. Memory that is shared is locked to the name it had before.

    Errors
        ShapeError for an array that does not lie row by row, and would share its memory.
    """
    if zero_copy and not ndarray.flags.c_contiguous:
        raise ShapeError("from_numpy: the array does not lie row by row; expected np.ascontiguousarray(x)")
    if not zero_copy:
        return as_ndarray(ndarray.copy())
    with contextlib.suppress(ValueError):  # a view of memory that others have locked
        ndarray.flags.writeable = True  # it may be locked by an earlier call
    made = as_ndarray(np.asarray(memoryview(ndarray)))  # type: ignore[arg-type]  # the lock does not reach it
    ndarray.flags.writeable = False
    return made


def from_dlpack(dlpack: Any) -> NDArray:
    """The array of another library, or what `to_dlpack_for_read` gave, in the same memory."""
    return as_ndarray(np.from_dlpack(dlpack))


def to_dlpack_for_read(data: NDArray) -> np.ndarray:
    """The array for another library, in the same memory, to be read."""
    return data.to_dlpack_for_read()


def to_dlpack_for_write(data: NDArray) -> np.ndarray:
    """The array for another library, in the same memory, to be written to."""
    return data.to_dlpack_for_write()


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """Arrays one behind the other along an axis."""
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    return invoke("Concat", *arrays, dim=axis)  # type: ignore[no-any-return]


def moveaxis(tensor: NDArray, source: Any, destination: Any) -> NDArray:
    """Axes moved to other places, the others in their order."""
    axes = np.moveaxis(np.empty((1,) * tensor.ndim), source, destination)  # which refuses what is no axis
    old = np.arange(tensor.ndim)
    sources, places = np.atleast_1d(source) % axes.ndim, np.atleast_1d(destination) % axes.ndim
    order = [int(n) for n in old if n not in sources]
    for place, n in sorted(zip(places.tolist(), sources.tolist(), strict=True)):
        order.insert(place, n)
    return invoke("transpose", tensor, axes=tuple(order))  # type: ignore[no-any-return]


def histogram(a: NDArray, bins: Any = 10, range: Any = None) -> list[NDArray]:
    """How many elements fall between the edges, and these: given as `bins`, or that many equal parts of a range."""
    if isinstance(bins, NDArray):
        return invoke("_histogram", a, bins)  # type: ignore[no-any-return]
    ends = (float(a.min().asscalar()), float(a.max().asscalar())) if range is None else range
    return invoke("_histogram", a, bin_cnt=bins, range=tuple(ends))  # type: ignore[no-any-return]


def reset_arrays(*arrays: NDArray, num_arrays: int | None = None) -> None:
    """Write zeros into arrays, of which there are `num_arrays`, as MXNet wants it told."""
    for x in arrays:
        x[:] = 0


class CachedOp:
    """A symbol as a function of arrays, which come in the order of `list_inputs`; it is recorded like any operator.

    `flags` are how MXNet plans it, and say nothing here.

    Errors
        BindError for another number of arrays.
    """

    def __init__(self, sym: Any, flags: Any = ()) -> None:
        self.sym, self.names = sym, sym.list_inputs()

    def __call__(self, *args: NDArray, out: Any = None, default_ctx: Any = None) -> Any:
        """The outputs, in `out` if that is given; `default_ctx` is MXNet's, for those without inputs."""
        args = args if self.names else ()
        if len(args) != len(self.names):
            raise BindError(f"CachedOp: {len(args)} arrays given, expected {', '.join(self.names)}")
        leaves = {name: x.taken() for name, x in zip(self.names, args, strict=True)}
        with np.errstate(all="ignore"):
            results = evaluate(self.sym, leaves, is_train=MODE.training)
        made = [NDArray(finished(y, None, [*leaves.values()])) for y in results]
        if out is not None:
            for y, x in zip(made, out if isinstance(out, list | tuple) else [out], strict=False):
                put(y, x)
            return out
        return made if len(made) > 1 else made[0]


def onehot_encode(indices: NDArray, out: NDArray) -> NDArray:
    """Rows with a one where the index says, in `out`."""
    out[:] = invoke("one_hot", indices, depth=out.shape[1])
    return out


def waitall() -> None:
    """Nothing to wait for: what is called is done at once."""


def save(fname: str | os.PathLike[str], data: Any) -> None:
    """Write an array, a list of them, or a dict by name, as MXNet does.

    Errors
        DTypeError for anything else.
    """
    data = [data] if isinstance(data, NDArray) else data
    named = data if isinstance(data, Mapping) else dict(enumerate(data))
    if not all(isinstance(x, NDArray) for x in named.values()):
        raise DTypeError(
            "save: data needs to either be a NDArray, dict of str, NDArray pairs or a list of NDArrays"
        )
    arrays = {name: x.asnumpy() for name, x in named.items()}
    save_params(fname, arrays, named=isinstance(data, Mapping), scalars=is_np_shape())


def load(fname: str | os.PathLike[str] | bytes) -> list[NDArray] | dict[str, NDArray]:
    """What `save` or MXNet has written: a list of arrays, or a dict by name.

    Errors
        FormatError, with the place in the file, for anything that is not as it should be.
    """
    names, arrays, _ = read_listed(fname)
    made = [as_ndarray(x) for x in arrays]
    return dict(zip(names, made, strict=True)) if names else made


def load_frombuffer(buf: bytes) -> list[NDArray] | dict[str, NDArray]:
    """What `load` gives, from the bytes of a file."""
    return load(bytes(buf))


py_slice = slice  # which MXNet's own tests import
random = Random(array_function, NDArray, get_prob=False)
contrib, linalg = Contrib("_contrib_", array_function), Prefixed("_linalg_", array_function)
image = Prefixed("_image_", array_function)
op, _internal = Prefixed("", array_function), Internal("", array_function)

__all__ = [
    "CachedOp", "NDArray", "arange", "array", "concatenate", "contrib", "empty", "eye", "from_dlpack",
    "from_numpy", "full", "histogram", "image", "linalg", "linspace", "load", "load_frombuffer", "moveaxis",
    "onehot_encode", "ones", "op", "py_slice", "random", "reset_arrays", "save", "sparse", "split_v2",
    "to_dlpack_for_read", "to_dlpack_for_write", "waitall", "zeros",
]  # fmt: skip
