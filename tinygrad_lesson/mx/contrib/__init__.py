"""`mx.contrib`: operators under `nd` and `sym`, `autograd` of old; what else MXNet has here is to be imported only."""

from __future__ import annotations

from functools import partial

from tinygrad_lesson import mxnet
from tinygrad_lesson.mx.absent import submodule
from tinygrad_lesson.mx.contrib import autograd
from tinygrad_lesson.mx.ndarray import contrib as ndarray

nd, sym = ndarray, mxnet.contrib
symbol = sym
__getattr__ = partial(submodule, "mx.contrib")

__all__ = ["autograd", "nd", "ndarray", "sym", "symbol"]
