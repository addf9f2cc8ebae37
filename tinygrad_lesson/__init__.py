"""An autograd engine for learning, teaching and research: eager tensors and MXNet-style symbols.

Every op is a function here: `tl.tanh(x)`, `tl.sum(x, axis=0)`. See `tl.sym` for the symbolic face.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from tinygrad_lesson import errors, graph, operator, ops, random, sym, symbol, tensor
from tinygrad_lesson.arrays import Context, cpu, gpu
from tinygrad_lesson.config import show_config
from tinygrad_lesson.display import Displayed
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.custom import checkpoint, custom_jvp, custom_vjp
from tinygrad_lesson.eager.differential import grad, value_and_grad, vjp
from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.functions.drawing import RANDOM, rand, randn
from tinygrad_lesson.eager.methods import CONSTANTS, METHODS
from tinygrad_lesson.eager.operators import batch_norm, dropout, linear, matmul
from tinygrad_lesson.eager.recording import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.mxnet.custom import custom
from tinygrad_lesson.op import FUNCTIONS, RESERVED, Op, attr, op

if TYPE_CHECKING:
    from tinygrad_lesson import parallel, train
    from tinygrad_lesson.eager.batched import vmap
    from tinygrad_lesson.eager.forward import hessian, hvp, jacobian, jvp
    from tinygrad_lesson.eager.functions import fft, linalg
    from tinygrad_lesson.eager.jit import jit
    from tinygrad_lesson.eager.loops import cond, scan
    from tinygrad_lesson.mxnet.invoked import NDArray
    from tinygrad_lesson.train import FeedForward, History, NDArrayIter, diagnose

__version__ = "0.1.0"
manual_seed = random.seed
vars(random).update(RANDOM)  # which are functions of tensors, and so are declared above that room


# Imported when first used: they bring more than NumPy, or take their time.
LATE = {
    "check": "check",
    "viz": "viz",
    "visualization": "viz",
    "jit": "eager.jit",
    "jvp": "eager.forward",
    "vmap": "eager.batched",
    "scan": "eager.loops",
    "cond": "eager.loops",
    "jacobian": "eager.forward",
    "hessian": "eager.forward",
    "hvp": "eager.forward",
    "show_program": "viz.program",
    "numpy": "numpy",
    "mx": "mx",
    "nn": "nn",
    "optim": "optim",
    "parallel": "parallel",
    "train": "train",
    "FeedForward": "train",
    "NDArray": "mxnet.invoked",
    "History": "train",
    "NDArrayIter": "train",
    "diagnose": "train",
}

ELSEWHERE = {  # what other libraries have: what to write
    "autograd": "write tl.grad(y, [x]) or y.backward(); `from tinygrad_lesson import mx` has MXNet's mx.autograd",
    "jacfwd": "write tl.jacobian(f, x), which takes the shorter way",
    "jacrev": "write tl.jacobian(f, x), which takes the shorter way",
    "linearize": "write lambda v: tl.jvp(f, [x], [v])[1]",
    "remat": "write tl.checkpoint(f)",
    "fori_loop": "write tl.scan(f, state, length=n)",
    "while_loop": "write a loop in Python, or tl.scan with tl.cond in each step",
    "switch": "write tl.cond, one in another",
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


def __getattr__(name: str) -> Any:
    if name in NAMES and (name not in FUNCTIONS or FUNCTIONS[name].ours):
        return _complete(NAMES[name], name)
    if name in METHODS and not name.startswith("_"):
        return METHODS[name]
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in FUNCTIONS:
        return _complete(getattr(TENSORS, name), name)
    if name in ("fft", "linalg"):
        module = importlib.import_module(f"tinygrad_lesson.eager.functions.{name}")
        for inner in module.__all__:
            _complete(getattr(module, inner), f"{name}.{inner}")
        globals()[name] = module
        return module
    if name in LATE:
        module = importlib.import_module(f"tinygrad_lesson.{LATE[name]}")
        globals()[name] = getattr(module, name, module)
        return globals()[name]
    import difflib

    close = difflib.get_close_matches(name, [n for n in __dir__() if not n.startswith("_")], 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    instead = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else meant
    raise AttributeError(f"tinygrad_lesson has no {name!r}{instead}")


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS, *NAMES, *CONSTANTS, *LATE, "fft", "linalg"})


def _painted(x: Any) -> dict[str, str]:
    """What notebooks show of a value: see `viz/notebook.py`."""
    forms: dict[str, str] = importlib.import_module("tinygrad_lesson.viz.notebook").bundle(x)
    return forms


Displayed.painter = staticmethod(_painted)


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

RESERVED.update({module.name: "a module of tinygrad_lesson" for module in pkgutil.iter_modules(__path__)})
RESERVED.update({name: f"tinygrad_lesson.sym.{name}" for name in sym.__all__})
RESERVED.update({name: f"tinygrad_lesson.{name}" for name in (*__all__, *LATE)})
