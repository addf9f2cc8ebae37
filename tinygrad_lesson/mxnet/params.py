"""MXNet's `.params` files: named arrays, byte for byte as MXNet 1.9.1 writes them.

All numbers are little-endian::

    file     u64 0x112, u64 reserved, u64 count, arrays, u64 count, names
    name     u64 length, UTF-8
    array    u32 version, then by version
      V1       i32 ndim, i64 axes
      V2, V3   i32 storage (0 dense), i32 ndim, i64 axes
      oldest   the version word is ndim, u32 axes
             then i32 device kind, i32 device number, i32 dtype, elements in row-major order

V2 has no arrays without axes; V3, MXNet's NumPy mode, has. MXNet writes 0 into the reserved word and does not
read it. A checkpoint holds there a digest of the file that its arrays belong to.

Source
    MXNet 1.9.1, ``src/ndarray/ndarray.cc``: ``NDArray::Save``, ``NDArray::Load``, ``NDArray::LegacyLoad``.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lesson.engine.errors import DTypeError, FormatError, ShapeError
from tinygrad_lesson.files import (
    MAX_NDIM,
    Cursor,
    alone_in,
    as_path,
    parsed,
    plain,
    read_text,
    refused,
    write_whole,
)
from tinygrad_lesson.mxnet.functions import load_json
from tinygrad_lesson.mxnet.register import DTYPE_CODES
from tinygrad_lesson.mxnet.symbol import Symbol

if TYPE_CHECKING:
    import numpy.typing as npt

Arrays = Mapping[str, Any]

MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
FEWEST = {V2: 1, V3: 0}  # axes of an array
STORAGES = {1: "row_sparse", 2: "csr"}
CPU = 1


def save_params(
    path: str | os.PathLike[str],
    arrays: Mapping[Any, npt.NDArray[Any]],
    named: bool = True,
    scalars: bool = False,
) -> None:
    """Write `arrays` under their names, such as ``arg:fc1_weight`` and ``aux:bn1_moving_mean``, or without these.

    With `scalars` as MXNet's NumPy mode does, which knows arrays without axes.

    Errors
        ShapeError for an array without axes (the format takes that for a missing one, but for `scalars`) or with
        more than 32; DTypeError for one whose dtype MXNet does not have.
    """
    write_whole(path, packed_arrays(arrays, 0, named, scalars))


def write_arrays(path: str | os.PathLike[str], arrays: Arrays, belongs_to: int, named: bool = True) -> None:
    """Write `arrays` as `save_params` does, with a digest in the reserved word."""
    write_whole(path, packed_arrays(arrays, belongs_to, named))


def packed_arrays(arrays: Arrays, belongs_to: int = 0, named: bool = True, scalars: bool = False) -> bytes:
    """The bytes of a file of `arrays`."""
    parts = [struct.pack("<QQQ", MAGIC, belongs_to, len(arrays))]
    for name, array in arrays.items():
        parts += _array_record(name, np.asarray(array), V3 if scalars else V2)
    names = list(arrays) if named else []
    parts.append(struct.pack("<Q", len(names)))
    for name in names:
        parts += [struct.pack("<Q", len(name.encode())), name.encode()]
    return b"".join(parts)


def load_params(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """The named arrays of a `.params` file, whichever MXNet wrote it; dense ones only.

    Errors
        FormatError, with the place in the file, for anything that is not as it should be.
    """
    return read_arrays(path)[0]


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The named arrays of a file, and its reserved word."""
    names, arrays, reserved = read_listed(path, needed=True)
    return dict(zip(names, arrays, strict=True)), reserved


def read_listed(
    source: str | os.PathLike[str] | bytes, needed: bool = False
) -> tuple[list[str], list[npt.NDArray[Any]], int]:
    """The names in a file, or in its bytes, its arrays and its reserved word.

    There may be no names unless they are `needed`.
    """
    with Cursor.of(source) if isinstance(source, bytes) else Cursor(source) as cursor:
        magic = cursor.number("Q", "the magic number")
        if magic != MAGIC:
            raise cursor.error(
                f"the magic number is {magic:#x}, expected {MAGIC:#x}: not a .params file", at=0
            )
        reserved = cursor.number("Q", "the reserved word")
        arrays = [_read_array(cursor, i) for i in range(cursor.count("arrays", minimum=20))]
        start = cursor.position
        names = [_read_name(cursor, i) for i in range(cursor.count("names", minimum=8))]
        if len(names) != len(arrays) and (names or needed):
            raise cursor.error(f"there are {len(arrays)} arrays but {len(names)} names", at=start)
        if len(set(names)) < len(names):
            raise cursor.error("two arrays have the same name", at=start)
        if cursor.left:
            raise cursor.error(f"{cursor.left} bytes follow the last name")
    return names, arrays, reserved


