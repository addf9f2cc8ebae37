"""Files: read within their bounds, written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tinygrad_lesson.engine.errors import FileError, FormatError, MissingFileError, shown

if TYPE_CHECKING:
    import numpy.typing as npt
try:
    import fcntl
except ImportError:  # on Windows, where leftovers are told by their age
    fcntl = None  # type: ignore[assignment]

MAX_NDIM = 32
MAX_TEXT = 2**28  # bytes of a file of text; the JSON of a graph with a million nodes is smaller
BUFFER = 2**13
OLD = 24 * 3600.0  # seconds after which a temporary file is a leftover, where nothing else tells
PATIENCE = 10.0  # seconds that a saver waits for another one
KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip

PathLike = str | os.PathLike[str]


def plain(text: object, longest: int = 300) -> str:
    """`text` on one line, with control characters written out, as a terminal may be shown it."""
    line = shown(str(text))
    return line if len(line) <= longest else f"{line[:longest]}..."


def as_path(path: Any) -> str:
    """A path as text.

    Errors
        FileError for what is none, such as the number of an open file.
    """
    try:
        return os.fsdecode(path)
    except TypeError:
        raise FileError(f"{plain(repr(path), 80)} is no path, expected text or a Path") from None


def refused(path: PathLike, error: Exception, doing: str) -> FileError:
    """What the system says of a file, as an error that names it."""
    why = getattr(error, "strerror", None) or error
    cls = MissingFileError if isinstance(error, FileNotFoundError) else FileError
    return cls(f"cannot {doing} {plain(os.fspath(path))}: {plain(why)}")


def require_file(path: PathLike, about: os.stat_result) -> None:
    """Refuse what is no ordinary file: to open a device can do something, and a pipe may never end."""
    if not stat.S_ISREG(about.st_mode):
        kind = KINDS.get(stat.S_IFMT(about.st_mode), "no ordinary file")
        raise FileError(f"{plain(os.fspath(path))} is {kind}, expected a file")


# Writing.


def write_whole(path: PathLike, data: bytes | str, *, tidy: bool = True) -> None:
    """Write `data` to `path`, text as UTF-8; whoever looks finds the old file or the whole new one.

    A crash or a full disk halfway leaves the old file as it was. A link is followed, not replaced; the rights of
    an old file are kept. What a saver that was killed has left in the folder is removed, unless `tidy` is False.

    Errors
        FileError if `path` is a folder, a device or a pipe, or the system refuses.
    """
    path = as_path(path)
    try:
        old = about(path)
        target = Path(path).resolve()
        if tidy:
            sweep(target.parent)
        with new_part(target.parent) as (file, part):
            if old is not None:
                keep_rights(part, old)
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
            part.replace(target)
    except FileError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero in the name
        raise refused(path, error, "write") from None


def about(path: PathLike) -> os.stat_result | None:
    """What is known of the file that will be replaced; None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    require_file(path, found)
    return found


def keep_rights(part: Path, old: os.stat_result) -> None:
    """Give a new file the owner, where one may, and the rights of the old one."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(part, old.st_uid, old.st_gid)
    part.chmod(stat.S_IMODE(old.st_mode))


PART = re.compile(r"\.tinygrad_lesson-[0-9a-f]{16}\.part")


@contextlib.contextmanager
def new_part(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file in the folder of the real one, for a rename cannot cross disks.

    It is locked while it is written: so another saver knows it from one that was left by a killed process.
    """
    while True:
        part = folder / f".tinygrad_lesson-{os.urandom(8).hex()}.part"
        file = part.open("xb")
        if locked(file.fileno()) and part.exists():
            break
        file.close()  # swept away before it was locked
    try:
        with file:
            yield file, part
    finally:
        part.unlink(missing_ok=True)


def locked(descriptor: int, shared: bool = False) -> bool:
    """Whether this process now has the lock on an open file or folder, or there are no locks here."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return True
    return True


def sweep(folder: Path) -> None:
    """Remove the temporary files of savers that are no more."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    sweep_one(entry.path)


