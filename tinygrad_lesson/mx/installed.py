"""`import mxnet` finds this package: `mx.install()`, or ``python -m tinygrad_lesson.mx script.py``."""

from __future__ import annotations

import importlib
import pkgutil
import sys

OURS = "tinygrad_lesson.mx"
ELSEWHERE = {  # modules of MXNet that live outside of this room
    "sym": "tinygrad_lesson.mxnet",
    "symbol": "tinygrad_lesson.mxnet",
    "viz": "tinygrad_lesson.viz",
    "visualization": "tinygrad_lesson.viz",
    "contrib.amp": f"{OURS}.contrib.amp",
    "contrib.quantization": f"{OURS}.contrib.quantization",
    "executor": "tinygrad_lesson.mxnet.executor",
    "gluon.nn": f"{OURS}.gluon.nn",
    "init": f"{OURS}.initializer",
    "kv": f"{OURS}.kvstore",
    "mon": f"{OURS}.monitor",
    "nd": f"{OURS}.ndarray",
    "mod": f"{OURS}.module",
    "io.io": f"{OURS}.io",
    "module.base_module": f"{OURS}.module.base",
    "module.bucketing_module": f"{OURS}.module.bucketing",
    "module.executor_group": f"{OURS}.module.executor_group",
    "module.python_module": f"{OURS}.module.python_module",
    "module.module": f"{OURS}.module.single",
    "module.sequential_module": f"{OURS}.module.sequential",
    "ndarray.ndarray": f"{OURS}.ndarray",
    "ndarray.sparse": f"{OURS}.sparse",
    "optimizer.optimizer": f"{OURS}.optimizer",
    "symbol.symbol": "tinygrad_lesson.mxnet",
}


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
    sys.modules.update({f"mxnet.{name}": importlib.import_module(path) for name, path in found.items()})
