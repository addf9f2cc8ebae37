"""An autograd engine for learning, teaching and research: eager tensors and MXNet-style symbols.

Every op is a function here: `tl.tanh(x)`, `tl.sum(x, axis=0)`. See `tl.sym` for the symbolic face.
"""

import importlib
from typing import Any

from tinygrad_lesson import ops, random, symbol, train
from tinygrad_lesson import symbol as sym
from tinygrad_lesson.arrays import Context, NDArray, cpu, gpu
from tinygrad_lesson.config import show_config
from tinygrad_lesson.differential import grad, hessian, jacobian, jvp, value_and_grad, vjp
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.jit import jit
from tinygrad_lesson.op import FUNCTIONS, Op, attr, op
from tinygrad_lesson.tensor import TENSORS, Tensor, batch_norm, dropout, linear, matmul, no_grad
from tinygrad_lesson.train import FeedForward, History, NDArrayIter

__version__ = "0.1.0"


LATER = ("check",)  # parts that are imported when they are first used


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return getattr(TENSORS, name)
    if name in LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"tinygrad_lesson has no {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS, *LATER})


__all__ = [
    "Context", "FeedForward", "History", "LessonError", "NDArray", "NDArrayIter", "Op", "Tensor", "attr", "batch_norm", "cpu", "dropout", "gpu", "grad",  # noqa: E501
    "hessian", "jacobian", "jit", "jvp", "linear", "matmul", "no_grad", "op", "ops", "random", "show_config", "sym", "symbol",  # noqa: E501
    "train", "value_and_grad", "vjp",
]  # fmt: skip
