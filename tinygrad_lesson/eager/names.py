"""The functions that `tl` has, ours and NumPy's and PyTorch's, and what to write for names of other libraries."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.arrays import Context
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.functions.drawing import RANDOM, rand, randn
from tinygrad_lesson.eager.functions.table import tensor
from tinygrad_lesson.eager.methods import ALIKE, CONSTANTS, METHODS, in_words_of_torch
from tinygrad_lesson.eager.pytorch import UNLIKE
from tinygrad_lesson.eager.recording import set_grad_enabled
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.op import FUNCTIONS

FORWARD = "tinygrad_lesson.eager.forward"
TORCH: dict[str, Callable[..., Any]] = {  # PyTorch's functions, each a line over what there is
    "cat": lambda tensors, dim=0: NAMES["concatenate"](tensors, dim),
    "as_tensor": lambda data, dtype=None: (
        data if isinstance(data, Tensor) and dtype is None else Tensor(data, dtype=dtype)
    ),
    "is_tensor": lambda x: isinstance(x, Tensor),
    "conv2d": lambda x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: NAMES["convolution"](
        x, weight, bias, stride=stride, pad=padding, dilate=dilation, num_group=groups
    ),
    "max_pool2d": lambda x, kernel_size, stride=None, padding=0: NAMES["pooling"](
        x, kernel_size, kernel_size if stride is None else stride, padding
    ),
    "device": lambda name: Context.parse(str(name).replace("cuda", "gpu")),
    "normal": lambda mean=0.0, std=1.0, size=None: RANDOM["normal"](mean, std, size),
    "rand_like": lambda x: rand(*x.shape).astype(x.dtype),
    "randn_like": lambda x: randn(*x.shape).astype(x.dtype),
    "randint": lambda *bounds: RANDOM["randint"](*((0, *bounds) if len(bounds) == 2 else bounds)),
    "jacfwd": lambda f, argnums=0: importlib.import_module(FORWARD).jacobian(f, argnums=argnums),
    "jacrev": lambda f, argnums=0: importlib.import_module(FORWARD).jacobian(f, argnums=argnums),
    "broadcast_tensors": lambda *tensors: NAMES["broadcast_arrays"](*tensors),
    "inference_mode": lambda mode=True: set_grad_enabled(not mode),
    "bernoulli": lambda p: tensor(p).bernoulli(),
    "randperm": lambda n: RANDOM["permutation"](n),
}
CALLED_ALIKE = "linspace", "logspace", "stack", "cross"  # which tensors do not have as methods, or otherwise
ORDER_FIRST = ("polygamma",)  # in SciPy and PyTorch, where ours begins with the place
LENGTHS = "norm", "vector_norm", "matrix_norm"  # of `tl.linalg`, which PyTorch calls with `dim`
ELSEWHERE = {  # what other libraries have: what to write
    "autograd": "write tl.grad(y, [x]) or y.backward(); `from tinygrad_lesson import mx` has MXNet's mx.autograd",
    "linearize": "write lambda v: tl.jvp(f, [x], [v])[1]",
    "remat": "write tl.checkpoint(f)",
    "fori_loop": "write tl.scan(f, state, length=n)",
    "while_loop": "write a loop in Python, or tl.scan with tl.cond in each step",
    "switch": "write tl.cond, one in another",
    "i0e": "write tl.i0(x) * tl.exp(-abs(x))",
    "i1e": "write tl.i1(x) * tl.exp(-abs(x))",
    "ive": "write tl.iv(v, x) * tl.exp(-abs(x))",
    "multigammaln": "write d * (d - 1) / 4 * tl.log(tl.pi) + sum(tl.gammaln(x - i / 2) for i in range(d))",
    "func": "its functions are in tl, as tl.grad, tl.vmap and tl.jvp",
    "special": "its functions are in tl, as tl.erf and tl.gammaln",
    "histc": "write np.histogram(x.detach(), bins)",
    "multinomial": "write tl.random.choice(classes, size, p=probabilities)",
    "std_mean": "write x.std(dim=...) and x.mean(dim=...)",
    "var_mean": "write x.var(dim=...) and x.mean(dim=...)",
    "diag_embed": "write x[..., None] * np.eye(n)",
    "cartesian_prod": "write np.meshgrid(x, y, indexing='ij')",
    "combinations": "write x[np.array(list(itertools.combinations(range(len(x)), 2)))]",
    "block_diag": "write np.block([[a, np.zeros((m, n))], [np.zeros((k, l)), b]])",
    "cuda": "write tl.gpu(0); tl.show_config() says whether there is one",
    "get_default_dtype": "an array keeps its element type, and Python's numbers are float64",
    "set_default_dtype": "write tl.Tensor(data, dtype=tl.float32): an array keeps its element type",
    "set_printoptions": "write np.set_printoptions(precision=3), which holds for tensors too",
    "long": "write tl.int64",
    "log_sigmoid": "write tl.log_expit(x)",
    "logsigmoid": "write tl.log_expit(x)",
    "entr": "write -tl.xlogy(x, x)",
    "gammasgn": "write tl.sign(tl.gamma(x))",
    "psi": "write tl.digamma(x)",
    "rgamma": "write 1 / tl.gamma(x)",
    "load": "write np.load(file), and tl.Tensor(array) for each of its arrays",
    "save": "write np.savez(file, **{name: x.numpy() for name, x in parameters.items()})",
}


def order_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a place and an order, which takes the order first, too, as in SciPy and PyTorch."""

    @functools.wraps(function)
    def spelled(*inputs: Any, **named: Any) -> Any:
        turned = len(inputs) == 2 and isinstance(inputs[0], int) and not isinstance(inputs[1], int)
        return function(*(inputs[::-1] if turned else inputs), **named)

    return spelled


def _complete(function: Any, name: str) -> Any:
    """A function with the docstring that `help` shows, which takes PyTorch's `dim` where PyTorch has it too."""
    found = in_words_of_torch(name, function) if name in (*ALIKE, *UNLIKE, *CALLED_ALIKE) else function
    found = order_first(found) if name in ORDER_FIRST else found
    importlib.import_module("tinygrad_lesson.eager.documented").complete(found, name)
    return found


def function(name: str, known: Callable[[], Sequence[str]]) -> Any:
    """What `tl` has under this name, a function with its docstring.

    Errors
        AttributeError that says what to write, or which of the names that are `known` was meant.
    """
    if name in NAMES and (name not in FUNCTIONS or FUNCTIONS[name].ours):
        return _complete(NAMES[name], name)
    if name in TORCH:
        return TORCH[name]
    if name in METHODS and not name.startswith("_") and name not in ELSEWHERE:
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
        found = _complete(getattr(module, inner), f"{name}.{inner}")
        if inner in LENGTHS:
            setattr(module, inner, in_words_of_torch(inner, found))
    return module
