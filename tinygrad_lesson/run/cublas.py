"""Products of matrices by cuBLAS, through a handle of our own: CuPy's refuses to be captured in a graph (cupy#6290)."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import DeviceError
from tinygrad_lesson.locks import lock
from tinygrad_lesson.run.cuda import Row, merged

WORKSPACE = 32 << 20  # bytes, as NVIDIA advises for Hopper; with one of its own, a handle may be captured
DEFAULT, TF32 = 0, 3  # cublasMath_t
MOST = 1 << 31  # sizes are counted in 32 bits there
FUNCTIONS = {  # element type: name, and what alpha and beta are
    "float32": ("cublasSgemmStridedBatched", ctypes.c_float),
    "float64": ("cublasDgemmStridedBatched", ctypes.c_double),
}


def library() -> Any:
    """The library that CuPy brings.

    Errors
        DeviceError where it cannot be found.
    """
    try:
        found = importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublas")
        return ctypes.CDLL(found.abs_path)
    except Exception as error:
        raise DeviceError(f"cuBLAS cannot be loaded: {error}; pip install 'cupy-cuda13x[ctk]'") from error


class Gemm(NamedTuple):
    """What cuBLAS is told of a product, column by column as it counts: sizes, and of each operand how it lies.

    Of the factors: which operand, whether it is turned, the distance of its columns, and of one matrix from the next.
    """

    sizes: tuple[int, int, int]
    left: tuple[int, int, int, int]
    right: tuple[int, int, int, int]
    result: tuple[int, int]
    batch: int


def gemm_of(row: Row) -> Gemm | None:
    """A product for cuBLAS; None for one that it does not take."""
    if row.name != "matmul" or len(row.shape) < 3 or row.kind.name not in FUNCTIONS:
        return None
    *batch, n, m, k = row.shape
    if not n * m * k or any(x.array.dtype != row.kind for x in row.operands):
        return None
    if row.operands[1].strides[-2] or row.operands[2].strides[-3]:
        return None  # of a vector
    item = row.kind.itemsize
    counts, apart = merged(batch, [x.strides[: len(batch)] for x in row.operands])
    if len(counts) > 1 or any(s % item for x in row.operands for s in x.strides):
        return None
    (down, over, _), (a_down, _, a_in), (_, b_over, b_in) = (
        tuple([s // item for s in x.strides[-3:]]) for x in row.operands
    )
    steps = [s[0] // item if s else 0 for s in apart]
    if over == 1 or m == 1:  # rows follow on: in cuBLAS's eyes the result is turned, and so are both factors
        left, right, wide = lies(b_over, b_in, m, k), lies(a_in, a_down, k, n), down
        numbers, sizes = (2, 1), (m, n, k)
    elif down == 1 or n == 1:
        left, right, wide = lies(a_down, a_in, n, k), lies(b_in, b_over, k, m), over
        numbers, sizes = (1, 2), (n, m, k)
    else:
        return None
    if left is None or right is None:
        return None
    (i, j), wide = numbers, wide if sizes[1] > 1 else sizes[0]
    if wide < sizes[0] or max(*sizes, wide, *left, *right, *counts) >= MOST:
        return None
    return Gemm(
        sizes, (i, *left, steps[i]), (j, *right, steps[j]), (wide, steps[0]), counts[0] if counts else 1
    )


def lies(down: int, over: int, rows: int, columns: int) -> tuple[int, int] | None:
    """Whether a matrix is turned, and the distance of its columns, or of its rows then; None for neither."""
    if (down == 1 or rows == 1) and (over >= rows or columns == 1):
        return 0, over if columns > 1 else rows
    if (over == 1 or columns == 1) and (down >= columns or rows == 1):
        return 1, down if rows > 1 else columns
    return None


class Products:
    """A handle of cuBLAS on one device."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.library, self.handle = xp, library(), ctypes.c_void_p()
        self.workspace = xp.empty(WORKSPACE, np.uint8)
        self.turn = lock()  # a handle serves one thread at a time
        self.call("cublasCreate_v2", ctypes.byref(self.handle))
        mode = TF32 if os.environ.get("CUPY_TF32") == "1" else DEFAULT
        self.call("cublasSetMathMode", self.handle, mode)

    def call(self, name: str, *arguments: Any) -> None:
        """One of its functions.

        Errors
            DeviceError with the number that it gives for what went wrong.
        """
        status = getattr(self.library, name)(*arguments)
        if status:
            raise DeviceError(f"cuBLAS: {name} gives status {status}")

    def carry_out(self, row: Row, gemm: Gemm) -> None:
        """One product, on the current stream."""
        name, real = FUNCTIONS[row.kind.name]
        pointers = [ctypes.c_void_p(x.array.data.ptr) for x in row.operands]
        (i, turned, wide, step), (j, turned2, wide2, step2) = gemm.left, gemm.right
        with self.turn:
            self.settle()
            self.call(
                name, self.handle, turned, turned2, *gemm.sizes, ctypes.byref(real(1)),
                pointers[i], wide, ctypes.c_longlong(step), pointers[j], wide2, ctypes.c_longlong(step2),
                ctypes.byref(real(0)), pointers[0], gemm.result[0], ctypes.c_longlong(gemm.result[1]), gemm.batch,
            )  # fmt: skip

    def settle(self) -> None:
        """Work on the current stream, with a workspace, which a change of the stream takes away."""
        stream, place = self.xp.cuda.get_current_stream().ptr, self.workspace.data.ptr
        self.call("cublasSetStream_v2", self.handle, ctypes.c_void_p(stream))
        self.call("cublasSetWorkspace_v2", self.handle, ctypes.c_void_p(place), ctypes.c_size_t(WORKSPACE))


@functools.cache
def products(xp: Any, device: int) -> Products:
    """The handle of a device, which must be the current one."""
    return Products(xp)