def _array_record(name: str, array: npt.NDArray[Any], version: int) -> list[bytes]:
    fewest = FEWEST[version]
    if not fewest <= array.ndim <= MAX_NDIM:
        raise ShapeError(
            f"save_params: {name} is {array.shape}, expected {fewest} to {MAX_NDIM} axes; "
            "a .params file holds a single number as an array of shape (1,)"
        )
    if array.dtype.name not in DTYPE_CODES:
        raise DTypeError(f"save_params: {name} is {array.dtype}, expected one of {', '.join(DTYPE_CODES)}")
    return [
        struct.pack(f"<Iii{array.ndim}q", version, 0, array.ndim, *array.shape),
        struct.pack("<iii", CPU, 0, DTYPE_CODES.index(array.dtype.name)),
        array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(),
    ]


def _read_array(cursor: Cursor, i: int) -> npt.NDArray[Any]:
    start = cursor.position
    shape = _read_shape(cursor, i)
    cursor.take(8, f"the device of array {i}")  # where it lived; here it comes to the CPU
    code = cursor.number("i", f"the dtype of array {i}")
    if not 0 <= code < len(DTYPE_CODES):
        raise cursor.error(
            f"the dtype of array {i} is {code}, expected 0 to {len(DTYPE_CODES) - 1}", at=start
        )
    return cursor.array(shape, np.dtype(DTYPE_CODES[code]), f"array {i}, {shape} of {DTYPE_CODES[code]},")


def _read_shape(cursor: Cursor, i: int) -> tuple[int, ...]:
    start = cursor.position
    version = cursor.number("I", f"the version of array {i}")
    if version in (V2, V3):
        storage = cursor.number("i", f"the storage of array {i}")
        if storage != 0:
            kind = STORAGES.get(storage, f"unknown ({storage})")
            raise cursor.error(f"the storage of array {i} is {kind}; only dense can be read", at=start)
    if version in (V1, V2, V3):
        ndim, axis = cursor.number("i", f"the ndim of array {i}"), "q"
    else:
        ndim, axis = version, "I"
    fewest = FEWEST.get(version, 1)
    if not fewest <= ndim <= MAX_NDIM:
        raise cursor.error(f"the ndim of array {i} is {ndim}, expected {fewest} to {MAX_NDIM}", at=start)
    return cursor.numbers(ndim, axis, f"the shape of array {i}")


def _read_name(cursor: Cursor, i: int) -> str:
    return cursor.text(cursor.number("Q", f"the length of name {i}"), f"name {i}")


