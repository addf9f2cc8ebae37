"""`mx.kvstore`: arrays by key, which gradients are pushed to and weights pulled from, by one process or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_lesson import parallel
from tinygrad_lesson.engine.errors import BindError, DeviceError, DTypeError
from tinygrad_lesson.files import Cursor, write_whole
from tinygrad_lesson.mxnet.ndarray import NDArray, bare
from tinygrad_lesson.train.optimizer import Optimizer, get_updater


def create(name: str = "local") -> KVStore:
    """An empty store; ``"dist_sync"`` is that of all ranks (docs/parallel.md).

    Errors
        TypeError for a name that is no text; AttributeValueError for an unknown one, such as ``"dist_async"``;
        DeviceError if ranks are wanted and there is no mpi4py.
    """
    if not isinstance(name, str):
        raise TypeError(f"kvstore.create: name is {name!r:.80}, expected a string")
    return KVStore(name, parallel.of_store(name, "kvstore.create"))


class KVStore:
    """Arrays by key, a number or a text; keys of one store are of one kind.

    What is pushed is summed over the list that is given and takes the place of what is stored, unless there is an
    updater: then ``updater(key, sum, stored)`` changes it. Of several ranks in a `world`, what is pushed is summed over
    all of them, and what rank 0 stores first is stored by all.

    Source
        MXNet 1.9, ``mx.kvstore.KVStore`` of the kinds `local` and `dist_sync`.
    """

    def __init__(self, type: str, world: parallel.World | None = None) -> None:
        self.type, self.world = type, world
        self.rank, self.num_workers = (world.rank, world.size) if world else (0, 1)
        self.stored: dict[int | str, NDArray] = {}
        self.updater: Callable[..., Any] | None = None

    def pairs(self, key: Any, value: Any) -> list[tuple[Any, Any]]:
        """Each key with its arrays."""
        keys, values = (key, value) if isinstance(key, list | tuple) else ([key], [value])
        if any(isinstance(k, str) is not isinstance(other, str) for k in keys for other in self.stored):
            raise BindError(f"KVStore: key {keys[0]!r}: Mixed key types are not allowed")
        if len(keys) != len(values):
            raise BindError(f"KVStore: {len(keys)} keys and {len(values)} arrays")
        return list(zip(keys, values, strict=True))

    def find(self, key: Any) -> NDArray:
        """The array of a key."""
        if key not in self.stored:
            raise BindError(f"KVStore: key {key!r} has not been inited")
        return self.stored[key]

    def init(self, key: Any, value: Any) -> None:
        """Store a first array under a new key, or several.

        Errors
            BindError for a key that is there already, or of another kind than those before.
        """
        for one, array in self.pairs(key, value):
            if one in self.stored:
                raise BindError(f"KVStore: duplicate init of key {one!r}")
            self.stored[one] = array.copy()
            if self.world is not None:
                self.world.broadcast(bare(self.stored[one]))

    def push(self, key: Any, value: Any, priority: int = 0) -> None:
        """Give arrays to a key: their sum is stored, or taken by the updater.

        Errors
            BindError for an unknown key; ShapeError for another shape.
        """
        for one, arrays in self.pairs(key, value):
            stored, parts = self.find(one), list(arrays) if isinstance(arrays, list | tuple) else [arrays]
            total = parts[0].copy()
            for part in parts[1:]:
                total += part
            if self.world is not None:
                self.world.sum(bare(total))
            if self.updater is None:
                total.copyto(stored)
            else:
                self.updater(one, total, stored)

    def pull(self, key: Any, out: Any = None, priority: int = 0, ignore_sparse: bool = True) -> None:
        """Copy what is stored into an array, or into each of a list.

        Errors
            BindError for an unknown key; ShapeError for another shape.
        """
        for one, arrays in self.pairs(key, out):
            for array in arrays if isinstance(arrays, list | tuple) else [arrays]:
                self.find(one).copyto(array)

    def pushpull(self, key: Any, value: Any, out: Any = None, priority: int = 0) -> None:
        """`push`, then `pull`, into `value` unless `out` is given."""
        self.push(key, value, priority)
        self.pull(key, value if out is None else out, priority)

    def broadcast(self, key: Any, value: Any, out: Any, priority: int = 0) -> None:
        """`init`, then `pull`."""
        self.init(key, value)
        self.pull(key, out, priority)

    def row_sparse_pull(self, key: Any, out: Any = None, priority: int = 0, row_ids: Any = None) -> None:
        """Rows of an array in sparse storage, which is not here.

        Errors
            DTypeError.
        """
        raise DTypeError(
            "row_sparse_pull: sparse storage is not here: arrays hold all of their elements; pull has them"
        )

    def set_gradient_compression(self, compression_params: Any) -> None:
        """Fewer bits on the way between devices, of which there is one.

        Errors
            DeviceError.
        """
        raise DeviceError("Gradient compression is not supported for this type of kvstore")

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        if self.world is not None:
            self.world.barrier()

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Let an optimizer change what is stored by what is pushed."""
        self.updater = get_updater(optimizer)

    def set_updater(self, updater: Callable[..., Any]) -> None:
        """Let ``updater(key, pushed, stored)`` change what is stored."""
        self.updater = updater

    _set_updater = set_updater

    @staticmethod
    def is_capable(capability: str) -> bool:
        """Whether the store can do this: it can run an optimizer."""
        return capability.lower() == "optimizer"

    def save_optimizer_states(self, fname: str, dump_optimizer: bool = False) -> None:
        """Write what the optimizer remembers, as named arrays."""
        write_whole(fname, self.having_states().get_states(dump_optimizer))

    def load_optimizer_states(self, fname: str) -> None:
        """Go on with what `save_optimizer_states` wrote.

        Errors
            FormatError for a file that holds something else, such as a pickle, which is not read.
        """
        with Cursor(fname) as cursor:
            self.having_states().set_states(bytes(cursor.take(cursor.size, "the states")))

    def having_states(self) -> Any:
        """The updater of an optimizer.

        Errors
            BindError if there is none.
        """
        if not hasattr(self.updater, "get_states"):
            raise BindError("KVStore: there are no states; call set_optimizer first")
        return self.updater


__all__ = ["KVStore", "create"]
