"""Arrays that are bound: how they lie and are handed out. What is given for one is copied into it, or refused."""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.arrays import (
    MODULES,
    Context,
    aligned_zeros,
    assign,
    is_array,
    module_of,
    on_host,
    read_only_memory,
    real,
    zeros_at,
)
from tinygrad_lesson.engine.errors import (
    ArgumentError,
    BindError,
    DeviceError,
    DTypeError,
    ShapeError,
    near,
    shown,
)
from tinygrad_lesson.engine.shapes import Shape, is_complete, show, size_of

if TYPE_CHECKING:
    from tinygrad_lesson.mxnet.ndarray import NDArray


def as_ndarray(array: np.ndarray) -> NDArray:
    """The same memory as MXNet's kind of array, which is imported when the first one is handed out."""
    made: NDArray = importlib.import_module("tinygrad_lesson.mxnet.invoked").as_ndarray(array)
    return made


def as_output(array: np.ndarray) -> NDArray:
    """The same memory, to be read, as an output of an executor."""
    made: NDArray = importlib.import_module("tinygrad_lesson.mxnet.ndarray").as_output(array)
    return made


def in_place(x: Any) -> np.ndarray:
    """The elements of an array, MXNet's or NumPy's, where they lie, to be written to."""
    return x.memory() if hasattr(x, "memory") else x  # type: ignore[no-any-return]


def elements_of(x: Any) -> Any:
    """The elements of an array, MXNet's or another, where they lie."""
    if x.__class__ is np.ndarray:
        return x
    array = x.tensor.array if hasattr(x, "tensor") else x
    return array if array.__class__ in MODULES else np.asarray(x)


def check_shape(array: np.ndarray, value: Any, what: str) -> None:
    """Refuse a value of another shape than the array it goes to."""
    if (value.shape if is_array(value) else np.shape(value)) != array.shape:
        raise ShapeError(f"{what} is {show(np.shape(value))}, expected {show(array.shape)}")


class Named(dict[str, Any]):
    """Arrays by name: what is put under a name is copied into its array, all or none; names neither come nor go."""

    def __init__(self, arrays: Mapping[str, Any], what: str) -> None:
        super().__init__(arrays)
        self.what = what

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *given: Any, **named: Any) -> None:  # type: ignore[override]
        """Copy values into the arrays of these names.

        Errors
            BindError for a name that has no array; ShapeError for a value of another shape.
        """
        values = dict(*given, **named)
        for name in values:
            if self.get(name) is None:
                known = [n for n, array in self.items() if array is not None]
                raise BindError(f"{self.what}: there is no array for {name!r}; {near(str(name), known)}")
        assign_all((self[name], value, f"{self.what}[{name!r}]") for name, value in values.items())

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def refuse(self, *_: Any, **__: Any) -> Any:
        """What would change the names."""
        raise BindError(f"{self.what}: its names are those of the symbol and stay; write into its arrays")

    __delitem__ = pop = popitem = clear = setdefault = refuse

    def __reduce__(self) -> Any:  # for copy and pickle
        return dict, (dict(self),)


class Listed(list[Any]):
    """Arrays in order: what is put in a place is copied into its array; their number stays."""

    def __setitem__(self, place: Any, value: Any) -> None:
        arrays = self[place] if isinstance(place, slice) else [self[place]]
        values = list(value) if isinstance(place, slice) else [value]
        if len(arrays) != len(values) or any(array is None for array in arrays):
            raise BindError(f"{len(values)} arrays for {len(arrays)} places, or for one without an array")
        assign_all((array, v, f"array {i}") for i, (array, v) in enumerate(zip(arrays, values, strict=True)))

    def refuse(self, *_: Any, **__: Any) -> Any:
        """What would change their number or order."""
        raise BindError("an executor's arrays stay what they are; write into them, or take list(...) first")

    __delitem__ = __iadd__ = __imul__ = append = extend = insert = pop = remove = clear = sort = reverse = (
        refuse
    )

    def __reduce__(self) -> Any:  # for copy and pickle
        return list, (list(self),)


