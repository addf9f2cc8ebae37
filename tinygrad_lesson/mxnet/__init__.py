"""The symbolic face: MXNet 1.x's `mx.sym`. Every operator of the catalog is a function here."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from tinygrad_lesson.mxnet import catalog
from tinygrad_lesson.mxnet.functions import (
    Group,
    Variable,
    _internal,
    arange,
    eye,
    full,
    group,
    histogram,
    hypot,
    image,
    linalg,
    linspace,
    load,
    load_json,
    maximum,
    minimum,
    ones,
    op,
    operator_function,
    pow,
    power,
    random,
    sparse,
    split_v2,
    var,
    variable,
    zeros,
)
from tinygrad_lesson.mxnet.naming import AttrScope, NameManager, Prefix
from tinygrad_lesson.mxnet.register import offered_names, operator
from tinygrad_lesson.mxnet.symbol import Symbol

LATE = {"from_tensor": "recorded", "contrib": "looped"}  # imported when it is first used


def __getattr__(name: str) -> Callable[..., Symbol]:
    if name in LATE:
        function: Callable[..., Symbol] = getattr(
            importlib.import_module(f"tinygrad_lesson.mxnet.{LATE[name]}"), name
        )
    else:
        function = operator_function(name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *LATE, *offered_names()})


__all__ = [
    "AttrScope", "Group", "NameManager", "Prefix", "Symbol", "Variable", "_internal", "arange", "catalog", "contrib",
    "eye", "full", "group", "histogram", "hypot", "image", "linalg", "linspace", "load", "load_json", "maximum",
    "minimum", "ones", "op", "operator", "pow", "power", "random", "sparse", "split_v2", "var", "variable", "zeros",
]  # fmt: skip
