"""The functions that `tl` has, ours and NumPy's and PyTorch's, and what to write for names of other libraries."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.methods import CONSTANTS, METHODS
from tinygrad_lesson.engine.op import FUNCTIONS

ELSEWHERE = {  # what other libraries have: what to write
    "autograd": "write tl.grad(y, [x]) or y.backward(); `from tinygrad_lesson import mx` has MXNet's mx.autograd",
    "cat": "write tl.concatenate([a, b], axis=0)",
    "cuda": "write tl.gpu(0)",
    "is_tensor": "write isinstance(x, tl.Tensor)",
    "long": "write tl.int64",
    "randint": "write tl.random.randint(low, high, size)",
    "topk": "write tl.top_k(x, k=3, ret_typ='both')",
    "conv2d": "write tl.convolution(x, weight, bias, pad=1)",
    "device": "write tl.cpu() or tl.gpu(0)",
    "log_sigmoid": "write tl.log_expit(x)",
    "logsigmoid": "write tl.log_expit(x)",
    "entr": "write -tl.xlogy(x, x)",
    "gammasgn": "write tl.sign(tl.gamma(x))",
    "psi": "write tl.digamma(x)",
    "rgamma": "write 1 / tl.gamma(x)",
    "load": "write np.load(file), and tl.Tensor(array) for each of its arrays",
    "max_pool2d": "write tl.pooling(x, 2, 2)",
    "save": "write np.savez(file, **{name: x.numpy() for name, x in parameters.items()})",
}

_told: set[int] = set()  # by id, the functions whose docstring says all


def _complete(function: Any, name: str) -> Any:
    """A function with the docstring that `help` shows: see `eager/documented.py`."""
    if id(function) not in _told:
        _told.add(id(function))
        importlib.import_module("tinygrad_lesson.eager.documented").complete(function, name)
    return function


def function(name: str, known: Callable[[], Sequence[str]]) -> Any:
    """What `tl` has under this name, a function with its docstring.

    Errors
        AttributeError that says what to write, or which of the names that are `known` was meant.
    """
    if name in NAMES and (name not in FUNCTIONS or FUNCTIONS[name].ours):
        return _complete(NAMES[name], name)
    if name in METHODS and not name.startswith("_"):
        return METHODS[name]
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in FUNCTIONS:
        return _complete(getattr(TENSORS, name), name)
    close = difflib.get_close_matches(name, [n for n in known() if not n.startswith("_")], 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    instead = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else meant
    raise AttributeError(f"tinygrad_lesson has no {name!r}{instead}")


def functions() -> set[str]:
    """The names of all of them but PyTorch's."""
    return {*FUNCTIONS, *NAMES, *CONSTANTS}


def family(name: str) -> Any:
    """The module of functions that NumPy has in one, as `np.linalg`."""
    module = importlib.import_module(f"tinygrad_lesson.eager.functions.{name}")
    for inner in module.__all__:
        _complete(getattr(module, inner), f"{name}.{inner}")
    return module
