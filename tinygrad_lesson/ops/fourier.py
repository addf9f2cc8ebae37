"""Fourier transforms, and the complex conjugate."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from tinygrad_lesson.engine.blocks import LARGE
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, in_type, roomy
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import merge, normalize_axis
from tinygrad_lesson.ops.fills import filled


def transforms(xp: Any, x: Any) -> Any:
    """Who transforms `x`: of large arrays SciPy, if it is installed, in less than half of NumPy's time."""
    scipy = of_scipy() if xp is np and x.size >= LARGE else None
    return xp.fft if scipy is None else scipy


@functools.cache
def of_scipy() -> Any:
    """SciPy's transforms; None where it is not installed."""
    try:
        return importlib.import_module("scipy.fft")
    except ImportError:
        return None


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
        z = xp.empty(real.shape, dtype=xp.result_type(roomy(kind), np.complex64))
        z.real, z.imag = real, imag
        library = transforms(xp, z)
        y = (library.ifft if self.inverse else library.fft)(z, axis=self.axis, norm=self.norm)
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


@declares
class RealTransform(Op):
    """What the transform of real numbers and its inverse have in common."""

    traceable = False
    axis: int = attr(-1, doc="the axis along which it is taken")
    norm: str = attr("backward", choices=tuple(NORMS), doc="as of `Dft`")

    weight: float = attr(1.0, shown=False, doc="factor of the frequencies that stand for two of all")

    def weigh(self, z, n):
        """Multiply those of a spectrum of `n` numbers."""
        if self.weight != 1:
            z[(*[slice(None)] * (self.axis % z.ndim), slice(1, (n + 1) // 2))] *= self.weight

    def factors(self, n):
        """Those factors as a vector, for tests."""
        return np.array([self.weight if 0 < k < (n + 1) // 2 else 1.0 for k in range(n // 2 + 1)])


@op
class Rdft(RealTransform):
    """The first half of the Fourier transform of real numbers, in two parts; the rest mirrors it.

    Shapes
        x (..., n, ...) -> real and imag (..., n // 2 + 1, ...)

    Source
        NumPy, `fft.rfft`.
    """

    outputs = ("real", "imag")

    def shape(self, x):
        axis = normalize_axis(self.axis, len(x))
        half = (*x[:axis], None if x[axis] is None else x[axis] // 2 + 1, *x[axis + 1 :])
        return half, half

    def dtype(self, x):
        return floating(x)

    def forward(self, xp, x):
        kind = floating(x.dtype)
        y = transforms(xp, x).rfft(in_type(xp, x, roomy(kind)), axis=self.axis, norm=self.norm)
        self.weigh(y, x.shape[self.axis])
        return in_type(xp, y.real, kind), in_type(xp, y.imag, kind)

    def vjp(self, F, g, y, x):
        parts = [filled(F, yi) if gi is None else gi for gi, yi in zip(g, y, strict=True)]
        told = {"axis": self.axis, "norm": NORMS[self.norm], "weight": self.weight / 2}
        return (F.irdft(*parts, n=F.shape(x)[self.axis], **told),)

    def oracle(self, x):
        n = x.shape[self.axis]
        whole = Dft(axis=self.axis, norm=self.norm).oracle(x, np.zeros_like(x))
        half = (np.moveaxis(y, self.axis, -1)[..., : n // 2 + 1] for y in whole)
        return tuple(np.moveaxis(y * self.factors(n), -1, self.axis) for y in half)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        told = {"norm": draw.choice(tuple(NORMS)), "weight": draw.choice((1.0, 0.5))}
        return cls(axis=draw.axis(len(shape)), **told), {"x": draw.array(shape)}


@op
class Irdft(RealTransform):
    """The inverse of `Rdft`: `n` real numbers. Imaginary parts that they cannot have are ignored.

    Shapes
        real and imag (..., n // 2 + 1, ...) -> (..., n, ...)

    Source
        NumPy, `fft.irfft`.
    """

    n: int = attr(minimum=1, doc="how many numbers come out")

    def shape(self, real, imag):
        half: Any = merge(real, imag)
        axis = normalize_axis(self.axis, len(half))
        if half[axis] is not None and half[axis] != self.n // 2 + 1:
            raise ShapeError(f"{half[axis]} frequencies, expected {self.n // 2 + 1} for {self.n} numbers")
        return (*half[:axis], self.n, *half[axis + 1 :])

    def dtype(self, real, imag):
        return floating(super().dtype(real, imag))

    def forward(self, xp, real, imag):
        kind = self.dtype(real.dtype, imag.dtype)
        z = xp.empty(real.shape, dtype=xp.result_type(roomy(kind), np.complex64))
        z.real, z.imag = real, imag
        self.weigh(z, self.n)
        y = transforms(xp, z).irfft(z, self.n, axis=self.axis, norm=self.norm)
        return in_type(xp, y, kind)

    def vjp(self, F, g, y, real, imag):
        return F.rdft(g, axis=self.axis, norm=NORMS[self.norm], weight=self.weight * 2)

    def oracle(self, real, imag):
        n, axis = self.n, self.axis
        half = np.moveaxis(real + 1j * imag, axis, -1) * self.factors(n)
        mirrored = half[..., 1 : (n + 1) // 2][..., ::-1].conj()
        half[..., 0] = half[..., 0].real
        if n % 2 == 0:
            half[..., -1] = half[..., -1].real
        whole = np.moveaxis(np.concatenate([half, mirrored], axis=-1), -1, axis)
        return Dft(axis=axis, inverse=True, norm=self.norm).oracle(whole.real, whole.imag)[0]

    @classmethod
    def sample(cls, draw):
        made, inputs = Rdft.sample(draw)
        n = inputs["x"].shape[made.axis]
        shape = made.shape(inputs["x"].shape)[0]
        return cls(n=n, axis=made.axis, norm=made.norm), {
            "real": draw.array(shape),
            "imag": draw.array(shape),
        }


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
