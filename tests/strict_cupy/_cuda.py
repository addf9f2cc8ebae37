"""What is no function of arrays: devices, streams, pools, generators."""

import contextlib
import functools
import importlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from strict_cupy import _array, _cublas, _device, _kernels
from strict_cupy._array import bare, carry_out, ndarray, new, wrap
from strict_cupy._device import TransferError, counts, forbidden, no_transfers, waited
from strict_cupy._names import NAMES, SURFACE, export, refuse_in_capture, ufunc


class Pool:
    """Counts; nothing is pooled."""

    def used_bytes(self) -> int:
        """Nothing is known."""
        return 0

    total_bytes = free_bytes = used_bytes

    def get_limit(self) -> int:
        """No limit."""
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        """Nothing to do."""

    def malloc(self, size: int) -> None:
        """Not refused."""


_pool = Pool()


@export("get_default_memory_pool")
def get_default_memory_pool_() -> Pool:
    """The pool."""
    return _pool


@contextlib.contextmanager
def using_allocator(allocate: Any = None) -> Iterator[None]:
    """`allocate(bytes)` is asked for every new array, and may refuse."""
    _array.allocator.append(allocate or (lambda size: None))
    try:
        yield
    finally:
        _array.allocator.pop()


FREE = [1 << 33]  # bytes that the device says are free


class Device:
    """The one device."""

    def __init__(self, device: Any = None) -> None:
        self.id = int(device or 0)
        if self.id:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: Any) -> None: ...

    def use(self) -> None:
        """It is used already."""

    def synchronize(self) -> None:
        """Wait."""
        waited()


cuda = types.ModuleType("strict_cupy.cuda")
vars(cuda).update(
    Stream=_device.Stream, Event=_device.Event, Graph=_device.Graph, Device=Device, using_allocator=using_allocator,
    get_current_stream=lambda device_id=-1: _device.STREAMS[-1], is_available=lambda: True, MemoryPool=Pool,
    runtime=types.SimpleNamespace(
        getDeviceCount=lambda: 1, deviceSynchronize=waited, is_hip=False, memGetInfo=lambda: (FREE[-1], FREE[-1]),
    ),
    alloc_pinned_memory=lambda size: bytearray(size),
)  # fmt: skip


class Generator:
    """A generator whose numbers come to be on the device; its draws cannot be captured."""

    def __init__(self, seed: Any = None) -> None:
        self._numpy = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        draw = getattr(self._numpy, name)

        @functools.wraps(draw)
        def drawn(*arguments: Any, **named: Any) -> ndarray:
            refuse_in_capture("cuRAND")
            counts.launches += 1
            return new(draw(*arguments, **named))

        return drawn


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """A view as NumPy's."""
    return wrap(np.lib.stride_tricks.as_strided(x._held, shape, strides), x)


lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))


def transform(name: str) -> Any:
    """A Fourier transform, which cuFFT computes; it refuses to be captured, as cuBLAS does."""

    def call(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> ndarray:
        refuse_in_capture("cuFFT")
        held = bare(a)
        return carry_out(lambda: getattr(np.fft, name)(held, n, axis, norm))

    return call


fft = types.ModuleType("strict_cupy.fft")
vars(fft).update({name: transform(name) for name in ("fft", "ifft", "rfft", "irfft")})


def of_scipy(name: str) -> Any:
    """A function of `cupyx.scipy.special`: a ufunc of one kernel."""

    def call(*arguments: Any) -> ndarray:
        function, held = getattr(importlib.import_module("scipy.special"), name), [bare(x) for x in arguments]
        return carry_out(lambda: function(*held))

    return call


special = types.ModuleType("cupyx.scipy.special")
SPECIAL = "beta betainc betaln digamma erf gamma gammainc gammaincc gammaln i0 i1 j0 j1 polygamma psi y0 y1"
vars(special).update({name: of_scipy(name) for name in SPECIAL.split()})

random = types.ModuleType("strict_cupy.random")
vars(random).update(default_rng=Generator, Generator=Generator)

NAMES |= {
    "ndarray": ndarray, "ufunc": ufunc, "cuda": cuda, "fft": fft, "lib": lib, "forbidden": forbidden, "special": special, "random": random, "counts": counts, "no_transfers": no_transfers,
    "TransferError": TransferError, "RawKernel": _kernels.RawKernel, "RawModule": _kernels.RawModule,
    "RaceError": _kernels.RaceError, "cublas": _cublas.Library(), "FREE": FREE,
    "__version__": SURFACE["version"],
}  # fmt: skip
