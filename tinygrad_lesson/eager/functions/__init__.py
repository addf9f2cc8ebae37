"""NumPy's functions for tensors, with NumPy's parameters, by family; `TABLE` has them by their names there.

They are also what NumPy's own functions do with a tensor (`np.sin(x)`), and methods where arrays have them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.eager.functions import (
    bits,
    calculus,
    creation,
    diagonals,
    elementwise,
    fft,
    indexing,
    joins,
    linalg,
    moves,
    polynomials,
    products,
    quantiles,
    reductions,
)
from tinygrad_lesson.eager.functions.at import At
from tinygrad_lesson.eager.functions.indexing import put_along_axis
from tinygrad_lesson.eager.functions.linalg import expm
from tinygrad_lesson.eager.functions.networks import NETWORKS
from tinygrad_lesson.eager.functions.table import TABLE
from tinygrad_lesson.eager.functions.windows import WINDOWS
from tinygrad_lesson.eager.protocol import NUMPY
from tinygrad_lesson.eager.tensor import Tensor

NAMES: dict[str, Any] = {name.removeprefix("np."): f for name, f in TABLE.items() if name.count(".") == 1}
del NAMES["concat"]  # ours is MXNet's, along axis 1
NAMES |= {"put_along_axis": put_along_axis, "expm": expm} | creation.CREATION | NETWORKS | WINDOWS
NUMPY.update(TABLE)
METHODS = {  # of NumPy's functions of two numbers: what they are
    "add.reduce": "sum", "multiply.reduce": "prod", "maximum.reduce": "max", "minimum.reduce": "min",
    "logical_and.reduce": "all", "logical_or.reduce": "any", "logaddexp.reduce": "logsumexp",
    "add.accumulate": "cumsum", "multiply.accumulate": "cumprod", "maximum.accumulate": "cummax",
}  # fmt: skip
NUMPY |= {f"np.{method}": NAMES[name] for method, name in METHODS.items()}
NUMPY["np.minimum.accumulate"] = lambda x, axis: -NAMES["cummax"](-x, axis)

KEPT = {
    "compress",
    "sort",
    "partition",
    "resize",
    "copy",
}  # arrays have methods of these names that do something else
for _name, _function in NAMES.items():
    _own = _name in ("reshape", "transpose") or _name in KEPT
    if hasattr(np.ndarray, _name) and not _own:
        setattr(Tensor, _name, _function)
for _name, _function in WINDOWS.items():
    setattr(Tensor, _name, _function)
Tensor.compress = lambda x, condition, axis=None: indexing.compress(condition, x, axis)  # type: ignore[attr-defined]
Tensor.at = property(At, doc="The places of a tensor: `x.at[i].set(value)` is a new one.")  # type: ignore[attr-defined]
Tensor.real = property(elementwise.real)  # type: ignore[attr-defined]
Tensor.imag = property(elementwise.imag)  # type: ignore[attr-defined]
Tensor.mT = property(moves.matrix_transpose)  # type: ignore[attr-defined]

__all__ = [
    "NAMES",
    "TABLE",
    "bits",
    "calculus",
    "creation",
    "diagonals",
    "elementwise",
    "fft",
    "indexing",
    "joins",
    "linalg",
    "moves",
    "polynomials",
    "products",
    "quantiles",
    "reductions",
]
