"""Files: read within their bounds, written whole or not at all."""

import math
import os
import secrets
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.errors import FormatError

MAX_NDIM = 32


def write_whole(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` to `path`, text as UTF-8; whoever looks finds the old file or the whole new one.

    A crash or a full disk halfway leaves the old file as it was. A link is followed, not replaced.
    """
    target = Path(path).resolve()
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # same folder: a rename cannot cross disks
    try:
        with part.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class Cursor:
    """A place in the bytes of a file, and the only way to them: nothing is taken from beyond the end.

    Sizes that the file claims are compared with the bytes left before anything is allocated.

    Errors
        FormatError with the file's name and the byte where the trouble lies.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Start at the first byte of the file at `path`."""
        self.path = os.fspath(path)
        self.data = memoryview(Path(path).read_bytes())
        self.position = 0

    @property
    def left(self) -> int:
        """The number of bytes not yet taken."""
        return len(self.data) - self.position

    def error(self, message: str, *, at: int | None = None) -> FormatError:
        """An error to raise, about byte `at` or else the one before which the cursor stands."""
        return FormatError(f"{self.path}: byte {self.position if at is None else at}: {message}")

    def take(self, size: int, what: str) -> memoryview:
        """The next `size` bytes, called `what` should there be fewer."""
        if size > self.left:
            raise self.error(f"{what} needs {size} bytes, {self.left} are left")
        self.position += size
        return self.data[self.position - size : self.position]

    def numbers(self, count: int, form: str, what: str) -> tuple[int, ...]:
        """The next `count` little-endian integers of the kind that `struct` calls `form`."""
        size = struct.calcsize(f"<{form}")
        return tuple(number for (number,) in struct.iter_unpack(f"<{form}", self.take(count * size, what)))

    def number(self, form: str, what: str) -> int:
        """The next little-endian integer of the kind that `struct` calls `form`."""
        return self.numbers(1, form, what)[0]

    def count(self, what: str, *, minimum: int) -> int:
        """The next 64-bit number, a count of things that take `minimum` bytes or more each."""
        start, count = self.position, self.number("Q", f"the number of {what}")
        if count > self.left // minimum:
            raise self.error(f"{count} {what} cannot fit in the {self.left} bytes left", at=start)
        return count

    def text(self, size: int, what: str) -> str:
        """The next `size` bytes as UTF-8."""
        start = self.position
        try:
            return str(self.take(size, what), "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"{what} is not UTF-8", at=start + error.start) from None

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
        """The next elements, stored little-endian in row-major order, as an array of its own.

        Shapes
            What NumPy cannot count is refused, even where an axis of length 0 leaves no elements.
        """
        if len(shape) > MAX_NDIM or min(shape, default=0) < 0:
            raise self.error(f"{what} has the shape {shape}; expected at most {MAX_NDIM} axes, none negative")
        if math.prod(filter(None, shape)) * dtype.itemsize > sys.maxsize:
            raise self.error(f"{what} has the shape {shape}, too large to count its bytes")
        stored = np.dtype(np.uint8) if dtype == np.bool_ else dtype.newbyteorder("<")
        elements = np.frombuffer(self.take(math.prod(shape) * stored.itemsize, what), stored)
        return elements.astype(dtype).reshape(shape)