class Bound:
    """The arrays of a graph, as they are handed out: by name and in order."""

    arguments: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    states: dict[str, np.ndarray]
    pinned: dict[str, float]  # arguments that an op holds at a number
    output_names: list[str]
    context: Context
    outputs_now: list[np.ndarray]
    listed: list[Any]  # these as they are handed out, once they are

    @property
    def arg_dict(self) -> dict[str, NDArray]:
        """Arguments by name. What is put under a name is copied into its array, here and in the others."""
        return self.handed[0]

    @property
    def grad_dict(self) -> dict[str, NDArray | None]:
        """Gradients by argument; None where none is wanted."""
        return self.handed[1]

    @property
    def aux_dict(self) -> dict[str, NDArray]:
        """Auxiliary states by name."""
        return self.handed[2]

    @cached_property
    def handed(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Arguments, gradients and states as they are handed out."""

        def named(arrays: Mapping[str, Any], what: str) -> dict[str, Any]:
            return Named({n: None if a is None else as_ndarray(a) for n, a in arrays.items()}, what)

        wanted = {name: self.gradients.get(name) for name in self.arguments}
        return named(self.arguments, "arg_dict"), named(wanted, "grad_dict"), named(self.states, "aux_dict")

    @property
    def output_dict(self) -> dict[str, NDArray]:
        """Outputs by name."""
        return Named(dict(zip(self.output_names, self.outputs, strict=True)), "output_dict")

    @property
    def arg_arrays(self) -> list[NDArray]:
        """Arguments in order."""
        return Listed(self.arg_dict.values())

    @property
    def grad_arrays(self) -> list[NDArray | None]:
        """Gradients in the order of the arguments."""
        return Listed(self.grad_dict.values())

    @property
    def _ctx(self) -> Context:
        """The device, as MXNet's own tests ask for it."""
        return self.context

    @property
    def aux_arrays(self) -> list[NDArray]:
        """Auxiliary states in order."""
        return Listed(self.aux_dict.values())

    @property
    def outputs(self) -> list[NDArray]:
        """Results of the last forward run: the same arrays each time, which the next run overwrites.

        What is written to one stays with it until then; the executor goes on from what it has computed.
        """
        if not self.listed:
            self.listed = Listed(map(as_output, self.outputs_now))
        return self.listed

    def pin(self) -> None:
        """Write the numbers at which ops hold arguments, whatever an optimizer made of them."""
        for name, value in self.pinned.items():
            self.arguments[name][...] = value

    def take(self, arguments: Mapping[str, Any]) -> None:
        """Copy `arguments` into their arrays, all or none."""
        for name, value in arguments.items():
            if name not in self.arguments:
                raise ArgumentError(f"forward: {name!r} is no argument; {near(name, self.arguments)}")
            what = f"forward: argument {name!r}"
            given = (value if isinstance(value, np.ndarray) else numbers_there(value, what)).shape
            if given != self.arguments[name].shape:
                raise ShapeError(
                    f"{what} is {show(given)}, expected {show(self.arguments[name].shape)} as it was bound; "
                    f"reshape({shown(name)}={show(given)}) makes an executor for it"
                )
        assign_all((self.arguments[name], x, f"forward: argument {name!r}") for name, x in arguments.items())


class Flat:
    """Named arrays side by side in one buffer per element type, each a view of it."""

    def __init__(self, specs: Sequence[tuple[str, Shape, Any]], place: Context = Context()) -> None:
        self.segments: dict[str, slice] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.buffers: dict[np.dtype[Any], np.ndarray] = {}
        sizes: dict[Any, int] = {}
        for name, shape, dtype in specs:
            start = sizes.get(np.dtype(dtype), 0)
            self.segments[name] = slice(start, start + math.prod(shape))  # type: ignore[arg-type]
            sizes[np.dtype(dtype)] = self.segments[name].stop
        on_cpu = place.on_host  # where a vector begins at a cache line
        self.buffers = {
            dtype: aligned_zeros(size, dtype) if on_cpu else zeros_at(place, size, dtype)
            for dtype, size in sizes.items()
        }
        for name, shape, dtype in specs:
            self.arrays[name] = self.buffers[np.dtype(dtype)][self.segments[name]].reshape(shape)

    def move(self, buffer: np.ndarray) -> None:
        """Lie in other memory, of one element type, with the numbers that are there."""
        self.buffers = {buffer.dtype: buffer}
        for name, array in self.arrays.items():
            self.arrays[name] = buffer[self.segments[name]].reshape(array.shape)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No search for cycles inside: a graph has none, and the search takes as long as compiling it."""
    before = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if before:
            gc.enable()


@contextlib.contextmanager
def room_for_arrays(caller: str) -> Iterator[None]:
    """One clear line where arrays inside are larger than memory, or than an array can be."""
    try:
        yield
    except (MemoryError, ValueError) as error:
        told = str(error)
        if not (isinstance(error, MemoryError) or "too big" in told or "allowed dimension" in told):
            raise
        raise BindError(f"{caller}: there is no room for the arrays: {error}") from None


def assign_all(copies: Iterable[tuple[np.ndarray, Any, str]]) -> None:
    """Copy values into arrays of the same shapes, all or none: (array, value, what it is) for each.

    Errors
        ShapeError for another shape, DTypeError for what is no number, BindError for an array that
        cannot be written; then none has changed.
    """
    checked = []
    for place, value, what in copies:
        array = elements_of(place)
        value = numbers_there(value, what)
        check_shape(array, value, what)
        if read_only_memory(array):
            raise BindError(
                f"{what} goes to an array that is read-only, as outputs are; asnumpy() gives a copy"
            )
        checked.append((array, value.astype(array.dtype, copy=False)))
    for array, value in checked:
        assign(array, value)


def as_numbers(value: Any, what: str) -> np.ndarray:
    """`value` as a NumPy array; what lies on a device is copied.

    Errors
        ShapeError for lists of different lengths, DTypeError for what is no real number.
    """
    return on_host(numbers_there(value, what))  # type: ignore[no-any-return]


def numbers_there(value: Any, what: str, dtype: Any = None) -> Any:
    """`value` as an array, where it lies.

    Errors
        ShapeError for lists of different lengths, DTypeError for what is no real number.
    """
    if value.__class__ is np.ndarray and value.dtype.kind in "fiub":
        return value if dtype is None else value.astype(dtype)
    try:
        array = real(elements_of(value) if hasattr(value, "tensor") else value, what)
    except ValueError as error:
        raise ShapeError(f"{what} is no array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{what} has elements of type {array.dtype}, expected real numbers")
    return array if dtype is None else array.astype(dtype)


def resize(
    parts: Sequence[dict[str, np.ndarray]], wanted: Mapping[str, Any], named: Iterable[str], larger: bool
) -> None:
    """Give the arrays of these names other shapes, in the same memory: arguments, gradients and states.

    Errors
        BindError for a change of an array that is not `named`, and for one that grows unless `larger`.
    """
    named = set(named)
    for name, new in wanted.items():
        old = next(part[name] for part in parts if name in part)
        if new is None or not is_complete(new) or new == old.shape:
            continue
        change = f"reshape: {name!r} would change from {show(old.shape)} to {show(new)}"
        if name not in named:
            raise BindError(f"{change}; name it, or pass partial_shaping=True")
        if size_of(new) > old.size and not larger:  # type: ignore[operator]
            raise BindError(f"{change}, which is larger; pass allow_up_sizing=True")
        for part in (part for part in parts if name in part):
            part[name] = first_of(part[name], new)


def first_of(array: Any, shape: Any) -> Any:
    """An array of this shape over the first elements of another; of zeros if there are too few."""
    size = math.prod(shape)
    zeros = module_of(array).zeros
    return array.reshape(-1)[:size].reshape(shape) if size <= array.size else zeros(shape, array.dtype)


def check_devices(context: Context, *arrays: Mapping[str, Any]) -> None:
    """Refuse arrays that lie elsewhere than the executor is bound.

    Errors
        DeviceError that names one, and both devices.
    """
    if MODULES:
        devices: Any = importlib.import_module("tinygrad_lesson.devices")
        for part in arrays:
            for name, x in part.items():
                if devices.device_of(x) != context:
                    told = f"bind: {name!r} is on {devices.device_of(x)}, the executor on {context}"
                    raise DeviceError(f"{told}; write x.as_in_context({context}) for it")
