"""The array of the stand-in: it holds a NumPy array and is none."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from strict_cupy import _device
from strict_cupy._device import counts, fetched, sent, waited

SCALARS = (bool, int, float, complex, np.generic)
CASTING = "same_kind"
allocator: list[Callable[[int], Any]] = []  # asked for every new array; it may refuse


def unsupported(x: Any) -> TypeError:
    """CuPy's words for what no kernel takes."""
    return TypeError(f"Unsupported type {type(x)}")


def bare(x: Any) -> Any:
    """The NumPy array in a device array, a scalar as it is; nothing else is taken."""
    if isinstance(x, ndarray):
        return x._held
    if isinstance(x, SCALARS):
        return x
    raise unsupported(x)


def deep(x: Any) -> Any:
    """As `bare`, through lists and tuples; what is no array stays."""
    if isinstance(x, list | tuple):
        return type(x)(map(deep, x))
    if isinstance(x, np.ndarray):
        raise unsupported(x)
    return x._held if isinstance(x, ndarray) else x


def new(value: Any, *, order: str = "C") -> "ndarray":
    """A device array of its own with the elements of `value`."""
    held = np.array(value, order=order, copy=True)
    if held.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {held.dtype}")
    counts.allocations += 1
    for allocate in allocator[-1:]:
        allocate(held.nbytes)
    array = wrap(held)
    key = id(array)
    ROOTS[key] = weakref.ref(array, lambda _: ROOTS.pop(key, None))
    return array


ROOTS: dict[int, Any] = {}  # what has memory of its own, by id


def alive() -> list["ndarray"]:
    """All arrays that have memory of their own now."""
    return [array for ref in list(ROOTS.values()) if (array := ref()) is not None]


def wrap(held: np.ndarray, base: Any = None) -> "ndarray":
    """A device array around `held`, a view of `base` if given."""
    array = object.__new__(ndarray)
    array._held, array._base = held, base
    return array


def carry_out(
    compute: Callable[[], Any], out: "ndarray | None" = None, casting: str = CASTING, order: str = "C"
) -> Any:
    """One kernel: `compute` gives its result from NumPy arrays, which goes to `out` or to a new array.

    While the stream captures it is noted and not carried out: a new array then holds rubbish.
    """
    counts.launches += 1
    if out is not None and not isinstance(out, ndarray):
        raise TypeError(f"'out' is {type(out)}, expected a cupy.ndarray")
    with np.errstate(all="ignore"):
        value = np.asarray(compute())
    notes = _device.capturing()
    if out is None:
        out = new(value, order=order)
        if notes is not None:
            counts.allocated_in_capture += 1
            out._held.fill(np.nan if out.dtype.kind in "fc" else 77 if out.dtype.kind in "iu" else True)
    else:
        if not np.can_cast(value.dtype, out.dtype, casting):
            raise TypeError(
                f"output (typecode {value.dtype.char!r}) could not be coerced to {out.dtype.char!r}"
            )
        if np.broadcast_shapes(value.shape, out.shape) != out.shape:
            raise ValueError(f"Out shape is mismatched: {value.shape} into {out.shape}")
        if notes is None:
            np.copyto(out._held, value, casting="unsafe")
    if notes is not None:
        target = out._held

        def again() -> None:
            with np.errstate(all="ignore"):
                np.copyto(target, compute(), casting="unsafe")

        notes.append(again)
    return out


def seen(array: "ndarray", change: Callable[[np.ndarray], np.ndarray]) -> "ndarray":
    """`change` of an array, as a view where NumPy can, else as a copy."""
    held = array._held
    result = change(held)
    if result is held or np.may_share_memory(result, held) or not result.size:
        return wrap(result, array)
    return carry_out(lambda: change(held))  # type: ignore[no-any-return]


class Flags:
    """What CuPy tells of a layout: there is no `writeable`."""

    def __init__(self, held: np.ndarray) -> None:
        self.c_contiguous, self.f_contiguous = held.flags.c_contiguous, held.flags.f_contiguous
        self.owndata = held.flags.owndata

    fnc = property(lambda self: self.f_contiguous and not self.c_contiguous)
    forc = property(lambda self: self.f_contiguous or self.c_contiguous)

    def __getitem__(self, name: str) -> bool:
        return {
            "C_CONTIGUOUS": self.c_contiguous,
            "F_CONTIGUOUS": self.f_contiguous,
            "OWNDATA": self.owndata,
        }[name]


class Pointer:
    """Where an array lies."""

    def __init__(self, held: np.ndarray) -> None:
        self.ptr = held.ctypes.data
        self.device_id = 0


class Place:
    """The device of an array: the one there is."""

    id = 0


