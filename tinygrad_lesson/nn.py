"""Layers that are trees of parameters: see `eager/layers.py`."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.layers import *  # noqa: F403
from tinygrad_lesson.engine.op import FUNCTIONS

ELSEWHERE = {  # what PyTorch has: what to write
    "Parameter": "write tl.Tensor(data, requires_grad=True)",
    "Module": "write a dataclass of tensors and layers with a method `__call__`, as Linear is one",
    "ModuleList": "write a list of layers, which is a tree of parameters too",
    "functional": "its functions are in tl, as tl.relu",
    "Conv2d": "write Conv(channels, filters, 3, pad=1)",
    "BatchNorm1d": "write BatchNorm(features)",
    "BatchNorm2d": "write BatchNorm(channels)",
    "CrossEntropyLoss": "write tl.cross_entropy(scores, classes)",
    "MSELoss": "write tl.mse_loss(x, y)",
    "NLLLoss": "write tl.nll_loss(log_probabilities, classes)",
    "BCELoss": "write tl.binary_cross_entropy(probabilities, labels)",
    "MaxPool2d": "write tl.max_pool2d(x, 2), as in Sequential(Conv(1, 8, 3), lambda x: tl.max_pool2d(x, 2))",
}


def __getattr__(name: str) -> Any:
    function = name.lower()
    there = function in NAMES or function in FUNCTIONS
    told = f"write tl.{function}" if there else "functions are in tl, as in Sequential(Linear(2, 3), tl.relu)"
    raise AttributeError(f"tinygrad_lesson.nn has no {name!r}; {ELSEWHERE.get(name, told)}")
