"""MXNet 1.x under its own names: ``from tinygrad_lesson import mx``.

Every name points to what lives elsewhere in the package. What MXNet has and is not here (`mx.gluon`)
is an AttributeError.
"""

from __future__ import annotations

import importlib
from typing import Any

from tinygrad_lesson import mxnet as symbol
from tinygrad_lesson import viz as visualization
from tinygrad_lesson.arrays import Context, cpu, gpu
from tinygrad_lesson.mx import (
    attribute,
    autograd,
    base,
    callback,
    context,
    initializer,
    io,
    lr_scheduler,
    metric,
    model,
    module,
    name,
    ndarray,
    operator,
    optimizer,
    random,
)
from tinygrad_lesson.mx.context import current_context, num_gpus
from tinygrad_lesson.mx.installed import install
from tinygrad_lesson.mxnet.naming import AttrScope

sym, init, opt, viz, nd, mod = symbol, initializer, optimizer, visualization, ndarray, module
rnd, MXNetError = random, base.MXNetError
__version__ = "1.9.1"  # whose names and numbers these are


def __getattr__(name: str) -> Any:
    if name != "test_utils":  # which brings the checks along, and so is imported when first used
        raise AttributeError(f"mx has no {name!r}")
    return importlib.import_module("tinygrad_lesson.mx.test_utils")


__all__ = [
    "AttrScope", "Context", "MXNetError", "attribute", "autograd", "base", "callback", "context", "cpu",
    "current_context", "gpu", "init", "initializer", "install", "io", "lr_scheduler", "metric", "mod", "model",
    "module", "name", "nd", "ndarray", "num_gpus", "operator", "opt", "optimizer", "random", "rnd", "sym",
    "symbol", "test_utils", "visualization", "viz",
]  # fmt: skip
