"""safetensors: named arrays that every framework of today reads.

All numbers are little-endian::

    file     u64 length of the header, header, elements of all arrays
    header   JSON: name -> {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, padded with spaces
             and "__metadata__" -> texts by name

Offsets count from the end of the header. The arrays fill what follows it, without gaps.

Source
    safetensors 0.8, ``README.md``, section "Format".
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import DTypeError, FormatError
from tinygrad_lesson.fields import COUNT, PARTS, TEXT, Kind, field
from tinygrad_lesson.files import MAX_NDIM, Cursor, parsed, plain, write_whole

if TYPE_CHECKING:
    import numpy.typing as npt

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}
SHAPE = Kind(
    f"at most {MAX_NDIM} sizes",
    lambda value: isinstance(value, list) and len(value) <= MAX_NDIM and all(map(COUNT.fits, value)),
)
OFFSETS = Kind(
    "where the elements begin and end",
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(COUNT.fits, value)),
)
METADATA = "__metadata__"
MAX_HEADER = 2**21  # bytes; as JSON 50 MB once parsed, and 20,000 arrays
ALIGNED = 8  # bytes, the largest element


def save(
    path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] = {}
) -> None:
    """Write `arrays` under their names, and texts about them.

    Errors
        DTypeError for an element type that the format does not have; FormatError for more names than a header holds.
    """
    for name, array in arrays.items():
        if array.dtype.name not in CODES:
            raise DTypeError(
                f"safetensors: {plain(name)} is {array.dtype}, expected one of {', '.join(CODES)}"
            )
    # So that each lies at a multiple of its size:
    lying = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    end, places = 0, {}
    for name in lying:
        places[name] = [end, end + arrays[name].nbytes]
        end += arrays[name].nbytes
    told: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for name, array in arrays.items():
        told[name] = {"dtype": CODES[array.dtype.name], "shape": array.shape, "data_offsets": places[name]}
    header = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % ALIGNED)
    if len(header) > MAX_HEADER:
        raise FormatError(
            f"safetensors: {len(arrays)} names take {len(header)} bytes, expected {MAX_HEADER} at most"
        )
    parts = [
        arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False).tobytes() for name in lying
    ]
    write_whole(path, b"".join([struct.pack("<Q", len(header)), header, *parts]))


def load(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The named arrays of a file, in the order of its header, and the texts about them.

    Errors
        FormatError, with the place in the file, for anything that is not as it should be.
    """
    with Cursor(path) as cursor:
        size = cursor.number("Q", "the length of the header")
        if size > MAX_HEADER:
            raise cursor.error(f"the header has {size} bytes, expected {MAX_HEADER} at most", at=0)
        where = f"{cursor.path}: byte {cursor.position}: the header"
        told = parsed(cursor.text(size, "the header"), where)
        if not PARTS.fits(told):
            raise FormatError(f"{where} is {plain(repr(told), 80)}, expected {PARTS.words}")
        metadata = field({METADATA: {}, **told}, METADATA, PARTS, where)
        for key, value in metadata.items():
            if not TEXT.fits(value):
                raise FormatError(
                    f"{where}: {plain(key, 80)!r} in {METADATA} is {plain(repr(value), 80)}, expected text"
                )
        placed = {
            name: Placed.read(entry, f"{where}, {plain(name, 80)!r}")
            for name, entry in told.items()
            if name != METADATA
        }
        found = _read_elements(cursor, placed)
    return {name: found[name] for name in placed}, metadata


class Placed(NamedTuple):
    """What a header says of an array: offsets count from the header's end; `where` it says so."""

    begin: int
    end: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    where: str

    @classmethod
    def read(cls, entry: Any, where: str) -> Placed:
        """One entry of a header.

        Errors
            FormatError naming the key that is wrong.
        """
        if not PARTS.fits(entry):
            raise FormatError(f"{where} is {plain(repr(entry), 80)}, expected {PARTS.words}")
        code, shape = field(entry, "dtype", TEXT, where), field(entry, "shape", SHAPE, where)
        begin, end = field(entry, "data_offsets", OFFSETS, where)
        if code not in DTYPES:
            raise FormatError(
                f"{where}: the dtype is {plain(code, 80)!r}, expected one of {', '.join(DTYPES)}"
            )
        dtype = np.dtype(DTYPES[code])
        size = math.prod(shape) * dtype.itemsize
        if end - begin != size:
            raise FormatError(
                f"{where}: 'data_offsets' are {begin} and {end}, {end - begin} bytes apart, "
                f"expected {plain(size, 40)} for {plain(shape, 80)} of {dtype}"
            )
        return cls(begin, end, tuple(shape), dtype, where)


def _read_elements(cursor: Cursor, placed: Mapping[str, Placed]) -> dict[str, npt.NDArray[Any]]:
    """All arrays, one after the other as they lie."""
    start, found = cursor.position, {}
    for name, part in sorted(placed.items(), key=lambda item: item[1][:2]):
        if part.begin != cursor.position - start:
            raise FormatError(
                f"{part.where}: it begins at {part.begin}, expected {cursor.position - start}, "
                "where the one before ends"
            )
        found[name] = cursor.array(part.shape, part.dtype, f"array {plain(name, 80)!r}")
    if cursor.left:
        raise cursor.error(f"{cursor.left} bytes follow the last array")
    return found
