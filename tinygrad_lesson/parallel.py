"""Ranks: processes that train one network together. MPI carries what they tell each other (docs/parallel.md).

``world = tl.parallel.world()`` in each process that ``mpiexec -n 4 python train.py`` has started. It needs `mpi4py`,
which is imported here and nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import mmap
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import assign, on_host
from tinygrad_lesson.engine.errors import AttributeValueError, BindError, DeviceError

SIZES = (
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)  # what MPICH, Open MPI, Slurm tell a rank
LOCAL = ("local", "device", "local_update_cpu", "local_allreduce_cpu", "local_allreduce_device", "nccl")
DIST = (
    "dist",
    "dist_sync",
    "dist_device_sync",
    "dist_sync_device",
)  # MXNet's names for one process, and for several
KNOWN: list[World] = []  # this process's, once it has been asked for
MEMORY = "/dev/shm"  # where Linux has files that lie in memory alone


class World:
    """All ranks, seen from one of them: number `rank` of `size`. `world()` makes it.

    Its methods but `part` are collective: every rank calls them, in the same order. With `sync`, batch
    normalization takes mean and variance over the rows of all ranks.
    """

    def __init__(self, comm: Any, sync: bool = False, in_place: Any = None) -> None:
        self.comm, self.sync, self.in_place = comm, sync, in_place
        self.rank, self.size = int(comm.rank), int(comm.size)

    def __repr__(self) -> str:
        return f"<World: rank {self.rank} of {self.size}>"

    def sum(self, array: Any) -> Any:
        """Put the sum over all ranks into `array`, which lies in one piece, and give it back: one `Allreduce`."""
        if self.size > 1:
            host = array if type(array) is np.ndarray else on_host(array)
            self.comm.Allreduce(self.in_place, host)
            if host is not array:
                assign(array, host)
        return array

    def mean(self, array: Any) -> Any:
        """Put the mean over all ranks into `array`, and give it back."""
        if self.size > 1:
            array *= 1.0 / self.size
        return self.sum(array)

    def broadcast(self, array: Any) -> Any:
        """Put what rank 0 has into `array`, which lies in one piece, and give it back."""
        if self.size > 1:
            host = on_host(array)
            self.comm.Bcast(host, root=0)
            if host is not array:
                assign(array, host)
        return array

    def told(self, text: str, root: int = 0) -> str:
        """The text of rank `root`."""
        size = np.array([len(text.encode())], np.int64)
        self.comm.Bcast(size, root=root)
        found = np.zeros(int(size[0]), np.uint8)
        if self.rank == root:
            found[:] = np.frombuffer(text.encode(), np.uint8)
        self.comm.Bcast(found, root=root)
        return found.tobytes().decode()

    def shared(self, shape: Sequence[int], dtype: Any) -> np.ndarray | None:
        """Zeros that all ranks read and write; None where they are on several machines, or there is no room.

        What one writes, the others see once all have come to `meet`. It is gone when no rank holds it any more.
        """
        path = self.told(f"{MEMORY}/tinygrad_lesson-{secrets.token_hex(16)}")
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = opened(path, size, new=True) if self.rank == 0 else None
        self.meet()
        memory = memory if self.rank == 0 else opened(path, size)
        there = int(self.sum(np.array([memory is not None], np.int64))[0])
        if self.rank == 0 and memory is not None:
            os.unlink(path)
        return np.frombuffer(memory, dtype).reshape(shape) if memory and there == self.size else None

    def meet(self) -> None:
        """Wait until every rank is here, as MPI's calls do: for a short time, in which the core is kept busy."""
        self.comm.Barrier()

    def part(self, rows: int) -> slice:
        """Which of this many rows are this rank's: all ranks together have each row once."""
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def agree(self, what: str, given: Mapping[str, Any]) -> None:
        """Make sure that `given`, which JSON can hold, is the same on all ranks.

        Errors
            BindError, on every rank, with both fingerprints and what differs first.
        """
        text = json.dumps(given, default=str)
        own = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
        all_ = np.zeros((self.size, own.size), np.uint8)
        self.comm.Allgather(own.copy(), all_)
        other = next((i for i in range(self.size) if (all_[i] != all_[0]).any()), None)
        if other is None:
            return
        first, second = (json.loads(self.told(text, root)) for root in (0, other))
        key = next((k for k in {**first, **second} if first.get(k) != second.get(k)), "the order")
        prints = [all_[root].tobytes().hex()[:16] for root in (0, other)]
        raise BindError(
            f"{what}: rank {other} has another training than rank 0: fingerprints {prints[1]} and {prints[0]}; "
            f"{key} is {second.get(key)!r:.80}, and {first.get(key)!r:.80} on rank 0"
        )

    def barrier(self) -> None:
        """Wait until every rank is here; for long without keeping a core busy, as MPI's other calls do."""
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(0.002)


