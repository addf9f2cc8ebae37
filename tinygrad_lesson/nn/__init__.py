"""Layers that are trees of parameters: see `eager/layers.py`; and PyTorch's modules that only call a function."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.layers import *  # noqa: F403
from tinygrad_lesson.eager.layers import BatchNorm, Conv
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.op import FUNCTIONS

CALLS = {  # PyTorch's modules: the functions of `functional` that they call
    "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu", "CELU": "celu",
    "GELU": "gelu", "SiLU": "silu", "Mish": "mish", "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh",
    "Sigmoid": "sigmoid", "LogSigmoid": "logsigmoid", "Hardtanh": "hardtanh", "Hardswish": "hardswish",
    "Hardsigmoid": "hardsigmoid", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Softmin": "softmin", "GLU": "glu",
    "Identity": "identity", "MaxPool1d": "max_pool1d", "MaxPool2d": "max_pool2d", "AvgPool1d": "avg_pool1d",
    "AvgPool2d": "avg_pool2d", "MSELoss": "mse_loss", "L1Loss": "l1_loss", "HuberLoss": "huber_loss",
    "SmoothL1Loss": "smooth_l1_loss", "CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss",
    "BCELoss": "binary_cross_entropy", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "KLDivLoss": "kl_div",
    "CosineSimilarity": "cosine_similarity",
}  # fmt: skip
TORCH: dict[str, Callable[..., Any]] = {
    "Parameter": lambda data, requires_grad=True: Tensor(data, requires_grad),
    "Flatten": lambda start_dim=1, end_dim=-1: lambda x: x.flatten(start_dim, end_dim),
    "BatchNorm1d": BatchNorm,
    "BatchNorm2d": BatchNorm,
    "Conv2d": lambda inputs, outputs, kernel_size, stride=1, padding=0, *, bias=True: Conv(
        inputs, outputs, kernel_size, stride, padding, bias=bias
    ),
}
ELSEWHERE = {  # what else PyTorch has: what to write
    "Module": "write a dataclass of tensors and layers with a method `__call__`, as Linear is one",
    "ModuleList": "write a list of layers, which is a tree of parameters too",
    "LayerNorm": "write lambda x: tl.nn.functional.layer_norm(x, shape, weight, bias)",
    "Embedding": "write lambda numbers: weight[numbers], of a parameter `weight`",
    "Dropout2d": "write Dropout(p)",
    "LSTM": "write tl.scan over a step of yours, or tl.rnn",
}


def __getattr__(name: str) -> Any:
    if name == "functional" or name in CALLS:
        functional = importlib.import_module("tinygrad_lesson.nn.functional")
        return functional if name == "functional" else functional.module(CALLS[name])
    if name in TORCH:
        return TORCH[name]
    function = name.lower()
    there = function in NAMES or function in FUNCTIONS
    told = f"write tl.{function}" if there else "functions are in tl, as in Sequential(Linear(2, 3), tl.relu)"
    raise AttributeError(f"tinygrad_lesson.nn has no {name!r}; {ELSEWHERE.get(name, told)}")
