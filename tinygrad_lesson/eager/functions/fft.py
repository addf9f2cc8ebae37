"""Fourier transforms with NumPy's parameters. Results are complex; leaves are real, see `tensor.sweep`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.elementwise import imag, real
from tinygrad_lesson.eager.functions.moves import pad, roll
from tinygrad_lesson.eager.functions.products import conjugated
from tinygrad_lesson.eager.functions.table import like, refuse, tensor
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.shapes import normalize_axis


def fitted(a: Any, n: int | None, axis: int) -> Any:
    """`a` cut off, or with zeros, to size `n` along an axis."""
    size = a.shape[axis]
    if n is None or n == size:
        return a
    if n < 1:
        raise ShapeError(f"fft: {n} points, expected at least 1")
    if n < size:
        return a[(*[slice(None)] * axis, slice(0, n))]
    return pad(a, [(0, n - size if i == axis else 0) for i in range(a.ndim)])


def named(norm: str | None) -> str:
    """NumPy's name of a norm."""
    return "backward" if norm is None else norm


def transform(a: Any, n: int | None, axis: int, norm: str | None, inverse: bool) -> Any:
    """`fft` or `ifft`."""
    a = tensor(a)
    axis = normalize_axis(axis, a.ndim)
    a = fitted(a, n, axis)
    y, i = F.dft(real(a), imag(a), axis=axis, inverse=inverse, norm=named(norm))
    return y + 1j * i


@like("fft.fft")
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The Fourier transform along `axis`, of `n` points: `a` is cut off, or filled up with zeros."""
    refuse("fft", out=out)
    return transform(a, n, axis, norm, inverse=False)


@like("fft.ifft")
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The inverse of `fft`."""
    refuse("ifft", out=out)
    return transform(a, n, axis, norm, inverse=True)


@like("fft.rfft")
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The first half of the Fourier transform of real numbers, ``n // 2 + 1`` points; the rest mirrors it."""
    refuse("rfft", out=out)
    a = tensor(a)
    if a.dtype.kind == "c":
        raise AttributeValueError("rfft: the numbers are complex, expected real ones; fft takes them")
    axis = normalize_axis(axis, a.ndim)
    y, i = F.rdft(fitted(a, n, axis), axis=axis, norm=named(norm))
    return y + 1j * i


@like("fft.irfft")
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The inverse of `rfft`: `n` real numbers, by default an even number of them."""
    refuse("irfft", out=out)
    a = tensor(a)
    axis = normalize_axis(axis, a.ndim)
    n = 2 * (a.shape[axis] - 1) if n is None else n
    half = fitted(a, n // 2 + 1, axis)
    return F.irdft(real(half), imag(half), n=n, axis=axis, norm=named(norm))


@like("fft.hfft")
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The real transform of a signal that mirrors itself, of which `a` is the first half."""
    refuse("hfft", out=out)
    a = tensor(a)
    n = 2 * (a.shape[axis] - 1) if n is None else n
    turned = {"backward": "forward", "forward": "backward", "ortho": "ortho"}[named(norm)]
    return irfft(conjugated(a), n, axis, turned)


@like("fft.ihfft")
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The inverse of `hfft`."""
    refuse("ihfft", out=out)
    turned = {"backward": "forward", "forward": "backward", "ortho": "ortho"}[named(norm)]
    return conjugated(rfft(a, n, axis, turned))


def axes_and_sizes(a: Any, s: Any, axes: Any) -> list[tuple[int, int]]:
    """Each axis with its number of points."""
    if axes is None:
        axes = range(a.ndim) if s is None else range(-len(s), 0)
    axes = [normalize_axis(i, a.ndim) for i in axes]
    sizes = (
        [a.shape[i] for i in axes]
        if s is None
        else [a.shape[i] if n in (-1, None) else n for n, i in zip(s, axes, strict=True)]
    )
    return list(zip(axes, sizes, strict=True))


@like("fft.fftn")
def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """The Fourier transform along several axes, by default all."""
    refuse("fftn", out=out)
    a = tensor(a)
    for axis, n in axes_and_sizes(a, s, axes)[::-1]:
        a = fft(a, n, axis, norm)
    return a


@like("fft.ifftn")
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """The inverse of `fftn`."""
    refuse("ifftn", out=out)
    a = tensor(a)
    for axis, n in axes_and_sizes(a, s, axes)[::-1]:
        a = ifft(a, n, axis, norm)
    return a


@like("fft.fft2")
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """The Fourier transform along two axes."""
    return fftn(a, s, axes, norm, out)


@like("fft.ifft2")
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """The inverse of `fft2`."""
    return ifftn(a, s, axes, norm, out)


@like("fft.rfftn")
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """The Fourier transform of real numbers along several axes; along the last one the first half."""
    refuse("rfftn", out=out)
    a = tensor(a)
    *others, (last, n) = axes_and_sizes(a, s, axes)
    y = rfft(a, n, last, norm)
    for axis, n in others[::-1]:
        y = fft(y, n, axis, norm)
    return y


@like("fft.irfftn")
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: None = None) -> Any:
    """The inverse of `rfftn`."""
    refuse("irfftn", out=out)
    a = tensor(a)
    *others, (last, n) = axes_and_sizes(a, s, axes)
    for axis, size in others:
        a = ifft(a, size, axis, norm)
    return irfft(a, None if s is None else n, last, norm)


@like("fft.rfft2")
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """The Fourier transform of real numbers along two axes; along the last one the first half."""
    return rfftn(a, s, axes, norm, out)


@like("fft.irfft2")
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: None = None) -> Any:
    """The inverse of `rfft2`."""
    return irfftn(a, s, axes, norm, out)


@like("fft.fftshift")
def fftshift(x: Any, axes: Any = None) -> Any:
    """The lowest frequency in the middle."""
    x = tensor(x)
    axes = list(range(x.ndim)) if axes is None else [axes] if isinstance(axes, int) else list(axes)
    return roll(x, [x.shape[i] // 2 for i in axes], axes)


@like("fft.ifftshift")
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    x = tensor(x)
    axes = list(range(x.ndim)) if axes is None else [axes] if isinstance(axes, int) else list(axes)
    return roll(x, [-(x.shape[i] // 2) for i in axes], axes)


fftfreq, rfftfreq = np.fft.fftfreq, np.fft.rfftfreq
__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
