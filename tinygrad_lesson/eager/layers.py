"""Layers as dataclasses that are trees: their parameters can be differentiated, updated and copied as one value.

Each is called with `is_train`, True by default as in `tl.dropout`: ``model(x, is_train=False)`` predicts. Weights begin
uniform in ``+-1 / sqrt(inputs)``, drawn from `tl.random`, in float64 unless another `dtype` is asked for.

Source
    PyTorch's `nn.Linear` and `nn.Conv2d`, whose bounds these are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.eager.differential import leaves
from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.eager.functions.drawing import uniform
from tinygrad_lesson.eager.functions.windows import Sizes, each
from tinygrad_lesson.eager.operators import batch_norm, dropout, linear
from tinygrad_lesson.eager.tensor import Tensor

layer = dataclasses.dataclass(init=False, eq=False)


ELSEWHERE = {  # what PyTorch's modules have: what to write
    "train": "write model(x, is_train=True), which is the default",
    "eval": "write model(x, is_train=False)",
    "state_dict": "pickle the layer itself, which is a dataclass: pickle.dumps(model)",
    "load_state_dict": "unpickle the layer itself: pickle.loads(data)",
    "to": "write model = tl.nn.Linear(..., dtype=...), under `with tl.gpu(0):` for a device",
}


def static() -> Any:
    """A field that is a setting: no parameter."""
    return dataclasses.field(metadata={"static": True})


def drawn(shape: Sequence[int], inputs: int, dtype: Any) -> Tensor:
    """A parameter to begin with."""
    bound = 1 / math.sqrt(inputs)
    return Tensor(uniform(-bound, bound, size=tuple(shape)), True, dtype=dtype)


class Layer:
    """What layers share: `parameters()`, all tensors in them that ask for a gradient."""

    def parameters(self) -> Iterator[Tensor]:
        """The parameters, layer by layer."""
        return (x for x in leaves(self) if isinstance(x, Tensor) and x.requires_grad)

    def zero_grad(self) -> None:
        """Forget all gradients, so that the next `backward` does not add to them."""
        for x in self.parameters():
            x.grad = None

    def __getattr__(self, name: str) -> Any:
        told = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else ""
        raise AttributeError(f"{type(self).__name__} has no {name!r}{told}")


@layer
class Linear(Layer):
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    Shapes
        x (..., inputs) -> (..., outputs)
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool = True, *, dtype: Any = float) -> None:
        self.weight = drawn((outputs, inputs), inputs, dtype)
        self.bias = drawn((outputs,), inputs, dtype) if bias else None

    def __call__(self, x: Any, *, is_train: bool = True) -> Any:  # noqa: D102
        return linear(x, self.weight, self.bias)


@layer
class Conv(Layer):
    """Convolution: a kernel of one number is a square one; of two or three sizes, one for each axis of the image.

    Shapes
        x (batch, inputs, ...) -> (batch, outputs, ...)
    """

    weight: Tensor
    bias: Tensor | None
    stride: Any = static()
    pad: Any = static()

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sizes,
        stride: Sizes = 1,
        pad: Sizes = 0,
        *,
        bias: bool = True,
        dtype: Any = float,
    ) -> None:
        sizes = each(kernel, 2)
        count = inputs * math.prod(sizes)
        self.weight = drawn((outputs, inputs, *sizes), count, dtype)
        self.bias = drawn((outputs,), count, dtype) if bias else None
        self.stride, self.pad = each(stride, len(sizes)), each(pad, len(sizes))

    def __call__(self, x: Any, *, is_train: bool = True) -> Any:  # noqa: D102
        return NAMES["convolution"](x, self.weight, self.bias, stride=self.stride, pad=self.pad)


@layer
class BatchNorm(Layer):
    """Each channel with mean 0 and variance 1 over the batch, then scaled; training moves the means in place.

    Shapes
        x (batch, channels, ...) -> as x
    """

    gamma: Tensor
    beta: Tensor
    moving_mean: Tensor = static()
    moving_var: Tensor = static()
    settings: tuple[tuple[str, float], ...] = static()

    def __init__(
        self, channels: int, *, momentum: float = 0.9, eps: float = 1e-5, dtype: Any = float
    ) -> None:
        self.gamma = Tensor(np.ones(channels), True, dtype=dtype)
        self.beta = Tensor(np.zeros(channels), True, dtype=dtype)
        self.moving_mean = Tensor(np.zeros(channels), dtype=dtype)
        self.moving_var = Tensor(np.ones(channels), dtype=dtype)
        self.settings = ("momentum", momentum), ("eps", eps)

    def __call__(self, x: Any, *, is_train: bool = True) -> Any:  # noqa: D102
        states = self.moving_mean, self.moving_var
        return batch_norm(x, self.gamma, self.beta, *states, is_train=is_train, **dict(self.settings))  # type: ignore[arg-type]


@layer
class Dropout(Layer):
    """In training each element is dropped with probability `p`, and the rest grow to make up for it."""

    p: float = static()

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, x: Any, *, is_train: bool = True) -> Any:  # noqa: D102
        return dropout(x, self.p, is_train=is_train)


@layer
class Sequential(Layer):
    """Layers and functions, one after the other: ``Sequential(Linear(4, 8), tl.tanh, Linear(8, 3))``."""

    layers: tuple[Callable[..., Any], ...]

    def __init__(self, *layers: Callable[..., Any]) -> None:
        self.layers = layers

    def __call__(self, x: Any, *, is_train: bool = True) -> Any:  # noqa: D102
        for f in self.layers:
            x = f(x, is_train=is_train) if isinstance(f, Layer) else f(x)
        return x

    def __getitem__(self, i: int) -> Any:
        return self.layers[i]

    def __len__(self) -> int:
        return len(self.layers)


__all__ = ["BatchNorm", "Conv", "Dropout", "Layer", "Linear", "Sequential"]
