"""An autograd engine for learning, teaching and research: eager tensors and MXNet-style symbols.

Every op is a function here: `tl.tanh(x)`, `tl.sum(x, axis=0)`. See `tl.sym` for the symbolic face.

What an op is, devices and generators are imported at once; all else when it is first used.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import TYPE_CHECKING, Any

from tinygrad_lesson import errors, random
from tinygrad_lesson.arrays import Context, cpu, gpu
from tinygrad_lesson.display import Displayed
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.op import FUNCTIONS, NAMESPACES, OPS, RESERVED, Op, attr, op

if TYPE_CHECKING:
    from tinygrad_lesson import check, graph, operator, ops, parallel, sym, symbol, tensor, train
    from tinygrad_lesson.config import show_config
    from tinygrad_lesson.eager.batched import vmap
    from tinygrad_lesson.eager.custom import checkpoint, custom_jvp, custom_vjp
    from tinygrad_lesson.eager.differential import grad, value_and_grad, vjp
    from tinygrad_lesson.eager.forward import hessian, hvp, jacobian, jvp
    from tinygrad_lesson.eager.functions import fft, linalg
    from tinygrad_lesson.eager.functions.drawing import rand, randn
    from tinygrad_lesson.eager.jit import jit
    from tinygrad_lesson.eager.loops import cond, scan
    from tinygrad_lesson.eager.operators import batch_norm, dropout, linear, matmul
    from tinygrad_lesson.eager.recording import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
    from tinygrad_lesson.eager.tensor import Tensor
    from tinygrad_lesson.mxnet.custom import custom
    from tinygrad_lesson.mxnet.invoked import NDArray
    from tinygrad_lesson.train import FeedForward, History, NDArrayIter, diagnose

__version__ = "0.1.0"
manual_seed = random.seed


LATE = {  # where it is: what is imported when it is first used
    "": "arrays check cli config devices eager engine fields files graph interop lesson locks mx mxnet nn numpy "
    "operator ops optim parallel philox plan run subjects sym symbol tensor train viz",
    "config": "show_config",
    "eager.batched": "vmap",
    "eager.custom": "checkpoint custom_jvp custom_vjp",
    "eager.differential": "grad value_and_grad vjp",
    "eager.forward": "hessian hvp jacobian jvp",
    "eager.functions.drawing": "rand randn",
    "eager.jit": "jit",
    "eager.loops": "cond scan",
    "eager.operators": "batch_norm dropout linear matmul",
    "eager.recording": "enable_grad is_grad_enabled no_grad set_grad_enabled",
    "eager.tensor": "Tensor",
    "mxnet.custom": "custom",
    "mxnet.invoked": "NDArray",
    "train": "FeedForward History NDArrayIter diagnose",
    "viz": "visualization",
    "viz.program": "show_program",
}
_PLACES = {name: place for place, names in LATE.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        place = f"tinygrad_lesson.{_PLACES[name] or name}"
        found = importlib.import_module(place)
        globals()[name] = found = getattr(found, name, found) if _PLACES[name] else found
        return found
    found = _names().family(name) if name in ("fft", "linalg") else _names().function(name, __dir__)
    if name not in FUNCTIONS or FUNCTIONS[name].ours:  # which is forgotten when an op takes this name
        globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*_AT_ONCE, *_PLACES, *_names().functions(), "fft", "linalg"})


@functools.cache
def _names() -> Any:
    return importlib.import_module("tinygrad_lesson.eager.names")


def _painted(x: Any) -> dict[str, str]:
    """What notebooks show of a value: see `viz/notebook.py`."""
    forms: dict[str, str] = importlib.import_module("tinygrad_lesson.viz.notebook").bundle(x)
    return forms


def _declare() -> None:
    """Ours, all of them."""
    importlib.import_module("tinygrad_lesson.ops")


def _reserve() -> None:
    """The names that a user's op may not take."""
    sym, modules = (importlib.import_module(name) for name in ("tinygrad_lesson.sym", "pkgutil"))
    RESERVED.update({name: f"tinygrad_lesson.sym.{name}" for name in sym.__all__})
    RESERVED.update({name: f"tinygrad_lesson.{name}" for name in (*__all__, *_PLACES)})
    RESERVED.update({m.name: "a module of tinygrad_lesson" for m in modules.iter_modules(__path__)})


NAMESPACES.add(sys.modules[__name__])
Displayed.painter = staticmethod(_painted)
OPS.fill = FUNCTIONS.fill = _declare
RESERVED.fill = _reserve


__all__ = [
    "Context",
    "FeedForward",
    "History",
    "LessonError",
    "NDArray",
    "NDArrayIter",
    "Op",
    "Tensor",
    "attr",
    "batch_norm",
    "check",
    "checkpoint",
    "cond",
    "cpu",
    "custom",
    "custom_jvp",
    "custom_vjp",
    "diagnose",
    "dropout",
    "enable_grad",
    "errors",
    "fft",
    "gpu",
    "grad",
    "graph",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jit",
    "jvp",
    "linalg",
    "linear",
    "manual_seed",
    "matmul",
    "no_grad",
    "op",
    "operator",
    "ops",
    "parallel",
    "rand",
    "randn",
    "random",
    "scan",
    "set_grad_enabled",
    "show_config",
    "sym",
    "symbol",
    "tensor",
    "train",
    "value_and_grad",
    "vjp",
    "vmap",
]  # fmt: skip

_AT_ONCE = tuple(globals())  # what is kept beside these has been asked for, and may be PyTorch's name
