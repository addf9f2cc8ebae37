"""Activations, normalizations and losses of networks that are few lines of ops, with PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import known, known_if_shared, tensor
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import normalize_axis, show

NETWORKS: dict[str, Callable[..., Any]] = {}


def ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function under its name."""
    NETWORKS[function.__name__] = function
    return function


# Activations.


@ours
def relu6(x: Any) -> Any:
    """`x` between 0 and 6: ``min(max(x, 0), 6)``. Not smooth at 0 and 6."""
    return F.minimum(F.relu(x), 6.0)


@ours
def celu(x: Any, alpha: float = 1.0) -> Any:
    """`x` where it is positive, else ``alpha * (exp(x / alpha) - 1)``; smooth. Barron 2017."""
    return F.elu(tensor(x) / alpha, slope=1.0, scale=alpha)


@ours
def selu(x: Any) -> Any:
    """The exponential unit that keeps mean 0 and variance 1. Klambauer et al. 2017, equation 2. Not smooth at 0."""
    return F.elu(x, slope=1.6732632423543772, scale=1.0507009873554805)


@ours
def hard_swish(x: Any) -> Any:
    """``x * min(max(x + 3, 0), 6) / 6``. Howard et al. 2019. Not smooth at -3 and 3."""
    x = tensor(x)
    return F.maximum(x, -3.0) * relu6(x + 3.0) / 6.0  # not -inf * 0


# Layers.


@ours
def rms_norm(x: Any, gamma: Any = None, axis: int = -1, eps: float = 1e-6) -> Any:
    """`x` over the root of the mean of its squares along `axis`, times `gamma`; smooth. Zhang and Sennrich 2019.

    Shapes
        x (..., n), gamma (n,) or None -> as x
    """
    x = tensor(x)
    y = x * F.rsqrt(F.mean(F.square(x), axis=axis, keepdims=True) + eps)
    if gamma is None:
        return y
    shape = [-1 if i == normalize_axis(axis, x.ndim) else 1 for i in range(x.ndim)]
    return y * F.reshape(gamma, shape=shape)


@ours
def attention(
    query: Any, key: Any, value: Any, mask: Any = None, *, is_causal: bool = False, scale: float | None = None
) -> Any:
    """For each query a mean of the values, those whose keys are like it counting most: ``softmax(q k^T * scale) v``.

    `mask` holds truth values, False where a key is not seen, or numbers that are added before the softmax; with
    `is_causal` a query sees the keys up to its own place. `scale` is ``1 / sqrt(size)`` by default.

    Shapes
        query (..., m, size), key (..., n, size), value (..., n, depth), mask (..., m, n) -> (..., m, depth)
    Source
        Vaswani et al. 2017, equation 1.
    """
    query, key, value = tensor(query), tensor(key), tensor(value)
    if query.ndim < 2 or key.ndim < 2 or query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            f"attention: key is {show(key.shape)}, expected (..., n, size) as query {show(query.shape)}"
        )
    m, n = query.shape[-2], key.shape[-2]
    turned = F.transpose(key, axes=(*range(key.ndim - 2), key.ndim - 1, key.ndim - 2))
    scores = F.matmul(query, turned) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        scores = F.where(np.tri(m, n, dtype=bool), scores, -np.inf)
    if mask is not None:
        mask = tensor(mask)
        scores = F.where(mask, scores, -np.inf) if mask.dtype.kind == "b" else scores + mask
    return F.matmul(F.softmax(scores, axis=-1), value)


# Losses.


def brought_down(y: Any, reduction: str) -> Any:
    """The mean of losses, their sum, or all of them.

    Errors
        AttributeValueError for another word.
    """
    if reduction not in ("mean", "sum", "none"):
        raise AttributeValueError(f"reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
    return y if reduction == "none" else F.mean(y) if reduction == "mean" else F.sum(y)


def of_class(rows: Any, target: Any, axis: int) -> Any:
    """From each vector along `axis` the number of the class that `target` names; in a plan nan for no class."""
    numbers = target if RECORDING.tracing and isinstance(target, Tensor) else known_if_shared(target)
    expected = tuple(n for i, n in enumerate(rows.shape) if i != normalize_axis(axis, rows.ndim))
    if numbers.dtype.kind not in "iu" or numbers.shape != expected:
        raise ShapeError(
            f"target is {show(numbers.shape)} of {numbers.dtype}, expected class numbers, integers of {show(expected)}"
        )
    if isinstance(numbers, Tensor):  # which are not there yet
        there = F.where(numbers >= 0, numbers < rows.shape[axis], False)
        return F.where(there, F.pick(rows, numbers, axis=axis), np.nan)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < rows.shape[axis]):
        raise AttributeValueError(
            f"target has classes {numbers.min()} to {numbers.max()}, expected 0 to {rows.shape[axis] - 1}"
        )
    return F.pick(rows, numbers, axis=axis)


