"""Python's operators as MXNet spells them, for symbols and for arrays; and how a call tells inputs from attributes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from tinygrad_lesson.mxnet.register import Operator

REVERSED = ("_Minus", "_Div", "_Power", "_Mod")  # those that are others from the right


class Spelled:
    """Python's operators, for a class that says in `operate(operator, a, b)` what one of them gives."""

    __slots__ = ()

    def operate(self, mxnet_op: str, a: Any, b: Any) -> Any:
        """What the operator gives of two operands, one of which may be a number."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Any:
        return self.operate("_Plus", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self.operate("_Minus", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.operate("_Minus", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.operate("_Mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self.operate("_Div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.operate("_Div", other, self)

    def __mod__(self, other: Any) -> Any:
        return self.operate("_Mod", self, other)

    def __rmod__(self, other: Any) -> Any:
        return self.operate("_Mod", other, self)

    def __pow__(self, other: Any) -> Any:
        return self.operate("_Power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.operate("_Power", other, self)

    def __neg__(self) -> Any:
        return self.operate("_Mul", self, -1.0)

    def __eq__(self, other: object) -> Any:
        return self.operate("_equal", self, other)

    def __ne__(self, other: object) -> Any:
        return self.operate("_not_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.operate("_greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.operate("_greater_equal", self, other)

    def __lt__(self, other: Any) -> Any:
        return self.operate("_lesser", self, other)

    def __le__(self, other: Any) -> Any:
        return self.operate("_lesser_equal", self, other)

    __hash__ = object.__hash__


def is_number(x: Any) -> bool:
    """Whether it is a number that an operator takes beside an array."""
    return isinstance(x, Real | np.number) and not isinstance(x, bool)


def with_number(mxnet_op: str, number: Any, reverse: bool) -> tuple[str, Any]:
    """What MXNet calls an operator of something and a number, or of a number and something; and the number."""
    number = number.item() if isinstance(number, np.number) else number
    if not mxnet_op[1].isupper():
        return f"{mxnet_op}_scalar", number
    return (f"_R{mxnet_op[1:]}Scalar" if reverse and mxnet_op in REVERSED else f"{mxnet_op}Scalar"), number


def told_apart(
    known: Operator, positional: Sequence[Any], named: dict[str, Any], kind: type[Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """A call's inputs by position and by name, which are of this kind, and its attributes."""
    if len(positional) == 1 and isinstance(positional[0], list | tuple):
        positional = tuple(positional[0])
    positional, by_position = known.by_position(positional, named)
    named |= by_position
    inputs = {key: value for key, value in named.items() if isinstance(value, kind)}
    if isinstance(named.get("data"), list | tuple):  # MXNet's R spelling of concat
        positional = tuple(named.pop("data"))
    given = {k: v for k, v in named.items() if k not in inputs and (v is not None or known.means_none(k))}
    if isinstance(given.get("dtype"), type | np.dtype):
        given["dtype"] = np.dtype(given["dtype"]).name
    return positional, inputs, given
