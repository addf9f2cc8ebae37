"""What the functions of NumPy make of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.arrays import refuse_device, refuse_masked
from tinygrad_lesson.eager.recording import CUT, HERE, RECORDING, looking
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError
from tinygrad_lesson.engine.op import FUNCTIONS

CONSTANT = {f"np.{name}_like" for name in ("zeros", "ones", "empty")} | {
    "np.save",
    "np.savez",
    "np.savetxt",
}
SHAPING = {f"np.{name}" for name in ("broadcast_arrays", "atleast_1d", "atleast_2d")}  # which plotting calls
NUMPY: dict[str, Any] = {}  # "np.sum" -> what it is for tensors; filled by `functions`
INSTEAD = {
    "at": "x.at[i].add(value)", "reduceat": "sums of parts, x[i:j].sum()",
    "reduce": "a loop over x", "accumulate": "a loop over x, and tl.stack",
}  # fmt: skip


class NumpyProtocol:
    """The part of a tensor that NumPy calls."""

    __slots__ = ()
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.seen("np.asarray(x), which np.array and other functions of NumPy call")
        refuse_device(array, "np.asarray(x)")
        return np.array(array, dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:  # type: ignore[override]
        name = f"np.{ufunc.__name__}"
        if named.get("where") is True:
            del named["where"]
        if method == "__call__" and name in NUMPY and "dtype" in named:
            dtype = named.pop("dtype")
            inputs = tuple([NUMPY["np.astype"](x, dtype) for x in inputs])
        if method == "__call__" and name in NUMPY and "out" not in named:
            return NUMPY[name](*inputs, **named)
        if method == "__call__" and not named and all(types.endswith("?") for types in ufunc.types):
            with looking():  # np.isnat and the like: answers
                return ufunc(*[np.asarray(x) for x in inputs])
        if (
            "out" in named
            and not (RECORDING.on and holds_recorded(inputs))
            and not holds_tensor(named["out"])
        ):
            return getattr(ufunc, method)(*bare(inputs), **named)
        if method == "outer" and name in NUMPY and not named:
            return outer(NUMPY[name], *inputs)
        if f"{name}.{method}" in NUMPY and "out" not in named:
            return NUMPY[f"{name}.{method}"](*inputs, **{"axis": 0, **named})
        if "out" not in named and not (RECORDING.on and holds_recorded(inputs)):
            return getattr(ufunc, method)(*bare(inputs), **named)
        if "out" in named:
            raise DTypeError(f"{name} into an array: {CUT.replace(HERE, 'y = f(x), a new tensor')}")
        told = name + ("" if method == "__call__" else f".{method}")
        raise DTypeError(
            f"{told}: a Tensor does not support this ufunc of NumPy; use {INSTEAD.get(method) or instead_of(told)}"
        )

    @property
    def _data(self) -> Any:  # what `np.ma` looks for in an operand, before it takes the bare array
        refuse_masked(np.ma.masked_array(()), "what meets a tensor")

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Any) -> Any:
        name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
        if name in NUMPY:
            return NUMPY[name](*inputs, **named)

        def call() -> Any:
            try:
                return function._implementation(*inputs, **named)
            except AttributeValueError:  # it calls a method that takes more in NumPy, such as x.max(out=None)
                return function._implementation(*bare(inputs), **bare(named))

        given = (inputs[1:], named.get("fill_value")) if name == "np.full_like" else (inputs, named)
        return looked_at(name, given, call)


def outer(function: Any, a: Any, b: Any) -> Any:
    """A function of two numbers, of every element of `a` with every element of `b`."""
    return function(NUMPY["np.reshape"](a, (*np.shape(a), *[1] * np.ndim(b))), b)


def holds_recorded(x: Any) -> bool:
    """Whether there is a recorded tensor in a tensor, or in lists, tuples and dicts of them."""
    if isinstance(x, NumpyProtocol):
        return x.node is not None or x.level is not None
    parts = x.values() if isinstance(x, dict) else x
    return isinstance(x, list | tuple | dict) and any(map(holds_recorded, parts))


def holds_tensor(x: Any) -> bool:
    """Whether one of these is a tensor."""
    return any(isinstance(part, NumpyProtocol) for part in x)


def bare(x: Any) -> Any:
    """Copies of the arrays of tensors, in lists, tuples and dicts too."""
    if isinstance(x, dict):
        return {key: bare(value) for key, value in x.items()}
    return (
        type(x)(map(bare, x))
        if type(x) in (list, tuple)
        else x.numpy()
        if isinstance(x, NumpyProtocol)
        else x
    )


def looked_at(name: str, inputs: Any, call: Any) -> Any:
    """What a function of NumPy gives for tensors, if it does not depend on them smoothly: answers, places, texts.

    Errors
        DTypeError for anything else that it makes of recorded tensors: the gradient would end there.
    """
    inside = RECORDING.looking
    with looking():
        result = call()
    harmless = CONSTANT if RECORDING.deriving else CONSTANT | SHAPING
    ends = RECORDING.on and not inside and name not in harmless
    if ends and holds_recorded(inputs) and holds_floats(result):
        raise DTypeError(f"{name}: {CUT.replace(HERE, instead_of(name))}")
    return result


ABSENT = {  # functions that are not here: what to write
    "eig": "np.linalg.eigh, if the matrix is symmetric (of another one eigenvalues are complex in general)",
    "eigvals": "np.linalg.eigvalsh, if the matrix is symmetric (of another one eigenvalues are complex in general)",
    **dict.fromkeys(
        ("copyto", "put", "place", "putmask", "fill_diagonal"), "x = x.at[i].set(y), which makes a new tensor"
    ),
    "sort_complex": "np.sort of real numbers, or x[places] with places from x.detach()",
}


def instead_of(name: str) -> str:
    """What to write here in the place of a function of NumPy."""
    name = name.rpartition(".")[2]
    if name in ABSENT:
        return ABSENT[name]
    there = f"np.{name}" in NUMPY or (name in FUNCTIONS and FUNCTIONS[name].differentiable)
    return f"tl.{name}" if there else HERE


def holds_floats(x: Any) -> bool:
    """Whether there are floats in what a function of NumPy gave, or it gave nothing and wrote somewhere."""
    if isinstance(x, list | tuple):
        return any(map(holds_floats, x))
    return x is None or (
        not isinstance(x, np.dtype)
        and not isinstance(x, NumpyProtocol | str)
        and np.asarray(x).dtype.kind in "fcO"
    )