def save_checkpoint(
    prefix: str,
    epoch: int,
    symbol: Any,
    arg_params: Arrays,
    aux_params: Arrays,
    *,
    states: Arrays | None = None,
) -> None:
    """Write `prefix-symbol.json` and `prefix-0001.params` (for epoch 1), as MXNet's `save_checkpoint`.

    `states`, what a training needs to go on, are arrays for `prefix-0001.states`. An old file of this name that
    belonged to the parameters before goes. While two processes save at once, one waits for the other.
    """
    prefix = as_path(prefix)
    path, beside = file_of(prefix, epoch, "params"), file_of(prefix, epoch, "states")
    arrays = {f"arg:{name}": np.asarray(array) for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": np.asarray(array) for name, array in aux_params.items()})
    text = None if symbol is None else symbol.tojson()
    with alone_in(Path(path).parent):
        if text is not None:
            write_whole(f"{prefix}-symbol.json", text)
        write_arrays(path, arrays, 0 if text is None else digest_of_graph(text))
        if states is None:
            remove_states(beside)
        else:
            write_arrays(beside, states, digest_of_arrays(arrays))


def load_checkpoint(prefix: str, epoch: int) -> tuple[Symbol, dict[str, Any], dict[str, Any]]:
    """Symbol, arguments and auxiliary states of a checkpoint.

    Errors
        FormatError naming the file and the place in it that is wrong, or saying that the two files of the
        checkpoint do not belong together.
    """
    prefix = as_path(prefix)
    path, graph = file_of(prefix, epoch, "params"), f"{prefix}-symbol.json"
    with alone_in(Path(path).parent, reading=True):
        text = read_text(graph)
        arrays, belongs_to = read_arrays(path)
    symbol = load_json(text, plain(graph))
    if belongs_to not in (0, digest_of_graph(text)):
        raise FormatError(
            f"{plain(path)} was not saved with the network that {plain(graph)} holds now; if they are meant to go "
            "together, read them one by one: sym.load and load_params"
        )
    return symbol, *parted(arrays, path)


def load_parameters(prefix: str, epoch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and auxiliary states of a checkpoint, whatever its network is.

    Errors
        FormatError naming the file and the place in it that is wrong.
    """
    path = file_of(as_path(prefix), epoch, "params")
    return parted(load_params(path), path)


def parted(arrays: Arrays, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a file as arguments and auxiliary states.

    Errors
        FormatError for a name that says neither.
    """
    parts: dict[str, dict[str, Any]] = {"arg": {}, "aux": {}}
    for name, array in arrays.items():
        kind, colon, rest = name.partition(":")
        if kind not in parts or not colon:
            raise FormatError(
                f"{plain(path)}: array {name[:80]!r}, expected a name that begins with arg: or aux:"
            )
        parts[kind][rest] = array
    return parts["arg"], parts["aux"]


def load_states(
    prefix: str, epoch: int, arg_params: Arrays, aux_params: Arrays
) -> dict[str, npt.NDArray[Any]] | None:
    """The states saved with these parameters; None if MXNet wrote the file, which is a pickle.

    Errors
        MissingFileError if there is none; FormatError naming file and place if it is damaged, or does not belong
        to the parameters.
    """
    path = file_of(prefix, epoch, "states")
    if is_pickle(path):
        return None
    states, belongs_to = read_arrays(path)
    arrays = {f"arg:{name}": array for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": array for name, array in aux_params.items()})
    if belongs_to != digest_of_arrays(arrays):
        raise FormatError(
            f"{plain(path)} was not saved with {plain(file_of(prefix, epoch, 'params'))} as it is now; "
            "load(..., states=False) takes the parameters alone"
        )
    return states


def file_of(prefix: str, epoch: int, ending: str) -> str:
    """`prefix-0001.params`, for epoch 1.

    Errors
        DTypeError if the epoch is no whole number from 0 on.
    """
    try:
        number = operator.index(epoch)
    except TypeError:
        number = -1
    if number < 0:
        raise DTypeError(f"the epoch of a checkpoint is {plain(repr(epoch), 80)}, expected 0, 1, 2, ...")
    return f"{as_path(prefix)}-{number:04d}.{ending}"


def is_pickle(path: str) -> bool:
    """Whether a file begins as a pickle does, which is never read."""
    with Cursor(path) as cursor:
        return bytes(cursor.take(1, "the first byte")) == b"\x80"


def remove_states(path: str) -> None:
    """Remove a file of states, if there is one and we wrote it."""
    with contextlib.suppress(FormatError), Cursor(path) as cursor:
        if cursor.number("Q", "the magic number") != MAGIC:
            return
        try:
            os.unlink(path)
        except OSError as error:
            raise refused(path, error, "remove") from None


def digest_of_graph(text: str) -> int:
    """A number of 64 bits, not 0, that tells networks apart, whatever their operators are called."""
    import json

    graph = parsed(text, "the graph")
    nodes = [{**node, "name": node["name"] if node.get("op") == "null" else ""} for node in graph["nodes"]]
    return as_digest(hashlib.sha256(json.dumps([nodes, graph["heads"]], sort_keys=True).encode()))


def digest_of_arrays(arrays: Arrays) -> int:
    """A number of 64 bits, not 0, that tells parameters apart."""
    told = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        told.update(f"{name} {array.dtype} {array.shape} ".encode())
        told.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return as_digest(told)


def as_digest(told: Any) -> int:
    """The first bytes of a hash; 0 means that there is none."""
    return int.from_bytes(told.digest()[:8], "little") or 1
