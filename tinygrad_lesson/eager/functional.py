"""PyTorch's `nn.functional` by its names and the order of its arguments; what has ours is a function of `tl`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions import NAMES, TABLE
from tinygrad_lesson.eager.functions.table import tensor
from tinygrad_lesson.eager.functions.windows import each


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """`x` with more elements at its ends: two numbers for each axis, the last axis first."""
    x = tensor(x)
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant":
        return NAMES["pad"](x, widths, constant_values=value)
    return NAMES["pad"](x, widths, {"replicate": "edge", "circular": "wrap"}.get(mode, mode))


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """`x` with mean 0 and variance 1 over the last axes, those of `normalized_shape`, then scaled and moved."""
    x = tensor(x)
    axes = tuple(range(-len(each(normalized_shape, 1)), 0))
    y = x - F.mean(x, axis=axes, keepdims=True)
    y = y * F.rsqrt(F.mean(F.square(y), axis=axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """`x` over its length along `dim`, or over `eps` where that is larger."""
    x = tensor(x)
    return x / F.maximum(TABLE["np.linalg.norm"](x, p, dim, True), eps)


def smooth_l1_loss(x: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """`huber_loss` over `beta`."""
    return NAMES["huber_loss"](x, target, delta=beta, reduction=reduction) / beta


def kl_div(x: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """As `tl.kl_div`; "batchmean" is the sum over the number of rows."""
    target = F.exp(target) if log_target else target
    if reduction != "batchmean":
        return NAMES["kl_div"](x, target, reduction=reduction)
    return NAMES["kl_div"](x, target, reduction="sum") / np.shape(x)[0]


def convolution(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """`tl.convolution` for images of any number of axes."""
    return NAMES["convolution"](
        x, weight, bias, stride=stride, pad=padding, dilate=dilation, num_group=groups
    )


def pooling(kind: str) -> Callable[..., Any]:
    """`max_pool` or `avg_pool`; windows lie side by side unless `stride` says otherwise."""

    def function(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
        return NAMES["pooling"](
            x, kernel_size, kernel_size if stride is None else stride, padding, pool_type=kind
        )

    return function


def glu(x: Any, dim: int = -1) -> Any:
    """The first half along `dim` times the sigmoid of the second."""
    a, b = NAMES["split"](tensor(x), 2, dim)
    return a * F.sigmoid(b)


def one_hot(x: Any, num_classes: int = -1) -> Any:
    """For each number a row of integers that is 1 there."""
    x = tensor(x)
    depth = int(x.detach().max().item()) + 1 if num_classes == -1 else num_classes
    return F.one_hot(x, depth, dtype="int64")


def elu(x: Any, alpha: float = 1.0) -> Any:
    """`x` where it is positive, else ``alpha * (exp(x) - 1)``."""
    return F.elu(x, slope=alpha)


def gelu(x: Any, approximate: str = "none") -> Any:
    """`tl.gelu`, or with "tanh" its approximation by a hyperbolic tangent."""
    x = tensor(x)
    if approximate == "none":
        return F.gelu(x)
    return 0.5 * x * (1 + F.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


TORCH: dict[str, Callable[..., Any]] = {
    "pad": pad,
    "layer_norm": layer_norm,
    "normalize": normalize,
    "smooth_l1_loss": smooth_l1_loss,
    "kl_div": kl_div,
    "elu": elu,
    "gelu": gelu,
    "glu": glu,
    "one_hot": one_hot,
    "conv1d": convolution,
    "conv2d": convolution,
    "conv3d": convolution,
    **{f"max_pool{n}d": pooling("max") for n in (1, 2, 3)},
    **{f"avg_pool{n}d": pooling("avg") for n in (1, 2, 3)},
    "dropout": lambda x, p=0.5, training=True: F.dropout(x, p, is_train=training),
    "embedding": lambda x, weight: NAMES["take"](weight, x, 0),
    "softmax": lambda x, dim=-1: F.softmax(x, axis=dim),
    "log_softmax": lambda x, dim=-1: F.log_softmax(x, axis=dim),
    "softmin": lambda x, dim=-1: F.softmax(-tensor(x), axis=dim),
    "cosine_similarity": lambda a, b, dim=1, eps=1e-8: NAMES["cosine_similarity"](a, b, dim, eps),
    "relu": lambda x, inplace=False: F.relu(x),
    "leaky_relu": lambda x, negative_slope=0.01: F.leaky_relu(x, slope=negative_slope),
    "softplus": lambda x, beta=1.0: F.softplus(tensor(x) * beta) / beta,
    "logsigmoid": lambda x: F.log_expit(x),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: NAMES["clip"](x, min_val, max_val),
    "hardsigmoid": lambda x: F.hard_sigmoid(x, alpha=1 / 6),
    "hardswish": lambda x: NAMES["hard_swish"](x),
    "tanhshrink": lambda x: x - F.tanh(x),
    "binary_cross_entropy_with_logits": lambda x, target, *, reduction="mean": NAMES[
        "binary_cross_entropy"
    ](x, target, logits=True, reduction=reduction),
    "scaled_dot_product_attention": lambda query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False: NAMES[
        "attention"
    ](query, key, value, attn_mask, is_causal=is_causal),
}  # fmt: skip
globals().update(TORCH)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(importlib.import_module("tinygrad_lesson"), name)


def module(name: str) -> Callable[..., Any]:
    """PyTorch's module that only calls a function: its settings come first, then what it is called with."""
    function = getattr(sys.modules[__name__], name)
    return lambda *settings, **named: lambda *inputs: function(*inputs, *settings, **named)
