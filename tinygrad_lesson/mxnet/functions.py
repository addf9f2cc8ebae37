"""Functions of symbols that are no single operator."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.files import as_path, plain, read_text
from tinygrad_lesson.mxnet import serial
from tinygrad_lesson.mxnet.register import find
from tinygrad_lesson.mxnet.symbol import Symbol, apply, binary, group, variable

Variable = var = variable
Group = group


def load_json(text: str, where: str = "the JSON text") -> Symbol:
    """The symbol that `Symbol.tojson` or MXNet wrote.

    Errors
        FormatError naming the node that is wrong, and `where` it is.
    """
    return Symbol(serial.from_json(text, where))


def load(path: str | os.PathLike[str]) -> Symbol:
    """The symbol in a JSON file.

    Errors
        FileError if the file cannot be read; FormatError naming the node that is wrong.
    """
    return load_json(read_text(path), plain(as_path(path)))


def maximum(left: Any, right: Any) -> Symbol:
    """The larger of two symbols, or of a symbol and a number."""
    return binary("_Maximum", left, right)


def minimum(left: Any, right: Any) -> Symbol:
    """The smaller of two symbols, or of a symbol and a number."""
    return binary("_Minimum", left, right)


def pow(base: Any, exp: Any) -> Symbol:
    """`base` to the power `exp`; one of them may be a number."""
    return binary("_Power", base, exp)


power = pow


def hypot(left: Any, right: Any) -> Symbol:
    """The length of vectors of two components; one of them may be a number."""
    return binary("_Hypot", left, right)


def zeros(shape: Any, dtype: str | None = None, **more: Any) -> Symbol:
    """An array of zeros."""
    return apply("_zeros", shape=as_shape(shape), dtype=dtype or "float32", **more)


def ones(shape: Any, dtype: str | None = None, **more: Any) -> Symbol:
    """An array of ones."""
    return apply("_ones", shape=as_shape(shape), dtype=dtype or "float32", **more)


def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape from a tuple or one size.

    Errors
        DTypeError for anything else.
    """
    if isinstance(shape, Sequence) and all(isinstance(n, int) for n in shape):
        return tuple(shape)
    if isinstance(shape, int):
        return (shape,)
    raise DTypeError(f"shape is {shape!r}, expected a tuple of sizes")


def operator_function(name: str) -> Callable[..., Symbol]:
    """The operator called `name` as a function of symbols.

    Errors
        AttributeError if there is none.
    """
    known = find(name)
    if known is None:
        raise AttributeError(f"there is no operator {name!r}")

    def function(*inputs: Any, name: str | None = None, attr: Any = None, **named: Any) -> Symbol:
        return apply(mxnet_op, *inputs, name=name, attr=attr, **named)

    mxnet_op = name
    function.__name__ = name
    function.__doc__ = known.build.__doc__
    return function


__all__ = [
    "Group", "Variable", "group", "hypot", "load", "load_json", "maximum", "minimum", "ones", "pow", "power", "var",
    "variable", "zeros",
]  # fmt: skip
