"""cuBLAS without a card: its functions, which are given addresses, and what it refuses."""

import ctypes
from typing import Any

import numpy as np

from strict_cupy import _device
from strict_cupy._array import alive
from strict_cupy._device import counts

NOT_INITIALIZED, INVALID_VALUE, EXECUTION_FAILED = 1, 7, 13


class Library:
    """What `ctypes` makes of the library; a handle is a number."""

    def __init__(self) -> None:
        self.handles: dict[int, dict[str, Any]] = {}

    def cublasCreate_v2(self, handle: Any) -> int:  # noqa: N802
        """A new handle."""
        handle._obj.value = len(self.handles) + 1
        self.handles[handle._obj.value] = {}
        return 0

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:  # noqa: N802
        """Noted."""
        self.handles[handle.value]["mode"] = mode
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:  # noqa: N802
        """The workspace is its own again."""
        self.handles[handle.value].update(stream=stream.value, workspace=None)
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, place: Any, size: Any) -> int:  # noqa: N802
        """Where it may work."""
        self.handles[handle.value]["workspace"] = place.value, size.value
        return 0

    def cublasSgemmStridedBatched(self, *arguments: Any) -> int:  # noqa: N802
        """In single precision."""
        return self.gemm("<f4", *arguments)

    def cublasDgemmStridedBatched(self, *arguments: Any) -> int:  # noqa: N802
        """In double precision."""
        return self.gemm("<f8", *arguments)

    def gemm(
        self, kind: str, handle: Any, turned: int, turned2: int, m: int, n: int, k: int, alpha: Any,
        a: Any, wide: int, step: Any, b: Any, wide2: int, step2: Any, beta: Any, c: Any, wide3: int, step3: Any,
        count: int,
    ) -> int:  # fmt: skip
        """Column by column: C = alpha * op(A) @ op(B) + beta * C."""
        settings = self.handles.get(handle.value)
        if settings is None:
            return NOT_INITIALIZED
        if _device.capturing() is not None and not settings.get("workspace"):
            return EXECUTION_FAILED  # it would allocate
        if (settings.get("stream") or 0) != _device.STREAMS[-1].ptr:
            return EXECUTION_FAILED  # on another stream than the others' work
        shapes = [(k, m) if turned else (m, k), (n, k) if turned2 else (k, n), (m, n)]
        wides = (wide, wide2, wide3)
        if any(w < max(1, rows) for w, (rows, _) in zip(wides, shapes, strict=True)):
            return INVALID_VALUE
        places = zip((a, b, c), shapes, wides, (step, step2, step3), strict=True)
        found = [matrices(kind, p.value, *shape, w, s.value, count) for p, shape, w, s in places]
        if any(x is None for x in found):
            return EXECUTION_FAILED
        one, zero = alpha._obj.value, beta._obj.value
        left, right, result = found

        def carry_out() -> None:
            x = left.swapaxes(1, 2) if turned else left
            y = right.swapaxes(1, 2) if turned2 else right
            made = one * (x @ y)
            result[...] = made + zero * result if zero else made

        counts.launches += 1
        notes = _device.capturing()
        carry_out() if notes is None else notes.append(carry_out)
        return 0


def matrices(kind: str, address: int, rows: int, columns: int, wide: int, step: int, count: int) -> Any:
    """Matrices that begin at an address, column by column; None where they do not lie in one array of the device."""
    size = np.dtype(kind).itemsize
    end = address + (step * (count - 1) + wide * (columns - 1) + rows) * size
    for x in alive():
        start = x._held.ctypes.data
        if start <= address and end <= start + x._held.nbytes:
            memory = (ctypes.c_char * (x._held.nbytes - address + start)).from_address(address)
            return np.ndarray((count, rows, columns), kind, memory, 0, (step * size, size, wide * size))
    return None
