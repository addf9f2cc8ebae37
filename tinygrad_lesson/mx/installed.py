"""`import mxnet` finds this package: `mx.install()`, or ``python -m tinygrad_lesson.mx script.py``."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Any

from tinygrad_lesson.mx.absent import MODULES

OURS = "tinygrad_lesson.mx"
ELSEWHERE = {  # modules of MXNet that live outside of this room, or under another name
    "contrib.autograd": f"{OURS}.contrib.autograd",
    "executor": "tinygrad_lesson.mxnet.executor",
    "init": f"{OURS}.initializer",
    "io.io": f"{OURS}.io",
    "kv": f"{OURS}.kvstore",
    "metric": f"{OURS}.metric",
    "mod": f"{OURS}.module",
    "module.base_module": f"{OURS}.module.base",
    "module.bucketing_module": f"{OURS}.module.bucketing",
    "module.module": f"{OURS}.module.single",
    "module.python_module": f"{OURS}.module.python_module",
    "module.sequential_module": f"{OURS}.module.sequential",
    "mon": f"{OURS}.monitor",
    "nd": f"{OURS}.ndarray",
    "ndarray.ndarray": f"{OURS}.ndarray",
    "ndarray.sparse": f"{OURS}.sparse",
    "optimizer.optimizer": f"{OURS}.optimizer",
    "rnn.io": f"{OURS}.rnn",
    "rnn.rnn": f"{OURS}.rnn",
    "rnn.rnn_cell": f"{OURS}.rnn",
    "sym": "tinygrad_lesson.mxnet",
    "symbol": "tinygrad_lesson.mxnet",
    "symbol.symbol": "tinygrad_lesson.mxnet",
    "viz": "tinygrad_lesson.viz",
    "visualization": "tinygrad_lesson.viz",
}
FACES = ("nd", "ndarray", "sym", "symbol")
PARTS = (
    "_internal",
    "contrib",
    "linalg",
    "op",
    "random",
)  # of `nd` and `sym`, where they are no modules here


def install() -> None:
    """Let ``import mxnet`` and ``import mxnet.initializer`` and so on, in this process, find what is here.

    What MXNet has and is not here is a ModuleNotFoundError, as if it were not installed.

    Errors
        ImportError if MXNet itself was imported before.
    """
    package = importlib.import_module(OURS)
    if sys.modules.get("mxnet", package) is not package:
        raise ImportError(f"mxnet is {sys.modules['mxnet']!r} already; call install() before it is imported")
    own = [
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in ("__main__", "absent", "installed", "samples", "sparse", "viz")
    ]
    found = {name: f"{OURS}.{name}" for name in own} | ELSEWHERE
    sys.modules["mxnet"] = package
    modules: dict[str, Any] = {name: importlib.import_module(path) for name, path in found.items()}
    modules |= {f"{face}.{part}": getattr(modules[face], part) for face in FACES for part in PARTS}
    modules = MODULES | modules
    for name, module in modules.items():
        place, _, last = name.rpartition(".")
        if place and not hasattr(modules[place], last):
            setattr(modules[place], last, module)
        sys.modules[f"mxnet.{name}"] = module
