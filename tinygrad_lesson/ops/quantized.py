"""Floats as integers of 8 bits, with the ends of the range that these stand for, and back.

Source
    MXNet 1.9, `_contrib_quantize` and its kin.
"""

from __future__ import annotations

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import attr, declares

LARGEST = {"int8": 127.0, "uint8": 255.0, "int32": 2.0**31 - 1}


def as_numbers(F, integers, end):
    """Integers in the type of the ends of a range, without a derivative."""
    return F.stop_gradient(F.cast(integers, dtype=str(floating(F.dtype(end)))))


def larger(F, low, high):
    """The larger of two ends of a range, by size."""
    return F.maximum(F.abs(low), F.abs(high))


def signed(F, x, size):
    """Integers from -127 to 127 for what lies between ``-size`` and `size`; halves go away from 0."""
    steps = F.minimum(F.floor(F.abs(x) * (LARGEST["int8"] / size) + 0.5), LARGEST["int8"])
    return F.cast(F.sign(x) * steps, dtype="int8")


def unsigned(F, x, low, high):
    """Integers from 0 to 255 for what lies between `low` and `high`; halves go up."""
    steps = F.floor((x - low) * (LARGEST["uint8"] / (high - low)) + 0.5)
    return F.cast(F.minimum(F.maximum(steps, 0), LARGEST["uint8"]), dtype="uint8")


def in_range(F, x, kind, low, high):
    """Integers of a `kind`, and the ends of the range that they stand for."""
    if kind == "uint8":
        return unsigned(F, x, low, high), low, high
    size = larger(F, low, high)
    return signed(F, x, size), -size, size


@declares
class Quantizing(Composite):
    """Integers of 8 bits, and the ends of their range."""

    method = False
    mixes_dtypes = True
    outputs = ("output0", "output1", "output2")

    @property
    def kind(self):
        """The element type of the integers."""
        return "int8"

    @property
    def is_signed(self):
        """Whether the integers go to both sides of 0."""
        return self.kind == "int8"

    def dtype(self, data, *ends):
        of_ends = floating(ends[0] if ends else data)
        return np.dtype(self.kind), of_ends, of_ends


@op
class Quantize(Quantizing):
    """Floats between `min_range` and `max_range` as integers: in 255 steps, or for int8 in 127 to each side of 0.

    Shapes
        data (...), min_range (1,), max_range (1,) -> as data, (1,), (1,)
    """

    out_type: str = attr("uint8", choices=("uint8", "int8"), doc="element type of the integers")

    @property
    def kind(self):
        """The element type of the integers."""
        return self.out_type

    def compose(self, F, data, min_range, max_range):
        ends = [F.reshape(end, shape=(1,)) for end in (min_range, max_range)]
        return in_range(F, data, self.kind, *ends)

    @classmethod
    def sample(cls, draw):
        made = cls(draw.choice(("uint8", "int8")))
        data = np.rint(draw.array(draw.shape(min_rank=1), low=-90, high=90))  # in the middle of steps of 1
        return made, {
            "data": data,
            "min_range": np.array([-127.0]),
            "max_range": np.array([100.0 if made.is_signed else 128.0]),
        }


@op
class QuantizeV2(Quantizing):
    """As `Quantize`, for a range that is known beforehand, or that of the numbers themselves.

    Shapes
        data (...) -> as data, (1,), (1,)
    """

    out_type: str = attr(
        "int8",
        choices=("auto", "uint8", "int8"),
        doc="element type; auto is uint8 for a range that begins at 0",
    )
    min_calib_range: float | None = attr(None, doc="lower end of the range; None is the least number")
    max_calib_range: float | None = attr(None, doc="upper end of the range; None is the largest number")

    def __post_init__(self):
        super().__post_init__()
        if (self.min_calib_range is None) != (self.max_calib_range is None):
            raise AttributeValueError(
                "QuantizeV2: expected both of min_calib_range and max_calib_range, or none"
            )

    @property
    def kind(self):
        """The element type of the integers."""
        if self.out_type != "auto":
            return self.out_type
        return "uint8" if self.min_calib_range is not None and self.min_calib_range >= 0 else "int8"

    def compose(self, F, data):
        ends = [F.reshape(end, shape=(1,)) for end in (F.min(data), F.max(data))]
        if self.min_calib_range is not None:
            ends = [
                0 * end + known
                for end, known in zip(ends, (self.min_calib_range, self.max_calib_range), strict=True)
            ]
        return in_range(F, data, self.kind, *ends)

    @classmethod
    def sample(cls, draw):
        kind = draw.choice(("uint8", "int8"))
        made = cls(kind, -127.0, 100.0 if kind == "int8" else 128.0)
        return made, {"data": np.rint(draw.array(draw.shape(min_rank=1), low=-90, high=90))}


@op
class Dequantize(Composite):
    """The floats that integers of 8 bits stand for.

    Shapes
        data (...), min_range (1,), max_range (1,) -> as data
    """

    method = False
    mixes_dtypes = True
    out_type: str = attr(
        "float32", choices=("float32",), doc="element type of the result, whose ends have it too"
    )

    def dtype(self, data, min_range, max_range):
        return floating(min_range)

    def compose(self, F, data, min_range, max_range):
        low, high = (F.reshape(end, shape=(1,)) for end in (min_range, max_range))
        is_unsigned, data = F.dtype(data) == np.uint8, as_numbers(F, data, low)
        if is_unsigned:
            return data * ((high - low) / LARGEST["uint8"]) + low
        return data * (larger(F, low, high) / LARGEST["int8"])

    @classmethod
    def sample(cls, draw):
        low, high = (-128, 127) if draw.boolean() else (0, 255)
        data = np.rint(draw.array(draw.shape(min_rank=1), low=low, high=high)).astype(
            np.uint8 if high > 127 else np.int8
        )
        ends = {
            "min_range": draw.array((1,), low=-2, high=-1.6),
            "max_range": draw.array((1,), low=1, high=1.5),
        }
        return cls(), {"data": data, **ends}


@op
class Requantize(Quantizing):
    """Integers of 32 bits, of which the largest stands for the larger end of a range, as integers of 8 bits.

    Shapes
        data (...), min_range (1,), max_range (1,) -> as data, (1,), (1,)
    """

    min_calib_range: float | None = attr(None, doc="lower end of the new range; None is that of the numbers")
    max_calib_range: float | None = attr(None, doc="upper end of the new range; None is that of the numbers")

    def compose(self, F, data, min_range, max_range):
        ends = [F.reshape(end, shape=(1,)) for end in (min_range, max_range)]
        x = as_numbers(F, data, ends[0]) * (larger(F, *ends) / LARGEST["int32"])
        size = F.reshape(F.max(F.abs(x)), shape=(1,))
        if self.min_calib_range is not None and self.max_calib_range is not None:
            size = 0 * size + max(abs(self.min_calib_range), abs(self.max_calib_range))
        return signed(F, x, size), -size, size

    @classmethod
    def sample(cls, draw):
        steps = np.rint(draw.array(draw.shape(min_rank=1), low=-90, high=90))
        data = np.rint(steps * (LARGEST["int32"] / LARGEST["int8"])).astype(np.int32)
        return cls(-127.0, 100.0), {
            "data": data,
            "min_range": np.array([-127.0]),
            "max_range": np.array([100.0]),
        }
