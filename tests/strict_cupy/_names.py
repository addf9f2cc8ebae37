"""The names of the stand-in, and what each does.

Names and parameters are those of the CuPy release that `surface.json` was read off. Stricter than CuPy in one thing:
a host array is refused by every function that does not exist to send it (CuPy's `sum(a)` is `a.sum()`, which a NumPy
array has too).
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from strict_cupy import _device
from strict_cupy._array import bare, carry_out, deep, ndarray, new, seen, unsupported, wrap
from strict_cupy._device import counts, sent, waited

SURFACE = json.loads(Path(__file__).with_name("surface.json").read_text())
AT = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
CUBLAS = {"matmul", "dot", "einsum", "tensordot", "inner", "outer", "vdot"}
VIEWS = "reshape transpose swapaxes squeeze expand_dims broadcast_to moveaxis rollaxis atleast_1d atleast_2d atleast_3d"
VIEWS += " matrix_transpose ravel diagonal flip fliplr flipud rot90"
PARTS = "split array_split hsplit vsplit dsplit broadcast_arrays"
WAITING = "nonzero argwhere flatnonzero unique extract compress bincount histogram median trim_zeros setdiff1d isin in1d"
CREATING = "empty zeros ones full arange linspace logspace eye identity tri diag diagflat indices meshgrid"
TYPES = "can_cast common_type result_type promote_types shape ndim isscalar binary_repr base_repr iscomplexobj isrealobj"
TYPES += " may_share_memory shares_memory broadcast_shapes isfortran"


def refuse_in_capture(name: str, arrays: Any = ()) -> None:
    """CuPy lets no cuBLAS call into a captured graph (cupy/cupy#6290)."""
    if _device.capturing() is not None and all(
        x.dtype.kind in "fc" for x in arrays if isinstance(x, ndarray)
    ):
        raise NotImplementedError(f"calling {name} API during stream capture is currently unsupported")


def copied(x: Any, out: ndarray) -> bool:
    """Whether CuPy copies an input first: it shares bounds with the target, and is not the same object."""
    return isinstance(x, ndarray) and x is not out and np.may_share_memory(x._held, out._held)


class ufunc:  # noqa: N801
    """A universal function as CuPy has it: no `where`, no `order`; arrays of the device and scalars only."""

    def __init__(self, name: str) -> None:
        self.name = self.__name__ = name
        self.numpy = getattr(np, name)
        self.nin, self.nout = self.numpy.nin, self.numpy.nout

    def __repr__(self) -> str:
        return f"<ufunc 'cupy_{self.name}'>"

    def __call__(
        self, *arguments: Any, out: Any = None, dtype: Any = None, casting: Any = None, **named: Any
    ) -> Any:
        if self.name != "matmul":
            named.pop("_where", None)
        if named:
            raise TypeError(f"Wrong arguments {named}")
        arguments, more = arguments[: self.nin], arguments[self.nin :]
        out = more[0] if more else out[0] if isinstance(out, tuple) else out
        if self.name == "matmul":
            if not all(isinstance(x, ndarray) for x in arguments):
                raise TypeError(f"Unsupported types {[type(x) for x in arguments]}")
            refuse_in_capture("cuBLAS", arguments)
        held = [bare(x) for x in arguments]
        if isinstance(out, ndarray) and any(copied(x, out) for x in arguments):
            refuse_in_capture("an allocation")
            counts.allocations += 1
        typed = {} if dtype is None else {"dtype": dtype, "casting": casting or "same_kind"}
        if self.nout > 1:
            if out is not None:
                raise NotImplementedError(f"strict_cupy.{self.name}(out=)")
            return tuple(new(y) for y in self.numpy(*held, **typed))
        return carry_out(lambda: self.numpy(*held, **typed), out, casting or "same_kind")

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """Unbuffered, in an order that a card does not tell: atomic additions."""
        if self.name not in AT:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        held, key, more = bare(a), deep(indices), () if b is None else (bare(b),)
        key = tuple(key) if isinstance(key, tuple) else key

        def add() -> np.ndarray:
            copy = held.copy()
            self.numpy.at(copy, key, *more)
            return copy

        carry_out(add, a)

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Only sums and products."""
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        held = bare(array)
        return carry_out(lambda: self.numpy.reduce(held, axis, dtype, keepdims=keepdims), out)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """Only sums and products."""
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        held = bare(array)
        return carry_out(lambda: self.numpy.accumulate(held, axis, dtype), out)

    def reduceat(self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """Only sums."""
        if self.name != "add":
            raise NotImplementedError(f"`{self.name}.reduceat` is not supported yet")
        held = bare(array)
        if not isinstance(indices, ndarray):
            sent(np.asarray(indices))
        at = indices._held if isinstance(indices, ndarray) else np.asarray(indices)
        return carry_out(lambda: self.numpy.reduceat(held, at, axis, dtype), out)

    def outer(self, a: Any, b: Any, **named: Any) -> Any:
        """Of all pairs."""
        return self(a.reshape(a.shape + (1,) * b.ndim), b, **named)


def signature(text: str) -> inspect.Signature | None:
    """Of a function, from its parameters as text; None where a default cannot be had here."""
    try:
        return inspect.signature(eval(f"lambda {text[1:-1]}: None", {"numpy": np, "cupy": np}))
    except Exception:
        return None


def function(name: str, text: str) -> Any:
    """A function with CuPy's parameters and NumPy's numbers."""
    theirs, parameters = getattr(np, name, None), signature(text)
    views, parts, waits, creates, tells = (
        name in words.split() for words in (VIEWS, PARTS, WAITING, CREATING, TYPES)
    )

    def call(*arguments: Any, **named: Any) -> Any:
        if theirs is None:
            raise NotImplementedError(f"strict_cupy.{name}")
        if parameters is not None:
            parameters.bind(*arguments, **named)  # refuses what CuPy does not take
        out = named.pop("out", None)
        first = arguments[0] if arguments else None
        if name in CUBLAS:
            refuse_in_capture("cuBLAS", arguments)
        if tells:
            return theirs(
                *[np.empty(x.shape, x.dtype) if isinstance(x, ndarray) else x for x in arguments], **named
            )
        if creates:
            counts.launches -= name == "empty"  # no kernel
            return carry_out(lambda: theirs(*deep(arguments), **deep(named)))
        if not isinstance(first, ndarray | list | tuple | str):
            if isinstance(first, np.ndarray):
                raise unsupported(first)
            raise AttributeError(f"{type(first).__name__!r} object has no attribute {name!r}")
        if isinstance(first, list | tuple):
            for x in first:
                if not isinstance(x, ndarray):
                    raise TypeError("Only cupy arrays can be concatenated")
        if waits:
            waited()
        held, held_named = deep(arguments), deep(named)
        if views and isinstance(first, ndarray):
            return seen(first, lambda a: theirs(a, *held[1:], **held_named))
        if parts:
            return [wrap(part, first) for part in theirs(*held, **held_named)]
        probe = theirs(*held, **held_named) if waits else None
        if isinstance(probe, tuple | list):
            return type(probe)(new(y) for y in probe)
        return carry_out(lambda: theirs(*held, **held_named), out)

    call.__name__ = call.__qualname__ = name
    call.__signature__ = parameters  # type: ignore[attr-defined]
    return call


NAMES: dict[str, Any] = {name: ufunc(name) for name in SURFACE["ufuncs"].split() if hasattr(np, name)}
NAMES |= {name: getattr(np, name) for name in SURFACE["shared"].split() if hasattr(np, name)}
NAMES |= {name: function(name, text) for name, text in SURFACE["functions"].items()}


def export(name: str) -> Any:
    """Puts a function under a name that would hide one of Python's here."""

    def put(f: Any) -> Any:
        NAMES[name] = f
        f.__name__ = f.__qualname__ = name
        f.__module__ = "strict_cupy"
        return f

    return put


# What is not as NumPy has it.


@export("array")
def array_(obj: Any, dtype: Any = None, copy: Any = True, order: str = "K", subok: bool = False, ndmin: int = 0, *,
          blocking: bool = False) -> ndarray:  # fmt: skip
    """On the device, sent if it is not there."""
    if subok:
        raise NotImplementedError
    if isinstance(obj, ndarray):
        if not copy and (dtype is None or np.dtype(dtype) == obj.dtype) and obj.ndim >= ndmin:
            return obj
        held = obj._held
        return carry_out(lambda: np.array(held, dtype, ndmin=ndmin), order=order or "K")
    if isinstance(obj, list | tuple) and obj and all(isinstance(x, ndarray) for x in obj):
        parts = deep(list(obj))
        return carry_out(lambda: np.stack(parts).astype(dtype or parts[0].dtype))
    host = np.array(obj, dtype=dtype, ndmin=ndmin)
    sent(host)
    return new(host, order="K")


@export("asarray")
def asarray_(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> ndarray:
    """On the device, sent if it is not there."""
    return array_(a, dtype, bool(copy), order or "K")


NAMES["asanyarray"] = asarray_


@export("ascontiguousarray")
def ascontiguousarray_(a: Any, dtype: Any = None) -> ndarray:
    """On the device, in row-major order."""
    a = asarray_(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


@export("copy")
def copy_(a: Any, order: str = "K") -> ndarray:
    """A copy on the device."""
    return a.copy(order)


@export("asnumpy")
def asnumpy_(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    """A copy on the host."""
    return a.get(order=order, out=out) if isinstance(a, ndarray) else np.asarray(a, order=order)


@export("get_array_module")
def get_array_module_(*arguments: Any) -> Any:
    """This module if any argument is a device array, else NumPy."""
    return sys.modules["strict_cupy"] if any(isinstance(x, ndarray) for x in arguments) else np


@export("empty_like")
def empty_like_(
    prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    """As NumPy's, but that CuPy takes `shape=()` for none given (`shape if shape else prototype.shape`)."""
    if subok is not None:
        raise TypeError("subok is not supported yet")
    held = bare(prototype)
    made = np.empty_like(held, dtype=dtype, order=order, shape=shape or held.shape)
    counts.launches -= 1  # no kernel
    return carry_out(lambda: np.full_like(made, np.nan if made.dtype.kind in "fc" else 77), order="K")


@export("full")
def full_(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    """As NumPy's."""
    if isinstance(fill_value, ndarray):
        value, dtype = fill_value._held, dtype or fill_value.dtype
        return carry_out(lambda: np.full(shape, value, dtype))
    if isinstance(fill_value, np.ndarray) and fill_value.size != 1:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    return carry_out(lambda: np.full(shape, fill_value, dtype))


@export("copyto")
def copyto_(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    """As NumPy's; a host array of one element counts as a scalar."""
    if not isinstance(dst, ndarray):
        raise unsupported(dst)
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.squeeze()[()]
    source, target = bare(src), dst._held
    if not isinstance(src, bool | int | float | complex) and not np.can_cast(
        source.dtype, dst.dtype, casting
    ):
        raise TypeError(f"Cannot cast {source.dtype} to {dst.dtype} in {casting} casting mode")
    mask = True if where is None else bare(where)
    carry_out(lambda: np.where(mask, np.broadcast_to(source, target.shape), target), dst, "unsafe")


@export("where")
def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    """As NumPy's, but a condition that is no device array has no `astype`."""
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return NAMES["nonzero"](condition)
    if not isinstance(condition, ndarray):
        raise AttributeError(f"{type(condition).__name__!r} object has no attribute 'astype'")
    held, a, b = condition._held, bare(x), bare(y)
    return carry_out(lambda: np.where(held.astype(bool), a, b))


@export("min")
def min_(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """CuPy 14.2 hands `out` to CUB as `dtype` here (`_ndarray_min`), which refuses it: TypeError where CUB could serve."""
    if out is not None and isinstance(a, ndarray) and a.flags.forc:
        raise TypeError(
            "operand type(s) all returned NotImplemented from __array_ufunc__: cupy.min(out=) with CUB"
        )
    held = bare(a)
    return carry_out(lambda: np.min(held, axis=axis, keepdims=keepdims), out)


NAMES["amin"] = min_


@export("split")
def split_(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    """As NumPy's."""
    if ary.ndim <= axis:
        raise IndexError("Axis exceeds ndim")
    return [wrap(part, ary) for part in np.split(ary._held, indices_or_sections, axis)]


@export("size")
def size_(a: Any, axis: Any = None) -> int:
    """Number of elements."""
    return int(np.size(a._held if isinstance(a, ndarray) else a, axis))


@export("take")
def take_(a: Any, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
    """As NumPy's; an index that is too large is wrapped around, not refused."""
    held = bare(a)
    at = indices._held if isinstance(indices, ndarray) else np.asarray(indices)
    if not isinstance(indices, ndarray | int):
        sent(at)
    return carry_out(lambda: np.take(held, at, axis, mode="wrap"), out)


REDUCTIONS = "all any sum prod max min mean var std argmax argmin cumsum cumprod clip dot take argsort round conj trace repeat"
for _name in REDUCTIONS.split():
    if _name not in NAMES:
        continue

    def _method(self: Any, *arguments: Any, __f: Any = NAMES[_name], **named: Any) -> Any:
        return __f(self, *arguments, **named)

    setattr(ndarray, _name, _method)