@ours
def cross_entropy(
    x: Any, target: Any, *, axis: int = 1, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Any:
    """How far the softmax of `x` along `axis` is from `target`: ``-sum(target * log_softmax(x))``, per vector.

    `target` holds class numbers, or probabilities in the shape of `x`. Of `label_smoothing` each class gets an equal
    share. The sum is taken first, so that large numbers do not overflow.

    Shapes
        x (batch, classes, ...), target (batch, ...) or as x -> (), or with reduction 'none' (batch, ...)
    """
    logs = F.log_softmax(tensor(x), axis=axis)
    shares = np.shape(target) == logs.shape
    y = -F.sum(tensor(target) * logs, axis=axis) if shares else -of_class(logs, target, axis)
    if label_smoothing:
        y = y * (1 - label_smoothing) - F.mean(logs, axis=axis) * label_smoothing
    return brought_down(y, reduction)


@ours
def nll_loss(x: Any, target: Any, *, axis: int = 1, reduction: str = "mean") -> Any:
    """Minus the logarithms of probabilities `x` at the classes `target`.

    Shapes
        x (batch, classes, ...), target (batch, ...) -> (), or with reduction 'none' (batch, ...)
    """
    return brought_down(-of_class(tensor(x), target, axis), reduction)


@ours
def binary_cross_entropy(x: Any, target: Any, *, logits: bool = False, reduction: str = "mean") -> Any:
    """``-(t * log(p) + (1 - t) * log(1 - p))`` of probabilities `x`; with `logits` of ``p = sigmoid(x)``, in few steps.

    A term whose factor is 0 is 0, as ``0 * log(0)``.
    """
    x, target = tensor(x), tensor(target)
    y = F.softplus(x) - x * target if logits else -F.xlogy(target, x) - F.xlog1py(1 - target, -x)
    return brought_down(y, reduction)


@ours
def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Squares of differences: ``(x - target)**2``."""
    return brought_down(F.square(tensor(x) - target), reduction)


@ours
def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Sizes of differences: ``abs(x - target)``. Not smooth where both are equal; the slope there is 0."""
    return brought_down(F.abs(tensor(x) - target), reduction)


@ours
def huber_loss(x: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """``d**2 / 2`` for differences `d` up to `delta`, else ``delta * (abs(d) - delta / 2)``. Huber 1964."""
    distance = F.abs(tensor(x) - target)
    near = F.minimum(distance, delta)
    return brought_down(near * (distance - near / 2.0), reduction)


@ours
def kl_div(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """``target * (log(target) - x)``, where `x` are logarithms of probabilities: summed, the divergence of Kullback."""
    target = tensor(target)
    return brought_down(F.xlogy(target, target) - target * x, reduction)


@ours
def hinge_loss(x: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Any:
    """``max(0, margin - target * x)`` for a target of 1 or -1. Not smooth where it begins."""
    return brought_down(F.relu(margin - tensor(target) * x), reduction)


@ours
def cosine_similarity(a: Any, b: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along `axis`; lengths below `eps` count as that."""
    a, b = tensor(a), tensor(b)
    lengths = [F.sqrt(F.maximum(F.sum(F.square(x), axis=axis), eps * eps)) for x in (a, b)]
    return F.sum(a * b, axis=axis) / (lengths[0] * lengths[1])


# Along an axis.


@ours
def logsumexp(
    x: Any, axis: Any = None, keepdims: bool = False, *, exclude: bool = False, b: Any = None
) -> Any:
    """``log(sum(b * exp(x)))`` along `axis`, or with `exclude` along all others, without overflow; smooth.

    `b` are weights that broadcast with `x`, 1 by default; NaN where the sum is negative.
    """
    if b is None:
        return F.logsumexp(x, axis, keepdims, exclude)
    x = F.where(F.equal(b, 0), -np.inf, tensor(x))
    top = F.max(F.stop_gradient(x), axis, True, exclude)
    top = F.where(F.isfinite(top), top, 0.0)
    total = F.log(F.sum(b * F.exp(x - top), axis, keepdims, exclude))
    return total + F.reshape(top, shape=total.shape)


@ours
def cummax(x: Any, axis: int = 0) -> Any:
    """The largest element so far along `axis`; the first that is so large gets the gradient. NaN stays NaN."""
    x = tensor(x)
    values = np.moveaxis(known(x), axis, 0)
    so_far = np.maximum.accumulate(values, axis=0)
    fresh = np.ones(values.shape, bool)
    fresh[1:] = (values[1:] > so_far[:-1]) | (np.isnan(values[1:]) & ~np.isnan(so_far[:-1]))
    numbers = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    places = np.maximum.accumulate(np.where(fresh, numbers, 0), axis=0)
    return F.take_along_axis(x, np.moveaxis(places, 0, axis), axis=axis)


@ours
def gather(x: Any, axis: int, index: Any) -> Any:
    """For each place in `index` the element of `x` there along `axis`, else at the same place; `index` may be smaller.

    Shapes
        x (...), index (...) with as many axes -> as index
    Source
        PyTorch, `torch.gather`.
    """
    x, places = tensor(x), known_if_shared(index)
    axis = normalize_axis(axis, x.ndim)
    if places.ndim != x.ndim or any(
        n > m for i, (n, m) in enumerate(zip(places.shape, x.shape, strict=False)) if i != axis
    ):
        raise ShapeError(
            f"gather: index is {show(places.shape)}, expected sizes up to {show(x.shape)} but along axis {axis}"
        )
    within = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(places.shape))
    return F.take_along_axis(x[within], places, axis=axis)