def opened(path: str, size: int, new: bool = False) -> mmap.mmap | None:
    """The file as memory; None where there is none, or no room for a new one."""
    try:
        number = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)
    except OSError:
        return None
    try:
        if new:
            os.posix_fallocate(number, 0, size)
        return mmap.mmap(number, size)
    except (OSError, ValueError):
        if new:
            os.unlink(path)
        return None
    finally:
        os.close(number)


def world(sync: bool = False) -> World:
    """All ranks, seen from this one; alone, rank 0 of 1. From now on an error that nobody catches ends all of them.

    With `sync`, batch normalization takes mean and variance over the rows of all ranks, and not of each for itself.

    Errors
        DeviceError if there is no mpi4py, or no MPI that it can use.
    """
    try:
        mpi = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        raise DeviceError(
            f"parallel.world: ranks need mpi4py and an MPI, pip install 'tinygrad_lesson[mpi]': {error}"
        ) from None
    if not KNOWN and mpi.COMM_WORLD.size > 1:
        sys.excepthook = ending_all(sys.excepthook)
    KNOWN[:] = [World(mpi.COMM_WORLD, sync, mpi.IN_PLACE)]
    return KNOWN[0]


def launched() -> World | None:
    """The ranks that `mpiexec` has started; None where it has not, or only one.

    Errors
        DeviceError if it has, and there is no mpi4py.
    """
    sizes = [int(os.environ[name]) for name in SIZES if os.environ.get(name, "").isdecimal()]
    return world() if max(sizes, default=1) > 1 else None


def of_store(kvstore: Any, caller: str) -> World | None:
    """The ranks that a store of MXNet's has, or its name asks for; None where it is one process.

    Errors
        AttributeValueError for another name.
    """
    if not isinstance(kvstore, str):
        found: World | None = getattr(kvstore, "world", None)
        return found
    if kvstore not in LOCAL + DIST:
        raise AttributeValueError(f"{caller}: {kvstore!r:.80} is not here; known: {', '.join(LOCAL + DIST)}")
    return world() if kvstore in DIST else None


def ending_all(before: Callable[..., Any]) -> Callable[..., Any]:
    """What is called for an error that nobody caught: it names the rank, and ends all of them."""

    def hook(kind: Any, error: Any, trace: Any) -> None:
        print(
            f"rank {KNOWN[0].rank}: {''.join(traceback.format_exception_only(kind, error)).strip()}",
            file=sys.stderr,
        )
        before(kind, error, trace)
        end_all()

    return hook


def end_all() -> None:
    """End all ranks now, those too that wait for this one; nothing is done where there is one."""
    if KNOWN and KNOWN[0].size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        KNOWN[0].comm.Abort(1)


def over_ranks(arrays: Sequence[Any]) -> None:
    """Put the sum over all ranks into each array; nothing is done where there are no ranks."""
    for world_ in KNOWN:
        for array in arrays:
            world_.sum(array)


__all__ = ["World", "launched", "world"]
