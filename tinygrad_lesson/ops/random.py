"""Ops that draw random numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import normalize_axis


@op
class Dropout(Op):
    """In training each element is dropped with probability `p`, and the rest grow by ``1 / (1 - p)``.

    Shapes
        data (...) -> as data; a further result is the mask that was drawn.

    Source
        Srivastava et al. 2014, in the inverted form of MXNet 1.9.
    """

    random = True
    p: float = attr(0.5, minimum=0, maximum=1, doc="probability that an element is dropped")
    mode: str = attr("training", choices=("training", "always"), doc="drop in training only, or always")
    axes: tuple[int, ...] = attr((), doc="axes along which one decision is shared")
    is_train: bool = attr(False, doc="whether elements are dropped; set when bound")

    outputs = ("output", "mask")
    visible = 1

    def at_mode(self, is_train):
        """Elements are dropped in training."""
        return dataclasses.replace(self, is_train=is_train or self.mode == "always")

    def shape(self, data):
        shared = {normalize_axis(a, len(data)) for a in self.axes}
        return data, tuple(1 if a in shared else n for a, n in enumerate(data))

    def dtype(self, data):
        return floating(data)

    def forward(self, xp, data, *, generator=None):
        data = xp.asarray(data, dtype=floating(data.dtype))
        mask_shape = self.shape(data.shape)[1]
        if not (self.is_train or self.mode == "always") or self.p == 0:
            return data, xp.ones(mask_shape, dtype=data.dtype)
        if self.p == 1:
            mask = xp.zeros(mask_shape, dtype=data.dtype)
        else:
            kept = xp.asarray(generator.uniform(0, 1, mask_shape)) < 1 - self.p  # as MXNet decides
            mask = kept.astype(data.dtype) / data.dtype.type(1 - self.p)
        return data * mask, mask

    def vjp(self, F, g, y, data):
        return (None if g[0] is None else g[0] * y[1],)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        axes = draw.permutation(len(shape))[: draw.integer(0, len(shape))]
        return cls(p=draw.choice((0.0, 0.3, 1.0)), axes=axes, is_train=draw.boolean()), {
            "data": draw.array(shape)
        }


@op
class Rrelu(Op):
    """`x` where it is positive, else `x` times a slope: drawn in training, else the mean of the bounds.

    Shapes
        x (...) -> as x; a further result is the slopes.

    Source
        Xu et al. 2015; MXNet 1.9, `LeakyReLU` with act_type rrelu.
    """

    random = True
    lower_bound: float = attr(0.125, doc="the smallest slope")
    upper_bound: float = attr(0.334, doc="the largest slope")
    is_train: bool = attr(False, doc="whether slopes are drawn; set when bound")

    outputs = ("output", "mask")
    visible = 1

    def at_mode(self, is_train):
        """Slopes are drawn in training."""
        return dataclasses.replace(self, is_train=is_train)

    def shape(self, x):
        return x, x

    def dtype(self, x):
        return floating(x)

    def forward(self, xp, x, *, generator=None):
        low, high = self.lower_bound, self.upper_bound
        x = xp.asarray(x, dtype=floating(x.dtype))
        if self.is_train:
            slopes = xp.asarray(generator.uniform(low, high, x.shape)).astype(x.dtype)
        else:
            slopes = xp.full(x.shape, (low + high) / 2, dtype=x.dtype)
        return xp.where(x > 0, x, x * slopes), slopes

    def vjp(self, F, g, y, x):
        return (None if g[0] is None else F.where(F.greater(x, 0), g[0], g[0] * y[1]),)

    @classmethod
    def sample(cls, draw):
        return cls(is_train=draw.boolean()), {"x": draw.array(draw.shape(), away_from=0)}


@declares
class Drawn(Op):
    """A random op of which the results are known: they are its first inputs."""

    op: Any = attr(doc="the random op")

    name = "Drawn"
    function = "drawn"
    family = "random"
    inputs = ("args",)
    variadic = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """As of the random op."""
        return tuple(f"output{i}" for i in range(self.op.results))

    def shape(self, *args: Any) -> Any:
        """As known."""
        return args[: self.op.results] if self.op.results > 1 else args[0]

    def dtype(self, *args: Any) -> Any:
        """As known."""
        return self.shape(*args)

    def forward(self, xp: Any, *args: Any) -> Any:
        """What is known."""
        return self.shape(*args)

    def rewrite(self, F: Any, shapes: Any, *inputs: Any) -> Any:
        """What is known."""
        return self.shape(*inputs)

    def vjp(self, F: Any, g: Any, y: Any, *args: Any) -> Any:
        """The gradient of the random op, for what was drawn."""
        count = self.op.results
        known = args[:count] if count > 1 else args[0]
        return (*[None] * count, *self.op.vjp(F, g, known, *args[count:]))
