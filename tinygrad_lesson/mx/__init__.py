"""MXNet 1.x under its own names: ``from tinygrad_lesson import mx``.

Every name points to what lives elsewhere in the package. What scripts often import and is not here (`mx.gluon`) says
so when it is used; what else MXNet has is an AttributeError.
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
    contrib,
    engine,
    initializer,
    io,
    kvstore,
    log,
    lr_scheduler,
    metric,
    model,
    module,
    monitor,
    name,
    ndarray,
    operator,
    optimizer,
    random,
    rnn,
    runtime,
    util,
)
from tinygrad_lesson.mx.absent import submodule
from tinygrad_lesson.mx.context import cpu_pinned, current_context, num_gpus
from tinygrad_lesson.mx.installed import install
from tinygrad_lesson.mx.util import is_np_array, is_np_shape, np_shape, set_np_shape, use_np, use_np_shape
from tinygrad_lesson.mxnet.naming import AttrScope

kv, mon = kvstore, monitor
sym, init, opt, viz, nd, mod = symbol, initializer, optimizer, visualization, ndarray, module
rnd, MXNetError = random, base.MXNetError
__version__ = "1.9.1"  # whose names and numbers these are


def __getattr__(name: str) -> Any:
    if name == "test_utils":  # which brings the checks along, and so is imported when first used
        return importlib.import_module("tinygrad_lesson.mx.test_utils")
    return submodule("mx", {"img": "image"}.get(name, name))


__all__ = [
    "AttrScope",
    "Context",
    "MXNetError",
    "attribute",
    "autograd",
    "base",
    "callback",
    "context",
    "contrib",
    "cpu",
    "cpu_pinned",
    "current_context",
    "engine",
    "gpu",
    "init",
    "initializer",
    "install",
    "io",
    "is_np_array",
    "is_np_shape",
    "kv",
    "kvstore",
    "log",
    "lr_scheduler",
    "metric",
    "mod",
    "model",
    "module",
    "mon",
    "monitor",
    "name",
    "nd",
    "ndarray",
    "np_shape",
    "num_gpus",
    "operator",
    "opt",
    "optimizer",
    "random",
    "rnd",
    "rnn",
    "runtime",
    "set_np_shape",
    "sym",
    "symbol",
    "test_utils",
    "use_np",
    "use_np_shape",
    "util",
    "visualization",
    "viz",
]  # fmt: skip