class ndarray:  # noqa: N801
    """A device array: CuPy's face and refusals, NumPy's numbers."""

    __slots__ = ("__weakref__", "_base", "_held")
    __array_priority__ = 100
    __module__ = "cupy"
    __hash__ = None  # type: ignore[assignment]

    def __new__(
        cls, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"
    ) -> Any:
        if memptr is not None or strides is not None:
            raise NotImplementedError("strict_cupy.ndarray(memptr=, strides=)")
        return new(np.empty(shape, dtype, order), order=order)

    # What it looks like.

    shape = property(lambda self: self._held.shape)
    dtype = property(lambda self: self._held.dtype)
    ndim = property(lambda self: self._held.ndim)
    size = property(lambda self: self._held.size)
    itemsize = property(lambda self: self._held.itemsize)
    nbytes = property(lambda self: self._held.nbytes)
    strides = property(lambda self: self._held.strides)
    base = property(lambda self: self._base)
    flags = property(lambda self: Flags(self._held))
    data = property(lambda self: Pointer(self._held))
    device = property(lambda self: Place())
    T = property(lambda self: wrap(self._held.T, self))
    real = property(lambda self: wrap(self._held.real, self), lambda self, value: self._part("real", value))
    imag = property(lambda self: wrap(self._held.imag, self), lambda self, value: self._part("imag", value))

    def _part(self, name: str, value: Any) -> None:
        wrap(getattr(self._held, name), self)[...] = value

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = dict(self._held.__array_interface__)
        return {k: interface[k] for k in ("shape", "typestr", "data", "strides")} | {
            "version": 3,
            "stream": 1,
        }

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._held)

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # To the host: refused, or counted.

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """A copy on the host."""
        fetched(self._held)
        if out is None:
            return np.array(self._held, order=order)
        np.copyto(out, self._held)
        return out  # type: ignore[no-any-return]

    def set(self, arr: Any, stream: Any = None) -> None:
        """Elements from a host array of the same shape and type."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        sent(arr)
        np.copyto(self._held, arr)

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        fetched(self._held)
        return self._held.item()

    def tolist(self) -> Any:
        """All elements as Python's."""
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        """All elements as bytes."""
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __copy__(self) -> "ndarray":
        return self.copy()

    def __deepcopy__(self, memo: Any) -> "ndarray":
        return self.copy()

    def __reduce__(self) -> Any:
        import strict_cupy

        return strict_cupy.array, (self.get(order="A"),)

    # NumPy's functions called on it are looked up here, as CuPy does.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        import strict_cupy

        handed = inputs
        if "out" in named:
            if len(named["out"]) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            handed += named["out"]
            named["out"] = named["out"][0]
        if method not in ("__call__", "outer", "at", "reduce", "accumulate", "reduceat"):
            return NotImplemented
        function = getattr(strict_cupy, ufunc.__name__, None)
        function = getattr(function, method, None) if method != "__call__" else function
        if function is None:
            return NotImplemented
        for x in handed:
            if not isinstance(x, (*SCALARS, ndarray, np.ndarray)) and not hasattr(
                x, "__cuda_array_interface__"
            ):
                return NotImplemented
        if ufunc.__name__ in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"):
            inputs = tuple(x.item() if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs)
        return function(*inputs, **named)

    def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        import strict_cupy

        found: Any = strict_cupy
        for part in (*function.__module__.split(".")[1:], function.__name__):
            found = getattr(found, part, None)
        if found is None or found is function or not all(issubclass(t, ndarray | np.ndarray) for t in types):
            return NotImplemented
        return found(*arguments, **named)

    # Parts.

    def __getitem__(self, key: Any) -> "ndarray":
        parts = key if isinstance(key, tuple) else (key,)
        host = tuple(index(part) for part in parts)
        held = self._held
        if any(isinstance(part, np.ndarray | list) for part in host):
            if any(np.asarray(p).dtype == bool for p in host if isinstance(p, np.ndarray | list)):
                waited()  # the size depends on the values
            return carry_out(lambda: held[host])  # type: ignore[no-any-return]
        return wrap(held[(*host, ...)] if ... not in host else held[host], self)

    def __setitem__(self, key: Any, value: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        host = tuple(index(part) for part in parts)
        held = self._held
        if isinstance(value, ndarray):
            source = value._held
        else:  # refused as by ndarray.fill
            source = np.asarray(value, dtype=self.dtype)
            if source.shape:
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        counts.launches += 1

        def write() -> None:
            held[host] = source

        notes = _device.capturing()
        if notes is None:
            with np.errstate(all="ignore"):
                write()
        else:
            notes.append(write)

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> "ndarray":
        """As NumPy's."""
        wanted = shape[0] if len(shape) == 1 else shape
        return seen(self, lambda a: a.reshape(wanted, order=order))

    def transpose(self, *axes: Any) -> "ndarray":
        """As NumPy's."""
        return wrap(self._held.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> "ndarray":
        """As NumPy's."""
        return wrap(self._held.swapaxes(axis1, axis2), self)

    def squeeze(self, axis: Any = None) -> "ndarray":
        """As NumPy's."""
        return wrap(self._held.squeeze(axis), self)

    def ravel(self, order: str = "C") -> "ndarray":
        """As NumPy's."""
        return seen(self, lambda a: a.ravel(order))

    def flatten(self, order: str = "C") -> "ndarray":
        """As NumPy's."""
        held = self._held
        return carry_out(lambda: held.flatten(order))  # type: ignore[no-any-return]

    def view(self, dtype: Any = None) -> "ndarray":
        """As NumPy's; of subclasses there are none here."""
        if isinstance(dtype, type) and issubclass(dtype, np.ndarray):
            raise TypeError("cannot view a device array as a NumPy one")
        return wrap(self._held.view() if dtype is None else self._held.view(dtype), self)

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> "ndarray":
        """As NumPy's."""
        if subok is not None:
            raise TypeError("subok is not supported yet")
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        held = self._held
        return carry_out(lambda: held.astype(dtype), order=order)  # type: ignore[no-any-return]

    def copy(self, order: str = "C") -> "ndarray":
        """As NumPy's."""
        held = self._held
        return carry_out(lambda: held, order=order)  # type: ignore[no-any-return]

    def fill(self, value: Any) -> None:
        """As NumPy's."""
        self[...] = value

    def __neg__(self) -> Any:
        return np.negative(self)

    def __pos__(self) -> Any:
        return np.positive(self)

    def __abs__(self) -> Any:
        return np.absolute(self)

    def __invert__(self) -> Any:
        return np.invert(self)


def index(part: Any) -> Any:
    """One part of an index for NumPy. Host arrays are sent, as CuPy does."""
    if isinstance(part, ndarray):
        return part._held
    if isinstance(part, np.ndarray):
        sent(part)
        return part
    if isinstance(part, list):
        sent(np.asarray(part))
    return part