def sweep_one(path: str) -> None:
    """Remove a temporary file if nobody holds its lock any more."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        left = fcntl is not None or time.time() - os.fstat(descriptor).st_mtime > OLD
        if left and locked(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone_in(folder: PathLike, *, reading: bool = False) -> Iterator[None]:
    """Let nobody else save several files that belong together to `folder` meanwhile, or read them.

    Who waits longer than `PATIENCE` goes on all the same: whether files belong together is told by their digests.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # nothing to be alone in; reading and writing will say so
        yield
        return
    try:
        until = time.monotonic() + PATIENCE
        while not locked(descriptor, reading) and time.monotonic() < until:
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


# Reading.


def open_file(path: PathLike) -> tuple[BinaryIO, int]:
    """The ordinary file at `path`, open at its first byte, and its size.

    Errors
        FileError if it is missing, empty or of another kind, or the system refuses.
    """
    path = as_path(path)
    try:
        require_file(path, os.stat(path))
        # It may have become another one meanwhile: a pipe must not make the opening wait.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.open(path, flags), "rb", buffering=BUFFER)  # noqa: SIM115
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise refused(path, error, "read") from None
    try:
        found = os.fstat(file.fileno())
        require_file(path, found)
        if not found.st_size:
            raise FileError(f"{plain(os.fspath(path))}: byte 0: the file is empty")
    except BaseException:
        file.close()
        raise
    return file, found.st_size


def read_text(path: PathLike) -> str:
    """The text in a file, which is UTF-8 and of a size that text may have.

    Errors
        FileError if it cannot be read, FormatError naming the byte that is no text.
    """
    file, size = open_file(path)
    with file:
        if size > MAX_TEXT:
            raise FileError(
                f"{plain(os.fspath(path))} has {size} bytes, expected text of {MAX_TEXT} bytes at most"
            )
        try:
            data = file.read(size)
        except OSError as error:
            raise refused(path, error, "read") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{plain(os.fspath(path))}: byte {error.start} is no UTF-8") from None


def parsed(text: str, where: str) -> Any:
    """What a JSON text says.

    Errors
        FormatError if it is none.
    """
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is no JSON: {error}") from None


class Cursor:
    """A place in a file of bytes, and the only way to them: nothing is taken from beyond the end.

    Sizes that the file claims are compared with the bytes left before anything is allocated, and only what is
    taken is read.

    Errors
        FileError if the file cannot be read; FormatError with its name and the byte where the trouble lies.
    """

    def __init__(self, path: PathLike) -> None:
        """Start at the first byte of the file at `path`."""
        self.path = plain(as_path(path))
        self.file, self.size = open_file(path)
        self.position = 0

    @classmethod
    def of(cls, data: bytes) -> Cursor:
        """One over bytes that are in memory already."""
        self = cls.__new__(cls)
        self.path, self.file, self.size, self.position = "the buffer", io.BytesIO(data), len(data), 0
        return self

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def left(self) -> int:
        """The number of bytes not yet taken."""
        return self.size - self.position

    def error(self, message: str, *, at: int | None = None) -> FormatError:
        """An error to raise, about byte `at` or else the one before which the cursor stands."""
        return FormatError(f"{self.path}: byte {self.position if at is None else at}: {message}")

    def take(self, size: int, what: str) -> memoryview:
        """The next `size` bytes, called `what` should there be fewer."""
        return self.fill(np.empty(self.bounded(size, what), np.uint8), what).data

    def bounded(self, size: int, what: str) -> int:
        """`size`, if that many bytes are left."""
        if size > self.left:
            raise self.error(f"{what} needs {size} bytes, {self.left} are left")
        return size

    def fill(self, array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
        """`array`, with the next bytes as its elements."""
        try:
            count = self.file.readinto(array.reshape(-1).view(np.uint8))  # type: ignore[attr-defined]
        except OSError as error:
            raise refused(self.path, error, "read") from None
        if count != array.nbytes:
            raise self.error(f"{what} ends early: the file became shorter while it was read")
        self.position += count
        return array

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
        self.bounded(math.prod(shape) * stored.itemsize, what)
        try:
            elements = np.empty(math.prod(shape), stored)
        except MemoryError:
            raise self.error(f"{what} does not fit into the memory of this machine") from None
        return self.fill(elements, what).astype(dtype, copy=False).reshape(shape)
