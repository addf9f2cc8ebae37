"""The symbolic face: MXNet 1.x's `mx.sym`. Every operator of the catalog is a function here."""

from collections.abc import Callable

from tinygrad_lesson.mxnet import catalog
from tinygrad_lesson.mxnet.functions import (
    Group,
    Variable,
    group,
    hypot,
    load,
    load_json,
    maximum,
    minimum,
    ones,
    operator_function,
    pow,
    power,
    var,
    variable,
    zeros,
)
from tinygrad_lesson.mxnet.naming import AttrScope, NameManager, Prefix
from tinygrad_lesson.mxnet.recorded import from_tensor
from tinygrad_lesson.mxnet.register import OPERATORS, operator
from tinygrad_lesson.mxnet.symbol import Symbol


def __getattr__(name: str) -> Callable[..., Symbol]:
    function = operator_function(name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *OPERATORS})


__all__ = [
    "AttrScope", "Group", "NameManager", "Prefix", "Symbol", "Variable", "catalog", "from_tensor", "group",
    "hypot", "load", "load_json", "maximum", "minimum", "ones", "operator", "pow", "power", "var", "variable", "zeros",
]  # fmt: skip
