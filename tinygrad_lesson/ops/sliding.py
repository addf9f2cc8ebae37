"""Windows that slide over images: where they stand, and images with the batch last."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.dtypes import HALF, roomy, rounded
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.movement import batch_first, batch_last, turned
from tinygrad_lesson.ops.nn import BatchNorm


class Window(NamedTuple):
    """How a window slides along one axis of `length` elements."""

    length: Any  # None while it is unknown
    size: int
    stride: int
    dilate: int
    pad: int
    convention: str = "valid"

    @property
    def extent(self):
        """From the first element of a window to behind its last."""
        return self.dilate * (self.size - 1) + 1

    @property
    def count(self):
        """How many windows there are; None while the length is unknown."""
        if self.length is None:
            return None
        room = self.length + 2 * self.pad - self.extent
        if room < 0:
            raise ShapeError(
                f"a window over {self.extent} elements does not fit an axis of {self.length} "
                f"with pad {self.pad}"
            )
        if self.convention == "same":
            return -(-(self.length + 2 * self.pad) // self.stride)
        return (-(-room // self.stride) if self.convention == "full" else room // self.stride) + 1

    @property
    def reach(self):
        """Elements that are needed, padding before and behind included."""
        return max(self.pad + self.length, (self.count - 1) * self.stride + self.extent)

    def place(self, i):
        """The elements that meet place `i` of the window as it slides."""
        start = i * self.dilate
        return slice(start, start + (self.count - 1) * self.stride + 1, self.stride)

    def covered(self, include_pad, xp=np):
        """How many elements each window covers, with or without those of the padding."""
        start = xp.arange(self.count) * self.stride - self.pad
        end = xp.minimum(start + self.size, self.length + self.pad)
        return end - start if include_pad else xp.minimum(end, self.length) - xp.maximum(start, 0)


@declares
class Sliding(Op):
    """An op that has a window."""

    kernel: tuple[int, ...] = attr((), doc="size of the window along each axis of the image")
    stride: tuple[int, ...] = attr((), doc="from one window to the next; () is 1 everywhere")
    pad: tuple[int, ...] = attr((), doc="elements added before and behind each axis; () is none")

    def __post_init__(self):
        super().__post_init__()
        for name, least in (("kernel", 1), ("stride", 1), ("dilate", 1), ("pad", 0)):
            sizes = getattr(self, name, ())
            if min(sizes, default=least) < least or len(sizes) not in (0, len(self.kernel)):
                expected = f"expected a size of at least {least} for each of {len(self.kernel)} axes"
                raise AttributeValueError(
                    f"{self.name}: {name} is {sizes}, {expected} in kernel {self.kernel}"
                )

    def space(self, shape):
        """Where the axes of the image begin and end in `shape`: between channel and batch."""
        return 1, len(shape) - 1

    def windows(self, shape):
        """How the window slides along each axis of the image."""
        first, last = self.space(shape)
        self.check_rank(shape, last - first)
        settings = self.kernel, self.stride, getattr(self, "dilate", ()), self.pad
        filled = [
            s or (default,) * len(self.kernel) for s, default in zip(settings, (1, 1, 1, 0), strict=True)
        ]
        return [Window(n, *along) for n, *along in zip(shape[first:last], *filled, strict=True)]

    def check_rank(self, shape, rank):
        """Refuse an image with another number of axes than the window."""
        if rank != len(self.kernel) or rank < 1:
            more = "one" if len(self.kernel) == 1 else len(self.kernel) or "at least one"
            raise ShapeError(
                f"data is {show(shape)}, expected batch, channel and {more} more for kernel {self.kernel}"
            )

    def slid(self, shape):
        """`shape` with the number of windows along each axis of the image."""
        first, last = self.space(shape)
        return (*shape[:first], *[w.count for w in self.windows(shape)], *shape[last:])

    def places(self, shape):
        """For each place in the window, in row-major order, an index: the elements that meet it."""
        along = [[w.place(i) for i in range(w.size)] for w in self.windows(shape)]
        return [(slice(None),) * self.space(shape)[0] + index for index in itertools.product(*along)]

    def reached(self, shape):
        """`shape` with the padding that the windows reach."""
        first, last = self.space(shape)
        return (*shape[:first], *[w.reach for w in self.windows(shape)], *shape[last:])

    def inner(self, shape):
        """The index of the image inside of its padding."""
        windows = self.windows(shape)
        return (slice(None),) * self.space(shape)[0] + tuple(slice(w.pad, w.pad + w.length) for w in windows)

    def seen(self, xp, x, fill, order="K"):
        """For each place in the window the elements of `x` that meet it, `fill` in the padding."""
        shape, padded = self.reached(x.shape), x
        if shape != x.shape or not (order == "K" or x.flags.c_contiguous):
            padded = xp.empty_like(x, shape=shape, order=order)
            padded[...] = fill
            padded[self.inner(x.shape)] = x
        return [padded[index] for index in self.places(x.shape)]

    def scattered(self, xp, shape, like, parts, out, masks=None):
        """The sum over all places of each of `parts`, times its mask, put where it came from in `shape`."""
        windows, reached = self.windows(shape), self.reached(shape)
        dtype = roomy(HALF) if like.dtype == HALF else like.dtype
        fits = out is not None and out.dtype == dtype and reached == shape
        y = out if fits else xp.empty_like(like, dtype=dtype, shape=reached, order="K")
        apart = all(w.stride >= w.size and w.dilate == 1 for w in windows)
        if not apart or any(w.count * w.size != w.reach for w in windows):
            y[...] = 0
        places = self.places(shape)
        for index, part, mask in zip(places, parts, masks or [None] * len(places), strict=True):
            if mask is not None:
                part = xp.multiply(part, mask, out=y[index] if apart else None)
            if not apart:
                xp.add(y[index], part, out=y[index])
            elif mask is None:
                y[index] = part
        return rounded(xp, y if reached == shape else y[self.inner(shape)], like.dtype)


def with_images_turned(F: Any, op: Any, inputs: Any) -> Any:
    """`op` on images with the batch last, and its result turned; None unless some image comes from there.

    Convolution and pooling compute so; what is between them then needs no turning.
    """
    images = [x for x in inputs if F.shapes[x]]
    if not any(turned(F, x) is not None for x in images):
        return None
    rank = len(F.shapes[images[0]])
    if isinstance(op, BatchNorm) and op.axis % rank == 1:
        new = dataclasses.replace(op, axis=0)
        first, *others = F.apply(new, (F.transpose(inputs[0], axes=batch_last(rank)), *inputs[1:]))
        return F.transpose(first, axes=batch_first(rank)), *others
    alike = len({F.shapes[x] for x in images}) == 1
    if not isinstance(op, Elementwise) or len(inputs) < 2 or not alike:
        return None
    y = F.apply(op, tuple([F.transpose(x, axes=batch_last(rank)) if F.shapes[x] else x for x in inputs]))
    return F.transpose(y, axes=batch_first(rank))


@declares
class Dilated(Sliding):
    """A window with gaps, in groups of channels."""

    dilate: tuple[int, ...] = attr((), doc="distance of neighbours in the window; () is 1 everywhere")
    num_group: int = attr(1, minimum=1, doc="groups of channels that do not mix")

    @property
    def window(self):
        """Those attributes that say how the window slides."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Dilated)}

    def check_groups(self, data, channels):
        """Refuse channels that do not fall into equal groups."""
        if channels is not None and channels % self.num_group:
            raise ShapeError(f"data is {show(data)}, expected channels in {self.num_group} equal groups")
