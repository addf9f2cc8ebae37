"""Fourier transforms, and the complex conjugate."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, in_type, roomy
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import merge, normalize_axis
from tinygrad_lesson.ops.reduce import filled

NORMS = {"backward": "forward", "ortho": "ortho", "forward": "backward"}  # each with that of the way back


@op
class Dft(Op):
    """The discrete Fourier transform along one axis, ``y[k] = sum(x[j] * exp(-2 pi i j k / n))``.

    Complex numbers come and go in two parts. The gradient is the transform with the other sign.

    Shapes
        real (...), imag as real -> two as real

    Source
        NumPy, `fft.fft` and `fft.ifft`.
    """

    traceable = False
    outputs = ("real", "imag")
    axis: int = attr(-1, doc="the axis along which it is taken")
    inverse: bool = attr(False, doc="with the other sign in the exponent")
    norm: str = attr(
        "backward", choices=tuple(NORMS), doc="which of both directions divides by n, or both by its root"
    )

    def shape(self, real, imag):
        both: Any = merge(real, imag)
        normalize_axis(self.axis, len(both))
        return both, both

    def dtype(self, real, imag):
        return floating(super().dtype(real, imag))

    def forward(self, xp, real, imag):
        kind = self.dtype(real.dtype, imag.dtype)
        z = in_type(xp, real, roomy(kind)) + 1j * in_type(xp, imag, roomy(kind))
        y = (xp.fft.ifft if self.inverse else xp.fft.fft)(z, axis=self.axis, norm=self.norm)
        return in_type(xp, y.real, kind), in_type(xp, y.imag, kind)

    def vjp(self, F, g, y, real, imag):
        parts = [filled(F, yi) if gi is None else gi for gi, yi in zip(g, y, strict=True)]
        return F.dft(*parts, axis=self.axis, inverse=not self.inverse, norm=NORMS[self.norm])

    def oracle(self, real, imag):
        n = real.shape[self.axis]
        sign = 1 if self.inverse else -1
        scale = {"backward": n if self.inverse else 1, "ortho": n**0.5, "forward": 1 if self.inverse else n}[
            self.norm
        ]
        matrix = np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / scale
        y = np.moveaxis(np.tensordot(matrix, real + 1j * imag, ([1], [self.axis])), 0, self.axis)
        return y.real, y.imag

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        made = cls(axis=draw.axis(len(shape)), inverse=draw.boolean(), norm=draw.choice(tuple(NORMS)))
        return made, {"real": draw.array(shape), "imag": draw.array(shape)}


@op
class Conj(Elementwise):
    """The complex conjugate of each element; of real numbers themselves."""

    analytic = True

    def forward(self, xp, x, out=None):
        return xp.conjugate(x, out=out)

    def vjp(self, F, g, y, x):
        return (F.conj(g),)

    def oracle(self, x):
        return x.real - 1j * x.imag if x.dtype.kind == "c" else x

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}
