"""`mx.operator`: operators of one's own, written in NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.mxnet.operator import CustomOp, CustomOpProp, register
from tinygrad_lesson.mxnet.register import OPERATORS, describe
from tinygrad_lesson.mxnet.symbol import Symbol, apply


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


class PythonOp:
    """An operator as MXNet had it before `CustomOp`: one object says its names and shapes, and computes.

    Called with symbols it gives a symbol. With ``need_top_grad=False`` the gradient begins here, as in a loss.

    Source
        MXNet 1.9, ``mx.operator.PythonOp``.
    """

    handed: Callable[[Any], Any] = staticmethod(lambda x: x)  # what `forward` and `backward` get of an array

    def __init__(self, need_top_grad: bool = True) -> None:
        self.need_top_grad_ = need_top_grad

    def __call__(self, *args: Any, **kwargs: Any) -> Symbol:
        """As `get_symbol`."""
        return self.get_symbol(*args, **kwargs)

    def get_symbol(self, *args: Any, **kwargs: Any) -> Symbol:
        """The operator of symbols, in order or by name; `name` is that of the node."""
        op_type = f"{type(self).__name__.lower()}{next(COUNTED)}"
        register(op_type)(type("PropOfPythonOp", (PropOfPythonOp,), {"whole": self}))
        return apply("Custom", *args, op_type=op_type, **kwargs)

    def forward(self, in_data: Sequence[Any], out_data: Sequence[Any]) -> None:
        """Write the outputs: unless told otherwise the first input."""
        out_data[0][:] = in_data[0]

    def backward(
        self, out_grad: Sequence[Any], in_data: Sequence[Any], out_data: Sequence[Any], in_grad: Sequence[Any]
    ) -> None:
        """Write the gradients by the inputs: unless told otherwise ones."""
        in_grad[0][:] = 1.0

    def infer_shape(self, in_shape: list[Any]) -> tuple[list[Any], list[Any]]:
        """Shapes of inputs and outputs."""
        return in_shape, [in_shape[0]]

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return ["output"]

    def list_arguments(self) -> list[str]:
        """Names of the inputs."""
        return ["data"]

    def need_top_grad(self) -> bool:
        """Whether `backward` reads `out_grad`."""
        return self.need_top_grad_


class NumpyOp(PythonOp):
    """A `PythonOp` that is handed NumPy's arrays."""

    handed = staticmethod(np.asarray)


class NDArrayOp(PythonOp):
    """A `PythonOp` that is handed NDArrays."""

    def declare_backward_dependency(
        self, out_grad: Sequence[int], in_data: Sequence[int], out_data: Sequence[int]
    ) -> list[int]:
        """Which of the numbered arrays `backward` reads; here it counts whether `out_grad` is among them."""
        return [*(out_grad if self.need_top_grad() else ()), *in_data, *out_data]


COUNTED = itertools.count()


class PropOfPythonOp(CustomOpProp):
    """What a `PythonOp` says of itself."""

    whole: PythonOp

    def list_arguments(self) -> list[str]:
        """As the operator says."""
        return self.whole.list_arguments()

    def list_outputs(self) -> list[str]:
        """As the operator says."""
        return self.whole.list_outputs()

    def infer_shape(self, in_shape: list[Any]) -> Any:
        """As the operator says."""
        return self.whole.infer_shape(in_shape)

    def declare_backward_dependency(self, *numbers: Any) -> list[int]:
        """As the operator says, or by `need_top_grad`."""
        if isinstance(self.whole, NDArrayOp):
            return self.whole.declare_backward_dependency(*numbers)
        out_grad, in_data, out_data = numbers
        return [*(out_grad if self.whole.need_top_grad() else ()), *in_data, *out_data]

    def create_operator(self, *_: Any) -> CustomOp:
        """The operator, as one that is handed more."""
        return WorkOfPythonOp(self.whole)


class WorkOfPythonOp(CustomOp):
    """What a `PythonOp` computes."""

    def __init__(self, whole: PythonOp) -> None:
        self.whole = whole

    def lists(self, *parts: Any) -> list[list[Any]]:
        """Arrays as the operator wants them."""
        return [[self.whole.handed(x) for x in part] for part in parts]

    def forward(self, is_train: bool, req: Any, in_data: Any, out_data: Any, aux: Any) -> None:
        """Call the operator's."""
        self.whole.forward(*self.lists(in_data, out_data))

    def backward(self, req: Any, out_grad: Any, in_data: Any, out_data: Any, in_grad: Any, aux: Any) -> None:
        """Call the operator's; it gets no `out_grad` if it reads none."""
        above = out_grad if self.whole.need_top_grad() else ()
        self.whole.backward(*self.lists(above, in_data, out_data, in_grad))


__all__ = [
    "CustomOp", "CustomOpProp", "NDArrayOp", "NumpyOp", "OperatorArguments", "PythonOp",
    "get_all_registered_operators", "get_operator_arguments", "register",
]  # fmt: skip
