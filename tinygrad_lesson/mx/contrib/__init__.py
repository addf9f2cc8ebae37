"""`mx.contrib`: operators under `nd` and `sym`; what else MXNet has here is to be imported only."""

from __future__ import annotations

from tinygrad_lesson import mxnet
from tinygrad_lesson.mx.contrib import amp, quantization
from tinygrad_lesson.mx.ndarray import contrib as ndarray

nd, sym = ndarray, mxnet.contrib
symbol = sym

__all__ = ["amp", "nd", "ndarray", "quantization", "sym", "symbol"]
