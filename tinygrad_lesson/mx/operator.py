"""`mx.operator`: operators of one's own, written in NumPy."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.mxnet.operator import CustomOp, CustomOpProp, register
from tinygrad_lesson.mxnet.register import OPERATORS, describe


class OperatorArguments(NamedTuple):
    """What an operator takes: `narg` inputs and attributes, their `names`, and their `types` as texts."""

    narg: int
    names: list[str]
    types: list[str]


def get_all_registered_operators() -> list[str]:
    """The names of MXNet's operators that are here."""
    return sorted(OPERATORS)


def get_operator_arguments(op_name: str) -> OperatorArguments:
    """What the operator called `op_name` takes.

    Errors
        AttributeValueError for a name that is no operator.
    """
    known = OPERATORS.get(op_name)
    if known is None:
        raise AttributeValueError(f"there is no operator {op_name!r}")
    inputs: Any = known.inputs or getattr(known.build, "inputs", ())
    told = dict.fromkeys(inputs, "NDArray-or-Symbol")
    for name, parameter in known.parameters.items():
        optional = (
            ", required"
            if parameter.default is parameter.empty
            else f", optional, default={parameter.default!r}"
        )
        told[name] = describe(parameter.annotation) + optional
    return OperatorArguments(len(told), list(told), list(told.values()))


__all__ = [
    "CustomOp", "CustomOpProp", "OperatorArguments", "get_all_registered_operators", "get_operator_arguments",
    "register",
]  # fmt: skip
