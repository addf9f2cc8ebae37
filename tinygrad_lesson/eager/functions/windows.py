"""Convolution and pooling of tensors: what the arrays tell need not be said, and one number does for all axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import tensor
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.shapes import show

Sizes = int | Sequence[int]


def each(size: Sizes, axes: int) -> tuple[int, ...]:
    """A size for every axis; nothing stays nothing."""
    return (int(size),) * axes if isinstance(size, int | np.integer) else tuple(size)


def convolution(
    data: Any,
    weight: Any,
    bias: Any = None,
    kernel: Sizes = (),
    stride: Sizes = (),
    pad: Sizes = (),
    dilate: Sizes = (),
    num_group: int = 1,
    num_filter: int | None = None,
    no_bias: bool | None = None,
    **more: Any,
) -> Any:
    """Each window's products with each filter, summed: cross-correlation, with a bias per filter if one is given.

    The number of filters and the size of the window are those of `weight`. One number stands for all axes.

    Shapes
        data (batch, channel, ...), weight (num_filter, channel / num_group, *kernel), bias (num_filter,)
        -> (batch, num_filter, ...); one, two or three axes in the place of the dots.

    Example
        >>> convolution(np.ones((1, 1, 5, 5)), np.ones((2, 1, 3, 3)), pad=1).shape
        (1, 2, 5, 5)
    """
    weight = tensor(weight)
    axes = weight.ndim - 2
    if axes < 1:
        raise ShapeError(
            f"convolution: weight is {show(weight.shape)}, expected (filters, channels, *kernel)"
        )
    given = {
        "kernel": each(kernel, axes) or weight.shape[2:],
        "stride": each(stride, axes),
        "pad": each(pad, axes),
        "dilate": each(dilate, axes),
        "num_group": num_group,
        "num_filter": weight.shape[0] if num_filter is None else num_filter,
        "no_bias": bias is None if no_bias is None else no_bias,
    }
    return F.convolution(*(x for x in (data, weight, bias) if x is not None), **given, **more)


def pooling(data: Any, kernel: Sizes = (), stride: Sizes = (), pad: Sizes = (), **more: Any) -> Any:
    """What is made of each window: its largest element, or its mean with ``pool_type="avg"``; see `sym.Pooling`.

    One number stands for all axes. A window begins `stride` elements behind the one before, by default 1.

    Shapes
        data (batch, channel, ...) -> (batch, channel, ...)
    """
    data = tensor(data)
    axes = data.ndim - 2
    return F.pooling(data, kernel=each(kernel, axes), stride=each(stride, axes), pad=each(pad, axes), **more)


WINDOWS: dict[str, Callable[..., Any]] = {"convolution": convolution, "pooling": pooling}
